// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * More extents for a split VMDK. Their files are made and durable before the
 * text names them; a crash before that leaves files that nobody knows.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#include "../formats/vmdk.h"
#include "desc_text.h"
#include "make.h"
#include "out.h"
#include "signals.h"
#include "rechain_in.h"

/* "disk-s009.vmdk" is followed by "disk-s010.vmdk"; false without a number. */
static bool next_name(char *name)
{
	char *end = strrchr(name, '.'), *p;

	if (!end)
		end = name + strlen(name);
	for (p = end; p > name && isdigit((unsigned char)p[-1]); p--) {
		if (p[-1] != '9') {
			p[-1]++;
			return true;
		}
		p[-1] = '0';
	}
	return false;
}

/* As the extent before it is made. */
static bool read_recipe(const struct chain_part *part,
			struct vdisk_recipe *recipe,
			const struct vdisk_maker **maker)
{
	struct vmdk_header_disk h;

	*recipe = (struct vdisk_recipe){ 0 };
	*maker = &vdisk_raw_maker;
	/* A piece of a file has its successor in the same file. */
	if (part->format == &vdisk_raw_format)
		return !part->offset_sec;
	*maker = &vdisk_vmdk_maker;
	recipe->unit_len = part->image->geom.unit_len;
	if (part->format != &vdisk_vmdk_format ||
	    part->image->geom.flags & VDISK_GEOM_PACKED ||
	    vdisk_store_read(part->store, 0, &h, sizeof(h)))
		return false;
	recipe->zeroed = le32_of(h.flags) & VMDK_ZEROED;
	return true;
}

static bool make_one(struct rechain_split *split, struct make *make,
		     const struct vdisk_maker *maker,
		     const struct vdisk_recipe *recipe, const char *dir)
{
	const char *slash = strrchr(split->name, '/');
	char *path = out_text("%s/%s", dir, slash ? slash + 1 : split->name);
	bool good = make_file(make, path) && make_part(make, maker, recipe);

	split->path = out_grow(split->path, split->nr + 1,
			       sizeof(*split->path));
	split->path[split->nr++] = path;
	return good;
}

static bool make_all(struct rechain_split *split, struct make *make,
		     const struct chain_part *last, u64 sectors)
{
	char *dir = out_text("%s", last->path), *text = split->text;
	const struct vdisk_maker *maker;
	struct vdisk_recipe recipe;
	bool good = false;

	*strrchr(dir, '/') = 0;
	for (; sectors; sectors -= recipe.size_sec) {
		good = read_recipe(last, &recipe, &maker) &&
		       next_name(split->name);
		if (!good) {
			out_error(make->image, "No name or kind for further "
				  "extents: %s", out_name(split->name));
			break;
		}
		recipe.size_sec = vdisk_min(sectors, RECHAIN_SPLIT_SEC);
		good = make_one(split, make, maker, &recipe, dir);
		if (!good)
			break;
		split->text = desc_text_more(split->top, text, recipe.size_sec,
					     split->name);
		free(text);
		text = split->text;
		good = text;
		if (!good)
			break;
	}
	free(dir);
	return good && make_commit(make);
}

bool rechain_split_begin(struct rechain_split *split, const struct chain *chain,
			 u64 last_sec, u64 sectors)
{
	const struct chain_layer *top = &chain->layer[0];
	struct make make;
	sigset_t old;
	bool good;
	char *text;

	*split = (struct rechain_split){ 0 };
	text = desc_text_read(top);
	if (!text)
		return false;
	split->top = top;
	split->text = desc_text_extent(top, text, last_sec);
	split->name = desc_text_name(top, text);
	free(text);
	if (!split->text || !split->name)
		return false;
	/* Who takes signals here would not give them back. */
	signals_hold(&old);
	make_begin(&make, chain->image, make_kind_find("vmdk"));
	good = make_all(split, &make, &top->part[top->nr - 1], sectors);
	make_end(&make);
	rechain_begin();
	signals_let(&old);
	if (!good)
		split->nr = 0;
	return good;
}

void rechain_split_end(struct rechain_split *split, bool keep)
{
	while (split->nr) {
		if (!keep)
			unlink(split->path[split->nr - 1]);
		free(split->path[--split->nr]);
	}
	free(split->path);
	free(split->name);
	free(split->text);
}
