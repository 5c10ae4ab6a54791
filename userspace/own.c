// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who owns which bytes of an image.
 *
 * At first a bit a unit: most images have all units at the same distance from
 * their places, and each place once. What lies elsewhere, and what is no unit,
 * is a piece. Only if two meet, or there are too many pieces, the image is walked
 * again and all are pieces:
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

#define DEFAULT_ROOM (1u << 17)
#define MOST_BITS (1ull << 30)
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

	/* Bit n: a unit starts at n * unit_len + phase. NULL: all are pieces. */
	u64 *bits;
	u64 nr_bits, phase;
	bool phase_known;
	bool met;		/* two, or more pieces than there is room */
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

static void bit_piece(struct own *own, const struct vdisk_range *range);
static bool set_bits(struct own *own, const struct vdisk_range *range);

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

	if (own->bits) {
		if (range->kind != VDISK_RANGE_UNIT || !set_bits(own, range))
			bit_piece(own, range);
		return;
	}
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

/*-----------------------------------------------------------------
 * A bit a unit
 */

static bool start_bits(struct own *own)
{
	const struct vdisk_geom *geom = &own->image->geom;
	u64 length = own->image->store ? own->image->store->length : 0;

	if (geom->flags & (VDISK_GEOM_PACKED | VDISK_GEOM_NO_ALLOC) ||
	    !geom->unit_len)
		return false;
	own->nr_bits = vdisk_div(length, geom->unit_len) + 2;
	if (own->nr_bits > MOST_BITS)
		return false;
	own->bits = out_alloc(own->nr_bits / 64 + 1, sizeof(*own->bits));
	return true;
}

static void set_bit_of(struct own *own, u64 n)
{
	u64 bit = 1ull << (n & 63);

	if (n >= own->nr_bits || own->bits[n / 64] & bit)
		own->met = true;
	else
		own->bits[n / 64] |= bit;
}

/* False: it lies elsewhere than the first, and is a piece. */
static bool set_bits(struct own *own, const struct vdisk_range *range)
{
	u64 len = own->image->geom.unit_len, n = vdisk_div(range->off, len), i;
	u64 phase = range->off - n * len, units = vdisk_div(range->len, len);

	if (units * len != range->len)
		return false;
	if (!own->phase_known) {
		own->phase = phase;
		own->phase_known = true;
	}
	if (phase != own->phase)
		return false;
	for (i = 0; i < units && !own->met; i++)
		set_bit_of(own, n + i);
	return true;
}

/* Does a unit that has a bit touch these bytes? */
static bool touches_bits(const struct own *own, u64 from, u64 to)
{
	u64 len = own->image->geom.unit_len, n, end;

	n = from < own->phase ? 0 : vdisk_div(from - own->phase, len);
	end = to <= own->phase ? 0 : vdisk_div(to - 1 - own->phase, len) + 1;
	for (end = vdisk_min(end, own->nr_bits); n < end; n++)
		if (own->bits[n / 64] >> (n & 63) & 1)
			return true;
	return false;
}

static void bit_piece(struct own *own, const struct vdisk_range *range)
{
	struct piece *last = own->nr ? &own->piece[own->nr - 1] : NULL;

	/* The parts that a table is told in. */
	if (last && last->end == range->off && last->sector == NO_SECTOR &&
	    range->kind != VDISK_RANGE_UNIT) {
		last->end += range->len;
		return;
	}
	if (own->nr == own->room) {
		own->met = true;
		return;
	}
	own->piece[own->nr++] = (struct piece){
		.off = range->off, .end = range->off + range->len,
		.sector = range->kind == VDISK_RANGE_UNIT ? range->sector
							  : NO_SECTOR,
	};
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

/* Gaps between units that have bits, from own->behind to @end. */
static void gaps_in_bits(struct own *own, u64 end)
{
	u64 len = own->image->geom.unit_len, n, last, off, word;

	n = own->behind <= own->phase ? 0 :
	    vdisk_div_up(own->behind - own->phase, len);
	last = end <= own->phase ? 0 : vdisk_div_up(end - own->phase, len);
	for (last = vdisk_min(last, own->nr_bits); n < last; n++) {
		word = own->bits[n / 64] >> (n & 63);
		if (!word) {
			n |= 63;
			continue;
		}
		n += (u64)__builtin_ctzll(word);
		off = n * len + own->phase;
		if (n >= last || off >= end)
			break;
		if (off > own->behind)
			gap(own, own->behind, off);
		own->behind = off + len;
	}
}

/* True: nobody met another, and the gaps are told. */
static bool end_bits(struct own *own)
{
	unsigned int i;

	qsort(own->piece, own->nr, sizeof(*own->piece), by_off);
	for (i = 0; i < own->nr && !own->met; i++)
		own->met = (i && own->piece[i].off < own->piece[i - 1].end) ||
			   touches_bits(own, own->piece[i].off,
					own->piece[i].end);
	if (own->met)
		return false;
	for (i = 0; i < own->nr; i++) {
		gaps_in_bits(own, own->piece[i].off);
		gap(own, own->behind, own->piece[i].off);
		own->behind = vdisk_max(own->behind, own->piece[i].end);
	}
	gaps_in_bits(own, ~0ull);
	return true;
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

/* Units of a table block at once, as long as each has a bit. */
static void many(struct own *own, struct vdisk_walker *w,
		 struct vdisk_many *units)
{
	const struct vdisk_repair *ops = vdisk_repair_find(own->image->format);
	struct vdisk_range one = { .kind = VDISK_RANGE_UNIT };
	u64 len = own->image->geom.unit_len, mask = len - 1;
	u32 shift = (u32)__builtin_ctzll(len), i;

	ops->many(&own->image->geom, &w->step, &w->cursor, units);
	own->report->units += units->nr;
	for (i = 0; i < units->nr && !own->met; i++) {
		if (own->phase_known && (units->off[i] & mask) == own->phase) {
			set_bit_of(own, units->off[i] >> shift);
			continue;
		}
		one.off = units->off[i];
		one.len = len;
		add(own, &one);
	}
}

static int pass(struct own *own)
{
	const struct vdisk_repair *ops = vdisk_repair_find(own->image->format);
	bool has_many = own->bits && ops && ops->many &&
			vdisk_pow2(own->image->geom.unit_len);
	struct vdisk_many units;
	struct vdisk_walker w;
	struct vdisk_range range;
	u64 done = 0;
	int r;

	vdisk_walker_start(&w, own->image);
	do {
		if (has_many)
			many(own, &w, &units);
		r = vdisk_walker_next(&w, &range);
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
		if (range.kind == VDISK_RANGE_UNIT)
			done = vdisk_max(done, range.sector);
		/* Units that were looked at many at a time tell no sector. */
		done = vdisk_max(done, own->report->units *
				       own->image->geom.unit_sec);
		if (own->opt->progress)
			progress_show(own->opt->progress, done,
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
	bool done = false;
	int r = 0;

	*report = (struct own_report){ 0 };
	own.piece = out_alloc(own.room, sizeof(*own.piece));
	if (start_bits(&own)) {
		r = pass(&own);
		own.first = false;
		done = r || own.enough || end_bits(&own);
		free(own.bits);
		own.bits = NULL;
		own.nr = 0;
	}
	while (!done) {
		own.from = own.to;
		own.to = ~0ull;
		r = pass(&own);
		if (r)
			break;
		end_pass(&own);
		own.first = false;
		done = own.to == ~0ull || own.enough;
	}
	free(own.piece);
	if (!r)
		gap(&own, own.behind, image->geom.data_end);
	report->end_off = own.behind;
	return r ? r : own.enough;
}
