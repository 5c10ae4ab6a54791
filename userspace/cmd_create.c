// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk create: a new image, empty or on top of another. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>

#include "chain.h"
#include "identify.h"
#include "make.h"
#include "out.h"

static bool parent_fail(const char *path, const char *what)
{
	out_error(path, "%s", what);
	return false;
}

/* What a new image has to know of its parent. */
static bool read_parent(struct make *make, const struct chain *chain)
{
	const struct chain_layer *top = &chain->layer[0];
	struct stat st;

	if (stat(chain->image, &st))
		return parent_fail(chain->image, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return parent_fail(chain->image, "A bundle is nobody's parent");
	make->parent_time = (u32)vdisk_min(st.st_mtime, 0xffffffff);
	memcpy(make->parent_id, top->part[0].image->geom.id,
	       sizeof(make->parent_id));
	if (!make->size_sec)
		make->size_sec = chain->disk->size_sec;
	if (make->kind->parent &&
	    strcmp(top->format, make->kind->parent->name)) {
		out_error(chain->image, "Parent of a %s image is %s, not %s",
			  make->kind->format->name, make->kind->parent->name,
			  top->format);
		return false;
	}
	if (make->kind->parent == &vdisk_vmdk_format && !top->desc)
		return parent_fail(chain->image, "Image has no descriptor");
	if (top->desc)
		make->parent_cid = top->desc->cid;
	return true;
}

static bool finish(struct make *make)
{
	if (!make_image(make))
		return false;
	if (make->dry)
		make_tell(make);
	else if (make->commit)
		return make->commit(make, make->commit_arg);
	return make->dry || make_commit(make);
}

/* By the name that the new image will have for it. */
static bool is_found(const struct make *make, const struct chain *chain)
{
	char *place = reach_place(make->image);
	bool good;

	if (!place)
		return parent_fail(make->image, strerror(errno));
	good = chain_finds(chain, make->image, place, make->kind->format->name,
			   make_text(make, "backing_file"));
	free(place);
	return good;
}

/* Whoever opens the child later is asked for --allow-path: better told now. */
static void warn_of_parent(const struct make *make, const struct chain *chain)
{
	char *place = reach_place(make->image);
	struct reach_file file;
	struct reach reach;

	if (!place)
		return;
	if (!reach_begin(&reach, place, NULL, 0)) {
		if (reach_named(&reach, place, make_text(make, "backing_file"),
				false, &file))
			out_warn(make->image, "Its parent is not beneath its "
				 "directory: whoever opens it has to give "
				 "--allow-path %s", out_name(chain->layer[0].path));
		else
			reach_close(&file);
		reach_end(&reach);
	}
	free(place);
}

static bool create_child(struct make *make, const struct verb_options *opt)
{
	const char *format = make_text(make, "backing_fmt");
	struct verb_options parent = {
		.allow = opt->allow, .nr_allow = opt->nr_allow,
		.force_share = opt->force_share,
		.device_locks = opt->device_locks, .format_option = "-F",
	};
	struct chain chain;
	bool good = false;
	char *path;

	if (format) {
		parent.format = vdisk_format_find(format);
		if (!parent.format) {
			out_error(NULL, "Unknown format: %s", out_name(format));
			return false;
		}
	}
	path = reach_parent(make->image, make_text(make, "backing_file"));
	if (!path)
		return parent_fail(make->image, strerror(errno));
	if (!identify(path, &parent, make->kind)) {
		free(path);
		return false;
	}
	/* A VMDK's parent has to have a descriptor: it is told so. */
	if (chain_open(&chain, path, &parent, CHAIN_LOCK |
		       (make->kind->parent == &vdisk_vmdk_format ?
			CHAIN_PIECE : 0))) {
		make->sources = &chain.reach;
		good = read_parent(make, &chain) && is_found(make, &chain) &&
		       finish(make);
		if (good)
			warn_of_parent(make, &chain);
		make->sources = NULL;
		chain_close(&chain);
	}
	free(path);
	return good;
}

static bool set_size(struct make *make, const char *text)
{
	if (!make_parse_sectors(text, &make->size_sec)) {
		out_error(NULL, "Size is no number of bytes, as 10M: %s",
			  out_name(text));
		return false;
	}
	if (make->size_sec)
		return true;
	out_error(NULL, "Size is zero");
	return false;
}

/* -b and -F are short for options that not every format has. */
static bool set_option(struct make *make, const char *name, const char *value)
{
	char *word = out_text("%s=%s", name, value);
	bool good = make_set(make, word);

	free(word);
	return good;
}

static bool set_options(struct make *make, const struct verb_options *opt)
{
	unsigned int i;

	for (i = 0; i < opt->nr_make; i++)
		if (!make_set(make, opt->make[i]))
			return false;
	if (opt->parent && !make_takes_parent(make->kind)) {
		out_error(NULL, "Images of the format %s name no parent",
			  make->kind->format->name);
		return false;
	}
	if (opt->parent && !set_option(make, "backing_file", opt->parent))
		return false;
	if (opt->parent_format &&
	    !set_option(make, "backing_fmt", opt->parent_format))
		return false;
	if (make_text(make, "backing_fmt") && !make_text(make, "backing_file")) {
		out_error(NULL, "The format of a parent, but no parent");
		return false;
	}
	if (opt->nr_args > 1)
		return set_size(make, opt->args[1]);
	if (make_text(make, "backing_file"))
		return true;
	out_error(NULL, "How large? (see vdisk create --help)");
	return false;
}

int cmd_create(const struct verb_options *opt)
{
	return create_with(opt, NULL, NULL);
}

int create_with(const struct verb_options *opt,
		bool (*commit)(struct make *make, void *arg), void *arg)
{
	const struct make_kind *kind;
	int r = VERB_USAGE;
	struct make make;

	if (!opt->format) {
		out_error(NULL, "Of which format? (see vdisk create --help)");
		return r;
	}
	kind = make_kind_find(opt->format->name);
	if (!kind)
		return r;
	if (opt->make_help) {
		make_show_options(kind);
		return VERB_OK;
	}
	make_begin(&make, opt->args[0], kind);
	make.force = opt->force;
	make.dry = opt->dry_run;
	make.commit = commit;
	make.commit_arg = arg;
	if (set_options(&make, opt)) {
		r = make_text(&make, "backing_file") ?
			create_child(&make, opt) : finish(&make);
		r = r ? VERB_OK : VERB_FAILED;
	}
	make_end(&make);
	return r;
}
