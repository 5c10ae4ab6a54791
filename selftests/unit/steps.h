/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An image in memory, and a caller of steps that holds a format to its
 * contract: it counts calls, checks each need, and lends copies exactly as long
 * as promised, so that ASan sees a byte read beyond them.
 *
 * A sector of the guest's is told by its first four bytes, a stamp.
 */
#ifndef _SELFTESTS_STEPS_H
#define _SELFTESTS_STEPS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { MAX_FREE = 64 };

enum lend {
	LEND_EXACT,	/* what was asked for, no byte more */
	LEND_BLOCK,	/* the block around it */
	LEND_LONG,	/* many blocks */
	NR_LEND,
};

struct image {
	u8 *mem;
	u64 room;		/* address space behind mem */
	u64 len;		/* of the file */
	u64 data_end;
	u64 next;		/* appending goes on here */
	u64 free[MAX_FREE];	/* units given back */
	u32 nr_free;
	enum lend lend;
	u8 *lent[VDISK_MAX_VIEWS];
	u32 calls;
	bool granted_free;
	bool noise;		/* space is granted without being there */
};

static const char *steps_broken;	/* the first breach of the contract */
static u64 steps_count;			/* steps that ended */

static u32 steps_random(void)
{
	static u64 x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (u32)(x >> 16);
}

static void breach(const char *what)
{
	if (!steps_broken)
		steps_broken = what;
}

/* Address space, not memory: a table may be 1 GiB. */
static void image_new(struct image *img, u64 room)
{
	*img = (struct image){ .room = room };
	img->mem = mmap(NULL, room, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (img->mem == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
}

static void image_free(struct image *img)
{
	munmap(img->mem, img->room);
}

static void image_zero(struct image *img, u64 off, u64 len)
{
	u64 page = 4096, skip = -off & (page - 1);

	if (len < 64 * page) {
		memset(img->mem + off, 0, len);
		return;
	}
	memset(img->mem + off, 0, skip);
	off += skip;
	len -= skip;
	madvise(img->mem + off, len & ~(page - 1), MADV_DONTNEED);
	memset(img->mem + off + (len & ~(page - 1)), 0, len & (page - 1));
}

static void step_start(struct image *img, struct vdisk_step *step)
{
	*step = (struct vdisk_step){
		.file_len = img->len, .data_end = img->data_end,
		.random = (const u8 *)"0123456789abcdefghijklmnopqrstuv",
	};
	memset(img->lent, 0, sizeof(img->lent));
	img->calls = 0;
	img->granted_free = false;
}

static void lend_bytes(struct image *img, struct vdisk_step *step)
{
	u64 off = step->need.off, end = off + step->need.len, block = VDISK_BLOCK;
	u32 i;

	if (!step->need.len || off / block != (end - 1) / block)
		breach("a need crosses a block");
	if (end > step->file_len)
		breach("a need passes the end of the file");
	for (i = 0; i < step->nr_views; i++)
		if (step->view[i].off <= off &&
		    end <= step->view[i].off + step->view[i].len)
			breach("a step asks again for what it has");
	if (step->nr_views == VDISK_MAX_VIEWS)
		breach("a step asks for too many views");
	if (steps_broken)
		return;
	if (img->lend != LEND_EXACT) {
		off &= ~(block - 1);
		end = off + (img->lend == LEND_LONG ? 16 * block : block);
		end = vdisk_min(end, step->file_len);
	}
	i = step->nr_views++;
	img->lent[i] = malloc(end - off);
	memcpy(img->lent[i], img->mem + off, end - off);
	step->view[i] = (struct vdisk_view){
		.off = off, .len = (u32)(end - off), .data = img->lent[i],
	};
}

/* Space is dirty when it is granted: what must be zero has to be made so. */
static void grant(struct image *img, struct vdisk_step *step)
{
	const struct vdisk_need *need = &step->need;
	u64 n = need->count, off;

	if (need->kind == VDISK_NEED_TABLE ? step->table.count : step->unit.count)
		breach("a step asks again for space");
	if (!need->len || !n || !need->align)
		breach("a need for nothing");
	if (steps_broken)
		return;
	if (need->kind == VDISK_NEED_UNIT && img->nr_free && steps_random() % 2) {
		step->unit.off = img->free[img->nr_free - 1];
		step->unit.count = 1;
		img->granted_free = true;
		return;
	}
	if (steps_random() % 4 == 0)
		n = 1 + steps_random() % n;
	off = vdisk_align(img->next, need->align, need->base);
	if (img->noise)
		n = 1;
	else if (off + n * need->len > img->data_end)
		n = off < img->data_end ? (img->data_end - off) / need->len : 0;
	if (!n) {
		breach("the test did not grow the image enough");
		return;
	}
	if (!img->noise) {
		img->next = off + n * need->len;
		memset(img->mem + off, 0xEE, vdisk_min(n * need->len, 1 << 20));
	}
	if (need->kind == VDISK_NEED_TABLE)
		step->table = (struct vdisk_space){ .off = off, .count = 1 };
	else
		step->unit = (struct vdisk_space){ off, (u32)n };
}

/* After a call that returned @r: must it be called again? */
static bool step_more(struct image *img, struct vdisk_step *step, int r)
{
	u32 i;

	if (++img->calls > VDISK_MAX_STEPS)
		breach("a step does not end");
	if (r != 0 && r != -EAGAIN && r != -EUCLEAN)
		breach("a step returns what it may not");
	if (r == -EUCLEAN &&
	    (!step->why || strlen(step->why) > 50 || step->why[0] < 'A' ||
	     step->why[0] > 'Z' || step->why[strlen(step->why) - 1] == '.'))
		breach("a reason is not in the form agreed");
	if (r == -EAGAIN && !steps_broken) {
		if (step->need.kind == VDISK_NEED_BYTES)
			lend_bytes(img, step);
		else
			grant(img, step);
		if (!steps_broken)
			return true;
	}
	for (i = 0; i < VDISK_MAX_VIEWS; i++)
		free(img->lent[i]);
	steps_count++;
	return false;
}

/* Call a step until it is done; its result. */
#define STEP(img, step, call) ({				\
	int r_;							\
								\
	step_start(img, step);					\
	do							\
		r_ = (call);					\
	while (step_more(img, step, r_));			\
	steps_broken ? -EINVAL : r_;				\
})

