// SPDX-License-Identifier: GPL-2.0-or-later
/* Images and disks: opening, the cache of tables, steps, reading. */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "disk.h"

#define DEFAULT_CACHE_BLOCKS 1024
#define DEFAULT_GROW_UNITS 1

int vdisk_fault_set(struct vdisk_fault *fault, int r, const char *what,
		    u64 value)
{
	if (fault)
		snprintf(fault->text, sizeof(fault->text), "%s: %llu", what,
			 (unsigned long long)value);
	return r;
}

int vdisk_fault_step(struct vdisk_fault *fault, int r,
		     const struct vdisk_step *step)
{
	if (!step->sum || !fault)
		return vdisk_fault_set(fault, r, step->why, step->value);
	snprintf(fault->text, sizeof(fault->text), "%s: sum 0x%08llx, of the "
		 "bytes 0x%08llx (see vdisk check --repair)", step->why,
		 (unsigned long long)step->value,
		 (unsigned long long)step->right);
	return r;
}

static int no_memory(struct vdisk_fault *fault, u64 len)
{
	return vdisk_fault_set(fault, -ENOMEM, "Out of memory for bytes", len);
}

/*-----------------------------------------------------------------
 * The cache of table blocks
 */

static u32 bucket_of(u64 off)
{
	return (u32)(off / VDISK_BLOCK) % VDISK_CACHE_BUCKETS;
}

struct vdisk_block *vdisk_block_find(struct vdisk_image *image, u64 off)
{
	struct vdisk_block *b = image->bucket[bucket_of(off)];

	while (b && b->off != off)
		b = b->next;
	return b;
}

int vdisk_block_get(struct vdisk_image *image, u64 off,
		    struct vdisk_block **block)
{
	struct vdisk_block *b = vdisk_block_find(image, off);
	int r;

	if (!b) {
		b = malloc(sizeof(*b));
		if (!b)
			return no_memory(image->fault, sizeof(*b));
		r = vdisk_store_read(image->store, off, b->data, VDISK_BLOCK);
		if (r) {
			free(b);
			return vdisk_fault_set(image->fault, r,
					       "Read failed at byte", off);
		}
		b->dirty = 0;
		b->off = off;
		b->next = image->bucket[bucket_of(off)];
		image->bucket[bucket_of(off)] = b;
		image->nr_blocks++;
	}
	b->used = true;
	*block = b;
	return 0;
}

/*
 * Drop clean blocks that were not used since the last call, until few enough
 * are left. Never called while a step holds views.
 */
static void cache_trim(struct vdisk_image *image)
{
	struct vdisk_block **at, *b;
	u32 i;

	if (image->nr_blocks - image->nr_dirty <= image->opts.cache_blocks)
		return;
	for (i = 0; i < VDISK_CACHE_BUCKETS; i++) {
		at = &image->bucket[i];
		while ((b = *at)) {
			if (b->dirty || b->used) {
				b->used = false;
				at = &b->next;
				continue;
			}
			*at = b->next;
			free(b);
			image->nr_blocks--;
		}
	}
}

static void cache_free(struct vdisk_image *image)
{
	struct vdisk_block *b, *next;
	u32 i;

	for (i = 0; i < VDISK_CACHE_BUCKETS; i++) {
		for (b = image->bucket[i]; b; b = next) {
			next = b->next;
			free(b);
		}
	}
}

/*-----------------------------------------------------------------
 * Steps
 */

void vdisk_drive_start(struct vdisk_drive *d, struct vdisk_image *image)
{
	*d = (struct vdisk_drive){
		.step.file_len = image->store ? image->store->length : 0,
		.step.data_end = image->data_end,
	};
}

/* The contract was broken: by the format, not by the image. */
static int broken(struct vdisk_image *image, const char *what, u64 value)
{
	return vdisk_fault_set(image->fault, -EPROTO, what, value);
}

