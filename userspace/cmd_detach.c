// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk detach: remove the device, or say who still uses it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "dmctl.h"
#include "holders.h"
#include "out.h"
#include "verbs.h"

/*
 * Removing a device gives up what it cannot write into its files: so that is tried
 * first. Space may be made for it; a device that has failed has said so to whoever
 * wrote, and keeps nothing any more.
 */
static bool is_written(const struct dmctl_device *dev)
{
	char *path = dmctl_path(dev->name);
	int r, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	free(path);
	if (fd < 0)
		return true;
	r = dev->read_only || dev->suspended || !fsync(fd) ? 0 : errno;
	close(fd);
	if (r == ENOSPC)
		out_error(dev->name, "What was written to it has no space in its file: "
			  "free some and detach again");
	return r != ENOSPC;
}

int cmd_detach(const struct verb_options *opt)
{
	const char *name = dmctl_name(opt->args[0]);
	struct dmctl_device dev;
	char *user = NULL;
	int r;

	if (dmctl_get_ours(name, &dev))
		return VERB_FAILED;
	free(dev.params);
	if (!opt->deferred && !is_written(&dev))
		return VERB_FAILED;
	if (!opt->deferred)
		user = holders_of(&dev, false);
	r = user ? -EBUSY : holders_remove(name, opt->deferred);
	/* Whoever came in between is found now. */
	if (r == -EBUSY && !user)
		user = holders_of(&dev, true);
	if (user)
		out_error(name, "Device %s", user);
	else if (r == -EBUSY)
		out_error(name, "Device is held open by a program");
	else if (r)
		out_error(name, "%s", strerror(-r));
	free(user);
	return r ? VERB_FAILED : VERB_OK;
}
