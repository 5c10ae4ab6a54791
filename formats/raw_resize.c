// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Another size for a raw disk; and the list of who can have one at all. */
#include "resize.h"

static const struct vdisk_resizer *const resizers[] = {
	&vdisk_raw_resizer,
	&vdisk_vhd_resizer,
	&vdisk_vmdk_resizer,
	&vdisk_cowd_resizer,
	&vdisk_parallels_resizer,
	&vdisk_qed_resizer,
};

const struct vdisk_resizer *vdisk_resizer_of(const struct vdisk_format *format)
{
	u32 i;

	for (i = 0; i < sizeof(resizers) / sizeof(resizers[0]); i++)
		if (resizers[i]->format == format)
			return resizers[i];
	return NULL;
}

static int raw_start(const struct vdisk_geom *geom, struct vdisk_step *step,
		     struct vdisk_resize *rs)
{
	u64 len;

	if (vdisk_mul(rs->size_sec, VDISK_SECTOR, &len) ||
	    vdisk_add(len, geom->data_off, &len) || len >> 63)
		return vdisk_bad(step, "Raw disk is 2^63 bytes or longer",
				 rs->size_sec);
	return 0;
}

/* Bytes of the file behind the extent's end were not the disk's. */
static int raw_extend(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct vdisk_resize *rs, struct vdisk_plan *plan,
		      struct vdisk_resize_copy copy[2])
{
	u64 old_end = geom->data_off + rs->old_sec * VDISK_SECTOR;
	u64 end = geom->data_off + rs->size_sec * VDISK_SECTOR;

	if (step->file_len > old_end)
		vdisk_plan_zero(plan, VDISK_BEFORE, old_end,
				vdisk_min(end, step->file_len) - old_end);
	if (step->file_len < end)
		vdisk_plan_length(plan, VDISK_BEFORE, end);
	return 0;
}

/* What lies behind the extent is not the disk's to be cut off. */
static int raw_publish(const struct vdisk_geom *geom, struct vdisk_step *step,
		       const struct vdisk_resize *rs, u32 i,
		       struct vdisk_plan *plan)
{
	u64 old_end = geom->data_off + rs->old_sec * VDISK_SECTOR;

	if (!i && rs->size_sec < rs->old_sec && step->file_len == old_end)
		vdisk_plan_length(plan, VDISK_BEFORE, geom->data_off +
				  rs->size_sec * VDISK_SECTOR);
	return 0;
}

const struct vdisk_resizer vdisk_raw_resizer = {
	.format		= &vdisk_raw_format,
	.start		= raw_start,
	.extend		= raw_extend,
	.publish	= raw_publish,
};
