// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk info: what the headers say, in the words of qemu-img info. */
#include <stdio.h>
#include <sys/stat.h>

#include "chain.h"
#include "out.h"

/* Bytes on the medium, of all files of the layer. */
static u64 actual_size(const struct chain_layer *layer)
{
	struct stat st;
	unsigned int i;
	u64 sum = 0;

	for (i = 0; i < layer->nr; i++)
		if (layer->part[i].path && !fstat(layer->part[i].fd, &st))
			sum += (u64)st.st_blocks * 512;
	return sum;
}

static bool next_fact(const struct chain_layer *layer, u32 i,
		      struct vdisk_fact *fact)
{
	const struct chain_part *part = &layer->part[0];

	return part->format->fact &&
	       part->format->fact(&part->image->geom, i, fact);
}

static void fact_json(struct json_object *obj, const struct vdisk_fact *fact)
{
	char id[33];

	switch (fact->kind) {
	case VDISK_FACT_NUM:
		out_json_num(obj, fact->name, fact->num);
		break;
	case VDISK_FACT_BOOL:
		out_json_bool(obj, fact->name, fact->num);
		break;
	case VDISK_FACT_TEXT:
		out_json_text(obj, fact->name, fact->text);
		break;
	case VDISK_FACT_ID:
		out_id((const u8 *)fact->text, id);
		out_json_text(obj, fact->name, id);
		break;
	}
}

static void fact_text(const struct vdisk_fact *fact)
{
	char id[33];

	printf("    %s: ", fact->name);
	switch (fact->kind) {
	case VDISK_FACT_NUM:
		printf("%llu\n", (unsigned long long)fact->num);
		break;
	case VDISK_FACT_BOOL:
		printf("%s\n", fact->num ? "true" : "false");
		break;
	case VDISK_FACT_TEXT:
		printf("%s\n", out_name(fact->text));
		break;
	case VDISK_FACT_ID:
		out_id((const u8 *)fact->text, id);
		printf("%s\n", id);
		break;
	}
}

/* What a VMDK's text says. */
static void desc_json(const struct chain_layer *layer, struct json_object *data)
{
	const struct descriptor *desc = layer->desc;
	struct json_object *list, *part;
	unsigned int i;

	if (desc->create_type)
		out_json_text(data, "create-type", desc->create_type);
	out_json_num(data, "cid", desc->cid);
	out_json_num(data, "parent-cid", desc->parent_cid);
	list = json_object_new_array();
	for (i = 0; i < layer->nr; i++) {
		part = json_object_new_object();
		if (layer->part[i].path)
			out_json_text(part, "filename", layer->part[i].path);
		out_json_text(part, "format", layer->part[i].format->name);
		out_json_num(part, "virtual-size",
			     layer->part[i].sectors * VDISK_SECTOR);
		json_object_array_add(list, part);
	}
	json_object_object_add(data, "extents", list);
}

static void desc_text(const struct chain_layer *layer)
{
	const struct descriptor *desc = layer->desc;
	unsigned int i;

	if (desc->create_type)
		printf("    create-type: %s\n", out_name(desc->create_type));
	printf("    cid: %08x\n", desc->cid);
	printf("    parent-cid: %08x\n", desc->parent_cid);
	for (i = 0; i < layer->nr; i++)
		printf("    extent: %s %s %s\n",
		       out_size(layer->part[i].sectors * VDISK_SECTOR),
		       layer->part[i].format->name, layer->part[i].path ?
		       out_name(layer->part[i].path) : "");
}

/* What a user calls the layer: the top one is what he said himself. */
static const char *layer_name(const struct chain *chain,
			      const struct chain_layer *layer)
{
	return layer == &chain->layer[0] ? chain->image : layer->path;
}

static const char *why_ro(const struct chain_layer *layer)
{
	const struct vdisk_geom *geom = &layer->part[0].image->geom;

	if (layer->why_ro)
		return layer->why_ro;
	return geom->flags & VDISK_GEOM_RDONLY ? geom->why_ro : NULL;
}

