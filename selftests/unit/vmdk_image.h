/* SPDX-License-Identifier: GPL-2.0 */
/* Hosted sparse extents in memory, for the tests of vmdk.c. */
#ifndef _SELFTESTS_VMDK_IMAGE_H
#define _SELFTESTS_VMDK_IMAGE_H

#include "../../formats/vmdk.c"
#include "steps.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

enum tables {
	ALL,		/* every table is there, in both sets */
	NONE,		/* directories only */
	ODD,		/* the first set lacks even tables */
	TORN,		/* some are in one set only */
};

struct shape {
	const char *name;
	u32 version, flags, grain, gtes;
	u64 capacity;
	enum tables tables;
	bool parent;
	u32 times;
};

/* Where build() put things: sectors. */
struct layout {
	u64 gdes, gd, rgd, gt_sec, end;
};

static void put(struct image *img, u64 off, u64 value, u32 width)
{
	vdisk_store(img->mem + off, value, width, false);
}

static void header(struct image *img, u64 off, const struct shape *s)
{
	bool packed = s->flags & VMDK_COMPRESSED;

	memcpy(img->mem + off, "KDMV", 4);
	put(img, off + 4, s->version, 4);
	put(img, off + 8, s->flags, 4);
	put(img, off + 12, s->capacity, 8);
	put(img, off + 20, s->grain, 8);
	put(img, off + 28, 1, 8);
	put(img, off + 36, 2, 8);
	put(img, off + 44, s->gtes, 4);
	memcpy(img->mem + off + 73, "\n \r\n", 4);
	put(img, off + 77, packed, 2);
}

/* One directory and its tables, at *@at; @skip: bit n for tables n mod 4. */
static u64 tables(struct image *img, const struct shape *s,
		  struct layout *l, u64 *at, u32 skip)
{
	u64 dir = *at, i;

	*at += vdisk_div_up(l->gdes * 4, 512);
	for (i = 0; i < l->gdes; i++) {
		if (skip >> i % 4 & 1)
			continue;
		put(img, dir * 512 + i * 4, *at, 4);
		*at += l->gt_sec;
	}
	return dir;
}

static struct layout build(struct image *img, const struct shape *s)
{
	static const u32 skip[][2] = {
		[ALL] = { 0, 0 }, [NONE] = { 15, 15 }, [ODD] = { 5, 5 },
		[TORN] = { 4, 2 },
	};
	struct layout l = {
		.gdes = vdisk_div_up(s->capacity, s->grain * s->gtes),
		.gt_sec = vdisk_div_up(s->gtes * 4, 512),
	};
	u64 at = 3;

	image_new(img, 16ull << 30);
	header(img, 0, s);
	if (s->flags & VMDK_REDUNDANT)
		l.rgd = tables(img, s, &l, &at, skip[s->tables][1]);
	l.gd = tables(img, s, &l, &at, skip[s->tables][0]);
	put(img, 48, l.rgd, 8);
	put(img, 56, l.gd, 8);
	l.end = vdisk_align(at, 8, 0);
	put(img, 64, l.end, 8);
	img->len = l.end * 512;
	return l;
}

static int open_it(struct image *img, struct vdisk_step *step,
		   struct vdisk_geom *geom)
{
	struct vdisk_params params = { .file_len = img->len, .write = true };
	int r;

	steps_broken = NULL;
	r = STEP(img, step, vmdk_open(&params, step, geom));
	img->data_end = geom->data_end;
	img->next = geom->alloc_off;
	return r;
}

/* One table of 4 entries a set: RGD at 3, its GT at 4, GD at 5, its GT at 6. */
static const struct shape small = {
	"small", 1, 3, 8, 4, 30, ALL, false, 0,
};

#define PACKED (VMDK_NEWLINES | VMDK_COMPRESSED | VMDK_MARKERS)

static const struct shape packed_small = {
	"packed", 3, PACKED, 8, 4, 62, ALL, false, 0,
};

static bool is_set(const struct vdisk_plan *plan, u32 i, enum vdisk_phase phase,
		   u64 off, u32 count, u64 value, u64 step)
{
	const struct vdisk_op *op = &plan->op[i];

	return i < plan->nr && op->kind == VDISK_OP_SET && op->phase == phase &&
	       op->width == 4 && !op->big && op->off == off &&
	       op->count == count && op->value == value && op->step == step;
}

/*
 * Streams. No test inflates: the stream of a grain is the two bytes that zlib
 * starts with, the stamps of its sectors, and some bytes of chance length.
 */
static u32 put_record(struct image *img, u64 off, u64 lba, u32 sectors,
		      u32 stamp, u32 more)
{
	u32 size = 2 + sectors * 4 + more, i;

	put(img, off, lba, 8);
	put(img, off + 8, size, 4);
	put(img, off + 12, 0x9c78, 2);
	for (i = 0; i < sectors; i++)
		put(img, off + 14 + i * 4, stamp + i, 4);
	return size;
}

static void put_marker(struct image *img, u64 off, u64 value, u32 type)
{
	put(img, off, value, 8);
	put(img, off + 8, 0, 4);
	put(img, off + 12, type, 4);
}

#endif /* _SELFTESTS_VMDK_IMAGE_H */
