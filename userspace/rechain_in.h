/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between rechain_parent.c and the formats that take more than a page. */
#ifndef _VDISK_RECHAIN_IN_H
#define _VDISK_RECHAIN_IN_H

#include "rechain.h"

bool rechain_vhd_parent(struct chain *chain,
			const struct rechain_parent *parent);

/* Nothing but blocks lies where the BAT of so long a disk would. */
bool rechain_vhd_room(struct chain *chain, u64 size_sec);

/* The same for any format: what only a whole chain can do before a resize. */
bool rechain_room(struct chain *chain, u64 size_sec);

#endif /* _VDISK_RECHAIN_IN_H */
