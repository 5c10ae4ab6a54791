// SPDX-License-Identifier: GPL-2.0-or-later
/* New Parallels images, alone and in bundles. */
#define _GNU_SOURCE
#include <libxml/xmlwriter.h>
#include <stdlib.h>
#include <uuid.h>

#include "bundle.h"
#include "make.h"
#include "out.h"

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

static void element(xmlTextWriter *w, const char *name, const char *text)
{
	xmlTextWriterWriteElement(w, BAD_CAST name, BAD_CAST text);
}

static void number(xmlTextWriter *w, const char *name, u64 v)
{
	xmlTextWriterWriteFormatElement(w, BAD_CAST name, "%llu",
					(unsigned long long)v);
}

static void start(xmlTextWriter *w, const char *name)
{
	xmlTextWriterStartElement(w, BAD_CAST name);
}

/* The product must be the size exactly, so tracks get as short as it takes. */
static void geometry(xmlTextWriter *w, u64 sectors)
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

static void parameters(xmlTextWriter *w, const struct make *make)
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
	xmlTextWriterEndElement(w);
	element(w, "UID", text);
	xmlTextWriterEndElement(w);
}

static void storage(xmlTextWriter *w, const struct make *make,
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
	xmlTextWriterEndElement(w);
	xmlTextWriterEndElement(w);
	xmlTextWriterEndElement(w);
	start(w, "Snapshots");
	start(w, "Shot");
	element(w, "GUID", TOP_GUID);
	element(w, "ParentGUID", NO_GUID);
	xmlTextWriterEndElement(w);
	xmlTextWriterEndElement(w);
}

/* NULL if there is no memory. */
static xmlBuffer *description(const struct make *make, const char *file)
{
	xmlBuffer *buf = xmlBufferCreate();
	xmlTextWriter *w = buf ? xmlNewTextWriterMemory(buf, 0) : NULL;

	if (!w) {
		xmlBufferFree(buf);
		return NULL;
	}
	xmlTextWriterSetIndent(w, 1);
	xmlTextWriterSetIndentString(w, BAD_CAST "    ");
	xmlTextWriterStartDocument(w, NULL, "UTF-8", NULL);
	start(w, "Parallels_disk_image");
	xmlTextWriterWriteAttribute(w, BAD_CAST "Version", BAD_CAST "1.0");
	parameters(w, make);
	storage(w, make, file);
	xmlTextWriterEndDocument(w);
	xmlFreeTextWriter(w);
	return buf;
}

/* A name that does not come back was none for XML. */
static bool check_description(const struct make *make, const xmlBuffer *buf,
			      const char *file)
{
	struct bundle bundle;
	char *what;
	bool good;

	what = bundle_parse(&bundle, (const char *)xmlBufferContent(buf),
			    (size_t)xmlBufferLength(buf));
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
	xmlBuffer *buf = description(make, file);
	bool good;

	if (!buf)
		out_error(make->image, "%s", strerror(ENOMEM));
	good = buf && check_description(make, buf, file) &&
	       make_directory(make, path) &&
	       make_file_inside(make, BUNDLE_FILE) &&
	       make_content(make, xmlBufferContent(buf),
			    (size_t)xmlBufferLength(buf)) &&
	       /* Empty: Parallels Desktop wants it to be there. */
	       make_file_inside(make, name) &&
	       make_file_inside(make, file) &&
	       make_part(make, &vdisk_parallels_maker, &make->recipe);
	xmlBufferFree(buf);
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
	return make_file(make, make->image) &&
	       make_part(make, &vdisk_parallels_maker, recipe);
}
