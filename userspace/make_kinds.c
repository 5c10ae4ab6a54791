// SPDX-License-Identifier: GPL-2.0-or-later
/* The formats that can be made: their options, and recipes of one file. */
#define _GNU_SOURCE
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <uuid.h>

#include "make.h"
#include "out.h"

static bool one_file(struct make *make, const struct vdisk_maker *maker)
{
	struct vdisk_recipe *recipe = &make->recipe;

	recipe->size_sec = make->size_sec;
	if (make_check(make, maker, recipe) && make_file(make, make->place) &&
	    make_part(make, maker, recipe)) {
		make->size_sec = make->layout.size_sec;
		return true;
	}
	return false;
}

static void set_parent(struct make *make)
{
	struct vdisk_recipe *recipe = &make->recipe;

	recipe->parent = make_text(make, "backing_file");
	if (!recipe->parent)
		return;
	recipe->parent_len = (u32)strlen(recipe->parent);
	recipe->parent_time = make->parent_time;
	memcpy(recipe->parent_id, make->parent_id, sizeof(recipe->parent_id));
}

/*-----------------------------------------------------------------*/

static const struct make_option raw_options[] = {
	{ NULL },
};

static bool make_raw(struct make *make)
{
	return one_file(make, &vdisk_raw_maker);
}

/*-----------------------------------------------------------------*/

static const char *const vhd_types[] = { "dynamic", "fixed", NULL };

static const struct make_option vhd_options[] = {
	{ "subformat", MAKE_CHOICE, "dynamic",
	  "how the disk is stored", vhd_types },
	{ "block_size", MAKE_SIZE, "2M",
	  "bytes that are given a place at a time", NULL },
	{ "force_size", MAKE_BOOL, "on",
	  "the size exactly; off: rounded up to what a geometry can say, as "
	  "Virtual PC needs it", NULL },
	{ "backing_file", MAKE_TEXT, NULL,
	  "the parent, which makes it a differencing disk", NULL },
	{ "backing_fmt", MAKE_TEXT, NULL, "vhd", NULL },
	{ NULL },
};

static bool make_vhd(struct make *make)
{
	struct vdisk_recipe *recipe = &make->recipe;

	recipe->fixed = !strcmp(make_text(make, "subformat"), "fixed");
	recipe->unit_len = make_number(make, "block_size");
	recipe->rounded = !make_flag(make, "force_size");
	recipe->time = (u32)time(NULL);
	uuid_generate(recipe->id);
	set_parent(make);
	if (recipe->fixed && recipe->parent) {
		out_error(make->image, "A fixed VHD has no parent");
		return false;
	}
	return one_file(make, &vdisk_vhd_maker);
}

/*-----------------------------------------------------------------*/

static const struct make_option qed_options[] = {
	{ "cluster_size", MAKE_SIZE, "64k",
	  "bytes that are given a place at a time", NULL },
	{ "table_size", MAKE_NUMBER, "4",
	  "clusters in a table; QEMU 7.2 cannot open 1", NULL },
	{ "backing_file", MAKE_TEXT, NULL, "the parent", NULL },
	{ "backing_fmt", MAKE_TEXT, NULL, "its format; raw must be said", NULL },
	{ NULL },
};

static bool make_qed(struct make *make)
{
	struct vdisk_recipe *recipe = &make->recipe;
	const char *format = make_text(make, "backing_fmt");

	recipe->unit_len = make_number(make, "cluster_size");
	recipe->table_units = make_number(make, "table_size");
	recipe->raw_parent = format && !strcmp(format, "raw");
	set_parent(make);
	return one_file(make, &vdisk_qed_maker);
}

/*-----------------------------------------------------------------*/

static const struct make_kind kinds[] = {
	{
		.format = &vdisk_raw_format, .option = raw_options,
		.make = make_raw,
	}, {
		.format = &vdisk_vhd_format, .option = vhd_options,
		.make = make_vhd, .parent = &vdisk_vhd_format,
	}, {
		.format = &vdisk_vmdk_format, .option = make_vmdk_options,
		.make = make_vmdk, .parent = &vdisk_vmdk_format,
	}, {
		.format = &vdisk_parallels_format,
		.option = make_parallels_options, .make = make_parallels,
	}, {
		.format = &vdisk_qed_format, .option = qed_options,
		.make = make_qed,
	},
};

const struct make_kind *make_kind_find(const char *name)
{
	const struct vdisk_format *format = vdisk_format_find(name);
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (format == kinds[i].format)
			return &kinds[i];
	if (!format || format->flags & VDISK_FORMAT_NO_FILE)
		out_error(NULL, "Unknown format: %s", out_name(name));
	else
		out_error(NULL, "Cannot write the format %s", out_name(name));
	return NULL;
}

/* A link's file is replaced, not the link; and so its neighbours are. */
bool make_image(struct make *make)
{
	struct stat st;

	if (make->force && !lstat(make->image, &st) && S_ISLNK(st.st_mode))
		make->place = realpath(make->image, NULL);
	else
		make->place = out_text("%s", make->image);
	if (make->place)
		return make->kind->make(make);
	out_error(make->image, "%s", strerror(errno));
	return false;
}
