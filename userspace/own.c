// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who owns which bytes of an image.
 *
 * A pass collects the units that start in its window, neighbours as one piece. When
 * the list is full, what touches becomes one piece; if that does not help, the
 * window ends where the list's middle lies, and a later pass looks at the rest.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../formats/repair.h"
#include "out.h"
#include "own.h"
#include "progress.h"

#define DEFAULT_ROOM (1u << 20)
#define NO_SECTOR (~0ull)

struct piece {
	u64 off, end;
	u64 sector;		/* of its first unit, or NO_SECTOR */
	bool mixed;		/* joined from several: sector says little */
};

struct own {
	struct vdisk_image *image;
	const struct own_options *opt;
	struct own_report *report;
	struct piece *piece;
	unsigned int nr, room;
	u64 from, to;		/* the window */
	u64 behind;		/* end of what lies before the window */
	u64 tables;
	bool first;		/* pass */
	bool enough;
};

static void say(struct own *own, const char *what)
{
	if (own->opt->say && !own->enough &&
	    !own->opt->say(own->opt->arg, what))
		own->enough = true;
}

static void say_overlap(struct own *own, const struct piece *p)
{
	char text[120];

	own->report->overlaps++;
	if (p->sector == NO_SECTOR)
		snprintf(text, sizeof(text),
			 "Two owners of the byte at offset %llu",
			 (unsigned long long)p->off);
	else
		snprintf(text, sizeof(text),
			 "Unit of sector %llu overlaps another at offset %llu",
			 (unsigned long long)p->sector,
			 (unsigned long long)p->off);
	say(own, text);
}

/*
 * Which units have to go so that @late, which starts inside @early, does not
 * touch it any more: those of @late, or of @early if @late is no unit.
 */
static void say_victims(struct own *own, const struct piece *early,
			const struct piece *late)
{
	const struct piece *p = late->sector == NO_SECTOR ? early : late;
	const struct vdisk_geom *geom = &own->image->geom;
	u64 from = late->off, to = vdisk_min(early->end, late->end), i, off;
	struct vdisk_range unit = { .kind = VDISK_RANGE_UNIT };

	if (p->sector == NO_SECTOR || p->mixed) {
		own->report->stuck++;
		return;
	}
	if (!own->opt->victim)
		return;
	for (i = vdisk_div(from - p->off, geom->unit_len);; i++) {
		off = p->off + i * geom->unit_len;
		if (off >= to || off >= p->end)
			break;
		unit.off = off;
		unit.len = vdisk_min(geom->unit_len, p->end - off);
		unit.sector = p->sector + i * geom->unit_sec;
		own->opt->victim(own->opt->arg, &unit);
	}
}

static int by_off(const void *a, const void *b)
{
	const struct piece *p = a, *q = b;

	if (p->off != q->off)
		return p->off < q->off ? -1 : 1;
	/* Headers first: it is the unit that is in the wrong place. */
	if (p->sector != q->sector)
		return p->sector == NO_SECTOR ? -1 :
		       q->sector == NO_SECTOR ? 1 :
		       p->sector < q->sector ? -1 : 1;
	return 0;
}

/* Sort, tell what overlaps, make one of what touches. */
static void reduce(struct own *own)
{
	struct piece *last, *p, far = { 0 };	/* reaches farthest */
	unsigned int i, n = 0;

	qsort(own->piece, own->nr, sizeof(*own->piece), by_off);
	for (i = 0; i < own->nr; i++) {
		p = &own->piece[i];
		last = n ? &own->piece[n - 1] : NULL;
		if (last && p->off < last->end) {
			say_overlap(own, p);
			say_victims(own, &far, p);
		}
		if (!last || p->end > far.end)
			far = *p;
		if (last && p->off <= last->end) {
			last->end = vdisk_max(last->end, p->end);
			last->mixed = true;
		} else {
			own->piece[n++] = *p;
		}
	}
	own->nr = n;
}

/* If joining what touches does not help, the window gets shorter. */
static void make_room(struct own *own)
{
	unsigned int i, n = 0;
	u64 end = 0;

	qsort(own->piece, own->nr, sizeof(*own->piece), by_off);
	for (i = 0; i < own->nr; i++) {
		const struct piece *p = &own->piece[i];

		if ((!n || p->off > end) && ++n > own->room / 2) {
			own->to = p->off;
			own->nr = i;
			break;
		}
		end = vdisk_max(end, p->end);
	}
	reduce(own);
}

/* Of the units of @p, those that start in the window. False if none does. */
static bool clip(const struct own *own, struct piece *p)
{
	const struct vdisk_geom *geom = &own->image->geom;
	u64 n;

	if (p->sector != NO_SECTOR && p->off < own->from) {
		n = vdisk_div_up(own->from - p->off, geom->unit_len);
		n = vdisk_min(n, vdisk_div_up(p->end - p->off, geom->unit_len));
		p->off += n * geom->unit_len;
		p->sector += n * geom->unit_sec;
	}
	if (p->sector != NO_SECTOR && p->off < own->to && p->end > own->to) {
		n = vdisk_div_up(own->to - p->off, geom->unit_len);
		p->end = vdisk_min(p->end, p->off + n * geom->unit_len);
	}
	return p->off >= own->from && p->off < own->to && p->off < p->end;
}

