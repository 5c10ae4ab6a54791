// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk why: what a sector of the disk is, and which table entries say so.
 *
 * A format tells nobody what it looks at, but it has to ask for it: each layer's
 * map() is called with no bytes at hand, and what it needs is what there is to
 * show.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "attached.h"
#include "chain.h"
#include "out.h"

struct source {
	const char *name;	/* as the user said it */
	struct vdisk_disk *disk;
	const struct vdisk_fault *fault;
	const struct chain *chain;	/* of an image */
	const struct attached *attached;	/* of a device */
};

/* Bytes of a table that a format asked for. */
struct entry {
	u64 off;
	u32 len;
	u8 byte[VDISK_BLOCK];
};

/* What one layer answers. */
struct answer {
	size_t layer;		/* base first */
	const struct vdisk_image *image;	/* NULL: past the layer's end */
	const char *path;
	u64 image_sec;
	struct entry entry[VDISK_MAX_VIEWS];
	u32 nr;
	struct vdisk_extent extent;
	char *why;		/* an entry is wrong */
};

/* How a format's map() finds its way: what it asks for first, second, ... */
static const struct {
	const char *format;
	bool big;		/* the byte order of its entries */
	const char *entry[2];
} words[] = {
	{ "vhd", true, { "BAT entry", "bitmap" } },
	{ "vmdk", false, { "grain directory entry", "grain table entry" } },
	{ "cowd", false, { "grain directory entry", "grain table entry" } },
	{ "sesparse", false, { "grain directory entry", "grain table entry" } },
	{ "parallels", false, { "BAT entry" } },
	{ "qed", false, { "L1 entry", "L2 entry" } },
};

#define NR_WORDS (sizeof(words) / sizeof(words[0]))

static unsigned int words_of(const struct answer *a)
{
	unsigned int i;

	for (i = 0; i < NR_WORDS; i++)
		if (!strcmp(words[i].format, a->image->format->name))
			break;
	return i;
}

static const char *entry_name(const struct answer *a, u32 i)
{
	unsigned int w = words_of(a);

	return w < NR_WORDS && i < 2 && words[w].entry[i] ?
		words[w].entry[i] : "table bytes";
}

static u64 entry_value(const struct answer *a, const struct entry *e)
{
	unsigned int w = words_of(a), i;
	bool big = w < NR_WORDS && words[w].big;
	u64 value = 0;

	for (i = 0; i < e->len && i < 8; i++)
		value |= (u64)e->byte[i] << 8 * (big ? e->len - 1 - i : i);
	return value;
}

static const char *kind_name(const struct answer *a)
{
	static const char *const names[] = {
		[VDISK_DATA] = "data", [VDISK_ZERO] = "zero",
		[VDISK_PARENT] = "parent", [VDISK_DEFLATE] = "compressed",
		[VDISK_ERROR] = "error",
	};

	return a->why ? "corrupt" : names[a->extent.kind];
}

/*-----------------------------------------------------------------
 * Asking
 */

static const char *path_of(const struct source *src,
			   const struct vdisk_image *image)
{
	unsigned int i;

	if (src->chain)
		return chain_path(src->chain, image);
	for (i = 0; i < src->attached->nr; i++)
		if (src->attached->file[i].image == image)
			return src->attached->file[i].path;
	return NULL;
}

/* -EAGAIN: the format may be asked again, it has one view more. */
static int lend(struct vdisk_step *step, struct vdisk_image *image,
		struct answer *a)
{
	const struct vdisk_need *need = &step->need;
	struct entry *e = &a->entry[a->nr];
	int r;

	if (need->kind != VDISK_NEED_BYTES || a->nr == VDISK_MAX_VIEWS ||
	    need->len > sizeof(e->byte))
		return vdisk_fault_set(image->fault, -EPROTO,
				       "Step asks for bytes it must not",
				       need->off);
	e->off = need->off;
	e->len = need->len;
	r = vdisk_store_read(image->store, e->off, e->byte, e->len);
	if (r)
		return vdisk_fault_set(image->fault, r, "Read failed at byte",
				       e->off);
	step->view[step->nr_views++] = (struct vdisk_view){
		.off = e->off, .len = e->len, .data = e->byte,
	};
	a->nr++;
	return -EAGAIN;
}

