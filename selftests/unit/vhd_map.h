/* SPDX-License-Identifier: GPL-2.0 */
/* VHD: where sectors are. */
#ifndef _SELFTESTS_VHD_MAP_H
#define _SELFTESTS_VHD_MAP_H

#include "vhd_image.h"

/* Not the format's, but the specification's: sectors of a block's bitmap. */
static u64 bitmap_of(u64 block)
{
	return vdisk_align(vdisk_div_up(block / 512, 8), 512, 0);
}

static void test_geometry(void)
{
	struct shape s = small;
	struct vdisk_params params = { .write = true };
	struct vdisk_step step;
	struct vdisk_geom geom;
	u64 cursor = WALK_BLOCK + 1, block, bitmap;
	struct vdisk_range range;
	struct vdisk_extent e;
	struct vdisk_fact fact;
	struct image img;
	u32 i;

	for (block = 4096; block <= 256 << 20; block *= 2) {
		s.block = (u32)block;
		s.sectors = block / 512 * 3 - 1;
		s.room = 0;
		build(&img, &s, 512);
		bitmap = bitmap_of(block);
		T_OK(!open_it(&img, &step, &geom) &&
		     geom.unit_sec == block / 512 &&
		     geom.unit_len == block + bitmap &&
		     geom.data_off == data_at && geom.data_end == data_at &&
		     geom.alloc_off >= data_at &&
		     (geom.alloc_off + bitmap) % 4096 == 0 &&
		     geom.alloc_off < data_at + 4096 &&
		     geom.unit_align == 4096 &&
		     (geom.unit_base + bitmap) % 4096 == 0 && !geom.flags,
		     t_name("blocks of %llu", (unsigned long long)block));
		image_free(&img);
	}

	/* The BAT before the header, the header behind the BAT's sector. */
	build(&img, &small, 512);
	memcpy(img.mem + 8192, img.mem + HEADER_AT, 1024);
	memset(img.mem + 512, 0xFF, 512);
	put(&img, 8192 + 16, 512, 8);
	sum(img.mem + 8192, 1024, 36);
	vdisk_store(foot + 16, 8192, 8, true);
	sum(foot, 512, 64);
	memcpy(img.mem, foot, 512);
	memcpy(img.mem + img.len - 512, foot, 512);
	T_OK(!open_it(&img, &step, &geom) && geom.data_off == 9216 &&
	     geom.priv[BAT_OFF] == 512, "data starts behind header and BAT");
	image_free(&img);

	/* The BAT behind the blocks: they begin where the header ends. */
	s = small;
	s.bat = 1536 + 3 * 66048;
	build(&img, &s, 512);
	T_OK(!open_it(&img, &step, &geom) && geom.data_off == 1536 &&
	     geom.priv[BAT_OFF] == s.bat, "room before the BAT is blocks'");
	put(&img, bat_at, 3, 4);
	put(&img, bat_at + 4, 3 + 129, 4);
	put(&img, bat_at + 8, 3 + 2 * 129, 4);
	put(&img, bat_at + 12, 4 + 2 * 129, 4);
	T_EQ(STEP(&img, &step, vhd_map(&geom, &step, 2 * 128, 2, &e)), 0,
	     "the block before the BAT is read");
	T_EQ(STEP(&img, &step, vhd_map(&geom, &step, 3 * 128, 2, &e)), -EUCLEAN,
	     "one that reaches into the BAT is not");
	T_STR(step.why, "BAT entry points into the headers", "and why");
	T_OK(!STEP(&img, &step, vhd_walk(&geom, &step, &cursor, &range)) &&
	     range.kind == VDISK_RANGE_UNIT && range.len == 3 * 66048,
	     "the three blocks are one run, which ends before the BAT");
	image_free(&img);

	build(&img, &differencing, 512);
	T_OK(!open_it(&img, &step, &geom) &&
	     geom.flags == VDISK_GEOM_PARENT &&
	     !memcmp(geom.parent_id, "parent-parent-id", 16),
	     "a differencing disk has a parent");
	for (i = 0; vhd_fact(&geom, i, &fact); i++)
		if (!fact.name || i > 50)
			breach("a fact has no name");
	T_EQ(i, 10, "facts");
	vhd_fact(&geom, 0, &fact);
	T_STR(fact.text, "differencing", "the subformat is a fact");
	vhd_fact(&geom, 1, &fact);
	T_STR(fact.text, "win ", "the creator is a fact");
	image_free(&img);

	build(&img, &fixed, 512);
	params.file_len = img.len;
	STEP(&img, &step, vhd_open(&params, &step, &geom));
	for (i = 0; vhd_fact(&geom, i, &fact); i++)
		if (fact.name && !strncmp(fact.name, "bat-", 4))
			breach("a fixed disk has a BAT");
	T_EQ(i, 8, "facts of a fixed disk");
	image_free(&img);
	kept("geometry keeps the contract");
}

