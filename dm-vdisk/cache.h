/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The table cache of one image: blocks of VDISK_BLOCK bytes of the file, kept
 * as they are in the file except for entries published since the last commit.
 *
 * A block may also hold sectors of guest data (VHD bitmaps lie between them);
 * those bytes grow stale and are never used: a sector is table bytes only from
 * the moment that a plan wrote it through this cache, or since the image was
 * made. So dirt is kept by sector, and a clean sector is never written.
 *
 * Blocks are found under RCU. Their bytes change under cache->lock, inside
 * image->seq; a reader that saw a change retries. A clean block that is not
 * pinned may vanish at any time after the RCU section.
 *
 * Memory is bounded by the module parameter table_cache_mb over all images and
 * given back under pressure; blocks that are dirty or pinned stay.
 */
#ifndef _VDISK_CACHE_H
#define _VDISK_CACHE_H

#include <linux/xarray.h>
#include <linux/spinlock.h>
#include <linux/list.h>

struct vdisk_view;
struct vdisk_image;

enum vdisk_block_state {
	VDISK_BLOCK_LOADING,
	VDISK_BLOCK_READY,
	VDISK_BLOCK_FAILED,
};

struct vdisk_block {
	u64 off;			/* bytes, a multiple of VDISK_BLOCK */
	u8 *data;
	u8 *shadow;			/* what a commit writes */
	enum vdisk_block_state state;	/* release/acquire: data is there */
	int error;			/* FAILED */
	bool used;			/* since the last pass of the shrinker */
	u64 ahead;			/* loaded for this sector and not used yet; or 0 */
	u8 dirty;			/* cache->lock: sectors, bit 0 the first */
	u8 writing;			/* commit_lock: sectors of shadow */
	unsigned int pins;		/* cache->lock */
	struct list_head dirty_link;	/* cache->lock: cache->dirty */
	struct list_head commit_link;	/* commit_lock */
	struct list_head lru;		/* blocks_lock */
	struct vdisk_cache *cache;
	struct rcu_head rcu;
};

struct vdisk_cache {
	struct vdisk_image *image;
	struct xarray blocks;
	spinlock_t lock;
	struct list_head dirty;
	unsigned int nr_dirty;		/* cache->lock */
	wait_queue_head_t wait;		/* for blocks that are loading */
};

void vdisk_cache_init(struct vdisk_cache *cache, struct vdisk_image *image);

/* Drop every block. Nobody may be looking, pinning or dirty. May sleep. */
void vdisk_cache_empty(struct vdisk_cache *cache);

/* Under RCU: the block that holds byte @off, or NULL if it is not there. */
struct vdisk_block *vdisk_cache_find(struct vdisk_cache *cache, u64 off);

/* Is it there, loaded or loading? Any context; true only for the moment. */
bool vdisk_cache_holds(struct vdisk_cache *cache, u64 off);

/*
 * The block that holds byte @off, loaded and pinned: it stays until unpinned.
 * With @shadow it can be made dirty. May sleep; ERR_PTR.
 */
struct vdisk_block *vdisk_cache_pin(struct vdisk_cache *cache, u64 off,
				    bool shadow);
void vdisk_cache_unpin(struct vdisk_block *block);

/*
 * Have a block of zeroes at @off, a multiple of VDISK_BLOCK, of a cache that no
 * image backs. It may be evicted at any time. Any context but hard interrupts;
 * false without memory.
 */
bool vdisk_cache_blank(struct vdisk_cache *cache, u64 off);

/* The sectors of [off, off + len) are dirty. Under cache->lock; pinned. */
void vdisk_cache_dirty(struct vdisk_block *block, u64 off, u32 len);

/* The file's [off, off + len) became zero: so do blocks at hand. May sleep. */
void vdisk_cache_zeroed(struct vdisk_cache *cache, u64 off, u64 len);

int vdisk_cache_module_init(void);
void vdisk_cache_module_exit(void);

#endif /* _VDISK_CACHE_H */
