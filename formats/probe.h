/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the bytes at both ends of a file say it is.
 *
 * A guest can write most bytes of some images, and with them the signature of
 * any other format: Documentation/probing.rst has the table. So nobody wins
 * here. All that claim the file are told; where they are not of one mind,
 * somebody who knows must say which it is.
 */
#ifndef _VDISK_PROBE_H
#define _VDISK_PROBE_H

#include "format.h"

enum vdisk_claim_kind {
	VDISK_CLAIM_IMAGE,	/* a format of ours */
	VDISK_CLAIM_TEXT,	/* a text that says which files a disk consists of */
	VDISK_CLAIM_OTHER,	/* an image of a format that is not read here */
	VDISK_CLAIM_CRYPT,	/* a disk that is encrypted as a whole */
	VDISK_CLAIM_ARCHIVE,	/* files, packed or compressed */
	VDISK_CLAIM_LIST,	/* a text that names images, none of our kinds */
};

struct vdisk_claim {
	enum vdisk_claim_kind kind;
	const char *name;	/* for people */
	const struct vdisk_format *format;	/* NULL: none of ours */
	bool tail;		/* the end says so, else the beginning */
};

#define VDISK_MAX_CLAIMS 8

/*
 * A footer may have been the end before something was put behind it: a block of
 * 4 KiB, at most.
 */
#define VDISK_PROBE_TAIL (VDISK_BLOCK + VDISK_SECTOR)

/*
 * Who claims the file: the number of @claim, those of the beginning first.
 * @head and its length are those of vdisk_format's probe(). @tail is as long as
 * that of probe(), or up to VDISK_PROBE_TAIL instead of one sector. Only the first
 * MAX_CLAIMS are told, which is enough to see that they disagree.
 */
u32 vdisk_probe(const u8 *head, u32 head_len, const u8 *tail, u32 tail_len,
		struct vdisk_claim claim[VDISK_MAX_CLAIMS]);

/* The index of the first that says something else than claim[0]; 0 = nobody. */
u32 vdisk_probe_other(const struct vdisk_claim *claim, u32 nr);

/* Do the bytes begin like the text that describes a VMDK disk? */
bool vdisk_probe_vmdk_text(const u8 *head, u32 len);

#endif /* _VDISK_PROBE_H */
