// SPDX-License-Identifier: GPL-2.0
/*
 * Claims: the first writer to change a unit owns it until it has published or
 * given up; other bios for the same unit are parked and run again then. They
 * wait for the fill, not for a commit.
 */
#include "plan.h"

bool vdisk_claim_take(struct vdisk_writer *w, u64 sector, u64 sectors)
{
	struct vdisk_cache *cache = &w->image->cache;
	u64 unit = w->image->geom.unit_sec;
	struct vdisk_claim *c;

	w->claim.first = vdisk_div(sector, unit) * unit;
	w->claim.end = vdisk_div_up(sector + sectors, unit) * unit;
	INIT_LIST_HEAD(&w->claim.waiters);
	spin_lock_irq(&cache->lock);
	list_for_each_entry(c, &w->image->claims, link)
		if (c->first < w->claim.end && w->claim.first < c->end) {
			list_add_tail(&w->io->park, &c->waiters);
			spin_unlock_irq(&cache->lock);
			return false;
		}
	list_add(&w->claim.link, &w->image->claims);
	spin_unlock_irq(&cache->lock);
	return true;
}

/* The table that the other plan makes may be just what we need. */
bool vdisk_claim_table(struct vdisk_writer *w)
{
	struct vdisk_cache *cache = &w->image->cache;
	struct vdisk_claim *c;

	spin_lock_irq(&cache->lock);
	list_for_each_entry(c, &w->image->claims, link)
		if (c->table && c != &w->claim) {
			list_add_tail(&w->io->park, &c->waiters);
			spin_unlock_irq(&cache->lock);
			return false;
		}
	w->claim.table = true;
	spin_unlock_irq(&cache->lock);
	return true;
}

void vdisk_claim_drop(struct vdisk_writer *w)
{
	struct vdisk_cache *cache = &w->image->cache;
	struct vdisk_io *io, *next;
	LIST_HEAD(waiters);

	spin_lock_irq(&cache->lock);
	list_del(&w->claim.link);
	list_splice_init(&w->claim.waiters, &waiters);
	spin_unlock_irq(&cache->lock);
	list_for_each_entry_safe(io, next, &waiters, park) {
		list_del_init(&io->park);
		vdisk_io_requeue(io);
	}
}
