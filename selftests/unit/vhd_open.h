/* SPDX-License-Identifier: GPL-2.0 */
/* VHD: footers, sizes and refusals. */
#ifndef _SELFTESTS_VHD_OPEN_H
#define _SELFTESTS_VHD_OPEN_H

#include "vhd_image.h"

enum where {
	FOOT,		/* both footers, with good checksums */
	HEADER,		/* with a good checksum */
	BOTH,		/* both footers, the checksum is not made good */
	ENDING,		/* the trailing one */
	COPY,		/* the other */
	RAW_HEADER,	/* the checksum is not made good */
	LENGTH,		/* of the file */
};

static void damage(struct image *img, u32 trailer, enum where where, u32 off,
		   u32 width, u64 value)
{
	u64 end = img->len - trailer;

	switch (where) {
	case FOOT:
		vdisk_store(foot + off, value, width, true);
		seal(img, trailer);
		break;
	case HEADER:
		put(img, HEADER_AT + off, value, width);
		seal(img, trailer);
		break;
	case BOTH:
		put(img, off, value, width);
		put(img, end + off, value, width);
		break;
	case ENDING:
		put(img, end + off, value, width);
		break;
	case COPY:
		put(img, off, value, width);
		break;
	case RAW_HEADER:
		put(img, HEADER_AT + off, value, width);
		break;
	case LENGTH:
		img->len = value;
	}
}

enum { CHECKSUM = 0xC5C5C5C5 };	/* in a row: the checksum that the copy has */

