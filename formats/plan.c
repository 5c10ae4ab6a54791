// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Plans: how formats make them, what an op changes, and which ops go out in one
 * write. All who run plans ask here, so that an op means the same everywhere.
 */
#include "format.h"

static void plan_op(struct vdisk_plan *plan, const struct vdisk_op *op)
{
	if (plan->nr < VDISK_MAX_OPS)
		plan->op[plan->nr++] = *op;
}

void vdisk_plan_set(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off,
		    u32 width, bool big, u32 count, u64 value, u64 step)
{
	plan_op(plan, &(struct vdisk_op){
		.phase = phase, .kind = VDISK_OP_SET, .width = (u8)width,
		.big = big, .count = count, .off = off, .value = value,
		.step = step,
	});
}

void vdisk_plan_bits(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off,
		     u64 first, u32 count, bool value)
{
	plan_op(plan, &(struct vdisk_op){
		.phase = phase, .kind = VDISK_OP_BITS, .count = count,
		.off = off, .value = first, .step = value,
	});
}

void vdisk_plan_zero(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off,
		     u64 len)
{
	plan_op(plan, &(struct vdisk_op){
		.phase = phase, .kind = VDISK_OP_ZERO, .off = off, .value = len,
	});
}

void vdisk_plan_tail(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off)
{
	plan_op(plan, &(struct vdisk_op){
		.phase = phase, .kind = VDISK_OP_TAIL, .off = off,
	});
}

void vdisk_plan_length(struct vdisk_plan *plan, enum vdisk_phase phase,
		       u64 off)
{
	plan_op(plan, &(struct vdisk_op){
		.phase = phase, .kind = VDISK_OP_LENGTH, .off = off,
	});
}

void vdisk_op_range(const struct vdisk_geom *geom, const struct vdisk_op *op,
		    u64 *off, u64 *len)
{
	*off = op->off;
	switch ((enum vdisk_op_kind)op->kind) {
	case VDISK_OP_SET:
		*len = (u64)op->count * op->width;
		break;
	case VDISK_OP_BITS:
		*off += op->value / 8;
		*len = (op->value % 8 + op->count + 7) / 8;
		break;
	case VDISK_OP_ZERO:
		*len = op->value;
		break;
	case VDISK_OP_TAIL:
		*len = geom->tail_len;
		break;
	default:
		*len = 0;
	}
}

/* The integers that lie in [lo, hi), if only in part; @buf is the file from @off. */
static void apply_set(const struct vdisk_op *op, u64 lo, u64 hi, u64 off,
		      u8 *buf)
{
	u64 i = vdisk_div(lo - op->off, op->width), from, to;
	u64 at = op->off + i * op->width;
	u8 v[8];

	for (; at < hi; i++, at += op->width) {
		vdisk_store(v, op->value + i * op->step, op->width, op->big);
		from = vdisk_max(at, lo);
		to = vdisk_min(at + op->width, hi);
		memcpy(buf + (from - off), v + (from - at), to - from);
	}
}

/* The bits of the bytes [lo, hi). */
static void apply_bits(const struct vdisk_op *op, u64 lo, u64 hi, u64 off,
		       u8 *buf)
{
	u64 bit = vdisk_max((lo - op->off) * 8, op->value);
	u64 end = vdisk_min((hi - op->off) * 8, op->value + op->count);

	for (; bit < end; bit++) {
		u8 *byte = buf + (op->off + bit / 8 - off);
		u8 mask = (u8)(0x80 >> (bit & 7));

		*byte = op->step & 1 ? *byte | mask : *byte & (u8)~mask;
	}
}

void vdisk_op_apply(const struct vdisk_geom *geom, const struct vdisk_op *op,
		    u64 off, u8 *buf, u64 len)
{
	u64 lo, hi;

	vdisk_op_range(geom, op, &lo, &hi);
	hi = vdisk_min(lo + hi, off + len);
	lo = vdisk_max(lo, off);
	if (lo >= hi)
		return;
	switch ((enum vdisk_op_kind)op->kind) {
	case VDISK_OP_SET:
		apply_set(op, lo, hi, off, buf);
		break;
	case VDISK_OP_BITS:
		apply_bits(op, lo, hi, off, buf);
		break;
	case VDISK_OP_TAIL:
		memcpy(buf + (lo - off), geom->tail + (lo - op->off), hi - lo);
		break;
	default:
		memset(buf + (lo - off), 0, hi - lo);
	}
}

/* Does @op lie in one sector? In which? */
static bool one_sector(const struct vdisk_geom *geom, const struct vdisk_op *op,
		       u64 *sector)
{
	u64 off, len;

	vdisk_op_range(geom, op, &off, &len);
	*sector = off >> VDISK_SHIFT;
	return len && (off + len - 1) >> VDISK_SHIFT == *sector;
}

u32 vdisk_plan_together(const struct vdisk_geom *geom,
			const struct vdisk_plan *plan, u32 i)
{
	u64 first, sector;
	u32 n = 1;

	if (!one_sector(geom, &plan->op[i], &first))
		return 1;
	while (i + n < plan->nr && plan->op[i + n].phase == plan->op[i].phase &&
	       one_sector(geom, &plan->op[i + n], &sector) && sector == first)
		n++;
	return n;
}
