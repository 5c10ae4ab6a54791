// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Undo files on disk, all integers little endian:
 *
 *	head: "vdisk undo 1\n\0\0\0", inode of the image, number of files (8
 *		bytes each)
 *	each file: inode, old length, shortest and longest length meanwhile,
 *		bytes of the name, number of sectors (8 bytes each), the name
 *	each sector: offset (8), bytes there were (2), states (2), the states'
 *		checksums (4 each), the bytes
 *	CRC-32 of all of the above; "open", or "done" when the repair is over
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "out.h"
#include "repair.h"
#include "undo.h"

#define MAGIC "vdisk undo 1\n\0\0"
#define MARK_LEN 4
#define MOST_STATES 0xffffu
#define MOST_NAME 65536u

static const u8 zeroes[VDISK_SECTOR];

static u32 sum_of(const u8 *bytes)
{
	return (u32)crc32(0, bytes, VDISK_SECTOR);
}

/*-----------------------------------------------------------------
 * What a trial would change
 */

/* A state of a sector; @sum means nothing if the sector is cut off. */
struct state {
	u64 sector;
	u32 sum;
	bool cut;
};

struct states {
	struct state *state;
	size_t nr, room;
};

static void add(struct states *s, u64 sector, u32 sum, bool cut)
{
	if (s->nr == s->room) {
		s->room = 2 * s->room + 64;
		s->state = out_grow(s->state, s->room, sizeof(*s->state));
	}
	s->state[s->nr++] = (struct state){ sector, sum, cut };
}

static int by_sector(const void *a, const void *b)
{
	const struct state *p = a, *q = b;

	if (p->sector != q->sector)
		return p->sector < q->sector ? -1 : 1;
	if (p->cut != q->cut)
		return p->cut ? 1 : -1;
	return p->sum < q->sum ? -1 : p->sum > q->sum;
}

/* What the sector is after @e, which changes a part of it or all. */
static int state_after(struct vdisk_store *trial, struct vdisk_store *shadow,
		       const struct repair_event *e, struct states *s)
{
	u8 buf[VDISK_SECTOR];
	u64 at, from, to, end = e->off + e->len;
	int r = 0;

	for (at = e->off / VDISK_SECTOR; at * VDISK_SECTOR < end && !r; at++) {
		from = vdisk_max(e->off, at * VDISK_SECTOR);
		to = vdisk_min(end, (at + 1) * VDISK_SECTOR);
		r = repair_trial_bytes(trial, e, from - e->off, buf, to - from);
		if (!r)
			r = vdisk_store_write(shadow, from, buf, to - from);
		if (!r)
			r = vdisk_store_read(shadow, at * VDISK_SECTOR, buf,
					     sizeof(buf));
		if (!r)
			add(s, at, sum_of(buf), false);
	}
	return r;
}

/* Each state of each sector, in the order of sectors, once. */
static int list_states(struct vdisk_store *trial, struct states *s, u64 *most)
{
	struct vdisk_store *below = repair_trial_below(trial), *shadow;
	u64 least = repair_trial_least(trial), at;
	const struct repair_event *event;
	size_t nr, i, n = 0;
	int r = 0;

	*most = below->length;
	shadow = repair_trial_new(below);
	nr = repair_trial_events(trial, &event);
	for (i = 0; i < nr && !r; i++) {
		if (event[i].kind == REPAIR_WRITE)
			r = state_after(trial, shadow, &event[i], s);
		else if (event[i].kind == REPAIR_LENGTH)
			r = vdisk_store_set_length(shadow, event[i].off);
		*most = vdisk_max(*most, shadow->length);
	}
	vdisk_store_close(shadow);
	for (at = least / VDISK_SECTOR; at * VDISK_SECTOR < below->length; at++)
		add(s, at, 0, true);
	if (s->nr)
		qsort(s->state, s->nr, sizeof(*s->state), by_sector);
	for (i = 0; i < s->nr; i++)
		if (!n || by_sector(&s->state[n - 1], &s->state[i]))
			s->state[n++] = s->state[i];
	s->nr = n;
	return r;
}

