// SPDX-License-Identifier: GPL-2.0-or-later
/* A differencing VHD and its parent, known by its id. */
#include "../formats/vhd.h"
#include "chain_in.h"
#include "locator.h"
#include "out.h"

static int vhd_names(struct chain *chain, const struct chain_layer *layer,
		     struct chain_names *names)
{
	const struct chain_part *part = &layer->part[0];
	int r;

	if (!(part->image->geom.flags & VDISK_GEOM_PARENT))
		return 0;
	r = locator_read(part->store, &part->image->geom, names);
	return r ? chain_fail(chain, r, out_text("%s", strerror(-r))) : 1;
}

/*
 * blktap puts a differencing disk without an id on a raw disk, whose guest can
 * write any footer. To others zero is an id, which old QEMU gave its disks.
 */
static bool is_of_blktap(const struct vdisk_geom *geom)
{
	const struct vhd_footer_disk *f = (const void *)geom->tail;

	return be32_of(f->creator_app) == VHD_BY_BLKTAP;
}

static int vhd_parent(struct chain *chain, struct reach_file *file,
		      unsigned int child)
{
	static const u8 none[16];
	const struct vdisk_geom *geom;
	char wanted[33], is[33];
	u8 want[16];
	bool raw;
	int r;

	geom = &chain->layer[child].part[0].image->geom;
	memcpy(want, geom->parent_id, sizeof(want));
	raw = !memcmp(want, none, sizeof(want)) && is_of_blktap(geom);
	if (raw && chain_claimed(file, &vdisk_vhd_format)) {
		reach_close(file);
		return chain_fail(chain, -EINVAL,
				  out_text("Raw by its child, a VHD by itself"));
	}
	r = chain_add_file(chain, file, vdisk_format_find(raw ? "raw" : "vhd"),
			   false);
	if (r)
		return r;
	geom = &chain_newest(chain)->part[0].image->geom;
	if (raw || !memcmp(geom->id, want, sizeof(want)))
		return 0;
	out_id(want, wanted);
	out_id(geom->id, is);
	return chain_fail(chain, -ESTALE, out_text("Image has the id %s instead "
						   "of %s", is, wanted));
}

/* The maker puts "./" before what is relative, and takes no backslash. */
static void vhd_spell(const char *name, struct chain_names *names)
{
	const char *slash = strrchr(name, '/');

	names->name[names->nr++] = out_text("%s", name);
	if (slash && slash[1])
		names->name[names->nr++] = out_text("%s", slash + 1);
}

const struct chain_kind chain_vhd = {
	.format	= "vhd",
	.names	= vhd_names,
	.parent	= vhd_parent,
	.spell	= vhd_spell,
};
