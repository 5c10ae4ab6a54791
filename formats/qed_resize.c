// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Another size for a QED disk: a number in the header, up to what an L1 table of
 * this length can address.
 */
#include "qed.h"
#include "resize.h"

enum { L1_OFF, ENTRIES };	/* rs->num; entries of a table */

static int qed_start(const struct vdisk_geom *geom, struct vdisk_step *step,
		     struct vdisk_resize *rs)
{
	struct qed_header_disk h;
	u64 entries, most;
	int r;

	r = vdisk_copy(step, 0, &h, sizeof(h));
	if (r)
		return r;
	entries = le32_of(h.table_size) * geom->unit_len / QED_ENTRY_LEN;
	if (vdisk_mul(entries * entries, geom->unit_sec, &most) ||
	    most > QED_MAX_SIZE / VDISK_SECTOR)
		most = QED_MAX_SIZE / VDISK_SECTOR;
	if (rs->size_sec > most)
		return vdisk_bad(step, "QED tables hold fewer sectors", most);
	rs->num[L1_OFF] = le64_of(h.l1_table_offset);
	rs->num[ENTRIES] = entries;
	rs->nr_tables = entries + 1;
	return 0;
}

/* L1, then its L2 tables. */
static int qed_table(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_resize *rs, u64 i,
		     struct vdisk_resize_table *table)
{
	u64 entries = rs->num[ENTRIES];
	const u8 *p;

	*table = (struct vdisk_resize_table){
		.off = rs->num[L1_OFF], .entries = entries,
		.width = QED_ENTRY_LEN, .absent = QED_ABSENT,
		.least = QED_ZERO + 1, .scale = 1,
		.len = entries * QED_ENTRY_LEN, .align = geom->unit_align,
		.each_sec = entries * geom->unit_sec, .tables = true,
	};
	if (!i)
		return 0;
	p = vdisk_want(step, table->off + (i - 1) * QED_ENTRY_LEN,
		       QED_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	table->off = vdisk_le64(p);
	table->entries = table->off ? entries : 0;
	table->first_sec = (i - 1) * table->each_sec;
	table->each_sec = geom->unit_sec;
	table->len = geom->unit_len;
	table->tables = false;
	return 0;
}

static int qed_header(const struct vdisk_geom *geom, struct vdisk_step *step,
		      const struct vdisk_resize *rs, struct vdisk_plan *plan)
{
	vdisk_plan_set(plan, VDISK_BEFORE,
		       offsetof(struct qed_header_disk, image_size), 8, false,
		       1, rs->size_sec * VDISK_SECTOR, 0);
	return 0;
}

static int qed_publish(const struct vdisk_geom *geom, struct vdisk_step *step,
		       const struct vdisk_resize *rs, u32 i,
		       struct vdisk_plan *plan)
{
	return i ? 0 : qed_header(geom, step, rs, plan);
}

const struct vdisk_resizer vdisk_qed_resizer = {
	.format		= &vdisk_qed_format,
	.start		= qed_start,
	.table		= qed_table,
	.header		= qed_header,
	.publish	= qed_publish,
};
