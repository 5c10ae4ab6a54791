/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The contract of a maker: what bytes a new, empty image consists of.
 *
 * A maker is as pure as a format: it looks at a recipe and says how long the
 * file will be and what stands where in it; who calls it does the writing, in
 * any order. Bytes that no piece covers are zero. What a maker makes, open() of
 * the format takes, for writing too.
 *
 * The kernel makes no images: these files are no part of the module.
 */
#ifndef _VDISK_MAKE_H
#define _VDISK_MAKE_H

#include "format.h"

#define VDISK_PIECE_MAX 4096

/* What is wanted, in host order. Each maker says which fields it looks at. */
struct vdisk_recipe {
	u64 size_sec;		/* of the disk; all makers */
	u64 unit_len;		/* bytes of a VHD block, a grain, a cluster */
	u64 table_units;	/* QED: clusters in a table */
	u32 version;		/* Parallels: 1 or 2 */
	bool fixed;		/* VHD: without tables */
	bool rounded;		/* VHD: more sectors, so that geometry says it */
	bool zeroed;		/* VMDK: grains may be zero without a place */
	bool raw_parent;	/* QED: the parent is raw */
	u32 time;		/* seconds since 1970; VHD */
	u8 id[16];		/* VHD */

	/* A parent's own: VHD, QED; COWD takes the name. */
	const char *parent;	/* its name, UTF-8 with '/'; NULL = no parent */
	u32 parent_len;		/* bytes of it */
	u32 parent_time;	/* as @time, of the parent's file */
	u8 parent_id[16];

	/* VMDK: the text that goes into the file; its bytes stay the caller's. */
	const char *text;
	u32 text_len;		/* 0 = the text is elsewhere */
};

/* What becomes of it. */
struct vdisk_layout {
	const char *why;	/* as in struct vdisk_step */
	u64 value;
	u64 size_sec;		/* of the disk: at least what was wanted */
	u64 file_len;
	u64 table_off;		/* for the maker itself, the next one too */
	u64 table_nr;
	u64 data_off;
};

/* Bytes of the file: @len of @data; else a table of @count integers. */
struct vdisk_piece {
	u64 off;
	u32 len;		/* 0 = a table */
	u32 width;		/* bytes of an integer */
	bool big;		/* the integers are big endian */
	u64 count;
	u64 value;		/* the i-th is value + i * step */
	u64 step;
	u8 data[VDISK_PIECE_MAX];
};

struct vdisk_maker {
	/* The format that opens what is made. */
	const struct vdisk_format *format;

	/*
	 * Is the recipe good, and what becomes of it? 0, or -EINVAL with @why
	 * and @value. Required.
	 */
	int (*layout)(const struct vdisk_recipe *recipe,
		      struct vdisk_layout *layout);

	/*
	 * The @i-th piece of a layout; false past the last. No two overlap.
	 * Required.
	 */
	bool (*piece)(const struct vdisk_recipe *recipe,
		      const struct vdisk_layout *layout, u32 i,
		      struct vdisk_piece *piece);
};

extern const struct vdisk_maker vdisk_raw_maker;
extern const struct vdisk_maker vdisk_vhd_maker;
extern const struct vdisk_maker vdisk_vmdk_maker;
extern const struct vdisk_maker vdisk_stream_maker;
extern const struct vdisk_maker vdisk_cowd_maker;
extern const struct vdisk_maker vdisk_parallels_maker;
extern const struct vdisk_maker vdisk_qed_maker;

/* Set why and value; returns -EINVAL. */
static inline int vdisk_unmakable(struct vdisk_layout *layout, const char *why,
				  u64 value)
{
	layout->why = why;
	layout->value = value;
	return -EINVAL;
}

/*
 * A stream is made from front to back, its grains in ascending order; the
 * directory comes last. Each part begins at a sector. These give the bytes of
 * the parts that are not the compressed data itself, to @sector.
 */
void vdisk_stream_record(u64 first_sec, u32 packed_len, u8 *head);
void vdisk_stream_marker(u64 sectors, u32 type, u8 *sector);
/* The header again, with the place of the directory. */
void vdisk_stream_footer(const struct vdisk_recipe *recipe,
			 const struct vdisk_layout *layout, u64 gd_sec,
			 u8 *sector);

#endif /* _VDISK_MAKE_H */