/*-----------------------------------------------------------------
 * Writing
 */

struct output {
	FILE *f;
	u32 sum;
	bool failed;
};

static void put(struct output *out, const void *bytes, size_t len)
{
	out->sum = (u32)crc32(out->sum, bytes, (uInt)len);
	if (fwrite(bytes, 1, len, out->f) != len)
		out->failed = true;
}

static void put_num(struct output *out, u64 value, u32 width)
{
	u8 bytes[8];

	vdisk_store(bytes, value, width, false);
	put(out, bytes, width);
}

/*
 * The states from @i on that are one sector's; their number. @old: the sector as
 * it was. @put_it: to the file, unless no state differs and none is a cut of
 * what is not zero.
 */
static int put_sector(struct output *out, const struct states *s, size_t i,
		      struct vdisk_store *below, u64 *count, bool put_it)
{
	u64 off = s->state[i].sector * VDISK_SECTOR;
	u64 there = off < below->length ? below->length - off : 0;
	u8 old[VDISK_SECTOR];
	bool differs = false;
	size_t n, sums = 0;
	int r;

	r = vdisk_store_read(below, off, old, sizeof(old));
	for (n = i; n < s->nr && s->state[n].sector == s->state[i].sector; n++) {
		if (s->state[n].cut) {
			differs |= !!memcmp(old, zeroes, sizeof(old));
			continue;
		}
		differs |= s->state[n].sum != sum_of(old);
		sums++;
	}
	if (!differs || r)
		return r;
	++*count;
	if (!put_it)
		return 0;
	there = vdisk_min(there, VDISK_SECTOR);
	sums = vdisk_min(sums, MOST_STATES);
	put_num(out, off, 8);
	put_num(out, there, 2);
	put_num(out, sums, 2);
	for (n = i; sums--; n++)
		put_num(out, s->state[n].sum, 4);
	put(out, old, there);
	return 0;
}

static int put_sectors(struct output *out, const struct states *s,
		       struct vdisk_store *below, u64 *count, bool put_it)
{
	size_t i;
	int r = 0;

	*count = 0;
	for (i = 0; i < s->nr && !r; i++)
		if (!i || s->state[i].sector != s->state[i - 1].sector)
			r = put_sector(out, s, i, below, count, put_it);
	return r;
}

static int put_file(struct output *out, const struct undo_file *file)
{
	struct vdisk_store *below = repair_trial_below(file->store);
	struct states s = { 0 };
	u64 count, most;
	int r;

	r = list_states(file->store, &s, &most);
	if (!r)
		r = put_sectors(out, &s, below, &count, false);
	if (!r) {
		put_num(out, file->inode, 8);
		put_num(out, below->length, 8);
		put_num(out, repair_trial_least(file->store), 8);
		put_num(out, most, 8);
		put_num(out, strlen(file->path), 8);
		put_num(out, count, 8);
		put(out, file->path, strlen(file->path));
		r = put_sectors(out, &s, below, &count, true);
	}
	free(s.state);
	return r;
}

int undo_write(FILE *f, u64 image, const struct undo_file *file,
	       unsigned int nr)
{
	struct output out = { .f = f };
	unsigned int i;
	int r = 0;

	put(&out, MAGIC, 16);
	put_num(&out, image, 8);
	put_num(&out, nr, 8);
	for (i = 0; i < nr && !r; i++)
		r = put_file(&out, &file[i]);
	put_num(&out, out.sum, 4);
	put(&out, "open", MARK_LEN);
	if (!r && (fflush(f) || out.failed))
		r = errno ? -errno : -EIO;
	return r;
}

