// SPDX-License-Identifier: GPL-2.0
/* Any bytes as an image of any format, and what may be demanded then. */
#include <stdio.h>
#include <stdlib.h>

#include "../../formats/probe.h"
#include "../crash/model.h"
#include "fuzz.h"

#define demand(cond, ...) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "fuzz: %s: ", fz->format->name);	\
		fprintf(stderr, __VA_ARGS__);				\
		fprintf(stderr, " (%s:%d)\n", __FILE__, __LINE__);	\
		abort();						\
	}								\
} while (0)

#define ull(v) ((unsigned long long)(v))

/* What was written to the image, in blocks. */
struct page {
	struct page *next;
	u64 off;
	u8 bytes[VDISK_BLOCK];
};

enum { PAGE_BUCKETS = 64, MAX_WALK = 1000, MAX_ASKS = 24, MAX_PIECE = 65536 };

struct fuzz {
	const struct vdisk_format *format;
	struct vdisk_geom geom;
	struct rng rng;
	const u8 *head;
	u64 head_len;
	const u8 *tail;
	u64 tail_off;
	u64 tail_len;
	u64 file_len;
	u64 data_end;
	struct page *page[PAGE_BUCKETS];
};

/*-----------------------------------------------------------------
 * The image
 */

/* The part of @piece, @piece_len bytes at @at in the file, that @buf wants. */
static void overlay(u64 off, u8 *buf, u64 len, u64 at, const u8 *piece,
		    u64 piece_len)
{
	u64 lo = vdisk_max(off, at), hi = vdisk_min(off + len, at + piece_len);

	if (lo < hi)
		memcpy(buf + (lo - off), piece + (lo - at), hi - lo);
}

static void read_plain(const struct fuzz *fz, u64 off, u8 *buf, u64 len)
{
	memset(buf, 0, len);
	overlay(off, buf, len, fz->tail_off, fz->tail, fz->tail_len);
	overlay(off, buf, len, 0, fz->head, fz->head_len);
}

static struct page *page_at(struct fuzz *fz, u64 off, bool make)
{
	struct page **bucket = &fz->page[off / VDISK_BLOCK % PAGE_BUCKETS], *p;

	for (p = *bucket; p; p = p->next)
		if (p->off == off)
			return p;
	if (!make)
		return NULL;
	p = malloc(sizeof(*p));
	if (!p)
		abort();
	p->off = off;
	read_plain(fz, off, p->bytes, VDISK_BLOCK);
	p->next = *bucket;
	*bucket = p;
	return p;
}

static void read_image(struct fuzz *fz, u64 off, u8 *buf, u64 len)
{
	struct page *p;
	u64 n;

	for (; len; off += n, buf += n, len -= n) {
		n = vdisk_min(len, VDISK_BLOCK - off % VDISK_BLOCK);
		p = page_at(fz, off - off % VDISK_BLOCK, false);
		if (p)
			memcpy(buf, p->bytes + off % VDISK_BLOCK, n);
		else
			read_plain(fz, off, buf, n);
	}
}

/*-----------------------------------------------------------------
 * Steps
 */

struct drive {
	struct vdisk_step step;
	u64 unit_len, table_len;	/* bytes granted */
	bool blocks;			/* give whole blocks only */
	u32 calls;
};

static void drive_start(struct fuzz *fz, struct drive *d)
{
	memset(d, 0, sizeof(*d));
	d->step.file_len = fz->file_len;
	d->step.data_end = fz->data_end;
}

static void drop_views(struct drive *d)
{
	while (d->step.nr_views)
		free((void *)d->step.view[--d->step.nr_views].data);
}

/* Views that a new one makes needless. */
static void drop_inside(struct drive *d, u64 lo, u64 hi)
{
	struct vdisk_view *v = d->step.view;
	u32 i = 0;

	while (i < d->step.nr_views) {
		if (v[i].off < lo || v[i].off + v[i].len > hi) {
			i++;
			continue;
		}
		free((void *)v[i].data);
		v[i] = v[--d->step.nr_views];
	}
}

/*
 * A view of its own memory, so that a byte too far is seen: of the bytes asked
 * for, or of the block around them. Views do not overlap: one that holds some
 * of the bytes becomes the block.
 */
