// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk commit: what a child holds goes into its parent. The child stays as it
 * is, and reads the same at every moment; when it is done it may be removed.
 */
#include <stdlib.h>

#include "attached.h"
#include "chain.h"
#include "out.h"
#include "rechain.h"
#include "resize.h"

#define CHUNK (1u << 20)

/* Which file the parent is: the whole chain is looked at, as attach does. */
static bool find_parent(const struct verb_options *opt, char **path,
			const struct vdisk_format **format)
{
	const struct chain_layer *layer;
	struct chain chain;
	bool good = false;

	if (!chain_open(&chain, opt->args[0], opt, CHAIN_LOCK))
		return false;
	layer = chain.layer;
	if (chain.nr < 2) {
		out_error(chain.image, "Image has no parent");
	} else if (!strcmp(layer[0].path, layer[1].path)) {
		out_error(chain.image, "Layers of a bundle cannot be committed");
	} else {
		*path = out_text("%s", layer[1].path);
		*format = vdisk_format_find(layer[1].format);
		good = true;
	}
	chain_close(&chain);
	return good;
}

/* Sectors that the child holds. */
static int copy_some(struct chain *parent, struct chain *child, u64 sector,
		     const struct vdisk_hit *hit, u8 *buf, u64 *done)
{
	int r;

	*done = hit->sectors;
	if (hit->kind == VDISK_ZERO)
		return vdisk_disk_zero(parent->disk, sector, hit->sectors);
	*done = vdisk_min(*done, CHUNK / VDISK_SECTOR);
	r = vdisk_disk_read(child->disk, sector, buf, *done);
	if (r) {
		out_error(child->image, "%s", child->fault.text);
		return r;
	}
	return vdisk_disk_write(parent->disk, sector, buf, *done);
}

static bool copy(struct chain *parent, struct chain *child)
{
	u8 *buf = out_alloc(1, CHUNK);
	u64 sector, n, size = child->disk->size_sec;
	struct vdisk_hit hit;
	bool stopped;
	int r = 0;

	*parent->fault.text = *child->fault.text = 0;
	for (sector = 0; !r && sector < size && !resize_stop; sector += n) {
		r = vdisk_disk_map(child->disk, sector, size - sector, &hit);
		if (r)
			out_error(child->image, "%s", child->fault.text);
		n = hit.sectors;
		/* What no layer holds is the parent's already. */
		if (!r && hit.image)
			r = copy_some(parent, child, sector, &hit, buf, &n);
	}
	free(buf);
	if (r && !*child->fault.text)
		out_error(parent->image, "%s", parent->fault.text);
	/* Who comes too late to stop it has it done. */
	stopped = !r && sector < size;
	if (stopped)
		out_error(child->image, "Interrupted: the parent has a part of "
			  "it, the child still has all");
	if (vdisk_disk_settle(parent->disk) && !r) {
		out_error(parent->image, "%s", parent->fault.text);
		r = -EIO;
	}
	return !r && !stopped;
}

static bool commit(struct chain *parent, struct chain *child)
{
	return chain_check(parent) && rechain_stamp(parent, child) &&
	       copy(parent, child) && rechain_stamped(parent, child);
}

/* The parent is closed if it is false. */
static bool make_room(struct chain *parent, const struct chain *child,
		      const char *path, const struct verb_options *opt)
{
	u64 size_sec = child->disk->size_sec;
	bool good;

	if (size_sec <= parent->disk->size_sec)
		return true;
	good = rechain_size(parent, size_sec);
	chain_close(parent);
	return good && chain_open(parent, path, opt, CHAIN_LOCK | CHAIN_WRITE);
}

int cmd_commit(const struct verb_options *opt)
{
	const struct vdisk_format *format = NULL;
	struct chain parent, child;
	struct verb_options popt = *opt;
	struct dmctl_device dev;
	char *path = NULL;
	bool good = false, open;

	/* Others may have the parent below a device, and no lock says how many. */
	if (attached_find(opt->args[0], &dev)) {
		free(dev.params);
		out_error(opt->args[0], "Device is attached: commit its image "
			  "when it is detached");
		return VERB_FAILED;
	}
	rechain_begin();
	if (!find_parent(opt, &path, &format))
		return VERB_FAILED;
	popt.format = format;
	open = chain_open(&parent, path, &popt, CHAIN_LOCK | CHAIN_WRITE);
	if (open && chain_open(&child, opt->args[0], opt,
			       CHAIN_LOCK | CHAIN_WRITE | CHAIN_ALONE)) {
		open = make_room(&parent, &child, path, &popt);
		good = open && commit(&parent, &child);
		chain_close(&child);
	}
	if (open)
		chain_close(&parent);
	free(path);
	return good ? VERB_OK : VERB_FAILED;
}
