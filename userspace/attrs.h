/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom a file belongs to, and who else may use it. */
#ifndef _VDISK_ATTRS_H
#define _VDISK_ATTRS_H

#include "../formats/env.h"

/*
 * The open file @to gets owner, mode, access lists, labels and other extended
 * attributes of @from, whose place it is to take. Returns 0 or -errno. Who may
 * not give a file away keeps it.
 */
int attrs_copy(int from, int to);

#endif /* _VDISK_ATTRS_H */
