// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The header of a VHD, with what it points to, at a new place.
 *
 * It takes two sectors and one checksum, so it is never changed where it is: the
 * new one and its locators are written where nothing is, durably; then footer
 * and copy point there, one after the other, as in formats/vhd_resize.c.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <uuid.h>

#include "../formats/make.h"
#include "../formats/vhd.h"
#include "out.h"
#include "rechain_in.h"
#include "resize.h"

struct front {
	struct chain *chain;
	struct vdisk_image *image;
	struct vhd_footer_disk footer;
	struct vhd_header_disk header;
	u8 *locator[VHD_LOCATORS];	/* bytes, of those in use */
	struct vdisk_run *taken;	/* and the new ones, as they are placed */
	size_t nr_taken;
	u64 units_off;			/* the lowest unit, or their end */
};

static bool fault(const struct front *f)
{
	out_error(f->chain->image, "%s", f->chain->fault.text);
	return false;
}

static bool read_front(struct front *f)
{
	int r;

	memcpy(&f->footer, f->image->geom.tail, sizeof(f->footer));
	r = vdisk_store_read(f->image->store, be64_of(f->footer.data_offset),
			     &f->header, sizeof(f->header));
	if (r)
		out_error(f->chain->image, "%s", strerror(-r));
	return !r;
}

static void take(struct front *f, u64 off, u64 len)
{
	f->taken = out_grow(f->taken, f->nr_taken + 1, sizeof(*f->taken));
	f->taken[f->nr_taken++] = (struct vdisk_run){ off, len };
}

/* What lies before the blocks. */
static bool look_around(struct front *f)
{
	struct vdisk_range range;
	u64 cursor = 0;

	f->units_off = f->image->data_end;
	do {
		if (vdisk_image_walk(f->image, &cursor, &range))
			return fault(f);
		if (range.len && range.kind == VDISK_RANGE_UNIT)
			f->units_off = vdisk_min(f->units_off, range.off);
		else if (range.len && range.off < f->image->data_end)
			take(f, range.off, range.len);
	} while (range.len);
	return true;
}

/* The first place of @len bytes between what is there. */
static u64 place(struct front *f, u64 len)
{
	u64 off = VHD_FOOTER_LEN;
	size_t i;

	for (i = 0; i < f->nr_taken; i++) {
		const struct vdisk_run *t = &f->taken[i];

		if (off >= t->off + t->len || t->off >= off + len)
			continue;
		off = vdisk_align(t->off + t->len, VDISK_SECTOR, 0);
		i = (size_t)-1;
	}
	take(f, off, len);
	return off;
}

/* What was written must be durable before the next. */
static int put(struct front *f, u64 off, const void *bytes, size_t len)
{
	return vdisk_image_write(f->image, off, bytes, len) ?:
	       vdisk_store_flush(f->image->store);
}

/* Write the footer anew. That of a fixed disk is there once, and one sector. */
static bool switch_footers(struct front *f)
{
	static const u8 none[VHD_FOOTER_LEN];
	bool fixed = be32_of(f->footer.disk_type) == VHD_FIXED;
	u64 end = (f->image->store->length - 1) & ~(u64)(VDISK_SECTOR - 1);
	u8 cookie[8];

	if (vdisk_store_read(f->image->store, end, cookie, sizeof(cookie)) ||
	    memcmp(cookie, "conectix", sizeof(cookie))) {
		out_error(f->chain->image, "File does not end in its footer");
		return false;
	}
	f->footer.checksum = to_be32(vhd_checksum(&f->footer, sizeof(f->footer),
				     offsetof(struct vhd_footer_disk, checksum)));
	if ((fixed || (!put(f, end, none, sizeof(none)) &&
		       !put(f, 0, &f->footer, sizeof(f->footer)))) &&
	    !put(f, end, &f->footer, sizeof(f->footer)))
		return !resize_reopen(f->chain->disk) || fault(f);
	out_error(f->chain->image, "Footer cannot be written");
	return false;
}

static bool write_front(struct front *f)
{
	u64 off, end, header_off = place(f, VHD_HEADER_LEN);
	struct vhd_locator_disk *l = f->header.locator;
	unsigned int i;
	int r = 0;

	/* Its own tables lie behind the BAT, told by nobody. */
	if (be32_of(f->footer.creator_app) == VHD_BY_BLKTAP) {
		out_error(f->chain->image, "Header of blktap stays where it is");
		return false;
	}
	end = header_off + VHD_HEADER_LEN;
	for (i = 0; i < VHD_LOCATORS; i++) {
		if (!f->locator[i])
			continue;
		off = place(f, vdisk_align(be32_of(l[i].data_length),
					   VDISK_SECTOR, 0));
		l[i].data_offset = to_be64(off);
		l[i].data_space = to_be32(vdisk_align(be32_of(l[i].data_length),
						      VDISK_SECTOR, 0));
		end = vdisk_max(end, off + be32_of(l[i].data_space));
	}
	f->header.checksum = to_be32(vhd_checksum(&f->header, sizeof(f->header),
				     offsetof(struct vhd_header_disk, checksum)));
	if (end > f->units_off &&
	    (resize_make_way(f->chain->disk, end) ||
	     vdisk_disk_settle(f->chain->disk)))
		return fault(f);
	for (i = 0; i < VHD_LOCATORS && !r; i++)
		if (f->locator[i])
			r = vdisk_image_write(f->image,
					      be64_of(l[i].data_offset),
					      f->locator[i],
					      be32_of(l[i].data_length));
	if (!r)
		r = put(f, header_off, &f->header, sizeof(f->header));
	f->footer.data_offset = to_be64(header_off);
	return r ? fault(f) : switch_footers(f);
}