static int give_bytes(struct vdisk_drive *d, struct vdisk_image *image)
{
	struct vdisk_step *step = &d->step;
	const struct vdisk_need *need = &step->need;
	u64 off = need->off & ~(u64)(VDISK_BLOCK - 1);
	struct vdisk_block *block;
	int r;

	if (!need->len || need->off - off + need->len > VDISK_BLOCK ||
	    need->off > step->file_len ||
	    need->len > step->file_len - need->off)
		return broken(image, "Step asks for bytes it must not",
			      need->off);
	if (step->nr_views == VDISK_MAX_VIEWS)
		return broken(image, "Step asks for too many views",
			      need->off);
	r = vdisk_block_get(image, off, &block);
	if (r)
		return r;
	step->view[step->nr_views++] = (struct vdisk_view){
		.off = off,
		.len = (u32)vdisk_min(VDISK_BLOCK, step->file_len - off),
		.data = block->data,
	};
	return 0;
}

bool vdisk_drive_again(struct vdisk_drive *d, struct vdisk_image *image, int *r)
{
	struct vdisk_step *step = &d->step;

	if (*r == -EUCLEAN)
		*r = vdisk_fault_step(image->fault, step->full ? -ENOSPC : *r,
				      step);
	else if (*r && *r != -EAGAIN)
		*r = broken(image, "Step ends with", (u64)-*r);
	if (*r != -EAGAIN)
		return false;

	if (++d->calls >= VDISK_MAX_STEPS)
		*r = broken(image, "Step does not end", step->need.off);
	else if (step->need.kind == VDISK_NEED_BYTES)
		*r = give_bytes(d, image);
	else if (step->need.kind == VDISK_NEED_UNIT)
		*r = vdisk_space_take(image, &step->need, &step->unit,
				      &d->unit);
	else
		*r = vdisk_space_take(image, &step->need, &step->table,
				      &d->table);
	/* Space may have been made. */
	step->file_len = image->store->length;
	step->data_end = image->data_end;
	return !*r;
}

int vdisk_image_map(struct vdisk_image *image, u64 sector, u64 sectors,
		    struct vdisk_extent *extent)
{
	struct vdisk_drive d;
	int r;

	cache_trim(image);
	vdisk_drive_start(&d, image);
	do {
		*extent = (struct vdisk_extent){ 0 };
		r = image->format->map(&image->geom, &d.step, sector, sectors,
				       extent);
	} while (vdisk_drive_again(&d, image, &r));
	if (!r && (!extent->sectors || extent->sectors > sectors))
		r = broken(image, "Run of a wrong length", extent->sectors);
	return r;
}

int vdisk_image_walk(struct vdisk_image *image, u64 *cursor,
		     struct vdisk_range *range)
{
	struct vdisk_drive d;
	int r;

	cache_trim(image);
	vdisk_drive_start(&d, image);
	do {
		r = image->format->walk(&image->geom, &d.step, cursor, range);
	} while (vdisk_drive_again(&d, image, &r));
	return r;
}

void vdisk_walker_start(struct vdisk_walker *w, struct vdisk_image *image)
{
	struct vdisk_drive d;

	vdisk_drive_start(&d, image);
	*w = (struct vdisk_walker){ .image = image, .step = d.step };
}

int vdisk_walker_next(struct vdisk_walker *w, struct vdisk_range *range)
{
	struct vdisk_image *image = w->image;
	struct vdisk_drive d;
	int r;

	r = image->format->walk(&image->geom, &w->step, &w->cursor, range);
	if (!r)
		return 0;
	if (r == -EAGAIN && w->step.nr_views == VDISK_MAX_VIEWS) {
		w->step.nr_views = 0;
		cache_trim(image);
	}
	vdisk_drive_start(&d, image);
	memcpy(d.step.view, w->step.view, sizeof(d.step.view));
	d.step.nr_views = w->step.nr_views;
	d.step.need = w->step.need;
	d.step.why = w->step.why;
	d.step.value = w->step.value;
	while (vdisk_drive_again(&d, image, &r)) {
		r = image->format->walk(&image->geom, &d.step, &w->cursor,
					range);
		/* What is left over from steps before must not be in the way. */
		if (r == -EAGAIN && d.step.nr_views == VDISK_MAX_VIEWS &&
		    d.calls < VDISK_MAX_VIEWS)
			d.step.nr_views = 0;
	}
	w->step = d.step;
	return r;
}

/*-----------------------------------------------------------------
 * Images
 */

