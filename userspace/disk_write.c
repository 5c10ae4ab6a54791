// SPDX-License-Identifier: GPL-2.0-or-later
/* What a guest writes: in place, or at a new place with its fill. */
#include <stdlib.h>
#include <zlib.h>

#include "disk.h"

#define CHUNK (128u * 1024)

/* A place of the top layer: so many sectors of one image. */
struct spot {
	struct vdisk_disk *disk;
	struct vdisk_part *part;
	struct vdisk_image *image;
	u64 sector;		/* of the image */
	u64 sectors;
};

static struct spot spot_at(struct vdisk_disk *disk, u64 sector, u64 sectors)
{
	struct vdisk_part *part;
	u64 at;

	part = vdisk_layer_part(&disk->layer[disk->nr - 1], sector);
	at = sector - part->first_sec;
	return (struct spot){
		.disk = disk, .part = part, .image = part->image, .sector = at,
		.sectors = vdisk_min(sectors, part->sectors - at),
	};
}

static int no_access(const struct spot *spot)
{
	return vdisk_fault_set(spot->image->fault, -EIO,
			       "Extent gives no access at sector",
			       spot->sector);
}

/* A buffer of NULL is zeroes. */
static int write_guest(struct vdisk_image *image, u64 off, const u8 *buf,
		       u64 sectors)
{
	if (!buf)
		return vdisk_image_zero(image, off, sectors * VDISK_SECTOR);
	return vdisk_image_write(image, off, buf, sectors * VDISK_SECTOR);
}

/* Sectors [sec, end) of the image get what the layers below hold. */
static int fill_below(const struct spot *spot, u64 sec, u64 end, u64 off)
{
	u64 n, size = spot->part->sectors;
	u8 *buf;
	int r = 0;

	buf = malloc(CHUNK);
	if (!buf)
		return vdisk_fault_set(spot->image->fault, -ENOMEM,
				       "Out of memory for bytes", CHUNK);
	for (; sec < end && !r; sec += n, off += n * VDISK_SECTOR) {
		n = vdisk_min(end - sec, CHUNK / VDISK_SECTOR);
		if (sec < size)
			n = vdisk_min(n, size - sec);
		memset(buf, 0, n * VDISK_SECTOR);
		if (sec < size)
			r = vdisk_disk_read_below(spot->disk, spot->disk->nr - 1,
						  spot->part->first_sec + sec,
						  buf, n);
		if (!r)
			r = vdisk_image_write(spot->image, off, buf, n * VDISK_SECTOR);
	}
	free(buf);
	return r;
}

static int fill_range(const struct spot *spot, const struct vdisk_drive *d,
		      const struct vdisk_plan *plan, u64 sec, u64 end)
{
	u64 off = plan->first_off + (sec - plan->first_sec) * VDISK_SECTOR;

	if (sec >= end || plan->fill == VDISK_FILL_NONE)
		return 0;
	if (plan->fill == VDISK_FILL_PARENT && spot->disk->nr > 1)
		return fill_below(spot, sec, end, off);
	if (vdisk_drive_fresh(d, off, (end - sec) * VDISK_SECTOR))
		return 0;
	return vdisk_image_zero(spot->image, off, (end - sec) * VDISK_SECTOR);
}

/*
 * What is to be written. A compressed unit stands for all of its sectors,
 * @packed_len bytes long; else a @buf of NULL is zeroes.
 */
struct payload {
	const u8 *buf;
	u32 packed_len;
};

/* What nothing points to yet: new tables, the guest's bytes, the fill. */
static int run_data(const struct spot *spot, const struct vdisk_drive *d,
		    const struct vdisk_plan *plan, const struct payload *load)
{
	const struct vdisk_op *op = plan->op;
	u64 sec = spot->sector;
	u32 i;
	int r = 0;

	for (i = 0; i < plan->nr && !r; i++) {
		if (op[i].phase != VDISK_IN_DATA)
			continue;
		if (op[i].kind == VDISK_OP_ZERO &&
		    vdisk_drive_fresh(d, op[i].off, op[i].value))
			continue;
		r = vdisk_plan_now(spot->image, &op[i], 1);
	}
	if (r)
		return r;
	if (load->packed_len)
		return vdisk_image_write(spot->image, plan->data_off, load->buf,
					 load->packed_len);
	r = fill_range(spot, d, plan, plan->first_sec, sec);
	if (!r)
		r = fill_range(spot, d, plan, sec + plan->sectors,
			       plan->first_sec + plan->made_sec);
	if (!r)
		r = write_guest(spot->image, plan->data_off, load->buf,
				plan->sectors);
	return r;
}

