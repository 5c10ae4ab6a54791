/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Compressed units, inflated: a cache of whole ones, because neighbours are
 * mostly read together. Bounded by the module parameter grain_cache_mb over all
 * images, and given back under memory pressure.
 */
#ifndef _VDISK_GRAIN_H
#define _VDISK_GRAIN_H

#include <linux/refcount.h>
#include <linux/xarray.h>
#include <linux/list.h>
#include <linux/workqueue.h>

struct vdisk_image;
struct vdisk_where;

enum vdisk_grain_state {
	VDISK_GRAIN_LOADING,
	VDISK_GRAIN_READY,
	VDISK_GRAIN_FAILED,
};

struct vdisk_grain {
	u64 off;			/* of the record in the file */
	u64 sector;			/* of the image: the first it holds */
	u8 *data;			/* unit_sec sectors */
	enum vdisk_grain_state state;	/* release/acquire: data is there */
	int error;			/* FAILED */
	bool used;			/* since the last pass of the shrinker */
	size_t len;
	refcount_t refs;		/* one is the index's */
	struct list_head lru;		/* grains_lock */
	struct vdisk_image *image;
	struct rcu_work free;
};

/*
 * The grain at @off with a reference, if it is there; any context. Only if
 * g->sector is the one looked for is it that grain: two table entries may name
 * one record.
 */
struct vdisk_grain *vdisk_grain_find(struct vdisk_image *image, u64 off);

/*
 * The grain of a DEFLATE run that holds sector @sector of @image, read and
 * inflated if need be. May sleep; ERR_PTR: -EIO if it is damaged.
 */
struct vdisk_grain *vdisk_grain_get(struct vdisk_image *image, u64 sector,
				    const struct vdisk_where *where);
void vdisk_grain_put(struct vdisk_grain *g);

/*
 * Deflate @len bytes into @to (room for @room), zlib framing; the length, or
 * -E2BIG if they do not fit. May sleep.
 */
int vdisk_grain_deflate(const u8 *from, u32 len, u8 *to, u32 room);

/* Drop all of an image's, or one; nobody uses them. May sleep. */
void vdisk_grain_forget_all(struct vdisk_image *image);
void vdisk_grain_forget(struct vdisk_image *image, u64 off);

int vdisk_grain_module_init(void);
void vdisk_grain_module_exit(void);

#endif /* _VDISK_GRAIN_H */
