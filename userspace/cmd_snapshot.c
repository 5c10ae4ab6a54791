// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk snapshot: a new, empty child on top of an image. */
#include <stdlib.h>

#include "chain.h"
#include "make.h"
#include "online.h"
#include "out.h"
#include "signals.h"

/* The image as its child will call it. NULL after saying why. */
static char *name_for(const char *image, const char *child)
{
	char *place = reach_place(child), *real = NULL, *name = NULL;

	if (place)
		real = realpath(image, NULL);
	if (real)
		name = reach_name_for(place, real);
	else
		out_error(child, "%s", strerror(errno));
	free(place);
	free(real);
	return name;
}

/* The format of the image, and of a child that it may have. */
static bool look(const struct verb_options *opt, const char *image,
		 const struct vdisk_format **format, const char **child)
{
	const struct make_kind *kind;
	struct chain chain;

	if (!chain_open(&chain, image, opt, CHAIN_LOCK))
		return false;
	*format = vdisk_format_find(chain.layer[0].format);
	*child = (*format)->name;
	chain_close(&chain);
	if (opt->out_format) {
		*child = opt->out_format;
		return true;
	}
	kind = make_kind_find(*child);
	/* QED takes any. */
	if (kind && !make_takes_parent(kind))
		*child = "qed";
	return kind;
}

/* -o help: of -O, or of what a child of the image would be. */
static int show_options(const struct verb_options *opt)
{
	struct verb_options make = *opt;
	const struct vdisk_format *format;
	const char *child = opt->out_format;

	if (!child && !opt->nr_args) {
		out_error(NULL, "Of which format? (see vdisk snapshot --help)");
		return VERB_USAGE;
	}
	if (!child && !look(opt, opt->args[0], &format, &child))
		return VERB_FAILED;
	make.format = vdisk_format_find(child);
	if (make.format)
		return cmd_create(&make);
	out_error(NULL, "Unknown format: %s", out_name(child));
	return VERB_USAGE;
}

static int snapshot(const struct verb_options *opt, const char *image)
{
	struct verb_options make = *opt;
	const struct vdisk_format *format;
	const char *child;
	char *name;
	int r;

	if (!look(opt, image, &format, &child))
		return VERB_FAILED;
	make.format = vdisk_format_find(child);
	if (!make.format) {
		out_error(NULL, "Unknown format: %s", out_name(child));
		return VERB_USAGE;
	}
	name = name_for(image, opt->args[1]);
	if (!name)
		return VERB_FAILED;
	make.parent = name;
	make.parent_format = format->name;
	make.args = opt->args + 1;
	make.nr_args = 1;
	r = cmd_create(&make);
	free(name);
	return r;
}

/* The device goes on with the child on top. */
static int snapshot_attached(struct online *on)
{
	int r;

	if (on->opt.dry_run)
		return snapshot(&on->opt, on->image);
	if (!online_suspend(on))
		return VERB_FAILED;
	r = snapshot(&on->opt, on->image);
	if (r != VERB_OK) {
		online_resume(on);
		return r;
	}
	on->opt.format = NULL;
	return online_replace(on, on->opt.args[1]) ? VERB_OK : VERB_FAILED;
}

int cmd_snapshot(const struct verb_options *opt)
{
	struct online on;
	sigset_t old;
	bool ok;
	int r;

	if (opt->make_help)
		return show_options(opt);
	if (!online_find(&on, opt->args[0], opt, &ok))
		return snapshot(opt, opt->args[0]);
	/* Who dies now leaves a device that waits for ever. */
	signals_hold(&old);
	r = ok ? snapshot_attached(&on) : VERB_FAILED;
	signals_let(&old);
	online_end(&on);
	return r;
}
