/* SPDX-License-Identifier: GPL-2.0 */
/* VHD: what plans do to an image, and the walk. */
#ifndef _SELFTESTS_VHD_PLAN_H
#define _SELFTESTS_VHD_PLAN_H

#include "vhd_map.h"

/* What of an op lies in the sector at @at, or all of it. */
static void apply(struct image *img, const struct vdisk_geom *geom,
		  const struct vdisk_op *op, u64 at)
{
	u64 from = at == ALL ? 0 : at, to = at == ALL ? ALL : at + 512;
	u64 i, off = op->off, end = off;

	switch (op->kind) {
	case VDISK_OP_SET:
		for (i = 0; i < op->count; i++, end += op->width)
			if (end >= from && end < to)
				vdisk_store(img->mem + end,
					    op->value + i * op->step,
					    op->width, op->big);
		break;
	case VDISK_OP_BITS:
		for (i = op->value; i < op->value + op->count; i++) {
			end = off + i / 8;
			if (end < from || end >= to)
				continue;
			img->mem[end] &= (u8)~(0x80 >> i % 8);
			if (op->step & 1)
				img->mem[end] |= 0x80 >> i % 8;
		}
		end = off + vdisk_div_up(op->value + op->count, 8);
		break;
	case VDISK_OP_ZERO:
		end = off + op->value;
		from = vdisk_max(from, off);
		to = vdisk_min(to, end);
		if (from < to)
			image_zero(img, from, to - from);
		break;
	case VDISK_OP_TAIL:
		end = off + geom->tail_len;
		from = vdisk_max(from, off);
		to = vdisk_min(to, end);
		if (from < to)
			memcpy(img->mem + from, geom->tail + (from - off),
			       to - from);
		/* The one op that a file may become longer by. */
		img->len = vdisk_max(img->len, end);
		break;
	case VDISK_OP_LENGTH:
		if (off > img->room) {
			breach("the image outgrows the test");
			return;
		}
		if (off < img->len)
			image_zero(img, off, img->len - off);
		img->len = off;
		end = off;
		break;
	default:
		breach("an op of no known kind");
	}
	if (end > img->len)
		breach("an op writes past the end of the file");
}

static void apply_all(struct image *img, const struct vdisk_geom *geom,
		      const struct vdisk_plan *plan, enum vdisk_phase phase)
{
	u32 i;

	for (i = 0; i < plan->nr; i++)
		if (plan->op[i].phase == phase)
			apply(img, geom, &plan->op[i], ALL);
}

static u32 ops_of(const struct vdisk_plan *plan, enum vdisk_phase phase)
{
	u32 i, n = 0;

	for (i = 0; i < plan->nr; i++)
		n += plan->op[i].phase == phase;
	return n;
}

