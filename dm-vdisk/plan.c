// SPDX-License-Identifier: GPL-2.0
/*
 * Running plans. This is the only writer of metadata, and it knows none: it
 * knows phases.
 */
#include "plan.h"

#include <linux/slab.h>

/* The part of an op's range that lies in a block; @from >= @to: none does. */
static void part_of(const struct vdisk_geom *geom, const struct vdisk_op *op,
		    const struct vdisk_block *b, u64 *from, u64 *to)
{
	u64 off, len;

	vdisk_op_range(geom, op, &off, &len);
	*from = max(off, b->off);
	*to = min(off + len, b->off + VDISK_BLOCK);
}

/* What of @op lies in @b, into its bytes, as lookups see it. */
static void apply_op(struct vdisk_image *image, const struct vdisk_op *op,
		     struct vdisk_block *b)
{
	lockdep_assert_held(&image->cache.lock);
	vdisk_op_apply(&image->geom, op, b->off, b->data, VDISK_BLOCK);
}

void vdisk_pins_drop(struct vdisk_pins *pins)
{
	while (pins->nr)
		vdisk_cache_unpin(pins->block[--pins->nr]);
}

static int pins_add(struct vdisk_pins *pins, struct vdisk_image *image, u64 off)
{
	struct vdisk_block *b;
	unsigned int i;

	for (i = 0; i < pins->nr; i++)
		if (pins->block[i]->off == off)
			return 0;
	if (pins->nr == VDISK_MAX_PINS)
		return -E2BIG;
	b = vdisk_cache_pin(&image->cache, off, true);
	if (IS_ERR(b))
		return PTR_ERR(b);
	pins->block[pins->nr++] = b;
	return 0;
}

static int pins_add_op(struct vdisk_pins *pins, struct vdisk_image *image,
		       const struct vdisk_op *op)
{
	u64 off, len, at;
	int r = 0;

	vdisk_op_range(&image->geom, op, &off, &len);
	for (at = round_down(off, VDISK_BLOCK); !r && at < off + len;
	     at += VDISK_BLOCK)
		r = pins_add(pins, image, at);
	return r;
}

/* Write the sectors of [from, to) of a block through to the file. */
static int write_through(struct vdisk_image *image, struct vdisk_block *b,
			 const u8 *bytes, u64 from, u64 to)
{
	u64 off = round_down(from, VDISK_SECTOR);
	u64 end = round_up(to, VDISK_SECTOR);

	return image->backing->ops->rw(image->backing, true, off,
				       (u8 *)bytes + (off - b->off), end - off);
}

/*
 * New metadata: nothing points to it, so its sectors hold no entries that wait
 * for a commit, and it may go to the file as it is in the cache.
 */
static int run_new(struct vdisk_image *image, const struct vdisk_op *op)
{
	struct vdisk_block *b;
	u64 off, len, at, from, to;
	int r = 0;

	if (op->kind == VDISK_OP_ZERO &&
	    !((op->off | op->value) % VDISK_SECTOR)) {
		r = image->backing->ops->zero(image->backing, op->off,
					      op->value, false);
		if (!r)
			vdisk_cache_zeroed(&image->cache, op->off, op->value);
		return r;
	}
	vdisk_op_range(&image->geom, op, &off, &len);
	for (at = round_down(off, VDISK_BLOCK); !r && at < off + len;
	     at += VDISK_BLOCK) {
		b = vdisk_cache_pin(&image->cache, at, false);
		if (IS_ERR(b))
			return PTR_ERR(b);
		spin_lock_irq(&image->cache.lock);
		write_seqcount_begin(&image->seq);
		apply_op(image, op, b);
		write_seqcount_end(&image->seq);
		spin_unlock_irq(&image->cache.lock);
		part_of(&image->geom, op, b, &from, &to);
		r = write_through(image, b, b->data, from, to);
		vdisk_cache_unpin(b);
	}
	return r;
}

/*
 * Take a copy of a block in which @nr ops are done and nothing waits for a commit,
 * nor is on its way in one: that is committed first.
 */
static int copy_header(struct vdisk_image *image, const struct vdisk_op *op,
		       u32 nr, struct vdisk_block *b, u8 *copy)
{
	bool clean = false;
	int r = 0;
	u32 i;

	while (!r && !clean) {
		spin_lock_irq(&image->cache.lock);
		clean = !b->dirty && !b->writing;
		if (clean) {
			write_seqcount_begin(&image->seq);
			for (i = 0; i < nr; i++)
				apply_op(image, &op[i], b);
			write_seqcount_end(&image->seq);
			memcpy(copy, b->data, VDISK_BLOCK);
		}
		spin_unlock_irq(&image->cache.lock);
		if (!clean)
			r = vdisk_commit_image(image);
	}
	return r;
}

/*
 * Header fields, which may share their sector with entries whose data is not
 * durable yet: one op, or several of one sector, which a crash must not separate.
 */
