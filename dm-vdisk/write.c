// SPDX-License-Identifier: GPL-2.0
/* Allocating writes: a place for sectors that have none. */
#include "plan.h"

#include <linux/slab.h>

#define FILL_CHUNK (64u << 10)

/* Now that the units are ours: did another write make them meanwhile? */
static int still_missing(struct vdisk_writer *w)
{
	struct vdisk_where where;
	struct vdisk_image *image = w->image;
	int r;

	r = vdisk_lookup_wait(image->v, (int)image->v->nr_layers - 1,
			      image->first_sec + w->ask.sector, w->ask.sectors,
			      &where);
	if (r)
		return r;
	if (where.kind == VDISK_DATA && where.image == image)
		return -EAGAIN;
	/* Only this run is known to be missing; the next may have a place. */
	w->ask.sectors = where.sectors;
	return 0;
}

/* What the format needs for its plan: 0; 1 if the bio was parked; or -errno. */
static int provide(struct vdisk_writer *w)
{
	struct vdisk_image *image = w->image;
	struct vdisk_step *step = &w->feed.step;

	if (step->need.kind == VDISK_NEED_BYTES)
		return vdisk_feed_bytes(&w->feed);
	if (step->need.kind == VDISK_NEED_UNIT) {
		w->unit_len = step->need.len;
		return vdisk_space_get(image, &step->need, &step->unit,
				       &w->fresh);
	}
	/*
	 * Whoever made a table has published it before the claim is ours: look
	 * again, it may be the one that is missing.
	 */
	if (!w->claim.table)
		return vdisk_claim_table(w) ? 0 : 1;
	w->table_len = step->need.len;
	return vdisk_space_get(image, &step->need, &step->table, NULL);
}

int vdisk_write_plan(struct vdisk_writer *w)
{
	struct vdisk_image *image = w->image;
	struct vdisk_step *step = &w->feed.step;
	unsigned int seq;
	int r;

	vdisk_feed_init(&w->feed, image);
	do {
		do {
			seq = vdisk_feed_begin(&w->feed);
			r = image->format->alloc(&image->geom, step, &w->ask,
						 &w->plan);
		} while (vdisk_feed_retry(&w->feed, seq));
		if (r != -EAGAIN)
			break;
		r = provide(w);
	} while (!r);
	vdisk_feed_done(&w->feed);
	return r == -EUCLEAN ? vdisk_image_refused(image, step) : r;
}

/* Sectors [from, to) of the image, which lie at @off in the file, are zero. */
static int fill_zero(struct vdisk_writer *w, u64 off, u64 from, u64 to)
{
	struct vdisk_backing *b = w->image->backing;

	if (from >= to || w->fresh)
		return 0;
	return b->ops->zero(b, off, (to - from) << VDISK_SHIFT, false);
}

static int fill_parent(struct vdisk_writer *w, u64 off, u64 from, u64 to)
{
	struct vdisk_image *image = w->image;
	int top = (int)image->v->nr_layers - 1;
	u64 end = min(to, image->geom.size_sec), n;
	u64 chunk = FILL_CHUNK;
	void *buf;
	int r = 0;

	if (from >= to)
		return 0;
	end = min(end, image->end_sec - image->first_sec);
	buf = kmalloc(chunk, GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN);
	if (!buf) {
		chunk = PAGE_SIZE;
		buf = kmalloc(chunk, GFP_NOIO);
	}
	if (!buf)
		return -ENOMEM;
	for (; !r && from < end; from += n, off += n << VDISK_SHIFT) {
		n = min(end - from, chunk >> VDISK_SHIFT);
		r = vdisk_read_below(image->v, top, image->first_sec + from,
				     buf, n);
		if (!r)
			r = image->backing->ops->rw(image->backing, true, off,
						    buf, n << VDISK_SHIFT);
	}
	kfree(buf);
	return r ?: fill_zero(w, off, from, to);
}