static void give_bytes(struct fuzz *fz, struct drive *d)
{
	const struct vdisk_need *need = &d->step.need;
	u64 base = need->off & ~(u64)(VDISK_BLOCK - 1);
	u64 lo = need->off, hi = need->off + need->len;
	struct vdisk_view *v = d->step.view;
	const u8 *data;
	u8 *bytes;

	demand(need->len && need->off - base + need->len <= VDISK_BLOCK,
	       "need crosses a block: %llu + %u", ull(need->off), need->len);
	demand(hi <= fz->file_len && hi > lo, "need passes the file: %llu + %u",
	       ull(need->off), need->len);
	demand(vdisk_have(&d->step, lo, need->len, &data) < need->len,
	       "asks again for %llu", ull(lo));

	while (v < d->step.view + d->step.nr_views &&
	       (hi <= v->off || lo >= v->off + v->len))
		v++;
	if (v < d->step.view + d->step.nr_views || d->blocks || rng_one_in(&fz->rng, 2)) {
		lo = base;
		hi = vdisk_min(base + VDISK_BLOCK, fz->file_len);
	}
	drop_inside(d, lo, hi);
	demand(d->step.nr_views < VDISK_MAX_VIEWS, "too many views");
	bytes = malloc(hi - lo);
	if (!bytes)
		abort();
	read_image(fz, lo, bytes, hi - lo);
	d->step.view[d->step.nr_views++] = (struct vdisk_view){
		.off = lo, .len = (u32)(hi - lo), .data = bytes,
	};
}

static void give_space(struct fuzz *fz, struct drive *d)
{
	const struct vdisk_need *need = &d->step.need;
	bool unit = need->kind == VDISK_NEED_UNIT;
	struct vdisk_space *space = unit ? &d->step.unit : &d->step.table;
	u32 count = need->count ? need->count : 1;
	u64 len;

	demand(need->len && need->align, "space of %u bytes at %llu", need->len,
	       ull(need->align));
	demand(!space->count, "asks again for space");
	count = 1 + (u32)rng_below(&fz->rng, vdisk_min(count, 40));
	if (!unit)
		count = 1;
	len = (u64)count * need->len;
	space->count = count;
	space->off = vdisk_align(vdisk_max(fz->data_end, fz->geom.data_off),
				 need->align, need->base);
	*(unit ? &d->unit_len : &d->table_len) = len;
	demand(space->off < 1ull << 62 && len < 1ull << 62, "offset overflows");
	fz->data_end = space->off + len;
	fz->file_len = vdisk_max(fz->file_len,
				 fz->data_end + fz->geom.tail_len);
	d->step.file_len = fz->file_len;
	d->step.data_end = fz->data_end;
}

static void check_why(const struct fuzz *fz, const char *why)
{
	size_t n = why ? strlen(why) : 0;

	demand(n && n <= 50, "reason is '%s'", why ? why : "");
	demand(why[0] >= 'A' && why[0] <= 'Z' && why[n - 1] != '.',
	       "reason is '%s'", why);
}

/* True: call it again. */
static bool again(struct fuzz *fz, struct drive *d, int r)
{
	demand(r == 0 || r == -EAGAIN || r == -EUCLEAN, "returns %d", r);
	if (r == -EAGAIN) {
		demand(++d->calls < VDISK_MAX_STEPS, "does not end");
		if (d->step.need.kind == VDISK_NEED_BYTES)
			give_bytes(fz, d);
		else
			give_space(fz, d);
		return true;
	}
	if (r)
		check_why(fz, d->step.why);
	drop_views(d);
	return false;
}

/*-----------------------------------------------------------------
 * Plans
 */

static bool within(u64 off, u64 len, u64 lo, u64 room)
{
	return off >= lo && len <= room && off - lo <= room - len;
}

static void apply(struct fuzz *fz, const struct vdisk_op *op, u64 off, u64 len)
{
	u64 at = off - off % VDISK_BLOCK;

	for (; len && at < off + len; at += VDISK_BLOCK)
		vdisk_op_apply(&fz->geom, op, at, page_at(fz, at, true)->bytes,
			       VDISK_BLOCK);
}

/*
 * Each op is inside the file, those of DATA inside what was granted. @phases:
 * which there may be. With @run they are done.
 */