/* A new block in dirty space: what its bitmap is, before and after PUBLISH. */
static void test_alloc(void)
{
	static const struct {
		const char *name;
		u32 block;
		u64 in, ask, covers;
	} rows[] = {
		{ "a sector", 65536, 5, 1, 1 },
		{ "a whole block", 65536, 0, 128, 128 },
		{ "no further than the block", 65536, 100, 5000, 28 },
		{ "the smallest block", 4096, 3, 2, 2 },
		{ "a bitmap of a part of a sector", 512 << 10, 1000, 24, 24 },
		{ "a bitmap of a whole sector", 2 << 20, 4095, 9, 1 },
		{ "a bitmap of many sectors", 64 << 20, 8000, 70000, 70000 },
		{ "the largest block", 256 << 20, 1, 524287, 524287 },
	};
	struct vdisk_ask ask;
	struct vdisk_plan plan;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct shape s = small;
	struct image img;
	u64 bits, bitmap, at, i, b;
	bool good, diff;
	u32 r;

	for (r = 0; r < 2 * ARRAY(rows); r++) {
		diff = r % 2;
		s.type = VHD_DYNAMIC + diff;
		s.block = rows[r / 2].block;
		bits = s.block / 512;
		bitmap = bitmap_of(s.block);
		s.sectors = 3 * bits;
		s.room = 8192 + 3 * (s.block + bitmap);
		build(&img, &s, 512);
		open_it(&img, &step, &geom);
		at = vdisk_align(data_at, 4096, -bitmap & 4095);
		img.next = at;
		memset(img.mem + at, 0xEE, bitmap);
		ask = (struct vdisk_ask){ bits + rows[r / 2].in, rows[r / 2].ask };
		good = !STEP(&img, &step, vhd_alloc(&geom, &step, &ask, &plan));
		T_OK(good && plan.sectors == rows[r / 2].covers &&
		     plan.first_sec == bits && plan.made_sec == bits &&
		     plan.first_off == at + bitmap &&
		     plan.data_off == at + bitmap + rows[r / 2].in * 512 &&
		     plan.fill == (diff ? VDISK_FILL_NONE : VDISK_FILL_ZERO) &&
		     !ops_of(&plan, VDISK_BEFORE) && !plan.freed_len,
		     t_name("a new block for %s", rows[r / 2].name));
		apply_all(&img, &geom, &plan, VDISK_IN_DATA);
		good = vdisk_be32(img.mem + bat_at + 4) == VHD_FREE;
		for (i = 0; i < bitmap; i++)
			good &= img.mem[at + i] == (!diff && i < bits / 8 ? 0xFF : 0);
		T_OK(good && img.mem[at + bitmap] != 0xFF,
		     "its bitmap with DATA, nothing points to it");
		apply_all(&img, &geom, &plan, VDISK_PUBLISH);
		good = vdisk_be32(img.mem + bat_at + 4) == at / 512 &&
		       vdisk_be32(img.mem + bat_at) == VHD_FREE &&
		       vdisk_be32(img.mem + bat_at + 8) == VHD_FREE;
		for (i = 0; diff && i < bits; i++) {
			b = i - rows[r / 2].in;
			good &= bit_at(&img, at, i) == (b < plan.sectors);
		}
		T_OK(good, "its entry and bits are published");

		/* Then the block is there, and some of its bits are not. */
		memset(img.mem + at, 0, bitmap);
		ask = (struct vdisk_ask){ bits + 2, bits };
		good = !STEP(&img, &step, vhd_alloc(&geom, &step, &ask, &plan));
		T_OK(good && plan.sectors == bits - 2 && !plan.made_sec &&
		     plan.data_off == at + bitmap + 1024 &&
		     plan.fill == VDISK_FILL_NONE &&
		     ops_of(&plan, VDISK_PUBLISH) == plan.nr,
		     "bits of a block that is there");
		apply_all(&img, &geom, &plan, VDISK_PUBLISH);
		for (i = 0; i < bits; i++)
			good &= bit_at(&img, at, i) == (i >= 2);
		for (i = bits / 8; i < bitmap; i++)
			good &= !img.mem[at + i];
		T_OK(good && vdisk_be32(img.mem + bat_at + 4) == at / 512,
		     "and only these");
		image_free(&img);
	}

	/* The last sector that an entry can name, and the one it cannot. */
	for (r = 0; r < 2; r++) {
		build(&img, r ? &differencing : &small, 512);
		open_it(&img, &step, &geom);
		ask = (struct vdisk_ask){ 0, 1 };
		img.noise = true;
		img.next = 0xFFFFFFFEull * 512;
		geom.unit_align = 512;
		geom.unit_base = 0;
		T_EQ(STEP(&img, &step, vhd_alloc(&geom, &step, &ask, &plan)), 0,
		     "the last place for a block");
		img.next += 512;
		if (T_OK(STEP(&img, &step, vhd_alloc(&geom, &step, &ask,
						     &plan)) == -EUCLEAN &&
			 !strcmp(step.why, "VHD file is full at 2 TiB") &&
			 step.value == 0xFFFFFFFFull * 512, "the place behind it"))
			phrase_saw(step.why);
		image_free(&img);
	}
	kept("plans keep the contract");
}

