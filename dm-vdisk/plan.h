/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What runs plans: allocating writes (write.c), compressed ones (packed.c) and
 * discards (discard.c), on claims (claim.c), space (space.c) and the ops of a
 * plan (plan.c). All may sleep.
 *
 * A writer claims its units, asks the format for a plan, makes the BEFORE ops
 * durable, writes DATA (ops, fill, the guest's bytes) and then puts PUBLISH into
 * the table cache, where lookups see it at once and the next commit finds it.
 * Until then lookups see the unit as it was, and a crash leaks the new one.
 */
#ifndef _VDISK_PLAN_H
#define _VDISK_PLAN_H

#include "vdisk.h"

#define VDISK_MAX_PINS 24
#define VDISK_MAX_ASK 4096u	/* sectors in one plan */

/* Blocks that the PUBLISH ops of a plan change. */
struct vdisk_pins {
	unsigned int nr;
	struct vdisk_block *block[VDISK_MAX_PINS];
};

/* A stretch of guest units that one writer changes. */
struct vdisk_claim {
	struct list_head link;		/* image->claims */
	u64 first;			/* sectors of the image, [first, end) */
	u64 end;
	bool table;			/* it also makes a new table */
	struct list_head waiters;	/* vdisk_io.park */
};

/*
 * Bytes of the file that nothing refers to, once an epoch is durable. Then each
 * waits, in @rcu, for the bios that may have looked the place up.
 */
struct vdisk_freed {
	struct list_head link;
	struct rcu_head rcu;
	struct vdisk_image *image;
	u64 off;
	u64 len;
};

struct vdisk_writer {
	struct vdisk_io *io;
	struct vdisk_image *image;
	struct vdisk_ask ask;
	struct vdisk_claim claim;
	struct vdisk_feed feed;
	struct vdisk_plan plan;
	struct vdisk_pins pins;
	u32 unit_len;			/* of what feed.step.unit grants */
	u32 table_len;
	bool fresh;			/* the new units read zero in the file */
	bool started;			/* they may hold bytes of ours */
};

/*
 * claim.c APIs. vdisk_claim_take() claims the units around [sector, sector +
 * sectors); false: another writer has one of them, the bio is parked and may be
 * running again already. vdisk_claim_table(): only one plan at a time may make
 * a new table in an image; false as above, but the claim must still be dropped.
 */
bool vdisk_claim_take(struct vdisk_writer *w, u64 sector, u64 sectors);
bool vdisk_claim_table(struct vdisk_writer *w);
void vdisk_claim_drop(struct vdisk_writer *w);

/*
 * plan.c APIs. vdisk_plan_run() performs the ops of BEFORE (durable on return)
 * or of IN_DATA, but those within [skip, skip_end): their writer has composed
 * them into its record. vdisk_plan_publish() cannot fail: what it changes was
 * pinned. @freed goes to the epoch of this plan.
 */
int vdisk_plan_run(struct vdisk_image *image, const struct vdisk_plan *plan,
		   enum vdisk_phase phase, u64 skip, u64 skip_end);
int vdisk_pins_take(struct vdisk_pins *pins, struct vdisk_image *image,
		    const struct vdisk_plan *plan);
void vdisk_pins_drop(struct vdisk_pins *pins);
void vdisk_plan_publish(struct vdisk_image *image,
			const struct vdisk_plan *plan, struct vdisk_pins *pins,
			struct vdisk_freed *freed);
void vdisk_plan_compose(struct vdisk_image *image, const struct vdisk_plan *plan,
			u64 off, u8 *buf, size_t len);

/*
 * space.c APIs: where new units go. grow_lock is taken inside. Every writer
 * calls vdisk_space_begin() before it changes anything: it marks the image, and
 * starts the scan for free units. vdisk_space_get() grants what a step needs;
 * @fresh: it reads zero. vdisk_space_put() takes back what no plan published
 * (@used: bytes may have been written there); a table that lies between units of
 * others is kept for the next one. vdisk_space_free() takes a freed
 * range whose epoch is durable and that no I/O uses any more.
 */
int vdisk_space_get(struct vdisk_image *image, const struct vdisk_need *need,
		    struct vdisk_space *space, bool *fresh);
void vdisk_space_put(struct vdisk_image *image, u64 off, u64 end, bool used);
void vdisk_space_put_table(struct vdisk_image *image, u64 off, u32 len,
			   bool used);
void vdisk_space_free(struct vdisk_image *image, u64 off, u64 len);
int vdisk_space_begin(struct vdisk_image *image);

/*
 * pool.c APIs: free units. grow_lock is held for add, take, take_last and start,
 * and taken by touch: what a plan frees, before it is published.
 * vdisk_pool_take() grants as many as lie together. vdisk_pool_wait(): for the
 * scan, if it has just been started. vdisk_pool_walk() tells what the tables
 * own, as long as @tell returns true.
 */
void vdisk_pool_add(struct vdisk_image *image, u64 off, bool fresh);
bool vdisk_pool_take(struct vdisk_image *image, const struct vdisk_need *need,
		     struct vdisk_space *space, bool *fresh);
bool vdisk_pool_take_last(struct vdisk_image *image, u64 end, u64 *off);
void vdisk_pool_touch(struct vdisk_image *image, u64 off, u64 len);
void vdisk_pool_start(struct vdisk_image *image);
void vdisk_pool_wait(struct vdisk_image *image);
int vdisk_pool_walk(struct vdisk_image *image,
		    bool (*tell)(void *arg, const struct vdisk_range *range),
		    void *arg);

/* write.c APIs, for packed.c. 0: w->plan is there; 1: parked; or -errno. */
int vdisk_write_plan(struct vdisk_writer *w);
void vdisk_write_give_back(struct vdisk_writer *w);

/* packed.c APIs: as vdisk_write_alloc(), once the claim is held. */
int vdisk_packed_write(struct vdisk_writer *w);

#endif /* _VDISK_PLAN_H */