/* What of an op lies in the sector at @at. */
static void apply_part(struct image *img, const struct vdisk_op *op, u64 at)
{
	u64 i, off;

	for (i = 0; op->kind == VDISK_OP_SET && i < op->count; i++) {
		off = op->off + i * op->width;
		if (off >= at && off < at + VDISK_SECTOR)
			vdisk_store(img->mem + off, op->value + i * op->step,
				    op->width, op->big);
	}
}

static void apply_op(struct image *img, const struct vdisk_op *op)
{
	u64 off = op->off, i;

	switch (op->kind) {
	case VDISK_OP_SET:
		for (i = 0; i < op->count; i++)
			vdisk_store(img->mem + op->off + i * op->width,
				    op->value + i * op->step, op->width,
				    op->big);
		off += (u64)op->count * op->width;
		break;
	case VDISK_OP_ZERO:
		image_zero(img, op->off, op->value);
		off += op->value;
		break;
	case VDISK_OP_LENGTH:
		if (off > img->room) {
			breach("the image outgrows the test");
			return;
		}
		if (off < img->len)
			image_zero(img, off, img->len - off);
		img->len = off;
		break;
	default:
		breach("an op that the test does not know");
	}
	if (off > img->len)
		breach("an op writes past the end of the file");
}

static void apply_phase(struct image *img, const struct vdisk_plan *plan,
			enum vdisk_phase phase)
{
	u32 i;

	if (plan->nr > VDISK_MAX_OPS)
		breach("a plan has too many ops");
	for (i = 0; i < plan->nr && i < VDISK_MAX_OPS; i++)
		if (plan->op[i].phase == phase)
			apply_op(img, &plan->op[i]);
}

static u32 stamp_at(const struct image *img, u64 off)
{
	return vdisk_le32(img->mem + off);
}

