// SPDX-License-Identifier: GPL-2.0
/*
 * Where new units and tables go: behind the last one. The file grows by many
 * units at a time, because growing may cost a flush (VHD moves its footer), and
 * is cut again when the device rests.
 */
#include "plan.h"

#include <linux/random.h>
#include <linux/slab.h>

#define GROW_MIN (1u << 20)	/* bytes of room to make beyond what is needed */
#define GROW_MAX (64u << 20)
#define GROW_UNITS 16

struct find_end {
	const struct vdisk_image *image;
	u64 end;
};

static bool end_tell(void *arg, const struct vdisk_range *range)
{
	struct find_end *f = arg;

	/* What lies at the end of the room moves when the room grows. */
	if (range->kind != VDISK_RANGE_META ||
	    range->off < f->image->geom.data_end)
		f->end = max(f->end, range->off + range->len);
	return true;
}

/* The end of all that the tables own; once, where the file does not tell. */
static int find_end(struct vdisk_image *image)
{
	struct find_end f = { .image = image, .end = image->geom.data_off };
	int r;

	lockdep_assert_held(&image->grow_lock);
	/*
	 * The last writer may have died between a change of the tables and its
	 * flush: what they say now must not be undone by a power cut later.
	 */
	vdisk_backing_unsure(image->backing);
	r = vdisk_backing_flush(image->backing);
	if (!r)
		r = vdisk_pool_walk(image, end_tell, &f);
	if (r)
		return r;
	image->next_off = f.end;
	image->old_end = f.end;
	image->scanned = true;
	/* No trailer behind the data yet: the first growth writes one. */
	if (image->geom.flags & VDISK_GEOM_SCAN)
		image->room_end = f.end;
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
	/* To be full is no damage. */
	if (r == -EUCLEAN && feed.step.full)
		return -ENOSPC;
	return r == -EUCLEAN ? vdisk_image_refused(image, &feed.step) : r;
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
	u8 random[VDISK_RANDOM];

	get_random_bytes(random, sizeof(random));
	step->random = random;
	return image->format->mark(&image->geom, step, dirty, plan);
}

/*
 * The tail is durable at its new place. A unit may come to lie where it was
 * before, and must find zeroes there as everywhere in new space; else that is not
 * taken for fresh.
 */
static void wipe_tail(struct vdisk_image *image, u64 off)
{
	u64 len = round_up(image->geom.tail_len, VDISK_SECTOR);

	if (len && off >= image->fresh_off &&
	    image->backing->ops->zero(image->backing, off, len, false))
		image->fresh_off = off + len;
}

static int run_grow(struct vdisk_image *image, u64 new_end)
{
	struct vdisk_plan *plan = kmalloc(sizeof(*plan), GFP_NOIO);
	int r;

	if (!plan)
		return -ENOMEM;
	r = run_step_plan(image, plan, step_grow, new_end);
	if (!r)
		r = vdisk_plan_run(image, plan, VDISK_BEFORE, 0, 0);
	kfree(plan);
	return r;
}

/*
 * What is longer than before has its tail in the wrong place, or a part of one. If
 * that cannot be cut off, nothing up to the file's end is fresh.
 */
static void cut_back(struct vdisk_image *image)
{
	struct vdisk_backing *b = image->backing;

	lockdep_assert_held(&image->grow_lock);
	if (!b->device && b->ops->set_len(b, image->file_len))
		image->fresh_off = max(image->fresh_off, vdisk_backing_len(b));
}

/* Let units end at @new_end, or change nothing. */
static int grow_to(struct vdisk_image *image, u64 new_end)
{
	struct vdisk_backing *b = image->backing;
	int r;

	lockdep_assert_held(&image->grow_lock);
	r = run_grow(image, new_end);
	if (!r && image->v->args.falloc && new_end > image->room_end)
		r = b->ops->reserve(b, image->room_end,
				    new_end - image->room_end);
	if (r) {
		cut_back(image);
		return r;
	}
	wipe_tail(image, image->room_end);
	image->room_end = new_end;
	WRITE_ONCE(image->file_len, vdisk_backing_len(b));
	smp_wmb();	/* with vdisk_step_limits(): first the bytes */
	WRITE_ONCE(image->data_end, new_end);
	image->grown = true;
	return 0;
}