/* Give the spot's sectors, or the first of them, a place. */
static int write_alloc(const struct spot *spot, const struct payload *load,
		       u64 *done)
{
	struct vdisk_ask ask = {
		.sector = spot->sector, .sectors = spot->sectors,
		.packed_len = load->packed_len,
	};
	struct vdisk_image *image = spot->image;
	struct vdisk_plan plan = { 0 };
	struct vdisk_drive d;
	int r;

	if (!image->format->alloc)
		return vdisk_fault_set(image->fault, -EOPNOTSUPP,
				       "No way to write at sector",
				       spot->sector);
	vdisk_drive_start(&d, image);
	do {
		r = image->format->alloc(&image->geom, &d.step, &ask, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	if (!r)
		r = vdisk_plan_before(image, &plan, VDISK_FLUSH_BEFORE);
	if (!r)
		r = run_data(spot, &d, &plan, load);
	if (!r)
		r = vdisk_plan_publish(image, &plan);
	if (r) {
		vdisk_space_give(image, &d.unit);
		vdisk_space_give(image, &d.table);
	}
	*done = plan.sectors;
	return r;
}

/* The unit of @first as it will be: what the disk holds, and the change. */
static int change_unit(const struct spot *spot, u64 first, const u8 *buf,
		       u8 *plain)
{
	u64 unit = spot->image->geom.unit_sec;
	u64 n = vdisk_min(unit, spot->part->sectors - first);
	int r;

	r = vdisk_disk_read(spot->disk, spot->part->first_sec + first, plain, n);
	if (r)
		return r;
	memset(plain + n * VDISK_SECTOR, 0, (unit - n) * VDISK_SECTOR);
	plain += (spot->sector - first) * VDISK_SECTOR;
	if (buf)
		memcpy(plain, buf, spot->sectors * VDISK_SECTOR);
	else
		memset(plain, 0, spot->sectors * VDISK_SECTOR);
	return 0;
}

/* A compressed unit cannot be changed in place: it is written anew. */
static int write_packed(struct spot spot, const u8 *buf, u64 *done)
{
	u64 unit = spot.image->geom.unit_sec, in = spot.sector % unit;
	uLong len = unit * VDISK_SECTOR;
	uLongf packed_len = compressBound(len);
	u8 *plain = malloc(len), *packed = malloc(packed_len);
	struct payload load;
	int r = -ENOMEM;

	spot.sectors = vdisk_min(spot.sectors, unit - in);
	if (!plain || !packed)
		vdisk_fault_set(spot.image->fault, r, "Out of memory for bytes",
				len);
	else
		r = change_unit(&spot, spot.sector - in, buf, plain);
	if (!r && compress(packed, &packed_len, plain, len) != Z_OK)
		r = vdisk_fault_set(spot.image->fault, -EIO,
				    "Cannot compress the unit of sector",
				    spot.sector);
	load = (struct payload){ packed, (u32)packed_len };
	if (!r)
		r = write_alloc(&spot, &load, done);
	free(plain);
	free(packed);
	return r;
}

static int write_some(struct spot spot, const u8 *buf, u64 *done)
{
	struct payload load = { .buf = buf };
	struct vdisk_extent e;
	int r;

	r = vdisk_image_change(spot.image);
	if (!r)
		r = vdisk_image_map(spot.image, spot.sector, spot.sectors, &e);
	if (r)
		return r;
	spot.sectors = *done = e.sectors;
	if (e.kind == VDISK_ERROR)
		return no_access(&spot);
	if (e.kind == VDISK_DATA)
		return write_guest(spot.image, e.off, buf, e.sectors);
	if (spot.image->geom.flags & VDISK_GEOM_PACKED)
		return write_packed(spot, buf, done);
	return write_alloc(&spot, &load, done);
}

int vdisk_disk_write(struct vdisk_disk *disk, u64 sector, const void *buf,
		     u64 sectors)
{
	const u8 *from = buf;
	u64 done;
	int r;

	for (; sectors; sector += done, sectors -= done) {
		r = write_some(spot_at(disk, sector, sectors), from, &done);
		if (r)
			return r;
		from += done * VDISK_SECTOR;
	}
	return 0;
}

/* Where the format has no way of its own. */
static int clear_by_hand(struct spot spot, bool unmap, u64 *done)
{
	struct vdisk_extent e;
	int r;

	if (unmap)
		return 0;
	spot.sectors = *done;
	r = vdisk_image_map(spot.image, spot.sector, spot.sectors, &e);
	if (r)
		return r;
	spot.sectors = *done = e.sectors;
	if (e.kind == VDISK_ZERO ||
	    (e.kind == VDISK_PARENT && spot.disk->nr == 1))
		return 0;
	return write_some(spot, NULL, done);
}

static int clear_some(struct spot spot, bool unmap, u64 *done)
{
	struct vdisk_image *image = spot.image;
	struct vdisk_plan plan = { .sectors = spot.sectors };
	struct vdisk_drive d;
	int r = 0;

	if (!image->opts.write || image->failed)
		return vdisk_image_change(image);
	if (image->format->discard) {
		vdisk_drive_start(&d, image);
		do {
			r = image->format->discard(&image->geom, &d.step,
						   spot.sector, spot.sectors,
						   spot.disk->nr == 1, &plan);
		} while (vdisk_drive_again(&d, image, &r));
	}
	*done = plan.sectors;
	if (!r && !plan.nr)
		return clear_by_hand(spot, unmap, done);
	if (!r)
		r = vdisk_image_change(image);
	return r ? r : vdisk_plan_publish(image, &plan);
}

static int clear(struct vdisk_disk *disk, u64 sector, u64 sectors, bool unmap)
{
	u64 done;
	int r;

	for (; sectors; sector += done, sectors -= done) {
		r = clear_some(spot_at(disk, sector, sectors), unmap, &done);
		if (r)
			return r;
	}
	return 0;
}

int vdisk_disk_zero(struct vdisk_disk *disk, u64 sector, u64 sectors)
{
	return clear(disk, sector, sectors, false);
}

int vdisk_disk_discard(struct vdisk_disk *disk, u64 sector, u64 sectors)
{
	return clear(disk, sector, sectors, true);
}

/* All images of the top layer; the first error. */
static int each_top(struct vdisk_disk *disk, int (*fn)(struct vdisk_image *))
{
	struct vdisk_layer *top = &disk->layer[disk->nr - 1];
	int r, first = 0;
	size_t i;

	for (i = 0; i < top->nr; i++) {
		if (!top->part[i].image->store ||
		    !top->part[i].image->opts.write)
			continue;
		r = fn(top->part[i].image);
		first = first ? first : r;
	}
	return first;
}

int vdisk_disk_flush(struct vdisk_disk *disk)
{
	return each_top(disk, vdisk_image_commit);
}

int vdisk_disk_settle(struct vdisk_disk *disk)
{
	return each_top(disk, vdisk_image_settle);
}