static int open_geom(struct vdisk_image *image)
{
	struct vdisk_params params = {
		.file_len = image->store ? image->store->length : 0,
		.start_off = image->opts.start_off,
		.size_sec = image->opts.size_sec,
		.size_rule = image->opts.size_rule,
		.write = image->opts.write,
		.device = image->store && image->store->device,
		.lenient = image->opts.lenient,
	};
	struct vdisk_drive d;
	int r;

	vdisk_drive_start(&d, image);
	do {
		r = image->format->open(&params, &d.step, &image->geom);
	} while (vdisk_drive_again(&d, image, &r));
	return r;
}

/* Where the last unit or table ends, for formats that do not say. */
static int scan_end(struct vdisk_image *image, u64 *end)
{
	struct vdisk_range range;
	u64 cursor = 0;
	int r;

	*end = image->geom.data_off;
	do {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r)
			return r;
		/* What stays behind all units is no unit. */
		if (range.off + range.len <= image->geom.data_end)
			*end = vdisk_max(*end, range.off + range.len);
	} while (range.len);
	return 0;
}

static int open_write(struct vdisk_image *image)
{
	const struct vdisk_geom *geom = &image->geom;
	int r;

	if (geom->flags & VDISK_GEOM_RDONLY)
		return vdisk_fault_set(image->fault, -EROFS, geom->why_ro,
				       geom->ro_value);
	if (geom->flags & VDISK_GEOM_DIRTY && !image->opts.force)
		return vdisk_fault_set(image->fault, -EUCLEAN,
				       "Image was not closed, check it first",
				       0);
	/* A device holds what it held before; a file reads zero where it grows. */
	image->zero_off = image->store->device ? ~0ull : image->store->length;
	image->alloc_off = geom->alloc_off;
	if (!(geom->flags & VDISK_GEOM_SCAN))
		return 0;
	/*
	 * What is free by the tables must be so on the medium: the last writer
	 * may have died before its flush.
	 */
	r = vdisk_store_flush(image->store);
	if (r)
		return vdisk_fault_set(image->fault, r, "Flush failed", (u64)-r);
	return scan_end(image, &image->alloc_off);
}

int vdisk_image_open(struct vdisk_image **result,
		     const struct vdisk_format *format,
		     struct vdisk_store *store,
		     const struct vdisk_image_opts *opts,
		     struct vdisk_fault *fault)
{
	struct vdisk_image *image;
	int r;

	*result = NULL;
	if (!store != !!(format->flags & VDISK_FORMAT_NO_FILE))
		return vdisk_fault_set(fault, -EINVAL,
				       "Format and file do not go together", 0);
	image = calloc(1, sizeof(*image));
	if (!image)
		return no_memory(fault, sizeof(*image));
	image->format = format;
	image->store = store;
	image->fault = fault;
	image->opts = *opts;
	if (!image->opts.cache_blocks)
		image->opts.cache_blocks = DEFAULT_CACHE_BLOCKS;
	if (!image->opts.grow_units)
		image->opts.grow_units = DEFAULT_GROW_UNITS;

	r = open_geom(image);
	image->data_end = image->geom.data_end;
	if (!r && opts->write)
		r = open_write(image);
	if (r) {
		vdisk_image_drop(image);
		return r;
	}
	*result = image;
	return 0;
}

void vdisk_image_drop(struct vdisk_image *image)
{
	if (!image)
		return;
	cache_free(image);
	free(image->free.run);
	free(image->freed.run);
	free(image->unit);
	free(image);
}

int vdisk_image_close(struct vdisk_image *image)
{
	int r = 0;

	if (image && image->opts.write)
		r = vdisk_image_settle(image);
	vdisk_image_drop(image);
	return r;
}

/*-----------------------------------------------------------------
 * Compressed units
 */

/* zlib's own framing, or none: told by the two bytes of its header. */
static bool has_zlib_header(const u8 *in, u32 len)
{
	return len >= 2 && (in[0] & 0x0f) == Z_DEFLATED &&
	       (in[0] >> 4) + 8 <= MAX_WBITS &&
	       ((u32)in[0] << 8 | in[1]) % 31 == 0;
}