/* A disk with random content, and what its sectors should say. */
struct model {
	const struct vdisk_format *fmt;
	struct vdisk_geom geom;
	struct image img;
	u32 *now;		/* the stamp of each sector */
	bool parent;		/* there is one below, full of stamps */
	u64 stride;		/* check every so many sectors of a run */
	u32 serial;
	u64 table_len;		/* of a new table, if there are such */
	/* The same by the formula of the specification, not by map(). */
	u32 (*spec)(const struct model *m, u64 sector);
};

static u32 below(const struct model *m, u64 sector)
{
	return m->parent ? 0x80000000u | (u32)sector : 0;
}

static u32 stamp_of(const struct model *m, const struct vdisk_extent *e,
		    u64 sector, u64 i)
{
	if (e->kind == VDISK_DATA)
		return stamp_at(&m->img, e->off + i * VDISK_SECTOR);
	return e->kind == VDISK_ZERO ? 0 : below(m, sector + i);
}

/*
 * Every sector must read as the model has it; those from @first on, @n of them,
 * may read @stamp instead.
 */
static void check_range(struct model *m, u64 from, u64 to, u64 first, u64 n,
			u32 stamp)
{
	struct vdisk_extent e;
	struct vdisk_step step;
	u64 i, s;
	u32 got;

	for (; from < to && !steps_broken; from += e.sectors) {
		e = (struct vdisk_extent){ 0 };
		if (STEP(&m->img, &step, m->fmt->map(&m->geom, &step, from,
						     to - from, &e))) {
			breach("a good image cannot be read");
			return;
		}
		if (!e.sectors || e.sectors > to - from) {
			breach("a run is empty or longer than was asked");
			return;
		}
		if (e.kind == VDISK_DATA &&
		    e.off + e.sectors * VDISK_SECTOR > m->img.data_end) {
			breach("a run passes the end of the data");
			return;
		}
		for (i = 0; i < e.sectors;
		     i += i + 1 == e.sectors ? 1 :
			  vdisk_min(m->stride, e.sectors - 1 - i)) {
			s = from + i;
			got = stamp_of(m, &e, from, i);
			if (got != m->now[s] &&
			    !(s >= first && s - first < n && got == stamp))
				breach("a sector reads neither old nor new");
		}
	}
}

enum { MAX_PARTS = 64 };

struct part {
	const struct vdisk_op *op;
	u64 at;			/* of the sector it changes */
	u8 old[VDISK_SECTOR];
};

/* PUBLISH torn at sectors, since that is how it may survive a crash. */
static u32 parts_of(const struct vdisk_plan *plan, struct part *part)
{
	u64 at, end;
	u32 i, n = 0;

	for (i = 0; i < plan->nr; i++) {
		if (plan->op[i].phase != VDISK_PUBLISH)
			continue;
		if (plan->op[i].kind != VDISK_OP_SET) {
			breach("the test cannot tear this op");
			continue;
		}
		at = plan->op[i].off & ~(u64)(VDISK_SECTOR - 1);
		end = plan->op[i].off + (u64)plan->op[i].count * plan->op[i].width;
		for (; at < end && n < MAX_PARTS; at += VDISK_SECTOR)
			part[n++] = (struct part){ &plan->op[i], at, { 0 } };
	}
	return n;
}

static void crash_check(struct model *m, const struct vdisk_plan *plan,
			u64 from, u64 to, u64 first, u64 n, u32 stamp)
{
	static struct part part[MAX_PARTS];
	u32 parts = parts_of(plan, part), tries, t, i;
	u64 set;

	for (i = 0; i < parts; i++)
		memcpy(part[i].old, m->img.mem + part[i].at, VDISK_SECTOR);
	tries = parts < 5 ? 1u << parts : parts + 9;
	for (t = 0; t < tries && !steps_broken; t++) {
		if (parts < 5)
			set = t;
		else if (t <= parts)	/* the prefixes, then some subsets */
			set = t == 64 ? ~0ull : (1ull << t) - 1;
		else
			set = (u64)steps_random() << 32 | steps_random();
		for (i = 0; i < parts; i++)
			if (set >> i & 1)
				apply_part(&m->img, part[i].op, part[i].at);
		check_range(m, from, to, first, n, stamp);
		for (i = 0; i < parts; i++)
			memcpy(m->img.mem + part[i].at, part[i].old,
			       VDISK_SECTOR);
	}
}

