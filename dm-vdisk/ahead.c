// SPDX-License-Identifier: GPL-2.0
/*
 * Reading ahead in the tables. Who reads in order misses a table block every
 * so often (in a QED image each 32 MiB), and waits for it. So the second of two
 * misses that follow each other has the next block loaded, and the first use of
 * a block that was loaded so has the one after it.
 *
 * Which block is next the format tells: it is asked for a sector further on,
 * and what it needs is loaded. So nothing but table blocks gets into the cache.
 */
#include "vdisk.h"

/* What a block maps if its entries are of eight bytes; else half of it. */
static u64 half_block(const struct vdisk_image *image)
{
	return image->geom.unit_sec * (VDISK_BLOCK / 8);
}

static void ahead_of(struct vdisk_image *image, u64 sector)
{
	WRITE_ONCE(image->ahead_sec, sector);
	queue_work(image->v->wq, &image->ahead_work);
}

void vdisk_ahead_missed(struct vdisk_image *image, u64 sector)
{
	u64 last = READ_ONCE(image->missed_sec);

	WRITE_ONCE(image->missed_sec, sector);
	if (sector > last && sector - last <= 2 * half_block(image))
		ahead_of(image, sector);
}

void vdisk_ahead_used(struct vdisk_block *b)
{
	u64 sector = READ_ONCE(b->ahead);

	if (!sector)
		return;
	WRITE_ONCE(b->ahead, 0);
	ahead_of(b->cache->image, sector);
}

/* Load what a lookup of @sector will need; was anything not there? */
static bool load_for(struct vdisk_image *image, u64 sector)
{
	struct vdisk_extent ext;
	struct vdisk_feed feed;
	struct vdisk_block *b;
	bool there, loaded = false;

	vdisk_feed_init(&feed, image);
	/* Bytes may change meanwhile, and the answer be wrong: nobody uses it. */
	while (image->format->map(&image->geom, &feed.step, sector, 1, &ext) ==
	       -EAGAIN) {
		there = vdisk_cache_holds(&image->cache, feed.step.need.off);
		if (vdisk_feed_bytes(&feed))
			break;
		if (there)
			continue;
		b = feed.pin[feed.step.nr_views - 1];
		WRITE_ONCE(b->ahead, sector);
		WRITE_ONCE(b->used, false);
		loaded = true;
	}
	vdisk_feed_done(&feed);
	return loaded;
}

void vdisk_ahead_work(struct work_struct *work)
{
	struct vdisk_image *image =
		container_of(work, struct vdisk_image, ahead_work);
	/* Some formats have a bitmap in each unit; tables are for many units. */
	u64 step[] = { image->geom.unit_sec, half_block(image),
		       2 * half_block(image) };
	u64 sector = READ_ONCE(image->ahead_sec);
	int k;

	for (k = 0; k < ARRAY_SIZE(step); k++) {
		if (step[k] >= image->geom.size_sec - sector ||
		    load_for(image, sector + step[k]))
			return;
	}
}
