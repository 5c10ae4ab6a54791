// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A new raw disk, alone or as the extent of another image. From: size_sec. */
#include "make.h"

static int raw_layout(const struct vdisk_recipe *recipe,
		      struct vdisk_layout *layout)
{
	*layout = (struct vdisk_layout){ .size_sec = recipe->size_sec };
	if (!recipe->size_sec)
		return vdisk_unmakable(layout, "The disk is empty", 0);
	if (recipe->size_sec >> (63 - VDISK_SHIFT))
		return vdisk_unmakable(layout, "Disk has 2^63 bytes or more",
				       recipe->size_sec);
	layout->file_len = recipe->size_sec * VDISK_SECTOR;
	return 0;
}

static bool raw_piece(const struct vdisk_recipe *recipe,
		      const struct vdisk_layout *layout, u32 i,
		      struct vdisk_piece *piece)
{
	return false;
}

const struct vdisk_maker vdisk_raw_maker = {
	.format	= &vdisk_raw_format,
	.layout	= raw_layout,
	.piece	= raw_piece,
};