static void test_refusals(void)
{
	static const struct {
		const char *why;
		u64 value;
		enum where where;
		u32 off, width;
		u64 poke;
		const struct shape *shape;
	} rows[] = {
		{ "File is shorter than a VHD footer", 511, LENGTH, 0, 0, 511 },
		{ "File is shorter than a VHD footer", 0, LENGTH, 0, 0, 0 },
		{ "No VHD footer found", 266752, BOTH, 0, 1, 'X' },
		{ "No VHD footer found", 512, LENGTH, 0, 0, 512, &fixed },
		{ "VHD footer and its copy are damaged", CHECKSUM, BOTH, 511, 1, 1 },
		{ "VHD footer and its copy are damaged", CHECKSUM, BOTH, 64, 1, 0 },
		{ "VHD footer and its copy are damaged", 0xffffed55, ENDING, 67, 1, 0x55,
		  &fixed },
		{ "Unknown VHD version", 0x20000, FOOT, 12, 4, 0x20000 },
		{ "Unknown VHD version", 0xFFFF, FOOT, 12, 4, 0xFFFF },
		{ "Unknown VHD disk type", 0, FOOT, 60, 4, 0 },
		{ "Unknown VHD disk type", 1, FOOT, 60, 4, 1 },
		{ "Unknown VHD disk type", 5, FOOT, 60, 4, 5 },
		{ "Unknown VHD disk type", 0x10003, FOOT, 60, 4, 0x10003 },
		{ "The disk is empty", 0, FOOT, 48, 8, 0 },
		{ "The disk is empty", 511, FOOT, 48, 8, 511 },
		{ "VHD is larger than 2040 GiB", (VHD_MAX_SECTORS + 1) * 512,
		  FOOT, 48, 8, (VHD_MAX_SECTORS + 1) * 512 },
		{ "VHD is larger than 2040 GiB", ALL, FOOT, 48, 8, ALL },
		{ "Fixed VHD is larger than its file", 2001 * 512, FOOT, 48, 8,
		  2001 * 512, &fixed },
		{ "Fixed VHD is larger than its file", VHD_MAX_SECTORS * 512,
		  FOOT, 48, 8, VHD_MAX_SECTORS * 512, &fixed },
		{ "VHD dynamic header not found", 512, HEADER, 0, 1, 'X' },
		{ "VHD header checksum is wrong", CHECKSUM, RAW_HEADER, 700, 1, 1 },
		{ "VHD header checksum is wrong", CHECKSUM, RAW_HEADER, 1023, 1, 1 },
		{ "Unknown VHD header version", 0x20000, HEADER, 24, 4, 0x20000 },
		{ "VHD block size is not a power of two", 0, HEADER, 32, 4, 0 },
		{ "VHD block size is not a power of two", 65537, HEADER, 32, 4,
		  65537 },
		{ "VHD block size is not a power of two", 0xFFFFFFFF, HEADER,
		  32, 4, 0xFFFFFFFF },
		{ "VHD block size is not 4 KiB to 256 MiB", 2048, HEADER, 32, 4,
		  2048 },
		{ "VHD block size is not 4 KiB to 256 MiB", 1, HEADER, 32, 4, 1 },
		{ "VHD block size is not 4 KiB to 256 MiB", 512 << 20, HEADER,
		  32, 4, 512 << 20 },
		{ "VHD block size is not 4 KiB to 256 MiB", 1u << 31, HEADER,
		  32, 4, 1u << 31 },
		{ "BAT offset is not a data sector", 1537, HEADER, 16, 8, 1537 },
		{ "BAT offset is not a data sector", 0, HEADER, 16, 8, 0 },
		{ "BAT offset is not a data sector", ALL, HEADER, 16, 8, ALL },
		{ "BAT reaches past the end of the file", 40, HEADER, 16, 8,
		  266752 },
		{ "BAT reaches past the end of the file", 40, HEADER, 16, 8,
		  ALL - 511 },
		{ "BAT reaches past the end of the file", ~0u, HEADER, 28, 4,
		  ~0u },
		{ "BAT reaches past the end of the file", 66305, HEADER, 28, 4,
		  66305 },
		{ "BAT overlaps the VHD header", 512, HEADER, 16, 8, 512 },
		{ "BAT overlaps the VHD header", 1024, HEADER, 16, 8, 1024 },
		{ "VHD header offset is outside the file", 0, FOOT, 16, 8, 0 },
		{ "VHD header offset is outside the file", 513, FOOT, 16, 8, 513 },
		{ "VHD header offset is outside the file", ALL, FOOT, 16, 8, ALL },
		{ "VHD header offset is outside the file", 266240, FOOT, 16, 8,
		  266240 },
		{ "VHD header offset is outside the file", ALL - 511, FOOT, 16,
		  8, ALL - 511 },
		{ "BAT is too short for the disk", 39, HEADER, 28, 4, 39 },
		{ "BAT is too short for the disk", 0, HEADER, 28, 4, 0 },
		{ "BAT is too short for the disk", 40, FOOT, 48, 8,
		  (40 * 128 + 1) * 512 },
	};
	struct vdisk_params params = { .size_sec = 5001 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u64 want;
	u32 i, l;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		build(&img, rows[i].shape ? rows[i].shape : &small, 512);
		damage(&img, 512, rows[i].where, rows[i].off, rows[i].width,
		       rows[i].poke);
		want = rows[i].value;
		if (want == CHECKSUM)
			want = vdisk_be32(img.mem + (rows[i].where == BOTH ?
						     64 : HEADER_AT + 36));
		for (l = 0; l < NR_LEND; l++) {
			img.lend = l;
			step.why = NULL;
			r = open_it(&img, &step, &geom);
			if (r != -EUCLEAN || strcmp(step.why, rows[i].why) ||
			    step.value != want)
				break;
		}
		if (T_OK(l == NR_LEND, t_name("%s: %#llx", rows[i].why,
					      (unsigned long long)want)))
			phrase_saw(rows[i].why);
		else
			printf("#   got  %s: %#llx\n", step.why,
			       (unsigned long long)step.value);
		image_free(&img);
	}

	build(&img, &small, 512);
	params.file_len = img.len;
	r = STEP(&img, &step, vhd_open(&params, &step, &geom));
	if (T_OK(r == -EUCLEAN && step.value == 5000 &&
		 !strcmp(step.why, "Image is smaller than the extent"),
		 "an extent longer than the image"))
		phrase_saw(step.why);
	params.size_sec = 5000;
	T_EQ(STEP(&img, &step, vhd_open(&params, &step, &geom)), 0,
	     "an extent as long as the image");
	image_free(&img);
	kept("refusals keep the contract");
}

