/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk of an attached device, opened for reading beside the kernel: the
 * files, offsets and rules are those of its table line.
 */
#ifndef _VDISK_ATTACHED_H
#define _VDISK_ATTACHED_H

#include "disk.h"
#include "dmctl.h"

struct attached_file {
	char *path;
	const struct vdisk_image *image;
	struct vdisk_store *store;
};

struct attached {
	struct vdisk_disk *disk;
	struct attached_file *file;
	unsigned int nr;
	struct vdisk_fault fault;
};

/*
 * Is there such a device? @name is its path in /dev/mapper, or its name if no
 * file is called so. @dev->params is the caller's to free.
 */
bool attached_find(const char *name, struct dmctl_device *dev);

/*
 * What the kernel has not written yet is committed first, as far as the device
 * takes a flush. Says what is wrong itself. On success attached_close() ends it.
 */
bool attached_open(struct attached *at, const struct dmctl_device *dev);
void attached_close(struct attached *at);

#endif /* _VDISK_ATTACHED_H */
