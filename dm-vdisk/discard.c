// SPDX-License-Identifier: GPL-2.0
/*
 * Discards and zeroes. Whole units are given back: their entries are published
 * as free or zero, and when that is durable, and every bio that may have looked
 * the old place up has ended, their bytes are punched out of the file and the
 * place may be used again. Parts of units are zeroed where they are.
 */
#include "plan.h"

#include <linux/slab.h>

static bool zeroing(struct vdisk_io *io)
{
	return bio_op(vdisk_io_bio(io)) == REQ_OP_WRITE_ZEROES;
}

/* Zeroes whose space the guest wants to keep: nothing may be given back. */
static bool keeping(struct vdisk_io *io)
{
	return zeroing(io) && vdisk_io_bio(io)->bi_opf & REQ_NOUNMAP;
}

/* Without a layer below, an entry may say just as well that nothing is there. */
static int make_plan(struct vdisk_writer *w)
{
	struct vdisk_image *image = w->image;
	bool unmap = image->v->nr_layers == 1;
	unsigned int seq;
	int r;

	vdisk_feed_init(&w->feed, image);
	do {
		do {
			seq = vdisk_feed_begin(&w->feed);
			r = image->format->discard(&image->geom, &w->feed.step,
						   w->ask.sector,
						   w->ask.sectors, unmap,
						   &w->plan);
		} while (vdisk_feed_retry(&w->feed, seq));
		if (r != -EAGAIN)
			break;
		r = vdisk_feed_bytes(&w->feed);
	} while (!r);
	vdisk_feed_done(&w->feed);
	return r == -EUCLEAN ? vdisk_image_refused(image, &w->feed.step) : r;
}

static int run_plan(struct vdisk_writer *w)
{
	struct vdisk_freed *freed = NULL;
	int r;

	if (w->plan.freed_len) {
		freed = kmalloc(sizeof(*freed), GFP_NOIO);
		if (!freed)
			return -ENOMEM;
		freed->image = w->image;
		freed->off = w->plan.freed_off;
		freed->len = w->plan.freed_len;
	}
	r = vdisk_space_begin(w->image);
	if (!r)
		r = vdisk_pins_take(&w->pins, w->image, &w->plan);
	if (!r && freed)
		vdisk_pool_touch(w->image, freed->off, freed->len);
	if (r)
		kfree(freed);
	else
		vdisk_plan_publish(w->image, &w->plan, &w->pins, freed);
	vdisk_pins_drop(&w->pins);
	return r;
}

/*
 * By way of the tables: sectors done, 0 if parked, -EOPNOTSUPP with
 * w->plan.sectors if the format has no way for so many, or -errno.
 */
static s64 by_plan(struct vdisk_writer *w)
{
	int r;

	w->plan.sectors = w->ask.sectors;
	if (!w->image->format->discard)
		return -EOPNOTSUPP;
	if (!vdisk_claim_take(w, w->ask.sector, w->ask.sectors))
		return 0;
	r = make_plan(w);
	if (!r)
		r = w->plan.nr ? run_plan(w) : -EOPNOTSUPP;
	vdisk_claim_drop(w);
	return r ?: (s64)w->plan.sectors;
}

/* Where the bytes are. What is said to be only a hint may have no effect. */
static int in_place(struct vdisk_io *io, const struct vdisk_where *where,
		    u64 sectors)
{
	struct vdisk_backing *b = where->image->backing;
	u64 len = sectors << VDISK_SHIFT;

	if (!keeping(io) && !b->ops->punch(b, where->off, len))
		return 0;
	if (!zeroing(io))
		return 0;
	return b->ops->zero(b, where->off, len, keeping(io));
}

/* Not by an entry that gives the unit back: zero bytes, where they are or anew. */
static s64 zero_kept(struct vdisk_io *io, const struct vdisk_where *where,
		     u64 sector)
{
	if (where->kind == VDISK_DATA)
		return in_place(io, where, where->sectors) ?:
		       (s64)where->sectors;
	return vdisk_write_alloc(io, where->image,
				 sector - where->image->first_sec,
				 where->sectors);
}

