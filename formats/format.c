// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The table of formats, and what all of them use. */
#include "format.h"

const struct vdisk_format *const vdisk_formats[] = {
	&vdisk_vhd_format,
	&vdisk_vmdk_format,
	&vdisk_cowd_format,
	&vdisk_sesparse_format,
	&vdisk_parallels_format,
	&vdisk_qed_format,
	&vdisk_raw_format,
	&vdisk_zero_format,
	&vdisk_error_format,
	NULL,
};

static bool same_name(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

const struct vdisk_format *vdisk_format_find(const char *name)
{
	u32 i;

	for (i = 0; vdisk_formats[i]; i++) {
		const struct vdisk_format *f = vdisk_formats[i];

		if (same_name(f->name, name) ||
		    (f->alias && same_name(f->alias, name)))
			return f;
	}
	return NULL;
}

u32 vdisk_have(const struct vdisk_step *step, u64 off, u32 len,
	       const u8 **data)
{
	u32 i, n, best = 0;

	*data = NULL;
	for (i = 0; i < step->nr_views && best < len; i++) {
		const struct vdisk_view *v = &step->view[i];

		if (off < v->off || off - v->off >= v->len)
			continue;
		n = (u32)vdisk_min(len, v->len - (off - v->off));
		if (n > best) {
			best = n;
			*data = v->data + (off - v->off);
		}
	}
	return best;
}

/* Two entries at a time: who reads all of a table is here most of the time. */
u64 vdisk_count_up(const u8 *p, u64 n, u32 first, u32 add, bool big)
{
	const u64 both = 1ull << 32 | 1;
	u64 i = 0, two, inc = 2ull * add * both, one;

	/* Neither half may run over. */
	if (add)
		n = vdisk_min(n, vdisk_div(0xFFFFFFFF - first, add) + 1);
	two = first * both + ((u64)add << (big ? 0 : 32));
	if (big)
		for (; i + 2 <= n && vdisk_be64(p + i * 4) == two; i += 2)
			two += inc;
	else
		for (; i + 2 <= n && vdisk_le64(p + i * 4) == two; i += 2)
			two += inc;
	if (i < n) {
		one = big ? vdisk_be32(p + i * 4) : vdisk_le32(p + i * 4);
		i += one == first + i * add;
	}
	return i;
}

static void need_bytes(struct vdisk_step *step, u64 off, u32 len)
{
	step->need = (struct vdisk_need){
		.kind = VDISK_NEED_BYTES, .off = off, .len = len,
	};
}

const u8 *vdisk_want(struct vdisk_step *step, u64 off, u32 len)
{
	const struct vdisk_view *v;
	const u8 *data;

	if (vdisk_have(step, off, len, &data) == len)
		return data;
	if (step->show && step->show(step, off)) {
		v = &step->view[step->nr_views - 1];
		if (len <= v->len - (off - v->off))
			return v->data + (off - v->off);
	}
	need_bytes(step, off, len);
	return NULL;
}

int vdisk_copy(struct vdisk_step *step, u64 off, void *dst, u32 len)
{
	u8 *to = dst;
	const u8 *data;
	u32 n;

	while (len) {
		n = (u32)vdisk_min(len, VDISK_BLOCK - (off & (VDISK_BLOCK - 1)));
		data = vdisk_want(step, off, n);
		if (!data)
			return -EAGAIN;
		memcpy(to, data, n);
		to += n;
		off += n;
		len -= n;
	}
	return 0;
}

bool vdisk_fact_of(const struct vdisk_geom *geom,
		   const struct vdisk_fact_row *rows, u32 nr, u32 i,
		   struct vdisk_fact *fact)
{
	if (i >= nr)
		return false;
	fact->name = rows[i].name;
	fact->kind = rows[i].kind;
	fact->num = geom->priv[rows[i].from];
	if (rows[i].kind == VDISK_FACT_BOOL)
		fact->num = rows[i].bits ? !!(fact->num & rows[i].bits) :
					   !!fact->num;
	return true;
}

int vdisk_bad(struct vdisk_step *step, const char *why, u64 value)
{
	step->why = why;
	step->value = value;
	return -EUCLEAN;
}

int vdisk_bad_sum(struct vdisk_step *step, const char *why, u64 stored,
		  u64 right)
{
	step->sum = true;
	step->right = right;
	return vdisk_bad(step, why, stored);
}

int vdisk_full(struct vdisk_step *step, const char *why, u64 value)
{
	step->full = true;
	return vdisk_bad(step, why, value);
}

bool vdisk_want_unit(struct vdisk_step *step, const struct vdisk_geom *geom,
		     u32 len, u32 count)
{
	if (step->unit.count)
		return true;
	step->need = (struct vdisk_need){
		.kind = VDISK_NEED_UNIT, .len = len, .count = count,
		.align = geom->unit_align, .base = geom->unit_base,
	};
	return false;
}

bool vdisk_want_table(struct vdisk_step *step, u32 len, u64 align, u64 base)
{
	if (step->table.count)
		return true;
	step->need = (struct vdisk_need){
		.kind = VDISK_NEED_TABLE, .len = len, .count = 1,
		.align = align, .base = base,
	};
	return false;
}