static void test_discard(void)
{
	static const struct {
		const char *name;
		const struct shape *shape;
		const char *creator;
		u64 sector, sectors;
		bool unmap;
		u64 covers;
		u32 nr;
	} rows[] = {
		{ "a block", &small, "win ", 128, 128, true, 128, 1 },
		{ "a block, to zeroes", &small, "win ", 128, 128, false, 128, 1 },
		{ "a block of many", &small, "win ", 128, 1000, true, 128, 1 },
		{ "the last block, in part", &small, "win ", 39 * 128, 8, true,
		  8, 1 },
		{ "a sector less", &small, "win ", 128, 127, true, 127, 0 },
		{ "from the second sector", &small, "win ", 129, 500, true,
		  127, 0 },
		{ "less than the last block", &small, "win ", 39 * 128, 7, true,
		  7, 0 },
		{ "a missing block", &small, "win ", 0, 256, true, 128, 0 },
		{ "blktap's", &small, "tap\0", 128, 128, true, 128, 0 },
		{ "a block over a parent", &differencing, "win ", 128, 128,
		  true, 128, 0 },
		{ "a block over a parent, to zeroes", &differencing, "win ",
		  128, 128, false, 128, 0 },
		{ "a fixed disk's", &fixed, "win ", 128, 128, true, 0, 0 },
	};
	struct vdisk_plan plan;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u64 first, last;
	bool good;
	u32 i;

	for (i = 0; i < ARRAY(rows); i++) {
		build(&img, rows[i].shape, 512);
		memcpy(foot + 28, rows[i].creator, 4);
		seal(&img, 512);
		open_it(&img, &step, &geom);
		first = data_at;
		last = data_at + 2 * 66048;
		if (rows[i].shape != &fixed) {
			put(&img, bat_at + 4, first / 512, 4);
			put(&img, bat_at + 39 * 4, last / 512, 4);
		}
		good = !STEP(&img, &step,
			     vhd_discard(&geom, &step, rows[i].sector,
					 rows[i].sectors, rows[i].unmap, &plan));
		good &= plan.nr == rows[i].nr && plan.sectors &&
			(!rows[i].covers || plan.sectors == rows[i].covers);
		good &= ops_of(&plan, VDISK_PUBLISH) == plan.nr;
		good &= plan.nr ? plan.freed_len == 66048 &&
				  plan.freed_off ==
				  (rows[i].sector == 128 ? first : last)
				: !plan.freed_len;
		apply_all(&img, &geom, &plan, VDISK_PUBLISH);
		if (plan.nr)
			good &= vdisk_be32(img.mem + bat_at +
					   rows[i].sector / 128 * 4) == VHD_FREE &&
				(vdisk_be32(img.mem + bat_at + 4) == VHD_FREE) !=
				(vdisk_be32(img.mem + bat_at + 39 * 4) == VHD_FREE);
		T_OK(good, t_name("discard %s", rows[i].name));
		image_free(&img);
	}
	kept("discards keep the contract");
}

/* Does it open, may it be written, and is block 3 where it was? */
static bool still_there(struct image *img, u64 sectors)
{
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;

	if (open_it(img, &step, &geom) || geom.flags & VDISK_GEOM_RDONLY ||
	    geom.size_sec != sectors)
		return false;
	return !STEP(img, &step, vhd_map(&geom, &step, 3 * 128 + 1, 9, &e)) &&
	       e.kind == VDISK_DATA && e.sectors == 9 &&
	       e.off == data_at + 512 + 512;
}

/*
 * Power may fail between any two ops, or in DATA, which overwrites the place
 * where the footer was.
 */
