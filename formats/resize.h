/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Another size for the disk in an image: what its format knows of it. Only the
 * tool links this; userspace/resize.c is who drives it.
 *
 * A format tells its tables as data, and gives plans with BEFORE ops only, each
 * durable before the next is run. Ops of one plan that lie in one sector go out
 * as one write, so that a crash leaves all of them or none.
 *
 * To grow:	1 entries behind the old end become absent
 *		2 what lies below clear_off is copied to a free place, durably,
 *		  then its entry is set, durably
 *		3 extend(): the longer tables, which nothing points to yet
 *		4 what the new sectors would show is made zero, with the geometry
 *		  that header() announces
 *		5 publish(), plan after plan: the size
 * To shrink:	publish(), then entries behind the new end become absent.
 *
 * After a crash the disk has the old size or the new one, and what is inside of
 * it is right; the worst damage is a leaked unit.
 */
#ifndef _VDISK_RESIZE_H
#define _VDISK_RESIZE_H

#include "format.h"

enum { VDISK_RESIZE_NUMS = 8 };

struct vdisk_resize {
	u64 old_sec;		/* in: the disk as it is */
	u64 size_sec;		/* in: and as it shall be */
	u64 nr_tables;		/* out of start(); these four */
	u64 clear_off;		/* 0 = tables grow over nothing */
	u8 tail[VDISK_TAIL_MAX];	/* what geom->tail becomes */
	u64 num[VDISK_RESIZE_NUMS];	/* the format's own */
};

/*
 * A table of places. Entry i is at off + i * width; it holds @absent, or a
 * number below @least that names no place, or stands for the byte value *
 * @scale, where @len bytes lie that are guest sectors from @first_sec + i *
 * @each_sec on, or a table for them.
 */
struct vdisk_resize_table {
	u64 off;
	u64 twin_off;		/* a second copy of the table, or 0 */
	u64 entries;		/* 0 = there is no such table */
	u64 absent;
	u64 least;
	u64 scale;
	u64 len;		/* 0 = not known here */
	u64 align;		/* where a moved one may go: as in a need */
	u64 base;
	u64 first_sec;
	u64 each_sec;
	u32 width;
	bool big;
	bool tables;		/* names tables, not units */
};

/* Bytes that extend() wants at a second place too; copied after its plan. */
struct vdisk_resize_copy {
	u64 from;
	u64 to;
	u64 len;		/* 0 = nothing */
};

struct vdisk_resizer {
	const struct vdisk_format *format;

	/*
	 * Step. Can it be? Fills what struct vdisk_resize says. Changes nothing.
	 * Required.
	 */
	int (*start)(const struct vdisk_geom *geom, struct vdisk_step *step,
		     struct vdisk_resize *rs);

	/*
	 * Step. The i-th of rs->nr_tables tables as they are now. One that names
	 * tables comes before them. Required if there are any.
	 */
	int (*table)(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_resize *rs, u64 i,
		     struct vdisk_resize_table *table);

	/*
	 * Step. To grow: the new part of the tables. May need space for a table,
	 * and keep in rs->num what it was given. Optional.
	 */
	int (*extend)(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct vdisk_resize *rs, struct vdisk_plan *plan,
		      struct vdisk_resize_copy copy[2]);

	/*
	 * Step. To grow: ops that are never run but laid over the file for open()
	 * to see what it will be. Optional: without it the new sectors are zero
	 * by themselves.
	 */
	int (*header)(const struct vdisk_geom *geom, struct vdisk_step *step,
		      const struct vdisk_resize *rs, struct vdisk_plan *plan);

	/* Step. The i-th plan that makes it so; plan->nr == 0 behind the last. */
	int (*publish)(const struct vdisk_geom *geom, struct vdisk_step *step,
		       const struct vdisk_resize *rs, u32 i,
		       struct vdisk_plan *plan);
};

/* NULL if disks of this format keep their size. */
const struct vdisk_resizer *vdisk_resizer_of(const struct vdisk_format *format);

extern const struct vdisk_resizer vdisk_raw_resizer;
extern const struct vdisk_resizer vdisk_vhd_resizer;
extern const struct vdisk_resizer vdisk_vmdk_resizer;
extern const struct vdisk_resizer vdisk_cowd_resizer;
extern const struct vdisk_resizer vdisk_parallels_resizer;
extern const struct vdisk_resizer vdisk_qed_resizer;

#endif /* _VDISK_RESIZE_H */
