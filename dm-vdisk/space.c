// SPDX-License-Identifier: GPL-2.0
/*
 * Where new units and tables go: behind the last one. The file grows by many
 * units at a time, because growing may cost a flush (VHD moves its footer), and
 * is cut again when the device rests.
 */
#include "plan.h"

#include <linux/slab.h>

#define GROW_MIN (1u << 20)	/* bytes of room to make beyond what is needed */
#define GROW_MAX (64u << 20)
#define GROW_UNITS 16

/* The end of all that the tables own; once, where the file does not tell. */
static int find_end(struct vdisk_image *image)
{
	struct vdisk_range range;
	struct vdisk_feed feed;
	u64 cursor = 0, end = image->geom.data_off;
	int r;

	/*
	 * The last writer may have died between a change of the tables and its
	 * flush: what they say now must not be undone by a power cut later.
	 */
	vdisk_backing_wrote(image->backing);
	r = vdisk_backing_flush(image->backing);
	if (r)
		return r;
	vdisk_feed_init(&feed, image);
	for (;;) {
		r = image->format->walk(&image->geom, &feed.step, &cursor,
					&range);
		if (r == -EAGAIN) {
			/* A walk passes over more blocks than it may pin. */
			if (feed.step.nr_views == VDISK_MAX_VIEWS)
				vdisk_feed_reset(&feed);
			r = vdisk_feed_bytes(&feed);
			if (!r)
				continue;
			break;
		}
		if (r == -EUCLEAN) {
			vdisk_image_complain(image, &feed.step);
			r = -EIO;
			break;
		}
		if (!range.len)
			break;
		/* What lies at the end of the room moves when the room grows. */
		if (range.kind != VDISK_RANGE_META ||
		    range.off < image->geom.data_end)
			end = max(end, range.off + range.len);
		cond_resched();
	}
	vdisk_feed_done(&feed);
	if (r)
		return r;
	image->next_off = end;
	image->scanned = true;
	/* No trailer behind the data yet: the first growth writes one. */
	if (image->geom.flags & VDISK_GEOM_SCAN)
		image->room_end = end;
	return 0;
}

static int run_step_plan(struct vdisk_image *image, struct vdisk_plan *plan,
			 int (*step)(struct vdisk_image *image,
				     struct vdisk_step *step, u64 arg,
				     struct vdisk_plan *plan), u64 arg)
{
	struct vdisk_feed feed;
	int r;

	vdisk_feed_init(&feed, image);
	while ((r = step(image, &feed.step, arg, plan)) == -EAGAIN) {
		r = vdisk_feed_bytes(&feed);
		if (r)
			break;
	}
	vdisk_feed_done(&feed);
	if (r == -EUCLEAN) {
		vdisk_image_complain(image, &feed.step);
		r = -EIO;
	}
	return r;
}

static int step_grow(struct vdisk_image *image, struct vdisk_step *step,
		     u64 new_end, struct vdisk_plan *plan)
{
	return image->format->grow(&image->geom, step, new_end, plan);
}

static int step_trim(struct vdisk_image *image, struct vdisk_step *step,
		     u64 end, struct vdisk_plan *plan)
{
	return image->format->trim(&image->geom, step, end, plan);
}

static int step_mark(struct vdisk_image *image, struct vdisk_step *step,
		     u64 dirty, struct vdisk_plan *plan)
{
	return image->format->mark(&image->geom, step, dirty, plan);
}

/*
 * The tail is durable at its new place. A unit may come to lie where it was
 * before, and must find zeroes there as everywhere in new space.
 */
static int wipe_tail(struct vdisk_image *image, u64 off)
{
	u64 len = round_up(image->geom.tail_len, VDISK_SECTOR);

	if (!len || off < image->fresh_off)
		return 0;
	return image->backing->ops->zero(image->backing, off, len);
}

