// SPDX-License-Identifier: GPL-2.0
/*
 * Group commit. An epoch is what was published since the last one; closing it:
 *
 *	1 copy the dirty sectors of the table blocks
 *	2 flush the backing
 *	3 write the copies
 *	4 flush the backing
 *
 * The copy holds only entries whose DATA has been written, so step 2 makes all
 * of it durable. An entry that is published between 2 and 3 is in the block but
 * not in the copy: it belongs to the next epoch.
 */
#include "vdisk.h"

void vdisk_trip(struct vdisk *v, const char *why)
{
	unsigned long flags;
	bool first;

	spin_lock_irqsave(&v->lock, flags);
	first = !v->failed;
	if (first)
		WRITE_ONCE(v->failed, why);
	spin_unlock_irqrestore(&v->lock, flags);
	if (!first)
		return;
	DMERR("%s: %s: no more writes", vdisk_name(v), why);
	queue_work(v->commit_wq, &v->event_work);
}

/*
 * Step 1. The blocks of the epoch, on a list, their copies in b->shadow. What
 * was freed until now is in these copies; what is freed while they are made may
 * be, or not, and waits for the next epoch.
 */
static void copy_dirty(struct vdisk_image *image, struct list_head *epoch,
		       struct list_head *freed)
{
	struct vdisk_cache *cache = &image->cache;
	struct vdisk_block *b;
	LIST_HEAD(dirty);

	spin_lock_irq(&cache->lock);
	list_splice_init(&cache->dirty, &dirty);
	list_splice_init(&image->freed, freed);
	WRITE_ONCE(cache->nr_dirty, 0);
	while (!list_empty(&dirty)) {
		b = list_first_entry(&dirty, struct vdisk_block, dirty_link);
		memcpy(b->shadow, b->data, VDISK_BLOCK);
		b->writing = b->dirty;
		b->dirty = 0;
		list_add_tail(&b->commit_link, epoch);
		list_del_init(&b->dirty_link);
		/* A long list is copied in turns; what is on @dirty stays put. */
		spin_unlock_irq(&cache->lock);
		cond_resched();
		spin_lock_irq(&cache->lock);
	}
	spin_unlock_irq(&cache->lock);
}

/* Step 3 for one block: its dirty sectors, neighbours together. */
static int write_copy(struct vdisk_backing *backing, struct vdisk_block *b)
{
	unsigned int first, end = 0;
	int r = 0;

	while (!r && b->writing >> end) {
		first = end + __ffs(b->writing >> end);
		end = first + 1;
		while (b->writing >> end & 1)
			end++;
		r = backing->ops->rw(backing, true,
				     b->off + first * VDISK_SECTOR,
				     b->shadow + first * VDISK_SECTOR,
				     (end - first) * VDISK_SECTOR);
	}
	return r;
}

static void epoch_done(struct vdisk_image *image, struct list_head *epoch,
		       struct list_head *freed)
{
	struct vdisk_cache *cache = &image->cache;
	struct vdisk_block *b, *next;

	vdisk_reclaim_later(image, freed);
	list_for_each_entry_safe(b, next, epoch, commit_link) {
		spin_lock_irq(&cache->lock);
		b->writing = 0;
		list_del_init(&b->commit_link);
		spin_unlock_irq(&cache->lock);
	}
}

/* For want of space not all is written: the epoch is part of the next one. */
static void epoch_undo(struct vdisk_image *image, struct list_head *epoch,
		       struct list_head *freed)
{
	struct vdisk_cache *cache = &image->cache;
	struct vdisk_block *b, *next;
	unsigned int i;

	spin_lock_irq(&cache->lock);
	list_splice(freed, &image->freed);
	spin_unlock_irq(&cache->lock);
	list_for_each_entry_safe(b, next, epoch, commit_link) {
		spin_lock_irq(&cache->lock);
		list_del_init(&b->commit_link);
		for (i = 0; i < VDISK_BLOCK / VDISK_SECTOR; i++)
			if (b->writing >> i & 1)
				vdisk_cache_dirty(b, b->off + i * VDISK_SECTOR,
						  VDISK_SECTOR);
		b->writing = 0;
		spin_unlock_irq(&cache->lock);
	}
}