/* Which footer is believed, and what of the image may then be done. */
static void test_footers(void)
{
	static const struct {
		const char *name;
		const struct shape *shape;
		u32 trailer;
		enum where where;
		u32 off;
		u64 poke;
		const char *why_ro;
		bool only_copy;
	} rows[] = {
		{ "footer and copy", &small, 512, FOOT, 511, 0 },
		{ "511 bytes and copy", &small, 511, FOOT, 511, 0 },
		{ "511 bytes, differencing", &differencing, 511, FOOT, 511, 0 },
		{ "no footer but the copy", &small, 0, FOOT, 511, 0, NULL, true },
		{ "footer poisoned", &small, 512, ENDING, 0, 0xC7, NULL, true },
		{ "footer damaged", &small, 512, ENDING, 300, 1, NULL, true },
		{ "511 bytes damaged", &small, 511, ENDING, 300, 1, NULL, true },
		{ "copy damaged", &small, 512, COPY, 300, 1,
		  "Copy of the VHD footer is damaged" },
		{ "copy gone", &small, 512, COPY, 0, 0,
		  "Copy of the VHD footer is damaged" },
		{ "copy damaged, 511 bytes", &small, 511, COPY, 300, 1,
		  "Copy of the VHD footer is damaged" },
		{ "a machine is saved", &small, 512, FOOT, 84, 1,
		  "Image belongs to a saved machine state" },
		{ "a machine is saved, fixed", &fixed, 512, FOOT, 84, 1,
		  "Image belongs to a saved machine state" },
		{ "fixed", &fixed, 512, FOOT, 511, 0 },
		{ "fixed, 511 bytes", &fixed, 511, FOOT, 511, 0 },
	};
	struct vdisk_params params = { .write = true };
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u64 room;
	u32 i;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		build(&img, rows[i].shape, rows[i].trailer);
		damage(&img, rows[i].trailer, rows[i].where, rows[i].off, 1,
		       rows[i].poke);
		room = rows[i].only_copy ? img.len & ~511ull
					 : img.len - rows[i].trailer;
		r = open_it(&img, &step, &geom);
		T_OK(!r && geom.priv[NO_TRAILER] == rows[i].only_copy &&
		     geom.data_end == room && geom.tail_len == 512 &&
		     !memcmp(geom.tail, foot, 511) && !geom.tail[511] &&
		     !memcmp(geom.id, foot + 68, 16) &&
		     !(geom.flags & VDISK_GEOM_SCAN) == !rows[i].only_copy,
		     rows[i].name);
		T_EQ(!!(geom.flags & VDISK_GEOM_RDONLY), !!rows[i].why_ro,
		     "the flag says whether it is written");
		if (T_STR(geom.why_ro, rows[i].why_ro, "and why not"))
			phrase_saw(rows[i].why_ro);
		image_free(&img);
	}

	/* Good both, and not the same: the trailing one tells the size. */
	build(&img, &small, 512);
	vdisk_store(foot + 48, 4000 * 512, 8, true);
	sum(foot, 512, 64);
	memcpy(img.mem + img.len - 512, foot, 512);
	r = open_it(&img, &step, &geom);
	if (T_OK(!r && geom.size_sec == 4000 && geom.flags & VDISK_GEOM_RDONLY &&
		 !strcmp(geom.why_ro, "VHD footer and its copy differ"),
		 "footer and copy differ"))
		phrase_saw(geom.why_ro);
	image_free(&img);

	/* What the guest of a fixed disk writes decides nothing. */
	build(&img, &small, 512);
	memcpy(img.mem + img.len, img.mem, 2048);	/* copy, header, BAT */
	room = img.len;
	img.len += 512;
	foot[63] = VHD_FIXED;
	vdisk_store(foot + 16, ALL, 8, true);
	vdisk_store(foot + 48, 100 * 512, 8, true);
	sum(foot, 512, 64);
	memcpy(img.mem + room, foot, 512);
	r = open_it(&img, &step, &geom);
	T_OK(!r && geom.priv[TYPE] == VHD_FIXED && geom.size_sec == 100 &&
	     geom.flags == VDISK_GEOM_NO_ALLOC && geom.data_end == room,
	     "a forged header leaves a fixed disk fixed");
	e = (struct vdisk_extent){ 0 };
	STEP(&img, &step, vhd_map(&geom, &step, 3, 90, &e));
	T_OK(e.kind == VDISK_DATA && e.off == 3 * 512 && e.sectors == 90,
	     "a forged BAT is data");
	img.mem[room + 300] = 1;
	foot[63] = VHD_FIXED;
	memcpy(img.mem, foot, 512);
	r = open_it(&img, &step, &geom);
	if (T_OK(r == -EUCLEAN && !step.value &&
		 !strcmp(step.why, "Fixed VHD without a trailing footer"),
		 "a copy does not make a fixed disk"))
		phrase_saw(step.why);
	image_free(&img);

	/* blktap hid disks without a new checksum. */
	build(&img, &small, 512);
	memcpy(foot + 28, "tap", 4);
	seal(&img, 512);
	foot[85] = 1;
	damage(&img, 512, BOTH, 85, 1, 1);
	r = open_it(&img, &step, &geom);
	T_OK(!r && !(geom.flags & VDISK_GEOM_RDONLY) && geom.tail[85] == 1 &&
	     !geom.priv[NO_TRAILER], "hidden by blktap, with an old checksum");
	damage(&img, 512, BOTH, 511, 1, 1);
	T_EQ(open_it(&img, &step, &geom), -EUCLEAN, "and damaged otherwise");
	damage(&img, 512, BOTH, 511, 1, 0);
	damage(&img, 512, BOTH, 31, 1, ' ');
	T_EQ(open_it(&img, &step, &geom), -EUCLEAN, "by anyone else: damaged");
	image_free(&img);

	/* A device is longer than the image in it. */
	build(&img, &small, 512);
	img.len += 1 << 20;
	params.file_len = img.len;
	params.device = true;
	r = STEP(&img, &step, vhd_open(&params, &step, &geom));
	T_OK(!r && geom.priv[NO_TRAILER] && geom.flags & VDISK_GEOM_SCAN &&
	     geom.data_end == img.len, "a footer inside a device");
	image_free(&img);
	kept("footers keep the contract");
}

