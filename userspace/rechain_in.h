/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between rechain_parent.c and the formats that take more than a page. */
#ifndef _VDISK_RECHAIN_IN_H
#define _VDISK_RECHAIN_IN_H

#include "rechain.h"

bool rechain_vhd_parent(struct chain *chain,
			const struct rechain_parent *parent);

bool rechain_vhd_identify(struct chain *chain);

/* Nothing but blocks lies where the BAT of so long a disk would. */
bool rechain_vhd_room(struct chain *chain, u64 size_sec);

/* The same for any format: what only a whole chain can do before a resize. */
bool rechain_room(struct chain *chain, u64 size_sec);

#define RECHAIN_SPLIT_SEC (2ull << 30 >> VDISK_SHIFT)

/* Extents behind the last one of a split VMDK. */
struct rechain_split {
	const struct chain_layer *top;
	char *text;		/* the new descriptor */
	char *name;		/* of the last extent, as it says */
	char **path;		/* of the files that were made */
	unsigned int nr;
};

/*
 * Their files, for @sectors more; the extent that was the last has @last_sec
 * then. rechain_split_end() in any case: if not @keep they are gone again.
 */
bool rechain_split_begin(struct rechain_split *split, const struct chain *chain,
			 u64 last_sec, u64 sectors);
void rechain_split_end(struct rechain_split *split, bool keep);

#endif /* _VDISK_RECHAIN_IN_H */
