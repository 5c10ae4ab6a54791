// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plans by phase, marks, and the group commit. The order is the point: see
 * disk.h, and formats/format.h for what the phases promise.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "disk.h"

#define CHUNK (128u * 1024)

static const u8 zeroes[CHUNK];

static int flush(struct vdisk_image *image, enum vdisk_flush_why why)
{
	int r;

	if (image->opts.skip_flush & 1u << why)
		return 0;
	r = vdisk_store_flush(image->store);
	if (!r)
		return 0;
	/* What was written since the last good flush may be gone for good. */
	image->failed = true;
	return vdisk_fault_set(image->fault, r, "Flush failed", (u64)-r);
}

/*-----------------------------------------------------------------
 * Ops
 */

static int write_failed(struct vdisk_image *image, int r, u64 off)
{
	return vdisk_fault_set(image->fault, r, "Write failed at byte", off);
}

int vdisk_image_write(struct vdisk_image *image, u64 off, const u8 *buf,
		      u64 len)
{
	u64 at, n, end = off + len;
	struct vdisk_block *b;
	int r;

	r = vdisk_store_write(image->store, off, buf, len);
	if (r)
		return write_failed(image, r, off);
	for (at = off; at < end; at += n) {
		n = vdisk_min(end - at, VDISK_BLOCK - at % VDISK_BLOCK);
		b = vdisk_block_find(image, at - at % VDISK_BLOCK);
		if (b)
			memcpy(b->data + at % VDISK_BLOCK, buf + (at - off), n);
	}
	return 0;
}

int vdisk_image_zero(struct vdisk_image *image, u64 off, u64 len)
{
	u64 n;
	int r;

	for (; len; off += n, len -= n) {
		n = vdisk_min(len, CHUNK);
		r = vdisk_image_write(image, off, zeroes, n);
		if (r)
			return r;
	}
	return 0;
}

/* The file is cut or grown; what the cache holds past its end is gone. */
static int set_length(struct vdisk_image *image, u64 len)
{
	u64 old = image->store->length, from;
	struct vdisk_block *b;
	u32 i;
	int r;

	r = vdisk_store_set_length(image->store, len);
	if (r)
		return vdisk_fault_set(image->fault, r,
				       "Cannot make the file this long", len);
	if (image->store->device)
		return 0;
	/* The tail lies where the file ended; behind it all is new. */
	if (len < image->zero_off || image->geom.tail_len)
		image->zero_off = vdisk_min(old, len);
	for (i = 0; len < old && i < VDISK_CACHE_BUCKETS; i++) {
		for (b = image->bucket[i]; b; b = b->next) {
			from = vdisk_max(len, b->off) - b->off;
			if (from < VDISK_BLOCK)
				memset(b->data + from, 0, VDISK_BLOCK - from);
		}
	}
	return 0;
}

/*
 * Ops to the file at once, in whole sectors: one, or several of one sector,
 * which a crash must not separate. The cache may hold changes of the same
 * sector that must not go out before the commit: they stay there.
 */
int vdisk_plan_now(struct vdisk_image *image, const struct vdisk_op *op, u32 nr)
{
	u64 off, len, end, lo, hi, base;
	u8 buf[VDISK_BLOCK];
	struct vdisk_block *b;
	int r = 0;
	u32 i;

	if (op->kind == VDISK_OP_LENGTH)
		return set_length(image, op->off);
	vdisk_op_range(&image->geom, op, &off, &len);
	end = off + len;
	if (nr > 1) {
		off &= ~(u64)(VDISK_SECTOR - 1);
		end = off + VDISK_SECTOR;
	}
	for (base = off & ~(u64)(VDISK_BLOCK - 1); base < end && !r;
	     base += VDISK_BLOCK) {
		lo = vdisk_max(base, off & ~(u64)(VDISK_SECTOR - 1));
		hi = vdisk_min(base + VDISK_BLOCK,
			       vdisk_align(end, VDISK_SECTOR, 0));
		/* A file may end inside a sector. */
		hi = vdisk_min(hi, vdisk_max(end, image->store->length));
		if (lo < off || hi > end || nr > 1)
			r = vdisk_store_read(image->store, lo, buf, hi - lo);
		for (i = 0; i < nr; i++)
			vdisk_op_apply(&image->geom, &op[i], lo, buf, hi - lo);
		if (!r)
			r = vdisk_store_write(image->store, lo, buf, hi - lo);
		b = vdisk_block_find(image, base);
		for (i = 0; b && !r && i < nr; i++)
			vdisk_op_apply(&image->geom, &op[i], base, b->data,
				       VDISK_BLOCK);
	}
	return r ? write_failed(image, r, off) : 0;
}

