// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Another size for a VMDK extent, hosted or COWD. Capacity and the places of
 * the directories are in the first sector, so they change at once.
 *
 * A hosted extent gets longer directories at a new place, with tables for all
 * entries: QEMU destroys the extent when it writes where there is no table. In
 * a compressed one QEMU writes nothing, and tables come when they are needed.
 * A COWD directory must precede all grains: it grows where it is, and what lies
 * there makes way.
 */
#include "resize.h"
#include "vmdk.h"

/* rs->num; NEW_GD, NEW_RGD: bytes */
enum { GDES, NEW_GDES, ROOM, NEW_GD, NEW_RGD, NEW_GT };

static u64 gdes_of(const struct vdisk_geom *geom, u64 sectors)
{
	return vdisk_div_up(sectors, geom->priv[VMDK_GTES] * geom->unit_sec);
}

static u64 table_len(const struct vdisk_geom *geom)
{
	return vdisk_align(geom->priv[VMDK_GTES] * VMDK_ENTRY_LEN,
			   VDISK_SECTOR, 0);
}

static u64 dir_len(u64 gdes)
{
	return vdisk_align(gdes * VMDK_ENTRY_LEN, VDISK_SECTOR, 0);
}

static int vmdk_start(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct vdisk_resize *rs)
{
	u64 sets = geom->priv[VMDK_RGD_OFF] ? 2 : 1;
	u64 old = geom->priv[VMDK_GDES], gdes;

	if (rs->size_sec >= VMDK_MAX_SECTORS)
		return vdisk_bad(step, "VMDK capacity is too large",
				 rs->size_sec);
	gdes = gdes_of(geom, rs->size_sec);
	if (gdes > VMDK_MAX_GDES)
		return vdisk_bad(step, "Grain directory is too large", gdes);
	rs->num[GDES] = old;
	rs->num[NEW_GDES] = gdes;
	rs->num[NEW_GD] = geom->priv[VMDK_GD_OFF];
	rs->num[NEW_RGD] = geom->priv[VMDK_RGD_OFF];
	rs->nr_tables = old + 1;
	if (gdes <= old)
		return 0;
	rs->num[ROOM] = sets * dir_len(gdes);
	if (!(geom->flags & VDISK_GEOM_PACKED))
		rs->num[ROOM] += sets * (gdes - old) * table_len(geom);
	if (rs->num[ROOM] >> 32)
		return vdisk_bad(step, "Grain directory is too large", gdes);
	return 0;
}

/* Entry @gd of the directory at @off, in bytes. */
static int dir_entry(struct vdisk_step *step, u64 off, u64 gd, u64 *table_off)
{
	const u8 *p = vdisk_want(step, off + gd * VMDK_ENTRY_LEN,
				 VMDK_ENTRY_LEN);

	if (!p)
		return -EAGAIN;
	*table_off = (u64)vdisk_le32(p) * VDISK_SECTOR;
	return 0;
}

/* The directory, then the tables it names. */
static int vmdk_table(const struct vdisk_geom *geom, struct vdisk_step *step,
		      const struct vdisk_resize *rs, u64 i,
		      struct vdisk_resize_table *table)
{
	u64 gtes = geom->priv[VMDK_GTES], rgd = geom->priv[VMDK_RGD_OFF];
	int r;

	*table = (struct vdisk_resize_table){
		.off = geom->priv[VMDK_GD_OFF], .entries = rs->num[GDES],
		.width = VMDK_ENTRY_LEN, .least = 1, .scale = VDISK_SECTOR,
		.len = table_len(geom), .align = VDISK_BLOCK,
		.each_sec = gtes * geom->unit_sec, .tables = true,
	};
	if (!i)
		return 0;
	table->tables = false;
	table->first_sec = (i - 1) * table->each_sec;
	table->each_sec = geom->unit_sec;
	table->least = geom->priv[VMDK_FLAGS] & VMDK_ZEROED ? 2 : 1;
	/* Only its own marker says how long a compressed grain is. */
	table->len = geom->flags & VDISK_GEOM_PACKED ? 0 : geom->unit_len;
	table->align = geom->unit_align;
	table->entries = gtes;
	r = dir_entry(step, table->off, i - 1, &table->off);
	if (!r && !table->off)
		table->entries = 0;
	else if (!r && rgd)
		r = dir_entry(step, rgd, i - 1, &table->twin_off);
	if (table->twin_off == table->off)
		table->twin_off = 0;
	return r;
}

static void set_tables(const struct vdisk_geom *geom,
		       const struct vdisk_resize *rs, u64 dir_off, u64 tables,
		       struct vdisk_plan *plan)
{
	u64 old = rs->num[GDES], more = rs->num[NEW_GDES] - old;
	u64 at = dir_off + old * VMDK_ENTRY_LEN;

	if (geom->flags & VDISK_GEOM_PACKED)
		vdisk_plan_zero(plan, VDISK_BEFORE, at, more * VMDK_ENTRY_LEN);
	else
		vdisk_plan_set(plan, VDISK_BEFORE, at, VMDK_ENTRY_LEN, false,
			       (u32)more, tables / VDISK_SECTOR,
			       table_len(geom) / VDISK_SECTOR);
}

static int vmdk_extend(const struct vdisk_geom *geom, struct vdisk_step *step,
		       struct vdisk_resize *rs, struct vdisk_plan *plan,
		       struct vdisk_resize_copy copy[2])
{
	u64 old = rs->num[GDES], gdes = rs->num[NEW_GDES], at, tables;