static void check_plan(struct fuzz *fz, const struct drive *d,
		       const struct vdisk_plan *plan, u32 phases, bool run)
{
	const struct vdisk_op *op = plan->op;
	u64 off, len;
	u32 i;

	demand(plan->nr <= VDISK_MAX_OPS, "%u ops", plan->nr);
	for (i = 0; i < plan->nr; i++, op++) {
		demand(op->kind <= VDISK_OP_LENGTH, "op %u", op->kind);
		demand(op->kind != VDISK_OP_SET ||
		       (op->width >= 1 && op->width <= 8), "width %u",
		       op->width);
		vdisk_op_range(&fz->geom, op, &off, &len);
		demand(op->phase <= VDISK_PUBLISH && phases & 1u << op->phase,
		       "op %u in phase %u", i, op->phase);
		demand(op->kind == VDISK_OP_LENGTH ||
		       within(off, len, 0, fz->file_len),
		       "op %u past the file: %llu + %llu", i, ull(off),
		       ull(len));
		demand(op->phase != VDISK_IN_DATA ||
		       within(off, len, d->step.unit.off, d->unit_len) ||
		       within(off, len, d->step.table.off, d->table_len),
		       "DATA op %u outside the new space: %llu", i,
		       ull(off));
		if (run && len <= MAX_PIECE)
			apply(fz, op, off, len);
	}
	demand(within(plan->freed_off, plan->freed_len, 0, fz->file_len),
	       "frees %llu + %llu", ull(plan->freed_off), ull(plan->freed_len));
}

/*-----------------------------------------------------------------
 * What each function promises
 */

static bool open_image(struct fuzz *fz, const struct fuzz_head *h)
{
	struct vdisk_params params = {
		.file_len = fz->file_len,
		.start_off = h->start * VDISK_SECTOR,
		.size_rule = h->size_rule % 3,
		.write = h->flags & FUZZ_WRITE,
		.device = h->flags & FUZZ_DEVICE,
	};
	const struct vdisk_geom *g = &fz->geom;
	struct drive d;
	int r;

	if (fz->format->flags & VDISK_FORMAT_NO_FILE)
		params.size_sec = 1 + vdisk_le32(h->seed);
	drive_start(fz, &d);
	do {
		r = fz->format->open(&params, &d.step, &fz->geom);
	} while (again(fz, &d, r));
	if (r)
		return false;
	demand(g->size_sec && g->size_sec < 1ull << 55, "size %llu",
	       ull(g->size_sec));
	demand(g->unit_sec && g->unit_len && g->unit_align, "unit of nothing");
	demand(g->tail_len <= VDISK_TAIL_MAX, "tail %u", g->tail_len);
	demand(g->data_end <= fz->file_len, "data end %llu", ull(g->data_end));
	if (g->flags & VDISK_GEOM_RDONLY)
		check_why(fz, g->why_ro);
	fz->data_end = g->data_end;
	if (h->flags & FUZZ_PARENT)
		fz->geom.flags |= VDISK_GEOM_PARENT;
	return true;
}

static void check_unpack(struct fuzz *fz, u64 sector,
			 const struct vdisk_extent *e)
{
	struct vdisk_step step = { .file_len = fz->file_len };
	u32 off = 0, len = 0, n = (u32)vdisk_min(e->len, MAX_PIECE);
	u8 *bytes = malloc(n);
	int r;

	if (!bytes)
		abort();
	read_image(fz, e->off, bytes, n);
	r = fz->format->unpack(&fz->geom, &step, sector - e->skip_sec, bytes, n,
			       &off, &len);
	demand(!r || r == -EUCLEAN, "unpack returns %d", r);
	if (r)
		check_why(fz, step.why);
	else
		demand(off <= n && len <= n - off, "stream %u + %u of %u", off,
		       len, n);
	free(bytes);
}