/* What surrounds the guest's sectors in the units that the plan makes. */
static int fill(struct vdisk_writer *w)
{
	const struct vdisk_plan *plan = &w->plan;
	u64 first = plan->first_sec, end = first + plan->made_sec;
	u64 from = w->ask.sector, to = from + plan->sectors;
	int (*how)(struct vdisk_writer *w, u64 off, u64 from, u64 to);
	int r;

	if (plan->fill == VDISK_FILL_NONE || !plan->made_sec)
		return 0;
	how = plan->fill == VDISK_FILL_PARENT && w->image->v->nr_layers > 1 ?
	      fill_parent : fill_zero;
	r = how(w, plan->first_off, first, from);
	if (!r)
		r = how(w, plan->first_off + ((to - first) << VDISK_SHIFT), to,
			end);
	return r;
}

static int write_guest(struct vdisk_writer *w)
{
	DECLARE_COMPLETION_ONSTACK(done);
	struct vdisk_seg seg = { .waiter = &done };

	if (!bio_has_data(vdisk_io_bio(w->io)))
		return fill_zero(w, w->plan.data_off, 0, w->plan.sectors);
	vdisk_io_start(&seg, w->io, w->image->backing, w->plan.data_off,
		       w->plan.sectors);
	seg.backing->ops->submit(seg.backing, &seg, false);
	wait_for_completion_io(&done);
	return blk_status_to_errno(seg.status);
}

/* DATA, whole, then PUBLISH. */
static int run_plan(struct vdisk_writer *w)
{
	int r;

	r = vdisk_plan_run(w->image, &w->plan, VDISK_BEFORE, 0, 0);
	w->started = true;
	if (!r)
		r = vdisk_plan_run(w->image, &w->plan, VDISK_IN_DATA, 0, 0);
	if (!r)
		r = vdisk_pins_take(&w->pins, w->image, &w->plan);
	if (!r)
		r = fill(w);
	if (!r)
		r = write_guest(w);
	if (!r)
		vdisk_plan_publish(w->image, &w->plan, &w->pins, NULL);
	vdisk_pins_drop(&w->pins);
	return r;
}

static int plain_write(struct vdisk_writer *w)
{
	int r = vdisk_write_plan(w);

	return r ?: run_plan(w);
}

void vdisk_write_give_back(struct vdisk_writer *w)
{
	const struct vdisk_step *step = &w->feed.step;

	/* Formats ask for a table first: what came last is taken back first. */
	if (step->unit.count)
		vdisk_space_put(w->image, step->unit.off, step->unit.off +
				(u64)step->unit.count * w->unit_len, w->started);
	if (step->table.count)
		vdisk_space_put_table(w->image, step->table.off, w->table_len,
				      w->started);
}

s64 vdisk_write_alloc(struct vdisk_io *io, struct vdisk_image *image,
		      u64 sector, u64 sectors)
{
	struct vdisk_writer *w;
	s64 r;

	w = kzalloc(sizeof(*w), GFP_NOIO);
	if (!w)
		return -ENOMEM;
	w->io = io;
	w->image = image;
	w->ask.sector = sector;
	w->ask.sectors = min_t(u64, sectors, VDISK_MAX_ASK);
	if (!vdisk_claim_take(w, sector, w->ask.sectors)) {
		kfree(w);
		return 0;
	}
	vdisk_count(image->v, alloc);
	r = still_missing(w);
	/* First of all: making room for a plan may already move a footer. */
	if (!r)
		r = vdisk_space_begin(image);
	if (!r && image->geom.flags & VDISK_GEOM_PACKED)
		r = vdisk_packed_write(w);
	else if (!r)
		r = plain_write(w);
	if (r)
		vdisk_write_give_back(w);
	else if (unlikely(READ_ONCE(image->v->space)))
		vdisk_nospace_over(image->v);
	vdisk_claim_drop(w);
	if (!r)
		r = w->plan.sectors;
	else if (r == 1)	/* parked behind the maker of a table */
		r = 0;
	kfree(w);
	return r;
}