/* What the table line wants the file to grow by, or some units. */
static u64 growth(const struct vdisk_image *image)
{
	u64 wanted = image->v->args.prealloc_sec << VDISK_SHIFT;

	return wanted ?: clamp_t(u64, GROW_UNITS * image->geom.unit_len,
				 GROW_MIN, GROW_MAX);
}

/* Room for units up to @end at least. */
static int make_room(struct vdisk_image *image, u64 end)
{
	u64 least = round_up(max(end, image->data_end), VDISK_SECTOR);
	u64 best = round_up(max(image->room_end + growth(image), least),
			    VDISK_SECTOR);
	int r;

	lockdep_assert_held(&image->grow_lock);
	if (image->backing->device) {
		/* All of the device at once: there is nothing to gain by less. */
		best = round_down(vdisk_backing_len(image->backing) -
				  image->geom.tail_len, VDISK_SECTOR);
		if (end > best)
			return -ENOSPC;
		least = best;
	}
	r = grow_to(image, best);
	/* There may not be that much, but enough for now. */
	if (r == -ENOSPC && least < best)
		r = grow_to(image, least);
	return r;
}

/* Tables are not aligned as units are. */
static bool is_place(const struct vdisk_image *image, u64 off)
{
	return off == vdisk_align(off, image->geom.unit_align,
				  image->geom.unit_base);
}

/* Whole units in [@off, @end) are free; @off is where one may start. */
static void free_units(struct vdisk_image *image, u64 off, u64 end, bool fresh)
{
	u64 unit = image->geom.unit_len;

	lockdep_assert_held(&image->grow_lock);
	for (; end - off >= unit && is_place(image, off); off += unit)
		vdisk_pool_add(image, off, fresh);
}

/* What aligns a table is left out before it: grains may be shorter than that. */
static void free_gap(struct vdisk_image *image, u64 off, u64 end)
{
	off = vdisk_align(off, image->geom.unit_align, image->geom.unit_base);
	if (off < end && !(image->geom.flags & VDISK_GEOM_PACKED))
		free_units(image, off, end, off >= image->fresh_off);
}

/* Behind the last unit. */
static int append(struct vdisk_image *image, const struct vdisk_need *need,
		  struct vdisk_space *space, bool *fresh)
{
	u64 off, end, from;
	int r = 0;

	lockdep_assert_held(&image->grow_lock);
	if (!image->scanned)
		r = find_end(image);
	if (r)
		return r;
	from = max(image->next_off, image->geom.data_off);
	off = vdisk_align(from, need->align, need->base);
	end = off + (u64)need->len * need->count;
	if (end > image->room_end)
		r = make_room(image, end);
	if (r)
		return r;
	free_gap(image, from, off);
	image->next_off = end;
	space->off = off;
	space->count = need->count;
	if (fresh)
		*fresh = off >= image->fresh_off;
	return 0;
}

static bool take_spare(struct vdisk_image *image, const struct vdisk_need *need,
		       struct vdisk_space *space)
{
	lockdep_assert_held(&image->grow_lock);
	if (need->kind != VDISK_NEED_TABLE || need->len != image->spare_len)
		return false;
	space->off = image->spare_off;
	space->count = 1;
	image->spare_len = 0;
	return true;
}

int vdisk_space_get(struct vdisk_image *image, const struct vdisk_need *need,
		    struct vdisk_space *space, bool *fresh)
{
	int r = 0;

	mutex_lock(&image->grow_lock);
	if (!take_spare(image, need, space) &&
	    !vdisk_pool_take(image, need, space, fresh))
		r = append(image, need, space, fresh);
	mutex_unlock(&image->grow_lock);
	return r;
}

