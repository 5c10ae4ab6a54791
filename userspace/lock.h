/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locks as QEMU takes them: OFD read locks on single bytes. Byte 100 + n
 * says "I use permission n", byte 200 + n "nobody else may"; n is 0 for reading
 * with consistent content, 1 for writing, 3 for resizing.
 *
 * An OFD lock lives as long as the open file: a kernel target that was given
 * the descriptor keeps the lock after the tool has ended.
 */
#ifndef _VDISK_LOCK_H
#define _VDISK_LOCK_H

#include "../formats/env.h"

/*
 * Lock the open file @fd, as one who writes or as a reader who bears no writer.
 * Returns 0, -EBUSY when somebody else's lock forbids it, or the errno of a
 * file system that has no locks.
 */
int lock_image(int fd, bool write);

/* The same without looking at others: of one who has the file locked already. */
int lock_take(int fd, bool write);

/* A writer's lock becomes that of a reader. */
void lock_lower(int fd);

#endif /* _VDISK_LOCK_H */