static int map(struct fuzz *fz, u64 sector, u64 sectors, struct vdisk_extent *e)
{
	struct drive d;
	int r;

	drive_start(fz, &d);
	do {
		memset(e, 0, sizeof(*e));
		r = fz->format->map(&fz->geom, &d.step, sector, sectors, e);
	} while (again(fz, &d, r));
	if (r)
		return r;
	demand(e->sectors && e->sectors <= sectors, "run of %llu of %llu",
	       ull(e->sectors), ull(sectors));
	demand(e->kind <= VDISK_ERROR, "kind %d", e->kind);
	if (e->kind == VDISK_DATA)
		/*
		 * Units may lie wherever nothing else is: data_off is for new
		 * ones. The header is in the first sector of all that have one.
		 * raw: the last sector may be there in part.
		 */
		demand(within(e->off, e->sectors * VDISK_SECTOR,
			      fz->geom.flags & VDISK_GEOM_NO_ALLOC
				      ? 0 : VDISK_SECTOR,
			      vdisk_align(fz->file_len, VDISK_SECTOR, 0)),
		       "data at %llu, %llu sectors", ull(e->off),
		       ull(e->sectors));
	if (e->kind == VDISK_DEFLATE)
		demand(e->len && within(e->off, e->len, 0, fz->file_len) &&
		       e->skip_sec + e->sectors <= fz->geom.unit_sec,
		       "record at %llu + %u", ull(e->off), e->len);
	return 0;
}

/* A run is the same from its middle on. */
static void check_map(struct fuzz *fz, u64 sector, u64 sectors)
{
	struct vdisk_extent e, in;
	u64 skip;

	if (map(fz, sector, sectors, &e))
		return;
	if (e.kind == VDISK_DEFLATE)
		check_unpack(fz, sector, &e);
	skip = rng_below(&fz->rng, e.sectors);
	demand(!map(fz, sector + skip, e.sectors - skip, &in) &&
	       in.kind == e.kind, "run at %llu changes after %llu", ull(sector),
	       ull(skip));
	if (e.kind == VDISK_DATA)
		demand(in.off == e.off + skip * VDISK_SECTOR,
		       "run at %llu jumps after %llu", ull(sector), ull(skip));
}

static void check_place(struct fuzz *fz, const struct drive *d,
			const struct vdisk_ask *ask,
			const struct vdisk_plan *plan)
{
	u64 in = ask->sector - plan->first_sec;

	demand(plan->sectors && plan->sectors <= ask->sectors, "%llu sectors",
	       ull(plan->sectors));
	if (ask->packed_len) {
		demand(within(plan->data_off, ask->packed_len,
			      d->step.unit.off, d->unit_len),
		       "record at %llu", ull(plan->data_off));
		return;
	}
	demand(within(plan->data_off, plan->sectors * VDISK_SECTOR, 0,
		      fz->file_len), "data at %llu", ull(plan->data_off));
	if (!d->unit_len)
		return;
	demand(plan->made_sec && ask->sector >= plan->first_sec &&
	       in + plan->sectors <= plan->made_sec,
	       "made %llu from %llu", ull(plan->made_sec), ull(plan->first_sec));
	demand(plan->data_off == plan->first_off + in * VDISK_SECTOR,
	       "data at %llu, unit at %llu", ull(plan->data_off),
	       ull(plan->first_off));
	demand(within(plan->first_off, plan->made_sec * VDISK_SECTOR,
		      d->step.unit.off, d->unit_len),
	       "unit at %llu outside the new space", ull(plan->first_off));
}

static void check_alloc(struct fuzz *fz, u64 sector, u64 sectors)
{
	struct vdisk_ask ask = { .sector = sector };
	struct vdisk_plan plan = { 0 };
	struct vdisk_extent e;
	struct drive d;
	int r;

	if (!fz->format->alloc || map(fz, sector, sectors, &e) ||
	    e.kind == VDISK_DATA || e.kind == VDISK_ERROR)
		return;
	ask.sectors = e.sectors;
	if (fz->geom.flags & VDISK_GEOM_PACKED)
		ask.packed_len = 1 + (u32)rng_below(&fz->rng, 4096);
	drive_start(fz, &d);
	do {
		r = fz->format->alloc(&fz->geom, &d.step, &ask, &plan);
	} while (again(fz, &d, r));
	if (r)
		return;
	check_plan(fz, &d, &plan, 7, true);
	check_place(fz, &d, &ask, &plan);
	if (d.table_len > MAX_PIECE)
		return;
	demand(!map(fz, sector, plan.sectors, &e), "written, and not mapped");
	if (ask.packed_len)
		demand(e.kind == VDISK_DEFLATE, "packed, and kind %d", e.kind);
	else
		demand(e.kind == VDISK_DATA && e.off == plan.data_off,
		       "written to %llu, mapped %d to %llu", ull(plan.data_off),
		       e.kind, ull(e.off));
}

