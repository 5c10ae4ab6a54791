// SPDX-License-Identifier: GPL-2.0-or-later
/* DiskDescriptor.xml of a Parallels bundle: what its elements mean. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdlib.h>

#include "bundle.h"
#include "out.h"
#include "xml.h"

#define NO_GUID "{00000000-0000-0000-0000-000000000000}"
/* The top where nothing says which; an ordinary one where something does. */
#define TOP_GUID "{5fbaabe3-6958-40ff-92a7-860e329aab41}"

/* The text of a child without blanks around, or NULL. */
static char *text_of(const struct xml *xml, const struct xml_node *node,
		     const char *name)
{
	node = xml_child(node, name);
	return node ? xml_text(xml, node) : NULL;
}

static char *guid_of(const struct xml *xml, const struct xml_node *node,
		     const char *name)
{
	char *text = text_of(xml, node, name), *p;

	for (p = text; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return text;
}

/* 1 = read, 0 = not there, -1 = no number */
static int number_of(const struct xml *xml, const struct xml_node *node,
		     const char *name, u64 *v)
{
	char *text = text_of(xml, node, name), *p;
	bool good = text && *text;

	*v = 0;
	if (!text)
		return 0;
	for (p = text; good && *p; p++)
		good = *p >= '0' && *p <= '9' && !vdisk_mul(*v, 10, v) &&
		       !vdisk_add(*v, *p - '0', v);
	free(text);
	return good ? 1 : -1;
}

static char *bad(const char *what)
{
	return out_text("%s: %s", BUNDLE_FILE, what);
}

static char *bad_text(const char *what, const char *value)
{
	return out_text("%s: %s: %s", BUNDLE_FILE, what,
			value ? out_name(value) : "none");
}

const struct bundle_image *bundle_image(const struct bundle_storage *storage,
					const char *guid)
{
	unsigned int i;

	for (i = 0; i < storage->nr; i++)
		if (!strcmp(storage->image[i].guid, guid))
			return &storage->image[i];
	return NULL;
}

static char *parse_image(const struct xml *xml, const struct xml_node *node,
			 struct bundle_storage *s)
{
	struct bundle_image *image;
	char *type;
	bool known;

	s->image = out_grow(s->image, s->nr + 1, sizeof(*s->image));
	image = &s->image[s->nr++];
	*image = (struct bundle_image){
		.guid = guid_of(xml, node, "GUID"),
		.file = text_of(xml, node, "File"),
	};
	if (!image->guid || !image->file)
		return bad("Image without GUID or File");
	/* Each but itself; it is the last. */
	s->nr--;
	known = bundle_image(s, image->guid);
	s->nr++;
	if (known)
		return bad_text("Two images of one GUID", image->guid);
	type = text_of(xml, node, "Type");
	image->plain = type && !strcmp(type, "Plain");
	known = image->plain || (type && !strcmp(type, "Compressed"));
	free(type);
	return known ? NULL : bad_text("Unknown type of image", image->file);
}

static char *parse_storage(const struct xml *xml, const struct xml_node *node,
			   struct bundle *b)
{
	struct bundle_storage *s;
	const struct xml_node *image;
	char *what = NULL;

	if (b->nr == BUNDLE_MAX_STORAGES)
		return bad("More than 4096 storages");
	b->storage = out_grow(b->storage, b->nr + 1, sizeof(*b->storage));
	s = &b->storage[b->nr++];
	*s = (struct bundle_storage){ .nr = 0 };
	if (number_of(xml, node, "Start", &s->start_sec) <= 0 ||
	    number_of(xml, node, "End", &s->end_sec) <= 0 ||
	    s->start_sec >= s->end_sec)
		return bad("Storage without a start and an end");
	if (number_of(xml, node, "Blocksize", &s->block_sec) < 0)
		return bad("Blocksize is no number");
	for (image = xml_child(node, "Image"); image && !what;
	     image = xml_next(image))
		what = parse_image(xml, image, s);
	return what;
}

static int by_start(const void *a, const void *b)
{
	const struct bundle_storage *p = a, *q = b;

	return p->start_sec < q->start_sec ? -1 : p->start_sec > q->start_sec;
}

static char *parse_storages(const struct xml *xml, struct bundle *b)
{
	const struct xml_node *node =
		xml_child(xml_child(xml->root, "StorageData"), "Storage");
	char *what = NULL;
	unsigned int i;
	u64 at = 0;

	for (; node && !what; node = xml_next(node))
		what = parse_storage(xml, node, b);
	if (what)
		return what;
	qsort(b->storage, b->nr, sizeof(*b->storage), by_start);
	for (i = 0; i < b->nr; i++) {
		if (b->storage[i].start_sec != at)
			return out_text("%s: Storages do not join at sector "
					"%llu", BUNDLE_FILE,
					(unsigned long long)at);
		at = b->storage[i].end_sec;
	}
	if (!at || at != b->size_sec)
		return out_text("%s: Storages end at sector %llu instead of "
				"%llu", BUNDLE_FILE, (unsigned long long)at,
				(unsigned long long)b->size_sec);
	return NULL;
}

/* What a guest's bytes would not be without. */
static char *parse_parameters(const struct xml *xml, struct bundle *b)
{
	const struct xml_node *node = xml_child(xml->root, "Disk_Parameters");
	char *engine, *state, *what = NULL;
	u64 padding;

	if (number_of(xml, node, "Disk_size", &b->size_sec) <= 0)
		return bad("Disk_size is no number");
	if (number_of(xml, node, "Padding", &padding) && padding)
		return bad("Disk with padding");
	engine = guid_of(xml, xml_child(node, "Encryption"), "Engine");
	if (engine && *engine && strcmp(engine, NO_GUID))
		what = bad_text("Disk is encrypted", engine);
	free(engine);
	/* 0 where it is not asleep; what else it says nobody documents. */
	state = text_of(xml, xml_child(node, "Miscellaneous"), "SuspendState");
	b->suspended = state && *state && strcmp(state, "0");
	free(state);
	return what;
}

static const struct xml_node *find_shot(const struct xml *xml,
					const struct xml_node *snapshots,
					const char *guid)
{
	const struct xml_node *node = xml_child(snapshots, "Shot");
	char *is;
	bool same;

	for (; node; node = xml_next(node)) {
		is = guid_of(xml, node, "GUID");
		same = is && !strcmp(is, guid);
		free(is);
		if (same)
			break;
	}
	return node;
}

/* Walk from the top to the root. Takes @guid over. */
static char *parse_layers(const struct xml *xml,
			  const struct xml_node *snapshots, struct bundle *b,
			  char *guid)
{
	const struct xml_node *shot;
	unsigned int i;
	char *what;

	while (guid && strcmp(guid, NO_GUID)) {
		for (i = 0; i < b->nr_layers; i++)
			if (!strcmp(b->layer[i], guid))
				break;
		if (i < b->nr_layers || b->nr_layers == BUNDLE_MAX_SHOTS) {
			what = bad_text(i < b->nr_layers ?
					"Snapshots form a circle" :
					"More than 64 snapshots", guid);
			free(guid);
			return what;
		}
		b->layer[b->nr_layers++] = guid;
		shot = find_shot(xml, snapshots, guid);
		if (!shot && (b->nr_layers > 1 || xml_child(snapshots, "Shot")))
			return bad_text("No such snapshot", guid);
		guid = guid_of(xml, shot, "ParentGUID");
	}
	free(guid);
	return NULL;
}

static char *check_layers(const struct bundle *b)
{
	const struct bundle_image *image;
	unsigned int i, j;

	for (i = 0; i < b->nr_layers; i++) {
		for (j = 0; j < b->nr; j++) {
			image = bundle_image(&b->storage[j], b->layer[i]);
			if (!image)
				return bad_text("No image of the snapshot",
						b->layer[i]);
			/* A raw file has no holes to look through. */
			if (image->plain && i + 1 < b->nr_layers)
				return bad_text("Plain image on top of another",
						image->file);
		}
	}
	return NULL;
}

static char *parse_root(const struct xml *xml, struct bundle *b)
{
	const struct xml_node *snapshots = xml_child(xml->root, "Snapshots");
	char *top, *what;

	if (strcmp(xml->root->name, "Parallels_disk_image"))
		return bad("Not a description of a Parallels disk");
	what = parse_parameters(xml, b);
	if (!what)
		what = parse_storages(xml, b);
	if (what)
		return what;
	top = guid_of(xml, snapshots, "TopGUID");
	/* Old disks without snapshots gave their one image any GUID. */
	if (!top && !xml_child(snapshots, "Shot") && b->storage[0].nr == 1)
		top = out_text("%s", b->storage[0].image[0].guid);
	if (!top)
		top = out_text("%s", TOP_GUID);
	what = parse_layers(xml, snapshots, b, top);
	if (!what && !b->nr_layers)
		what = bad("No snapshot is the top");
	return what ? what : check_layers(b);
}

char *bundle_parse(struct bundle *bundle, const char *text, size_t len)
{
	const char *why;
	struct xml xml;
	char *what;

	*bundle = (struct bundle){ .nr = 0 };
	if (len > BUNDLE_MAX_LEN)
		return out_text("%s is longer than 1 MiB: %zu", BUNDLE_FILE, len);
	why = xml_parse(&xml, text, len);
	what = why ? bad(why) : parse_root(&xml, bundle);
	xml_free(&xml);
	return what;
}

void bundle_free(struct bundle *bundle)
{
	struct bundle_storage *s;

	while (bundle->nr) {
		s = &bundle->storage[--bundle->nr];
		while (s->nr) {
			free(s->image[--s->nr].guid);
			free(s->image[s->nr].file);
		}
		free(s->image);
	}
	free(bundle->storage);
	while (bundle->nr_layers)
		free(bundle->layer[--bundle->nr_layers]);
	*bundle = (struct bundle){ .nr = 0 };
}