static bool open_front(struct front *f, struct chain *chain)
{
	struct vdisk_disk *disk = chain->disk;

	*f = (struct front){
		.chain = chain,
		.image = disk->layer[disk->nr - 1].part[0].image,
	};
	*chain->fault.text = 0;
	return read_front(f) && look_around(f);
}

static void close_front(struct front *f)
{
	unsigned int i;

	for (i = 0; i < VHD_LOCATORS; i++)
		free(f->locator[i]);
	free(f->taken);
}

/* As a new image would have it. */
static bool new_names(struct front *f, const struct rechain_parent *parent)
{
	struct vdisk_recipe recipe = {
		.size_sec = f->image->geom.size_sec,
		.unit_len = be32_of(f->header.block_size),
		.parent = parent->name, .parent_len = (u32)strlen(parent->name),
		.parent_time = parent->time,
	};
	struct vhd_header_disk *h = &f->header, fresh;
	struct vdisk_piece *piece = out_alloc(1, sizeof(*piece));
	struct vdisk_layout layout;
	bool good = true;

	memcpy(recipe.parent_id, parent->id, sizeof(parent->id));
	if (vdisk_vhd_maker.layout(&recipe, &layout)) {
		out_error(f->chain->image, "%s: %llu", layout.why,
			  (unsigned long long)layout.value);
		good = false;
	} else {
		vdisk_vhd_maker.piece(&recipe, &layout, 1, piece);
		memcpy(&fresh, piece->data, sizeof(fresh));
		memcpy(h->parent_unique_id, fresh.parent_unique_id, 16);
		h->parent_timestamp = fresh.parent_timestamp;
		memcpy(h->parent_name, fresh.parent_name,
		       sizeof(h->parent_name));
		memcpy(h->locator, fresh.locator, sizeof(h->locator));
		vdisk_vhd_maker.piece(&recipe, &layout, 4, piece);
		f->locator[0] = out_alloc(1, piece->len);
		memcpy(f->locator[0], piece->data, piece->len);
	}
	free(piece);
	return good;
}

static bool old_names(struct front *f)
{
	const struct vhd_locator_disk *l = f->header.locator;
	unsigned int i;
	u32 len;
	int r = 0;

	for (i = 0; i < VHD_LOCATORS && !r; i++) {
		len = be32_of(l[i].data_length);
		if (!be32_of(l[i].code) || !len)
			continue;
		f->locator[i] = out_alloc(1, len);
		r = vdisk_store_read(f->image->store,
				     be64_of(l[i].data_offset), f->locator[i],
				     len);
	}
	if (r)
		out_error(f->chain->image, "%s", strerror(-r));
	return !r;
}

/* Is one of the header and its locators where a BAT up to @end would be? */
static bool in_way(const struct front *f, u64 end)
{
	const struct vhd_locator_disk *l = f->header.locator;
	u64 bat = be64_of(f->header.table_offset), off;
	unsigned int i;

	off = be64_of(f->footer.data_offset);
	if (off < end && off >= bat)
		return true;
	for (i = 0; i < VHD_LOCATORS; i++) {
		off = be64_of(l[i].data_offset);
		if (be32_of(l[i].code) && be32_of(l[i].data_length) &&
		    off < end && off >= bat)
			return true;
	}
	return false;
}

bool rechain_vhd_room(struct chain *chain, u64 size_sec)
{
	const struct vdisk_geom *geom = &chain->layer[0].part[0].image->geom;
	struct front f;
	bool good;
	u64 len;

	if (geom->flags & VDISK_GEOM_NO_ALLOC || size_sec > VHD_MAX_SECTORS)
		return true;
	good = open_front(&f, chain);
	len = vdisk_align(4 * vdisk_div_up(size_sec, geom->unit_sec),
			  VDISK_SECTOR, 0);
	if (good && vdisk_div_up(size_sec, geom->unit_sec) >
		    be32_of(f.header.max_table_entries) &&
	    in_way(&f, be64_of(f.header.table_offset) + len)) {
		take(&f, be64_of(f.header.table_offset), len);
		good = old_names(&f) && write_front(&f);
	}
	close_front(&f);
	return good;
}

bool rechain_vhd_identify(struct chain *chain)
{
	struct front f = {
		.chain = chain, .image = chain->layer[0].part[0].image,
	};

	*chain->fault.text = 0;
	memcpy(&f.footer, f.image->geom.tail, sizeof(f.footer));
	uuid_generate(f.footer.unique_id);
	return switch_footers(&f);
}

bool rechain_vhd_parent(struct chain *chain,
			const struct rechain_parent *parent)
{
	struct front f;
	bool good;

	if (!(chain->layer[0].part[0].image->geom.flags & VDISK_GEOM_PARENT) ||
	    !*parent->name) {
		out_error(chain->image, "A VHD is differencing for good, or "
			  "never");
		return false;
	}
	good = open_front(&f, chain) && new_names(&f, parent) &&
	       write_front(&f);
	close_front(&f);
	return good;
}
