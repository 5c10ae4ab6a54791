/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Undo files: what a repair is about to change, so that it can be put back to
 * the bit. One file holds this for all files of an image.
 *
 * For each sector that any of the repair's writes touches it has the bytes as
 * they were, and a checksum of each state that the repair brings the sector
 * into. A sector that has neither the old bytes nor one of those states was
 * changed by somebody else: then nothing is put back. So the same undo file is
 * good for a repair that was cut off, and for an undo that was.
 */
#ifndef _VDISK_UNDO_H
#define _VDISK_UNDO_H

#include <stdio.h>

#include "disk.h"

/* One file of the image. @inode tells it from others. */
struct undo_file {
	const char *path;
	u64 inode;
	struct vdisk_store *store;
};

/*
 * Write to @out what the trials @file[].store would change below them. @image:
 * the inode of what the user calls the image. 0 or -errno, as for what follows.
 */
int undo_write(FILE *out, u64 image, const struct undo_file *file,
	       unsigned int nr);

/*
 * Make the file @path, which must not be there, and make it durable: all of it
 * or nothing. -EEXIST if it is there.
 */
int undo_save(const char *path, u64 image, const struct undo_file *file,
	      unsigned int nr);

/*
 * Is the repair over that the file was made for? While it is not, the image is
 * somewhere between the old and the new; so it is again while it is put back.
 */
bool undo_is_done(FILE *f);
int undo_mark(const char *path, bool done);

/*
 * Opens the file that an undo file is of: by then it had the name and the inode
 * of @file. Returns 0 with its inode now and its store set, or -errno with the
 * fault set.
 */
typedef int undo_open(void *arg, struct undo_file *file);

/*
 * Put back what @in has. First all of it is looked at: -ESTALE, and @fault says
 * why, if @in is no whole undo file, or of another image than @image. Then
 * nothing was written.
 */
int undo_apply(FILE *in, u64 image, undo_open *open, void *arg,
	       struct vdisk_fault *fault);

#endif /* _VDISK_UNDO_H */
