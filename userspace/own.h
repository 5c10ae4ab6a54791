/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who owns which bytes of an image: nobody may own what another owns, and what
 * lies between is lost. Memory is bounded: an image with more pieces than fit
 * is walked several times, a window of its file each time.
 */
#ifndef _VDISK_OWN_H
#define _VDISK_OWN_H

#include "disk.h"

struct own_report {
	u64 units;		/* in use */
	u64 bad;		/* entries that point nowhere they may */
	u64 overlaps;		/* pieces that lie on others */
	u64 stuck;		/* those among them that moving a unit cannot undo */
	u64 leaks;		/* units nobody owns */
	u64 end_off;		/* behind the last owned byte */
	u64 others;		/* bytes that are owned and no unit's */
};

struct own_options {
	u64 table_limit;	/* bytes of tables to look at; 0 = all */
	unsigned int room;	/* pieces held at once; 0 = default */
	/* Told each fault as a phrase; false = enough. Optional. */
	bool (*say)(void *arg, const char *what);
	/* Told each unit that has to go elsewhere, maybe twice. Optional. */
	void (*victim)(void *arg, const struct vdisk_range *unit);
	/* What the work is called while it lasts; NULL = say nothing. */
	const char *progress;
	/* Told bytes from data_off on that nobody owns, in order. Optional. */
	void (*gap)(void *arg, u64 from, u64 to);
	void *arg;
};

/*
 * 0, or -errno with the image's fault set when the image could not be read.
 * 1 when the tables are longer than the limit, or say() had enough: the report
 * is then what was seen so far.
 */
int own_check(struct vdisk_image *image, const struct own_options *opt,
	      struct own_report *report);

#endif /* _VDISK_OWN_H */
