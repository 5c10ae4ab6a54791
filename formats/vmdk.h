/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * VMDK on disk: hosted sparse extents ("KDMV"), ESX redo logs ("COWD") and
 * space-efficient snapshots (seSparse), as VMware's Virtual Disk Format 5.0
 * and real files have them. All integers are little endian; a sector is 512
 * bytes, and sector numbers count from the start of the extent file.
 */
#ifndef _VDISK_VMDK_H
#define _VDISK_VMDK_H

#include "format.h"

#define VMDK_MAGIC 0x564d444bu		/* "KDMV" in the file */
#define COWD_MAGIC 0x44574f43u		/* "COWD" */
#define SESPARSE_MAGIC 0xcafebabeull
#define SESPARSE_VOLATILE_MAGIC 0xcafecafeull
#define SESPARSE_VERSION 0x200000001ull

/* gdOffset, rgdOffset: the real one is in the footer. */
#define VMDK_IN_FOOTER 0xffffffffffffffffull

/* Entries are 32-bit sector numbers: no table or grain starts at or above. */
#define VMDK_MAX_OFF ((u64)VDISK_SECTOR << 32)
#define VMDK_MAX_SECTORS (1ull << 54)	/* bytes of the disk fit 63 bits */

enum vmdk_limits {
	VMDK_HEADER_LEN = 512,
	VMDK_ENTRY_LEN = 4,
	VMDK_MIN_GRAIN = 8,		/* sectors */
	VMDK_MAX_GRAIN = 0x200000,	/* sectors: 1 GiB */
	VMDK_MAX_PACKED = 2048,		/* sectors: what a reader must inflate */
	VMDK_MAX_GTES = 512,
	VMDK_MAX_GDES = 32 << 20,
	VMDK_MARKER_LEN = 16,
	VMDK_GRAIN_HEAD = 12,		/* bytes before a compressed grain */
	VMDK_TAIL_LEN = 3 * 512,	/* footer marker, footer, end marker */

	COWD_HEADER_LEN = 2048,
	COWD_GTES = 4096,
	COWD_MAX_GRAIN = 2048,		/* sectors */

	SESPARSE_HEADER_LEN = 512,
	SESPARSE_GRAIN = 8,		/* sectors */
	SESPARSE_TABLE = 64,		/* sectors in a grain table */
};

/* High bits are features that a reader must know. */
enum vmdk_flags {
	VMDK_NEWLINES = 1 << 0,		/* the four line-end bytes are valid */
	VMDK_REDUNDANT = 1 << 1,	/* rgdOffset is valid */
	VMDK_ZEROED = 1 << 2,		/* an entry of 1 is a grain of zeroes */
	VMDK_COMPRESSED = 1 << 16,
	VMDK_MARKERS = 1 << 17,
	VMDK_UNKNOWN = 0xfffc0000,
};

enum vmdk_marker_type {
	VMDK_MARK_END = 0,
	VMDK_MARK_GT = 1,
	VMDK_MARK_GD = 2,
	VMDK_MARK_FOOTER = 3,
};

/* At byte 0; a stream repeats it near its end. */
struct vmdk_header_disk {
	__le32 magic;
	__le32 version;		/* 1 to 3 */
	__le32 flags;
	__le64 capacity;	/* sectors of the disk in this extent */
	__le64 grain_size;	/* sectors */
	__le64 desc_offset;	/* sector of the descriptor; 0 = none */
	__le64 desc_size;	/* sectors */
	__le32 num_gtes;	/* entries of a grain table */
	__le64 rgd_offset;	/* sector of the redundant grain directory */
	__le64 gd_offset;	/* sector of the grain directory */
	__le64 overhead;	/* sectors before the first grain */
	u8 unclean;		/* 1 while open */
	u8 newline[4];		/* LF, space, CR, LF */
	__le16 compression;	/* 0 none, 1 deflate */
	u8 pad[433];
} __packed;

static_assert(sizeof(struct vmdk_header_disk) == VMDK_HEADER_LEN,
	      "VMDK header is 512 bytes");
static_assert(offsetof(struct vmdk_header_disk, capacity) == 12,
	      "VMDK capacity is at 12");
static_assert(offsetof(struct vmdk_header_disk, grain_size) == 20,
	      "VMDK grainSize is at 20");