/*
 * blktap's encryption is told by a byte behind the BAT, for reading as for
 * writing; whoever else has such a byte there has a bitmap there.
 */
static void test_encrypted(void)
{
	static const struct {
		const char *name, *creator, *cookie;
		u8 key;
		const char *why;
	} rows[] = {
		{ "encrypted", "tap", "tdbatmap", 1,
		  "VHD blocks are encrypted" },
		{ "not encrypted", "tap", "tdbatmap", 0 },
		{ "no batmap", "tap", "tdbatmaq", 1 },
		{ "not blktap", "win ", "tdbatmap", 1 },
	};
	struct vdisk_params params = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i, l;
	int r;

	for (i = 0; i < ARRAY(rows) * 2; i++) {
		const bool write = i & 1;
		const u32 row = i / 2;

		build(&img, &small, 512);
		memcpy(foot + 28, rows[row].creator, 4);
		seal(&img, 512);
		memcpy(img.mem + data_at, rows[row].cookie, 8);
		img.mem[data_at + 29] = rows[row].key;
		params.file_len = img.len;
		params.write = write;
		for (l = 0; l < NR_LEND; l++) {
			img.lend = l;
			r = STEP(&img, &step, vhd_open(&params, &step, &geom));
			if (r || rows[row].why)
				T_STR(step.why, rows[row].why, rows[row].name);
			T_EQ(r, rows[row].why ? -EUCLEAN : 0, rows[row].name);
		}
		phrase_saw(rows[row].why);
		image_free(&img);
	}

	/* A BAT at the very end has nothing behind it. */
	build(&img, &small, 512);
	memcpy(foot + 28, "tap", 4);
	img.len = data_at;
	seal(&img, 0);
	T_EQ(open_it(&img, &step, &geom), 0, "no room for a batmap");
	image_free(&img);

	/* A header in two blocks leaves no view to look at the map with. */
	build(&img, &small, 512);
	memcpy(foot + 28, "tap", 4);
	vdisk_store(foot + 16, 7680, 8, true);
	memcpy(img.mem + 7680, img.mem + HEADER_AT, 1024);
	seal(&img, 512);
	img.mem[data_at + 29] = 1;
	r = open_it(&img, &step, &geom);
	if (T_OK(r == -EUCLEAN && step.value == 7680 &&
		 !strcmp(step.why, "VHD header of blktap crosses a block"),
		 "blktap's header in two blocks"))
		phrase_saw(step.why);
	image_free(&img);
	kept("encryption keeps the contract");
}

static void test_probe(void)
{
	u8 tail[1024] = { 0 }, head[512] = { 0 };
	struct image img;

	build(&img, &small, 512);
	memcpy(tail + 512, foot, 511);
	memcpy(head, foot, 512);
	T_EQ(vhd_probe(head, 512, tail, 1023), 100, "probe: 511 bytes");
	T_EQ(vhd_probe(head, 512, tail + 1, 1022), 60, "probe: only the copy");
	T_EQ(vhd_probe(head, 0, tail + 512, 512), 100, "probe: no head");
	T_EQ(vhd_probe(head, 511, tail, 512), 0, "probe: a short head");
	T_EQ(vhd_probe(head, 512, tail, 0), 60, "probe: no tail");
	head[200] = 1;
	T_EQ(vhd_probe(head, 512, tail, 0), 10, "probe: a damaged copy");
	image_free(&img);
}