/* Inflate to @out; what the stream leaves missing is zero. */
static int inflate_to(const u8 *in, u32 len, u8 *out, u64 room)
{
	z_stream z = {
		.next_in = (Bytef *)in, .avail_in = len,
		.next_out = out, .avail_out = (uInt)room,
	};
	int r;

	if (inflateInit2(&z, has_zlib_header(in, len) ? MAX_WBITS : -MAX_WBITS))
		return -ENOMEM;
	r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	if (r != Z_STREAM_END)
		return -EUCLEAN;
	memset(z.next_out, 0, z.avail_out);
	return 0;
}

static int unpack_unit(struct vdisk_image *image, const struct vdisk_hit *hit,
		       u8 *in, u32 len)
{
	struct vdisk_step step = { .file_len = image->store->length };
	u32 off = 0, stream_len = 0;
	int r;

	r = vdisk_store_read(image->store, hit->off, in, len);
	if (r)
		return vdisk_fault_set(image->fault, r, "Read failed at byte",
				       hit->off);
	r = image->format->unpack(&image->geom, &step,
				  hit->image_sec - hit->skip_sec, in, len, &off,
				  &stream_len);
	if (r)
		return vdisk_fault_set(image->fault, r, step.why, step.value);
	if (off > len || stream_len > len - off)
		return broken(image, "Stream outside its record", hit->off);
	r = inflate_to(in + off, stream_len, image->unit,
		       image->geom.unit_sec * VDISK_SECTOR);
	if (r)
		return vdisk_fault_set(image->fault, r,
				       "Compressed grain is damaged",
				       hit->off);
	return 0;
}

static int read_packed(const struct vdisk_hit *hit, u8 *buf)
{
	struct vdisk_image *image = hit->image;
	u64 unit = image->geom.unit_sec * VDISK_SECTOR, end;
	u64 first = hit->image_sec - hit->skip_sec;
	u32 len = hit->len;
	u8 *in;
	int r = 0;

	/* A record that two entries name is the unit of one of them only. */
	if (!image->unit_valid || image->unit_off != hit->off ||
	    image->unit_first != first) {
		end = image->store->length;
		len = (u32)vdisk_min(len, end - vdisk_min(end, hit->off));
		if (!image->unit)
			image->unit = malloc(unit);
		in = malloc(len + !len);
		if (!image->unit || !in)
			r = no_memory(image->fault, unit + len);
		else
			r = unpack_unit(image, hit, in, len);
		free(in);
		image->unit_valid = !r;
		image->unit_off = hit->off;
		image->unit_first = first;
	}
	if (r)
		return r;
	memcpy(buf, image->unit + hit->skip_sec * VDISK_SECTOR,
	       hit->sectors * VDISK_SECTOR);
	return 0;
}

/*-----------------------------------------------------------------
 * Disks
 */

int vdisk_disk_new(struct vdisk_disk **disk, struct vdisk_fault *fault)
{
	*disk = calloc(1, sizeof(**disk));
	if (!*disk)
		return no_memory(fault, sizeof(**disk));
	(*disk)->fault = fault;
	return 0;
}

int vdisk_disk_push(struct vdisk_disk *disk)
{
	struct vdisk_layer *layer;

	layer = reallocarray(disk->layer, disk->nr + 1, sizeof(*layer));
	if (!layer)
		return no_memory(disk->fault, disk->nr * sizeof(*layer));
	disk->layer = layer;
	disk->layer[disk->nr++] = (struct vdisk_layer){ 0 };
	disk->size_sec = 0;
	return 0;
}

int vdisk_disk_add(struct vdisk_disk *disk, struct vdisk_image *image,
		   u64 sectors)
{
	struct vdisk_layer *layer = &disk->layer[disk->nr - 1];
	struct vdisk_part *part;
	u64 size = sectors ? sectors : image->geom.size_sec, end;

	if (size > image->geom.size_sec || vdisk_add(layer->size_sec, size, &end))
		return vdisk_fault_set(disk->fault, -EINVAL,
				       "Image is smaller than the extent",
				       image->geom.size_sec);
	part = reallocarray(layer->part, layer->nr + 1, sizeof(*part));
	if (!part)
		return no_memory(disk->fault, layer->nr * sizeof(*part));
	layer->part = part;
	part[layer->nr++] = (struct vdisk_part){
		.image = image, .first_sec = layer->size_sec, .sectors = size,
	};
	layer->size_sec = disk->size_sec = end;
	/* Not every format knows it: Parallels says it in another file. */
	if (disk->nr > 1)
		image->geom.flags |= VDISK_GEOM_PARENT;
	return 0;
}