static int ask_image(struct vdisk_image *image, u64 most, struct answer *a)
{
	struct vdisk_step step = {
		.file_len = image->store ? image->store->length : 0,
		.data_end = image->data_end,
	};
	int r;

	do {
		r = image->format->map(&image->geom, &step, a->image_sec, 1,
				       &a->extent);
		if (r == -EAGAIN)
			r = lend(&step, image, a);
	} while (r == -EAGAIN);
	if (r == -EUCLEAN) {
		a->why = out_text("%s: %llu", step.why,
				  (unsigned long long)step.value);
		return 0;
	}
	/* The same once more, for how far it goes. */
	return r ? r : vdisk_image_map(image, a->image_sec, most, &a->extent);
}

/* One answer for each layer from the top down to the one that knows. */
static int ask(const struct source *src, u64 sector, struct answer *answers,
	       size_t *nr)
{
	struct vdisk_disk *disk = src->disk;
	struct vdisk_layer *layer;
	struct vdisk_part *part;
	struct answer *a;
	size_t i = disk->nr;
	u64 most = disk->size_sec - sector;
	int r;

	do {
		layer = &disk->layer[--i];
		a = &answers[(*nr)++];
		a->layer = i;
		if (sector >= layer->size_sec) {
			a->extent.kind = VDISK_ZERO;
			a->extent.sectors = most;
			return 0;
		}
		part = vdisk_layer_part(layer, sector);
		a->image = part->image;
		a->path = path_of(src, part->image);
		a->image_sec = sector - part->first_sec;
		most = vdisk_min(most, part->sectors - a->image_sec);
		r = ask_image(part->image, most, a);
		if (r)
			return r;
		/* Below, no further than what is missing here. */
		most = a->extent.sectors;
	} while (i && !a->why && a->extent.kind == VDISK_PARENT);
	return 0;
}

/*-----------------------------------------------------------------
 * Telling
 */

static void entry_json(const struct answer *a, u32 i, struct json_object *to)
{
	struct json_object *obj = json_object_new_object();
	const struct entry *e = &a->entry[i];

	out_json_text(obj, "what", entry_name(a, i));
	out_json_num(obj, "offset", e->off);
	out_json_num(obj, "length", e->len);
	if (e->len <= 8)
		out_json_num(obj, "value", entry_value(a, e));
	json_object_array_add(to, obj);
}

static void place_json(const struct answer *a, struct json_object *obj)
{
	out_json_text(obj, "kind", kind_name(a));
	if (a->why) {
		out_json_text(obj, "reason", a->why);
		return;
	}
	if (a->extent.kind == VDISK_DATA || a->extent.kind == VDISK_DEFLATE)
		out_json_num(obj, "offset", a->extent.off);
	if (a->extent.kind == VDISK_DEFLATE)
		out_json_num(obj, "skip", a->extent.skip_sec);
	out_json_num(obj, "sectors", a->extent.sectors);
}

static struct json_object *layer_json(const struct source *src,
				      const struct answer *a)
{
	struct json_object *obj = json_object_new_object(), *list;
	u32 i;

	out_json_num(obj, "depth", src->disk->nr - 1 - a->layer);
	if (a->path)
		out_json_text(obj, "filename", a->path);
	if (a->image) {
		out_json_text(obj, "format", a->image->format->name);
		out_json_num(obj, "image-sector", a->image_sec);
		out_json_num(obj, "unit", a->image_sec /
			     a->image->geom.unit_sec);
		list = json_object_new_array();
		for (i = 0; i < a->nr; i++)
			entry_json(a, i, list);
		json_object_object_add(obj, "entries", list);
	}
	place_json(a, obj);
	return obj;
}

static void tell_json(const struct source *src, u64 sector,
		      const struct answer *answers, size_t nr)
{
	struct json_object *obj = json_object_new_object();
	struct json_object *list = json_object_new_array();
	size_t i;

	out_json_text(obj, "image", src->name);
	out_json_num(obj, "sector", sector);
	for (i = 0; i < nr; i++)
		json_object_array_add(list, layer_json(src, &answers[i]));
	json_object_object_add(obj, "layers", list);
	out_json(obj);
}

