// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk probe: the name of the format, or failure. */
#include <stdio.h>
#include <stdlib.h>

#include "chain.h"
#include "out.h"

int cmd_probe(const struct verb_options *opt)
{
	const char *image = opt->args[0], *format = NULL;
	struct reach reach;
	struct reach_file file;
	char *why = NULL;

	if (reach_image(&reach, image, NULL, 0, false, &file)) {
		out_error(image, "%s", reach.why);
	} else {
		format = chain_probe_name(&file, &why);
		if (format)
			puts(format);
		else
			out_error(image, "%s", why);
		free(why);
		reach_close(&file);
	}
	reach_end(&reach);
	return format ? VERB_OK : VERB_FAILED;
}