static void test_grow(void)
{
	static const struct {
		const char *name;
		const struct shape *shape;
		u32 trailer;
		u64 by;
	} rows[] = {
		{ "one block", &small, 512, 66048 },
		{ "many blocks", &small, 512, 1 << 20 },
		{ "one sector", &small, 512, 512 },
		{ "one block, 511 bytes", &small, 511, 66048 },
		{ "one sector, 511 bytes", &small, 511, 512 },
		{ "only the copy is there", &small, 0, 66048 },
		{ "differencing", &differencing, 512, 66048 },
	};
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct image img;
	u64 end, old;
	bool good;
	u32 i, n;

	for (i = 0; i < ARRAY(rows); i++) {
		build(&img, rows[i].shape, rows[i].trailer);
		put(&img, bat_at + 12, data_at / 512, 4);
		memset(img.mem + data_at, 0xFF, 16);
		good = still_there(&img, 5000);
		open_it(&img, &step, &geom);
		old = geom.data_end;
		end = old + rows[i].by;
		good &= !STEP(&img, &step, vhd_grow(&geom, &step, end, &plan));
		good &= ops_of(&plan, VDISK_BEFORE) == plan.nr;
		for (n = 0; n < plan.nr; n++) {
			apply(&img, &geom, &plan.op[n], ALL);
			good &= still_there(&img, 5000);
		}
		T_OK(good, t_name("grow by %s: every prefix opens", rows[i].name));
		T_OK(img.len == end + 512 && !memcmp(img.mem + end, foot, 512) &&
		     plan.op[0].kind == VDISK_OP_LENGTH &&
		     plan.op[0].off == end + 512,
		     "the footer is the last thing in the file");
		memset(img.mem + old, 0xEE, rows[i].by);
		T_OK(still_there(&img, 5000) && img.data_end == end,
		     "DATA takes the old footer's place");

		/* And back: the footer first, then the file is cut. */
		good = !STEP(&img, &step, vhd_trim(&geom, &step, old, &plan));
		for (n = 0; n < plan.nr; n++) {
			if (n)
				good &= plan.op[n].phase >= plan.op[n - 1].phase;
			apply(&img, &geom, &plan.op[n], ALL);
			good &= still_there(&img, 5000) &&
				!memcmp(img.mem + img.len - 512, foot, 512);
		}
		T_OK(good, "trim: every prefix opens, by its last footer");
		T_OK(img.len == old + 512 && img.data_end == old &&
		     ops_of(&plan, VDISK_BEFORE) &&
		     ops_of(&plan, VDISK_PUBLISH) == 1,
		     "the file is cut behind its footer");
		image_free(&img);
	}

	/* Nothing to trim: 511 bytes become 512. */
	build(&img, &small, 511);
	put(&img, bat_at + 12, data_at / 512, 4);
	memset(img.mem + data_at, 0xFF, 16);
	open_it(&img, &step, &geom);
	STEP(&img, &step, vhd_trim(&geom, &step, geom.data_end, &plan));
	for (n = 0, good = true; n < plan.nr; n++) {
		apply(&img, &geom, &plan.op[n], ALL);
		good &= still_there(&img, 5000);
	}
	T_OK(good && img.len % 512 == 0, "511 bytes become 512");
	image_free(&img);
	kept("growing keeps the contract");
}

struct tally {
	u64 meta, meta_off, meta_len;	/* how many, and the last one */
	u64 tables, table_len, units, bad, calls;
	u64 last_sector, last_off, last_len;
	const char *why;
	u64 value;
};

static void walk(struct image *img, const struct vdisk_geom *geom,
		 struct tally *t)
{
	struct vdisk_range range;
	struct vdisk_step step;
	u64 cursor = 0;
	int r;

	*t = (struct tally){ 0 };
	do {
		r = STEP(img, &step, vhd_walk(geom, &step, &cursor, &range));
		if (r == -EUCLEAN) {
			t->bad++;
			t->why = step.why;
			t->value = step.value;
			continue;
		}
		if (r)
			break;
		if (!range.len)
			break;
		if (range.off + range.len > img->len)
			breach("a range passes the end of the file");
		if (range.kind == VDISK_RANGE_META) {
			t->meta++;
			t->meta_off = range.off;
			t->meta_len = range.len;
		}
		t->tables += range.kind == VDISK_RANGE_TABLE;
		if (range.kind == VDISK_RANGE_TABLE)
			t->table_len += range.len;
		if (range.kind != VDISK_RANGE_UNIT)
			continue;
		t->units++;
		t->last_sector = range.sector;
		t->last_off = range.off;
		t->last_len = range.len;
	} while (++t->calls < 1000000 && !steps_broken);
	if (t->calls == 1000000)
		breach("a walk does not end");
	if (!steps_broken) {
		STEP(img, &step, vhd_walk(geom, &step, &cursor, &range));
		if (range.len)
			breach("a walk that has ended goes on");
	}
}