static void place_text(const struct answer *a, bool last)
{
	const struct vdisk_extent *e = &a->extent;

	if (a->why) {
		printf("  corrupt: %s\n", a->why);
		return;
	}
	switch (e->kind) {
	case VDISK_DATA:
		printf("  data at byte %llu", (unsigned long long)e->off);
		break;
	case VDISK_DEFLATE:
		printf("  sector %llu of the compressed unit at byte %llu",
		       (unsigned long long)e->skip_sec,
		       (unsigned long long)e->off);
		break;
	case VDISK_ZERO:
		printf("  reads zero");
		break;
	case VDISK_PARENT:
		printf(last ? "  not here, and no layer is below: reads zero" :
		       "  not here: see below");
		break;
	case VDISK_ERROR:
		printf("  reads as an error");
		break;
	}
	printf(", for %llu sectors\n", (unsigned long long)e->sectors);
}

static void layer_text(const struct source *src, const struct answer *a,
		       bool last)
{
	const struct entry *e;
	u32 i;

	printf("layer %zu: ", src->disk->nr - 1 - a->layer);
	if (!a->image) {
		printf("ends before\n");
		place_text(a, last);
		return;
	}
	printf("%s %s\n", a->image->format->name,
	       a->path ? out_name(a->path) : "");
	printf("  sector %llu, in unit %llu\n",
	       (unsigned long long)a->image_sec,
	       (unsigned long long)(a->image_sec / a->image->geom.unit_sec));
	for (i = 0; i < a->nr; i++) {
		e = &a->entry[i];
		printf("  %s at byte %llu", entry_name(a, i),
		       (unsigned long long)e->off);
		if (e->len <= 8)
			printf(": 0x%0*llx", 2 * (int)e->len,
			       (unsigned long long)entry_value(a, e));
		printf("\n");
	}
	place_text(a, last);
}

static bool why(const struct source *src, const char *text, bool json)
{
	struct answer *answers;
	unsigned long long sector;
	size_t nr = 0, i;
	bool good;
	char *end;

	errno = 0;
	sector = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno ||
	    sector >= src->disk->size_sec) {
		out_error(src->name, "Sector is not a number below %llu: %s",
			  (unsigned long long)src->disk->size_sec,
			  out_name(text));
		return false;
	}
	answers = out_alloc(src->disk->nr, sizeof(*answers));
	good = !ask(src, sector, answers, &nr);
	if (!good)
		out_error(src->name, "%s", src->fault->text);
	else if (json)
		tell_json(src, sector, answers, nr);
	for (i = 0; good && !json && i < nr; i++)
		layer_text(src, &answers[i], i + 1 == nr);
	/* Only the last one can be wrong: nothing is asked behind it. */
	if (good && answers[nr - 1].why) {
		out_error(answers[nr - 1].path, "%s", answers[nr - 1].why);
		good = false;
	}
	for (i = 0; i < nr; i++)
		free(answers[i].why);
	free(answers);
	return good;
}

static bool why_attached(const struct verb_options *opt,
			 const struct dmctl_device *dev)
{
	struct source src = { .name = dev->name };
	struct attached at;
	bool good;

	if (!attached_open(&at, dev))
		return false;
	src.disk = at.disk;
	src.fault = &at.fault;
	src.attached = &at;
	good = why(&src, opt->args[1], opt->json);
	attached_close(&at);
	return good;
}

static bool why_image(const struct verb_options *opt)
{
	struct source src = { .name = opt->args[0] };
	struct chain chain;
	bool good;

	if (!chain_open(&chain, opt->args[0], opt, 0))
		return false;
	src.disk = chain.disk;
	src.fault = &chain.fault;
	src.chain = &chain;
	good = why(&src, opt->args[1], opt->json);
	chain_close(&chain);
	return good;
}

int cmd_why(const struct verb_options *opt)
{
	const char *name = opt->args[0];
	struct dmctl_device dev;
	bool good;

	if (!opt->format && attached_find(name, &dev)) {
		good = why_attached(opt, &dev);
		free(dev.params);
	} else {
		good = why_image(opt);
	}
	return good ? VERB_OK : VERB_FAILED;
}
