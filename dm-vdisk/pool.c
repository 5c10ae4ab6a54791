// SPDX-License-Identifier: GPL-2.0
/*
 * Free units below the end of an image. What discards free while the device runs
 * comes here when that is durable. What earlier attachments left behind is found
 * by a scan: all that no table owns is free.
 *
 * The scan runs in a worker, beside the writers. What it may take for free by
 * mistake is only what this attachment has freed: that may not be durable yet, or
 * be in new hands already whose entry the scan has passed. So these units are
 * remembered while it runs (image->touched), and let alone by it. All else below
 * old_end keeps its owner or has none.
 */
#include "plan.h"

#include <linux/bitmap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define POOL_MAX (1u << 20)	/* free units to remember: some 10 MiB */
#define SCAN_BITS (1u << 25)	/* places to look at in one walk: 4 MiB */
#define SCAN_WAIT (HZ / 2)	/* how long the first writers wait for it */

/*
 * Units do not overlap, so no two of them start in the same multiple of their
 * length. That multiple is the key, the rest is in the value.
 */
static unsigned long unit_key(const struct vdisk_image *image, u64 off)
{
	return (unsigned long)vdisk_div(off, image->geom.unit_len);
}

static void *unit_value(const struct vdisk_image *image, u64 off, bool fresh)
{
	u64 rest = off - unit_key(image, off) * image->geom.unit_len;

	return xa_mk_value((unsigned long)(rest >> VDISK_SHIFT) << 1 | fresh);
}

static u64 unit_off(const struct vdisk_image *image, unsigned long key,
		    const void *value)
{
	return key * image->geom.unit_len +
	       ((u64)(xa_to_value(value) >> 1) << VDISK_SHIFT);
}

void vdisk_pool_add(struct vdisk_image *image, u64 off, bool fresh)
{
	void *was;

	lockdep_assert_held(&image->grow_lock);
	/* What cannot be remembered is leaked, until the next attachment. */
	if (image->pool_nr >= POOL_MAX)
		return;
	was = xa_store(&image->pool, unit_key(image, off),
		       unit_value(image, off, fresh), GFP_NOIO);
	if (!was)
		WRITE_ONCE(image->pool_nr, image->pool_nr + 1);
}

static void pool_erase(struct vdisk_image *image, unsigned long key)
{
	xa_erase(&image->pool, key);
	WRITE_ONCE(image->pool_nr, image->pool_nr - 1);
}

/* The lowest ones: it was a good place before, so it is one again. */
bool vdisk_pool_take(struct vdisk_image *image, const struct vdisk_need *need,
		     struct vdisk_space *space, bool *fresh)
{
	unsigned long key = 0;
	void *value;

	lockdep_assert_held(&image->grow_lock);
	if (need->kind != VDISK_NEED_UNIT || need->len != image->geom.unit_len)
		return false;
	value = xa_find(&image->pool, &key, ULONG_MAX, XA_PRESENT);
	if (!value)
		return false;
	space->off = unit_off(image, key, value);
	space->count = 0;
	*fresh = xa_to_value(value) & 1;
	/* The same rest in the next multiple: it lies right behind. */
	do {
		pool_erase(image, key++);
		space->count++;
	} while (space->count < need->count &&
		 xa_load(&image->pool, key) == value);
	return true;
}

/* A free unit that ends where @end is, but for what aligns the next one. */
bool vdisk_pool_take_last(struct vdisk_image *image, u64 end, u64 *off)
{
	const struct vdisk_geom *geom = &image->geom;
	unsigned long key, low;
	u64 first, next;
	void *value;

	lockdep_assert_held(&image->grow_lock);
	if (!image->pool_nr)
		return false;
	key = unit_key(image, end);
	low = key > 2 ? key - 2 : 0;
	for (;; key--) {
		value = xa_load(&image->pool, key);
		if (value) {
			first = unit_off(image, key, value);
			next = first + geom->unit_len;
			if (next <= end && vdisk_align(next, geom->unit_align,
						       geom->unit_base) >= end)
				break;
		}
		if (key == low)
			return false;
	}
	pool_erase(image, key);
	/* Not before: it may be where @end came from. */
	*off = first;
	return true;
}

void vdisk_pool_touch(struct vdisk_image *image, u64 off, u64 len)
{
	u64 unit = image->geom.unit_len;

	if (READ_ONCE(image->scan) != VDISK_SCAN_RUNS)
		return;
	mutex_lock(&image->grow_lock);
	/* Not to know one is not to know what is free. */
	for (; image->scan == VDISK_SCAN_RUNS && len >= unit;
	     len -= unit, off += unit)
		if (xa_err(xa_store(&image->touched, unit_key(image, off),
				    unit_value(image, off, false), GFP_NOIO)))
			image->scan_lost = true;
	mutex_unlock(&image->grow_lock);
}

int vdisk_pool_walk(struct vdisk_image *image,
		    bool (*tell)(void *arg, const struct vdisk_range *range),
		    void *arg)
{
	struct vdisk_range range;
	struct vdisk_feed feed;
	u64 cursor = 0, at;
	unsigned int seq;
	int r;

	vdisk_feed_init(&feed, image);
	for (;;) {
		do {
			at = cursor;
			seq = vdisk_feed_begin(&feed);
			r = image->format->walk(&image->geom, &feed.step, &at,
						&range);
		} while (vdisk_feed_retry(&feed, seq));
		cursor = at;
		if (r == -EAGAIN) {
			/* A walk passes over more blocks than it may pin. */
			if (feed.step.nr_views == VDISK_MAX_VIEWS)
				vdisk_feed_reset(&feed);
			r = vdisk_feed_bytes(&feed);
			if (!r)
				continue;
			break;
		}
		if (r || !range.len)
			break;
		if (!tell(arg, &range)) {
			r = -EINTR;
			break;
		}
		cond_resched();
	}
	vdisk_feed_done(&feed);
	if (r == -EUCLEAN)
		r = vdisk_image_refused(image, &feed.step);
	return r;
}

