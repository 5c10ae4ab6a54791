// SPDX-License-Identifier: GPL-2.0-or-later
/* Free space of an image: what was freed, and the end of the file. */
#include <stdlib.h>

#include "disk.h"

/* What there is no memory for is a leak in the file, nothing worse. */
static void runs_add(struct vdisk_runs *runs, u64 off, u64 len)
{
	struct vdisk_run *run;
	size_t i = runs->nr;

	if (!len)
		return;
	while (i && runs->run[i - 1].off > off)
		i--;
	if (i && runs->run[i - 1].off + runs->run[i - 1].len == off) {
		i--;
		runs->run[i].len += len;
	} else {
		if (runs->nr == runs->room) {
			run = reallocarray(runs->run, runs->room * 2 + 16,
					   sizeof(*run));
			if (!run)
				return;
			runs->run = run;
			runs->room = runs->room * 2 + 16;
		}
		memmove(&runs->run[i + 1], &runs->run[i],
			(runs->nr++ - i) * sizeof(*run));
		runs->run[i] = (struct vdisk_run){ off, len };
	}
	run = &runs->run[i];
	if (i + 1 < runs->nr && run->off + run->len == run[1].off) {
		run->len += run[1].len;
		memmove(run + 1, run + 2, (--runs->nr - i - 1) * sizeof(*run));
	}
}

/* Take [off, off + len), which lies inside run @i. */
static void runs_cut(struct vdisk_runs *runs, size_t i, u64 off, u64 len)
{
	struct vdisk_run run = runs->run[i];

	memmove(&runs->run[i], &runs->run[i + 1],
		(--runs->nr - i) * sizeof(run));
	runs_add(runs, run.off, off - run.off);
	runs_add(runs, off + len, run.off + run.len - off - len);
}

/* A free run at the end of all units is no run: appending starts before it. */
static void lower_end(struct vdisk_image *image)
{
	struct vdisk_runs *free = &image->free;
	struct vdisk_run *last;

	if (!free->nr)
		return;
	last = &free->run[free->nr - 1];
	if (last->off + last->len == image->alloc_off) {
		image->alloc_off = last->off;
		free->nr--;
	}
}

void vdisk_space_give(struct vdisk_image *image,
		      const struct vdisk_grant *grant)
{
	runs_add(&image->free, grant->off, grant->len);
	lower_end(image);
}