static int flush_dir(const char *path)
{
	char *copy = out_text("%s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	free(copy);
	if (fd < 0)
		return -errno;
	/* Some file systems cannot, and have no need to. */
	if (fsync(fd) && errno != EINVAL)
		r = -errno;
	close(fd);
	return r;
}

/* Under a name of its own first, which a crash may leave. */
static int save_as(const char *path, const char *tmp, u64 image,
		   const struct undo_file *file, unsigned int nr)
{
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r;
	FILE *f;

	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f) {
		r = -errno;
		close(fd);
		return r;
	}
	r = undo_write(f, image, file, nr);
	if (!r && fsync(fd))
		r = -errno;
	if (fclose(f) && !r)
		r = -errno;
	if (!r && link(tmp, path))
		r = -errno;
	return r;
}

int undo_save(const char *path, u64 image, const struct undo_file *file,
	      unsigned int nr)
{
	char *tmp = out_text("%s.%d", path, (int)getpid());
	int r;

	if (!access(path, F_OK)) {
		free(tmp);
		return -EEXIST;
	}
	r = save_as(path, tmp, image, file, nr);
	unlink(tmp);
	free(tmp);
	return r ? r : flush_dir(path);
}

bool undo_is_done(FILE *f)
{
	char mark[MARK_LEN];

	/* What is no undo file is not one of a repair that was cut off. */
	return fseeko(f, -MARK_LEN, SEEK_END) ||
	       fread(mark, 1, MARK_LEN, f) != MARK_LEN ||
	       memcmp(mark, "open", MARK_LEN);
}

int undo_mark(const char *path, bool done)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;
	off_t end;

	if (fd < 0)
		return -errno;
	end = lseek(fd, -MARK_LEN, SEEK_END);
	if (end < 0 || pwrite(fd, done ? "done" : "open", MARK_LEN, end) !=
	    MARK_LEN || fsync(fd))
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

/*-----------------------------------------------------------------
 * Putting back
 */

struct input {
	FILE *f;
	bool failed;
	u32 sum;
};

static void get(struct input *in, void *bytes, size_t len)
{
	if (fread(bytes, 1, len, in->f) != len) {
		memset(bytes, 0, len);
		in->failed = true;
	}
	in->sum = (u32)crc32(in->sum, bytes, (uInt)len);
}

static u64 get_num(struct input *in, u32 width)
{
	u8 bytes[8] = { 0 };

	get(in, bytes, width);
	return vdisk_le64(bytes);
}

struct job {
	struct input in;
	undo_open *open;
	void *arg;
	struct vdisk_fault *fault;
	u64 image;
	bool write;
};

static int refuse(struct job *job, const char *what, u64 value)
{
	return vdisk_fault_set(job->fault, -ESTALE, what, value);
}

struct restore {
	struct undo_file file;
	u64 old_len, least, most, sectors;
};

/* Is the sector as it was, or as the repair made it? */
static bool is_known(const u8 *now, const u8 *old, const u8 *sums, u64 nr)
{
	u32 sum = sum_of(now);
	u64 i;

	if (!memcmp(now, old, VDISK_SECTOR))
		return true;
	for (i = 0; i < nr; i++)
		if (vdisk_le32(sums + i * 4) == sum)
			return true;
	return false;
}

static int one_sector(struct job *job, const struct restore *f, u8 *sums)
{
	u64 off = get_num(&job->in, 8), len = get_num(&job->in, 2);
	u64 nr = get_num(&job->in, 2);
	u8 old[VDISK_SECTOR] = { 0 }, now[VDISK_SECTOR];
	int r;

	if (len > VDISK_SECTOR || off % VDISK_SECTOR)
		return refuse(job, "Undo file is damaged at offset", off);
	get(&job->in, sums, nr * 4);
	get(&job->in, old, len);
	if (job->in.failed)
		return refuse(job, "Undo file is cut off", 0);
	r = vdisk_store_read(f->file.store, off, now, sizeof(now));
	if (r)
		return vdisk_fault_set(job->fault, r, "Read failed at byte",
				       off);
	if (job->write)
		r = len ? vdisk_store_write(f->file.store, off, old, len) : 0;
	else if (!is_known(now, old, sums, nr) &&
		 (off < f->least || memcmp(now, zeroes, sizeof(now))))
		return refuse(job, "Image was changed since, at byte", off);
	if (r)
		vdisk_fault_set(job->fault, r, "Write failed at byte", off);
	return r;
}

