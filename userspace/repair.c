// SPDX-License-Identifier: GPL-2.0-or-later
/* Finding what is wrong with an open image, and putting it right. */
#include <stdio.h>
#include <stdlib.h>

#include "out.h"
#include "progress.h"
#include "repair.h"

#define MOST_WAITING 8192u

void repair_say(struct repair *repair, const char *fault, const char *done)
{
	if (done)
		repair->mended++;
	else
		repair->faults++;
	progress_clear();
	repair->say(repair->arg, fault, done);
}

void repair_note(struct repair *repair, const char *fault, const char *done)
{
	repair->waiting = out_grow(repair->waiting, repair->nr_waiting + 2,
				   sizeof(*repair->waiting));
	repair->waiting[repair->nr_waiting++] = out_text("%s", fault);
	repair->waiting[repair->nr_waiting++] = out_text("%s", done);
}

static void say_waiting(struct repair *repair, bool done)
{
	unsigned int i;

	for (i = 0; i < repair->nr_waiting; i += 2) {
		if (done)
			repair_say(repair, repair->waiting[i],
				   repair->waiting[i + 1]);
		free(repair->waiting[i]);
		free(repair->waiting[i + 1]);
	}
	free(repair->waiting);
	repair->waiting = NULL;
	repair->nr_waiting = 0;
}

int repair_commit(struct repair *repair, struct vdisk_image *image)
{
	int r = vdisk_image_commit(image);

	say_waiting(repair, !r);
	return r;
}

static bool say_fault(void *arg, const char *what)
{
	repair_say(arg, what, NULL);
	return true;
}

static void say_value(struct repair *repair, const char *what, u64 value,
		      const char *done)
{
	struct vdisk_fault fault;

	vdisk_fault_set(&fault, 0, what, value);
	if (done)
		repair_note(repair, fault.text, done);
	else
		repair_say(repair, fault.text, NULL);
}

/*-----------------------------------------------------------------
 * What is there twice
 */

static int next_copy(struct vdisk_image *image, u64 *cursor, bool taken,
		     struct vdisk_mend *mend)
{
	const struct vdisk_repair *ops = vdisk_repair_find(image->format);
	struct vdisk_drive d;
	int r;

	vdisk_drive_start(&d, image);
	do {
		r = ops->copies(&image->geom, &d.step, cursor, taken, mend);
	} while (vdisk_drive_again(&d, image, &r));
	return r;
}

struct owned {
	u64 off, len;
	bool taken;
};

/* Is a part of the bytes somebody's? Asks the tables as they are by now. */
static int is_owned(struct vdisk_image *image, u64 off, u64 len, bool *taken)
{
	struct vdisk_range range;
	u64 cursor = 0;
	int r;

	*taken = off < image->geom.data_off;
	do {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r == -EUCLEAN)
			range.len = 1;
		else if (r)
			return r;
		else if (range.len && range.off < off + len &&
			 off < range.off + range.len)
			*taken = true;
	} while (range.len && !*taken);
	return 0;
}

static int mend_copy(struct vdisk_image *image, const struct vdisk_mend *mend)
{
	int r;

	memcpy(image->geom.tail, mend->tail, image->geom.tail_len);
	r = vdisk_plan_before(image, &mend->plan, VDISK_FLUSH_BEFORE);
	return r ? r : vdisk_plan_publish(image, &mend->plan);
}

/* All of them: told, or mended. */
static int do_copies(struct repair *repair, struct vdisk_image *image,
		     bool write)
{
	const struct vdisk_repair *ops = vdisk_repair_find(image->format);
	u64 cursor = 0, at;
	struct vdisk_mend mend;
	bool taken;
	int r;

	if (!ops || !ops->copies)
		return 0;
	while (cursor != ~0ull) {
		at = cursor;
		taken = false;
		r = next_copy(image, &cursor, false, &mend);
		if (!r && mend.what && mend.claim_len)
			r = is_owned(image, mend.claim_off, mend.claim_len,
				     &taken);
		if (!r && taken) {
			cursor = at;
			r = next_copy(image, &cursor, true, &mend);
		}
		if (!r && mend.what && write)
			r = mend_copy(image, &mend);
		if (r)
			return r;
		if (mend.what && (write || !mend.told))
			say_value(repair, mend.what, mend.value,
				  write ? mend.done : NULL);
	}
	return write ? repair_commit(repair, image) : 0;
}

