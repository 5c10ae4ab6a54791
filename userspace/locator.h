/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a differencing VHD says about where its parent is. */
#ifndef _VDISK_LOCATOR_H
#define _VDISK_LOCATOR_H

#include "chain_in.h"

/*
 * The names to try, in this order: the relative locator, the absolute one, the
 * header's name, then their last parts alone: six at most. Drive letters are gone. Returns
 * 0 or the errno of reading; what is malformed is left out.
 */
int locator_read(struct vdisk_store *store, const struct vdisk_geom *geom,
		 struct chain_names *names);

#endif /* _VDISK_LOCATOR_H */