static int open_file(struct job *job, struct restore *f, char *name)
{
	u64 inode = get_num(&job->in, 8), len;
	int r;

	f->old_len = get_num(&job->in, 8);
	f->least = get_num(&job->in, 8);
	f->most = get_num(&job->in, 8);
	len = get_num(&job->in, 8);
	f->sectors = get_num(&job->in, 8);
	if (len >= MOST_NAME)
		return refuse(job, "Undo file names a file of bytes", len);
	get(&job->in, name, len);
	name[len] = 0;
	if (job->in.failed)
		return refuse(job, "Undo file is cut off", len);
	f->file.path = name;
	f->file.inode = inode;
	r = job->open(job->arg, &f->file);
	if (r)
		return r;
	if (f->file.inode != inode)
		return refuse(job, "Undo file is of the file with the inode",
			      inode);
	if (f->file.store->length < f->least || f->file.store->length > f->most)
		return refuse(job, "Image was changed since, its length is",
			      f->file.store->length);
	return 0;
}

static int one_file(struct job *job, char *name, u8 *sums)
{
	struct restore f = { 0 };
	u64 i;
	int r;

	r = open_file(job, &f, name);
	if (!r && job->write && f.file.store->length < f.old_len) {
		r = vdisk_store_set_length(f.file.store, f.old_len);
		if (r)
			vdisk_fault_set(job->fault, r,
					"Cannot make the file this long",
					f.old_len);
	}
	for (i = 0; i < f.sectors && !r; i++)
		r = one_sector(job, &f, sums);
	if (!r && job->write) {
		r = vdisk_store_flush(f.file.store);
		if (!r)
			r = vdisk_store_set_length(f.file.store, f.old_len);
		if (!r)
			r = vdisk_store_flush(f.file.store);
		if (r)
			vdisk_fault_set(job->fault, r, "Flush failed", (u64)-r);
	}
	return r;
}

/* All files, once to look and once to write. */
static int all_files(struct job *job, char *name, u8 *sums)
{
	u8 magic[16];
	u64 image, nr, i;
	u32 sum;
	int r = 0;

	errno = 0;
	rewind(job->in.f);
	job->in.sum = 0;
	get(&job->in, magic, sizeof(magic));
	image = get_num(&job->in, 8);
	nr = get_num(&job->in, 8);
	if (memcmp(magic, MAGIC, sizeof(magic)))
		return refuse(job, "Not an undo file, it starts with",
			      vdisk_be32(magic));
	if (image != job->image)
		return refuse(job, "Undo file is of the image with the inode",
			      image);
	for (i = 0; i < nr && !r; i++)
		r = one_file(job, name, sums);
	if (r)
		return r;
	sum = job->in.sum;
	if ((u32)get_num(&job->in, 4) != sum || job->in.failed)
		return refuse(job, "Undo file is damaged, its checksum is",
			      sum);
	return 0;
}

int undo_apply(FILE *f, u64 image, undo_open *open, void *arg,
	       struct vdisk_fault *fault)
{
	struct job job = {
		.in.f = f, .open = open, .arg = arg, .fault = fault,
		.image = image,
	};
	char *name = out_alloc(MOST_NAME, 1);
	u8 *sums = out_alloc(MOST_STATES + 1, 4);
	int r;

	r = all_files(&job, name, sums);
	job.write = true;
	if (!r)
		r = all_files(&job, name, sums);
	free(name);
	free(sums);
	return r;
}