int vdisk_commit_image(struct vdisk_image *image)
{
	struct vdisk_backing *backing = image->backing;
	struct vdisk_block *b;
	LIST_HEAD(epoch);
	LIST_HEAD(freed);
	int r;

	if (!backing)
		return 0;
	mutex_lock(&image->commit_lock);
	copy_dirty(image, &epoch, &freed);
	r = vdisk_backing_flush(backing);
	if (!r && !list_empty(&epoch)) {
		vdisk_count(image->v, commit);
		list_for_each_entry(b, &epoch, commit_link) {
			r = write_copy(backing, b);
			if (r)
				break;
		}
		if (r && r != -ENOSPC)
			vdisk_trip(image->v, "table-write-failed");
		if (!r)
			r = vdisk_backing_flush(backing);
	}
	if (r == -ENOSPC && !READ_ONCE(image->v->failed))
		epoch_undo(image, &epoch, &freed);
	else
		epoch_done(image, &epoch, &freed);
	mutex_unlock(&image->commit_lock);
	if (!r)
		vdisk_backing_touch(backing, false);
	return r;
}

/* Is all that was published durable? A commit on its way holds commit_lock. */
bool vdisk_commit_settled(const struct vdisk_image *image)
{
	if (READ_ONCE(image->cache.nr_dirty))
		return false;
	smp_rmb();	/* with copy_dirty(): the lock is taken before nr_dirty */
	return !mutex_is_locked((struct mutex *)&image->commit_lock);
}

int vdisk_commit_all(struct vdisk *v)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	unsigned int i;
	int r, first = 0;

	for (i = 0; i < top->nr; i++) {
		if (!top->image[i]->write)
			continue;
		r = vdisk_commit_image(top->image[i]);
		first = first ?: r;
	}
	return first;
}

/* A flush, or a write whose entries must be durable, waits for a commit. */
void vdisk_commit_queue(struct vdisk *v, struct bio *bio)
{
	unsigned long flags;

	/* Under the lock: once the bio has ended the device may go. */
	spin_lock_irqsave(&v->lock, flags);
	bio_list_add(&v->flushes, bio);
	queue_work(v->commit_wq, &v->commit_work);
	spin_unlock_irqrestore(&v->lock, flags);
}

void vdisk_commit_work(struct work_struct *work)
{
	struct vdisk *v = container_of(work, struct vdisk, commit_work);
	struct bio_list bios;
	struct bio *bio;
	int r;

	for (;;) {
		spin_lock_irq(&v->lock);
		bios = v->flushes;
		bio_list_init(&v->flushes);
		spin_unlock_irq(&v->lock);
		if (bio_list_empty(&bios))
			return;
		r = vdisk_commit_all(v);
		while ((bio = bio_list_pop(&bios))) {
			bio->bi_status = errno_to_blk_status(r);
			bio_endio(bio);
		}
	}
}

static bool dirty_any(const struct vdisk *v)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	unsigned int i;

	for (i = 0; i < top->nr; i++)
		if (!vdisk_commit_settled(top->image[i]))
			return true;
	return false;
}

/* All durable, and the images marked as closed until the next change. */
int vdisk_commit_rest(struct vdisk *v)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	unsigned int i;
	int r, first;

	first = vdisk_commit_all(v);
	for (i = 0; i < top->nr && !first; i++) {
		r = vdisk_space_rest(top->image[i]);
		first = first ?: r;
	}
	return first;
}

/* A period in which nothing was published is followed by rest. */
void vdisk_commit_timer(struct work_struct *work)
{
	struct vdisk *v = container_of(to_delayed_work(work), struct vdisk,
				       timer);

	if (!dirty_any(v)) {
		vdisk_commit_rest(v);
		return;
	}
	vdisk_commit_all(v);
	vdisk_commit_arm(v);
}

void vdisk_commit_arm(struct vdisk *v)
{
	if (!delayed_work_pending(&v->timer))
		queue_delayed_work(v->commit_wq, &v->timer,
				   msecs_to_jiffies(v->args.commit_ms));
}
