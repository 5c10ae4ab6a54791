/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * QED on disk (docs/interop/qed_spec.txt of QEMU). All integers are little
 * endian.
 */
#ifndef _VDISK_QED_H
#define _VDISK_QED_H

#include "format.h"

enum qed_limits {
	QED_HEADER_LEN = 64,
	QED_ENTRY_LEN = 8,		/* of an L1 or L2 table */
	QED_MIN_CLUSTER = 4096,
	QED_MAX_CLUSTER = 64 << 20,
	QED_MAX_TABLE = 16,		/* clusters */
	QED_MAX_NAME = 1023,		/* bytes */
};

/* The longest disk whose bytes a signed 64-bit number still counts. */
#define QED_MAX_SIZE ((1ull << 63) - VDISK_SECTOR)

/* Values of an entry that are no offset. */
enum qed_entry {
	QED_ABSENT = 0,
	QED_ZERO = 1,			/* in L2 only: reads zero, hides the parent */
};

/* Bits of the features field; an unknown one means: do not touch. */
enum qed_feature {
	QED_BACKING_FILE = 1 << 0,
	QED_NEED_CHECK = 1 << 1,	/* not closed */
	QED_NO_PROBE = 1 << 2,		/* the backing file is raw */
	QED_KNOWN = QED_BACKING_FILE | QED_NEED_CHECK | QED_NO_PROBE,
};

/* At byte 0. */
struct qed_header_disk {
	u8 magic[4];			/* "QED\0" */
	__le32 cluster_size;		/* bytes */
	__le32 table_size;		/* clusters in an L1 or L2 table */
	__le32 header_size;		/* clusters before the first that may be
					 * allocated
					 */
	__le64 features;		/* enum qed_feature */
	__le64 compat_features;		/* may be ignored */
	__le64 autoclear_features;	/* unknown bits are cleared by a writer */
	__le64 l1_table_offset;		/* bytes, cluster aligned */
	__le64 image_size;		/* bytes of the disk */
	__le32 backing_filename_offset;	/* bytes from the start of the file */
	__le32 backing_filename_size;	/* bytes, no NUL */
} __packed;

static_assert(sizeof(struct qed_header_disk) == QED_HEADER_LEN,
	      "QED header is 64 bytes");
static_assert(offsetof(struct qed_header_disk, cluster_size) == 4,
	      "QED cluster_size is at 4");
static_assert(offsetof(struct qed_header_disk, table_size) == 8,
	      "QED table_size is at 8");
static_assert(offsetof(struct qed_header_disk, header_size) == 12,
	      "QED header_size is at 12");
static_assert(offsetof(struct qed_header_disk, features) == 16,
	      "QED features is at 16");
static_assert(offsetof(struct qed_header_disk, compat_features) == 24,
	      "QED compat_features is at 24");
static_assert(offsetof(struct qed_header_disk, autoclear_features) == 32,
	      "QED autoclear_features is at 32");
static_assert(offsetof(struct qed_header_disk, l1_table_offset) == 40,
	      "QED l1_table_offset is at 40");
static_assert(offsetof(struct qed_header_disk, image_size) == 48,
	      "QED image_size is at 48");
static_assert(offsetof(struct qed_header_disk, backing_filename_offset) == 56,
	      "QED backing_filename_offset is at 56");
static_assert(offsetof(struct qed_header_disk, backing_filename_size) == 60,
	      "QED backing_filename_size is at 60");

struct vdisk_many;

/* For a check, which reads all tables: struct vdisk_repair.many. */
void vdisk_qed_many(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_many *many);

#endif /* _VDISK_QED_H */
