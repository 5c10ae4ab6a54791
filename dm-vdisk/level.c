// SPDX-License-Identifier: GPL-2.0
/*
 * Which layer to ask. Below the top one layers do not change, so what a walk
 * through a long chain has found out stays true: for each granule of the disk
 * a byte says how far down everything is left to the parent. It is a hint that
 * is there or not: the layer that it names is asked like any other.
 *
 * The bytes are in blocks of a table cache that no file backs, so that they
 * are bounded and given back with the tables.
 */
#include "vdisk.h"

#define GRANULE_SHIFT 7		/* of sectors: 64 KiB, mostly a unit or more */
#define GRANULE (1u << GRANULE_SHIFT)

static u64 block_of(u64 granule)
{
	return round_down(granule, VDISK_BLOCK);
}

/* One more than the layer to ask, or 0: not known. Under RCU. */
static u8 level_at(struct vdisk *v, u64 granule)
{
	struct vdisk_block *b = vdisk_cache_find(&v->levels, block_of(granule));

	return b ? READ_ONCE(b->data[granule % VDISK_BLOCK]) : 0;
}

int vdisk_level_find(struct vdisk *v, u64 sector, u64 *sectors, bool *known)
{
	u64 g = sector >> GRANULE_SHIFT, end = sector + *sectors;
	u8 level;

	rcu_read_lock();
	level = level_at(v, g);
	while (level && (g + 1) << GRANULE_SHIFT < end &&
	       level_at(v, g + 1) == level)
		g++;
	rcu_read_unlock();
	*known = level;
	if (!level)
		return v->deep;
	*sectors = min(end, (g + 1) << GRANULE_SHIFT) - sector;
	return level - 1;
}

/* Does layer @l leave all of it to the one below? Or -EAGAIN: not known now. */
static int passes(struct vdisk *v, int l, u64 sector, u64 end)
{
	struct vdisk_layer *layer = &v->layer[l];
	struct vdisk_where where;
	struct vdisk_extent ext;
	struct vdisk_image *image;
	int r;

	if (end > layer->size_sec)
		return 0;
	while (sector < end) {
		image = vdisk_image_at(layer, sector);
		r = vdisk_lookup_image(image, sector - image->first_sec,
				       min(end, image->end_sec) - sector, &ext,
				       &where);
		if (r == -EAGAIN)
			return r;
		if (r || ext.kind != VDISK_PARENT)
			return 0;
		sector += ext.sectors;
	}
	return 1;
}

static void note(struct vdisk *v, u64 granule, int l)
{
	struct vdisk_block *b;

	rcu_read_lock();
	b = vdisk_cache_find(&v->levels, block_of(granule));
	if (b)
		WRITE_ONCE(b->data[granule % VDISK_BLOCK], (u8)(l + 1));
	rcu_read_unlock();
}

static void learn(struct vdisk *v, u64 granule)
{
	u64 sector = granule << GRANULE_SHIFT;
	u64 end = min_t(u64, sector + GRANULE, v->ti->len);
	int l = v->deep, r = 1;

	while (l > 0 && (r = passes(v, l, sector, end)) > 0)
		l--;
	if (r >= 0)
		note(v, granule, l);
}

void vdisk_level_learn(struct vdisk *v, u64 sector, u64 sectors)
{
	u64 g = sector >> GRANULE_SHIFT;
	u64 last = (sector + sectors - 1) >> GRANULE_SHIFT;

	for (; g <= last; g++) {
		if (!vdisk_cache_blank(&v->levels, block_of(g)))
			return;
		learn(v, g);
	}
}