/* The ops of one phase, at once; *@any: there were some. */
static int run_phase(struct vdisk_image *image, const struct vdisk_plan *plan,
		     enum vdisk_phase phase, bool *any)
{
	u32 i, n;
	int r = 0;

	*any = false;
	for (i = 0; i < plan->nr && !r; i += n) {
		n = 1;
		if (plan->op[i].phase != phase)
			continue;
		*any = true;
		n = vdisk_plan_together(&image->geom, plan, i);
		r = vdisk_plan_now(image, &plan->op[i], n);
	}
	return r;
}

int vdisk_plan_before(struct vdisk_image *image,
		      const struct vdisk_plan *plan, enum vdisk_flush_why why)
{
	bool any;
	int r;

	r = run_phase(image, plan, VDISK_BEFORE, &any);
	return r || !any ? r : flush(image, why);
}

/*
 * A table may lie in a hole of the file. It has its space before anybody is told
 * that the write is done: the commit is too late to find the disk full.
 */
static int reserve_block(struct vdisk_image *image, const struct vdisk_block *b)
{
	u64 len = vdisk_max(image->store->length, b->off) - b->off;
	int r;

	if (b->dirty)
		return 0;
	len = vdisk_min(len, VDISK_BLOCK);
	r = len ? vdisk_store_reserve(image->store, b->off, b->data, len) : 0;
	return r ? write_failed(image, r, b->off) : 0;
}

/*
 * PUBLISH to the cache: all blocks first, as reading one may fail, then all
 * changes, which cannot.
 */
int vdisk_plan_publish(struct vdisk_image *image,
		       const struct vdisk_plan *plan)
{
	struct vdisk_block *b;
	u64 off, len, at, end;
	bool apply = false;
	u32 i, s;
	int r;

again:
	for (i = 0; i < plan->nr; i++) {
		if (plan->op[i].phase != VDISK_PUBLISH)
			continue;
		vdisk_op_range(&image->geom, &plan->op[i], &off, &len);
		at = off & ~(u64)(VDISK_BLOCK - 1);
		for (; len && at < off + len; at += VDISK_BLOCK) {
			r = vdisk_block_get(image, at, &b);
			if (!r && !apply)
				r = reserve_block(image, b);
			if (r)
				return r;
			if (!apply)
				continue;
			vdisk_op_apply(&image->geom, &plan->op[i], at, b->data,
				 VDISK_BLOCK);
			end = vdisk_min(off + len, at + VDISK_BLOCK) - at;
			image->nr_dirty += !b->dirty;
			for (s = (u32)(vdisk_max(at, off) - at) / VDISK_SECTOR;
			     s * VDISK_SECTOR < end; s++)
				b->dirty |= (u8)(1u << s);
		}
	}
	if (!apply) {
		apply = true;
		goto again;
	}
	vdisk_space_freed(image, plan->freed_off, plan->freed_len);
	return 0;
}

/*-----------------------------------------------------------------
 * Marks and commits
 */

