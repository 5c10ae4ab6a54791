// SPDX-License-Identifier: GPL-2.0
/* A store in memory with a record of what a crash may lose. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "ramstore.h"

static struct ram_store *of(struct vdisk_store *store)
{
	return (struct ram_store *)store;
}

/* Untouched pages cost nothing and read zero. */
static u8 *pages(u64 room)
{
	void *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(2, "mmap");
	return p;
}

static void record(struct ram_store *ram, u64 off, const void *data, u64 len)
{
	struct ram_event *e;

	if (!ram->record)
		return;
	if (ram->nr_events == ram->room_events) {
		ram->room_events = ram->room_events * 2 + 64;
		ram->event = reallocarray(ram->event, ram->room_events,
					  sizeof(*e));
		if (!ram->event)
			err(2, "reallocarray");
	}
	e = &ram->event[ram->nr_events++];
	*e = (struct ram_event){ .off = off, .len = len };
	if (!len)
		return;
	e->data = malloc(len);
	if (!e->data)
		err(2, "malloc");
	memcpy(e->data, data, len);
}

static int ram_read(struct vdisk_store *store, u64 off, void *buf, size_t len)
{
	u64 n = off < store->length ? vdisk_min(len, store->length - off) : 0;

	if (n)
		memcpy(buf, of(store)->bytes + off, n);
	if (n < len)
		memset((u8 *)buf + n, 0, len - n);
	return 0;
}

static int ram_set_length(struct vdisk_store *store, u64 len)
{
	struct ram_store *ram = of(store);

	if (len > ram->room)
		return -EFBIG;
	if (len < store->length)
		memset(ram->bytes + len, 0, store->length - len);
	store->length = len;
	record(ram, len, NULL, 0);
	return 0;
}

static int ram_write(struct vdisk_store *store, u64 off, const void *buf,
		     size_t len)
{
	struct ram_store *ram = of(store);
	int r;

	ram->nr_writes++;
	if (ram->fail_write && !--ram->fail_write)
		return -ram->fail_errno;
	if (!len)
		return 0;
	if (off > ram->room || len > ram->room - off ||
	    (store->device && off + len > store->length))
		return -ENOSPC;
	if (off + len > store->length) {
		r = ram_set_length(store, off + len);
		if (r)
			return r;
	}
	memcpy(ram->bytes + off, buf, len);
	record(ram, off, buf, len);
	return 0;
}

static void forget_events(struct ram_store *ram)
{
	while (ram->nr_events)
		free(ram->event[--ram->nr_events].data);
}

static int ram_flush(struct vdisk_store *store)
{
	struct ram_store *ram = of(store);
	int r;

	ram->nr_flushes++;
	if (ram->fail_flush && !--ram->fail_flush)
		return -ram->fail_errno;
	if (!ram->record)
		return 0;
	if (ram->on_flush) {
		r = ram->on_flush(ram->arg);
		if (r)
			return r;
	}
	ram_store_record(ram);
	return 0;
}

static int ram_punch(struct vdisk_store *store, u64 off, u64 len)
{
	struct ram_store *ram = of(store);

	if (off >= store->length)
		return 0;
	len = vdisk_min(len, store->length - off);
	memset(ram->bytes + off, 0, len);
	record(ram, off, ram->bytes + off, len);
	return 0;
}

static void ram_close(struct vdisk_store *store)
{
	struct ram_store *ram = of(store);

	forget_events(ram);
	free(ram->event);
	munmap(ram->bytes, ram->room);
	if (ram->base)
		munmap(ram->base, ram->room);
	free(ram);
}

static const struct vdisk_store_ops ram_ops = {
	.read		= ram_read,
	.write		= ram_write,
	.flush		= ram_flush,
	.set_length	= ram_set_length,
	.punch		= ram_punch,
	.close		= ram_close,
};

struct ram_store *ram_store_new(u64 room)
{
	struct ram_store *ram = calloc(1, sizeof(*ram));

	if (!ram)
		err(2, "calloc");
	ram->store.ops = &ram_ops;
	ram->room = vdisk_align(room, 4096, 0);
	ram->bytes = pages(ram->room);
	return ram;
}

void ram_store_device(struct ram_store *ram, u64 len, u8 old)
{
	ram->store.device = true;
	ram->store.length = len;
	memset(ram->bytes, old, len);
}

void ram_store_record(struct ram_store *ram)
{
	u64 old, len = ram->store.length;
	size_t i;

	if (!ram->base) {
		ram->base = pages(ram->room);
		memcpy(ram->base, ram->bytes, len);
	}
	for (i = 0; i < ram->nr_events; i++) {
		struct ram_event *e = &ram->event[i];
		u64 end = vdisk_min(e->off + e->len, len);

		if (e->data && e->off < end)
			memcpy(ram->base + e->off, ram->bytes + e->off,
			       end - e->off);
		/* What was cut off and grown again is zero, or an event. */
		old = ram->base_len;
		if (!e->data && e->off < old)
			memset(ram->base + e->off, 0, old - e->off);
		if (!e->data)
			ram->base_len = e->off;
	}
	ram->base_len = len;
	ram->record = true;
	forget_events(ram);
}

void ram_store_copy(struct ram_store *ram, const struct ram_store *from)
{
	u64 len = from->store.length;

	if (len > ram->room)
		errx(2, "ram_store_copy: too long");
	if (ram->store.length > len)
		memset(ram->bytes + len, 0, ram->store.length - len);
	memcpy(ram->bytes, from->bytes, len);
	ram->store.length = len;
	ram->store.device = from->store.device;
}

void ram_store_apply(struct ram_store *ram, const struct ram_event *event,
		     const u8 *keep)
{
	u64 len = ram->store.length, off, n, i;

	if (!event->data) {
		if (event->off < len)
			memset(ram->bytes + event->off, 0, len - event->off);
		ram->store.length = event->off;
		return;
	}
	/* A sector of the file is whole or was not written. */
	for (off = event->off, i = 0; off < event->off + event->len;
	     off += n, i++) {
		n = vdisk_min(512 - off % 512, event->off + event->len - off);
		if (keep && !(keep[i / 8] & 1 << i % 8))
			continue;
		/* Of a growth that was lost there is nothing. */
		if (off < len)
			memcpy(ram->bytes + off, event->data + (off - event->off),
			       vdisk_min(n, len - off));
	}
}

void ram_store_undo(struct ram_store *ram, const struct ram_store *from)
{
	u64 low = vdisk_min(ram->store.length, from->base_len);
	size_t i;

	for (i = 0; i < from->nr_events; i++) {
		const struct ram_event *e = &from->event[i];

		if (e->data)
			memcpy(ram->bytes + e->off, from->base + e->off, e->len);
		else
			low = vdisk_min(low, e->off);
	}
	/* Bytes past the ends are zero in both. */
	if (low < from->base_len)
		memcpy(ram->bytes + low, from->base + low,
		       from->base_len - low);
	if (ram->store.length > from->base_len)
		memset(ram->bytes + from->base_len, 0,
		       ram->store.length - from->base_len);
	ram->store.length = from->base_len;
}

void ram_store_save(const struct ram_store *ram, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(ram->bytes, 1, ram->store.length, f) !=
		  ram->store.length || fclose(f))
		err(2, "%s", path);
}