/* The guest's sectors and the fill around them. */
static void write_data(struct model *m, const struct vdisk_plan *plan,
		       u64 sector, u32 stamp)
{
	u64 i, s, off;

	for (i = 0; i < plan->made_sec && plan->fill != VDISK_FILL_NONE; i++) {
		s = plan->first_sec + i;
		off = plan->first_off + i * VDISK_SECTOR;
		vdisk_store(m->img.mem + off,
			    plan->fill == VDISK_FILL_PARENT &&
			    s < m->geom.size_sec ? below(m, s) : 0, 4, false);
	}
	for (i = 0; i < plan->sectors; i++)
		vdisk_store(m->img.mem + plan->data_off + i * VDISK_SECTOR,
			    stamp, 4, false);
	if (plan->made_sec &&
	    plan->data_off != plan->first_off +
			      (sector - plan->first_sec) * VDISK_SECTOR)
		breach("a plan puts the guest's sectors elsewhere");
}

static void finish_plan(struct model *m, const struct vdisk_plan *plan,
			u64 sector, u32 stamp)
{
	u64 unit = m->geom.unit_sec, i;
	u64 from = sector > unit ? sector - unit : 0;
	u64 to = vdisk_min(sector + plan->sectors + unit, m->geom.size_sec);

	crash_check(m, plan, from, to, sector, plan->sectors, stamp);
	apply_phase(&m->img, plan, VDISK_PUBLISH);
	for (i = 0; i < plan->sectors; i++)
		m->now[sector + i] = stamp;
	check_range(m, from, to, 0, 0, 0);
	for (i = 0; i < plan->freed_len; i += m->geom.unit_len) {
		memset(m->img.mem + plan->freed_off + i, 0xEE,
		       vdisk_min(m->geom.unit_len, 1 << 20));
		if (m->img.nr_free < MAX_FREE)
			m->img.free[m->img.nr_free++] = plan->freed_off + i;
	}
}

static void make_room(struct model *m, u64 len)
{
	struct vdisk_plan plan;
	struct vdisk_step step;
	u64 end = m->img.next + len;

	if (end <= m->img.data_end)
		return;
	end = vdisk_align(end + 3 * m->geom.unit_len, m->geom.unit_align,
			  m->geom.unit_base);
	if (STEP(&m->img, &step, m->fmt->grow(&m->geom, &step, end, &plan)))
		breach("an image cannot grow");
	apply_phase(&m->img, &plan, VDISK_BEFORE);
	m->img.data_end = end;
}

static void model_write(struct model *m, u64 sector, u64 n, u32 stamp)
{
	u64 units, i;
	struct vdisk_extent e = { 0 };
	struct vdisk_plan plan;
	struct vdisk_step step;
	struct vdisk_ask ask;

	for (; n && !steps_broken; sector += e.sectors, n -= e.sectors) {
		if (STEP(&m->img, &step, m->fmt->map(&m->geom, &step, sector,
						     n, &e))) {
			breach("a good image cannot be read");
			return;
		}
		if (e.kind == VDISK_DATA) {
			for (i = 0; i < e.sectors; i++) {
				vdisk_store(m->img.mem + e.off +
					    i * VDISK_SECTOR, stamp, 4, false);
				m->now[sector + i] = stamp;
			}
			continue;
		}
		ask = (struct vdisk_ask){ .sector = sector, .sectors = e.sectors };
		units = e.sectors / m->geom.unit_sec + 3;
		make_room(m, 2 * m->table_len +
			     units * m->geom.unit_len);
		if (STEP(&m->img, &step, m->fmt->alloc(&m->geom, &step, &ask,
						       &plan))) {
			breach("a good image cannot be written");
			return;
		}
		if (m->img.granted_free)
			m->img.nr_free--;
		if (!plan.sectors || plan.sectors > e.sectors)
			breach("a plan covers nothing, or too much");
		apply_phase(&m->img, &plan, VDISK_BEFORE);
		apply_phase(&m->img, &plan, VDISK_IN_DATA);
		if (steps_broken)
			return;
		write_data(m, &plan, sector, stamp);
		finish_plan(m, &plan, sector, stamp);
		e.sectors = plan.sectors;
	}
}

