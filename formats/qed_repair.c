// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Mending QED. Nothing in the format is there twice, so a damaged pointer to a
 * table is for a human; entries of clusters can be moved and cleared.
 */
#include "qed.h"
#include "repair.h"

static int qed_point(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_range *range, u64 to,
		     struct vdisk_plan *plan)
{
	u64 cluster = vdisk_div(range->sector, geom->unit_sec), entries, l2_off;
	const struct qed_header_disk *h;
	u64 table_len, l1_off;
	const u8 *p;

	*plan = (struct vdisk_plan){ 0 };
	h = (const void *)vdisk_want(step, 0, QED_HEADER_LEN);
	if (!h)
		return -EAGAIN;
	l1_off = le64_of(h->l1_table_offset);
	table_len = (u64)le32_of(h->table_size) * le32_of(h->cluster_size);
	entries = table_len / QED_ENTRY_LEN;
	p = vdisk_want(step, l1_off + vdisk_div(cluster, entries) *
		       QED_ENTRY_LEN, QED_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	l2_off = vdisk_le64(p);
	vdisk_plan_set(plan, VDISK_PUBLISH,
		       l2_off + (cluster & (entries - 1)) * QED_ENTRY_LEN,
		       QED_ENTRY_LEN, false, 1, to, 0);
	return 0;
}

#define QED_FIELD(name, field, size) \
	{ name, offsetof(struct qed_header_disk, field), \
	  sizeof(((struct qed_header_disk *)0)->field), false, size, false }

static const struct vdisk_field fields[] = {
	QED_FIELD("l1_table_offset", l1_table_offset, false),
	QED_FIELD("cluster_size", cluster_size, false),
	QED_FIELD("table_size", table_size, false),
	QED_FIELD("header_size", header_size, false),
	QED_FIELD("image_size", image_size, true),
};

const struct vdisk_repair vdisk_qed_repair = {
	.format		= &vdisk_qed_format,
	.fields		= fields,
	.nr_fields	= sizeof(fields) / sizeof(fields[0]),
	.many		= vdisk_qed_many,
	.point		= qed_point,
};
