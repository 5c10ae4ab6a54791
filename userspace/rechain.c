// SPDX-License-Identifier: GPL-2.0-or-later
/* Another size for the top of a chain, its descriptor too. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "desc_text.h"
#include "out.h"
#include "rechain_in.h"
#include "resize.h"
#include "signals.h"

static void stop(int sig)
{
	resize_stop = 1;
}

void rechain_begin(void)
{
	signals_catch(stop);
}

/* Sectors of the last extent of a disk of @size_sec. */
static u64 last_extent(const struct chain *chain, u64 size_sec)
{
	const struct vdisk_layer *top = &chain->disk->layer[chain->nr - 1];

	return size_sec - top->part[top->nr - 1].first_sec;
}

/* Longer ones are another kind of disk: a further extent is needed. */
static bool too_long(const struct chain *chain, u64 size_sec)
{
	const struct descriptor *desc = chain->layer[0].desc;

	return desc && desc->create_type && size_sec > chain->disk->size_sec &&
	       (strncasecmp(desc->create_type, "2Gb", 3) == 0 ||
		strncasecmp(desc->create_type, "twoGb", 5) == 0) &&
	       last_extent(chain, size_sec) > RECHAIN_SPLIT_SEC;
}

typedef bool text_fn(const struct chain_layer *layer, const char *text);

/*
 * What the descriptor is to say of the last extent: desc_text_write() it, or ask
 * before anything is done whether it may be written.
 */
static bool tell_extent(const struct chain *chain, u64 size_sec, text_fn *write)
{
	const struct chain_layer *top = &chain->layer[0];
	char *old, *text;
	bool good;

	if (!top->desc)
		return true;
	old = desc_text_read(top);
	if (!old)
		return false;
	text = desc_text_extent(top, old, last_extent(chain, size_sec));
	good = text && write(top, text);
	free(text);
	free(old);
	return good;
}

/* What lies behind it in the file is another extent's. */
static bool shares_file(const struct chain_layer *layer)
{
	const char *path = layer->part[layer->nr - 1].path;
	unsigned int i;

	for (i = 0; i + 1 < layer->nr; i++)
		if (path && layer->part[i].path &&
		    !strcmp(path, layer->part[i].path))
			return true;
	return false;
}

static bool may_resize(struct chain *chain, u64 size_sec)
{
	const struct chain_layer *top = &chain->layer[0];

	*chain->fault.text = 0;
	if (shares_file(top))
		out_error(chain->image, "Last extent shares its file with another");
	else if (!top->desc && top->part[top->nr - 1].image->opts.size_sec)
		out_error(chain->image, "Disks of bundles keep their size");
	else if (resize_check(chain->disk, size_sec))
		out_error(chain->image, "%s", chain->fault.text);
	else
		return tell_extent(chain, size_sec, desc_text_may_write);
	return false;
}

bool rechain_may_size(struct chain *chain, u64 size_sec)
{
	return chain_check(chain) &&
	       (too_long(chain, size_sec) || may_resize(chain, size_sec));
}

static bool resize_image(struct chain *chain, u64 size_sec)
{
	int r;

	*chain->fault.text = 0;
	r = resize_disk(chain->disk, size_sec);
	if (r)
		out_error(chain->image, "%s", chain->fault.text);
	/* What was begun is brought to its end, or left as it was. */
	if (vdisk_disk_settle(chain->disk) && !r) {
		out_error(chain->image, "%s", chain->fault.text);
		r = -EIO;
	}
	return !r;
}

/*
 * The last extent gets as long as it may be, and others follow. They show what
 * the parent has where they are: it must end before.
 */
static bool add_extents(struct chain *chain, u64 size_sec)
{
	struct chain_layer *top = &chain->layer[0];
	u64 full = size_sec - last_extent(chain, size_sec) + RECHAIN_SPLIT_SEC;
	u64 more = vdisk_div_up(size_sec - full, RECHAIN_SPLIT_SEC);
	struct rechain_split split;
	bool good;

	if (more > DESCRIPTOR_MAX_EXTENTS - top->nr) {
		out_error(chain->image, "Disk has too many extents: %llu",
			  (unsigned long long)(more + top->nr));
		return false;
	}
	if (chain->nr > 1 && chain->layer[1].size_sec > full) {
		out_error(chain->image, "Parent would be seen behind the end: %llu",
			  (unsigned long long)chain->layer[1].size_sec);
		return false;
	}
	if (full > chain->disk->size_sec && !may_resize(chain, full))
		return false;
	good = rechain_split_begin(&split, chain, RECHAIN_SPLIT_SEC,
				   size_sec - full) &&
	       desc_text_may_write(top, split.text) &&
	       (full <= chain->disk->size_sec || resize_image(chain, full)) &&
	       desc_text_write(top, split.text);
	rechain_split_end(&split, good);
	return good;
}

/* The descriptor never says more than there is. */
bool rechain_size(struct chain *chain, u64 size_sec)
{
	if (!chain_check(chain) || !rechain_room(chain, size_sec))
		return false;
	if (too_long(chain, size_sec))
		return add_extents(chain, size_sec);
	if (!may_resize(chain, size_sec))
		return false;
	if (size_sec < chain->disk->size_sec)
		return tell_extent(chain, size_sec, desc_text_write) &&
		       resize_image(chain, size_sec);
	return resize_image(chain, size_sec) &&
	       tell_extent(chain, size_sec, desc_text_write);
}
