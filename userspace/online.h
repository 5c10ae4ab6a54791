/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing an image while it is attached: the device is suspended, which commits
 * and leaves nothing of the image in the kernel; the files are changed; the
 * device gets a table for what they are now and goes on. Who uses it waits
 * meanwhile and sees no error. Functions return false after saying why.
 *
 * From online_suspend() to online_resume() or online_replace() all signals wait, and
 * nothing is done that could be done before: no scan, no lock that is waited for. A
 * guard, another process, lets the device go on if this one is killed.
 */
#ifndef _VDISK_ONLINE_H
#define _VDISK_ONLINE_H

#include <signal.h>
#include <time.h>

#include "dmctl.h"
#include "verbs.h"

struct online {
	struct dmctl_device dev;
	char *image;			/* as a user would call it */
	struct verb_options opt;	/* to open it with, while it is locked */
	const char **allow;		/* every file of the table */
	char *size_name;
	const struct vdisk_format *format;	/* of its image, or NULL */

	/* While it is suspended. */
	sigset_t signals;		/* as they were */
	struct timespec since, cpu;
	int guard;			/* who sees if this program dies; or -1 */
	long guard_pid;
};

/*
 * Is @name a device, and not a file? Then it is taken apart, and *@ok says
 * whether it can be changed; online_end() in any case.
 */
bool online_find(struct online *on, const char *name,
		 const struct verb_options *opt, bool *ok);

/*
 * No I/O goes on after it, and all that the device had acknowledged is in its
 * files. False: the device goes on as it was.
 */
bool online_suspend(struct online *on);

/*
 * Not suspended after it: what the device holds open is @held's, with the locks, so
 * that whoever else has locked one of these files can be told from the device.
 * @held is for its files only, until chain_close().
 */
struct chain;
bool online_take(struct online *on, struct chain *held);

/*
 * Before it is suspended: CHAIN_CHECKED if its image is sound, 0 if that has to be
 * looked for again, as the kernel may just have been writing.
 */
unsigned int online_look(const struct online *on);

/* The device as it was goes on: nothing of its files was changed. */
bool online_resume(struct online *on);

/*
 * It goes on with @image, which took the place of what it was. False: it goes on
 * with its own image, by the table it had if that is @true_still. Only if that
 * cannot be opened either it stays suspended.
 */
bool online_replace(struct online *on, const char *image, bool true_still);

void online_end(struct online *on);

#endif /* _VDISK_ONLINE_H */
