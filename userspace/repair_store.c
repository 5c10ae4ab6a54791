// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A store as it would be: writes are kept aside and are seen by reads, and what
 * is below is not written until repair_trial_apply() does the same to it, in
 * the same order and with the same flushes.
 *
 * Bytes are kept in memory up to a limit, then in a file without a name.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "out.h"
#include "progress.h"
#include "repair.h"

#define MOST_MEMORY (8u << 20)
#define CHUNK (256u * 1024)
#define NONE (~0ull)

/* A block of the file that is another one now, and where it is kept. */
struct slot {
	u64 block, at;
};

struct trial {
	struct vdisk_store store;
	struct vdisk_store *below;
	bool owns;		/* closes what is below */
	u64 shows;		/* below is seen up to here, then zeroes */
	u64 least;		/* the shortest that it was */

	struct slot *slot;	/* a hash table; at NONE: empty */
	size_t nr_slots, room;

	struct repair_event *event;
	size_t nr_events;

	u8 *mem;		/* what is kept, up to MOST_MEMORY */
	size_t mem_room;
	int fd;			/* and the rest */
	u64 kept;
};

static struct trial *of(struct vdisk_store *store)
{
	return (struct trial *)store;
}

/*-----------------------------------------------------------------
 * Keeping bytes
 */

static int open_spill(void)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	fd = open(dir && *dir ? dir : "/var/tmp",
		  O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	return fd;
}

