/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Parallels expandable image on disk (docs/interop/parallels.txt of QEMU, and
 * what producers really write). All integers are little endian.
 */
#ifndef _VDISK_PARALLELS_H
#define _VDISK_PARALLELS_H

#include "format.h"

enum parallels_limits {
	PARALLELS_HEADER_LEN = 64,	/* the BAT follows it at once */
	PARALLELS_ENTRY_LEN = 4,
	PARALLELS_VERSION = 2,		/* in both variants */
	PARALLELS_MAX_CLUSTER = 4186127,	/* sectors: INT32_MAX / 513 */
	PARALLELS_MAX_ENTRIES = 536870911,	/* INT32_MAX / 4 */
};

#define PARALLELS_MAGIC_V1 "WithoutFreeSpace"
#define PARALLELS_MAGIC_V2 "WithouFreSpacExt"

enum parallels_in_use {
	PARALLELS_CLOSED_OLD = 0,	/* by software without extensions */
	PARALLELS_CLOSED = 0x312E3276,	/* "v2.1", extension and all */
	PARALLELS_IN_USE = 0x746F6E59,	/* "Ynot" */
};

enum parallels_flags {
	PARALLELS_EMPTY = 1 << 0,	/* nothing was ever written: a hint */
	PARALLELS_CONVERTING = 1 << 1,	/* between the two variants */
};

/* At byte 0. */
struct parallels_header_disk {
	u8 magic[16];		/* v1 or v2, no NUL */
	__le32 version;
	__le32 heads;		/* guest geometry, a hint */
	__le32 cylinders;	/* the same */
	__le32 tracks;		/* sectors in a cluster */
	__le32 nb_bat_entries;
	__le64 nb_sectors;	/* of the disk; v1: the low half counts */
	__le32 in_use;		/* enum parallels_in_use */
	__le32 data_off;	/* sectors in both variants; v1: 0 = behind the
				 * BAT
				 */
	__le32 flags;		/* enum parallels_flags */
	__le64 ext_off;		/* sectors: the format extension; 0 = none */
} __packed;

static_assert(sizeof(struct parallels_header_disk) == PARALLELS_HEADER_LEN,
	      "Parallels header is 64 bytes");
static_assert(offsetof(struct parallels_header_disk, version) == 16,
	      "Parallels version is at 16");
static_assert(offsetof(struct parallels_header_disk, heads) == 20,
	      "Parallels heads is at 20");
static_assert(offsetof(struct parallels_header_disk, cylinders) == 24,
	      "Parallels cylinders is at 24");
static_assert(offsetof(struct parallels_header_disk, tracks) == 28,
	      "Parallels tracks is at 28");
static_assert(offsetof(struct parallels_header_disk, nb_bat_entries) == 32,
	      "Parallels nb_bat_entries is at 32");
static_assert(offsetof(struct parallels_header_disk, nb_sectors) == 36,
	      "Parallels nb_sectors is at 36");
static_assert(offsetof(struct parallels_header_disk, in_use) == 44,
	      "Parallels in_use is at 44");
static_assert(offsetof(struct parallels_header_disk, data_off) == 48,
	      "Parallels data_off is at 48");
static_assert(offsetof(struct parallels_header_disk, flags) == 52,
	      "Parallels flags is at 52");
static_assert(offsetof(struct parallels_header_disk, ext_off) == 56,
	      "Parallels ext_off is at 56");

#define PARALLELS_EXT_MAGIC 0xAB234CEF23DCEA87ull
#define PARALLELS_DIRTY_BITMAP 0x20385FAE252CB34Aull

enum parallels_feature_flags {
	PARALLELS_NECESSARY = 1 << 0,	/* not understood: do not write */
	PARALLELS_TRANSIT = 1 << 1,	/* not understood: keep */
};

/* A part of the extension; one with magic 0 ends it. */
struct parallels_feature_disk {
	__le64 magic;		/* PARALLELS_DIRTY_BITMAP, or unknown */
	__le64 flags;		/* enum parallels_feature_flags */
	__le32 data_size;	/* bytes that follow, before padding to 8 */
	__le32 unused;
} __packed;

static_assert(sizeof(struct parallels_feature_disk) == 24,
	      "Parallels feature section is 24 bytes");
static_assert(offsetof(struct parallels_feature_disk, flags) == 8,
	      "Parallels feature flags are at 8");
static_assert(offsetof(struct parallels_feature_disk, data_size) == 16,
	      "Parallels feature data_size is at 16");

/* The cluster at ext_off, as far as it is always there. */
struct parallels_ext_disk {
	__le64 magic;		/* PARALLELS_EXT_MAGIC */
	u8 md5[16];		/* of the rest of the cluster */
	struct parallels_feature_disk first;
} __packed;

static_assert(sizeof(struct parallels_ext_disk) == 48,
	      "Parallels extension starts with 48 bytes");
static_assert(offsetof(struct parallels_ext_disk, first) == 24,
	      "Parallels features start at 24");

/* Why an image is only read; it may be dropped then, as nobody can use it. */
#define PARALLELS_EXT_DAMAGED "Format extension is damaged"

#endif /* _VDISK_PARALLELS_H */