static_assert(offsetof(struct vmdk_header_disk, desc_offset) == 28,
	      "VMDK descriptorOffset is at 28");
static_assert(offsetof(struct vmdk_header_disk, num_gtes) == 44,
	      "VMDK numGTEsPerGT is at 44");
static_assert(offsetof(struct vmdk_header_disk, rgd_offset) == 48,
	      "VMDK rgdOffset is at 48");
static_assert(offsetof(struct vmdk_header_disk, gd_offset) == 56,
	      "VMDK gdOffset is at 56");
static_assert(offsetof(struct vmdk_header_disk, overhead) == 64,
	      "VMDK overHead is at 64");
static_assert(offsetof(struct vmdk_header_disk, unclean) == 72,
	      "VMDK uncleanShutdown is at 72");
static_assert(offsetof(struct vmdk_header_disk, compression) == 77,
	      "VMDK compressAlgorithm is at 77");

/* What stands before each part of a stream, at a sector. */
struct vmdk_marker_disk {
	__le64 value;		/* grain: its first sector in the extent;
				 * else the sectors of metadata that follow
				 */
	__le32 size;		/* grain: bytes of compressed data; else 0 */
	__le32 type;		/* a grain's data starts here instead */
} __packed;

static_assert(sizeof(struct vmdk_marker_disk) == VMDK_MARKER_LEN,
	      "VMDK marker starts with 16 bytes");
static_assert(offsetof(struct vmdk_marker_disk, size) == 8,
	      "VMDK marker size is at 8");
static_assert(offsetof(struct vmdk_marker_disk, type) == VMDK_GRAIN_HEAD,
	      "VMDK grain data is at 12");

struct cowd_header_disk {
	__le32 magic;
	__le32 version;		/* 1 */
	__le32 flags;		/* 3 */
	__le32 capacity;	/* sectors of the disk */
	__le32 grain_size;	/* sectors */
	__le32 gd_offset;	/* sector */
	__le32 num_gdes;	/* entries of the directory */
	__le32 free_sector;	/* where ESX puts the next grain */
	u8 origin[1024];	/* root: geometry; child: parent's file name */
	__le32 parent_generation;
	__le32 generation;
	u8 name[60];
	u8 description[512];
	__le32 saved_generation;
	u8 reserved[8];
	__le32 unclean;		/* 1 while open */
	u8 pad[396];
} __packed;

static_assert(sizeof(struct cowd_header_disk) == COWD_HEADER_LEN,
	      "COWD header is 2048 bytes");
static_assert(offsetof(struct cowd_header_disk, free_sector) == 28,
	      "COWD freeSector is at 28");
static_assert(offsetof(struct cowd_header_disk, parent_generation) == 1056,
	      "COWD parentGeneration is at 1056");
static_assert(offsetof(struct cowd_header_disk, saved_generation) == 1636,
	      "COWD savedGeneration is at 1636");
static_assert(offsetof(struct cowd_header_disk, unclean) == 1648,
	      "COWD uncleanShutdown is at 1648");

/* A part of a seSparse file. */
struct sesparse_area_disk {
	__le64 offset;		/* sector */
	__le64 size;		/* sectors */
} __packed;

static_assert(sizeof(struct sesparse_area_disk) == 16,
	      "seSparse area is 16 bytes");

/* At byte 0; written once. */
struct sesparse_header_disk {
	__le64 magic;
	__le64 version;
	__le64 capacity;	/* sectors of the disk */
	__le64 grain_size;	/* sectors: 8 */
	__le64 table_size;	/* sectors of a grain table: 64 */
	__le64 flags;		/* 0 */
	__le64 reserved[4];	/* 0 */
	struct sesparse_area_disk volatile_header;
	struct sesparse_area_disk journal_header;
	struct sesparse_area_disk journal;
	struct sesparse_area_disk directory;
	struct sesparse_area_disk tables;
	struct sesparse_area_disk free_bitmap;
	struct sesparse_area_disk backmap;
	struct sesparse_area_disk grains;
	u8 pad[304];
} __packed;

static_assert(sizeof(struct sesparse_header_disk) == SESPARSE_HEADER_LEN,
	      "seSparse header is 512 bytes");
static_assert(offsetof(struct sesparse_header_disk, volatile_header) == 80,
	      "seSparse volatile header area is at 80");
