// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk resize: another size for the disk in an image. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>

#include "chain.h"
#include "desc_text.h"
#include "out.h"
#include "resize.h"

#define SPLIT_SEC (2u << 30 >> VDISK_SHIFT)

static void stop(int sig)
{
	resize_stop = 1;
}

/* [+|-]NUMBER[k|M|G|T|P]; true if it is one, of whole sectors. */
static bool parse_size(const char *text, u64 old_sec, u64 *size_sec)
{
	static const char units[] = "kMGTP";
	char sign = *text == '+' || *text == '-' ? *text++ : 0, *end;
	const char *unit;
	u64 n;

	errno = 0;
	n = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	if (errno || *text < '0' || *text > '9')
		return false;
	unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
	if (*end && (!unit || end[1]))
		return false;
	if (unit && vdisk_mul(n, 1ull << 10 * (unit - units + 1), &n))
		return false;
	if (n % VDISK_SECTOR || n >> 63)
		return false;
	n /= VDISK_SECTOR;
	*size_sec = sign == '+' ? old_sec + n : sign == '-' ? old_sec - n : n;
	return sign != '-' || n <= old_sec;
}

/* What is behind the new end goes, if it is nothing or the user says so. */
static bool may_shrink(struct chain *chain, u64 size_sec, bool shrink)
{
	u64 found;

	if (shrink || size_sec >= chain->disk->size_sec)
		return true;
	if (resize_find_data(chain->disk, size_sec, &found))
		out_error(chain->image, "%s", chain->fault.text);
	else if (found == chain->disk->size_sec)
		return true;
	else
		out_error(chain->image, "Data lies behind the new end "
			  "(see --shrink): sector %llu",
			  (unsigned long long)found);
	return false;
}

/* Sectors of the last extent of a disk of @size_sec. */
static u64 last_extent(const struct chain *chain, u64 size_sec)
{
	const struct vdisk_layer *top = &chain->disk->layer[chain->nr - 1];

	return size_sec - top->part[top->nr - 1].first_sec;
}

/* Longer ones are another kind of disk. */
static bool too_long(const struct chain *chain, u64 size_sec)
{
	const struct descriptor *desc = chain->layer[0].desc;

	return desc && desc->create_type && size_sec > chain->disk->size_sec &&
	       (strncasecmp(desc->create_type, "2Gb", 3) == 0 ||
		strncasecmp(desc->create_type, "twoGb", 5) == 0) &&
	       last_extent(chain, size_sec) > SPLIT_SEC;
}

static bool may_resize(struct chain *chain, u64 size_sec)
{
	const struct chain_layer *top = &chain->layer[0];

	*chain->fault.text = 0;
	if (!top->desc && top->part[top->nr - 1].image->opts.size_sec)
		out_error(chain->image, "Disks of bundles keep their size");
	else if (resize_check(chain->disk, size_sec))
		out_error(chain->image, "%s", chain->fault.text);
	else if (too_long(chain, size_sec))
		out_error(chain->image, "Last extent would be over 2 GiB: %llu",
			  (unsigned long long)last_extent(chain, size_sec));
	else
		return true;
	return false;
}

/* What the descriptor says of the last extent. */
static bool tell_extent(struct chain *chain, u64 size_sec)
{
	const struct chain_layer *top = &chain->layer[0];
	char *old, *text;
	bool good;

	if (!top->desc)
		return true;
	old = desc_text_read(top);
	if (!old)
		return false;
	text = desc_text_extent(old, last_extent(chain, size_sec));
	good = desc_text_write(top, text);
	free(text);
	free(old);
	return good;
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

/* The descriptor never says more than there is. */
static bool resize(struct chain *chain, u64 size_sec)
{
	if (size_sec < chain->disk->size_sec)
		return tell_extent(chain, size_sec) &&
		       resize_image(chain, size_sec);
	return resize_image(chain, size_sec) && tell_extent(chain, size_sec);
}

int cmd_resize(const struct verb_options *opt)
{
	struct chain chain;
	bool good = false;
	u64 size_sec;

	if (!parse_size(opt->args[1], 0, &size_sec) &&
	    *opt->args[1] != '-') {
		out_error(NULL, "Not a size in whole sectors: %s",
			  out_name(opt->args[1]));
		return VERB_USAGE;
	}
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	signal(SIGHUP, stop);
	if (!chain_open(&chain, opt->args[0], opt, CHAIN_LOCK | CHAIN_WRITE))
		return VERB_FAILED;
	if (!parse_size(opt->args[1], chain.disk->size_sec, &size_sec))
		out_error(chain.image, "No size for the disk: %s",
			  out_name(opt->args[1]));
	else
		good = chain_check(&chain) && may_resize(&chain, size_sec) &&
		       may_shrink(&chain, size_sec, opt->shrink) &&
		       resize(&chain, size_sec);
	chain_close(&chain);
	return good ? VERB_OK : VERB_FAILED;
}
