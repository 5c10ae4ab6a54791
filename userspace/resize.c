// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Another size for a disk, whatever its format: the order of things, which is
 * what makes it crash safe. See formats/resize.h.
 */
#include <signal.h>
#include <stdlib.h>

#include "../formats/resize.h"
#include "resize.h"

#define CHUNK (1u << 20)
#define BATCH (64u << 20)	/* bytes copied before their entries are set */

volatile sig_atomic_t resize_stop;

struct job {
	struct vdisk_disk *disk;
	struct vdisk_part *part;
	struct vdisk_image *image;
	const struct vdisk_resizer *ops;
	struct vdisk_resize rs;
	u8 *buf;			/* CHUNK bytes */
	u64 copied;			/* since the last commit */
};

static bool is_zero(const u8 *p, u64 len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

int resize_find_data(struct vdisk_disk *disk, u64 sector, u64 *found)
{
	u8 *buf = malloc(CHUNK);
	struct vdisk_hit hit;
	int r = buf ? 0 : -ENOMEM;
	u64 n, i;

	for (*found = sector; !r && *found < disk->size_sec; *found += n) {
		n = disk->size_sec - *found;
		r = vdisk_disk_map(disk, *found, n, &hit);
		n = hit.sectors;
		if (r || hit.kind == VDISK_ZERO)
			continue;
		n = vdisk_min(n, CHUNK / VDISK_SECTOR);
		r = vdisk_disk_read(disk, *found, buf, n);
		for (i = 0; !r && i < n; i++)
			if (!is_zero(buf + i * VDISK_SECTOR, VDISK_SECTOR))
				break;
		*found += i;
		if (i < n)
			break;
		n = 0;
	}
	free(buf);
	return r;
}

/*-----------------------------------------------------------------
 * Plans
 */

/* A geometry of the file as it will be when @plan has run, or as it is. */
static int open_as(struct job *job, const struct vdisk_plan *plan,
		   struct vdisk_geom *geom)
{
	struct vdisk_image *image = job->image;
	struct vdisk_params params = {
		.file_len = image->store->length,
		.start_off = image->opts.start_off,
		.size_sec = image->opts.size_sec ? job->rs.size_sec : 0,
		.size_rule = image->opts.size_rule,
		.write = true,
		.device = image->store->device,
	};
	static u8 block[VDISK_MAX_VIEWS][VDISK_BLOCK];
	struct vdisk_geom with_tail = image->geom;
	struct vdisk_block *b;
	struct vdisk_drive d;
	u64 off, len, at;
	u32 i, j, n = 0;
	int r;

	memcpy(with_tail.tail, job->rs.tail, sizeof(with_tail.tail));
	vdisk_drive_start(&d, image);
	for (i = 0; plan && i < plan->nr; i++) {
		vdisk_op_range(&with_tail, &plan->op[i], &off, &len);
		at = off & ~(u64)(VDISK_BLOCK - 1);
		for (j = 0; j < n && d.step.view[j].off != at; j++)
			;
		if (j < n || n == VDISK_MAX_VIEWS || off >= params.file_len)
			continue;
		r = vdisk_block_get(image, at, &b);
		if (r)
			return r;
		memcpy(block[n], b->data, VDISK_BLOCK);
		for (j = 0; j < plan->nr; j++)
			vdisk_op_apply(&with_tail, &plan->op[j], at, block[n],
				       VDISK_BLOCK);
		d.step.view[n] = (struct vdisk_view){
			.off = at, .data = block[n],
			.len = (u32)vdisk_min(VDISK_BLOCK, params.file_len - at),
		};
		d.step.nr_views = ++n;
	}
	do {
		r = image->format->open(&params, &d.step, geom);
	} while (vdisk_drive_again(&d, image, &r));
	if (!r && geom->size_sec != job->rs.size_sec)
		r = vdisk_fault_set(image->fault, -EIO,
				    "Image does not take the size",
				    job->rs.size_sec);
	geom->flags |= image->geom.flags & VDISK_GEOM_PARENT;
	return r;
}

static void take_geometry(struct job *job, const struct vdisk_geom *geom)
{
	struct vdisk_layer *top = &job->disk->layer[job->disk->nr - 1];

	job->image->geom = *geom;
	job->part->sectors = job->rs.size_sec;
	top->size_sec = job->part->first_sec + job->part->sectors;
	job->disk->size_sec = top->size_sec;
	if (job->image->opts.size_sec)
		job->image->opts.size_sec = job->rs.size_sec;
}

/* The new footer, if the format has one, from here on. */
static int publish(struct job *job)
{
	struct vdisk_image *image = job->image;
	struct vdisk_plan plan;
	struct vdisk_drive d;
	int r = 0;
	u32 i;

	if (image->geom.tail_len)
		memcpy(image->geom.tail, job->rs.tail, sizeof(job->rs.tail));
	for (i = 0; !r; i++) {
		vdisk_drive_start(&d, image);
		do {
			plan = (struct vdisk_plan){ 0 };
			r = job->ops->publish(&image->geom, &d.step, &job->rs,
					      i, &plan);
		} while (vdisk_drive_again(&d, image, &r));
		if (!r && !plan.nr)
			break;
		if (!r)
			r = vdisk_plan_before(image, &plan, VDISK_FLUSH_BEFORE);
	}
	/* Half of it is done: the image is for whoever opens it next. */
	image->failed |= r;
	return r;
}

/*-----------------------------------------------------------------
 * Tables
 */

static int get_table(struct job *job, u64 i, struct vdisk_resize_table *t)
{
	struct vdisk_drive d;
	int r;

	vdisk_drive_start(&d, job->image);
	do {
		r = job->ops->table(&job->image->geom, &d.step, &job->rs, i, t);
	} while (vdisk_drive_again(&d, job->image, &r));
	return r;
}

typedef int entry_fn(struct job *job, const struct vdisk_resize_table *t,
		     u64 i, u64 value);

static u64 value_at(const u8 *p, const struct vdisk_resize_table *t)
{
	if (t->width == 8)
		return vdisk_le64(p);
	return t->big ? vdisk_be32(p) : vdisk_le32(p);
}

/* Entries from @from on that are not absent. */
static int each_entry(struct job *job, const struct vdisk_resize_table *t,
		      u64 from, entry_fn *fn)
{
	struct vdisk_extent e;
	struct vdisk_block *b;
	u64 i, at, value, block = ~0ull;
	int r = 0;

	for (i = from; !r && i < t->entries; i++) {
		at = t->off + i * t->width;
		if (at / VDISK_BLOCK != block) {
			/* Looking up gives memory back now and then. */
			r = vdisk_image_map(job->image, 0, 1, &e);
			block = at / VDISK_BLOCK;
		}
		if (!r)
			r = vdisk_block_get(job->image, block * VDISK_BLOCK, &b);
		if (r)
			break;
		value = value_at(b->data + at % VDISK_BLOCK, t);
		if (value != t->absent)
			r = fn(job, t, i, value);
	}
	return r;
}

/* The first entry that is wholly behind @sector. */
static u64 entry_behind(const struct vdisk_resize_table *t, u64 sector)
{
	if (sector <= t->first_sec)
		return 0;
	return vdisk_min(vdisk_div_up(sector - t->first_sec, t->each_sec),
			 t->entries);
}

static int each_behind(struct job *job, u64 sector, entry_fn *fn)
{
	struct vdisk_resize_table t;
	u64 i;
	int r = 0;

	for (i = 0; i < job->rs.nr_tables && !r; i++) {
		r = get_table(job, i, &t);
		if (!r)
			r = each_entry(job, &t, entry_behind(&t, sector), fn);
	}
	return r;
}

static int set_entry(struct job *job, const struct vdisk_resize_table *t,
		     u64 i, u64 value, u64 freed_off, u64 freed_len)
{
	struct vdisk_plan plan = {
		.freed_off = freed_off, .freed_len = freed_len,
	};

	vdisk_plan_set(&plan, VDISK_PUBLISH, t->off + i * t->width, t->width,
		       t->big, 1, value, 0);
	if (t->twin_off)
		vdisk_plan_set(&plan, VDISK_PUBLISH, t->twin_off + i * t->width,
			       t->width, t->big, 1, value, 0);
	return vdisk_plan_publish(job->image, &plan);
}

/* What an unfinished change of size left, or somebody who does not tidy up. */
static int forget_entry(struct job *job, const struct vdisk_resize_table *t,
			u64 i, u64 value)
{
	return set_entry(job, t, i, t->absent, 0, 0);
}

static int free_entry(struct job *job, const struct vdisk_resize_table *t,
		      u64 i, u64 value)
{
	u64 off = value * t->scale, len = t->len;

	/* Tables that were made with the image lie before all data. */
	if (value < t->least || off < job->image->geom.data_off)
		len = 0;
	return set_entry(job, t, i, t->absent, off, len);
}

/*-----------------------------------------------------------------
 * Making way
 */

/* To what reads zero from @fresh_off on. */
static int copy_bytes(struct job *job, u64 from, u64 to, u64 len, u64 fresh_off)
{
	struct vdisk_store *store = job->image->store;
	u64 n;
	int r = 0;

	for (; len && !r; from += n, to += n, len -= n) {
		n = vdisk_min(len, CHUNK);
		r = vdisk_store_read(store, from, job->buf, n);
		if (r)
			return vdisk_fault_set(job->image->fault, r,
					       "Read failed at byte", from);
		if (to < fresh_off || !is_zero(job->buf, n))
			r = vdisk_image_write(job->image, to, job->buf, n);
		job->copied += n;
	}
	return r;
}

/* Free space that is not in the way itself. */
static int take_space(struct job *job, const struct vdisk_resize_table *t,
		      struct vdisk_grant *grant)
{
	struct vdisk_need need = {
		.kind = t->tables ? VDISK_NEED_TABLE : VDISK_NEED_UNIT,
		.len = (u32)t->len, .count = 1, .align = t->align,
		.base = t->base,
	};
	struct vdisk_space space;
	int r;

	do {
		r = vdisk_space_take(job->image, &need, &space, grant);
	} while (!r && grant->off < job->rs.clear_off);
	return r;
}

static int move_entry(struct job *job, const struct vdisk_resize_table *t,
		      u64 i, u64 value)
{
	u64 off = value * t->scale, way = job->rs.clear_off, len;
	struct vdisk_grant grant;
	int r;

	if (value < t->least || off >= way)
		return 0;
	if (resize_stop)
		return vdisk_fault_set(job->image->fault, -EINTR,
				       "Interrupted, the disk is as it was", i);
	if (job->copied >= BATCH) {
		r = vdisk_image_commit(job->image);
		if (r)
			return r;
		job->copied = 0;
	}
	r = take_space(job, t, &grant);
	if (r)
		return r;
	len = vdisk_min(t->len, job->image->store->length - off);
	r = copy_bytes(job, off, grant.off, len, grant.fresh_off);
	if (!r)
		r = set_entry(job, t, i, vdisk_div(grant.off, t->scale), way,
			      off + len - vdisk_min(way, off + len));
	return r;
}

/* Nothing may be allocated any more where the tables will be. */
static int claim_way(struct job *job)
{
	struct vdisk_image *image = job->image;
	struct vdisk_runs *free = &image->free;
	struct vdisk_need need = {
		.kind = VDISK_NEED_TABLE, .count = 1, .align = 1,
	};
	struct vdisk_space space;
	struct vdisk_grant grant;
	u64 from;
	int r;

	/* The next unit may be further on; the file is to reach here, too. */
	image->alloc_off = vdisk_min(image->alloc_off, image->data_end);
	from = vdisk_max(image->alloc_off, image->geom.data_off);

	/* A little of what is free may be lost until the next opening. */
	while (free->nr && free->run[0].off < job->rs.clear_off)
		memmove(free->run, free->run + 1,
			--free->nr * sizeof(*free->run));
	while (from < job->rs.clear_off) {
		need.len = (u32)vdisk_min(job->rs.clear_off - from, 1u << 30);
		r = vdisk_space_take(image, &need, &space, &grant);
		if (r)
			return r;
		from = vdisk_max(from, image->alloc_off);
	}
	return 0;
}

/* A table that names tables comes first: the others are then looked for anew. */
static int make_way(struct job *job)
{
	struct vdisk_resize_table t;
	u64 i;
	int r;

	if (!job->rs.clear_off)
		return 0;
	r = claim_way(job);
	for (i = 0; i < job->rs.nr_tables && !r; i++) {
		r = get_table(job, i, &t);
		if (!r)
			r = each_entry(job, &t, 0, move_entry);
		/* Before what they name is looked at in their new places. */
		if (!r && t.tables)
			r = vdisk_image_commit(job->image);
	}
	return r ? r : vdisk_image_commit(job->image);
}

/*-----------------------------------------------------------------
 * Growing
 */

/* What was given zero need not be written so. */
static void drop_fresh(const struct vdisk_drive *d, struct vdisk_plan *plan)
{
	u32 i, n = 0;

	for (i = 0; i < plan->nr; i++)
		if (plan->op[i].kind != VDISK_OP_ZERO ||
		    !vdisk_drive_fresh(d, plan->op[i].off, plan->op[i].value))
			plan->op[n++] = plan->op[i];
	plan->nr = n;
}

static int extend(struct job *job)
{
	struct vdisk_image *image = job->image;
	struct vdisk_resize_copy copy[2];
	struct vdisk_plan plan;
	struct vdisk_drive d;
	int r, i;

	if (!job->ops->extend)
		return 0;
	vdisk_drive_start(&d, image);
	do {
		plan = (struct vdisk_plan){ 0 };
		memset(copy, 0, sizeof(copy));
		r = job->ops->extend(&image->geom, &d.step, &job->rs, &plan,
				     copy);
	} while (vdisk_drive_again(&d, image, &r));
	if (r)
		return r;
	drop_fresh(&d, &plan);
	r = vdisk_plan_before(image, &plan, VDISK_FLUSH_BEFORE);
	for (i = 0; i < 2 && !r; i++)
		r = copy_bytes(job, copy[i].from, copy[i].to, copy[i].len,
			       ~0ull);
	return r || !copy[0].len ? r : vdisk_image_commit(image);
}

/*
 * Behind the old end, what would show: the rest of its unit, and what the
 * layers below have there.
 */
static int zero_new(struct job *job, u64 old_sec)
{
	struct vdisk_disk *disk = job->disk;
	u64 first = job->part->first_sec, sector, end, below = 0;
	struct vdisk_hit hit;
	int r = 0;

	if (disk->nr > 1)
		below = disk->layer[disk->nr - 2].size_sec;
	end = first + vdisk_align(old_sec, job->image->geom.unit_sec, 0);
	end = vdisk_min(vdisk_max(end, below), disk->size_sec);
	for (sector = first + old_sec; sector < end && !r;
	     sector += hit.sectors) {
		r = vdisk_disk_map(disk, sector, end - sector, &hit);
		if (!r && hit.kind != VDISK_ZERO)
			r = vdisk_disk_zero(disk, sector, hit.sectors);
	}
	return r ? r : vdisk_image_commit(job->image);
}

/* As if it had the size already, but for the footer, which says so. */
static int zero_ahead(struct job *job)
{
	struct vdisk_image *image = job->image;
	struct vdisk_plan plan = { 0 };
	struct vdisk_geom geom;
	struct vdisk_drive d;
	u64 old_sec = job->rs.old_sec;
	int r;

	if (!job->ops->header)
		return 0;
	vdisk_drive_start(&d, image);
	do {
		plan.nr = 0;
		r = job->ops->header(&image->geom, &d.step, &job->rs, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	if (r || !plan.nr)
		return r;
	r = open_as(job, &plan, &geom);
	if (r)
		return r;
	memcpy(geom.tail, image->geom.tail, sizeof(geom.tail));
	take_geometry(job, &geom);
	return zero_new(job, old_sec);
}

static int grow(struct job *job)
{
	int r;

	r = each_behind(job, job->rs.old_sec, forget_entry);
	if (!r)
		r = vdisk_image_commit(job->image);
	if (!r)
		r = make_way(job);
	if (!r)
		r = extend(job);
	if (!r)
		r = zero_ahead(job);
	return r ? r : publish(job);
}

/*-----------------------------------------------------------------
 * Shrinking
 */

/* The tables are told by the old size: they may be out of reach by the new. */
struct list {
	struct vdisk_resize_table *table;
	size_t nr;
};

static int list_tables(struct job *job, struct list *list)
{
	struct vdisk_resize_table t, *more;
	u64 i;
	int r;

	for (i = 0; i < job->rs.nr_tables; i++) {
		r = get_table(job, i, &t);
		if (r)
			return r;
		if (entry_behind(&t, job->rs.size_sec) >= t.entries)
			continue;
		more = reallocarray(list->table, list->nr + 1, sizeof(t));
		if (!more)
			return vdisk_fault_set(job->image->fault, -ENOMEM,
					       "Out of memory for tables", i);
		list->table = more;
		list->table[list->nr++] = t;
	}
	return 0;
}

/* The end of the last unit is nobody's now, and whoever grows it may show it. */
static int zero_rest(struct job *job)
{
	struct vdisk_image *image = job->image;
	u64 sector = job->rs.size_sec, end;
	struct vdisk_extent e;
	int r;

	end = vdisk_align(sector, image->geom.unit_sec, 0);
	for (; sector < end; sector += e.sectors) {
		r = vdisk_image_map(image, sector, end - sector, &e);
		if (!r && e.kind == VDISK_DATA)
			r = vdisk_image_zero(image, e.off,
					     e.sectors * VDISK_SECTOR);
		if (r)
			return r;
	}
	return 0;
}

static int free_behind(struct job *job, struct list *list)
{
	struct vdisk_resize_table *t;
	int r = 0;

	while (list->nr && !r) {
		t = &list->table[--list->nr];
		r = each_entry(job, t, entry_behind(t, job->rs.size_sec),
			       free_entry);
	}
	return r ? r : vdisk_image_commit(job->image);
}

static int shrink(struct job *job)
{
	struct list list = { 0 };
	struct vdisk_geom geom;
	int r;

	r = list_tables(job, &list);
	if (!r)
		r = vdisk_image_commit(job->image);
	if (!r)
		r = publish(job);
	if (!r)
		r = open_as(job, NULL, &geom);
	if (!r) {
		take_geometry(job, &geom);
		r = zero_rest(job);
	}
	if (!r)
		r = free_behind(job, &list);
	free(list.table);
	return r;
}

/*-----------------------------------------------------------------*/

static int start(struct job *job)
{
	struct vdisk_image *image = job->image;
	struct vdisk_drive d;
	int r;

	if (!job->rs.size_sec)
		return vdisk_fault_set(image->fault, -EINVAL,
				       "Last extent would be empty, it starts at",
				       job->part->first_sec);
	job->ops = vdisk_resizer_of(image->format);
	if (!job->ops)
		return vdisk_fault_set(image->fault, -EOPNOTSUPP,
				       "Disks of this format keep their size",
				       job->rs.old_sec);
	vdisk_drive_start(&d, image);
	do {
		r = job->ops->start(&image->geom, &d.step, &job->rs);
	} while (vdisk_drive_again(&d, image, &r));
	return r;
}

static struct job job_of(struct vdisk_disk *disk, u64 size_sec)
{
	struct vdisk_layer *top = &disk->layer[disk->nr - 1];
	struct vdisk_part *part = &top->part[top->nr - 1];

	return (struct job){
		.disk = disk, .part = part, .image = part->image,
		.rs.old_sec = part->sectors,
		.rs.size_sec = size_sec > part->first_sec ?
			       size_sec - part->first_sec : 0,
	};
}

int resize_check(struct vdisk_disk *disk, u64 size_sec)
{
	struct job job = job_of(disk, size_sec);

	return start(&job);
}

int resize_make_way(struct vdisk_disk *disk, u64 end)
{
	struct job job = job_of(disk, disk->size_sec);
	int r;

	job.buf = malloc(CHUNK);
	if (!job.buf)
		return vdisk_fault_set(disk->fault, -ENOMEM,
				       "Out of memory for bytes", CHUNK);
	r = start(&job);
	job.rs.clear_off = end;
	if (!r)
		r = vdisk_image_change(job.image);
	if (!r)
		r = vdisk_image_commit(job.image);
	if (!r)
		r = make_way(&job);
	free(job.buf);
	return r;
}

int resize_reopen(struct vdisk_disk *disk)
{
	struct job job = job_of(disk, disk->size_sec);
	struct vdisk_geom geom;
	int r = open_as(&job, NULL, &geom);

	if (!r)
		take_geometry(&job, &geom);
	return r;
}

int resize_disk(struct vdisk_disk *disk, u64 size_sec)
{
	struct job job = job_of(disk, size_sec);
	struct vdisk_geom geom;
	int r;

	if (size_sec == disk->size_sec)
		return 0;
	job.buf = malloc(CHUNK);
	if (!job.buf)
		return vdisk_fault_set(disk->fault, -ENOMEM,
				       "Out of memory for bytes", CHUNK);
	r = start(&job);
	if (!r)
		r = vdisk_image_change(job.image);
	/* What is on its way through the cache must not mix with what follows. */
	if (!r)
		r = vdisk_image_commit(job.image);
	if (!r)
		r = job.rs.size_sec > job.rs.old_sec ? grow(&job) : shrink(&job);
	if (!r)
		r = open_as(&job, NULL, &geom);
	if (!r)
		take_geometry(&job, &geom);
	free(job.buf);
	return r;
}
