// SPDX-License-Identifier: GPL-2.0-or-later
/* A QED image and its backing file. */
#include "../formats/qed.h"
#include "chain_in.h"
#include "out.h"

static int read_header(struct chain *chain, const struct chain_part *part,
		       struct qed_header_disk *h)
{
	int r = vdisk_store_read(part->store, 0, h, sizeof(*h));

	return r ? chain_fail(chain, r, out_text("%s", strerror(-r))) : 0;
}

static int qed_names(struct chain *chain, const struct chain_layer *layer,
		     struct chain_names *names)
{
	const struct chain_part *part = &layer->part[0];
	struct qed_header_disk h;
	char *name;
	u32 len;
	int r;

	if (!(part->image->geom.flags & VDISK_GEOM_PARENT))
		return 0;
	r = read_header(chain, part, &h);
	if (r)
		return r;
	/* open() has seen that the name is short and inside the header. */
	len = (u32)vdisk_min(le32_of(h.backing_filename_size), QED_MAX_NAME);
	name = out_alloc(len + 1, 1);
	names->name[names->nr++] = name;
	r = vdisk_store_read(part->store, le32_of(h.backing_filename_offset),
			     name, len);
	if (r)
		return chain_fail(chain, r, out_text("%s", strerror(-r)));
	if (strlen(name) != len)
		return chain_fail(chain, -EINVAL,
				  out_text("Zero byte in the name at %zu",
					   strlen(name)));
	return 1;
}

/*
 * The format of a backing file is only recorded if it is raw. Otherwise it must
 * show what it is, as an image that a user names.
 */
static int qed_parent(struct chain *chain, struct reach_file *file,
		      unsigned int child)
{
	struct qed_header_disk h;
	int r = read_header(chain, &chain->layer[child].part[0], &h);

	if (!r && le64_of(h.features) & QED_NO_PROBE)
		return chain_add_file(chain, file, vdisk_format_find("raw"),
				      false);
	if (!r)
		return chain_add_file(chain, file, NULL, false);
	reach_close(file);
	return r;
}

const struct chain_kind chain_qed = {
	.format	= "qed",
	.names	= qed_names,
	.parent	= qed_parent,
};