/* Sectors that do not read zero yet are written. */
static void write_zeroes(struct model *m, u64 sector, u64 n)
{
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;

	for (; n && !steps_broken; sector += e.sectors, n -= e.sectors) {
		if (STEP(&m->img, &step, m->fmt->map(&m->geom, &step, sector,
						     n, &e))) {
			breach("a good image cannot be read");
			return;
		}
		if (e.kind == VDISK_DATA || (e.kind == VDISK_PARENT && m->parent))
			model_write(m, sector, e.sectors, 0);
	}
}

static void model_discard(struct model *m, u64 sector, u64 n, bool unmap)
{
	struct vdisk_plan plan = { 0 };
	struct vdisk_step step;
	u32 i;

	for (; n && !steps_broken; sector += plan.sectors, n -= plan.sectors) {
		if (STEP(&m->img, &step, m->fmt->discard(&m->geom, &step,
							 sector, n, unmap,
							 &plan))) {
			breach("a good image cannot be discarded");
			return;
		}
		if (!plan.sectors || plan.sectors > n) {
			breach("a discard covers nothing, or too much");
			return;
		}
		for (i = 0; i < plan.nr; i++)
			if (plan.op[i].phase != VDISK_PUBLISH)
				breach("a discard does more than publish");
		if (plan.nr)
			finish_plan(m, &plan, sector, 0);
		else if (!unmap)
			write_zeroes(m, sector, plan.sectors);
	}
}

static void model_mark(struct model *m, bool dirty)
{
	struct vdisk_params params = { .file_len = m->img.len, .write = true };
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct vdisk_step step;
	u32 i;

	if (STEP(&m->img, &step, m->fmt->mark(&m->geom, &step, dirty, &plan)))
		breach("an image cannot be marked");
	for (i = 0; i < plan.nr; i++)
		if (plan.op[i].phase != VDISK_BEFORE)
			breach("a mark is not durable");
	apply_phase(&m->img, &plan, VDISK_BEFORE);
	if (STEP(&m->img, &step, m->fmt->open(&params, &step, &geom)))
		breach("an image does not open again");
	else if (!(geom.flags & VDISK_GEOM_DIRTY) == dirty)
		breach("a mark is not found again");
}

static u64 random_sector(struct model *m, u64 near)
{
	u64 size = m->geom.size_sec, s;

	switch (steps_random() % 4) {
	case 0:
		s = near + steps_random() % (4 * m->geom.unit_sec);
		s -= vdisk_min(s, 2 * m->geom.unit_sec);
		return s % size;
	case 1:
		s = steps_random() % size;
		return s - s % m->geom.unit_sec;
	}
	return steps_random() % size;
}

static u64 random_length(struct model *m, u64 sector)
{
	u64 unit = m->geom.unit_sec, n;

	switch (steps_random() % 4) {
	case 0:
		n = 1 + steps_random() % 20;
		break;
	case 1:
		n = unit * (1 + steps_random() % 2);
		break;
	case 2:
		n = unit * (1 + steps_random() % (unit < 64 ? 70 : 4));
		break;
	default:
		n = 1 + steps_random() % (3 * unit);
	}
	return vdisk_min(n, m->geom.size_sec - sector);
}

