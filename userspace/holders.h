/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who uses a block device: mounts, swap, and devices that stand on it. */
#ifndef _VDISK_HOLDERS_H
#define _VDISK_HOLDERS_H

#include "dmctl.h"

/*
 * A phrase such as "is mounted on /mnt" to free, NULL if nobody is known to use
 * @dev. Devices of its own partitions count if they are used themselves; @open:
 * also if they are held open, which udev does for moments.
 */
char *holders_of(const struct dmctl_device *dev, bool open);

/*
 * Remove the device @name and those of its partitions; all or none but in a
 * race. @deferred: what is in use goes when it is closed. Else -EBUSY, after a
 * while in which udev may have had enough of it.
 */
int holders_remove(const char *name, bool deferred);

#endif /* _VDISK_HOLDERS_H */
