/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * VHD on disk (Virtual Hard Disk Image Format Specification 1.0, and what
 * producers really write). All integers are big endian.
 */
#ifndef _VDISK_VHD_H
#define _VDISK_VHD_H

#include "env.h"

enum vhd_limits {
	VHD_FOOTER_LEN = 512,
	VHD_OLD_FOOTER_LEN = 511,	/* Virtual PC before 2004 */
	VHD_HEADER_LEN = 1024,
	VHD_LOCATORS = 8,
	VHD_MIN_BLOCK = 4096,		/* below it producers disagree on the bitmap */
	VHD_MAX_BLOCK = 256 << 20,
	VHD_KEY_HASHED = 1,		/* in blktap's batmap */
};

#define VHD_MAX_SECTORS 0xFF000000ull	/* 2040 GiB: of a disk with a BAT */
#define VHD_MAX_FIXED ((1ull << 54) - 1)	/* with its footer below 2^63 bytes */
#define VHD_FREE 0xFFFFFFFFu		/* BAT entry of a block that is not there */
#define VHD_NO_OFFSET 0xFFFFFFFFFFFFFFFFull

enum vhd_disk_type {
	VHD_FIXED = 2,
	VHD_DYNAMIC = 3,
	VHD_DIFFERENCING = 4,
};

/* creator_app, as a big-endian number of its four characters */
enum vhd_creator {
	VHD_BY_VIRTUAL_PC = 0x76706320,		/* "vpc " */
	VHD_BY_VIRTUAL_SERVER = 0x76732020,	/* "vs  " */
	VHD_BY_QEMU = 0x71656d75,		/* "qemu" */
	VHD_BY_BLKTAP = 0x74617000,		/* "tap\0" */
};

/* The last 512 bytes of the file; a copy at 0 unless the disk is fixed. */
struct vhd_footer_disk {
	u8 cookie[8];		/* "conectix" */
	__be32 features;
	__be32 version;		/* 0x00010000 */
	__be64 data_offset;	/* bytes: the dynamic header; fixed: all ones */
	__be32 timestamp;	/* seconds since 2000-01-01T00:00:00Z */
	__be32 creator_app;
	__be32 creator_version;
	__be32 creator_os;
	__be64 original_size;	/* bytes */
	__be64 current_size;	/* bytes */
	__be16 cylinders;
	u8 heads;
	u8 sectors;		/* per track */
	__be32 disk_type;
	__be32 checksum;	/* ~ sum of all bytes, this field as 0 */
	u8 unique_id[16];	/* compared bytewise */
	u8 saved_state;
	u8 hidden;		/* blktap's own; else reserved */
	u8 reserved[426];
} __packed;

static_assert(sizeof(struct vhd_footer_disk) == VHD_FOOTER_LEN,
	      "VHD footer is 512 bytes");
static_assert(offsetof(struct vhd_footer_disk, data_offset) == 16,
	      "VHD data_offset is at 16");
static_assert(offsetof(struct vhd_footer_disk, creator_app) == 28,
	      "VHD creator_app is at 28");
static_assert(offsetof(struct vhd_footer_disk, current_size) == 48,
	      "VHD current_size is at 48");
static_assert(offsetof(struct vhd_footer_disk, disk_type) == 60,
	      "VHD disk_type is at 60");
static_assert(offsetof(struct vhd_footer_disk, checksum) == 64,
	      "VHD footer checksum is at 64");
static_assert(offsetof(struct vhd_footer_disk, saved_state) == 84,
	      "VHD saved_state is at 84");

/* Where a differencing disk says its parent is. */
struct vhd_locator_disk {
	__be32 code;		/* "W2ru" and others; 0 = unused */
	__be32 data_space;	/* bytes; sectors according to the specification */
	__be32 data_length;	/* bytes */
	__be32 reserved;
	__be64 data_offset;	/* bytes */
} __packed;

static_assert(sizeof(struct vhd_locator_disk) == 24,
	      "VHD parent locator is 24 bytes");

struct vhd_header_disk {
	u8 cookie[8];		/* "cxsparse" */
	__be64 data_offset;	/* all ones */
	__be64 table_offset;	/* bytes: the BAT */
	__be32 version;		/* 0x00010000 */
	__be32 max_table_entries;
	__be32 block_size;	/* bytes of guest data in a block */
	__be32 checksum;	/* as the footer's, over 1024 bytes */
	u8 parent_unique_id[16];
	__be32 parent_timestamp;
	__be32 reserved;
	u8 parent_name[512];	/* UTF-16BE, NUL padded */
	struct vhd_locator_disk locator[VHD_LOCATORS];
	u8 reserved2[256];
} __packed;

static_assert(sizeof(struct vhd_header_disk) == VHD_HEADER_LEN,
	      "VHD dynamic header is 1024 bytes");
static_assert(offsetof(struct vhd_header_disk, table_offset) == 16,
	      "VHD table_offset is at 16");
static_assert(offsetof(struct vhd_header_disk, checksum) == 36,
	      "VHD header checksum is at 36");
static_assert(offsetof(struct vhd_header_disk, parent_name) == 64,
	      "VHD parent name is at 64");
static_assert(offsetof(struct vhd_header_disk, locator) == 576,
	      "VHD locators are at 576");

/*
 * blktap's map of full blocks: this sector follows the BAT, and says where the
 * bits are. Nothing else in the file speaks of either.
 */
struct vhd_batmap_disk {
	u8 cookie[8];		/* "tdbatmap" */
	__be64 batmap_off;	/* bytes: one bit a block */
	__be32 batmap_sec;	/* sectors of bits */
	__be32 version;		/* 0x00010002 */
	__be32 checksum;	/* over the bits */
	u8 marker;
	u8 key;			/* VHD_KEY_HASHED: blocks are encrypted */
} __packed;

static_assert(offsetof(struct vhd_batmap_disk, batmap_sec) == 16,
	      "VHD batmap size is at 16");
static_assert(offsetof(struct vhd_batmap_disk, key) == 29,
	      "VHD batmap key is at 29");

struct vhd_chs {
	u32 cylinders, heads, sectors;
};

/*
 * vhd_make.c: the geometry that says a size, or the largest there is where none
 * does: all but Virtual PC take that for "look at the bytes".
 */
struct vhd_chs vhd_geometry(u64 sectors);

/* What a footer or a header should say in its checksum field, at @sum_at. */
static inline u32 vhd_checksum(const void *bytes, u32 len, u32 sum_at)
{
	const u8 *b = bytes;
	u32 i, sum = 0;

	for (i = 0; i < len; i++)
		if (i < sum_at || i >= sum_at + 4)
			sum += b[i];
	return ~sum;
}

#endif /* _VDISK_VHD_H */
