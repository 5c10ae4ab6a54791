// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk convert: what an image holds as a new image of any format. */
#include <stdlib.h>

#include "chain.h"
#include "make.h"
#include "out.h"

static bool set_options(struct make *make, const struct verb_options *opt)
{
	unsigned int i;

	for (i = 0; i < opt->nr_make; i++)
		if (!make_set(make, opt->make[i]))
			return false;
	/* The copy holds everything by itself. */
	if (!make_text(make, "backing_file"))
		return true;
	out_error(NULL, "Option backing_file is not for convert");
	return false;
}

static bool convert(struct make *make, const struct verb_options *opt)
{
	struct chain chain;
	bool good;

	if (!chain_open(&chain, opt->args[0], opt, CHAIN_LOCK))
		return false;
	make->size_sec = chain.disk->size_sec;
	make->sources = &chain.reach;
	good = make_image(make) && make_copy(make, &chain) && make_commit(make);
	make->sources = NULL;
	chain_close(&chain);
	return good;
}

int cmd_convert(const struct verb_options *opt)
{
	const struct make_kind *kind;
	struct make make;
	int r = VERB_USAGE;

	kind = make_kind_find(opt->out_format ? opt->out_format : "raw");
	if (!kind)
		return r;
	if (opt->make_help) {
		make_show_options(kind);
		return VERB_OK;
	}
	make_begin(&make, opt->args[1], kind);
	make.force = opt->force;
	if (set_options(&make, opt))
		r = convert(&make, opt) ? VERB_OK : VERB_FAILED;
	make_end(&make);
	return r;
}
