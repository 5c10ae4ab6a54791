/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text that describes a VMDK disk: the only parser of it. It keeps the
 * places of what it read, so that a change is made where the reader looked, and
 * it is asked again before a changed text is written. No files.
 */
#ifndef _VDISK_DESCRIPTOR_H
#define _VDISK_DESCRIPTOR_H

#include "../formats/env.h"

#define DESCRIPTOR_MAX_LEN (1u << 20)
#define DESCRIPTOR_MAX_EXTENTS 4096
#define DESCRIPTOR_NO_CID 0xffffffffu		/* as parentCID: no parent */
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

/* Bytes of the text. */
struct descriptor_span {
	size_t at, len;
};

struct descriptor_extent {
	enum descriptor_access access;
	enum descriptor_type type;
	u64 sectors;
	u64 offset_sec;
	char *file;		/* NULL if ZERO */
	struct descriptor_span line;	/* with its end */
	struct descriptor_span digits;	/* of the length */
	struct descriptor_span name;	/* between the quotes */
};

/* Keys that are read; the first line of each counts. */
enum descriptor_key {
	DESCRIPTOR_VERSION,
	DESCRIPTOR_CID,
	DESCRIPTOR_PARENT_CID,
	DESCRIPTOR_CREATE_TYPE,
	DESCRIPTOR_PARENT_HINT,
	DESCRIPTOR_ENCODING,
	DESCRIPTOR_CHANGE_TRACK,
	DESCRIPTOR_UUID_PARENT,
	DESCRIPTOR_IO_FILTERS,
	DESCRIPTOR_NR_KEYS,
};

struct descriptor {
	u32 cid, parent_cid;
	char *create_type;	/* these NULL if not said, or empty */
	char *parent_hint;
	char *uuid_parent;	/* NULL if all zeroes, too */
	char *encoding;
	const char *why_ro;	/* constant phrase: must not be written. Or NULL */
	bool informs;		/* as descriptor_parse() was told */
	bool recoded;		/* places are not those of the file */
	struct descriptor_span line[DESCRIPTOR_NR_KEYS];	/* len 0: not there */
	u64 cid_at;		/* byte of the text where the CID's digits are */
	u32 cid_len;		/* 0: there are none */
	struct descriptor_extent *extent;
	u32 nr_extents;
	u64 sectors;		/* of all */
};

/*
 * Parse @text, up to a zero byte if there is one. With @informs another header
 * says what the disk is: lines that cannot be read are none. NULL on success,
 * else what is wrong, for the caller to free. descriptor_free() in any case.
 */
char *descriptor_parse(struct descriptor *desc, const void *text, size_t len,
		       bool informs);
void descriptor_free(struct descriptor *desc);

/* Does it name a parent? */
bool descriptor_has_parent(const struct descriptor *desc);

/* Is a CID one that a child cannot know its parent by? */
bool descriptor_no_cid(const struct descriptor *desc);

/*
 * A name as the text has to have it, to be freed; NULL if it has no way to say
 * it.
 */
char *descriptor_encode(const struct descriptor *desc, const char *name);

/* Do both mean the same disk? Places in the text do not count. */
bool descriptor_same(const struct descriptor *a, const struct descriptor *b);

#endif /* _VDISK_DESCRIPTOR_H */
