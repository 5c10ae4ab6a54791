/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding what is wrong with an image, and putting it right.
 *
 * The order is what makes a repair safe to be interrupted: headers first, each
 * tried in memory before; then units that lie on something get a place of their
 * own, then tables that are there twice are made equal, then entries that name
 * nothing are cleared. Only when nothing is wrong any more what nobody owns is
 * given back, and last the mark is taken away that the image was not closed.
 * Each of these leaves an image that is no worse than before it. Data is copied
 * before an entry names the copy, with a flush between; see disk.h.
 */
#ifndef _VDISK_MENDING_H
#define _VDISK_MENDING_H

#include "../formats/repair.h"
#include "own.h"

struct repair {
	bool write;		/* or only look */
	/* A fault, and what was done about it, or NULL. */
	void (*say)(void *arg, const char *fault, const char *done);
	void *arg;

	/* Sums over all files of the image. */
	struct own_report rep;	/* as things are at the end */
	u64 faults;		/* that are left */
	u64 mended;
	u64 leaks_mended;
	const char *why_ro;	/* must not be written */
	bool dirty;		/* marked as not closed at the end */

	/* Done, but not durable yet: what and how, by turns. */
	char **waiting;
	unsigned int nr_waiting;
};

/*
 * Before an image of @format is opened from *@store: mend headers that keep it
 * from being opened, or from being written. *@store may become another one,
 * which shows the image as it would be. Never fails: what cannot be mended is
 * for the open to tell.
 */
void repair_heads(struct repair *repair, const struct vdisk_format *format,
		  struct vdisk_store **store,
		  const struct vdisk_image_opts *opts);

/* The rest; @image was opened for reading. 0, or -errno with its fault set. */
int repair_image(struct repair *repair, struct vdisk_image *image);

/* Is the open file below a device of ours? @name: of the device. */
bool repair_attached(int fd, char *name, size_t room);

/*-----------------------------------------------------------------
 * Between repair*.c
 */

/* What was done, or (@done NULL) what is wrong. */
void repair_say(struct repair *repair, const char *fault, const char *done);

/* What is done, to be said when a commit has made it durable. */
void repair_note(struct repair *repair, const char *fault, const char *done);
int repair_commit(struct repair *repair, struct vdisk_image *image);

/* A store that shows what is written to it, and writes nothing. */
struct vdisk_store *repair_trial_new(struct vdisk_store *below);
/* Closing it closes what is below. */
void repair_trial_keep(struct vdisk_store *store);

/* Give units a place of their own, until none lies on another. */
int repair_overlaps(struct repair *repair, struct vdisk_image *image);

/* Give back what nobody owns, as far as it can be. */
int repair_leaks(struct repair *repair, struct vdisk_image *image);

/* Copy a unit to @to; its entry follows with the next commit. */
int repair_move(struct vdisk_image *image, const struct vdisk_range *unit,
		u64 to);

/* The entry of @unit names @to, or nothing, from the next commit on. */
int repair_point(struct vdisk_image *image, const struct vdisk_range *unit,
		 u64 to);

/* Read all compressed units; each that is damaged is a fault. */
int repair_read_packed(struct repair *repair, struct vdisk_image *image);

#endif /* _VDISK_MENDING_H */
