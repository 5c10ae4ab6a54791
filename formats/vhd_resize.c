// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Another size for a VHD disk.
 *
 * Footer and copy must be equal and cannot be written at once. So the footer is
 * first made none at all, which leaves the copy to decide; then the copy is
 * changed, in one sector; then the footer is written again. No crash leaves two
 * that differ.
 *
 * A fixed disk has no copy. Its new footer goes to the new end first. Where that
 * is the longer file the old footer lies inside of the disk then, and is made
 * zero next: a crash between the two shows it in the first new sector.
 */
#include "make.h"
#include "resize.h"
#include "vhd.h"

enum { HEADER_OFF, BAT_OFF, ENTRIES, NEW_ENTRIES };	/* rs->num */

static bool is_fixed(const struct vdisk_geom *geom)
{
	return geom->flags & VDISK_GEOM_NO_ALLOC;
}

static void set_size(struct vhd_footer_disk *f, u64 sectors)
{
	struct vhd_chs g = vhd_geometry(sectors);

	f->current_size = to_be64(sectors * VDISK_SECTOR);
	f->cylinders = to_be16(g.cylinders);
	f->heads = (u8)g.heads;
	f->sectors = (u8)g.sectors;
	f->checksum = to_be32(vhd_checksum(f, sizeof(*f),
			      offsetof(struct vhd_footer_disk, checksum)));
}

/* What else than blocks lies where the BAT is to grow. */
static int check_way(struct vdisk_step *step, const struct vdisk_resize *rs,
		     const struct vhd_header_disk *h, u64 bat_end)
{
	u64 off, len, header = rs->num[HEADER_OFF];
	u32 i;

	if (header < rs->clear_off && bat_end < header + VHD_HEADER_LEN)
		return vdisk_bad(step, "VHD header lies behind the BAT", header);
	for (i = 0; i < VHD_LOCATORS; i++) {
		off = be64_of(h->locator[i].data_offset);
		len = be32_of(h->locator[i].data_length);
		if (be32_of(h->locator[i].code) && len &&
		    off < rs->clear_off && bat_end < off + len)
			return vdisk_bad(step, "Parent locator lies behind the BAT",
					 off);
	}
	return 0;
}

static int start_sparse(const struct vdisk_geom *geom, struct vdisk_step *step,
			const struct vhd_footer_disk *f,
			struct vdisk_resize *rs)
{
	u64 header = be64_of(f->data_offset), bat, need, end;
	struct vhd_header_disk h;
	int r;

	r = vdisk_copy(step, header, &h, sizeof(h));
	if (r)
		return r;
	bat = be64_of(h.table_offset);
	need = vdisk_div_up(rs->size_sec, geom->unit_sec);
	rs->num[HEADER_OFF] = header;
	rs->num[BAT_OFF] = bat;
	rs->num[ENTRIES] = be32_of(h.max_table_entries);
	rs->num[NEW_ENTRIES] = vdisk_max(need, rs->num[ENTRIES]);
	rs->nr_tables = 1;
	if (need <= rs->num[ENTRIES])
		return 0;
	end = bat + rs->num[ENTRIES] * 4;
	rs->clear_off = vdisk_align(bat + need * 4, VDISK_SECTOR, 0);
	/* The bits that say which blocks are full stand behind it there. */
	if (be32_of(f->creator_app) == VHD_BY_BLKTAP)
		return vdisk_bad(step, "BAT of blktap cannot grow",
				 rs->num[ENTRIES]);
	return check_way(step, rs, &h, end);
}

static int vhd_start(const struct vdisk_geom *geom, struct vdisk_step *step,
		     struct vdisk_resize *rs)
{
	struct vhd_footer_disk f;
	int r = 0;

	if (rs->size_sec > VHD_MAX_SECTORS && !is_fixed(geom))
		return vdisk_bad(step, "VHD is larger than 2040 GiB",
				 rs->size_sec);
	if (rs->size_sec >= VHD_MAX_FIXED)
		return vdisk_bad(step, "Fixed VHD is too large", rs->size_sec);
	memcpy(&f, geom->tail, sizeof(f));
	if (!is_fixed(geom))
		r = start_sparse(geom, step, &f, rs);
	if (r)
		return r;
	set_size(&f, rs->size_sec);
	memcpy(rs->tail, &f, sizeof(f));
	return 0;
}

