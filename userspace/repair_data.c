// SPDX-License-Identifier: GPL-2.0-or-later
/* Compressed units are read: only inflating them tells if they are sound. */
#include "out.h"
#include "progress.h"
#include "repair.h"

/* The next unit that walk() finds no fault with; @range->len 0: no more. */
static int next_unit(struct vdisk_image *image, u64 *cursor,
		     struct vdisk_range *range)
{
	int r;

	do {
		r = vdisk_image_walk(image, cursor, range);
	} while (r == -EUCLEAN ||
		 (!r && range->len && (range->kind != VDISK_RANGE_UNIT ||
				       range->sector >= image->geom.size_sec)));
	return r;
}

static int read_units(struct repair *repair, struct vdisk_image *image,
		      struct vdisk_disk *disk)
{
	struct vdisk_range range;
	u8 sector[VDISK_SECTOR];
	u64 cursor = 0;
	int r;

	for (;;) {
		r = next_unit(image, &cursor, &range);
		if (r || !range.len)
			return r;
		progress_show("reading", range.sector, image->geom.size_sec);
		/* One sector: the unit is inflated for it as a whole. */
		r = vdisk_disk_read(disk, range.sector, sector, 1);
		if (r && r != -EUCLEAN)
			return r;
		if (r)
			repair_say(repair, image->fault->text, NULL);
	}
}

int repair_read_packed(struct repair *repair, struct vdisk_image *image)
{
	struct vdisk_disk *disk;
	int r;

	if (!(image->geom.flags & VDISK_GEOM_PACKED))
		return 0;
	r = vdisk_disk_new(&disk, image->fault);
	if (r)
		return r;
	r = vdisk_disk_push(disk);
	if (!r)
		r = vdisk_disk_add(disk, image, 0);
	if (!r) {
		r = read_units(repair, image, disk);
		/* The image stays the caller's. */
		disk->layer[0].nr = 0;
	}
	vdisk_disk_drop(disk);
	return r;
}
