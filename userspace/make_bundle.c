// SPDX-License-Identifier: GPL-2.0-or-later
/* New Parallels images, alone and in bundles. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <uuid.h>

#include "bundle.h"
#include "make.h"
#include "out.h"
#include "xml.h"

#define NO_GUID "{00000000-0000-0000-0000-000000000000}"
#define TOP_GUID "{5fbaabe3-6958-40ff-92a7-860e329aab41}"

const struct make_option make_parallels_options[] = {
	{ "cluster_size", MAKE_SIZE, "1M",
	  "bytes that are given a place at a time", NULL },
	{ "version", MAKE_NUMBER, "2",
	  "1: WithoutFreeSpace, up to 2 TiB; 2: WithouFreSpacExt", NULL },
	{ "bundle", MAKE_BOOL, "off",
	  "a directory with a description and the image", NULL },
	{ NULL },
};

/* As the user said it, but without slashes at the end. */
static char *bundle_path(const struct make *make)
{
	size_t len = strlen(make->image);

	while (len && make->image[len - 1] == '/')
		len--;
	return out_text("%.*s", (int)len, make->image);
}

/* A description on its way out, and how deep its next line stands. */
struct writer {
	FILE *to;
	int depth;
};

static void indent(const struct writer *w)
{
	fprintf(w->to, "%*s", 4 * w->depth, "");
}

static void element(const struct writer *w, const char *name, const char *text)
{
	indent(w);
	fprintf(w->to, "<%s>", name);
	xml_put(w->to, text);
	fprintf(w->to, "</%s>\n", name);
}

static void number(const struct writer *w, const char *name, u64 v)
{
	char text[24];

	sprintf(text, "%llu", (unsigned long long)v);
	element(w, name, text);
}

static void start(struct writer *w, const char *name)
{
	indent(w);
	fprintf(w->to, "<%s>\n", name);
	w->depth++;
}

static void end(struct writer *w, const char *name)
{
	w->depth--;
	indent(w);
	fprintf(w->to, "</%s>\n", name);
}

/* The product must be the size exactly, so tracks get as short as it takes. */
static void geometry(const struct writer *w, u64 sectors)
{
	static const u8 tracks[] = { 63, 32, 16, 8, 4, 2, 1 };
	u64 heads = 16;
	size_t i = 0;

	while (sectors % (heads * tracks[i])) {
		if (tracks[i] > 1)
			i++;
		else
			heads /= 2;
	}
	number(w, "Cylinders", sectors / (heads * tracks[i]));
	number(w, "Heads", heads);
	number(w, "Sectors", tracks[i]);
}

static void parameters(struct writer *w, const struct make *make)
{
	uuid_t id;
	char text[UUID_STR_LEN + 2] = "{";

	uuid_generate(id);
	uuid_unparse_lower(id, text + 1);
	strcat(text, "}");
	start(w, "Disk_Parameters");
	number(w, "Disk_size", make->size_sec);
	geometry(w, make->size_sec);
	number(w, "PhysicalSectorSize", 4096);
	number(w, "LogicSectorSize", VDISK_SECTOR);
	number(w, "Padding", 0);
	start(w, "Encryption");
	element(w, "Engine", NO_GUID);
	element(w, "Data", "");
	end(w, "Encryption");
	element(w, "UID", text);
	end(w, "Disk_Parameters");
}

static void storage(struct writer *w, const struct make *make,
		    const char *file)
{
	start(w, "StorageData");
	start(w, "Storage");
	number(w, "Start", 0);
	number(w, "End", make->size_sec);
	number(w, "Blocksize", make->recipe.unit_len / VDISK_SECTOR);
	start(w, "Image");
	element(w, "GUID", TOP_GUID);
	element(w, "Type", "Compressed");
	element(w, "File", file);
	end(w, "Image");
	end(w, "Storage");
	end(w, "StorageData");
	start(w, "Snapshots");
	start(w, "Shot");
	element(w, "GUID", TOP_GUID);
	element(w, "ParentGUID", NO_GUID);
	end(w, "Shot");
	end(w, "Snapshots");
}

/* To be freed; NULL if there is no memory. */
static char *description(const struct make *make, const char *file)
{
	struct writer w = { .depth = 0 };
	char *text = NULL;
	size_t len;

	w.to = open_memstream(&text, &len);
	if (!w.to)
		return NULL;
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	      "<Parallels_disk_image Version=\"1.0\">\n", w.to);
	w.depth++;
	parameters(&w, make);
	storage(&w, make, file);
	end(&w, "Parallels_disk_image");
	if (!fclose(w.to))
		return text;
	free(text);
	return NULL;
}

/* A name that does not come back was none for XML. */
static bool check_description(const struct make *make, const char *text,
			      const char *file)
{
	struct bundle bundle;
	char *what;
	bool good;

	what = bundle_parse(&bundle, text, strlen(text));
	good = !what && !strcmp(bundle.storage[0].image[0].file, file);
	bundle_free(&bundle);
	free(what);
	if (!good)
		out_error(make->image, "Name cannot stand in %s: %s",
			  BUNDLE_FILE, out_name(file));
	return good;
}

static bool make_bundle(struct make *make)
{
	char *path = bundle_path(make), *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *file = out_text("%s.0.%s.hds", name, TOP_GUID);
	char *text = description(make, file);
	bool good;

	if (!text)
		out_error(make->image, "%s", strerror(ENOMEM));
	good = text && check_description(make, text, file) &&
	       make_directory(make, path) &&
	       make_file_inside(make, BUNDLE_FILE) &&
	       make_content(make, text, strlen(text)) &&
	       /* Empty: Parallels Desktop wants it to be there. */
	       make_file_inside(make, name) &&
	       make_file_inside(make, file) &&
	       make_part(make, &vdisk_parallels_maker, &make->recipe);
	free(text);
	free(file);
	free(path);
	return good;
}

bool make_parallels(struct make *make)
{
	struct vdisk_recipe *recipe = &make->recipe;
	u64 version = make_number(make, "version");

	recipe->size_sec = make->size_sec;
	recipe->unit_len = make_number(make, "cluster_size");
	recipe->version = (u32)vdisk_min(version, 0xffffffff);
	if (!make_check(make, &vdisk_parallels_maker, recipe))
		return false;
	if (make_flag(make, "bundle"))
		return make_bundle(make);
	return make_file(make, make->place) &&
	       make_part(make, &vdisk_parallels_maker, recipe);
}
