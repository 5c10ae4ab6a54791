/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What a format knows of mending its images: beside format.h, for the tool
 * only. The same rules hold: pure steps, nothing kept but what is passed in.
 *
 * A mend is one thing that can be done, as a plan. Its BEFORE ops become
 * durable first, then its PUBLISH ops; either part may be torn at sectors by a
 * crash, and what is there then must be no worse than before. A plan that takes
 * over bytes which no entry names now says so, and is only run if they are
 * nobody's.
 *
 * Headers are mended on trial: an image that open() refuses, or lets only be
 * read, is opened again as it would be after the plan, in memory. Only if that
 * works, and every entry is then sound, does the file see it. So head() need
 * not know what is wrong, only what may be tried.
 */
#ifndef _VDISK_REPAIR_H
#define _VDISK_REPAIR_H

#include "format.h"

struct vdisk_mend {
	const char *what;	/* the fault, a phrase; NULL: no more */
	u64 value;
	const char *done;	/* what the plan does, a phrase in lower case */
	bool told;		/* walk() tells the fault, too */
	bool loses;		/* an entry that names something sound goes */
	bool table;		/* it is an entry for a table */
	u64 claim_off;		/* these bytes get an owner, or become one's */
	u64 claim_len;		/* 0 = none do */
	struct vdisk_plan plan;
	u8 tail[VDISK_TAIL_MAX];	/* what VDISK_OP_TAIL writes */
};

/* Units of one block of a table. */
struct vdisk_many {
	u32 nr;
	u64 off[VDISK_BLOCK / 4];
};

/*
 * A field of the header that says how tables and units are found. What asks
 * others to keep off (versions, features) is none: it is not for us to doubt.
 */
struct vdisk_field {
	const char *name;
	u16 off;		/* in the file */
	u8 width;		/* 1 to 8 */
	bool big;
	bool size;		/* it says the disk's length, or how far tables go */
	bool opened;		/* doubted only if the image opens with it */
};

struct vdisk_repair {
	const struct vdisk_format *format;
	const struct vdisk_field *fields;
	u32 nr_fields;
	u32 least_align;	/* where units may lie if need be; 0 = as the
				 * geometry says
				 */

	/*
	 * Step. The @n-th plan to try on an image whose headers are at fault;
	 * mend->done says what it does, NULL that there are no more. A step that
	 * ends with -EUCLEAN has no plan for this @n. Optional.
	 */
	int (*head)(const struct vdisk_params *params, struct vdisk_step *step,
		    u32 n, struct vdisk_mend *mend);

	/*
	 * Step. The next fault of an open image that walk() cannot see, as it is
	 * no matter for a reader: tables that are there twice and differ, what
	 * other programs go by. *@cursor is 0 at first and opaque after.
	 * mend->what NULL: the walk may go on with nothing found; *@cursor ~0: it
	 * is over. @taken: the bytes claimed last time have an owner, so what
	 * else to do? *@cursor is then the one of that call. Optional.
	 */
	int (*copies)(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 *cursor, bool taken, struct vdisk_mend *mend);

	/*
	 * As walk(), with what is at hand, but of many units at once, each of
	 * unit_len. None: walk() has to go on. Optional.
	 */
	void (*many)(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 *cursor, struct vdisk_many *many);

	/*
	 * Step. PUBLISH ops after which the entry of the unit that walk() gave as
	 * @range names the bytes from @to on, or nothing if @to is 0. Required.
	 */
	int (*point)(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_range *range, u64 to,
		     struct vdisk_plan *plan);

	/*
	 * Of an open image whose tables are there twice: the geometry by which
	 * walk() goes through the other set. False: there is none. Optional.
	 */
	bool (*other)(const struct vdisk_geom *geom, struct vdisk_geom *other);

	/*
	 * Step. Bytes owned that walk() does not tell of, as other programs put
	 * them there. *@cursor is 0 at first and opaque after, ~0: it is over. A
	 * range of length 0 is none, but it goes on. No fault is told. Optional.
	 */
	int (*more)(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_range *range);
};

/* For formats: what head() ends with if it has no plan for this @n. */
int vdisk_mend_nothing(struct vdisk_step *step, u64 value);

/* NULL: images of this format are not repaired. */
const struct vdisk_repair *vdisk_repair_find(const struct vdisk_format *format);

extern const struct vdisk_repair vdisk_vhd_repair;
extern const struct vdisk_repair vdisk_vmdk_repair;
extern const struct vdisk_repair vdisk_cowd_repair;
extern const struct vdisk_repair vdisk_parallels_repair;
extern const struct vdisk_repair vdisk_qed_repair;

#endif /* _VDISK_REPAIR_H */
