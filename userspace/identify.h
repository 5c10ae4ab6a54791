/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ids by which children know their parents. */
#ifndef _VDISK_IDENTIFY_H
#define _VDISK_IDENTIFY_H

#include "make.h"
#include "verbs.h"

/*
 * Before a child of @kind is put on @image, which @opt tells of: if such a child
 * could not know it, because what it has for an id means "none", it gets one.
 * False after saying why it has none and gets none.
 */
bool identify(const char *image, const struct verb_options *opt,
	      const struct make_kind *kind);

#endif /* _VDISK_IDENTIFY_H */