static void locator(struct image *img, u32 i, u32 code, u64 off, u32 len)
{
	u64 at = HEADER_AT + 576 + i * 24;

	put(img, at, code, 4);
	put(img, at + 4, 512, 4);
	put(img, at + 8, len, 4);
	put(img, at + 16, off, 8);
	sum(img->mem + HEADER_AT, 1024, 36);
}

/* blktap's map of full blocks: a sector behind the BAT that says where it is. */
static void test_batmap(void)
{
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct tally t;
	struct image img;
	u32 l;

	build(&img, &small, 512);
	memcpy(img.mem + data_at, "tdbatmap", 8);
	put(&img, data_at + 8, data_at + 66048, 8);
	put(&img, data_at + 16, 9, 4);
	open_it(&img, &step, &geom);
	walk(&img, &geom, &t);
	T_OK(t.meta == 3 && !t.bad, "whoever is not blktap has no batmap");
	memcpy(foot + 28, "tap\0", 4);
	seal(&img, 512);
	open_it(&img, &step, &geom);
	for (l = 0; l < NR_LEND; l++) {
		img.lend = l;
		walk(&img, &geom, &t);
		T_OK(t.meta == 5 && t.meta_off == data_at + 66048 &&
		     t.meta_len == 9 * 512 && !t.bad && t.tables == 1,
		     "blktap's batmap is owned");
	}
	put(&img, data_at + 8, data_at + 512, 8);
	put(&img, data_at + 16, 0, 4);
	walk(&img, &geom, &t);
	T_OK(t.meta == 4 && t.meta_off == data_at && t.meta_len == 512 &&
	     !t.bad, "its header, too, without a bit");
	put(&img, data_at + 8, img.len - 511, 8);
	put(&img, data_at + 16, 1, 4);
	walk(&img, &geom, &t);
	if (T_OK(t.meta == 4 && t.bad == 1 && t.value == img.len - 511 &&
		 !strcmp(t.why, "VHD batmap is outside the file"),
		 "a batmap over the end of the file"))
		phrase_saw(t.why);
	put(&img, data_at + 8, ALL, 8);
	put(&img, data_at + 16, ~0u, 4);
	walk(&img, &geom, &t);
	T_OK(t.meta == 4 && t.bad == 1 && t.value == ALL, "and far outside");
	img.mem[data_at] ^= 1;
	walk(&img, &geom, &t);
	T_OK(t.meta == 3 && !t.bad, "an old blktap has none");
	image_free(&img);
	kept("a batmap keeps the contract");
}