/* Entries by hand: data from sector 4, room for 4 blocks of 129 sectors. */
static void test_entries(void)
{
	static const struct {
		const char *name;
		u64 entry;
		const char *why;
	} rows[] = {
		{ "the first sector of data", 4 },
		{ "the last block", 4 + 3 * 129 },
		{ "the copy of the footer", 0, "BAT entry points into the headers" },
		{ "the header", 1, "BAT entry points into the headers" },
		{ "the BAT", 3, "BAT entry points into the headers" },
		{ "a sector too far", 5 + 3 * 129,
		  "BAT entry points past the data area" },
		{ "the footer", 4 + 4 * 129, "BAT entry points past the data area" },
		{ "far away", 0x7FFFFFFF, "BAT entry points past the data area" },
		{ "the last sector there is", 0xFFFFFFFE,
		  "BAT entry points past the data area" },
	};
	struct vdisk_ask ask = { .sector = 7 * 128 + 5, .sectors = 2 };
	struct vdisk_plan plan;
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	bool good;
	u32 i, l;
	int r[3];

	build(&img, &small, 512);
	open_it(&img, &step, &geom);
	for (i = 0; i < ARRAY(rows); i++) {
		put(&img, bat_at + 7 * 4, rows[i].entry, 4);
		if (!rows[i].why)
			memset(img.mem + rows[i].entry * 512, 0xFF, 16);
		good = true;
		for (l = 0; l < NR_LEND; l++) {
			img.lend = l;
			e = (struct vdisk_extent){ 0 };
			r[0] = STEP(&img, &step, vhd_map(&geom, &step,
							 ask.sector, 2, &e));
			if (!rows[i].why) {
				good &= !r[0] && e.kind == VDISK_DATA &&
					e.sectors == 2 &&
					e.off == (rows[i].entry + 1 + 5) * 512;
				continue;
			}
			good &= r[0] == -EUCLEAN && step.value == rows[i].entry &&
				!strcmp(step.why, rows[i].why);
			r[1] = STEP(&img, &step, vhd_alloc(&geom, &step, &ask,
							   &plan));
			r[2] = STEP(&img, &step,
				    vhd_discard(&geom, &step, 7 * 128, 128, 1,
						&plan));
			good &= r[1] == -EUCLEAN && r[2] == -EUCLEAN &&
				!strcmp(step.why, rows[i].why);
		}
		if (T_OK(good, t_name("an entry at %s", rows[i].name)))
			phrase_saw(rows[i].why);
	}
	image_free(&img);

	/* A file without room for any block. */
	build(&img, &small, 512);
	img.len = data_at + 512;
	seal(&img, 512);
	open_it(&img, &step, &geom);
	put(&img, bat_at, 4, 4);
	T_EQ(STEP(&img, &step, vhd_map(&geom, &step, 0, 1, &e)), -EUCLEAN,
	     "an entry where there is no room at all");
	image_free(&img);
	kept("entries keep the contract");
}

/* Runs without blocks are as long as the view of the BAT, and no longer. */
static void test_free_runs(void)
{
	static const struct {
		const char *name;
		u32 lend;
		u64 sector, sectors, want;
	} rows[] = {
		{ "one entry at hand, a run of its block", LEND_EXACT, 5, 1000,
		  123 },
		{ "many entries, up to a block that is there", LEND_BLOCK, 5,
		  5000, 20 * 128 - 5 },
		{ "no longer than was asked", LEND_BLOCK, 5, 1000, 1000 },
		{ "no longer than was asked, at a border", LEND_BLOCK, 128, 128,
		  128 },
		{ "one over a border", LEND_BLOCK, 128, 129, 129 },
		{ "behind the block that is there", LEND_BLOCK, 21 * 128, 99999,
		  (640 - 21) * 128 },
		{ "the view ends a run", LEND_BLOCK, 600 * 128 + 1, 99999,
		  40 * 128 - 1 },
		{ "a longer view, to a limit", LEND_LONG, 600 * 128 + 1, 999999,
		  1024 * 128 - 1 },
		{ "the last block, in part", LEND_LONG, 1999 * 128 + 70, 7, 7 },
		{ "up to the last sector", LEND_EXACT, 1999 * 128 + 1, 76, 76 },
	};
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct shape s = small;
	struct image img;
	u32 i, type;

	for (type = VHD_DYNAMIC; type <= VHD_DIFFERENCING; type++) {
		s.type = type;
		/* 2000 blocks, the last of 77 sectors; entry 640 at 4096. */
		s.sectors = 1999 * 128 + 77;
		s.entries = 2100;
		build(&img, &s, 512);
		open_it(&img, &step, &geom);
		put(&img, bat_at + 20 * 4, data_at / 512, 4);
		for (i = 0; i < ARRAY(rows); i++) {
			img.lend = rows[i].lend;
			e = (struct vdisk_extent){ 0 };
			STEP(&img, &step, vhd_map(&geom, &step, rows[i].sector,
						  vdisk_min(rows[i].sectors,
							    s.sectors -
							    rows[i].sector),
						  &e));
			T_EQ(e.sectors, rows[i].want, rows[i].name);
			T_EQ(e.kind, type == VHD_DYNAMIC ? VDISK_ZERO
							 : VDISK_PARENT,
			     "what a missing block is");
		}
		image_free(&img);
	}
	kept("free runs keep the contract");
}

