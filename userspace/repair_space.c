// SPDX-License-Identifier: GPL-2.0-or-later
/* Moving units: off each other, and down into what nobody owns. */
#include <stdio.h>
#include <stdlib.h>

#include "out.h"
#include "progress.h"
#include "repair.h"

#define CHUNK (256u * 1024)
#define MOST_UNITS (64u * 1024)	/* moved between two commits */
#define MOST_ROUNDS 64

struct units {
	struct vdisk_range *unit;
	unsigned int nr;
	bool more;		/* than there is room for */
};

static void units_add(struct units *units, const struct vdisk_range *unit)
{
	if (units->nr == MOST_UNITS) {
		units->more = true;
		return;
	}
	if (!units->unit)
		units->unit = out_alloc(MOST_UNITS, sizeof(*units->unit));
	units->unit[units->nr++] = *unit;
}

int repair_point(struct vdisk_image *image, const struct vdisk_range *unit,
		 u64 to)
{
	const struct vdisk_repair *ops = vdisk_repair_find(image->format);
	struct vdisk_plan plan;
	struct vdisk_drive d;
	int r;

	vdisk_drive_start(&d, image);
	do {
		r = ops->point(&image->geom, &d.step, unit, to, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	return r ? r : vdisk_plan_publish(image, &plan);
}

int repair_move(struct vdisk_image *image, const struct vdisk_range *unit,
		u64 to)
{
	u64 done, n;
	u8 *buf;
	int r = 0;

	buf = out_alloc(1, CHUNK);
	for (done = 0; !r && done < unit->len; done += n) {
		n = vdisk_min(unit->len - done, CHUNK);
		r = vdisk_store_read(image->store, unit->off + done, buf, n);
		if (r)
			vdisk_fault_set(image->fault, r, "Read failed at byte",
					unit->off + done);
		else
			r = vdisk_image_write(image, to + done, buf, n);
	}
	free(buf);
	/* The last grain of a disk may be short: the place may not be. */
	if (!r && done < image->geom.unit_len &&
	    !(image->geom.flags & VDISK_GEOM_PACKED))
		r = vdisk_image_zero(image, to + done,
				     image->geom.unit_len - done);
	return r ? r : repair_point(image, unit, to);
}

/*-----------------------------------------------------------------
 * Units that lie on something
 */

static void note_victim(void *arg, const struct vdisk_range *unit)
{
	units_add(arg, unit);
}

static int by_sector(const void *a, const void *b)
{
	const struct vdisk_range *p = a, *q = b;

	return p->sector < q->sector ? -1 : p->sector > q->sector;
}

static int move_away(struct vdisk_image *image, const struct vdisk_range *unit)
{
	const struct vdisk_geom *geom = &image->geom;
	struct vdisk_need need = {
		.kind = VDISK_NEED_UNIT, .count = 1,
		.len = (u32)(geom->flags & VDISK_GEOM_PACKED ? unit->len
							     : geom->unit_len),
		.align = geom->unit_align, .base = geom->unit_base,
	};
	struct vdisk_grant grant;
	struct vdisk_space space;
	int r;

	r = vdisk_image_change(image);
	if (!r)
		r = vdisk_space_take(image, &need, &space, &grant);
	return r ? r : repair_move(image, unit, space.off);
}

static int move_all_away(struct repair *repair, struct vdisk_image *image,
			 struct units *units)
{
	const struct vdisk_range *unit = units->unit;
	char text[80];
	unsigned int i;
	int r = 0;

	qsort(units->unit, units->nr, sizeof(*units->unit), by_sector);
	for (i = 0; !r && i < units->nr; i++) {
		if (i && unit[i].sector == unit[i - 1].sector)
			continue;
		r = repair_touch(repair, 1);
		if (!r)
			r = move_away(image, &unit[i]);
		if (r)
			break;
		snprintf(text, sizeof(text),
			 "Unit of sector %llu overlaps another at offset %llu",
			 (unsigned long long)unit[i].sector,
			 (unsigned long long)unit[i].off);
		repair_note(repair, text, "copied to a place of its own");
	}
	return r ? r : repair_commit(repair, image);
}

int repair_overlaps(struct repair *repair, struct vdisk_image *image)
{
	struct units units = { 0 };
	struct own_options opt = { .victim = note_victim, .arg = &units };
	struct own_report rep;
	unsigned int round;
	int r = 0;

	for (round = 0; !r && round < MOST_ROUNDS; round++) {
		units.nr = 0;
		r = own_check(image, &opt, &rep);
		/* A table that is two: a new place would be both's. */
		if (r || rep.stuck || !units.nr)
			break;
		r = move_all_away(repair, image, &units);
	}
	free(units.unit);
	return r;
}

/*-----------------------------------------------------------------
 * What nobody owns
 */

struct gaps {
	struct vdisk_run run[4096];	/* the lowest ones */
	unsigned int nr;
	u64 units;		/* that they have room for */
	u64 last;		/* where the last gap of all begins */
	u64 last_end;
};

static void note_gap(void *arg, u64 from, u64 to)
{
	struct gaps *gaps = arg;

	gaps->last = from;
	gaps->last_end = to;
	if (gaps->nr < sizeof(gaps->run) / sizeof(gaps->run[0]))
		gaps->run[gaps->nr++] = (struct vdisk_run){ from, to - from };
}

static int by_off_down(const void *a, const void *b)
{
	const struct vdisk_range *p = a, *q = b;

	return p->off > q->off ? -1 : p->off < q->off;
}

static void keep_highest(struct units *units, u64 most)
{
	qsort(units->unit, units->nr, sizeof(*units->unit), by_off_down);
	units->nr = (unsigned int)vdisk_min(units->nr, most);
}

/* The units that lie highest, as many as there is room for below them. */
static int highest_units(struct vdisk_image *image, u64 most,
			 struct units *units)
{
	const struct vdisk_geom *geom = &image->geom;
	struct vdisk_range range, unit;
	u64 cursor = 0, end;
	int r;

	most = vdisk_min(most, MOST_UNITS / 2);
	units->nr = 0;
	do {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r)
			return r;
		if (!range.len || range.kind != VDISK_RANGE_UNIT)
			continue;
		end = range.off + range.len;
		for (unit = range; unit.off < end; unit.off += geom->unit_len,
						   unit.sector += geom->unit_sec) {
			unit.len = vdisk_min(geom->unit_len, end - unit.off);
			units_add(units, &unit);
			if (units->nr == 2 * most)
				keep_highest(units, most);
		}
	} while (range.len);
	keep_highest(units, most);
	return 0;
}

/* Where in @gap the next unit can lie, or false. */
static bool fits(const struct vdisk_image *image, struct vdisk_run *gap,
		 u64 *to)
{
	u32 least = vdisk_repair_find(image->format)->least_align;
	const struct vdisk_geom *geom = &image->geom;
	u64 end = gap->off + gap->len;

	*to = vdisk_align(gap->off, geom->unit_align, geom->unit_base);
	if (least && *to + geom->unit_len > end)
		*to = vdisk_align(gap->off, least, 0);
	if (*to + geom->unit_len > end)
		return false;
	gap->off = *to + geom->unit_len;
	gap->len = end - gap->off;
	return true;
}

/* Fill gaps from the lowest on with units from the highest on. *@moved. */
static int fill_gaps(struct repair *repair, struct vdisk_image *image,
		     struct gaps *gaps, const struct units *units, u64 *moved)
{
	unsigned int g = 0, i;
	u64 to = 0;
	int r;

	for (i = 0; i < units->nr; i++) {
		progress_show("moving", i, units->nr);
		while (g < gaps->nr && !fits(image, &gaps->run[g], &to))
			g++;
		if (g == gaps->nr || to >= units->unit[i].off)
			break;
		/* Space may stay lost: that is no reason to move much. */
		if (repair->packed == repair_most(repair))
			break;
		repair->packed++;
		r = vdisk_image_change(image);
		if (!r)
			r = repair_move(image, &units->unit[i], to);
		if (r)
			return r;
		++*moved;
	}
	return vdisk_image_commit(image);
}

static int compact(struct repair *repair, struct vdisk_image *image,
		   struct gaps *gaps, struct own_report *rep)
{
	struct own_options opt = { .gap = note_gap, .arg = gaps };
	struct units units = { 0 };
	u64 moved, inner;
	int r;

	do {
		*gaps = (struct gaps){ .nr = 0 };
		image->geom.data_end = image->data_end;
		r = own_check(image, &opt, rep);
		if (r)
			break;
		inner = rep->leaks;
		if (gaps->last_end >= image->geom.data_end)
			inner -= vdisk_div(gaps->last_end - gaps->last,
					   image->geom.unit_len);
		moved = 0;
		if (!inner || image->store->device)
			break;
		r = highest_units(image, inner, &units);
		if (!r)
			r = fill_gaps(repair, image, gaps, &units, &moved);
	} while (!r && moved);
	free(units.unit);
	return r;
}

/*
 * Units move down, so that what is free is at the end, where it can be cut off
 * when the image is settled. A stream's end is its footer: it stays as it is.
 */
int repair_leaks(struct repair *repair, struct vdisk_image *image)
{
	struct gaps *gaps;
	struct own_report rep;
	int r;

	if (image->geom.flags & VDISK_GEOM_PACKED && !image->marked)
		return 0;
	gaps = out_alloc(1, sizeof(*gaps));
	/* Free space that was left over before now is to be filled, too. */
	image->free.nr = 0;
	r = compact(repair, image, gaps, &rep);
	image->alloc_off = image->data_end;
	if (!r && gaps->nr && gaps->last_end >= image->data_end)
		image->alloc_off = gaps->last;
	free(gaps);
	return r;
}