static struct json_object *info_json(const struct chain *chain,
				     const struct chain_layer *layer)
{
	const struct vdisk_geom *geom = &layer->part[0].image->geom;
	struct json_object *obj = json_object_new_object();
	struct json_object *specific, *data;
	struct vdisk_fact fact;
	u32 i;

	out_json_text(obj, "filename", layer_name(chain, layer));
	out_json_text(obj, "format", layer->format);
	out_json_num(obj, "virtual-size", layer->size_sec * VDISK_SECTOR);
	out_json_num(obj, "actual-size", actual_size(layer));
	if (!(geom->flags & VDISK_GEOM_NO_ALLOC))
		out_json_num(obj, "cluster-size",
			     geom->unit_sec * VDISK_SECTOR);
	out_json_bool(obj, "dirty-flag", geom->flags & VDISK_GEOM_DIRTY);
	if (why_ro(layer))
		out_json_text(obj, "read-only-reason", why_ro(layer));
	if (layer->parent)
		out_json_text(obj, "backing-filename", layer->parent);
	if (layer + 1 < chain->layer + chain->nr)
		out_json_text(obj, "full-backing-filename", layer[1].path);
	if (layer->desc || next_fact(layer, 0, &fact)) {
		data = json_object_new_object();
		if (layer->desc)
			desc_json(layer, data);
		for (i = 0; next_fact(layer, i, &fact); i++)
			fact_json(data, &fact);
		specific = json_object_new_object();
		out_json_text(specific, "type", layer->format);
		json_object_object_add(specific, "data", data);
		json_object_object_add(obj, "format-specific", specific);
	}
	return obj;
}

static void info_text(const struct chain *chain,
		      const struct chain_layer *layer)
{
	const struct vdisk_geom *geom = &layer->part[0].image->geom;
	u64 bytes = layer->size_sec * VDISK_SECTOR;
	struct vdisk_fact fact;
	u32 i;

	printf("image: %s\n", out_name(layer_name(chain, layer)));
	printf("file format: %s\n", layer->format);
	printf("virtual size: %s (%llu bytes)\n", out_size(bytes),
	       (unsigned long long)bytes);
	printf("disk size: %s\n", out_size(actual_size(layer)));
	if (!(geom->flags & VDISK_GEOM_NO_ALLOC))
		printf("cluster_size: %llu\n",
		       (unsigned long long)(geom->unit_sec * VDISK_SECTOR));
	if (geom->flags & VDISK_GEOM_DIRTY)
		printf("not closed: the image is marked as in use\n");
	if (why_ro(layer))
		printf("read-only: %s\n", why_ro(layer));
	if (layer->parent)
		printf("backing file: %s\n", out_name(layer->parent));
	if (!layer->desc && !next_fact(layer, 0, &fact))
		return;
	printf("Format specific information:\n");
	if (layer->desc)
		desc_text(layer);
	for (i = 0; next_fact(layer, i, &fact); i++)
		fact_text(&fact);
}

static void chain_json(const struct chain *chain)
{
	struct json_object *list = json_object_new_array();
	unsigned int i;

	for (i = 0; i < chain->nr; i++)
		json_object_array_add(list, info_json(chain, &chain->layer[i]));
	out_json(list);
}

int cmd_info(const struct verb_options *opt)
{
	/* An image whose parent is lost can still be asked. */
	unsigned int flags = opt->backing_chain ? 0 : CHAIN_ALONE | CHAIN_LOOK;
	unsigned int i;
	struct chain chain;

	if (!chain_open(&chain, opt->args[0], opt, flags))
		return VERB_FAILED;
	if (opt->json && opt->backing_chain)
		chain_json(&chain);
	else if (opt->json)
		out_json(info_json(&chain, &chain.layer[0]));
	for (i = 0; !opt->json && i < chain.nr; i++) {
		if (i)
			printf("\n");
		info_text(&chain, &chain.layer[i]);
	}
	chain_close(&chain);
	return VERB_OK;
}
