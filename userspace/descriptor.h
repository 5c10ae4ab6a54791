/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text that describes a VMDK disk: a parser, no files. */
#ifndef _VDISK_DESCRIPTOR_H
#define _VDISK_DESCRIPTOR_H

#include "../formats/env.h"

#define DESCRIPTOR_MAX_LEN (1u << 20)
#define DESCRIPTOR_MAX_EXTENTS 4096
#define DESCRIPTOR_NO_PARENT 0xffffffffu
#define DESCRIPTOR_LONG_CID 0xfffffffeu		/* the parent's is elsewhere */

enum descriptor_access {
	DESCRIPTOR_RW,
	DESCRIPTOR_RDONLY,
	DESCRIPTOR_NOACCESS,
};

enum descriptor_type {
	DESCRIPTOR_FLAT,	/* raw, from offset_sec on */
	DESCRIPTOR_VMFS,	/* the same, on ESX */
	DESCRIPTOR_ZERO,	/* no file */
	DESCRIPTOR_SPARSE,	/* the file says of which kind */
	DESCRIPTOR_VMFSSPARSE,
	DESCRIPTOR_SESPARSE,
};

struct descriptor_extent {
	enum descriptor_access access;
	enum descriptor_type type;
	u64 sectors;
	u64 offset_sec;
	char *file;		/* NULL if ZERO */
};

struct descriptor {
	u32 cid, parent_cid;
	char *create_type;	/* these NULL if not said */
	char *parent_hint;
	u64 cid_at;		/* byte of the text where the CID's digits are */
	u32 cid_len;
	struct descriptor_extent *extent;
	u32 nr_extents;
	u64 sectors;		/* of all */
};

/*
 * Parse @text, up to a zero byte if there is one. NULL on success, else what is
 * wrong, for the caller to free. descriptor_free() in any case.
 */
char *descriptor_parse(struct descriptor *desc, const void *text, size_t len);
void descriptor_free(struct descriptor *desc);

#endif /* _VDISK_DESCRIPTOR_H */
