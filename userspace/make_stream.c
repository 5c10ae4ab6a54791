// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VMDK stream, written as strict importers read it, from front to back: the
 * records of a grain table, the table, and so on; then the directory, the
 * footer that says where it is, and the end marker. What is empty is left out.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "../formats/vmdk.h"
#include "chain.h"
#include "make.h"
#include "out.h"
#include "pack.h"
#include "progress.h"

enum {
	GT_LEN = VMDK_MAX_GTES * VMDK_ENTRY_LEN,
};

struct stream {
	struct make *make;
	struct vdisk_store *store;
	u64 grain_sec;
	u64 at_sec;		/* where the next part goes */
	u8 gt[GT_LEN];
	bool gt_used;
	u8 *gd;
	struct pack *pack;	/* of records: head, stream, zeroes up to a sector */
};

static int put(struct stream *s, const void *bytes, u64 sectors)
{
	int r;

	/* An entry must be able to name it. */
	if (s->at_sec + sectors > VMDK_MAX_OFF / VDISK_SECTOR)
		return -EFBIG;
	r = vdisk_store_write(s->store, s->at_sec * VDISK_SECTOR, bytes,
			      sectors * VDISK_SECTOR);
	s->at_sec += sectors;
	return r;
}

static int put_marker(struct stream *s, u64 sectors, u32 type)
{
	u8 marker[VDISK_SECTOR];

	vdisk_stream_marker(sectors, type, marker);
	return put(s, marker, 1);
}

/* Metadata of @len bytes with the marker before it; *@sector is where it is. */
static int put_meta(struct stream *s, u32 type, const u8 *bytes, u64 len,
		    u64 *sector)
{
	u64 sectors = vdisk_div_up(len, VDISK_SECTOR);
	int r = put_marker(s, sectors, type);

	*sector = s->at_sec;
	return r ? r : put(s, bytes, sectors);
}

/* The table of the range that ends here, unless it is empty. */
static int end_table(struct stream *s, u64 index)
{
	u64 sector;
	int r;

	if (!s->gt_used)
		return 0;
	r = put_meta(s, VMDK_MARK_GT, s->gt, GT_LEN, &sector);
	vdisk_store(s->gd + index * VMDK_ENTRY_LEN, sector, VMDK_ENTRY_LEN,
		    false);
	memset(s->gt, 0, GT_LEN);
	s->gt_used = false;
	return r;
}

static int put_grain(struct stream *s, const struct pack_job *job)
{
	u8 *record = job->packed - VMDK_GRAIN_HEAD;
	u64 end = VMDK_GRAIN_HEAD + job->len, at = s->at_sec;
	u64 sectors = vdisk_div_up(end, VDISK_SECTOR);

	if (job->r)
		return job->r;
	vdisk_stream_record(job->index * s->grain_sec, (u32)job->len, record);
	memset(record + end, 0, sectors * VDISK_SECTOR - end);
	vdisk_store(s->gt + job->index % VMDK_MAX_GTES * VMDK_ENTRY_LEN, at,
		    VMDK_ENTRY_LEN, false);
	s->gt_used = true;
	return put(s, record, sectors);
}

/* All grains that are on their way. */
static int put_grains(struct stream *s)
{
	struct pack_job *job;
	int r = 0;

	while (!r && (job = pack_take(s->pack)))
		r = put_grain(s, job);
	return r;
}

static int end_stream(struct stream *s)
{
	const u64 len = s->make->layout.table_nr * VMDK_ENTRY_LEN;
	u8 footer[VDISK_SECTOR];
	u64 gd;
	int r;

	r = put_meta(s, VMDK_MARK_GD, s->gd, len, &gd);
	if (r)
		return r;
	vdisk_stream_footer(&s->make->recipe, &s->make->layout, gd, footer);
	r = put_marker(s, 1, VMDK_MARK_FOOTER);
	if (!r)
		r = put(s, footer, 1);
	if (!r)
		r = put_marker(s, 0, VMDK_MARK_END);
	if (!r)
		r = vdisk_store_set_length(s->store, s->at_sec * VDISK_SECTOR);
	return r;
}