/* Room for units up to @end at least. */
static int make_room(struct vdisk_image *image, u64 end)
{
	u64 extra = clamp_t(u64, GROW_UNITS * image->geom.unit_len, GROW_MIN,
			    GROW_MAX);
	u64 limit, new_end;
	struct vdisk_plan *plan;
	int r;

	lockdep_assert_held(&image->grow_lock);
	new_end = round_up(max(end + extra, image->data_end), VDISK_SECTOR);
	if (image->backing->device) {
		/* All of the device at once: there is nothing to gain by less. */
		limit = vdisk_backing_len(image->backing) -
			image->geom.tail_len;
		new_end = round_down(limit, VDISK_SECTOR);
		if (end > new_end)
			return -ENOSPC;
	}
	plan = kmalloc(sizeof(*plan), GFP_NOIO);
	if (!plan)
		return -ENOMEM;
	r = run_step_plan(image, plan, step_grow, new_end);
	if (!r)
		r = vdisk_plan_run(image, plan, VDISK_BEFORE, 0, 0);
	kfree(plan);
	if (!r)
		r = wipe_tail(image, image->room_end);
	if (r) {
		/* What is longer than before has its tail in the wrong place. */
		if (!image->backing->device)
			image->backing->ops->set_len(image->backing,
						     image->file_len);
		return r;
	}
	image->room_end = new_end;
	WRITE_ONCE(image->file_len, vdisk_backing_len(image->backing));
	WRITE_ONCE(image->data_end, new_end);
	image->grown = true;
	return 0;
}

/* Behind the last unit. */
static int append(struct vdisk_image *image, const struct vdisk_need *need,
		  struct vdisk_space *space, bool *fresh)
{
	u64 off, end;
	int r = 0;

	lockdep_assert_held(&image->grow_lock);
	if (!image->scanned)
		r = find_end(image);
	if (r)
		return r;
	off = vdisk_align(max(image->next_off, image->geom.data_off),
			  need->align, need->base);
	end = off + (u64)need->len * need->count;
	if (end > image->room_end)
		r = make_room(image, end);
	if (r)
		return r;
	image->next_off = end;
	space->off = off;
	space->count = need->count;
	if (fresh)
		*fresh = off >= image->fresh_off;
	return 0;
}

/* A unit that was freed: it was a good place before, so it is one again. */
static bool reuse(struct vdisk_image *image, const struct vdisk_need *need,
		  struct vdisk_space *space, bool *fresh)
{
	unsigned long i = 0;
	void *entry;

	lockdep_assert_held(&image->grow_lock);
	if (need->kind != VDISK_NEED_UNIT || need->len != image->geom.unit_len)
		return false;
	entry = xa_find(&image->pool, &i, ULONG_MAX, XA_PRESENT);
	if (!entry)
		return false;
	xa_erase(&image->pool, i);
	space->off = (u64)i << VDISK_SHIFT;
	space->count = 1;
	*fresh = xa_to_value(entry);
	return true;
}

int vdisk_space_get(struct vdisk_image *image, const struct vdisk_need *need,
		    struct vdisk_space *space, bool *fresh)
{
	int r = 0;

	mutex_lock(&image->grow_lock);
	if (!reuse(image, need, space, fresh))
		r = append(image, need, space, fresh);
	mutex_unlock(&image->grow_lock);
	return r;
}

/* A place that the pool cannot remember, for want of memory, is leaked. */
static void pool_add(struct vdisk_image *image, u64 off, bool fresh)
{
	lockdep_assert_held(&image->grow_lock);
	xa_store(&image->pool, off >> VDISK_SHIFT, xa_mk_value(fresh),
		 GFP_NOIO);
}

void vdisk_space_put(struct vdisk_image *image, u64 off, u64 end, bool used)
{
	mutex_lock(&image->grow_lock);
	if (image->next_off == end) {
		image->next_off = off;
		if (used)
			image->fresh_off = max(image->fresh_off, end);
	} else if (end - off == image->geom.unit_len) {
		pool_add(image, off, false);
	}
	mutex_unlock(&image->grow_lock);
}

void vdisk_space_free(struct vdisk_image *image, u64 off, u64 len)
{
	struct vdisk_backing *b = image->backing;
	u64 unit = image->geom.unit_len;
	bool fresh;

	fresh = !b->ops->punch(b, off, len);
	if (image->geom.flags & VDISK_GEOM_PACKED)
		return;
	mutex_lock(&image->grow_lock);
	for (; len >= unit; len -= unit, off += unit)
		pool_add(image, off, fresh);
	mutex_unlock(&image->grow_lock);
}

