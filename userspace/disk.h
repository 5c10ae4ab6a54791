/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel-less driver of the formats: what the tool reads and writes images
 * with, and the executable specification of what the module does.
 *
 * An image is one format over one store. It keeps a cache of table blocks and
 * the free space, drives the format's steps to their end, and runs plans by
 * phase. A disk is a stack of layers, base first; a layer is a list of images
 * laid end to end. Only the top layer is written.
 *
 * Functions return 0 or -errno and leave one line that says what was wrong in
 * the caller's struct vdisk_fault. One thread at a time; no global state.
 *
 * When what is durable
 * --------------------
 * A write that needs a new place: mark (durable), space (durable), ops BEFORE
 * (durable), then ops DATA with the fill and the guest's bytes. PUBLISH goes to
 * the cached tables only, which have their space in the file then, and where
 * lookups see it at once. vdisk_image_commit() copies the changed table sectors,
 * flushes, writes the copies, flushes. What a plan freed may be handed out again
 * after that, not before.
 */
#ifndef _VDISK_DISK_H
#define _VDISK_DISK_H

#include "../formats/format.h"
#include "store.h"

struct vdisk_fault {
	char text[160];
};

/* "what: value", and @r again. @fault may be NULL. */
int vdisk_fault_set(struct vdisk_fault *fault, int r, const char *what,
		    u64 value);

/* What @step complains of. */
int vdisk_fault_step(struct vdisk_fault *fault, int r,
		     const struct vdisk_step *step);

/*
 * One block of the file as it will be once dirty sectors are written. Bit i of
 * @dirty: sector i was changed by PUBLISH and awaits the commit.
 */
struct vdisk_block {
	struct vdisk_block *next;	/* in the bucket */
	u64 off;
	u8 dirty;
	bool used;			/* since the last pass of eviction */
	u8 data[VDISK_BLOCK];
};

struct vdisk_run {
	u64 off;
	u64 len;
};

struct vdisk_runs {
	struct vdisk_run *run;
	size_t nr;
	size_t room;
};

/* Why a flush is made. Tests leave single ones out to see that it shows. */
enum vdisk_flush_why {
	VDISK_FLUSH_MARK,
	VDISK_FLUSH_BEFORE,	/* growing, and what alloc() wants BEFORE */
	VDISK_FLUSH_DATA,	/* first of a commit */
	VDISK_FLUSH_TABLES,	/* second of a commit */
	VDISK_FLUSH_TRIM,
};

struct vdisk_image_opts {
	bool write;
	bool force;		/* write even if found marked as not closed */
	bool lenient;		/* as in struct vdisk_params */
	u64 start_off;
	u64 size_sec;
	enum vdisk_size_rule size_rule;
	u32 grow_units;		/* units the file grows by at a time; 0 = default */
	u32 cache_blocks;	/* clean blocks kept; 0 = default */
	u32 skip_flush;		/* tests: 1 << enum vdisk_flush_why */
	const u8 *random;	/* tests: VDISK_RANDOM bytes instead of fresh ones */
};

#define VDISK_CACHE_BUCKETS 256

struct vdisk_image {
	const struct vdisk_format *format;
	struct vdisk_store *store;	/* the caller's; NULL: NO_FILE */
	struct vdisk_fault *fault;
	struct vdisk_image_opts opts;
	struct vdisk_geom geom;

	bool marked;		/* as in use, durably, by us */
	bool stamped;		/* VDISK_GEOM_STAMP: done, or nothing to do */
	bool changed;		/* something was written since it was marked */
	bool failed;		/* a flush failed: nothing is written any more */

	struct vdisk_block *bucket[VDISK_CACHE_BUCKETS];
	u32 nr_blocks;
	u32 nr_dirty;		/* blocks */

	/*
	 * Space. What lies from zero_off on was never written since the file
	 * grew over it, so it reads zero: nothing needs to be filled there.
	 */
	u64 alloc_off;		/* appending goes on here */
	u64 data_end;		/* step->data_end */
	u64 zero_off;
	bool scanned;			/* free has what was free at open */
	struct vdisk_runs free;	/* sorted and merged */
	struct vdisk_runs freed;	/* not before the next commit */

	/* The compressed unit that was inflated last. */
	u8 *unit;
	u64 unit_off;
	u64 unit_first;		/* sector of the image */
	bool unit_valid;
};

/*
 * @store stays the caller's and must outlive the image; so must @fault. On
 * error *@image is NULL.
 */
int vdisk_image_open(struct vdisk_image **image,
		     const struct vdisk_format *format,
		     struct vdisk_store *store,
		     const struct vdisk_image_opts *opts,
		     struct vdisk_fault *fault);

/* vdisk_image_settle() if it was written to; frees @image in any case. */
int vdisk_image_close(struct vdisk_image *image);

/* Frees @image as it is, like a crash of the program. */
void vdisk_image_drop(struct vdisk_image *image);

/* Steps of the format, driven to their end. Sectors are the image's own. */
int vdisk_image_map(struct vdisk_image *image, u64 sector, u64 sectors,
		    struct vdisk_extent *extent);
int vdisk_image_walk(struct vdisk_image *image, u64 *cursor,
		     struct vdisk_range *range);

/*
 * Walks that go on: the tables that one step looked at are at hand for the next,
 * so nothing of the image may change meanwhile. At the start the cursor is 0.
 */
struct vdisk_walker {
	struct vdisk_image *image;
	struct vdisk_step step;
	u64 cursor;
};

void vdisk_walker_start(struct vdisk_walker *w, struct vdisk_image *image);
int vdisk_walker_next(struct vdisk_walker *w, struct vdisk_range *range);

