// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk detach: remove the device, or say who still uses it. */
#include <stdlib.h>

#include "holders.h"
#include "out.h"
#include "verbs.h"

int cmd_detach(const struct verb_options *opt)
{
	const char *name = dmctl_name(opt->args[0]);
	struct dmctl_device dev;
	char *user = NULL;
	int r;

	if (dmctl_get_ours(name, &dev))
		return VERB_FAILED;
	free(dev.params);
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
