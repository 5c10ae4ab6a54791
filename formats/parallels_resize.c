// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Another size for a Parallels disk. All that tells it is in the first sector.
 * The BAT grows towards the data, whose start moves by whole clusters, so that
 * the clusters that stay are where they may be.
 */
#include "parallels.h"
#include "resize.h"

enum { V1, ENTRIES, NEW_ENTRIES, DATA_SEC, HEADS, CYLINDERS };	/* rs->num */

static u64 bat_end(u64 entries)
{
	return PARALLELS_HEADER_LEN + entries * PARALLELS_ENTRY_LEN;
}

static int parallels_start(const struct vdisk_geom *geom,
			   struct vdisk_step *step, struct vdisk_resize *rs)
{
	struct parallels_header_disk h;
	u64 entries, start;
	int r;

	r = vdisk_copy(step, 0, &h, sizeof(h));
	if (r)
		return r;
	rs->num[V1] = !memcmp(h.magic, PARALLELS_MAGIC_V1, sizeof(h.magic));
	if (rs->num[V1] && rs->size_sec > 0xffffffffull)
		return vdisk_bad(step, "Parallels v1 disk is over 2 TiB",
				 rs->size_sec);
	entries = vdisk_div_up(rs->size_sec, geom->unit_sec);
	if (entries > PARALLELS_MAX_ENTRIES)
		return vdisk_bad(step, "BAT has too many entries", entries);
	rs->num[ENTRIES] = le32_of(h.nb_bat_entries);
	rs->num[NEW_ENTRIES] = vdisk_max(entries, rs->num[ENTRIES]);
	rs->num[DATA_SEC] = le32_of(h.data_off);
	rs->num[HEADS] = le32_of(h.heads);
	rs->num[CYLINDERS] = le32_of(h.cylinders);
	rs->nr_tables = 1;

	start = vdisk_align(bat_end(rs->num[NEW_ENTRIES]), geom->unit_len,
			    geom->data_off);
	if (start == geom->data_off)
		return 0;
	if (start / VDISK_SECTOR > 0xffffffffull)
		return vdisk_bad(step, "BAT has too many entries", entries);
	rs->num[DATA_SEC] = start / VDISK_SECTOR;
	rs->clear_off = start;
	return 0;
}

static int parallels_table(const struct vdisk_geom *geom,
			   struct vdisk_step *step,
			   const struct vdisk_resize *rs, u64 i,
			   struct vdisk_resize_table *table)
{
	*table = (struct vdisk_resize_table){
		.off = PARALLELS_HEADER_LEN, .entries = rs->num[ENTRIES],
		.width = PARALLELS_ENTRY_LEN, .least = 1,
		.scale = rs->num[V1] ? VDISK_SECTOR : geom->unit_len,
		.len = geom->unit_len, .align = geom->unit_align,
		.base = geom->unit_base, .each_sec = geom->unit_sec,
	};
	return 0;
}

static int parallels_extend(const struct vdisk_geom *geom,
			    struct vdisk_step *step, struct vdisk_resize *rs,
			    struct vdisk_plan *plan,
			    struct vdisk_resize_copy copy[2])
{
	u64 old_end = bat_end(rs->num[ENTRIES]);
	u64 new_end = bat_end(rs->num[NEW_ENTRIES]);

	if (new_end > old_end)
		vdisk_plan_zero(plan, VDISK_BEFORE, old_end, new_end - old_end);
	return 0;
}

static void set(struct vdisk_plan *plan, u64 off, u32 width, u64 value)
{
	vdisk_plan_set(plan, VDISK_BEFORE, off, width, false, 1, value, 0);
}

static int parallels_header(const struct vdisk_geom *geom,
			    struct vdisk_step *step,
			    const struct vdisk_resize *rs,
			    struct vdisk_plan *plan)
{
	u64 heads = rs->num[HEADS];

	set(plan, offsetof(struct parallels_header_disk, nb_sectors), 8,
	    rs->size_sec);
	set(plan, offsetof(struct parallels_header_disk, nb_bat_entries), 4,
	    rs->num[NEW_ENTRIES]);
	set(plan, offsetof(struct parallels_header_disk, data_off), 4,
	    rs->num[DATA_SEC]);
	/* The hint follows if it was right before. */
	if (heads && rs->num[CYLINDERS] == vdisk_div(rs->old_sec, heads * 32))
		set(plan, offsetof(struct parallels_header_disk, cylinders), 4,
		    vdisk_min(vdisk_div(rs->size_sec, heads * 32), 0xffffffff));
	return 0;
}

static int parallels_publish(const struct vdisk_geom *geom,
			     struct vdisk_step *step,
			     const struct vdisk_resize *rs, u32 i,
			     struct vdisk_plan *plan)
{
	return i ? 0 : parallels_header(geom, step, rs, plan);
}

const struct vdisk_resizer vdisk_parallels_resizer = {
	.format		= &vdisk_parallels_format,
	.start		= parallels_start,
	.table		= parallels_table,
	.extend		= parallels_extend,
	.header		= parallels_header,
	.publish	= parallels_publish,
};