static int run_header(struct vdisk_image *image, const struct vdisk_op *op,
		      u32 nr)
{
	u8 *copy = (u8 *)__get_free_page(GFP_NOIO);
	struct vdisk_block *b;
	u64 off, len, at, from, to;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	vdisk_op_range(&image->geom, op, &off, &len);
	for (at = round_down(off, VDISK_BLOCK); !r && at < off + len;
	     at += VDISK_BLOCK) {
		b = vdisk_cache_pin(&image->cache, at, true);
		if (IS_ERR(b)) {
			r = PTR_ERR(b);
			break;
		}
		r = copy_header(image, op, nr, b, copy);
		part_of(&image->geom, op, b, &from, &to);
		if (!r)
			r = write_through(image, b, copy, from, to);
		vdisk_cache_unpin(b);
	}
	free_page((unsigned long)copy);
	return r;
}

static int run_tail(struct vdisk_image *image, u64 off)
{
	u8 *copy = (u8 *)get_zeroed_page(GFP_NOIO);
	int r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, image->geom.tail, image->geom.tail_len);
	r = image->backing->ops->rw(image->backing, true, off, copy,
				    round_up(image->geom.tail_len, VDISK_SECTOR));
	free_page((unsigned long)copy);
	return r;
}

/* Is @op part of what lies in [skip, skip_end)? */
static bool op_within(const struct vdisk_geom *geom, const struct vdisk_op *op,
		      u64 skip, u64 skip_end)
{
	u64 off, len;

	vdisk_op_range(geom, op, &off, &len);
	return off >= skip && off + len <= skip_end;
}

/* The ops from @op on, @nr of them, to the file. */
static int run_ops(struct vdisk_image *image, const struct vdisk_op *op, u32 nr)
{
	if (op->kind == VDISK_OP_LENGTH)
		return image->backing->ops->set_len(image->backing, op->off);
	if (op->kind == VDISK_OP_TAIL && nr == 1)
		return run_tail(image, op->off);
	if (op->phase == VDISK_IN_DATA)
		return run_new(image, op);
	return run_header(image, op, nr);
}

int vdisk_plan_run(struct vdisk_image *image, const struct vdisk_plan *plan,
		   enum vdisk_phase phase, u64 skip, u64 skip_end)
{
	bool durable = false;
	u32 i, n;
	int r = 0;

	for (i = 0; !r && i < plan->nr; i += n) {
		const struct vdisk_op *op = &plan->op[i];

		n = 1;
		if (op->phase != phase ||
		    op_within(&image->geom, op, skip, skip_end))
			continue;
		/* A length alone is durable with the data that needs it. */
		durable |= op->kind != VDISK_OP_LENGTH;
		if (phase == VDISK_BEFORE)
			n = vdisk_plan_together(&image->geom, plan, i);
		r = run_ops(image, op, n);
	}
	if (!r && phase == VDISK_BEFORE && durable)
		r = vdisk_backing_flush(image->backing);
	return r;
}

int vdisk_pins_take(struct vdisk_pins *pins, struct vdisk_image *image,
		    const struct vdisk_plan *plan)
{
	u32 i;
	int r = 0;

	for (i = 0; !r && i < plan->nr; i++)
		if (plan->op[i].phase == VDISK_PUBLISH)
			r = pins_add_op(pins, image, &plan->op[i]);
	return r;
}

static void publish_op(struct vdisk_image *image, struct vdisk_pins *pins,
		       const struct vdisk_op *op)
{
	struct vdisk_block *b;
	unsigned int i;
	u64 from, to;

	for (i = 0; i < pins->nr; i++) {
		b = pins->block[i];
		part_of(&image->geom, op, b, &from, &to);
		if (from >= to)
			continue;
		apply_op(image, op, b);
		vdisk_cache_dirty(b, from, (u32)(to - from));
	}
}

void vdisk_plan_publish(struct vdisk_image *image,
			const struct vdisk_plan *plan, struct vdisk_pins *pins,
			struct vdisk_freed *freed)
{
	struct vdisk_cache *cache = &image->cache;
	u32 i;

	spin_lock_irq(&cache->lock);
	write_seqcount_begin(&image->seq);
	for (i = 0; i < plan->nr; i++)
		if (plan->op[i].phase == VDISK_PUBLISH)
			publish_op(image, pins, &plan->op[i]);
	write_seqcount_end(&image->seq);
	if (freed)
		list_add_tail(&freed->link, &image->freed);
	spin_unlock_irq(&cache->lock);
	vdisk_commit_arm(image->v);
}

/* Apply the IN_DATA ops of a record that the caller writes whole. */
void vdisk_plan_compose(struct vdisk_image *image, const struct vdisk_plan *plan,
			u64 off, u8 *buf, size_t len)
{
	u32 i;

	for (i = 0; i < plan->nr; i++)
		if (plan->op[i].phase == VDISK_IN_DATA)
			vdisk_op_apply(&image->geom, &plan->op[i], off, buf,
				       len);
}