static s64 discard_own(struct vdisk_io *io, const struct vdisk_where *where,
		       u64 sector)
{
	struct vdisk_writer *w;
	u64 sectors;
	s64 r;

	if (keeping(io) && (where->kind == VDISK_DATA ||
			    (where->kind == VDISK_DEFLATE &&
			     where->image->format->alloc)))
		return zero_kept(io, where, sector);
	w = kzalloc(sizeof(*w), GFP_NOIO);
	if (!w)
		return -ENOMEM;
	w->io = io;
	w->image = where->image;
	w->ask.sector = sector - where->image->first_sec;
	w->ask.sectors = where->sectors;
	r = by_plan(w);
	sectors = min(w->plan.sectors, where->sectors);
	kfree(w);
	if (r != -EOPNOTSUPP)
		return r;
	if (where->kind == VDISK_DATA)
		return in_place(io, where, sectors) ?: (s64)sectors;
	if (!zeroing(io))
		return sectors;
	/* Zeroes that no entry can say: bytes, in a new unit. */
	if (!where->image->format->alloc)
		return -EOPNOTSUPP;
	return vdisk_write_alloc(io, where->image,
				 sector - where->image->first_sec, sectors);
}

/*
 * What shows through from below is not ours to free. To be zero it needs an
 * entry that says so, or bytes.
 */
static s64 hide_below(struct vdisk_io *io, const struct vdisk_where *where,
		      u64 sector)
{
	struct vdisk_layer *top = &io->v->layer[io->v->nr_layers - 1];
	struct vdisk_image *image = vdisk_image_at(top, sector);
	struct vdisk_where own = *where;

	if (!zeroing(io))
		return where->sectors;
	own.image = image;
	own.kind = VDISK_PARENT;
	return discard_own(io, &own, sector);
}

s64 vdisk_discard_run(struct vdisk_io *io, u64 sector, u64 sectors)
{
	int top = (int)io->v->nr_layers - 1;
	struct vdisk_where where;
	int r;

	r = vdisk_lookup_wait(io->v, top, sector, sectors, &where);
	if (r)
		return r;
	if (where.kind == VDISK_ZERO)
		return where.sectors;
	if (where.kind == VDISK_ERROR)
		return -EIO;
	if (where.layer != top)
		return hide_below(io, &where, sector);
	return discard_own(io, &where, sector);
}

/* All bios that may have looked the old place up have ended. */
static void freed_unused(struct rcu_head *rcu)
{
	struct vdisk_freed *f = container_of(rcu, struct vdisk_freed, rcu);
	struct vdisk_image *image = f->image;
	unsigned long flags;

	spin_lock_irqsave(&image->cache.lock, flags);
	list_add_tail(&f->link, &image->reclaim);
	spin_unlock_irqrestore(&image->cache.lock, flags);
	queue_work(image->v->wq, &image->v->reclaim_work);
}

/*
 * No worker waits for these bios: they may need just that worker, if memory is
 * short and the queue has no other than its rescuer.
 */
void vdisk_reclaim_later(struct vdisk_image *image, struct list_head *freed)
{
	struct vdisk_freed *f, *next;

	list_for_each_entry_safe(f, next, freed, link) {
		list_del(&f->link);
		call_srcu(&image->v->inflight, &f->rcu, freed_unused);
	}
}

void vdisk_reclaim_drain(struct vdisk *v)
{
	srcu_barrier(&v->inflight);
	flush_work(&v->reclaim_work);
}

static void reclaim_image(struct vdisk_image *image)
{
	struct vdisk_freed *f, *next;
	LIST_HEAD(freed);

	spin_lock_irq(&image->cache.lock);
	list_splice_init(&image->reclaim, &freed);
	spin_unlock_irq(&image->cache.lock);
	if (list_empty(&freed))
		return;
	list_for_each_entry_safe(f, next, &freed, link) {
		vdisk_grain_forget(image, f->off);
		if (!READ_ONCE(image->v->failed))
			vdisk_space_free(image, f->off, f->len);
		kfree(f);
	}
	if (READ_ONCE(image->v->nr_parked))
		vdisk_nospace_retry(image->v);
}

void vdisk_reclaim_work(struct work_struct *work)
{
	struct vdisk *v = container_of(work, struct vdisk, reclaim_work);
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	unsigned int i;

	for (i = 0; i < top->nr; i++)
		reclaim_image(top->image[i]);
}