static int run_mark(struct vdisk_image *image, bool dirty)
{
	struct vdisk_plan plan = { 0 };
	struct vdisk_drive d;
	u8 random[VDISK_RANDOM];
	int r;

	vdisk_drive_start(&d, image);
	d.step.random = image->opts.random ? image->opts.random : random;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return vdisk_fault_set(image->fault, -EIO,
				       "No random bytes to be had",
				       sizeof(random));
	do {
		r = image->format->mark(&image->geom, &d.step, dirty, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	return r ? r : vdisk_plan_before(image, &plan, VDISK_FLUSH_MARK);
}

static int mark(struct vdisk_image *image, bool dirty)
{
	int r;

	if (!(image->geom.flags & VDISK_GEOM_MARK) || !image->format->mark ||
	    image->marked == dirty)
		return 0;
	/* It is marked when that is durable, and not from when it is unsaid. */
	image->marked &= dirty;
	r = run_mark(image, dirty);
	image->marked |= dirty && !r;
	return r;
}

/* What says that the contents are as they were says so no longer. */
static int stamp(struct vdisk_image *image)
{
	int r;

	if (!(image->geom.flags & VDISK_GEOM_STAMP) || image->stamped)
		return 0;
	r = run_mark(image, true);
	if (!r && !image->marked)
		r = run_mark(image, false);
	image->stamped = !r;
	return r;
}

int vdisk_image_change(struct vdisk_image *image)
{
	int r;

	if (!image->opts.write)
		return vdisk_fault_set(image->fault, -EROFS,
				       "Image is open for reading only", 0);
	if (image->failed)
		return vdisk_fault_set(image->fault, -EROFS,
				       "An earlier flush failed", 0);
	if (image->nr_dirty > image->opts.cache_blocks) {
		r = vdisk_image_commit(image);
		if (r)
			return r;
	}
	r = stamp(image);
	if (!r)
		r = mark(image, true);
	if (!r)
		r = vdisk_space_scan(image);
	image->changed |= !r;
	image->unit_valid = false;
	return r;
}

/* The changed sectors of the tables, as they were when the commit began. */
struct copy {
	u64 off;
	u32 len;
	u8 data[VDISK_BLOCK];
};

static void copy_block(struct vdisk_block *b, struct copy *copies, size_t *nr)
{
	struct copy *c = NULL;
	u32 s;

	for (s = 0; s < VDISK_BLOCK / VDISK_SECTOR; s++) {
		if (!(b->dirty & 1u << s)) {
			c = NULL;
			continue;
		}
		if (!c) {
			c = &copies[(*nr)++];
			c->off = b->off + s * VDISK_SECTOR;
			c->len = 0;
		}
		memcpy(c->data + c->len, b->data + s * VDISK_SECTOR,
		       VDISK_SECTOR);
		c->len += VDISK_SECTOR;
	}
	b->dirty = 0;
}

static int copy_tables(struct vdisk_image *image, struct copy **copies,
		       size_t *nr)
{
	/* Dirty runs of a block: never more than every second sector. */
	size_t room = (size_t)image->nr_dirty * (VDISK_BLOCK / VDISK_SECTOR / 2);
	struct vdisk_block *b;
	u32 i;

	*nr = 0;
	*copies = room ? malloc(room * sizeof(**copies)) : NULL;
	if (room && !*copies)
		return vdisk_fault_set(image->fault, -ENOMEM,
				       "Out of memory for table blocks",
				       image->nr_dirty);
	for (i = 0; i < VDISK_CACHE_BUCKETS; i++)
		for (b = image->bucket[i]; b; b = b->next)
			copy_block(b, *copies, nr);
	image->nr_dirty = 0;
	return 0;
}

/*
 * The copies are made before the first flush: what changes a table after them
 * points to data that this flush need not have covered.
 */
int vdisk_image_commit(struct vdisk_image *image)
{
	struct copy *copies;
	size_t i, nr;
	int r;

	if (image->failed)
		return vdisk_fault_set(image->fault, -EROFS,
				       "An earlier flush failed", 0);
	if (!image->opts.write)
		return 0;
	r = copy_tables(image, &copies, &nr);
	if (r)
		return r;
	r = flush(image, VDISK_FLUSH_DATA);
	for (i = 0; i < nr && !r; i++) {
		r = vdisk_store_write(image->store, copies[i].off,
				      copies[i].data, copies[i].len);
		if (r)
			write_failed(image, r, copies[i].off);
	}
	if (!r && nr)
		r = flush(image, VDISK_FLUSH_TABLES);
	free(copies);
	/* Guests were told of data that no table on the medium reaches. */
	if (r)
		image->failed = true;
	else
		vdisk_space_promote(image);
	return r;
}

/* Give the end of the file back, from the last unit on. */
static int trim(struct vdisk_image *image)
{
	u64 end = vdisk_max(image->alloc_off, image->geom.data_off);
	struct vdisk_plan plan = { 0 };
	struct vdisk_drive d;
	bool any;
	int r;

	if (!image->format->trim || end >= image->data_end)
		return 0;
	vdisk_drive_start(&d, image);
	do {
		r = image->format->trim(&image->geom, &d.step, end, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	if (!r)
		r = vdisk_plan_before(image, &plan, VDISK_FLUSH_TRIM);
	if (!r)
		r = run_phase(image, &plan, VDISK_PUBLISH, &any);
	if (!r && any)
		r = flush(image, VDISK_FLUSH_TRIM);
	if (!r)
		image->data_end = end;
	return r;
}

int vdisk_image_settle(struct vdisk_image *image)
{
	int r;

	if (!image->changed)
		return 0;
	r = vdisk_image_commit(image);
	if (!r)
		r = trim(image);
	if (!r)
		r = mark(image, false);
	if (!r)
		image->changed = false;
	return r;
}

