// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Where grains and grain tables of VMDK may lie: on nothing else that is there.
 * What the header calls the overhead does not matter to a reader.
 */
#include "vmdk.h"

static u64 limit_of(const struct vdisk_step *step)
{
	return vdisk_min(step->data_end, step->file_len);
}

static bool overlap(u64 a, u64 a_len, u64 b, u64 b_len)
{
	return a < b + b_len && b < a + a_len;
}

/*
 * What the file holds besides grains, as far as the header tells. Grain tables
 * made on demand are known only by walking the directory, so those are for a
 * check to find.
 */
static const enum vmdk_priv front[] = {
	VMDK_DESC_OFF, VMDK_GD_OFF, VMDK_RGD_OFF,
};

static bool in_metadata(const struct vdisk_geom *geom, u64 off, u64 len)
{
	u32 i;

	if (off < geom->priv[VMDK_META_LEN])
		return true;
	for (i = 0; i < sizeof(front) / sizeof(front[0]); i++)
		if (overlap(off, len, geom->priv[front[i]],
			    geom->priv[front[i] + 1]))
			return true;
	return false;
}

u64 vdisk_vmdk_room_end(const struct vdisk_geom *geom,
			const struct vdisk_step *step, u64 off)
{
	u64 end = limit_of(step);
	u32 i;

	for (i = 0; i < sizeof(front) / sizeof(front[0]); i++)
		if (geom->priv[front[i] + 1] && geom->priv[front[i]] > off)
			end = vdisk_min(end, geom->priv[front[i]]);
	return end;
}

const char *vdisk_vmdk_grain_fault(const struct vdisk_geom *geom,
				   const struct vdisk_step *step, u64 grain,
				   u64 entry)
{
	u64 off = entry * VDISK_SECTOR, end = limit_of(step), len;

	if (geom->priv[VMDK_FLAGS] & VMDK_COMPRESSED) {
		len = VMDK_GRAIN_HEAD + 1;
	} else {
		/* The last grain may be as short as the disk needs it. */
		len = geom->priv[VMDK_CAPACITY] -
		      (grain << geom->priv[VMDK_GRAIN_SHIFT]);
		len = vdisk_min(len, geom->unit_sec) * VDISK_SECTOR;
	}
	if (in_metadata(geom, off, len))
		return "Grain lies in the metadata";
	if (off > end || len > end - off)
		return "Grain ends past the file";
	return NULL;
}

const char *vdisk_vmdk_table_fault(const struct vdisk_geom *geom,
				   const struct vdisk_step *step, u32 entry)
{
	u64 off = (u64)entry * VDISK_SECTOR, end = limit_of(step);
	u64 len = geom->priv[VMDK_GTES] * VMDK_ENTRY_LEN;
	u64 dir = geom->priv[VMDK_GDES] * VMDK_ENTRY_LEN;

	if (off < geom->priv[VMDK_TABLE_MIN] ||
	    overlap(off, len, geom->priv[VMDK_DESC_OFF],
		    geom->priv[VMDK_DESC_LEN]) ||
	    overlap(off, len, geom->priv[VMDK_GD_OFF], dir) ||
	    (geom->priv[VMDK_RGD_OFF] &&
	     overlap(off, len, geom->priv[VMDK_RGD_OFF], dir)))
		return "Grain table lies in the metadata";
	if (off > end || len > end - off)
		return "Grain table ends past the file";
	return NULL;
}
