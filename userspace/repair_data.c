// SPDX-License-Identifier: GPL-2.0-or-later
/* Compressed units are read: only inflating them tells if they are sound. */
#include "out.h"
#include "repair.h"

int repair_read_packed(struct repair *repair, struct vdisk_image *image)
{
	struct vdisk_disk *disk;
	struct vdisk_range range;
	u8 sector[VDISK_SECTOR];
	u64 cursor = 0;
	int r;

	if (!(image->geom.flags & VDISK_GEOM_PACKED))
		return 0;
	r = vdisk_disk_new(&disk, image->fault);
	if (!r)
		r = vdisk_disk_push(disk);
	if (!r)
		r = vdisk_disk_add(disk, image, 0);
	do {
		if (r)
			return r;
		r = vdisk_image_walk(image, &cursor, &range);
		if (r == -EUCLEAN) {
			range.len = 1;	/* told already */
			r = 0;
			continue;
		}
		if (r || !range.len || range.kind != VDISK_RANGE_UNIT ||
		    range.sector >= image->geom.size_sec)
			continue;
		r = vdisk_disk_read(disk, range.sector, sector, 1);
		if (r == -EUCLEAN) {
			repair_say(repair, image->fault->text, NULL);
			r = 0;
		}
	} while (r || range.len);
	/* The image stays the caller's. */
	disk->layer[0].nr = 0;
	vdisk_disk_drop(disk);
	return 0;
}
