/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing what a chain is: the size of its disk, the parent of its top layer.
 * Functions return false after saying why.
 */
#ifndef _VDISK_RECHAIN_H
#define _VDISK_RECHAIN_H

#include "chain.h"

/* From here on a signal ends the work where that does no harm. */
void rechain_begin(void);

/*
 * The disk of @chain, which was opened to be written, gets @size_sec sectors,
 * and its image is closed as it should be. To have all of them, open it again:
 * there may be extents that @chain has not.
 */
bool rechain_size(struct chain *chain, u64 size_sec);

/* Could it? Nothing is written. What only shows while it is done is not seen. */
bool rechain_may_size(struct chain *chain, u64 size_sec);

/* Who a layer shall stand on. */
struct rechain_parent {
	const char *name;	/* as the child is to call it; "" = nobody */
	bool raw;
	u8 id[16];
	u32 cid;
	u32 time;		/* seconds since 1970, of its file */
};

/*
 * The top layer of @chain names @parent as its own: a crash leaves the old name
 * or the new one. What was written to it is durable already.
 */
bool rechain_parent(struct chain *chain, const struct rechain_parent *parent);

/* The top layer of @chain, which was opened to be written, gets a new id. */
bool rechain_identify(struct chain *chain);

/*
 * Before what @parent's disk holds changes: its content id does, if it has one,
 * so that all other children see it. @child bears any until the second call.
 */
bool rechain_stamp(struct chain *parent, struct chain *child);
bool rechain_stamped(struct chain *parent, struct chain *child);

#endif /* _VDISK_RECHAIN_H */