/*-----------------------------------------------------------------
 * Entries that name nothing
 */

/*
 * What the file has of the unit stays: the file is made as long as the entry
 * says. Other units may turn out to lie there, too; then they are told apart.
 */
static int lengthen(struct vdisk_image *image, const struct vdisk_range *range)
{
	u64 end = range->off + image->geom.unit_len;
	struct vdisk_plan plan = { 0 };
	struct vdisk_drive d;
	int r;

	vdisk_drive_start(&d, image);
	do {
		r = image->format->grow(&image->geom, &d.step, end, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	if (!r)
		r = vdisk_plan_before(image, &plan, VDISK_FLUSH_BEFORE);
	if (!r) {
		image->data_end = end;
		image->alloc_off = vdisk_max(image->alloc_off, end);
	}
	return r;
}

/* A part of the unit is in the file, and a part behind its end. */
static bool is_cut(const struct vdisk_image *image,
		   const struct vdisk_range *range)
{
	const struct vdisk_geom *geom = &image->geom;
	u64 end = geom->tail_len ? image->data_end : image->store->length;

	return range->off >= geom->data_off && range->off < end &&
	       geom->unit_len > end - range->off && !image->store->device &&
	       !(geom->flags & VDISK_GEOM_PACKED);
}

/*
 * A damaged record may be somebody's only copy; it is cleared if it is another
 * entry's, and of no use to this one.
 */
static int may_clear(struct vdisk_image *image, const struct vdisk_range *range,
		     bool *yes)
{
	*yes = true;
	if (!(image->geom.flags & VDISK_GEOM_PACKED) ||
	    range->off < image->geom.data_off || range->off >= image->data_end)
		return 0;
	return is_owned(image, range->off, 1, yes);
}

static int do_entry(struct repair *repair, struct vdisk_image *image,
		    const struct vdisk_range *range, bool clear)
{
	struct vdisk_fault fault = *image->fault;
	const char *done = "the file made longer, zeroes added";
	bool yes;
	int r;

	if (range->kind != VDISK_RANGE_UNIT)
		return 0;
	if (!clear && !is_cut(image, range))
		return 0;
	if (!clear) {
		r = lengthen(image, range);
	} else {
		r = may_clear(image, range, &yes);
		if (r || !yes)
			return r;
		r = repair_point(image, range, 0);
		done = "entry cleared";
	}
	if (!r)
		repair_note(repair, fault.text, done);
	/* No room for it, or no way to say so: it stays as it is. */
	return r == -EUCLEAN || r == -ENOSPC || r == -EFBIG ? 0 : r;
}

static int do_entries(struct repair *repair, struct vdisk_image *image,
		      bool clear)
{
	struct vdisk_range range;
	u64 cursor = 0;
	int r;

	do {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r == -EUCLEAN) {
			r = do_entry(repair, image, &range, clear);
			if (!r && repair->nr_waiting >= MOST_WAITING)
				r = repair_commit(repair, image);
			range.len = 1;	/* it is not over */
		}
		if (r)
			return r;
	} while (range.len);
	return repair_commit(repair, image);
}

/*-----------------------------------------------------------------*/

/* All faults, as things are; @data: compressed units are read, too. */
static int look(struct repair *repair, struct vdisk_image *image,
		struct own_report *rep, bool data)
{
	struct own_options opt = {
		.say = say_fault, .arg = repair, .progress = "checking",
	};
	int r;

	r = own_check(image, &opt, rep);
	if (r >= 0)
		r = do_copies(repair, image, false);
	if (!r && data)
		r = repair_read_packed(repair, image);
	return r;
}

static void say_nothing(void *arg, const char *fault, const char *done)
{
}

/* How many faults of tables there are, without a word. */
static int count(struct vdisk_image *image, struct own_report *rep, u64 *faults)
{
	struct repair silent = { .say = say_nothing };
	int r = look(&silent, image, rep, false);

	*faults = silent.faults;
	return r;
}

/* Can all that is compressed be read? It does not change, but is long to do. */
static int count_damaged(struct vdisk_image *image, u64 *faults)
{
	struct repair silent = { .say = say_nothing };
	int r = repair_read_packed(&silent, image);

	*faults = silent.faults;
	return r;
}

/* From here on the image may be written, though it was opened for reading. */
static int arm(struct vdisk_image *image)
{
	const struct vdisk_geom *geom = &image->geom;
	struct own_options opt = { 0 };
	struct own_report rep;
	int r;

	image->opts.write = true;
	image->zero_off = image->store->device ? ~0ull : image->store->length;
	image->alloc_off = geom->alloc_off;
	if (!(geom->flags & VDISK_GEOM_SCAN))
		return 0;
	r = own_check(image, &opt, &rep);
	image->alloc_off = vdisk_min(rep.end_off, geom->data_end);
	return r;
}

/* One line for all; settling cuts them off. */
static int finish(struct repair *repair, struct vdisk_image *image, u64 leaks)
{
	bool dirty = image->geom.flags & VDISK_GEOM_DIRTY;
	struct own_report rep;
	u64 faults;
	int r;

	r = leaks ? repair_leaks(repair, image) : 0;
	if (!r && leaks)
		r = do_copies(repair, image, true);
	if (!leaks)
		image->alloc_off = image->data_end;
	if (r || (!dirty && !image->marked && !leaks))
		return r;
	/* Marked as a writer would: what becomes of a stream is all in there. */
	r = dirty ? vdisk_image_change(image) : 0;
	image->changed = true;
	if (!r)
		r = vdisk_image_settle(image);
	if (r)
		return r;
	if (dirty)
		repair_say(repair, "Image was not closed", "mark cleared");
	image->geom.flags &= ~(u32)VDISK_GEOM_DIRTY;
	image->geom.data_end = image->data_end;
	r = count(image, &rep, &faults);
	if (!r && rep.leaks < leaks) {
		say_value(repair, "Leaked clusters", leaks - rep.leaks,
			  "given back");
		r = repair_commit(repair, image);
		repair->leaks_mended += leaks - rep.leaks;
	}
	return r;
}

static int mend(struct repair *repair, struct vdisk_image *image)
{
	struct own_report rep;
	u64 faults;
	int r;

	r = arm(image);
	if (!r)
		r = do_entries(repair, image, false);
	if (!r)
		r = repair_overlaps(repair, image);
	if (!r)
		r = count(image, &rep, &faults);
	if (!r && !rep.overlaps && faults) {
		/* Only now is it known that no table lies on anything. */
		r = do_copies(repair, image, true);
		if (!r)
			r = do_entries(repair, image, true);
		if (!r)
			r = repair_overlaps(repair, image);
		if (!r)
			r = do_copies(repair, image, true);
		if (!r)
			r = count(image, &rep, &faults);
	}
	if (!r && !faults)
		r = count_damaged(image, &faults);
	if (!r && !faults)
		r = finish(repair, image, rep.leaks);
	image->opts.write = false;
	say_waiting(repair, false);
	return r;
}

int repair_image(struct repair *repair, struct vdisk_image *image)
{
	const struct vdisk_geom *geom = &image->geom;
	bool read_only = geom->flags & VDISK_GEOM_RDONLY;
	struct own_report rep;
	int r = 0;

	/* Free is what a repair says is free, after it, not what a walk says now. */
	image->scanned = true;
	if (repair->write && vdisk_repair_find(image->format) && !read_only)
		r = mend(repair, image);
	if (!r)
		r = look(repair, image, &rep, true);
	if (r)
		return r;
	progress_clear();
	repair->rep.units += rep.units;
	repair->rep.bad += rep.bad;
	repair->rep.overlaps += rep.overlaps;
	repair->rep.leaks += rep.leaks;
	repair->rep.end_off = vdisk_max(repair->rep.end_off, rep.end_off);
	if (geom->flags & VDISK_GEOM_DIRTY) {
		repair_say(repair, "Image was not closed", NULL);
		repair->dirty = true;
	}
	if (read_only && !repair->why_ro)
		repair->why_ro = geom->why_ro;
	return 0;
}
