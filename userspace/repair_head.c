// SPDX-License-Identifier: GPL-2.0-or-later
/* Headers: each way to mend them is tried in memory first. */
#include <stdio.h>
#include <stdlib.h>

#include "out.h"
#include "repair.h"

int repair_run_mend(struct vdisk_store *store, const struct vdisk_mend *mend,
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

int repair_next_head(const struct vdisk_format *format,
		     struct vdisk_store *store,
		     const struct vdisk_image_opts *opts, u32 n,
		     struct vdisk_mend *mend)
{
	const struct vdisk_repair *ops = vdisk_repair_find(format);
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

/*
 * No entry is wrong, no byte has two owners, and not much is lost: or the tables
 * are looked for in a wrong place.
 */
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
	return !r && !rep.bad && !rep.overlaps &&
	       rep.leaks <= vdisk_max(rep.units / 100,
				      vdisk_min(4, rep.units / 2));
}

/*
 * An image that does not open at all has to be sound afterwards: that is the
 * proof that what was put into its headers is what was there.
 */
static bool try_head(const struct vdisk_format *format,
		     struct vdisk_store *store,
		     const struct vdisk_image_opts *opts,
		     const struct vdisk_mend *mend, bool opened)
{
	struct vdisk_store *trial = repair_trial_new(store);
	struct vdisk_fault fault;
	bool opens, good;

	good = !repair_run_mend(trial, mend, &fault);
	good = good && !refused(format, trial, opts, &fault, &opens);
	if (good && !opened)
		good = is_sound(format, trial, opts);
	good = good && !repair_trial_apply(trial);
	vdisk_store_close(trial);
	return good;
}

/* The plans of the format, one after the other. What it did, or NULL. */
static const char *try_plans(const struct vdisk_format *format,
			     struct vdisk_store *store,
			     const struct vdisk_image_opts *opts, bool opens)
{
	const struct vdisk_repair *ops = vdisk_repair_find(format);
	struct vdisk_mend mend;
	u32 n;
	int r;

	for (n = 0; ops->head; n++) {
		r = repair_next_head(format, store, opts, n, &mend);
		if (r == -EUCLEAN)
			continue;
		if (r || !mend.done)
			break;
		if (try_head(format, store, opts, &mend, opens))
			return mend.done;
	}
	return NULL;
}

void repair_heads(struct repair *repair, const char *part,
		  const struct vdisk_format *format, struct vdisk_store *store,
		  const struct vdisk_image_opts *opts)
{
	struct vdisk_image_opts look = *opts;
	struct vdisk_fault fault;
	struct vdisk_mend mend;
	const char *done;
	char text[120], *said;
	bool opens;

	look.write = false;
	if (!vdisk_repair_find(format) ||
	    !refused(format, store, &look, &fault, &opens))
		return;
	/* One wrong bit is a smaller fault than a copy that is lost. */
	if (!opens && repair_doubt(format, store, &look, 0, false, 0, &mend,
				   text) &&
	    try_head(format, store, &look, &mend, opens))
		done = text;
	else
		done = try_plans(format, store, &look, opens);
	if (!done)
		return;
	said = out_text("%s%s%s", part ? out_name(part) : "", part ? ": " : "",
			fault.text);
	repair_say(repair, said, repair->write ? done : NULL);
	free(said);
}