static void test_walk(void)
{
	static const struct {
		const char *name;
		u32 bat;
	} bats[] = {
		{ "at 1536", 1536 },
		{ "at a block", 8192 },
		{ "a sector before a block", 8192 - 512 },
	};
	struct shape s = small;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct tally t;
	struct image img;
	u32 i, l;
	bool good;

	build(&img, &small, 512);
	open_it(&img, &step, &geom);
	walk(&img, &geom, &t);
	T_OK(t.meta == 3 && t.tables == 1 && t.table_len == 512 && !t.units &&
	     !t.bad, "an empty image: copy, header, footer, BAT");
	put(&img, bat_at, 3, 4);
	put(&img, bat_at + 4, data_at / 512, 4);
	put(&img, bat_at + 5 * 4, 0xFFFFFFFE, 4);
	put(&img, bat_at + 39 * 4, data_at / 512 + 129, 4);
	for (l = 0; l < NR_LEND; l++) {
		img.lend = l;
		walk(&img, &geom, &t);
		T_OK(t.units == 2 && t.bad == 2 && t.value == 0xFFFFFFFE &&
		     t.last_sector == 39 * 128 &&
		     t.last_off == data_at + 66048, "bad entries are passed");
	}
	for (i = 0; i < 40; i++)
		put(&img, bat_at + i * 4, i - 7 < 5 ? data_at / 512 +
		    (i - 7) * 129 : VHD_FREE, 4);
	img.lend = LEND_BLOCK;
	walk(&img, &geom, &t);
	T_OK(t.units == 1 && t.last_sector == 7 * 128 && t.last_off == data_at &&
	     t.last_len == 4 * 66048ull && t.bad == 1,
	     "neighbours are one range, as far as the file goes");
	image_free(&img);

	build(&img, &differencing, 511);
	locator(&img, 0, 0x57327275, data_at, 100);
	locator(&img, 1, 0x57326B75, data_at + 512, 0);
	locator(&img, 2, 0, ALL, ~0u);
	locator(&img, 7, 0x4D616358, img.len - 611, 100);
	open_it(&img, &step, &geom);
	walk(&img, &geom, &t);
	T_OK(t.meta == 5 && !t.bad, "locators are owners");
	locator(&img, 3, 0x57327275, img.len - 99, 100);
	walk(&img, &geom, &t);
	T_OK(t.meta == 5 && t.bad == 1 && t.value == img.len - 99,
	     "a locator over the end of the file");
	locator(&img, 4, 0x57327275, ALL, ~0u);
	walk(&img, &geom, &t);
	if (T_OK(t.meta == 5 && t.bad == 2 && t.value == ALL && t.tables == 1 &&
		 !strcmp(t.why, "Parent locator is outside the file"),
		 "locators outside the file"))
		phrase_saw(t.why);
	image_free(&img);

	build(&img, &small, 0);
	open_it(&img, &step, &geom);
	walk(&img, &geom, &t);
	T_OK(t.meta == 2, "there is no footer where only the copy is good");
	image_free(&img);

	build(&img, &fixed, 512);
	open_it(&img, &step, &geom);
	walk(&img, &geom, &t);
	T_OK(t.meta == 1 && t.units == 1 && !t.tables, "a fixed disk");
	image_free(&img);
	build(&img, &fixed, 511);
	open_it(&img, &step, &geom);
	walk(&img, &geom, &t);
	T_OK(t.meta == 1 && t.units == 1, "a fixed disk, 511 bytes");
	image_free(&img);
	kept("walks keep the contract");

	/* However many entries are empty, each step ends. */
	s.block = 2 << 20;
	s.sectors = VHD_MAX_SECTORS / 2;
	s.entries = 1000000;
	s.room = 2 << 20 | 512;
	for (i = 0; i < ARRAY(bats); i++) {
		s.bat = bats[i].bat;
		build(&img, &s, 512);
		open_it(&img, &step, &geom);
		good = true;
		for (l = LEND_BLOCK; l < NR_LEND; l++) {
			img.lend = l;
			walk(&img, &geom, &t);
			good &= t.table_len == 4000256 && !t.units && !t.bad;
		}
		T_OK(good && !steps_broken,
		     t_name("a million empty entries, BAT %s", bats[i].name));
		put(&img, bat_at + 999999 * 4, data_at / 512, 4);
		put(&img, bat_at + 640 * 4, 1, 4);
		walk(&img, &geom, &t);
		T_OK(t.units == 1 && t.bad == 1 && t.table_len == 4000256 &&
		     t.last_sector == 999999ull * 4096 && !steps_broken,
		     "and the last one is found");
		image_free(&img);
	}
	/* Bytes lent one entry at a time. */
	s.bat = 0;
	s.entries = 3000;
	s.sectors = 3000;
	build(&img, &s, 512);
	open_it(&img, &step, &geom);
	img.lend = LEND_EXACT;
	walk(&img, &geom, &t);
	kept("empty entries lent one by one");
	image_free(&img);
}

#endif /* _SELFTESTS_VHD_PLAN_H */
