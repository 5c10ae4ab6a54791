/* SPDX-License-Identifier: GPL-2.0 */
/* VHD: an image in memory, of any shape. */
#ifndef _SELFTESTS_VHD_IMAGE_H
#define _SELFTESTS_VHD_IMAGE_H

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))
#define ALL (~0ull)

enum { HEADER_AT = 512, BAT_AT = 1536 };

struct shape {
	const char *name;
	u32 type;
	u32 block;
	u64 sectors;
	u32 entries;		/* 0: as many as the disk needs */
	u64 room;		/* bytes for blocks, or of a fixed disk */
	u32 times;
	u32 bat;		/* 0: BAT_AT */
};

/* A breach is told once, by the group of tests that met it. */
static void kept(const char *name)
{
	T_STR(steps_broken, NULL, name);
	steps_broken = NULL;
}

/* The footer before it goes to its places. */
static u8 foot[512];
static u64 bat_at, data_at;

static void put(struct image *img, u64 off, u64 value, u32 width)
{
	vdisk_store(img->mem + off, value, width, true);
}

static void sum(u8 *bytes, u32 len, u32 at)
{
	u32 i, n = 0;

	memset(bytes + at, 0, 4);
	for (i = 0; i < len; i++)
		n += bytes[i];
	vdisk_store(bytes + at, ~n, 4, true);
}

/* Checksums, and the footer to the end of the file and to its beginning. */
static void seal(struct image *img, u32 trailer)
{
	bool fixed = foot[63] == VHD_FIXED;

	sum(foot, 512, 64);
	if (trailer)
		memcpy(img->mem + img->len - trailer, foot, trailer);
	if (fixed)
		return;
	memcpy(img->mem, foot, 512);
	sum(img->mem + HEADER_AT, 1024, 36);
}

/*
 * An empty image with @trailer bytes of footer: the copy at 0, the header at
 * 512, the BAT behind it, room for blocks.
 */
static void build(struct image *img, const struct shape *s, u32 trailer)
{
	u64 entries = s->entries, i;

	image_new(img, 16ull << 30);
	memset(foot, 0, sizeof(foot));
	memcpy(foot, "conectix", 8);
	vdisk_store(foot + 8, 2, 4, true);
	vdisk_store(foot + 12, 0x10000, 4, true);
	vdisk_store(foot + 16, s->type == VHD_FIXED ? ALL : HEADER_AT, 8, true);
	memcpy(foot + 28, "win Wi2k", 4);
	vdisk_store(foot + 40, s->sectors * 512, 8, true);
	vdisk_store(foot + 48, s->sectors * 512, 8, true);
	vdisk_store(foot + 60, s->type, 4, true);
	memcpy(foot + 68, "0123456789abcdef", 16);
	if (s->type == VHD_FIXED) {
		img->len = s->room + trailer;
		seal(img, trailer);
		return;
	}

	if (!entries)
		entries = vdisk_div_up(s->sectors * 512, s->block);
	bat_at = s->bat ? s->bat : BAT_AT;
	memcpy(img->mem + HEADER_AT, "cxsparse", 8);
	put(img, HEADER_AT + 8, ALL, 8);
	put(img, HEADER_AT + 16, bat_at, 8);
	put(img, HEADER_AT + 24, 0x10000, 4);
	put(img, HEADER_AT + 28, entries, 4);
	put(img, HEADER_AT + 32, s->block, 4);
	if (s->type == VHD_DIFFERENCING)
		memcpy(img->mem + HEADER_AT + 40, "parent-parent-id", 16);
	for (i = 0; i < entries; i++)
		put(img, bat_at + i * 4, VHD_FREE, 4);
	data_at = vdisk_align(vdisk_max(bat_at + entries * 4, BAT_AT), 512, 0);
	img->len = data_at + s->room + trailer;
	seal(img, trailer);
}

static int open_rule(struct image *img, struct vdisk_step *step,
		     struct vdisk_geom *geom, enum vdisk_size_rule rule)
{
	struct vdisk_params params = {
		.file_len = img->len, .write = true, .size_rule = rule,
	};
	int r;

	r = STEP(img, step, vhd_open(&params, step, geom));
	img->data_end = geom->data_end;
	img->next = geom->alloc_off;
	return r;
}

static int open_it(struct image *img, struct vdisk_step *step,
		   struct vdisk_geom *geom)
{
	return open_rule(img, step, geom, VDISK_SIZE_AUTO);
}

/* 40 blocks of 128 sectors, the last one in part; room for 4. */
static const struct shape small = {
	"small", VHD_DYNAMIC, 65536, 5000, 0, 4 * 66048, 0, 0,
};

static const struct shape differencing = {
	"differencing", VHD_DIFFERENCING, 65536, 5000, 0, 4 * 66048, 0, 0,
};

static const struct shape fixed = {
	"fixed", VHD_FIXED, 0, 2000, 0, 2000 * 512, 0, 0,
};

#endif /* _SELFTESTS_VHD_IMAGE_H */