static int spill(struct trial *t, u64 at, void *buf, size_t len, bool write)
{
	ssize_t n;

	if (t->fd < 0)
		t->fd = open_spill();
	if (t->fd < 0)
		return -errno;
	while (len) {
		n = write ? pwrite(t->fd, buf, len, (off_t)at)
			  : pread(t->fd, buf, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		buf = (u8 *)buf + n;
		at += (u64)n;
		len -= (size_t)n;
	}
	return 0;
}

static int kept_access(struct trial *t, u64 at, void *buf, size_t len,
		       bool write)
{
	size_t n = at < MOST_MEMORY ? vdisk_min(len, MOST_MEMORY - at) : 0;

	if (n && at + n > t->mem_room) {
		t->mem_room = vdisk_max(at + n, 2 * t->mem_room + VDISK_BLOCK);
		t->mem = out_grow(t->mem, t->mem_room, 1);
	}
	if (n && write)
		memcpy(t->mem + at, buf, n);
	else if (n)
		memcpy(buf, t->mem + at, n);
	return n == len ? 0 : spill(t, at + n - MOST_MEMORY, (u8 *)buf + n,
				    len - n, write);
}

static int keep(struct trial *t, const void *buf, size_t len, u64 *at)
{
	*at = t->kept;
	t->kept += len;
	return kept_access(t, *at, (void *)buf, len, true);
}

/*-----------------------------------------------------------------
 * Blocks that are others now
 */

static struct slot *find_slot(const struct trial *t, u64 block)
{
	size_t i;

	if (!t->room)
		return NULL;
	for (i = block * 0x9e3779b97f4a7c15ull >> 20 & (t->room - 1);
	     t->slot[i].at != NONE && t->slot[i].block != block;
	     i = (i + 1) & (t->room - 1))
		;
	return &t->slot[i];
}

static void more_slots(struct trial *t)
{
	struct slot *old = t->slot;
	size_t was = t->room, i;

	t->room = was ? 2 * was : 64;
	t->slot = out_alloc(t->room, sizeof(*t->slot));
	for (i = 0; i < t->room; i++)
		t->slot[i].at = NONE;
	for (i = 0; i < was; i++)
		if (old[i].at != NONE)
			*find_slot(t, old[i].block) = old[i];
	free(old);
}

static int read_below(const struct trial *t, u64 off, u8 *buf, size_t len)
{
	u64 n = off < t->shows ? vdisk_min(len, t->shows - off) : 0;

	memset(buf + n, 0, len - n);
	return n ? vdisk_store_read(t->below, off, buf, n) : 0;
}

/* Where the block is kept; it is from now on if it was not. */
static int take_block(struct trial *t, u64 block, u64 *at)
{
	u8 buf[VDISK_BLOCK];
	struct slot *s;
	int r;

	if (2 * t->nr_slots >= t->room)
		more_slots(t);
	s = find_slot(t, block);
	if (s->at == NONE) {
		r = read_below(t, block * VDISK_BLOCK, buf, sizeof(buf));
		if (!r)
			r = keep(t, buf, sizeof(buf), at);
		if (r)
			return r;
		*s = (struct slot){ block, *at };
		t->nr_slots++;
	}
	*at = s->at;
	return 0;
}

/*-----------------------------------------------------------------
 * The store
 */

static int trial_read(struct vdisk_store *store, u64 off, void *buf, size_t len)
{
	struct trial *t = of(store);
	const struct slot *s;
	u8 *to = buf;
	size_t n;
	int r = 0;

	if (!t->nr_slots)
		return read_below(t, off, buf, len);
	for (; len && !r; off += n, to += n, len -= n) {
		n = vdisk_min(len, VDISK_BLOCK - off % VDISK_BLOCK);
		s = find_slot(t, off / VDISK_BLOCK);
		if (s->at != NONE) {
			r = kept_access(t, s->at + off % VDISK_BLOCK, to, n,
					false);
			continue;
		}
		/* Neighbours that are as they were, at once. */
		while (n < len &&
		       find_slot(t, (off + n) / VDISK_BLOCK)->at == NONE)
			n += vdisk_min(len - n, VDISK_BLOCK);
		r = read_below(t, off, to, n);
	}
	return r;
}

static void log_event(struct trial *t, enum repair_event_kind kind, u64 off,
		      u64 len, u64 at)
{
	if (!(t->nr_events & (t->nr_events + 1)))
		t->event = out_grow(t->event, 2 * t->nr_events + 2,
				    sizeof(*t->event));
	t->event[t->nr_events++] = (struct repair_event){ kind, off, len, at };
}

static int trial_write(struct vdisk_store *store, u64 off, const void *buf,
		       size_t len)
{
	struct trial *t = of(store);
	u64 at, done, n;
	int r;

	if (store->device && off + len > store->length)
		return -ENOSPC;
	r = keep(t, buf, len, &at);
	if (!r)
		log_event(t, REPAIR_WRITE, off, len, at);
	for (done = 0; done < len && !r; done += n) {
		n = vdisk_min(len - done,
			      VDISK_BLOCK - (off + done) % VDISK_BLOCK);
		r = take_block(t, (off + done) / VDISK_BLOCK, &at);
		if (!r)
			r = kept_access(t, at + (off + done) % VDISK_BLOCK,
					(u8 *)buf + done, n, true);
	}
	store->length = vdisk_max(store->length, off + len);
	return r;
}

static int trial_flush(struct vdisk_store *store)
{
	struct trial *t = of(store);

	if (t->nr_events && t->event[t->nr_events - 1].kind != REPAIR_FLUSH)
		log_event(t, REPAIR_FLUSH, 0, 0, 0);
	return 0;
}

/* What is cut off reads zero if it comes back. */
static int trial_set_length(struct vdisk_store *store, u64 len)
{
	static u8 zero[VDISK_BLOCK];
	struct trial *t = of(store);
	u64 from;
	size_t i;
	int r = 0;

	log_event(t, REPAIR_LENGTH, len, 0, 0);
	for (i = 0; i < t->room && len < store->length && !r; i++) {
		if (t->slot[i].at == NONE)
			continue;
		from = vdisk_max(len, t->slot[i].block * VDISK_BLOCK) -
		       t->slot[i].block * VDISK_BLOCK;
		if (from < VDISK_BLOCK)
			r = kept_access(t, t->slot[i].at + from, zero,
					VDISK_BLOCK - from, true);
	}
	t->shows = vdisk_min(t->shows, len);
	t->least = vdisk_min(t->least, len);
	store->length = len;
	return r;
}

static void trial_close(struct vdisk_store *store)
{
	struct trial *t = of(store);

	free(t->slot);
	free(t->event);
	free(t->mem);
	if (t->fd >= 0)
		close(t->fd);
	if (t->owns)
		vdisk_store_close(t->below);
	free(t);
}

static const struct vdisk_store_ops trial_ops = {
	.read		= trial_read,
	.write		= trial_write,
	.flush		= trial_flush,
	.set_length	= trial_set_length,
	.close		= trial_close,
};

struct vdisk_store *repair_trial_new(struct vdisk_store *below)
{
	struct trial *t = out_alloc(1, sizeof(*t));

	t->store.ops = &trial_ops;
	t->store.length = below->length;
	t->store.device = below->device;
	t->below = below;
	t->shows = t->least = below->length;
	t->fd = -1;
	return &t->store;
}

void repair_trial_keep(struct vdisk_store *store)
{
	of(store)->owns = true;
}

struct vdisk_store *repair_trial_below(struct vdisk_store *store)
{
	return of(store)->below;
}

u64 repair_trial_least(struct vdisk_store *store)
{
	return of(store)->least;
}

size_t repair_trial_changes(struct vdisk_store *store)
{
	const struct trial *t = of(store);
	size_t i, n = 0;

	for (i = 0; i < t->nr_events; i++)
		n += t->event[i].kind != REPAIR_FLUSH;
	return n;
}

size_t repair_trial_events(struct vdisk_store *store,
			   const struct repair_event **event)
{
	*event = of(store)->event;
	return of(store)->nr_events;
}

int repair_trial_bytes(struct vdisk_store *store,
		       const struct repair_event *event, u64 from, void *buf,
		       size_t len)
{
	return kept_access(of(store), event->at + from, buf, len, false);
}

static int apply_write(struct trial *t, const struct repair_event *e, u8 *buf)
{
	u64 done, n;
	int r = 0;

	for (done = 0; done < e->len && !r; done += n) {
		n = vdisk_min(e->len - done, CHUNK);
		r = kept_access(t, e->at + done, buf, n, false);
		if (!r)
			r = vdisk_store_write(t->below, e->off + done, buf, n);
	}
	return r;
}

int repair_trial_apply(struct vdisk_store *store)
{
	struct trial *t = of(store);
	const struct repair_event *e;
	u8 *buf = out_alloc(1, CHUNK);
	int r = 0;

	for (e = t->event; e < t->event + t->nr_events && !r; e++) {
		progress_show("repairing", (u64)(e - t->event), t->nr_events);
		if (e->kind == REPAIR_WRITE)
			r = apply_write(t, e, buf);
		else if (e->kind == REPAIR_FLUSH)
			r = vdisk_store_flush(t->below);
		else
			r = vdisk_store_set_length(t->below, e->off);
	}
	free(buf);
	return r ? r : vdisk_store_flush(t->below);
}