static void check_discard(struct fuzz *fz, u64 sector, u64 sectors)
{
	bool unmap = rng_one_in(&fz->rng, 2);
	struct vdisk_plan plan = { 0 };
	struct vdisk_extent e;
	struct drive d;
	int r;

	if (!fz->format->discard)
		return;
	/* Whole units, mostly. */
	if (!rng_one_in(&fz->rng, 4)) {
		sector -= sector % fz->geom.unit_sec;
		sectors = vdisk_min(fz->geom.unit_sec *
				    (1 + rng_below(&fz->rng, 8)),
				    fz->geom.size_sec - sector);
	}
	drive_start(fz, &d);
	do {
		r = fz->format->discard(&fz->geom, &d.step, sector, sectors,
					unmap, &plan);
	} while (again(fz, &d, r));
	if (r)
		return;
	check_plan(fz, &d, &plan, 1u << VDISK_PUBLISH, true);
	demand(plan.sectors && plan.sectors <= sectors, "%llu sectors",
	       ull(plan.sectors));
	demand(plan.nr || !plan.freed_len, "frees without an op");
	if (!plan.nr)
		return;
	demand(!map(fz, sector, plan.sectors, &e), "cleared, and not mapped");
	demand(e.kind == VDISK_ZERO ||
	       (e.kind == VDISK_PARENT && !(fz->geom.flags & VDISK_GEOM_PARENT)),
	       "cleared, and kind %d", e.kind);
}

static void check_others(struct fuzz *fz)
{
	struct vdisk_plan plan = { 0 };
	u64 end = fz->data_end;
	struct drive d;
	u32 k;
	int r;

	for (k = 0; k < 2 && fz->format->mark; k++) {
		drive_start(fz, &d);
		do {
			r = fz->format->mark(&fz->geom, &d.step, !k, &plan);
		} while (again(fz, &d, r));
		if (!r)
			check_plan(fz, &d, &plan, 1u << VDISK_BEFORE, true);
	}
	/* As if the last unit were free. */
	if (fz->format->trim && fz->geom.data_off < end) {
		end -= vdisk_min(fz->geom.unit_len, end - fz->geom.data_off);
		drive_start(fz, &d);
		do {
			r = fz->format->trim(&fz->geom, &d.step, end, &plan);
		} while (again(fz, &d, r));
		if (!r)
			check_plan(fz, &d, &plan, 1u << VDISK_BEFORE |
						  1u << VDISK_PUBLISH, false);
	}
	if (fz->format->grow) {
		end = fz->data_end + fz->geom.unit_len * (1 + rng_below(&fz->rng, 9));
		drive_start(fz, &d);
		do {
			r = fz->format->grow(&fz->geom, &d.step, end, &plan);
		} while (again(fz, &d, r));
		/* The ops lie behind the file as it is. */
		for (k = 0; !r && k < plan.nr; k++)
			demand(plan.op[k].phase == VDISK_BEFORE,
			       "grow in phase %u", plan.op[k].phase);
	}
}

static void check_walk(struct fuzz *fz)
{
	struct vdisk_range range;
	u64 cursor = 0, before;
	struct drive d;
	u32 i;
	int r;

	for (i = 0; i < MAX_WALK; i++) {
		before = cursor;
		drive_start(fz, &d);
		d.blocks = true;	/* vhd asks entry by entry */
		do {
			r = fz->format->walk(&fz->geom, &d.step, &cursor,
					     &range);
		} while (again(fz, &d, r));
		demand(!r || cursor != before, "bad entry stops the walk");
		if (r)
			continue;
		if (!range.len)
			return;
		demand(cursor != before, "walk stands still");
		demand(range.kind <= VDISK_RANGE_UNIT, "range kind %d",
		       range.kind);
		demand(within(range.off, range.len, 0,
			      vdisk_align(fz->file_len, VDISK_SECTOR, 0)),
		       "range %llu + %llu", ull(range.off), ull(range.len));
	}
}