static int compare_runs(const void *a, const void *b)
{
	const struct vdisk_run *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* A place for one more at the end. False: there is no memory for it. */
static bool runs_room(struct vdisk_runs *runs, size_t more)
{
	size_t room = vdisk_max(2 * runs->room + 16, runs->nr + more);
	struct vdisk_run *run;

	if (runs->nr + more <= runs->room)
		return true;
	run = reallocarray(runs->run, room, sizeof(*run));
	if (!run)
		return false;
	runs->run = run;
	runs->room = room;
	return true;
}

/* In no order: what is freed in one commit may be millions of runs. */
void vdisk_space_freed(struct vdisk_image *image, u64 off, u64 len)
{
	struct vdisk_runs *freed = &image->freed;
	struct vdisk_run *last = freed->nr ? &freed->run[freed->nr - 1] : NULL;

	if (!len)
		return;
	if (last && last->off + last->len == off)
		last->len += len;
	else if (runs_room(freed, 1))
		freed->run[freed->nr++] = (struct vdisk_run){ off, len };
}

/* Sorted, and neighbours one. */
static void runs_sort(struct vdisk_runs *runs)
{
	struct vdisk_run *run = runs->run;
	size_t i, n = 0;

	if (runs->nr)
		qsort(run, runs->nr, sizeof(*run), compare_runs);
	for (i = 0; i < runs->nr; i++) {
		if (n && run[n - 1].off + run[n - 1].len == run[i].off)
			run[n - 1].len += run[i].len;
		else
			run[n++] = run[i];
	}
	runs->nr = n;
}

/* @from is sorted, and so @to stays; from the back, as there is room behind. */
static void runs_merge(struct vdisk_runs *to, const struct vdisk_runs *from)
{
	size_t i = to->nr, j = from->nr, at = i + j, n = 0;
	struct vdisk_run *run;

	if (!j || !runs_room(to, j))
		return;
	run = to->run;
	while (j) {
		if (i && run[i - 1].off > from->run[j - 1].off)
			run[--at] = run[--i];
		else
			run[--at] = from->run[--j];
	}
	at = to->nr + from->nr;
	for (i = 0; i < at; i++) {
		if (n && run[n - 1].off + run[n - 1].len == run[i].off)
			run[n - 1].len += run[i].len;
		else
			run[n++] = run[i];
	}
	to->nr = n;
}

/* What was freed is free now: no table on the medium refers to it. */
void vdisk_space_promote(struct vdisk_image *image)
{
	struct vdisk_runs *freed = &image->freed;
	size_t i;

	runs_sort(freed);
	for (i = 0; i < freed->nr; i++)
		vdisk_store_punch(image->store, freed->run[i].off,
				  freed->run[i].len);
	/* One or two are what most commits free. */
	if (freed->nr > 8)
		runs_merge(&image->free, freed);
	else
		for (i = 0; i < freed->nr; i++)
			runs_add(&image->free, freed->run[i].off,
				 freed->run[i].len);
	freed->nr = 0;
	lower_end(image);
}

/* What the walk tells, in order of offsets. */
static int list_used(struct vdisk_image *image, struct vdisk_runs *used)
{
	struct vdisk_range range;
	struct vdisk_walker w;
	int r;

	vdisk_walker_start(&w, image);
	for (;;) {
		r = vdisk_walker_next(&w, &range);
		if (r || !range.len)
			break;
		if (!runs_room(used, 1))
			return -ENOMEM;
		used->run[used->nr++] = (struct vdisk_run){
			range.off, range.len,
		};
	}
	if (!r)
		qsort(used->run, used->nr, sizeof(*used->run), compare_runs);
	return r;
}

/*
 * What earlier writers left behind: bytes that no table owns. A walk that fails
 * has found damage; who steps on it will tell, here it only ends the search.
 */
int vdisk_space_scan(struct vdisk_image *image)
{
	u64 at = image->geom.data_off, end;
	struct vdisk_runs used = { 0 };
	size_t i;
	int r;

	if (image->scanned)
		return 0;
	image->scanned = true;
	/* Nothing fits between compressed units. */
	if (image->geom.flags & (VDISK_GEOM_PACKED | VDISK_GEOM_NO_ALLOC) ||
	    list_used(image, &used)) {
		free(used.run);
		return 0;
	}
	for (i = 0; i <= used.nr && at < image->alloc_off; i++) {
		end = i < used.nr ? used.run[i].off : image->alloc_off;
		end = vdisk_min(end, image->alloc_off);
		/* In order: at the end. */
		if (end > at)
			runs_add(&image->free, at, end - at);
		if (i < used.nr)
			at = vdisk_max(at, used.run[i].off + used.run[i].len);
	}
	free(used.run);
	lower_end(image);
	/* And are free on the medium: the last writer may have died. */
	r = image->free.nr ? vdisk_store_flush(image->store) : 0;
	if (!r)
		return 0;
	image->failed = true;
	return vdisk_fault_set(image->fault, r, "Flush failed", (u64)-r);
}

/* Make the file longer, so that units may lie below @least, better @best. */
static int grow(struct vdisk_image *image, u64 least, u64 best)
{
	u64 was = image->store->length, room;
	struct vdisk_plan plan = { 0 };
	struct vdisk_drive d;
	int r;

	if (image->store->device) {
		room = image->store->length - image->geom.tail_len;
		best = vdisk_min(best, room);
	}
	if (best < least || !image->format->grow)
		return vdisk_fault_set(image->fault, -ENOSPC, "No space for byte",
				       least);
	vdisk_drive_start(&d, image);
	do {
		r = image->format->grow(&image->geom, &d.step, best, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	if (!r)
		r = vdisk_plan_before(image, &plan, VDISK_FLUSH_BEFORE);
	if (!r)
		image->data_end = best;
	else if (!image->store->device && !image->failed)
		/* Longer than before, it has no tail at its end. */
		vdisk_store_set_length(image->store, was);
	return r;
}

static bool take_free(struct vdisk_image *image, const struct vdisk_need *need,
		      u64 align, u32 *count, u64 *off)
{
	struct vdisk_run *run = image->free.run;
	size_t i;
	u64 end;

	for (i = 0; i < image->free.nr; i++) {
		end = run[i].off + run[i].len;
		*off = vdisk_align(run[i].off, align, need->base);
		if (*off + need->len > end)
			continue;
		*count = (u32)vdisk_min(*count, (end - *off) / need->len);
		runs_cut(&image->free, i, *off, (u64)*count * need->len);
		return true;
	}
	return false;
}

static int take_end(struct vdisk_image *image, const struct vdisk_need *need,
		    u64 align, u32 *count, u64 *off)
{
	const struct vdisk_geom *geom = &image->geom;
	u64 from = vdisk_max(image->alloc_off, geom->data_off), end, more;
	int r;

	*off = vdisk_align(from, align, need->base);
	if (*off + need->len > image->data_end) {
		end = *off + (u64)*count * need->len;
		more = (u64)(image->opts.grow_units - 1) * geom->unit_len;
		if (need->kind == VDISK_NEED_TABLE)
			end = vdisk_align(end, geom->unit_align,
					  geom->unit_base);
		r = grow(image, *off + need->len, end + more);
		if (r)
			return r;
	}
	*count = (u32)vdisk_min(*count, (image->data_end - *off) / need->len);
	/* The gap before it suits something smaller. */
	if (*off > from)
		runs_add(&image->free, from, *off - from);
	image->alloc_off = *off + (u64)*count * need->len;
	return 0;
}

int vdisk_space_take(struct vdisk_image *image, const struct vdisk_need *need,
		     struct vdisk_space *space, struct vdisk_grant *grant)
{
	u64 align = need->align ? need->align : 1, off;
	u32 count = need->kind == VDISK_NEED_UNIT && need->count ? need->count : 1;
	int r;

	if (!take_free(image, need, align, &count, &off)) {
		r = take_end(image, need, align, &count, &off);
		if (r)
			return r;
	}
	*space = (struct vdisk_space){ .off = off, .count = count };
	*grant = (struct vdisk_grant){
		.off = off,
		.len = (u64)count * need->len,
		.fresh_off = image->zero_off,
	};
	if (!image->store->device)
		image->zero_off = vdisk_max(image->zero_off, off + grant->len);
	return 0;
}

/* A unit may begin where the tail was, and be fresh but for that. */
static bool is_fresh(const struct vdisk_grant *grant, u64 off, u64 len)
{
	return off >= grant->off && off - grant->off <= grant->len &&
	       len <= grant->len - (off - grant->off) &&
	       off >= grant->fresh_off;
}

bool vdisk_drive_fresh(const struct vdisk_drive *d, u64 off, u64 len)
{
	return is_fresh(&d->unit, off, len) || is_fresh(&d->table, off, len);
}