/*
 * Is there nothing behind what ends at @end but what aligns a unit? No table is:
 * only one plan at a time makes one, and the next takes the one it puts back.
 */
static bool is_last(const struct vdisk_image *image, u64 end)
{
	return end <= image->next_off &&
	       vdisk_align(end, image->geom.unit_align,
			   image->geom.unit_base) >= image->next_off;
}

/* Then appending goes on where it began. */
static bool put_last(struct vdisk_image *image, u64 off, u64 end, bool used)
{
	lockdep_assert_held(&image->grow_lock);
	if (!is_last(image, end))
		return false;
	image->next_off = off;
	if (used)
		image->fresh_off = max(image->fresh_off, end);
	return true;
}

void vdisk_space_put(struct vdisk_image *image, u64 off, u64 end, bool used)
{
	mutex_lock(&image->grow_lock);
	if (!put_last(image, off, end, used))
		free_units(image, off, end, false);
	mutex_unlock(&image->grow_lock);
}

/* One plan at a time makes a table, and takes the spare one: one is enough. */
void vdisk_space_put_table(struct vdisk_image *image, u64 off, u32 len,
			   bool used)
{
	mutex_lock(&image->grow_lock);
	if (!put_last(image, off, off + len, used)) {
		image->spare_off = off;
		image->spare_len = len;
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
		vdisk_pool_add(image, off, fresh);
	mutex_unlock(&image->grow_lock);
}

/* Free units at the very end need not stay in the file, nor a spare table. */
static void drop_last(struct vdisk_image *image)
{
	bool spare;

	do {
		while (vdisk_pool_take_last(image, image->next_off,
					    &image->next_off))
			image->grown = true;
		spare = image->spare_len &&
			is_last(image, image->spare_off + image->spare_len);
		if (spare) {
			image->next_off = image->spare_off;
			image->spare_len = 0;
			image->grown = true;
		}
	} while (spare);
}

static int mark_dirty(struct vdisk_image *image, struct vdisk_plan *plan)
{
	int r;

	lockdep_assert_held(&image->grow_lock);
	r = run_step_plan(image, plan, step_mark, true);
	return r ?: vdisk_plan_run(image, plan, VDISK_BEFORE, 0, 0);
}

static int space_mark(struct vdisk_image *image)
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
		r = mark_dirty(image, plan);
		if (!r)
			WRITE_ONCE(image->marked, true);
	}
	mutex_unlock(&image->grow_lock);
	kfree(plan);
	return r;
}

/*
 * Scan once, when the mark is durable: it may end what others kept in the file.
 * What the tables own must be known of before they say anything new.
 */
static int start_scan(struct vdisk_image *image)
{
	int r = 0;

	if (READ_ONCE(image->scan) != VDISK_SCAN_WAITS)
		return 0;
	mutex_lock(&image->grow_lock);
	if (!image->scanned)
		r = find_end(image);
	if (!r)
		vdisk_pool_start(image);
	mutex_unlock(&image->grow_lock);
	return r;
}

int vdisk_space_begin(struct vdisk_image *image)
{
	int r = space_mark(image);

	if (!r)
		r = start_scan(image);
	if (!r)
		vdisk_pool_wait(image);
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
	if (!r)
		r = vdisk_plan_run(image, plan, VDISK_BEFORE, 0, 0);
	/* The file may say still that it is in use: it is our own mark. */
	if (r)
		WRITE_ONCE(image->marked, true);
	return r;
}

int vdisk_space_stamp(struct vdisk_image *image)
{
	struct vdisk_plan *plan = kmalloc(sizeof(*plan), GFP_NOIO);
	int r;

	if (!plan)
		return -ENOMEM;
	mutex_lock(&image->grow_lock);
	r = mark_dirty(image, plan);
	/* A mark that an earlier table left stays until the image rests. */
	if (!r && !image->marked)
		r = mark_clean(image, plan);
	mutex_unlock(&image->grow_lock);
	kfree(plan);
	return r;
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
