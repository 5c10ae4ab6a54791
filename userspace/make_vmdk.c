// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * New VMDK disks: the text, and the extents it lists.
 *
 * CID, parentCID, createType and the parent's name come first in the text: they
 * are what is changed later, and one sector is written at once or not at all.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/random.h>

#include "descriptor.h"
#include "make.h"
#include "out.h"

/* Sectors of all but the last extent of a split disk: 2 GiB, whole grains. */
#define SPLIT_SEC 4194304ull

static const struct subformat {
	const char *name;	/* of the option, and createType */
	const struct vdisk_maker *maker;	/* of the extents */
	const char *type;	/* in the text */
	const char *suffix;	/* of their names; NULL = text and extent are one
				 * file
				 */
	bool split;
	const char *grain;	/* default size; NULL = there are none */
} subformats[] = {
	{ "monolithicSparse", &vdisk_vmdk_maker, "SPARSE", NULL, false, "64k" },
	{ "monolithicFlat", &vdisk_raw_maker, "FLAT", "flat", false, NULL },
	{ "twoGbMaxExtentSparse", &vdisk_vmdk_maker, "SPARSE", "s", true,
	  "64k" },
	{ "twoGbMaxExtentFlat", &vdisk_raw_maker, "FLAT", "f", true, NULL },
	{ "streamOptimized", &vdisk_stream_maker, "SPARSE", NULL, false, "64k" },
	{ "vmfs", &vdisk_raw_maker, "VMFS", "flat", false, NULL },
	{ "vmfsSparse", &vdisk_cowd_maker, "VMFSSPARSE", "delta", false, "512" },
};

#define NR_SUBFORMATS (sizeof(subformats) / sizeof(subformats[0]))

static const char *const subformat_names[] = {
	"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse",
	"twoGbMaxExtentFlat", "streamOptimized", "vmfs", "vmfsSparse", NULL,
};

static_assert(sizeof(subformat_names) / sizeof(subformat_names[0]) ==
	      NR_SUBFORMATS + 1, "every sub-format has its name in the option");

static const char *const adapters[] = {
	"ide", "buslogic", "lsilogic", "legacyESX", NULL,
};

const struct make_option make_vmdk_options[] = {
	{ "subformat", MAKE_CHOICE, "monolithicSparse",
	  "how the disk is stored", subformat_names },
	{ "grain_size", MAKE_SIZE, NULL,
	  "bytes that are given a place at a time (default: 64k, vmfsSparse "
	  "512)", NULL },
	{ "zeroed_grain", MAKE_BOOL, "off",
	  "zeroes need no place (monolithicSparse, twoGbMaxExtentSparse); "
	  "VirtualBox cannot read it", NULL },
	{ "adapter_type", MAKE_CHOICE, "ide",
	  "the guest's controller", adapters },
	{ "hwversion", MAKE_NUMBER, NULL,
	  "version of the virtual machine (default: 4)", NULL },
	{ "compat6", MAKE_BOOL, "off", "hwversion=6", NULL },
	{ "toolsversion", MAKE_NUMBER, "2147483647",
	  "version of the guest's tools", NULL },
	{ "backing_file", MAKE_TEXT, NULL,
	  "the parent (sparse sub-formats)", NULL },
	{ "backing_fmt", MAKE_TEXT, NULL, "vmdk", NULL },
	{ NULL },
};

/* Never one that has a meaning of its own. */
static u32 new_cid(void)
{
	u32 cid = 0;

	do {
		if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
			cid = cid * 1103515245 + 12345;
	} while (cid >= DESCRIPTOR_LONG_CID || !cid);
	return cid;
}

/* The image's name without directories and ".vmdk". */
static char *stem(const struct make *make)
{
	const char *slash = strrchr(make->place, '/');
	const char *base = slash ? slash + 1 : make->place;
	size_t len = strlen(base);

	if (len > 5 && !strcasecmp(base + len - 5, ".vmdk"))
		len -= 5;
	return out_text("%.*s", (int)len, base);
}

static u64 nr_extents(const struct make *make, const struct subformat *sub)
{
	return sub->split ? vdisk_div_up(make->size_sec, SPLIT_SEC) : 1;
}

static u64 extent_sectors(const struct make *make, const struct subformat *sub,
			  unsigned int i)
{
	return sub->split ? vdisk_min(make->size_sec - i * SPLIT_SEC, SPLIT_SEC)
			  : make->size_sec;
}

/* The name in the text. */
static char *extent_name(const struct make *make, const struct subformat *sub,
			 unsigned int i)
{
	const char *slash = strrchr(make->place, '/');
	char *base, *name;

	if (!sub->suffix)
		return out_text("%s", slash ? slash + 1 : make->place);
	base = stem(make);
	name = sub->split ? out_text("%s-%s%03u.vmdk", base, sub->suffix, i + 1)
			  : out_text("%s-%s.vmdk", base, sub->suffix);
	free(base);
	return name;
}

/* Takes @more over. */
static void append(char **text, char *more)
{
	size_t len = strlen(*text), n = strlen(more);

	*text = out_grow(*text, len + n + 1, 1);
	memcpy(*text + len, more, n + 1);
	free(more);
}

static void append_geometry(const struct make *make, char **text)
{
	bool ide = !strcmp(make_text(make, "adapter_type"), "ide");
	u64 heads = ide ? 16 : 255, cylinders = make->size_sec / (heads * 63);
	const char *version = make_text(make, "hwversion");

	if (!version)
		version = make_flag(make, "compat6") ? "6" : "4";
	append(text, out_text("\n# The Disk Data Base\n#DDB\n\n"
		"ddb.virtualHWVersion = \"%s\"\n"
		"ddb.geometry.cylinders = \"%llu\"\n"
		"ddb.geometry.heads = \"%llu\"\n"
		"ddb.geometry.sectors = \"63\"\n"
		"ddb.adapterType = \"%s\"\n"
		"ddb.toolsVersion = \"%s\"\n", version,
		(unsigned long long)(ide ? vdisk_min(cylinders, 16383)
					 : cylinders),
		(unsigned long long)heads, make_text(make, "adapter_type"),
		make_text(make, "toolsversion")));
}

