// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk measure: how long the files of a new image get, in the words of qemu-img
 * measure. The image is made in memory, and a sector is written to each unit that
 * a copy would give a place; zeroes take none there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../formats/vmdk.h"
#include "chain.h"
#include "make.h"
#include "out.h"
#include "progress.h"

/* Units that are placed one by one: tables of all formats hold a part of them. */
#define MANY (1ull << 20)

struct measure {
	struct make make;
	struct vdisk_disk *disk;
	struct vdisk_fault fault;
	struct chain *from;	/* NULL: an empty disk */
	/* Of a stream, which cannot be written in memory. */
	u64 grains, tables, last_table;
};

/*-----------------------------------------------------------------
 * The image in memory
 */

static int open_part(struct measure *m, const struct make_file *file)
{
	const struct vdisk_image_opts opts = {
		.write = true, .size_sec = file->sectors,
	};
	struct vdisk_image *image;
	int r = vdisk_image_open(&image, file->format, file->memory, &opts,
				 &m->fault);

	if (r)
		return r;
	r = vdisk_disk_add(m->disk, image, file->sectors);
	if (r)
		vdisk_image_drop(image);
	return r;
}

static int open_disk(struct measure *m)
{
	unsigned int i;
	int r = vdisk_disk_new(&m->disk, &m->fault);

	if (!r)
		r = vdisk_disk_push(m->disk);
	for (i = 0; !r && i < m->make.nr; i++)
		if (m->make.file[i].sectors)
			r = open_part(m, &m->make.file[i]);
	return r;
}

/*-----------------------------------------------------------------*/

/* The unit of @sector gets a place; *@next is where the following one begins. */
static int place_unit(struct measure *m, u64 sector, u64 *next)
{
	static const u8 zeroes[VDISK_SECTOR];
	struct vdisk_part *part = vdisk_layer_part(&m->disk->layer[0], sector);
	const struct vdisk_geom *geom = &part->image->geom;
	u64 in = sector - part->first_sec;

	if (geom->flags & VDISK_GEOM_NO_ALLOC) {
		*next = part->first_sec + part->sectors;
		return 0;
	}
	*next = part->first_sec +
		vdisk_min(part->sectors,
			  vdisk_align(in + 1, geom->unit_sec, 0));
	if (geom->flags & VDISK_GEOM_PACKED) {
		u64 table = in / geom->unit_sec / VMDK_MAX_GTES + 1;

		m->grains++;
		m->tables += table != m->last_table;
		m->last_table = table;
		return 0;
	}
	return vdisk_disk_write(m->disk, sector, zeroes, 1);
}

static int place(struct measure *m, u64 sector, u64 end)
{
	int r = 0;

	while (!r && sector < end)
		r = place_unit(m, sector, &sector);
	return r;
}

/*
 * All units of a part. Of very many the last ones are not placed: what they take
 * is what as many before them did, *@more bytes.
 */
static int place_part(struct measure *m, const struct vdisk_part *part, u64 *more)
{
	const struct vdisk_geom *geom = &part->image->geom;
	u64 units = vdisk_div_up(part->sectors, geom->unit_sec), from, to, half;
	int r;

	if (geom->flags & (VDISK_GEOM_NO_ALLOC | VDISK_GEOM_PACKED) ||
	    units <= MANY)
		return place(m, part->first_sec,
			     part->first_sec + part->sectors);
	half = MANY / 2 * geom->unit_sec;
	r = place(m, part->first_sec, part->first_sec + half);
	if (!r)
		r = vdisk_image_settle(part->image);
	from = part->image->store->length;
	if (!r)
		r = place(m, part->first_sec + half,
			  part->first_sec + 2 * half);
	if (!r)
		r = vdisk_image_settle(part->image);
	to = part->image->store->length;
	*more += (u64)((unsigned __int128)(units - MANY) * (to - from) /
		       (MANY / 2));
	return r;
}

static int place_all(struct measure *m, u64 *more)
{
	const struct vdisk_layer *layer = &m->disk->layer[0];
	size_t i;
	int r = 0;

	for (i = 0; !r && i < layer->nr; i++)
		r = place_part(m, &layer->part[i], more);
	return r;
}