/* Group commit: all that was written is durable and reachable after it. */
int vdisk_image_commit(struct vdisk_image *image);

/* Commit, give back what is free at the end, mark clean. It may be used on. */
int vdisk_image_settle(struct vdisk_image *image);

/*-----------------------------------------------------------------*/

struct vdisk_part {
	struct vdisk_image *image;
	u64 first_sec;		/* of the layer */
	u64 sectors;
};

struct vdisk_layer {
	struct vdisk_part *part;
	size_t nr;
	u64 size_sec;
};

struct vdisk_disk {
	struct vdisk_layer *layer;	/* base first */
	size_t nr;
	u64 size_sec;			/* of the top layer */
	struct vdisk_fault *fault;
};

/* Where sectors of a disk are, all layers looked through. */
struct vdisk_hit {
	enum vdisk_kind kind;	/* never PARENT */
	struct vdisk_image *image;	/* unless no layer holds them */
	size_t layer;
	u64 image_sec;		/* the first sector, in the image */
	u64 sectors;
	u64 off;		/* in the image's file: DATA, DEFLATE */
	u32 len;		/* DEFLATE */
	u64 skip_sec;		/* DEFLATE */
};

int vdisk_disk_new(struct vdisk_disk **disk, struct vdisk_fault *fault);

/* A layer on top of those there are, empty at first. */
int vdisk_disk_push(struct vdisk_disk *disk);

/*
 * The first @sectors of @image (0 = all) go behind what the top layer has. The
 * image becomes the disk's if it succeeds.
 */
int vdisk_disk_add(struct vdisk_disk *disk, struct vdisk_image *image,
		   u64 sectors);

/* Close all images, top first: the first error. Frees @disk in any case. */
int vdisk_disk_close(struct vdisk_disk *disk);
void vdisk_disk_drop(struct vdisk_disk *disk);

/* @sector + @sectors must be inside the disk in all of these. */
int vdisk_disk_map(struct vdisk_disk *disk, u64 sector, u64 sectors,
		   struct vdisk_hit *hit);
int vdisk_disk_read(struct vdisk_disk *disk, u64 sector, void *buf,
		    u64 sectors);
int vdisk_disk_write(struct vdisk_disk *disk, u64 sector, const void *buf,
		     u64 sectors);

/* Zero: reads zero after it. Discard: reads what it likes, if it works. */
int vdisk_disk_zero(struct vdisk_disk *disk, u64 sector, u64 sectors);
int vdisk_disk_discard(struct vdisk_disk *disk, u64 sector, u64 sectors);

int vdisk_disk_flush(struct vdisk_disk *disk);
int vdisk_disk_settle(struct vdisk_disk *disk);

/*-----------------------------------------------------------------
 * Between disk.c, disk_space.c, disk_plan.c and disk_write.c
 */

/* Space handed to a step. */
struct vdisk_grant {
	u64 off;
	u64 len;
	u64 fresh_off;		/* reads zero from here on */
};

/* A step on its way. */
struct vdisk_drive {
	struct vdisk_step step;
	struct vdisk_grant unit;
	struct vdisk_grant table;
	u32 calls;
};

void vdisk_drive_start(struct vdisk_drive *d, struct vdisk_image *image);

/* True: call the step again. False: *@r is its end, a fault is set. */
bool vdisk_drive_again(struct vdisk_drive *d, struct vdisk_image *image,
		       int *r);

/* The block at @off, a multiple of VDISK_BLOCK; read if need be. */
int vdisk_block_get(struct vdisk_image *image, u64 off,
		    struct vdisk_block **block);
struct vdisk_block *vdisk_block_find(struct vdisk_image *image, u64 off);

/* What the layers below @layer hold. */
int vdisk_disk_read_below(struct vdisk_disk *disk, size_t layer, u64 sector,
			  void *buf, u64 sectors);

/* The extent of @layer that holds @sector, which must be inside the layer. */
struct vdisk_part *vdisk_layer_part(struct vdisk_layer *layer, u64 sector);

/* Bytes to the file, and to the cache where it holds the same place. */
int vdisk_image_write(struct vdisk_image *image, u64 off, const u8 *buf,
		      u64 len);
int vdisk_image_zero(struct vdisk_image *image, u64 off, u64 len);

/* disk_space.c. Find what is free below the end; once, before any change. */
int vdisk_space_scan(struct vdisk_image *image);

/* disk_space.c. Answer a need for space; not used after all: give it back. */
int vdisk_space_take(struct vdisk_image *image, const struct vdisk_need *need,
		     struct vdisk_space *space, struct vdisk_grant *grant);
void vdisk_space_give(struct vdisk_image *image,
		      const struct vdisk_grant *grant);

/* These bytes were granted to the step and read zero. */
bool vdisk_drive_fresh(const struct vdisk_drive *d, u64 off, u64 len);

/* Free once PUBLISH is durable. And: it is, for all that were freed so far. */
void vdisk_space_freed(struct vdisk_image *image, u64 off, u64 len);
void vdisk_space_promote(struct vdisk_image *image);

/* disk_plan.c. Before anything of the image changes. */
int vdisk_image_change(struct vdisk_image *image);

/* One op to the file at once, or @nr that vdisk_plan_together() has counted. */
int vdisk_plan_now(struct vdisk_image *image, const struct vdisk_op *op, u32 nr);

/* The ops BEFORE, durable if there are any. */
int vdisk_plan_before(struct vdisk_image *image,
		      const struct vdisk_plan *plan, enum vdisk_flush_why why);

/* The ops PUBLISH, to the cached tables; and what the plan frees. */
int vdisk_plan_publish(struct vdisk_image *image,
		       const struct vdisk_plan *plan);

#endif /* _VDISK_DISK_H */