static int by_off(const void *a, const void *b)
{
	const struct vdisk_range *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* Owners do not overlap, and the units are those that map() finds. */
static void check_walk(struct model *m)
{
	struct vdisk_range *r = NULL;
	struct vdisk_extent e;
	struct vdisk_step step;
	u64 cursor = 0, n = 0, room = 0, units = 0, s, i;

	for (;; n++) {
		if (n == room) {
			room = room * 2 + 64;
			r = realloc(r, room * sizeof(*r));
		}
		if (STEP(&m->img, &step, m->fmt->walk(&m->geom, &step, &cursor,
						      &r[n]))) {
			breach("a good image cannot be walked");
			break;
		}
		if (!r[n].len)
			break;
		if (r[n].off + r[n].len > m->img.len)
			breach("a range passes the end of the file");
		if (r[n].kind != VDISK_RANGE_UNIT)
			continue;
		for (i = 0; i < r[n].len; i += m->geom.unit_len, units++)
			if (STEP(&m->img, &step, m->fmt->map(&m->geom, &step,
					r[n].sector + i / VDISK_SECTOR, 1, &e)) ||
			    e.kind != VDISK_DATA || e.off != r[n].off + i)
				breach("a walk finds a unit that map does not");
	}
	qsort(r, n, sizeof(*r), by_off);
	for (i = 1; i < n; i++)
		if (r[i - 1].off + r[i - 1].len > r[i].off)
			breach("two owners of the same bytes");
	free(r);
	for (s = 0; s < m->geom.size_sec && !steps_broken;
	     s += m->geom.unit_sec) {
		if (STEP(&m->img, &step, m->fmt->map(&m->geom, &step, s, 1, &e)))
			breach("a good image cannot be read");
		units -= e.kind == VDISK_DATA;
	}
	if (units)
		breach("a walk misses units");
}

/*
 * A walk tells the units from @sector on as one range of @len bytes at @off, and
 * then that the entry behind them is bad. The cursor behind that.
 */
static u64 check_run(const struct vdisk_format *fmt, struct image *img,
		     const struct vdisk_geom *geom, u64 sector, u64 off, u64 len)
{
	struct vdisk_range range;
	struct vdisk_step step;
	u64 cursor = 0;
	u32 calls;

	for (calls = 0; calls < 100; calls++)
		if (!STEP(img, &step, fmt->walk(geom, &step, &cursor,
						&range)) &&
		    range.sector == sector)
			break;
	T_EQ(range.off, off, "where the first of neighbours is");
	T_EQ(range.len, len, "neighbours are one range");
	T_EQ(STEP(img, &step, fmt->walk(geom, &step, &cursor, &range)),
	     -EUCLEAN, "as far as they are sound");
	T_EQ(range.sector, sector + len / VDISK_SECTOR, "the next one is not");
	return cursor;
}

/*
 * Random writes, zeroes and discards, each crashed in the middle of PUBLISH.
 * @near: a place where something changes, visited often.
 */
static void model_run(struct model *m, u32 times, u64 near, bool walk)
{
	struct vdisk_params params = { .file_len = m->img.len, .write = true };
	struct vdisk_step step;
	u32 what;
	u64 s, n;

	steps_broken = NULL;
	if (STEP(&m->img, &step, m->fmt->open(&params, &step, &m->geom))) {
		breach(step.why ? step.why : "an image does not open");
		return;
	}
	if (m->parent)
		m->geom.flags |= VDISK_GEOM_PARENT;
	m->img.data_end = m->geom.data_end;
	m->img.next = m->geom.alloc_off;
	m->stride = m->geom.unit_sec > 4096 ? 997 : m->geom.unit_sec > 64 ? 31 : 1;
	m->now = malloc(m->geom.size_sec * sizeof(*m->now));
	for (s = 0; s < m->geom.size_sec; s++)
		m->now[s] = below(m, s);

	model_mark(m, true);
	while (times-- && !steps_broken) {
		m->img.lend = steps_random() % NR_LEND;
		s = random_sector(m, near);
		n = random_length(m, s);
		what = steps_random() % 8;
		if (what < 5)
			model_write(m, s, n, ++m->serial);
		else
			model_discard(m, s, n, what & 1);
	}
	model_mark(m, false);

	for (what = 0; what < NR_LEND && !steps_broken; what++) {
		m->img.lend = what;
		check_range(m, 0, m->geom.size_sec, 0, 0, 0);
		if (walk)
			check_walk(m);
	}
	for (s = 0; s < m->geom.size_sec && !steps_broken; s++)
		if (m->spec(m, s) != m->now[s])
			breach("the specification reads otherwise");
	free(m->now);
}

static void noise_steps(const struct vdisk_format *fmt, struct image *img,
			const struct vdisk_geom *geom)
{
	struct vdisk_ask ask = { 0 };
	struct vdisk_range range;
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_plan plan;
	u64 cursor = 0;
	u32 i;
	int r;

	for (i = 0; i < 8; i++) {
		ask.sector = steps_random() % (i < 4 ? 64 : geom->size_sec);
		ask.sector = vdisk_min(ask.sector, geom->size_sec - 1);
		ask.sectors = 1 + steps_random() % 5000;
		ask.sectors = vdisk_min(ask.sectors,
					geom->size_sec - ask.sector);
		e = (struct vdisk_extent){ 0 };
		r = STEP(img, &step, fmt->map(geom, &step, ask.sector,
					      ask.sectors, &e));
		if (!r && (!e.sectors || e.sectors > ask.sectors ||
			   (e.kind == VDISK_DATA &&
			    e.off + e.sectors * VDISK_SECTOR > img->len)))
			breach("noise: a run that is not there");
		r = STEP(img, &step, fmt->alloc(geom, &step, &ask, &plan));
		if (!r && (!plan.sectors || plan.sectors > ask.sectors))
			breach("noise: a plan for nothing, or too much");
		r = STEP(img, &step, fmt->discard(geom, &step, ask.sector,
						  ask.sectors, i & 1, &plan));
		if (!r && (!plan.sectors || plan.sectors > ask.sectors ||
			   plan.freed_off + plan.freed_len > img->len))
			breach("noise: a discard of what is not there");
	}
	for (i = 0; i < 300; i++) {
		r = STEP(img, &step, fmt->walk(geom, &step, &cursor, &range));
		if (!r && !range.len)
			break;
		if (!r && (range.off > img->len ||
			   range.len > img->len - range.off))
			breach("noise: a range that is not there");
	}
}

/*
 * Images with random changes in what their first @len bytes, header and tables,
 * say: steps must keep the contract. Returns how many of them opened.
 */
static u32 noise_run(const struct vdisk_format *fmt, struct image *img, u32 len,
		     u32 times)
{
	static const u8 odd[] = { 0, 1, 2, 0x10, 0x7F, 0x80, 0xF0, 0xFF };
	struct vdisk_params params = { .file_len = img->len, .write = true };
	struct vdisk_step step;
	struct vdisk_geom geom;
	u8 *good = malloc(len);
	u32 opened = 0, i;

	steps_broken = NULL;
	memcpy(good, img->mem, len);
	img->noise = true;
	while (times-- && !steps_broken) {
		memcpy(img->mem, good, len);
		for (i = steps_random() % 4; i; i--)
			img->mem[steps_random() % 64] =
				odd[steps_random() % sizeof(odd)];
		for (i = steps_random() % 64; i; i--)
			img->mem[64 + steps_random() % (len - 64)] =
				odd[steps_random() % sizeof(odd)];
		img->lend = steps_random() % NR_LEND;
		if (STEP(img, &step, fmt->open(&params, &step, &geom)))
			continue;
		opened++;
		img->data_end = geom.data_end;
		img->next = geom.alloc_off;
		noise_steps(fmt, img, &geom);
	}
	free(good);
	return opened;
}

/* One thing wrong with a header, or with the file's length. */
struct refusal {
	const char *why;
	u64 value;
	u32 off, width;		/* a field in little endian; width 0 = none */
	u64 poke;
	u64 len;		/* 0 = as it is */
	int shape;		/* of the image, if the test has several */
};

/* @img is sound but for @row, and opened by the test's own @open. */
static void refuse(struct image *img, const struct refusal *row,
		   int (*open)(struct image *img, struct vdisk_step *step,
			       struct vdisk_geom *geom))
{
	struct vdisk_step step;
	struct vdisk_geom geom;
	int r;

	if (row->width)
		vdisk_store(img->mem + row->off, row->poke, row->width, false);
	if (row->len)
		img->len = row->len;
	r = open(img, &step, &geom);
	T_OK(r == -EUCLEAN && !strcmp(step.why, row->why) &&
	     step.value == row->value && !steps_broken,
	     t_name("%s: byte %u", row->why, row->off));
	image_free(img);
}

#endif /* _SELFTESTS_STEPS_H */
