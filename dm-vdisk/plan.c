// SPDX-License-Identifier: GPL-2.0
/*
 * Running plans. This is the only writer of metadata, and it knows none: it
 * knows phases.
 */
#include "plan.h"

#include <linux/slab.h>

static u64 op_len(const struct vdisk_op *op)
{
	switch (op->kind) {
	case VDISK_OP_SET:
		return (u64)op->width * op->count;
	case VDISK_OP_BITS:
		return (op->value + op->count + 7) / 8;
	case VDISK_OP_ZERO:
		return op->value;
	}
	return 0;
}

/* The first byte an op changes: bitmaps start before the first bit's byte. */
static u64 op_off(const struct vdisk_op *op)
{
	return op->kind == VDISK_OP_BITS ? op->off + op->value / 8 : op->off;
}

static u64 op_end(const struct vdisk_op *op)
{
	return op->off + op_len(op);
}

static void set_int(u8 *p, const struct vdisk_op *op, u32 i)
{
	vdisk_store(p, op->value + i * op->step, op->width, op->big);
}

static void set_bits(const struct vdisk_op *op, struct vdisk_block *b)
{
	u64 first = max(op->value, b->off <= op->off ? 0 :
			(b->off - op->off) * 8);
	u64 end = min(op->value + op->count,
		      (b->off + VDISK_BLOCK - op->off) * 8);
	u64 i;

	for (i = first; i < end; i++) {
		u8 *byte = b->data + (op->off + i / 8 - b->off);

		if (op->step & 1)
			*byte |= 0x80 >> (i & 7);
		else
			*byte &= ~(0x80 >> (i & 7));
	}
}

/* The part of @op that lies in @b, into its bytes. Says which bytes those are. */
static void apply_op(const struct vdisk_op *op, struct vdisk_block *b, u64 *from,
		     u32 *len)
{
	u64 off = max(op_off(op), b->off);
	u64 end = min(op_end(op), b->off + VDISK_BLOCK), at;
	u32 i;

	lockdep_assert_held(&b->cache->lock);
	*from = off;
	*len = (u32)(end - off);
	switch (op->kind) {
	case VDISK_OP_BITS:
		set_bits(op, b);
		break;
	case VDISK_OP_ZERO:
		memset(b->data + (off - b->off), 0, end - off);
		break;
	case VDISK_OP_SET:
		/* Formats align their integers: none crosses a block. */
		i = (u32)div_u64(off - op->off + op->width - 1, op->width);
		for (at = op->off + (u64)i * op->width;
		     i < op->count && at + op->width <= end;
		     i++, at += op->width)
			set_int(b->data + (at - b->off), op, i);
		break;
	}
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
	u64 off = round_down(op_off(op), VDISK_BLOCK);
	int r = 0;

	for (; !r && off < op_end(op); off += VDISK_BLOCK)
		r = pins_add(pins, image, off);
	return r;
}

/* Write the sectors of [from, from + len) of a block through to the file. */
static int write_through(struct vdisk_image *image, struct vdisk_block *b,
			 const u8 *bytes, u64 from, u32 len)
{
	u64 off = round_down(from, VDISK_SECTOR);
	u64 end = round_up(from + len, VDISK_SECTOR);

	return image->backing->ops->rw(image->backing, true, off,
				       (u8 *)bytes + (off - b->off), end - off);
}

/*
 * New metadata: nothing points to it, so its sectors hold no entries that wait
 * for a commit, and it may go to the file as it is in the cache.
 */
static int run_new(struct vdisk_image *image, const struct vdisk_op *op)
{
	u64 off = round_down(op_off(op), VDISK_BLOCK), from;
	struct vdisk_block *b;
	u32 len;
	int r = 0;

	if (op->kind == VDISK_OP_ZERO &&
	    !((op->off | op->value) % VDISK_SECTOR)) {
		r = image->backing->ops->zero(image->backing, op->off,
					      op->value, false);
		if (!r)
			vdisk_cache_zeroed(&image->cache, op->off, op->value);
		return r;
	}
	for (; !r && off < op_end(op); off += VDISK_BLOCK) {
		b = vdisk_cache_pin(&image->cache, off, false);
		if (IS_ERR(b))
			return PTR_ERR(b);
		spin_lock_irq(&image->cache.lock);
		write_seqcount_begin(&image->seq);
		apply_op(op, b, &from, &len);
		write_seqcount_end(&image->seq);
		spin_unlock_irq(&image->cache.lock);
		r = write_through(image, b, b->data, from, len);
		vdisk_cache_unpin(b);
	}
	return r;
}