static void check_facts(struct fuzz *fz)
{
	struct vdisk_fact fact;
	u32 i;

	for (i = 0; fz->format->fact && fz->format->fact(&fz->geom, i, &fact);
	     i++) {
		demand(i < 64, "facts do not end");
		demand(fact.name && fact.name[0], "fact %u has no name", i);
		demand(fact.kind != VDISK_FACT_TEXT ||
		       memchr(fact.text, 0, sizeof(fact.text)),
		       "fact %s has no end", fact.name);
	}
}

static void check_probe(struct fuzz *fz)
{
	u32 head_len = (u32)vdisk_min(fz->file_len, VDISK_BLOCK);
	u32 tail_len = (u32)vdisk_min(fz->file_len, VDISK_PROBE_TAIL +
				      fz->file_len % VDISK_SECTOR);
	u8 *head = malloc(head_len + !head_len);
	u8 *tail = malloc(tail_len + !tail_len);
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];

	if (!head || !tail)
		abort();
	read_image(fz, 0, head, head_len);
	read_image(fz, fz->file_len - tail_len, tail, tail_len);
	vdisk_probe(head, head_len, tail, tail_len, claim);
	free(head);
	free(tail);
}

/* Sectors that are worth a look: ends, unit borders, any. */
static void pick(struct fuzz *fz, u64 *sector, u64 *sectors)
{
	u64 size = fz->geom.size_sec, unit = fz->geom.unit_sec;

	switch (rng_below(&fz->rng, 4)) {
	case 0:
		*sector = rng_below(&fz->rng, vdisk_min(size, unit * 4));
		break;
	case 1:
		*sector = size - 1 - rng_below(&fz->rng,
					       vdisk_min(size, unit * 2));
		break;
	case 2:
		*sector = rng_below(&fz->rng, vdisk_div_up(size, unit)) * unit;
		break;
	default:
		*sector = rng_below(&fz->rng, size);
	}
	*sectors = size - *sector;
	switch (rng_below(&fz->rng, 3)) {
	case 0:
		*sectors = vdisk_min(*sectors, 1 + rng_below(&fz->rng, 16));
		break;
	case 1:
		*sectors = vdisk_min(*sectors, 1 + rng_below(&fz->rng, unit * 9));
		break;
	}
}

static void use_image(struct fuzz *fz, bool write)
{
	u64 sector, sectors;
	u32 i;

	check_facts(fz);
	check_walk(fz);
	for (i = 0; i < MAX_ASKS; i++) {
		pick(fz, &sector, &sectors);
		check_map(fz, sector, sectors);
		if (!write || fz->geom.flags & VDISK_GEOM_RDONLY)
			continue;
		if (rng_one_in(&fz->rng, 3))
			check_discard(fz, sector, sectors);
		else
			check_alloc(fz, sector, sectors);
	}
	if (write && !(fz->geom.flags & VDISK_GEOM_RDONLY)) {
		check_others(fz);
		check_walk(fz);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = { 0 }, *fz = &fuzz;
	struct fuzz_head h;
	struct page *p;
	u32 nr = 0, i;

	if (size < FUZZ_HEAD_LEN)
		return 0;
	memcpy(&h, data, sizeof(h));
	while (vdisk_formats[nr])
		nr++;
	fz->format = vdisk_formats[h.format % nr];
	fz->rng.state = vdisk_le32(h.seed);
	fz->head = data + FUZZ_HEAD_LEN;
	fz->head_len = size - FUZZ_HEAD_LEN;
	fz->file_len = fz->head_len;
	if (h.flags & FUZZ_TAIL) {
		fz->tail_len = vdisk_min(fz->head_len, VDISK_SECTOR);
		fz->head_len -= fz->tail_len;
		fz->tail = fz->head + fz->head_len;
	}
	if (h.flags & FUZZ_LONG)
		fz->file_len = vdisk_max(fz->file_len,
					 vdisk_le64(h.file_len) % FUZZ_MAX_LEN);
	fz->tail_off = fz->file_len - fz->tail_len;
	check_probe(fz);
	if (open_image(fz, &h))
		use_image(fz, h.flags & FUZZ_WRITE);

	for (i = 0; i < PAGE_BUCKETS; i++) {
		while ((p = fz->page[i])) {
			fz->page[i] = p->next;
			free(p);
		}
	}
	return 0;
}