/* Which field tells the size depends on the creator, the type and the file. */
static void test_sizes(void)
{
	static const struct {
		const char *creator;
		u32 type, cylinders, heads, spt;
		u64 current;		/* sectors */
		u32 rule, over;		/* sectors of the file over current + 1 */
		u64 want;
	} rows[] = {
		{ "vpc ", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20468 },
		{ "vs  ", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20468 },
		{ "qemu", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20468 },
		{ "qem2", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "win ", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "d2v ", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "d2v\0", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "CTXS", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "tap\0", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "wa\0\0", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "vbox", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "\0\0\0\0", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "VPC ", VHD_DYNAMIC, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "vpc ", VHD_DIFFERENCING, 301, 4, 17, 20480, 0, 0, 20468 },
		{ "win ", VHD_DIFFERENCING, 301, 4, 17, 20480, 0, 0, 20480 },
		/* Not CHS: none, the most there is, or more than current. */
		{ "vpc ", VHD_DYNAMIC, 0, 0, 0, 20480, 0, 0, 20480 },
		{ "vpc ", VHD_DYNAMIC, 301, 0, 17, 20480, 0, 0, 20480 },
		{ "vpc ", VHD_DYNAMIC, 65535, 16, 255, 267382801, 0, 0, 267382801 },
		{ "qemu", VHD_DYNAMIC, 65535, 16, 255, 268435456, 0, 0, 268435456 },
		{ "vpc ", VHD_DYNAMIC, 65534, 16, 255, 267382801, 0, 0, 267378720 },
		{ "vpc ", VHD_DYNAMIC, 302, 4, 17, 20480, 0, 0, 20480 },
		{ "vpc ", VHD_DYNAMIC, 301, 4, 17, 20468, 0, 0, 20468 },
		/* The samples of Virtual PC and of Hyper-V. */
		{ "vpc ", VHD_DYNAMIC, 65278, 16, 255, 266338304, 0, 0, 266334240 },
		{ "win ", VHD_DYNAMIC, 65278, 16, 255, 266338304, 0, 0, 266338304 },
		/* Fixed; qemu's where the file is as long as current says. */
		{ "vpc ", VHD_FIXED, 301, 4, 17, 20480, 0, 0, 20468 },
		{ "win ", VHD_FIXED, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "wa\0\0", VHD_FIXED, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "qemu", VHD_FIXED, 301, 4, 17, 20480, 0, 0, 20480 },
		{ "qemu", VHD_FIXED, 301, 4, 17, 20480, 0, 1, 20468 },
		/* Who asks knows better. */
		{ "win ", VHD_DYNAMIC, 301, 4, 17, 20480, VDISK_SIZE_CHS, 0, 20468 },
		{ "vpc ", VHD_DYNAMIC, 301, 4, 17, 20480, VDISK_SIZE_CURRENT, 0,
		  20480 },
		{ "win ", VHD_FIXED, 301, 4, 17, 20480, VDISK_SIZE_CHS, 0, 20468 },
		{ "qemu", VHD_FIXED, 301, 4, 17, 20480, VDISK_SIZE_CHS, 0, 20468 },
		{ "vpc ", VHD_FIXED, 301, 4, 17, 20480, VDISK_SIZE_CURRENT, 0,
		  20480 },
	};
	struct shape s = small;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		s.type = rows[i].type;
		s.sectors = rows[i].current;
		s.block = 2 << 20;
		s.room = rows[i].type == VHD_FIXED ?
			 (rows[i].current + rows[i].over) * 512 : 0;
		build(&img, &s, 512);
		memcpy(foot + 28, rows[i].creator, 4);
		vdisk_store(foot + 56, rows[i].cylinders, 2, true);
		foot[58] = rows[i].heads;
		foot[59] = rows[i].spt;
		seal(&img, 512);
		r = open_rule(&img, &step, &geom, rows[i].rule);
		T_EQ(r ? 0 : geom.size_sec, rows[i].want,
		     t_name("size: '%.4s', type %u, %u/%u/%u, rule %u",
			    rows[i].creator, rows[i].type, rows[i].cylinders,
			    rows[i].heads, rows[i].spt, rows[i].rule));
		image_free(&img);
	}

	/* No geometry, and yet it is to count: nothing is left. */
	build(&img, &small, 512);
	r = open_rule(&img, &step, &geom, VDISK_SIZE_CHS);
	T_OK(r == -EUCLEAN && !strcmp(step.why, "The disk is empty"),
	     "no geometry to count by");
	image_free(&img);

	/* The largest disk: 1044480 entries of 2 MiB. */
	s.type = VHD_DYNAMIC;
	s.sectors = VHD_MAX_SECTORS;
	s.room = 0;
	build(&img, &s, 512);
	T_OK(!open_it(&img, &step, &geom) && geom.size_sec == VHD_MAX_SECTORS,
	     "2040 GiB");
	image_free(&img);
	kept("sizes keep the contract");
}

#endif /* _SELFTESTS_VHD_OPEN_H */