/* The grain at @sector, zeroes behind the disk's end; false if unreadable. */
static bool read_grain(struct stream *s, struct chain *from, u64 sector,
		       u8 *plain, bool mapped)
{
	u64 n = vdisk_min(s->grain_sec, from->disk->size_sec - sector);

	memset(plain + n * VDISK_SECTOR, 0, (s->grain_sec - n) * VDISK_SECTOR);
	return make_read(s->make, from, sector, plain, n, mapped);
}

/* One grain goes on its way, unless it is all zeroes; false if unreadable. */
static bool copy_grain(struct stream *s, struct chain *from, u64 grain,
		       bool mapped, int *r)
{
	struct pack_job *job = pack_room(s->pack);

	if (!job) {
		*r = put_grain(s, pack_take(s->pack));
		job = pack_room(s->pack);
	}
	if (!read_grain(s, from, grain * s->grain_sec, job->plain, mapped))
		return false;
	job->index = grain;
	if (!make_is_zero(job->plain, s->grain_sec * VDISK_SECTOR))
		pack_begin(s->pack);
	return true;
}

/* False if @from could not be read, else *@r says how writing went. */
static bool copy(struct stream *s, struct chain *from, int *r)
{
	struct vdisk_disk *disk = from->disk;
	const u64 grain_sec = s->grain_sec;
	u64 grain, next, last = 0;
	struct vdisk_hit hit;
	bool mapped;

	for (grain = 0; !*r && grain * grain_sec < disk->size_sec; grain = next) {
		progress_show("copying", grain * grain_sec, disk->size_sec);
		next = grain + 1;
		if (grain / VMDK_MAX_GTES != last) {
			*r = put_grains(s);
			if (!*r)
				*r = end_table(s, last);
		}
		last = grain / VMDK_MAX_GTES;
		mapped = !make_map(from, grain * grain_sec, &hit);
		if (mapped && hit.kind == VDISK_ZERO &&
		    hit.sectors >= grain_sec)
			next = grain + hit.sectors / grain_sec;
		else if (!*r && !copy_grain(s, from, grain, mapped, r))
			return false;
	}
	if (!*r)
		*r = put_grains(s);
	if (!*r)
		*r = end_table(s, last);
	if (!*r)
		*r = end_stream(s);
	return true;
}

/* No grain is longer than one that does not shrink. */
u64 make_stream_length(const struct make *make, u64 grains, u64 tables)
{
	u64 record = VMDK_GRAIN_HEAD + compressBound(make->recipe.unit_len);
	u64 gd = make->layout.table_nr * VMDK_ENTRY_LEN;

	return make->layout.data_off +
	       grains * vdisk_align(record, VDISK_SECTOR, 0) +
	       tables * (VDISK_SECTOR + GT_LEN) +
	       VDISK_SECTOR + vdisk_align(gd, VDISK_SECTOR, 0) +
	       3 * VDISK_SECTOR;
}

bool make_copy_stream(struct make *make, struct chain *from)
{
	const u64 len = make->recipe.unit_len;
	struct stream *s = out_alloc(1, sizeof(*s));
	bool read = true;
	int r;

	s->make = make;
	s->grain_sec = len / VDISK_SECTOR;
	s->at_sec = make->layout.data_off / VDISK_SECTOR;
	s->gd = out_alloc(vdisk_align(make->layout.table_nr * VMDK_ENTRY_LEN,
				      VDISK_SECTOR, 0), 1);
	s->pack = pack_new(make->threads, len, VMDK_GRAIN_HEAD, VDISK_SECTOR);
	r = s->pack ? make_store(&make->file[0], &s->store) : -ENOMEM;
	if (!r)
		read = copy(s, from, &r);
	progress_clear();
	if (!read)
		out_error(from->image, "%s", from->fault.text);
	else if (r)
		out_error(make->image, "%s", strerror(-r));
	vdisk_store_close(s->store);
	free(s->gd);
	if (s->pack)
		pack_free(s->pack);
	free(s);
	return read && !r;
}
