// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is a file below a device? `vdisk attach` leaves locks that tell; a table that
 * dmsetup loaded does not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "dmctl.h"
#include "line.h"
#include "repair.h"

/* A block device is the same by any of its nodes. */
static bool is_same(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) || S_ISBLK(b->st_mode))
		return S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) &&
		       a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool line_names(const struct line *line, const struct stat *image)
{
	const struct line_extent *e;
	struct stat st;
	unsigned int i, j;

	for (i = 0; i < line->nr; i++) {
		for (j = 0; j < line->layer[i].nr; j++) {
			e = &line->layer[i].extent[j];
			if (e->path && !stat(e->path, &st) &&
			    is_same(&st, image))
				return true;
		}
	}
	return false;
}

bool repair_attached(int fd, char *name, size_t room)
{
	struct dmctl_device *devs;
	struct line line;
	struct stat st;
	bool found = false;
	unsigned int nr, i;

	/* Who may not ask has no device: that takes the same rights. */
	if (fstat(fd, &st) || dmctl_list(&devs, &nr))
		return false;
	for (i = 0; i < nr; i++) {
		if (line_parse(&line, devs[i].params) && !found &&
		    line_names(&line, &st)) {
			found = true;
			snprintf(name, room, "%s", devs[i].name);
		}
		line_free(&line);
		free(devs[i].params);
	}
	free(devs);
	return found;
}
