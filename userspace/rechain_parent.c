// SPDX-License-Identifier: GPL-2.0-or-later
/* The parent a layer names, and the content id that it knows it by. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "../formats/make.h"
#include "../formats/qed.h"
#include "desc_text.h"
#include "out.h"
#include "rechain_in.h"

static bool failed(const struct chain_layer *layer, int r)
{
	out_error(layer->path, "%s", strerror(-r));
	return false;
}

/*-----------------------------------------------------------------
 * QED
 */

/*
 * A place for the name in the header's room: its first sector, where it changes
 * with the rest, or one that the name so far does not touch.
 */
static u32 qed_place(const struct qed_header_disk *h, u32 len)
{
	u32 off = le32_of(h->backing_filename_offset);
	u32 end = off + le32_of(h->backing_filename_size);

	if (len <= VDISK_SECTOR - QED_HEADER_LEN)
		return QED_HEADER_LEN;
	if (!(le64_of(h->features) & QED_BACKING_FILE) ||
	    off >= VDISK_SECTOR + QED_MAX_NAME || end <= VDISK_SECTOR)
		return VDISK_SECTOR;
	return QED_MIN_CLUSTER - QED_MAX_NAME - 1;
}

static bool qed_set(struct chain *chain, const struct rechain_parent *parent)
{
	const struct chain_layer *top = &chain->layer[0];
	struct vdisk_store *store = top->part[0].store;
	u8 sector[VDISK_SECTOR];
	struct qed_header_disk h;
	u64 features;
	u32 off, len = (u32)strlen(parent->name);
	int r;

	r = vdisk_store_read(store, 0, sector, sizeof(sector));
	if (r)
		return failed(top, r);
	memcpy(&h, sector, sizeof(h));
	if (len > QED_MAX_NAME || le64_of(h.compat_features)) {
		out_error(top->path, len > QED_MAX_NAME ?
			  "Parent's name is too long" :
			  "Header has unknown features, its parent stays");
		return false;
	}
	features = le64_of(h.features) & ~(u64)(QED_BACKING_FILE | QED_NO_PROBE);
	if (len)
		features |= QED_BACKING_FILE | (parent->raw ? QED_NO_PROBE : 0);
	off = qed_place(&h, len);
	h.features = to_le64(features);
	h.backing_filename_offset = to_le32(len ? off : 0);
	h.backing_filename_size = to_le32(len);
	memcpy(sector, &h, sizeof(h));
	if (off == QED_HEADER_LEN) {
		memset(sector + off, 0, sizeof(sector) - off);
		memcpy(sector + off, parent->name, len);
	} else {
		r = vdisk_store_write(store, off, parent->name, len);
		if (!r)
			r = vdisk_store_flush(store);
	}
	if (!r)
		r = vdisk_store_write(store, 0, sector, sizeof(sector));
	if (!r)
		r = vdisk_store_flush(store);
	return r ? failed(top, r) : true;
}

/*-----------------------------------------------------------------
 * VMDK
 */

/* Takes @text over, which may be NULL. */
static char *set_cid(const struct chain_layer *layer, char *text,
		     enum descriptor_key key, u32 cid)
{
	char *next = text ? desc_text_cid(layer, text, key, cid) : NULL;

	free(text);
	return next;
}

static char *set_parent(const struct chain_layer *layer, char *text,
			const char *name)
{
	char *next = text ? desc_text_parent(layer, text, name) : NULL;

	free(text);
	return next;
}

static bool put_text(const struct chain_layer *layer, char *text)
{
	bool good = text && desc_text_write(layer, text);

	free(text);
	return good;
}

static bool vmdk_set(struct chain *chain, const struct rechain_parent *parent)
{
	const struct chain_layer *top = &chain->layer[0];
	char *text;

	if (!top->desc) {
		out_error(top->path, "Image has no descriptor");
		return false;
	}
	if (strpbrk(parent->name, "\"\r\n")) {
		out_error(top->path, "Name cannot stand in a descriptor: %s",
			  out_name(parent->name));
		return false;
	}
	text = set_cid(top, desc_text_read(top), DESCRIPTOR_PARENT_CID,
		       *parent->name ? parent->cid : DESCRIPTOR_NO_CID);
	return put_text(top, set_parent(top, text, parent->name));
}

static u32 new_cid(u32 old)
{
	u32 cid = old;

	while (cid == old || cid >= DESCRIPTOR_LONG_CID || !cid)
		if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
			cid = (cid + 1) % DESCRIPTOR_LONG_CID;
	return cid;
}

bool rechain_identify(struct chain *chain)
{
	struct chain_layer *top = &chain->layer[0];

	if (!top->desc)
		return rechain_vhd_identify(chain);
	top->desc->cid = new_cid(top->desc->cid);
	return put_text(top, set_cid(top, desc_text_read(top), DESCRIPTOR_CID,
				     top->desc->cid));
}

bool rechain_stamp(struct chain *parent, struct chain *child)
{
	struct chain_layer *below = &parent->layer[0];

	if (!below->desc)
		return true;
	if (child && child->layer[0].desc &&
	    !put_text(child->layer,
		      set_cid(child->layer, desc_text_read(child->layer),
			      DESCRIPTOR_PARENT_CID, DESCRIPTOR_LONG_CID)))
		return false;
	below->desc->cid = new_cid(below->desc->cid);
	return put_text(below, set_cid(below, desc_text_read(below),
				       DESCRIPTOR_CID, below->desc->cid));
}

bool rechain_stamped(struct chain *parent, struct chain *child)
{
	if (!parent->layer[0].desc || !child->layer[0].desc)
		return true;
	return put_text(child->layer,
			set_cid(child->layer, desc_text_read(child->layer),
				DESCRIPTOR_PARENT_CID,
				parent->layer[0].desc->cid));
}

/*-----------------------------------------------------------------*/

static const struct {
	const char *format;
	bool (*set)(struct chain *chain, const struct rechain_parent *parent);
	bool (*room)(struct chain *chain, u64 size_sec);	/* optional */
} kinds[] = {
	{ "qed", qed_set, NULL },
	{ "vmdk", vmdk_set, NULL },
	{ "vhd", rechain_vhd_parent, rechain_vhd_room },
};

bool rechain_room(struct chain *chain, u64 size_sec)
{
	unsigned int i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].room &&
		    !strcmp(kinds[i].format, chain->layer[0].format))
			return kinds[i].room(chain, size_sec);
	return true;
}

bool rechain_parent(struct chain *chain, const struct rechain_parent *parent)
{
	const struct chain_layer *top = &chain->layer[0];
	unsigned int i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].format, top->format))
			return kinds[i].set(chain, parent);
	out_error(top->path, "Images of the format %s name no parent",
		  top->format);
	return false;
}