/* What the source has data in. */
static int place_data(struct measure *m)
{
	const u64 size = m->from ? m->from->disk->size_sec : 0;
	struct vdisk_hit hit;
	u64 sector, done = 0;
	int r = 0;

	for (sector = 0; !r && sector < size; sector += hit.sectors) {
		progress_show("measuring", sector, size);
		if (make_map(m->from, sector, &hit)) {
			progress_clear();
			out_error(m->from->image, "%s", m->from->fault.text);
			return -EIO;
		}
		if (hit.kind == VDISK_ZERO)
			continue;
		/* One unit may have many pieces of data. */
		for (done = vdisk_max(done, sector);
		     !r && done < sector + hit.sectors;)
			r = place_unit(m, done, &done);
	}
	progress_clear();
	return r;
}

static int add_up(struct measure *m, u64 *bytes)
{
	unsigned int i;
	int r = vdisk_disk_settle(m->disk);

	*bytes = 0;
	for (i = 0; i < m->make.nr; i++)
		if (m->make.file[i].memory)
			*bytes += m->make.file[i].memory->length;
	if (m->make.stream)
		*bytes = make_stream_length(&m->make, m->grains, m->tables);
	return r;
}

/* Of what the source has, or (@all) of all units. */
static int count(struct measure *m, bool all, u64 *bytes)
{
	u64 more = 0;
	int r = open_disk(m);

	if (!r)
		r = all ? place_all(m, &more) : place_data(m);
	if (!r)
		r = add_up(m, bytes);
	*bytes += more;
	vdisk_disk_drop(m->disk);
	return r;
}

static bool measure_one(const struct verb_options *opt, struct chain *from,
			const struct make_kind *kind, bool all, u64 *bytes)
{
	struct measure m = { .from = from };
	bool good = true;
	unsigned int i;

	make_begin(&m.make, "disk", kind);
	m.make.dry = m.make.nowhere = true;
	m.make.size_sec = from ? from->disk->size_sec
			       : vdisk_div_up(opt->size, VDISK_SECTOR);
	for (i = 0; good && i < opt->nr_make; i++)
		good = make_set(&m.make, opt->make[i]);
	good = good && make_image(&m.make);
	if (good && count(&m, all, bytes)) {
		if (*m.fault.text)
			out_error(NULL, "%s", m.fault.text);
		good = false;
	}
	make_end(&m.make);
	return good;
}

static bool measure(const struct verb_options *opt, struct chain *from,
		    const struct make_kind *kind)
{
	struct json_object *obj;
	u64 needed = 0, all = 0;

	if (!measure_one(opt, from, kind, false, &needed) ||
	    !measure_one(opt, from, kind, true, &all))
		return false;
	if (opt->json) {
		obj = json_object_new_object();
		out_json_num(obj, "required", needed);
		out_json_num(obj, "fully-allocated", all);
		out_json(obj);
	} else {
		printf("required size: %llu\nfully allocated size: %llu\n",
		       (unsigned long long)needed, (unsigned long long)all);
	}
	return true;
}

int cmd_measure(const struct verb_options *opt)
{
	const struct make_kind *kind;
	struct chain from;
	bool good;

	kind = make_kind_find(opt->out_format ? opt->out_format : "raw");
	if (!kind)
		return VERB_USAGE;
	if (opt->make_help) {
		make_show_options(kind);
		return VERB_OK;
	}
	if (opt->size_given == (opt->nr_args > 0)) {
		out_error(NULL, "Of an image or of --size? One of them");
		return VERB_USAGE;
	}
	if (!opt->nr_args)
		return measure(opt, NULL, kind) ? VERB_OK : VERB_FAILED;
	if (!chain_open(&from, opt->args[0], opt, CHAIN_LOCK))
		return VERB_FAILED;
	good = measure(opt, &from, kind);
	chain_close(&from);
	return good ? VERB_OK : VERB_FAILED;
}
