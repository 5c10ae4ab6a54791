// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An id for an image that has none.
 *
 * Old QEMU left the unique id of a VHD zero, which in a child means a raw parent;
 * a VMDK's CID of ffffffff means in a child that there is no parent, fffffffe that
 * the id is elsewhere. A child of such an image would stand on something else.
 */
#include <stdlib.h>
#include <unistd.h>

#include "chain.h"
#include "identify.h"
#include "out.h"
#include "rechain.h"

static bool has_id(const struct chain_layer *top)
{
	static const u8 none[16];

	if (top->desc)
		return !descriptor_no_cid(top->desc);
	return strcmp(top->format, "vhd") ||
	       memcmp(top->part[0].image->geom.id, none, sizeof(none));
}

static bool open_alone(struct chain *chain, const char *image,
		       const struct verb_options *opt, unsigned int flags)
{
	return chain_open(chain, image, opt,
			  CHAIN_LOCK | CHAIN_ALONE | flags);
}

bool identify(const char *image, const struct verb_options *opt,
	      const struct make_kind *kind)
{
	struct chain chain;
	bool good;

	/* Where any image may be the parent it is known by its name alone. */
	if (!kind || !kind->parent)
		return true;
	if (!open_alone(&chain, image, opt, 0))
		return false;
	good = has_id(&chain.layer[0]);
	chain_close(&chain);
	if (good)
		return true;
	if (opt->force_share || opt->device_locks) {
		out_error(image, "Image has no id, and gets none while others "
			  "use it");
		return false;
	}
	if (access(image, W_OK)) {
		out_error(image, "Image has no id, and cannot be given one: %s",
			  strerror(errno));
		return false;
	}
	if (!open_alone(&chain, image, opt, CHAIN_WRITE))
		return false;
	good = rechain_identify(&chain);
	chain_close(&chain);
	return good;
}
