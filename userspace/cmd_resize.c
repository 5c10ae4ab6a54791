// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk resize: another size for the disk in an image. */
#include <stdio.h>
#include <unistd.h>

#include "chain.h"
#include "make.h"
#include "online.h"
#include "out.h"
#include "rechain.h"
#include "resize.h"

/* [+|-]SIZE; true if it is one. The disk's size is what is rounded up. */
static bool parse_size(const char *text, u64 old_sec, u64 *size_sec)
{
	char sign = *text == '+' || *text == '-' ? *text++ : 0;
	u64 n;

	if (sign == '-') {
		if (!make_parse_size(text, &n))
			return false;
		n /= VDISK_SECTOR;
		*size_sec = old_sec - n;
		return n <= old_sec;
	}
	return make_parse_sectors(text, &n) &&
	       !vdisk_add(sign ? old_sec : 0, n, size_sec);
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

static bool try_resize(struct chain *chain, u64 size_sec)
{
	if (!rechain_may_size(chain, size_sec))
		return false;
	printf("Would make the disk of %s %llu bytes instead of %llu\n",
	       out_name(chain->image),
	       (unsigned long long)(size_sec * VDISK_SECTOR),
	       (unsigned long long)(chain->disk->size_sec * VDISK_SECTOR));
	return true;
}

static bool may_resize(struct chain *chain, const struct verb_options *opt,
		       u64 *size_sec)
{
	if (parse_size(opt->args[1], chain->disk->size_sec, size_sec))
		return may_shrink(chain, *size_sec, opt->shrink);
	out_error(chain->image, "No size for the disk: %s",
		  out_name(opt->args[1]));
	return false;
}

static bool resize(struct chain *chain, const struct verb_options *opt)
{
	u64 size_sec;

	return may_resize(chain, opt, &size_sec) &&
	       (opt->dry_run ? try_resize(chain, size_sec) :
			       rechain_size(chain, size_sec));
}

/*
 * What takes long, before it: what is refused now need not suspend anything. An
 * image that does not look sound is looked at again then.
 */
static bool look_before(struct online *on, const struct verb_options *opt,
			u64 *size_sec, unsigned int *flags)
{
	struct chain chain;
	bool good;

	if (!chain_open(&chain, on->image, &on->opt, 0))
		return false;
	good = may_resize(&chain, opt, size_sec);
	*flags = good && chain_is_sound(&chain) ? CHAIN_CHECKED : 0;
	chain.flags |= *flags;
	good = good && (!*flags || rechain_may_size(&chain, *size_sec));
	chain_close(&chain);
	return good;
}

/* To give units back takes time: so many while the device is suspended. */
#define PART_UNITS 65536

static u64 part_of(const struct chain *chain, u64 size_sec)
{
	const struct chain_layer *top = &chain->layer[0];
	const struct vdisk_geom *geom = &top->part[top->nr - 1].image->geom;
	u64 now = chain->disk->size_sec, part = PART_UNITS * geom->unit_sec;

	if (geom->flags & VDISK_GEOM_NO_ALLOC || size_sec >= now ||
	    now - size_sec <= part)
		return size_sec;
	return now - part;
}

/* *@now is the size it has after it. */
static bool resize_part(struct online *on, const struct verb_options *opt,
			u64 size_sec, unsigned int flags, u64 *now)
{
	struct chain chain;
	bool good, begun;

	if (!online_suspend(on))
		return false;
	if (!chain_open(&chain, on->image, &on->opt, CHAIN_WRITE | flags)) {
		online_resume(on);
		return false;
	}
	size_sec = part_of(&chain, size_sec);
	/* What lies behind the new end may have come since. */
	begun = may_shrink(&chain, size_sec, opt->shrink);
	good = begun && rechain_size(&chain, size_sec);
	*now = good ? size_sec : chain.disk->size_sec;
	chain_close(&chain);
	if (!begun) {
		online_resume(on);
		return false;
	}
	return online_replace(on, on->image, false) && good;
}

static bool resize_image(const char *image, const struct verb_options *opt,
			 unsigned int flags)
{
	struct chain chain;
	bool good;

	if (!chain_open(&chain, image, opt, flags))
		return false;
	good = resize(&chain, opt);
	chain_close(&chain);
	return good;
}

#define PAUSE_MS 100		/* it goes on between */

/*
 * A refusal leaves the image as it was, and what is begun is brought to an end
 * or taken back: either way it is an image that can be attached.
 */
static bool resize_attached(struct online *on, const struct verb_options *opt)
{
	unsigned int flags, parts = 0;
	u64 size_sec, now = 0;
	bool good;

	if (opt->dry_run)
		return resize_image(on->image, &on->opt, 0);
	if (!look_before(on, opt, &size_sec, &flags))
		return false;
	do {
		if (parts++)
			usleep(PAUSE_MS * 1000);
		good = !resize_stop &&
		       resize_part(on, opt, size_sec, flags, &now);
	} while (good && now != size_sec);
	if (!good && parts > 1)
		out_error(on->dev.name, "Is %llu sectors long now",
			  (unsigned long long)now);
	return good;
}

int cmd_resize(const struct verb_options *opt)
{
	struct online on;
	bool good, ok;
	u64 size_sec;

	/* Is it one at all? Of which disk is not known yet. */
	if (!parse_size(opt->args[1], ~0ull >> VDISK_SHIFT, &size_sec)) {
		out_error(NULL, "Size is no number of bytes, as 10M: %s",
			  out_name(opt->args[1]));
		return VERB_USAGE;
	}
	rechain_begin();
	if (online_find(&on, opt->args[0], opt, &ok)) {
		good = ok && resize_attached(&on, opt);
		online_end(&on);
	} else {
		good = resize_image(opt->args[0], opt, CHAIN_LOCK |
				    (opt->dry_run ? 0 : CHAIN_WRITE));
	}
	return good ? VERB_OK : VERB_FAILED;
}
