/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing an image while it is attached: the device is suspended, which commits
 * and leaves nothing of the image in the kernel; the files are changed; the
 * device gets a table for what they are now and goes on. Who uses it waits
 * meanwhile and sees no error. Functions return false after saying why.
 */
#ifndef _VDISK_ONLINE_H
#define _VDISK_ONLINE_H

#include "dmctl.h"
#include "verbs.h"

struct online {
	struct dmctl_device dev;
	char *image;			/* as a user would call it */
	struct verb_options opt;	/* to open it with, while it is locked */
	const char **allow;		/* every file of the table */
	char *size_name;
};

/*
 * Is @name a device, and not a file? Then it is taken apart, and *@ok says
 * whether it can be changed; online_end() in any case.
 */
bool online_find(struct online *on, const char *name,
		 const struct verb_options *opt, bool *ok);

/* No I/O goes on after it. */
bool online_suspend(struct online *on);

/*
 * The same, and what the device holds open is @held's, with the locks: whoever
 * else has locked one of these files can be told from the device by them. False:
 * the device goes on. @held is for its files only, until chain_close().
 */
struct chain;
bool online_take(struct online *on, struct chain *held);

/* The device as it was goes on: nothing of its files was changed. */
bool online_resume(struct online *on);

/* It goes on with @image, which took the place of what it was. */
bool online_replace(struct online *on, const char *image);

void online_end(struct online *on);

#endif /* _VDISK_ONLINE_H */