static char *make_descriptor(const struct make *make,
			     const struct subformat *sub)
{
	const char *parent = make_text(make, "backing_file");
	unsigned int i;
	char *text, *name;

	text = out_text("# Disk DescriptorFile\nversion=1\nCID=%08x\n"
			"parentCID=%08x\ncreateType=\"%s\"\n", new_cid(),
			parent ? make->parent_cid : DESCRIPTOR_NO_CID,
			sub->name);
	if (parent)
		append(&text, out_text("parentFileNameHint=\"%s\"\n", parent));
	append(&text, out_text("encoding=\"UTF-8\"\n\n# Extent description\n"));
	for (i = 0; i < nr_extents(make, sub); i++) {
		name = extent_name(make, sub, i);
		append(&text, out_text("RW %llu %s \"%s\"%s\n",
			(unsigned long long)extent_sectors(make, sub, i),
			sub->type, name,
			strcmp(sub->type, "FLAT") ? "" : " 0"));
		free(name);
	}
	append_geometry(make, &text);
	return text;
}

/*
 * There is no way to quote, and readers disagree about what ends a name. What
 * our own reader makes of the text is looked at all the same.
 */
static bool check_name(const struct make *make, const char *name)
{
	if (!name || !strpbrk(name, "\"\r\n"))
		return true;
	out_error(make->image, "Name cannot stand in a descriptor: %s",
		  out_name(name));
	return false;
}

static bool check_descriptor(const struct make *make,
			     const struct subformat *sub, const char *text)
{
	const char *parent = make_text(make, "backing_file");
	struct descriptor desc;
	char *what, *name;
	u32 i;

	what = descriptor_parse(&desc, text, strlen(text), false);
	if (!what && strcmp(desc.parent_hint ? desc.parent_hint : "",
			    parent ? parent : ""))
		what = out_text("Name would be read as another: %s",
				out_name(parent));
	for (i = 0; !what && i < desc.nr_extents; i++) {
		name = extent_name(make, sub, i);
		if (strcmp(desc.extent[i].file, name))
			what = out_text("Name would be read as another: %s",
					out_name(name));
		free(name);
	}
	descriptor_free(&desc);
	if (!what)
		return true;
	out_error(make->image, "%s", what);
	free(what);
	return false;
}

static bool make_extents(struct make *make, const struct subformat *sub)
{
	const char *slash = strrchr(make->place, '/');
	unsigned int i, nr = nr_extents(make, sub);
	char *name, *path;
	bool good = true;

	for (i = 0; good && i < nr; i++) {
		name = extent_name(make, sub, i);
		path = out_text("%.*s%s",
				slash ? (int)(slash - make->place + 1) : 0,
				make->place, name);
		make->recipe.size_sec = extent_sectors(make, sub, i);
		good = make_file(make, path) &&
		       make_part(make, sub->maker, &make->recipe);
		free(name);
		free(path);
	}
	return good;
}

static bool check_options(const struct make *make, const struct subformat *sub)
{
	const char *wrong = NULL;

	if (!sub->grain && make_text(make, "backing_file"))
		wrong = "backing_file";
	if (!sub->grain && make_text(make, "grain_size"))
		wrong = "grain_size";
	if (make_flag(make, "zeroed_grain") && sub->maker != &vdisk_vmdk_maker)
		wrong = "zeroed_grain";
	if (make_flag(make, "compat6") && make_text(make, "hwversion")) {
		out_error(NULL, "Options hwversion and compat6 exclude each "
			  "other");
		return false;
	}
	if (wrong)
		out_error(NULL, "Option %s is not for %s", wrong, sub->name);
	else if (nr_extents(make, sub) > DESCRIPTOR_MAX_EXTENTS)
		return make_fail(make, "Disk has too many extents",
				 nr_extents(make, sub));
	return !wrong;
}

bool make_vmdk(struct make *make)
{
	const char *parent = make_text(make, "backing_file");
	struct vdisk_recipe *recipe = &make->recipe;
	const struct subformat *sub = subformats;

	while (strcmp(sub->name, make_text(make, "subformat")))
		sub++;
	if (!check_options(make, sub))
		return false;
	if (sub->grain && !make_text(make, "grain_size"))
		make_parse_size(sub->grain, &recipe->unit_len);
	else
		recipe->unit_len = make_number(make, "grain_size");
	recipe->zeroed = make_flag(make, "zeroed_grain");
	recipe->parent = parent;
	recipe->parent_len = parent ? (u32)strlen(parent) : 0;
	make->stream = sub->maker == &vdisk_stream_maker;

	recipe->size_sec = extent_sectors(make, sub, 0);
	if (!make_check(make, sub->maker, recipe))
		return false;
	if (!check_name(make, make->place) || !check_name(make, parent))
		return false;
	make->text = make_descriptor(make, sub);
	if (!check_descriptor(make, sub, make->text) ||
	    !make_file(make, make->place))
		return false;
	if (!sub->suffix) {
		recipe->text = make->text;
		recipe->text_len = (u32)strlen(make->text);
		return make_part(make, sub->maker, recipe);
	}
	return make_content(make, make->text, strlen(make->text)) &&
	       make_extents(make, sub);
}
