// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Which formats' images can be mended. */
#include "repair.h"

static const struct vdisk_repair *const repairs[] = {
	&vdisk_vhd_repair, &vdisk_vmdk_repair, &vdisk_cowd_repair,
	&vdisk_parallels_repair, &vdisk_qed_repair,
};

const struct vdisk_repair *vdisk_repair_find(const struct vdisk_format *format)
{
	u32 i;

	for (i = 0; i < sizeof(repairs) / sizeof(repairs[0]); i++)
		if (repairs[i]->format == format)
			return repairs[i];
	return NULL;
}

int vdisk_mend_nothing(struct vdisk_step *step, u64 value)
{
	return vdisk_bad(step, "Nothing to be mended here", value);
}
