// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk map: what lies where, with the fields of qemu-img map. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chain.h"
#include "out.h"
#include "salvage.h"

struct entry {
	u64 start, sectors;
	size_t depth;
	bool present, zero, data, compressed, error;
	bool has_off;
	u64 off;
	const char *path;
	char *why;		/* it cannot be read for; owned */
};

static void entry_of(const struct chain *chain, const struct vdisk_hit *hit,
		     u64 sector, struct entry *e)
{
	*e = (struct entry){
		.start = sector,
		.sectors = hit->sectors,
		.depth = chain->disk->nr - 1 - (hit->image ? hit->layer : 0),
		.present = hit->image,
		.zero = hit->kind == VDISK_ZERO,
		.data = hit->kind == VDISK_DATA || hit->kind == VDISK_DEFLATE,
		.compressed = hit->kind == VDISK_DEFLATE,
		.error = hit->kind == VDISK_ERROR,
		.has_off = hit->kind == VDISK_DATA,
		.off = hit->off,
		.path = hit->image ? chain_path(chain, hit->image) : NULL,
	};
}

/*
 * A disk that is as long as its file is as sparse as that: what the file has not
 * got reads zero, where it would be. @hit and @e become as long as one kind is.
 */
static void look_for_hole(const struct chain *chain, struct vdisk_hit *hit,
			  struct entry *e)
{
	const off_t off = (off_t)hit->off;
	int fd = chain_fd(chain, hit->image);
	off_t data, end;

	if (hit->kind != VDISK_DATA ||
	    !(hit->image->geom.flags & VDISK_GEOM_NO_ALLOC))
		return;
	data = lseek(fd, off, SEEK_DATA);
	/* A device, for instance, cannot tell. */
	if (data < 0 && errno != ENXIO)
		return;
	e->zero = data < 0 || data - off >= VDISK_SECTOR;
	/* In a format's words it is still the disk's data. */
	e->data = !e->zero || strcmp(chain->layer[e->depth].format, "raw");
	end = e->zero ? data : lseek(fd, data, SEEK_HOLE);
	if (end > off)
		hit->sectors = vdisk_min(hit->sectors,
					 vdisk_div_up((u64)(end - off),
						      VDISK_SECTOR));
	e->sectors = hit->sectors;
}

/* Make one of @e and what follows it; false if they differ. */
static bool join(struct entry *e, const struct entry *next)
{
	if (e->has_off != next->has_off || e->depth != next->depth || e->present != next->present ||
	    e->zero != next->zero || e->data != next->data ||
	    e->compressed != next->compressed || e->error != next->error ||
	    e->path != next->path || (e->why && next->why &&
				      strcmp(e->why, next->why)))
		return false;
	if (e->has_off && e->off + e->sectors * VDISK_SECTOR != next->off)
		return false;
	e->sectors += next->sectors;
	return true;
}

static void print_json(const struct entry *e, bool first)
{
	struct json_object *obj = json_object_new_object();

	out_json_num(obj, "start", e->start * VDISK_SECTOR);
	out_json_num(obj, "length", e->sectors * VDISK_SECTOR);
	out_json_num(obj, "depth", e->depth);
	out_json_bool(obj, "present", e->present);
	out_json_bool(obj, "zero", e->zero);
	out_json_bool(obj, "data", e->data);
	if (e->compressed)
		out_json_bool(obj, "compressed", true);
	if (e->error)
		out_json_bool(obj, "error", true);
	if (e->why)
		out_json_text(obj, "reason", e->why);
	if (e->has_off)
		out_json_num(obj, "offset", e->off);
	if ((e->data || e->has_off) && e->path)
		out_json_text(obj, "filename", e->path);
	printf("%s%s", first ? "[" : ",\n",
	       json_object_to_json_string_ext(obj, JSON_C_TO_STRING_SPACED |
					      JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
}

static void print_text(const struct entry *e, bool first)
{
	if (first)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to",
		       "File");
	if (!e->data || e->zero)
		return;
	printf("%#-16llx%#-16llx",
	       (unsigned long long)(e->start * VDISK_SECTOR),
	       (unsigned long long)(e->sectors * VDISK_SECTOR));
	if (e->compressed)
		printf("%-16s", "compressed");
	else
		printf("%#-16llx", (unsigned long long)e->off);
	printf("%s\n", out_name(e->path ? e->path : ""));
}

/* An entry that says nothing that can be: so far as it speaks. */
static void entry_bad(struct chain *chain, u64 sector, struct entry *e)
{
	*e = (struct entry){
		.start = sector, .error = true,
		.sectors = salvage_length(chain, sector,
					  chain->disk->size_sec - sector),
		.why = out_text("%s", chain->fault.text),
	};
}

static void print_entry(const struct chain *chain, struct entry *e, bool json,
			bool first)
{
	if (e->why)
		out_error(chain->image, "%llu bytes at %llu: %s",
			  (unsigned long long)(e->sectors * VDISK_SECTOR),
			  (unsigned long long)(e->start * VDISK_SECTOR),
			  e->why);
	if (json)
		print_json(e, first);
	else
		print_text(e, first);
	free(e->why);
}

static bool map_all(struct chain *chain, bool json)
{
	struct entry held = { 0 }, next;
	struct vdisk_hit hit;
	bool first = true, good = true;
	u64 sector;

	for (sector = 0; sector < chain->disk->size_sec;
	     sector += next.sectors) {
		if (vdisk_disk_map(chain->disk, sector,
				   chain->disk->size_sec - sector, &hit)) {
			entry_bad(chain, sector, &next);
			good = false;
		} else {
			entry_of(chain, &hit, sector, &next);
			look_for_hole(chain, &hit, &next);
		}
		if (held.sectors && join(&held, &next)) {
			free(next.why);
			continue;
		}
		if (held.sectors) {
			print_entry(chain, &held, json, first);
			first = false;
		}
		held = next;
	}
	print_entry(chain, &held, json, first);
	if (json)
		printf("]\n");
	return good;
}

int cmd_map(const struct verb_options *opt)
{
	struct chain chain;
	bool good;

	if (!chain_open(&chain, opt->args[0], opt, 0))
		return VERB_FAILED;
	good = map_all(&chain, opt->json);
	chain_close(&chain);
	return good ? VERB_OK : VERB_FAILED;
}