static_assert(offsetof(struct sesparse_header_disk, directory) == 128,
	      "seSparse grain directory area is at 128");
static_assert(offsetof(struct sesparse_header_disk, grains) == 192,
	      "seSparse grain area is at 192");

struct sesparse_volatile_disk {
	__le64 magic;
	__le64 free_table;	/* next free grain table */
	__le64 next_txn;	/* sequence number */
	__le64 replay_journal;	/* not 0: the journal holds later metadata */
	u8 pad[480];
} __packed;

static_assert(sizeof(struct sesparse_volatile_disk) == SESPARSE_HEADER_LEN,
	      "seSparse volatile header is 512 bytes");
static_assert(offsetof(struct sesparse_volatile_disk, replay_journal) == 24,
	      "seSparse replay_journal is at 24");

/*
 * geom->priv of vmdk and cowd. COWD is the same tables with one directory, no
 * zeroed grains and no compression: VMDK_FLAGS is 0 there.
 */
enum vmdk_priv {
	VMDK_FLAGS,
	VMDK_CAPACITY,		/* sectors the tables speak of */
	VMDK_GRAIN_SHIFT,	/* log2 of sectors in a grain */
	VMDK_GTES,		/* entries of a grain table */
	VMDK_GTES_SHIFT,	/* log2 of it, or VMDK_NO_SHIFT */
	VMDK_GDES,		/* entries of a directory */
	VMDK_GD_OFF,		/* bytes */
	VMDK_GD_LEN,		/* bytes; with the tables right behind it */
	VMDK_RGD_OFF,		/* bytes; 0 = no redundant tables */
	VMDK_RGD_LEN,		/* the same of the redundant one */
	VMDK_DESC_OFF,		/* bytes; of the embedded descriptor */
	VMDK_DESC_LEN,		/* bytes; 0 = none */
	VMDK_TABLE_MIN,		/* no grain table below this byte */
	VMDK_META_LEN,		/* bytes of the header */
	VMDK_FOOTER_OFF,	/* bytes: its marker; 0 = no footer in use */
	VMDK_VERSION,
	VMDK_OWN,		/* from here on each format's own */
};

#define VMDK_NO_SHIFT 64

/* The operations of struct vdisk_format that vmdk and cowd share. */
int vdisk_vmdk_map(const struct vdisk_geom *geom, struct vdisk_step *step,
		   u64 sector, u64 sectors, struct vdisk_extent *extent);
int vdisk_vmdk_alloc(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_ask *ask, struct vdisk_plan *plan);
int vdisk_vmdk_discard(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 sector, u64 sectors, bool unmap,
		       struct vdisk_plan *plan);
int vdisk_vmdk_walk(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_range *range);

/*
 * What is wrong with the record of a compressed grain, of which @room bytes
 * are there, or NULL; @head is its first VMDK_GRAIN_HEAD bytes.
 */
const char *vdisk_vmdk_record_fault(const struct vdisk_geom *geom, u64 grain,
				    const u8 *head, u64 room);

/* What is wrong with an entry that names a place in the file, or NULL. */
const char *vdisk_vmdk_grain_fault(const struct vdisk_geom *geom,
				   const struct vdisk_step *step, u64 grain,
				   u64 entry);
const char *vdisk_vmdk_table_fault(const struct vdisk_geom *geom,
				   const struct vdisk_step *step, u32 entry);

/* Grains that follow each other from @off on end here at the latest. */
u64 vdisk_vmdk_room_end(const struct vdisk_geom *geom,
			const struct vdisk_step *step, u64 off);

/*
 * Fill what follows from capacity, grain size and table size: VMDK_CAPACITY to
 * VMDK_GDES, size_sec (@size_sec, or the capacity if that is 0) and units.
 */
int vdisk_vmdk_set_size(struct vdisk_step *step, u64 size_sec, u64 capacity,
			u64 grain_sec, u64 gtes, struct vdisk_geom *geom);

/* The first @len bytes, or NULL and *@r; a file without as many is @too_short. */
const void *vdisk_vmdk_header(const struct vdisk_params *params,
			      struct vdisk_step *step, u32 len,
			      const char *too_short, int *r);

/* The last of open(): grains end at @end at first. */
void vdisk_vmdk_set_end(const struct vdisk_params *params, u64 end,
			bool unclean, struct vdisk_geom *geom);

#endif /* _VDISK_VMDK_H */