	if (gdes <= old)
		return 0;
	if (!vdisk_want_table(step, (u32)rs->num[ROOM], VDISK_SECTOR, 0))
		return -EAGAIN;
	at = step->table.off;
	if (at + rs->num[ROOM] > VMDK_MAX_OFF)
		return vdisk_bad(step, "VMDK file is full at 2 TiB", at);
	rs->num[NEW_GD] = at;
	copy[0] = (struct vdisk_resize_copy){
		geom->priv[VMDK_GD_OFF], at, old * VMDK_ENTRY_LEN,
	};
	tables = at + dir_len(gdes);
	if (geom->priv[VMDK_RGD_OFF]) {
		rs->num[NEW_RGD] = tables;
		copy[1] = (struct vdisk_resize_copy){
			geom->priv[VMDK_RGD_OFF], tables, old * VMDK_ENTRY_LEN,
		};
		tables += dir_len(gdes);
	}
	/* Tables of zeroes, and the ends of the directories. */
	vdisk_plan_zero(plan, VDISK_BEFORE, at, rs->num[ROOM]);
	set_tables(geom, rs, at, tables, plan);
	if (geom->priv[VMDK_RGD_OFF])
		set_tables(geom, rs, rs->num[NEW_RGD],
			   tables + (gdes - old) * table_len(geom), plan);
	return 0;
}

static void set(struct vdisk_plan *plan, u64 off, u32 width, u64 value)
{
	vdisk_plan_set(plan, VDISK_BEFORE, off, width, false, 1, value, 0);
}

static int vmdk_header(const struct vdisk_geom *geom, struct vdisk_step *step,
		       const struct vdisk_resize *rs, struct vdisk_plan *plan)
{
	set(plan, offsetof(struct vmdk_header_disk, capacity), 8, rs->size_sec);
	if (rs->num[NEW_GDES] <= rs->num[GDES])
		return 0;
	set(plan, offsetof(struct vmdk_header_disk, gd_offset), 8,
	    rs->num[NEW_GD] / VDISK_SECTOR);
	if (rs->num[NEW_RGD])
		set(plan, offsetof(struct vmdk_header_disk, rgd_offset), 8,
		    rs->num[NEW_RGD] / VDISK_SECTOR);
	return 0;
}

static int vmdk_publish(const struct vdisk_geom *geom, struct vdisk_step *step,
			const struct vdisk_resize *rs, u32 i,
			struct vdisk_plan *plan)
{
	return i ? 0 : vmdk_header(geom, step, rs, plan);
}

const struct vdisk_resizer vdisk_vmdk_resizer = {
	.format		= &vdisk_vmdk_format,
	.start		= vmdk_start,
	.table		= vmdk_table,
	.extend		= vmdk_extend,
	.header		= vmdk_header,
	.publish	= vmdk_publish,
};

/*-----------------------------------------------------------------
 * COWD
 */

static int cowd_start(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct vdisk_resize *rs)
{
	struct cowd_header_disk h;
	u64 need, end;
	int r;

	if (rs->size_sec > 0xffffffffull)
		return vdisk_bad(step, "COWD disk is over 2 TiB", rs->size_sec);
	r = vdisk_copy(step, 0, &h, sizeof(h));
	if (r)
		return r;
	need = gdes_of(geom, rs->size_sec);
	rs->num[GDES] = le32_of(h.num_gdes);
	rs->num[NEW_GDES] = vdisk_max(need, rs->num[GDES]);
	rs->nr_tables = rs->num[GDES] + 1;
	end = vdisk_align(geom->priv[VMDK_GD_OFF] + rs->num[NEW_GDES] *
			  VMDK_ENTRY_LEN, VDISK_SECTOR, 0);
	if (end > geom->data_off)
		rs->clear_off = end;
	return 0;
}

static int cowd_extend(const struct vdisk_geom *geom, struct vdisk_step *step,
		       struct vdisk_resize *rs, struct vdisk_plan *plan,
		       struct vdisk_resize_copy copy[2])
{
	u64 more = rs->num[NEW_GDES] - rs->num[GDES];

	if (more)
		vdisk_plan_zero(plan, VDISK_BEFORE, geom->priv[VMDK_GD_OFF] +
				rs->num[GDES] * VMDK_ENTRY_LEN,
				more * VMDK_ENTRY_LEN);
	return 0;
}

static int cowd_header(const struct vdisk_geom *geom, struct vdisk_step *step,
		       const struct vdisk_resize *rs, struct vdisk_plan *plan)
{
	set(plan, offsetof(struct cowd_header_disk, capacity), 4, rs->size_sec);
	set(plan, offsetof(struct cowd_header_disk, num_gdes), 4,
	    rs->num[NEW_GDES]);
	return 0;
}

static int cowd_publish(const struct vdisk_geom *geom, struct vdisk_step *step,
			const struct vdisk_resize *rs, u32 i,
			struct vdisk_plan *plan)
{
	return i ? 0 : cowd_header(geom, step, rs, plan);
}

const struct vdisk_resizer vdisk_cowd_resizer = {
	.format		= &vdisk_cowd_format,
	.start		= cowd_start,
	.table		= vmdk_table,
	.extend		= cowd_extend,
	.header		= cowd_header,
	.publish	= cowd_publish,
};
