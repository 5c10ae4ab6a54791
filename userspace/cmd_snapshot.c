// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk snapshot: a new, empty child on top of an image. */
#include <stdlib.h>

#include "chain.h"
#include "make.h"
#include "online.h"
#include "out.h"
#include "rechain.h"

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

struct attached_image {
	struct online *on;
	bool again;		/* it has changed since the child was made */
};

/* The first write since it was attached gives a VMDK another content id. */
static bool is_same_content(const struct online *on, const struct make *make)
{
	struct chain chain;
	bool same = true;

	if (make->kind->parent != &vdisk_vmdk_format)
		return true;
	if (!chain_open(&chain, on->image, &on->opt, CHAIN_ALONE))
		return true;	/* what follows says so, too */
	if (chain.layer[0].desc)
		same = chain.layer[0].desc->cid == make->parent_cid;
	chain_close(&chain);
	return same;
}

/*
 * All is made by now, and known to be found: only the names are missing. The
 * device goes on with the child on top, or there is none.
 */
static bool commit_attached(struct make *make, void *arg)
{
	struct attached_image *image = arg;
	struct online *on = image->on;
	bool good = false;

	if (!make_sync(make) || !online_suspend(on))
		return false;
	/* It cannot be again and again. */
	image->again = !image->again && !is_same_content(on, make);
	if (image->again) {
		online_resume(on);
		return false;
	}
	/* Signals wait; what was made is not theirs to remove any more. */
	rechain_begin();
	on->opt.format = make->kind->format;
	if (!make_place(make)) {
		online_resume(on);
	} else if (online_replace(on, make->place, true)) {
		make_keep(make);
		good = true;
	} else {
		make_take_back(make);
		out_error(make->image, "Is taken away again");
	}
	return good;
}

static int snapshot(const struct verb_options *opt, const char *image,
		    struct attached_image *on)
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
	r = create_with(&make, on ? commit_attached : NULL, on);
	free(name);
	return r;
}

static int snapshot_attached(struct online *on)
{
	struct attached_image image = { .on = on };
	int r;

	/* There is one first write. */
	do {
		r = snapshot(&on->opt, on->image, &image);
	} while (image.again);
	return r;
}

int cmd_snapshot(const struct verb_options *opt)
{
	struct online on;
	bool ok;
	int r;

	if (opt->make_help)
		return show_options(opt);
	if (!online_find(&on, opt->args[0], opt, &ok))
		return snapshot(opt, opt->args[0], NULL);
	r = ok ? snapshot_attached(&on) : VERB_FAILED;
	online_end(&on);
	return r;
}