static bool bit_at(const struct image *img, u64 off, u64 bit)
{
	return img->mem[off + bit / 8] >> (7 - bit % 8) & 1;
}

/* The specification's rule, sector by sector. */
static u64 data_of(const struct image *img, u64 sector)
{
	u64 block = vdisk_be32(img->mem + HEADER_AT + 32) / 512, off;
	u32 e = vdisk_be32(img->mem + vdisk_be64(img->mem + HEADER_AT + 16) +
			   sector / block * 4);

	if (e == VHD_FREE)
		return 0;
	off = (u64)e * 512;
	if (!bit_at(img, off, sector % block))
		return 0;
	return off + bitmap_of(block * 512) + sector % block * 512;
}

/*
 * Random bitmaps, in blocks that start at any sector. Every run is what the
 * bits say, and ends for a reason: a bit that differs, the block, the view.
 */
static void test_bitmaps(void)
{
	static const struct {
		u32 block, start;
	} rows[] = {
		{ 4096, 0 }, { 8192, 7 }, { 65536, 1 }, { 512 << 10, 6 },
		{ 2 << 20, 0 }, { 2 << 20, 7 }, { 16 << 20, 7 }, { 32 << 20, 3 },
		{ 64 << 20, 5 }, { 256 << 20, 1 },
	};
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct shape s = small;
	struct image img;
	u64 at, bits, i, n, ask, end, off, longest;
	bool good, set, ends;
	u32 r, type, tries;

	for (r = 0; r < 2 * ARRAY(rows); r++) {
		type = VHD_DYNAMIC + r % 2;
		s.type = type;
		s.block = rows[r / 2].block;
		bits = s.block / 512;
		s.sectors = 3 * bits - 1;
		s.room = 8192 + 3 * (s.block + bitmap_of(s.block));
		build(&img, &s, 512);
		open_it(&img, &step, &geom);
		at = (vdisk_align(data_at, 4096, 0) / 512 + rows[r / 2].start);
		put(&img, bat_at + 4, at, 4);
		at *= 512;
		/* Long runs, and noise among them. */
		for (i = 0; i < bitmap_of(s.block); i++)
			img.mem[at + i] = i / 61 % 3 == 2 ? (u8)steps_random()
				: i / 61 % 3 ? 0xFF : 0;
		img.mem[at] = 0x80;
		good = true;
		longest = 0;
		for (tries = 0; tries < 3000 && good; tries++) {
			img.lend = tries % NR_LEND;
			i = tries < 300 ? tries % bits : steps_random() % bits;
			ask = 1 + steps_random() %
			      vdisk_min(bits + 100, s.sectors - bits - i);
			if (tries % 5 == 0)
				ask = 1 + steps_random() %
				      vdisk_min(9, s.sectors - bits - i);
			e = (struct vdisk_extent){ 0 };
			good &= !STEP(&img, &step, vhd_map(&geom, &step, bits + i,
							   ask, &e));
			set = bit_at(&img, at, i);
			off = data_of(&img, bits + i);
			good &= e.kind == (set ? VDISK_DATA :
					   type == VHD_DYNAMIC ? VDISK_ZERO
							       : VDISK_PARENT);
			good &= !set || e.off == off;
			good &= e.sectors && e.sectors <= ask;
			for (n = 0; good && n < e.sectors; n++)
				good &= bit_at(&img, at, i + n) == set;
			longest = vdisk_max(longest, e.sectors);
			end = i + e.sectors;
			ends = end == bits || e.sectors == ask ||
			       bit_at(&img, at, end) != set ||
			       ((at + end / 8) % 4096 == 0 && end % 8 == 0);
			good &= ends;
		}
		T_OK(good, t_name("bits of a block of %u, type %u", s.block,
				  type));
		T_OK(longest >= vdisk_min(bits / 2, 488), "runs are long");
		image_free(&img);
	}

	/* By hand: the first sector is the highest bit of the first byte. */
	build(&img, &differencing, 512);
	open_it(&img, &step, &geom);
	put(&img, bat_at, data_at / 512, 4);
	img.mem[data_at] = 0x40;
	img.mem[data_at + 15] = 0x01;
	STEP(&img, &step, vhd_map(&geom, &step, 0, 128, &e));
	T_OK(e.kind == VDISK_PARENT && e.sectors == 1, "bit 0x40 is not sector 0");
	STEP(&img, &step, vhd_map(&geom, &step, 1, 127, &e));
	T_OK(e.kind == VDISK_DATA && e.sectors == 1 &&
	     e.off == data_at + 512 + 512, "it is sector 1");
	STEP(&img, &step, vhd_map(&geom, &step, 2, 126, &e));
	T_OK(e.kind == VDISK_PARENT && e.sectors == 125, "up to the last sector");
	STEP(&img, &step, vhd_map(&geom, &step, 127, 1000, &e));
	T_OK(e.kind == VDISK_DATA && e.sectors == 1 &&
	     e.off == data_at + 512 + 127 * 512, "which is bit 0x01 of byte 15");
	image_free(&img);
	kept("bitmaps keep the contract");
}

#endif /* _SELFTESTS_VHD_MAP_H */