/*
 * Take a copy of a block in which @op is done and nothing waits for a commit:
 * what does is committed first.
 */
static int copy_header(struct vdisk_image *image, const struct vdisk_op *op,
		       struct vdisk_block *b, u8 *copy, u64 *from, u32 *len)
{
	bool clean = false;
	int r = 0;

	while (!r && !clean) {
		spin_lock_irq(&image->cache.lock);
		clean = !b->dirty;
		if (clean) {
			write_seqcount_begin(&image->seq);
			apply_op(op, b, from, len);
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
 * A header field, which may share its sector with entries whose data is not
 * durable yet.
 */
static int run_header(struct vdisk_image *image, const struct vdisk_op *op)
{
	u64 off = round_down(op_off(op), VDISK_BLOCK), from;
	u8 *copy = (u8 *)__get_free_page(GFP_NOIO);
	struct vdisk_block *b;
	u32 len;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	for (; !r && off < op_end(op); off += VDISK_BLOCK) {
		b = vdisk_cache_pin(&image->cache, off, true);
		if (IS_ERR(b)) {
			r = PTR_ERR(b);
			break;
		}
		r = copy_header(image, op, b, copy, &from, &len);
		if (!r)
			r = write_through(image, b, copy, from, len);
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
static bool op_within(const struct vdisk_op *op, u64 skip, u64 skip_end)
{
	return op->off >= skip && op_end(op) <= skip_end;
}

int vdisk_plan_run(struct vdisk_image *image, const struct vdisk_plan *plan,
		   enum vdisk_phase phase, u64 skip, u64 skip_end)
{
	bool durable = false;
	u32 i;
	int r = 0;

	for (i = 0; !r && i < plan->nr; i++) {
		const struct vdisk_op *op = &plan->op[i];

		if (op->phase != phase || op_within(op, skip, skip_end))
			continue;
		/* A length alone is durable with the data that needs it. */
		durable |= op->kind != VDISK_OP_LENGTH;
		if (op->kind == VDISK_OP_LENGTH)
			r = image->backing->ops->set_len(image->backing,
							 op->off);
		else if (op->kind == VDISK_OP_TAIL)
			r = run_tail(image, op->off);
		else if (phase == VDISK_IN_DATA)
			r = run_new(image, op);
		else
			r = run_header(image, op);
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

static void publish_op(struct vdisk_pins *pins, const struct vdisk_op *op)
{
	struct vdisk_block *b;
	unsigned int i;
	u64 from;
	u32 len;

	for (i = 0; i < pins->nr; i++) {
		b = pins->block[i];
		if (op_off(op) >= b->off + VDISK_BLOCK || op_end(op) <= b->off)
			continue;
		apply_op(op, b, &from, &len);
		vdisk_cache_dirty(b, from, len);
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
			publish_op(pins, &plan->op[i]);
	write_seqcount_end(&image->seq);
	if (freed)
		list_add_tail(&freed->link, &image->freed);
	spin_unlock_irq(&cache->lock);
	vdisk_commit_arm(image->v);
}

/* Apply the IN_DATA integers of a record that the caller writes whole. */
void vdisk_plan_compose(const struct vdisk_plan *plan, u64 off, u8 *buf,
			size_t len)
{
	const struct vdisk_op *op;
	u32 i, k;

	for (i = 0; i < plan->nr; i++) {
		op = &plan->op[i];
		if (op->phase != VDISK_IN_DATA || op->kind != VDISK_OP_SET ||
		    op->off < off || op_end(op) > off + len)
			continue;
		for (k = 0; k < op->count; k++)
			set_int(buf + (op->off - off) + k * op->width, op, k);
	}
}
