/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vdisk check: from the trials of a repair to the files, and back. */
#ifndef _VDISK_CHECK_UNDO_H
#define _VDISK_CHECK_UNDO_H

#include "chain.h"

/*
 * Make the undo file of what the parts' trials would change, if they would
 * change anything: *@path is then its name. False after saying why not.
 */
bool check_undo_save(const struct chain *chain, const char **path);

/* Change the files; @undo, or NULL, is then done. False after saying why not. */
bool check_undo_commit(const struct chain *chain, const char *undo);

/*
 * Before a repair: is there the undo file of one that was cut off? Then what that
 * one did is put back, and the file goes. A file that is of no use for that stays,
 * and check_undo_save() will tell.
 */
void check_undo_resume(const struct verb_options *opt);

/* Put back what the undo file opt->undo has. False after saying why not. */
bool check_undo_apply(const struct verb_options *opt);

#endif /* _VDISK_CHECK_UNDO_H */