static int vhd_table(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_resize *rs, u64 i,
		     struct vdisk_resize_table *table)
{
	*table = (struct vdisk_resize_table){
		.off = rs->num[BAT_OFF], .entries = rs->num[ENTRIES],
		.width = 4, .big = true, .absent = VHD_FREE,
		.scale = VDISK_SECTOR, .len = geom->unit_len,
		.align = geom->unit_align, .base = geom->unit_base,
		.each_sec = geom->unit_sec,
	};
	return 0;
}

/* To the end of its last sector, as others keep it. */
static int vhd_extend(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct vdisk_resize *rs, struct vdisk_plan *plan,
		      struct vdisk_resize_copy copy[2])
{
	u64 end = rs->num[BAT_OFF] + rs->num[ENTRIES] * 4;

	if (rs->clear_off > end)
		vdisk_plan_set(plan, VDISK_BEFORE, end, 4, true,
			       (u32)((rs->clear_off - end) / 4), VHD_FREE, 0);
	return 0;
}

/* Both fields are in the header's first sector. */
static int set_entries(struct vdisk_step *step, const struct vdisk_resize *rs,
		       struct vdisk_plan *plan)
{
	u32 sum_at = offsetof(struct vhd_header_disk, checksum);
	u64 at = rs->num[HEADER_OFF];
	struct vhd_header_disk h;
	int r;

	if (rs->num[NEW_ENTRIES] == rs->num[ENTRIES])
		return 0;
	r = vdisk_copy(step, at, &h, sizeof(h));
	if (r)
		return r;
	h.max_table_entries = to_be32(rs->num[NEW_ENTRIES]);
	vdisk_plan_set(plan, VDISK_BEFORE,
		       at + offsetof(struct vhd_header_disk, max_table_entries),
		       4, true, 1, rs->num[NEW_ENTRIES], 0);
	vdisk_plan_set(plan, VDISK_BEFORE, at + sum_at, 4, true, 1,
		       vhd_checksum(&h, sizeof(h), sum_at), 0);
	return 0;
}

static int vhd_header(const struct vdisk_geom *geom, struct vdisk_step *step,
		      const struct vdisk_resize *rs, struct vdisk_plan *plan)
{
	if (is_fixed(geom))
		return 0;
	vdisk_plan_tail(plan, VDISK_BEFORE, 0);
	vdisk_plan_tail(plan, VDISK_BEFORE, step->data_end);
	return set_entries(step, rs, plan);
}

static int publish_fixed(const struct vdisk_geom *geom, struct vdisk_step *step,
			 const struct vdisk_resize *rs, u32 i,
			 struct vdisk_plan *plan)
{
	u64 end = rs->size_sec * VDISK_SECTOR;
	u64 old_end = rs->old_sec * VDISK_SECTOR;

	if (!i)
		vdisk_plan_tail(plan, VDISK_BEFORE, end);
	else if (i == 1 && end > old_end)
		vdisk_plan_zero(plan, VDISK_BEFORE, old_end,
				vdisk_min(end, geom->data_end +
					  VHD_FOOTER_LEN) - old_end);
	else if (step->file_len > end + VHD_FOOTER_LEN)
		vdisk_plan_length(plan, VDISK_BEFORE, end + VHD_FOOTER_LEN);
	return 0;
}

static int vhd_publish(const struct vdisk_geom *geom, struct vdisk_step *step,
		       const struct vdisk_resize *rs, u32 i,
		       struct vdisk_plan *plan)
{
	if (is_fixed(geom))
		return publish_fixed(geom, step, rs, i, plan);
	if (i == 0 && rs->num[NEW_ENTRIES] > rs->num[ENTRIES])
		return set_entries(step, rs, plan);
	if (i <= 1)
		vdisk_plan_zero(plan, VDISK_BEFORE, step->data_end,
				VHD_FOOTER_LEN);
	else if (i <= 3)
		vdisk_plan_tail(plan, VDISK_BEFORE, i == 2 ? 0 : step->data_end);
	return 0;
}

const struct vdisk_resizer vdisk_vhd_resizer = {
	.format		= &vdisk_vhd_format,
	.start		= vhd_start,
	.table		= vhd_table,
	.extend		= vhd_extend,
	.header		= vhd_header,
	.publish	= vhd_publish,
};