/* Free units at the very end need not stay in the file. */
static void drop_last(struct vdisk_image *image)
{
	u64 unit = image->geom.unit_len;
	unsigned long i;

	while (image->next_off >= unit) {
		i = (image->next_off - unit) >> VDISK_SHIFT;
		if (!xa_erase(&image->pool, i))
			break;
		image->next_off -= unit;
		image->grown = true;
	}
}

int vdisk_space_mark(struct vdisk_image *image)
{
	struct vdisk_plan *plan;
	int r = 0;

	if (!(image->geom.flags & VDISK_GEOM_MARK) || READ_ONCE(image->marked))
		return 0;
	plan = kmalloc(sizeof(*plan), GFP_NOIO);
	if (!plan)
		return -ENOMEM;
	mutex_lock(&image->grow_lock);
	if (!image->marked) {
		r = run_step_plan(image, plan, step_mark, true);
		if (!r)
			r = vdisk_plan_run(image, plan, VDISK_BEFORE, 0, 0);
		if (!r)
			WRITE_ONCE(image->marked, true);
	}
	mutex_unlock(&image->grow_lock);
	kfree(plan);
	return r;
}

static int trim(struct vdisk_image *image, struct vdisk_plan *plan)
{
	u64 end;
	u32 i;
	int r;

	lockdep_assert_held(&image->grow_lock);
	if (image->scanned)
		drop_last(image);
	end = round_up(image->next_off, VDISK_SECTOR);
	if (!image->grown || !image->format->trim || image->backing->device ||
	    end >= image->room_end)
		return 0;
	r = run_step_plan(image, plan, step_trim, end);
	if (!r)
		r = vdisk_plan_run(image, plan, VDISK_BEFORE, 0, 0);
	if (r)
		return r;
	for (i = 0; !r && i < plan->nr; i++)
		if (plan->op[i].phase == VDISK_PUBLISH &&
		    plan->op[i].kind == VDISK_OP_LENGTH)
			r = image->backing->ops->set_len(image->backing,
							 plan->op[i].off);
	if (r)
		return r;
	image->room_end = end;
	image->data_end = end;
	image->file_len = vdisk_backing_len(image->backing);
	image->grown = false;
	return vdisk_backing_flush(image->backing);
}

/* The image says that all is well. Nobody has a plan; all is durable. */
static int mark_clean(struct vdisk_image *image, struct vdisk_plan *plan)
{
	int r;

	lockdep_assert_held(&image->grow_lock);
	r = run_step_plan(image, plan, step_mark, false);
	return r ?: vdisk_plan_run(image, plan, VDISK_BEFORE, 0, 0);
}

/*
 * Take the mark back, if no writer relies on it: one that claims its units from
 * now on finds it gone and waits for grow_lock to set it again.
 */
static bool unmark(struct vdisk_image *image)
{
	bool idle;

	lockdep_assert_held(&image->grow_lock);
	spin_lock_irq(&image->cache.lock);
	idle = image->marked && list_empty(&image->claims) &&
	       vdisk_commit_settled(image);
	if (idle)
		WRITE_ONCE(image->marked, false);
	spin_unlock_irq(&image->cache.lock);
	return idle;
}

int vdisk_space_rest(struct vdisk_image *image)
{
	struct vdisk_plan *plan;
	int r = 0;

	if (!READ_ONCE(image->marked) || READ_ONCE(image->v->failed))
		return 0;
	plan = kmalloc(sizeof(*plan), GFP_NOIO);
	if (!plan)
		return -ENOMEM;
	mutex_lock(&image->grow_lock);
	if (unmark(image))
		r = mark_clean(image, plan);
	mutex_unlock(&image->grow_lock);
	kfree(plan);
	return r;
}

int vdisk_space_stop(struct vdisk_image *image)
{
	struct vdisk_plan *plan;
	int r;

	if (!image->backing || READ_ONCE(image->v->failed))
		return 0;
	plan = kmalloc(sizeof(*plan), GFP_NOIO);
	if (!plan)
		return -ENOMEM;
	mutex_lock(&image->grow_lock);
	r = trim(image, plan);
	if (!r && unmark(image))
		r = mark_clean(image, plan);
	mutex_unlock(&image->grow_lock);
	kfree(plan);
	return r;
}