static void add(struct own *own, const struct vdisk_range *range)
{
	const struct vdisk_geom *geom = &own->image->geom;
	struct piece *last = own->nr ? &own->piece[own->nr - 1] : NULL;
	struct piece p = {
		.off = range->off, .end = range->off + range->len,
		.sector = range->kind == VDISK_RANGE_UNIT ? range->sector
							  : NO_SECTOR,
	};
	u64 units;

	if (!clip(own, &p))
		return;
	/* The next unit right behind the last: say_overlap() stays exact. */
	if (last && last->end == p.off && last->sector != NO_SECTOR &&
	    p.sector != NO_SECTOR) {
		units = vdisk_div(last->end - last->off, geom->unit_len);
		if (p.sector == last->sector + units * geom->unit_sec) {
			last->end = p.end;
			return;
		}
	}
	if (own->nr == own->room) {
		make_room(own);
		if (!clip(own, &p))
			return;
	}
	own->piece[own->nr++] = p;
}

/* Between two pieces, or behind the last one. */
static void gap(struct own *own, u64 from, u64 to)
{
	const struct vdisk_geom *geom = &own->image->geom;

	/* What is never allocated from here may have a map of its own. */
	if (!own->image->format->alloc || geom->flags & VDISK_GEOM_NO_ALLOC)
		return;
	/* A device has room up to the footer at its end, or to its end. */
	if (own->image->store->device && to >= geom->data_end)
		return;
	from = vdisk_max(from, geom->data_off);
	if (from >= to)
		return;
	own->report->leaks += vdisk_div(to - from, geom->unit_len);
	if (own->opt->gap)
		own->opt->gap(own->opt->arg, from, to);
}

static void end_pass(struct own *own)
{
	const struct piece before = { 0, own->behind, NO_SECTOR, true };
	unsigned int i;

	reduce(own);
	for (i = 0; i < own->nr; i++) {
		if (i == 0 && own->piece[i].off < own->behind) {
			say_overlap(own, &own->piece[i]);
			say_victims(own, &before, &own->piece[i]);
		}
		gap(own, own->behind, own->piece[i].off);
		own->behind = vdisk_max(own->behind, own->piece[i].end);
	}
	own->nr = 0;
}

/* What other programs put there, of which the format's walk knows nothing. */
static int pass_more(struct own *own)
{
	const struct vdisk_repair *ops = vdisk_repair_find(own->image->format);
	struct vdisk_range range;
	struct vdisk_drive d;
	u64 cursor = 0;
	int r = 0;

	while (ops && ops->more && cursor != ~0ull && !own->enough) {
		vdisk_drive_start(&d, own->image);
		do {
			r = ops->more(&own->image->geom, &d.step, &cursor,
				      &range);
		} while (vdisk_drive_again(&d, own->image, &r));
		if (r)
			return r;
		if (range.len)
			add(own, &range);
	}
	return 0;
}

static int pass(struct own *own)
{
	struct vdisk_range range;
	u64 cursor = 0;
	int r;

	do {
		r = vdisk_image_walk(own->image, &cursor, &range);
		if (r == -EUCLEAN) {
			if (own->first) {
				own->report->bad++;
				say(own, own->image->fault->text);
			}
			range.len = 1;	/* it is not over */
			continue;
		}
		if (r)
			return r;
		if (own->first && range.kind == VDISK_RANGE_TABLE)
			own->tables += range.len;
		if (own->first && range.kind != VDISK_RANGE_UNIT)
			own->report->others += range.len;
		if (own->opt->table_limit && own->tables > own->opt->table_limit)
			own->enough = true;
		if (own->first && range.len && range.kind == VDISK_RANGE_UNIT)
			own->report->units +=
				vdisk_div_up(range.len,
					     own->image->geom.unit_len);
		if (range.len)
			add(own, &range);
		if (own->opt->progress && range.kind == VDISK_RANGE_UNIT)
			progress_show(own->opt->progress, range.sector,
				      own->image->geom.size_sec);
	} while (range.len && !own->enough);
	return pass_more(own);
}

int own_check(struct vdisk_image *image, const struct own_options *opt,
	      struct own_report *report)
{
	struct own own = {
		.image = image, .opt = opt, .report = report, .first = true,
		.room = opt->room ? opt->room : DEFAULT_ROOM,
	};
	int r = 0;

	*report = (struct own_report){ 0 };
	own.piece = out_alloc(own.room, sizeof(*own.piece));
	do {
		own.from = own.to;
		own.to = ~0ull;
		r = pass(&own);
		if (r)
			break;
		end_pass(&own);
		own.first = false;
	} while (own.to != ~0ull && !own.enough);
	free(own.piece);
	if (!r)
		gap(&own, own.behind, image->geom.data_end);
	report->end_off = own.behind;
	return r ? r : own.enough;
}