/*
 * A part of the file, in places where a unit may start. A bit is set where
 * something is owned, if only in part.
 */
struct scan {
	struct vdisk_image *image;
	unsigned long *used;
	u64 first;			/* place of bit 0 */
	unsigned int nr;		/* bits */
};

static u64 place_base(const struct vdisk_geom *geom)
{
	return geom->unit_base - vdisk_div(geom->unit_base, geom->unit_align) *
				 geom->unit_align;
}

static u64 place_of(const struct vdisk_geom *geom, u64 off)
{
	u64 base = place_base(geom);

	return off < base ? 0 : vdisk_div(off - base, geom->unit_align);
}

static u64 place_off(const struct vdisk_geom *geom, u64 place)
{
	return place_base(geom) + place * geom->unit_align;
}

static void set_used(struct scan *s, u64 off, u64 len)
{
	u64 from = place_of(&s->image->geom, off);
	u64 to = place_of(&s->image->geom, off + len - 1) + 1;

	from = max(from, s->first);
	to = min(to, s->first + s->nr);
	if (from < to)
		bitmap_set(s->used, (unsigned int)(from - s->first),
			   (unsigned int)(to - from));
}

static bool scan_tell(void *arg, const struct vdisk_range *range)
{
	struct scan *s = arg;

	set_used(s, range->off, range->len);
	return !READ_ONCE(s->image->v->stopping);
}

/* What is not used after all goes to the pool. The place to go on from. */
static u64 scan_take(struct scan *s)
{
	struct vdisk_image *image = s->image;
	const struct vdisk_geom *geom = &image->geom;
	unsigned long i = 0, end = 0, key;
	u64 unit = geom->unit_len, off;
	unsigned int need = (unsigned int)vdisk_div_up(unit, geom->unit_align);
	void *value;

	mutex_lock(&image->grow_lock);
	xa_for_each(&image->touched, key, value)
		set_used(s, unit_off(image, key, value), unit);
	mutex_unlock(&image->grow_lock);
	/* What the walk saw as free must be so on the medium as well. */
	if (!bitmap_full(s->used, s->nr)) {
		vdisk_backing_unsure(image->backing);
		if (vdisk_backing_flush(image->backing))
			return s->first + s->nr;
	}
	while (end < s->nr) {
		i = find_next_zero_bit(s->used, s->nr, end);
		end = find_next_bit(s->used, s->nr, i);
		mutex_lock(&image->grow_lock);
		for (; end - i >= need && !image->scan_lost; i += need) {
			off = place_off(geom, s->first + i);
			if (off + unit > image->old_end)
				break;
			vdisk_pool_add(image, off, false);
		}
		mutex_unlock(&image->grow_lock);
		cond_resched();
	}
	return s->first + (i ?: end);
}

/* Part by part; the rest of a free run is seen again, with what follows. */
static void scan_file(struct scan *s, u64 at, u64 end)
{
	struct vdisk_image *image = s->image;
	u64 last = 0;

	while (last != end && READ_ONCE(image->pool_nr) < POOL_MAX) {
		s->first = at;
		s->nr = (unsigned int)min_t(u64, SCAN_BITS, end - at);
		last = at + s->nr;
		bitmap_zero(s->used, s->nr);
		if (vdisk_pool_walk(image, scan_tell, s))
			return;
		at = scan_take(s);
	}
}

void vdisk_pool_scan(struct work_struct *work)
{
	struct vdisk_image *image = container_of(work, struct vdisk_image,
						 scan_work);
	unsigned int noio = memalloc_noio_save();
	struct scan s = { .image = image };
	u64 at = place_of(&image->geom, image->geom.data_off - 1) + 1;
	u64 end = place_of(&image->geom, image->old_end - 1) + 1;

	if (at < end)
		s.used = vmalloc(BITS_TO_LONGS(min_t(u64, SCAN_BITS, end - at)) *
				 sizeof(long));
	if (s.used)
		scan_file(&s, at, end);
	vfree(s.used);
	mutex_lock(&image->grow_lock);
	WRITE_ONCE(image->scan, VDISK_SCAN_OVER);
	xa_destroy(&image->touched);
	mutex_unlock(&image->grow_lock);
	wake_up_all(&image->scan_wait);
	memalloc_noio_restore(noio);
}

void vdisk_pool_start(struct vdisk_image *image)
{
	const struct vdisk_geom *geom = &image->geom;

	lockdep_assert_held(&image->grow_lock);
	if (image->scan != VDISK_SCAN_WAITS)
		return;
	/* Compressed units are of any length: nothing fits where one was. */
	if (geom->flags & (VDISK_GEOM_PACKED | VDISK_GEOM_NO_ALLOC) ||
	    !image->scanned || !geom->data_off ||
	    image->old_end <= geom->data_off) {
		WRITE_ONCE(image->scan, VDISK_SCAN_OVER);
		return;
	}
	image->scan_until = jiffies + SCAN_WAIT;
	WRITE_ONCE(image->scan, VDISK_SCAN_RUNS);
	/* Not of the queue of the writers: see vdisk_pool_wait(). */
	queue_work(image->v->scan_wq, &image->scan_work);
}

void vdisk_pool_wait(struct vdisk_image *image)
{
	long left = (long)(READ_ONCE(image->scan_until) - jiffies);

	if (READ_ONCE(image->scan) == VDISK_SCAN_RUNS && left > 0)
		wait_event_timeout(image->scan_wait, READ_ONCE(image->scan) !=
				   VDISK_SCAN_RUNS, left);
}