static int disk_end(struct vdisk_disk *disk, bool close)
{
	struct vdisk_layer *layer;
	int r, first = 0;
	size_t i;

	while (disk->nr) {
		layer = &disk->layer[--disk->nr];
		for (i = 0; i < layer->nr; i++) {
			r = 0;
			if (close)
				r = vdisk_image_close(layer->part[i].image);
			else
				vdisk_image_drop(layer->part[i].image);
			first = first ? first : r;
		}
		free(layer->part);
	}
	free(disk->layer);
	free(disk);
	return first;
}

int vdisk_disk_close(struct vdisk_disk *disk)
{
	return disk ? disk_end(disk, true) : 0;
}

void vdisk_disk_drop(struct vdisk_disk *disk)
{
	if (disk)
		disk_end(disk, false);
}

struct vdisk_part *vdisk_layer_part(struct vdisk_layer *layer, u64 sector)
{
	size_t lo = 0, hi = layer->nr, mid;

	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if (layer->part[mid].first_sec <= sector)
			lo = mid;
		else
			hi = mid;
	}
	return &layer->part[lo];
}

/* Look down from the layer below @top until one holds the sectors. */
static int resolve(struct vdisk_disk *disk, size_t top, u64 sector,
		   u64 sectors, struct vdisk_hit *hit)
{
	struct vdisk_extent e;
	struct vdisk_layer *layer;
	struct vdisk_part *part;
	u64 at;
	int r;

	while (top--) {
		layer = &disk->layer[top];
		if (sector >= layer->size_sec)
			break;		/* past the end of a shorter parent */
		part = vdisk_layer_part(layer, sector);
		at = sector - part->first_sec;
		r = vdisk_image_map(part->image, at,
				    vdisk_min(sectors, part->sectors - at), &e);
		if (r)
			return r;
		sectors = e.sectors;
		if (e.kind == VDISK_PARENT)
			continue;
		*hit = (struct vdisk_hit){
			.kind = e.kind, .image = part->image, .layer = top,
			.image_sec = at, .sectors = sectors, .off = e.off,
			.len = e.len, .skip_sec = e.skip_sec,
		};
		return 0;
	}
	*hit = (struct vdisk_hit){ .kind = VDISK_ZERO, .sectors = sectors };
	return 0;
}

static int read_hit(const struct vdisk_hit *hit, u64 sector, u8 *buf)
{
	u64 len = hit->sectors * VDISK_SECTOR;
	int r;

	switch (hit->kind) {
	case VDISK_DATA:
		r = vdisk_store_read(hit->image->store, hit->off, buf, len);
		if (r)
			vdisk_fault_set(hit->image->fault, r,
					"Read failed at byte", hit->off);
		return r;
	case VDISK_DEFLATE:
		return read_packed(hit, buf);
	case VDISK_ERROR:
		return vdisk_fault_set(hit->image->fault, -EIO,
				       "Extent gives no access at sector",
				       sector);
	default:
		memset(buf, 0, len);
		return 0;
	}
}

int vdisk_disk_read_below(struct vdisk_disk *disk, size_t layer, u64 sector,
			  void *buf, u64 sectors)
{
	struct vdisk_hit hit;
	u8 *to = buf;
	int r;

	while (sectors) {
		r = resolve(disk, layer, sector, sectors, &hit);
		if (!r)
			r = read_hit(&hit, sector, to);
		if (r)
			return r;
		to += hit.sectors * VDISK_SECTOR;
		sector += hit.sectors;
		sectors -= hit.sectors;
	}
	return 0;
}

int vdisk_disk_map(struct vdisk_disk *disk, u64 sector, u64 sectors,
		   struct vdisk_hit *hit)
{
	return resolve(disk, disk->nr, sector, sectors, hit);
}

int vdisk_disk_read(struct vdisk_disk *disk, u64 sector, void *buf,
		    u64 sectors)
{
	return vdisk_disk_read_below(disk, disk->nr, sector, buf, sectors);
}
