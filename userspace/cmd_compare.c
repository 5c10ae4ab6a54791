// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk compare: do two disks hold the same? The words and the exit status are
 * those of qemu-img compare.
 */
#include <stdio.h>
#include <stdlib.h>

#include "chain.h"
#include "make.h"
#include "out.h"
#include "progress.h"

#define CHUNK (1u << 20)

enum {
	COMPARE_SAME = 0,
	COMPARE_DIFFER = 1,
	COMPARE_NOT_OPEN = 2,
	COMPARE_NO_MAP = 3,
	COMPARE_NO_READ = 4,
};

struct side {
	struct chain chain;
	struct vdisk_hit hit;	/* from the sector that is looked at */
	u8 *buf;
};

struct pair {
	struct side side[2];
	const struct verb_options *opt;
	u64 at;			/* sector of the first difference */
	const char *what;	/* the difference is of that, not of bytes */
};

static int fail(const struct chain *chain, int status)
{
	progress_clear();
	out_error(chain->image, "%s", chain->fault.text);
	return status;
}

/* Behind its end a disk is empty. */
static int look(struct side *side, u64 sector, u64 sectors)
{
	const u64 size = side->chain.disk->size_sec;

	side->hit = (struct vdisk_hit){ .kind = VDISK_ZERO, .sectors = sectors };
	if (sector >= size)
		return 0;
	if (make_map(&side->chain, sector, &side->hit))
		return fail(&side->chain, COMPARE_NO_MAP);
	return 0;
}

static int load(struct side *side, u64 sector, u64 sectors)
{
	if (side->hit.kind == VDISK_ZERO)
		memset(side->buf, 0, sectors * VDISK_SECTOR);
	else if (vdisk_disk_read(side->chain.disk, sector, side->buf, sectors))
		return fail(&side->chain, COMPARE_NO_READ);
	return 0;
}

static int compare_bytes(struct pair *p, u64 sector, u64 sectors)
{
	const u8 *a = p->side[0].buf, *b = p->side[1].buf;
	int r = load(&p->side[0], sector, sectors);
	u64 i;

	if (!r)
		r = load(&p->side[1], sector, sectors);
	if (r || !memcmp(a, b, sectors * VDISK_SECTOR))
		return r;
	for (i = 0; !memcmp(a + i * VDISK_SECTOR, b + i * VDISK_SECTOR,
			    VDISK_SECTOR); i++)
		;
	p->at = sector + i;
	return COMPARE_DIFFER;
}

/* What both say of is @sectors long. */
static int compare_some(struct pair *p, u64 sector, u64 *sectors)
{
	struct vdisk_hit *a = &p->side[0].hit, *b = &p->side[1].hit;
	bool same;
	int r = look(&p->side[0], sector, *sectors);

	if (!r)
		r = look(&p->side[1], sector, *sectors);
	if (r)
		return r;
	*sectors = vdisk_min(*sectors, vdisk_min(a->sectors, b->sectors));
	same = (a->kind == VDISK_ZERO) == (b->kind == VDISK_ZERO);
	if (p->opt->strict && !same) {
		p->what = "block status";
		p->at = sector;
		return COMPARE_DIFFER;
	}
	if (same && a->kind == VDISK_ZERO)
		return 0;
	*sectors = vdisk_min(*sectors, CHUNK / VDISK_SECTOR);
	return compare_bytes(p, sector, *sectors);
}

static int compare(struct pair *p)
{
	u64 a = p->side[0].chain.disk->size_sec;
	u64 b = p->side[1].chain.disk->size_sec;
	u64 end = vdisk_max(a, b), sector, n;
	int r = 0;

	if (a != b && p->opt->strict) {
		p->what = "size";
		return COMPARE_DIFFER;
	}
	if (a != b && !p->opt->json && !p->opt->quiet)
		printf("Warning: Image size mismatch!\n");
	for (sector = 0; !r && sector < end; sector += n) {
		progress_show("comparing", sector, end);
		n = end - sector;
		r = compare_some(p, sector, &n);
	}
	progress_clear();
	return r;
}

static void tell_json(const struct pair *p, int r)
{
	struct json_object *obj = json_object_new_object();

	out_json_text(obj, "filename", p->side[0].chain.image);
	out_json_text(obj, "filename2", p->side[1].chain.image);
	out_json_num(obj, "virtual-size",
		     p->side[0].chain.disk->size_sec * VDISK_SECTOR);
	out_json_num(obj, "virtual-size2",
		     p->side[1].chain.disk->size_sec * VDISK_SECTOR);
	out_json_bool(obj, "identical", !r);
	if (r) {
		out_json_text(obj, "mismatch", p->what ? p->what : "content");
		if (!p->what || strcmp(p->what, "size"))
			out_json_num(obj, "offset", p->at * VDISK_SECTOR);
	}
	out_json(obj);
}

static void tell_text(const struct pair *p, int r)
{
	unsigned long long at = p->at * VDISK_SECTOR;

	if (!r)
		printf("Images are identical.\n");
	else if (!p->what)
		printf("Content mismatch at offset %llu!\n", at);
	else if (!strcmp(p->what, "size"))
		printf("Strict mode: Image size mismatch!\n");
	else
		printf("Strict mode: Offset %llu %s mismatch!\n", at, p->what);
}

static int compare_open(struct pair *p)
{
	int r, i;

	for (i = 0; i < 2; i++)
		p->side[i].buf = out_alloc(1, CHUNK);
	r = compare(p);
	if (r <= COMPARE_DIFFER) {
		if (p->opt->json)
			tell_json(p, r);
		else if (!p->opt->quiet)
			tell_text(p, r);
	}
	for (i = 0; i < 2; i++)
		free(p->side[i].buf);
	return r;
}

int cmd_compare(const struct verb_options *opt)
{
	struct verb_options second = *opt;
	struct pair pair = { .opt = opt };
	int r = COMPARE_NOT_OPEN;

	second.format = NULL;
	second.format_option = "-F";
	if (opt->parent_format) {
		second.format = vdisk_format_find(opt->parent_format);
		if (!second.format ||
		    second.format->flags & VDISK_FORMAT_NO_FILE) {
			out_error(NULL, "Unknown format: %s",
				  out_name(opt->parent_format));
			return r;
		}
	}
	if (!chain_open(&pair.side[0].chain, opt->args[0], opt, CHAIN_LOCK))
		return r;
	if (chain_open(&pair.side[1].chain, opt->args[1], &second, CHAIN_LOCK)) {
		r = compare_open(&pair);
		chain_close(&pair.side[1].chain);
	}
	chain_close(&pair.side[0].chain);
	return r;
}
