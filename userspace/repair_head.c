// SPDX-License-Identifier: GPL-2.0-or-later
/* Headers: each way to mend them is tried in memory first. */
#include <stdio.h>

#include "out.h"
#include "repair.h"

/* Do @plan to @store; an image is only needed to hold the two together. */
static int run_mend(struct vdisk_store *store, const struct vdisk_mend *mend,
		    struct vdisk_fault *fault)
{
	struct vdisk_image image = { .store = store, .fault = fault };
	enum vdisk_phase phase = VDISK_BEFORE;
	u32 i, n;
	int r = 0;

	memcpy(image.geom.tail, mend->tail, sizeof(mend->tail));
	image.geom.tail_len = VDISK_SECTOR;
	for (;;) {
		for (i = 0; !r && i < mend->plan.nr; i += n) {
			n = vdisk_plan_together(&image.geom, &mend->plan, i);
			if (mend->plan.op[i].phase == phase)
				r = vdisk_plan_now(&image, &mend->plan.op[i], n);
		}
		if (!r)
			r = vdisk_store_flush(store);
		if (r || phase == VDISK_PUBLISH)
			return r;
		phase = VDISK_PUBLISH;
	}
}

static int next_head(const struct vdisk_repair *ops, struct vdisk_store *store,
		     const struct vdisk_image_opts *opts, u32 n,
		     struct vdisk_mend *mend)
{
	struct vdisk_fault fault;
	struct vdisk_image *image = out_alloc(1, sizeof(*image));
	struct vdisk_params params = {
		.file_len = store->length, .start_off = opts->start_off,
		.size_sec = opts->size_sec, .size_rule = opts->size_rule,
		.device = store->device,
	};
	struct vdisk_drive d;
	int r;

	*image = (struct vdisk_image){ .store = store, .fault = &fault };
	vdisk_drive_start(&d, image);
	do {
		r = ops->head(&params, &d.step, n, mend);
	} while (vdisk_drive_again(&d, image, &r));
	vdisk_image_drop(image);
	return r;
}

/* What open() says of it: true if there is something to be mended. */
static bool refused(const struct vdisk_format *format,
		    struct vdisk_store *store,
		    const struct vdisk_image_opts *opts,
		    struct vdisk_fault *fault, bool *opens)
{
	struct vdisk_image *image;
	bool read_only;
	int r;

	*fault->text = 0;
	r = vdisk_image_open(&image, format, store, opts, fault);
	*opens = !r;
	if (r)
		return r == -EUCLEAN;
	read_only = image->geom.flags & VDISK_GEOM_RDONLY;
	if (read_only)
		snprintf(fault->text, sizeof(fault->text), "%s",
			 image->geom.why_ro);
	vdisk_image_drop(image);
	return read_only;
}

/* No entry is wrong, and no byte has two owners. */
static bool is_sound(const struct vdisk_format *format,
		     struct vdisk_store *store,
		     const struct vdisk_image_opts *opts)
{
	struct own_options own = { 0 };
	struct vdisk_fault fault;
	struct vdisk_image *image;
	struct own_report rep;
	int r;

	if (vdisk_image_open(&image, format, store, opts, &fault))
		return false;
	r = own_check(image, &own, &rep);
	vdisk_image_drop(image);
	return !r && !rep.bad && !rep.overlaps;
}

/*
 * An image that does not open at all has to be sound afterwards: that is the
 * proof that what was put into its headers is what was there.
 */
static bool try_head(struct repair *repair, const struct vdisk_format *format,
		     struct vdisk_store **store,
		     const struct vdisk_image_opts *opts,
		     const struct vdisk_mend *mend, bool opened)
{
	struct vdisk_store *trial = repair_trial_new(*store);
	struct vdisk_fault fault;
	bool opens, good;

	good = !run_mend(trial, mend, &fault);
	good = good && !refused(format, trial, opts, &fault, &opens);
	if (good && !opened)
		good = is_sound(format, trial, opts);
	if (good && !repair->write) {
		repair_trial_keep(trial);
		*store = trial;
		return true;
	}
	vdisk_store_close(trial);
	return good && !run_mend(*store, mend, &fault);
}

void repair_heads(struct repair *repair, const struct vdisk_format *format,
		  struct vdisk_store **store,
		  const struct vdisk_image_opts *opts)
{
	const struct vdisk_repair *ops = vdisk_repair_find(format);
	struct vdisk_image_opts look = *opts;
	struct vdisk_fault fault;
	struct vdisk_mend mend;
	bool opens, found;
	u32 n;
	int r;

	look.write = false;
	if (!ops || !ops->head ||
	    !refused(format, *store, &look, &fault, &opens))
		return;
	for (n = 0, found = false; !found; n++) {
		r = next_head(ops, *store, &look, n, &mend);
		if (r == -EUCLEAN)
			continue;
		if (r || !mend.done)
			return;
		found = try_head(repair, format, store, &look, &mend, opens);
	}
	repair_say(repair, fault.text, repair->write ? mend.done : NULL);
}
