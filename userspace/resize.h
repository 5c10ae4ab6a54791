/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another size for a disk: formats/resize.h says how. */
#ifndef _VDISK_RESIZE_DISK_H
#define _VDISK_RESIZE_DISK_H

#include <signal.h>
#include "disk.h"

/* Not 0: stop where that does no harm. For a signal's handler to set. */
extern volatile sig_atomic_t resize_stop;

/*
 * The first sector from @sector on that does not read zero; disk->size_sec if
 * there is none.
 */
int resize_find_data(struct vdisk_disk *disk, u64 sector, u64 *found);

/* Could it have this size, as far as its tables can tell? Changes nothing. */
int resize_check(struct vdisk_disk *disk, u64 size_sec);

/* No unit and no table that others name lies below byte @end of the file. */
int resize_make_way(struct vdisk_disk *disk, u64 end);

/* The headers were written behind the image's back: read them again. */
int resize_reopen(struct vdisk_disk *disk);

/*
 * The disk gets @size_sec sectors: its top layer's last image does. What lay
 * behind the new end is gone; what is behind the old one reads zero. All of it
 * is durable on return, but the image is still marked as in use.
 */
int resize_disk(struct vdisk_disk *disk, u64 size_sec);

#endif /* _VDISK_RESIZE_DISK_H */
