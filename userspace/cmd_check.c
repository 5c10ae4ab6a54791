// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk check: does every byte of the image have the owner it should have? */
#include <stdio.h>
#include <stdlib.h>

#include "chain.h"
#include "out.h"
#include "own.h"

enum {
	CHECK_CLEAN = 0,
	CHECK_FAILED = 1,
	CHECK_CORRUPT = 2,
	CHECK_LEAKS = 3,
};

struct told {
	struct json_object *list;	/* with --json */
	const char *path;		/* if the image has several files */
	unsigned int nr;
};

/* A ruined table would fill the terminal. */
#define TELL_MOST 1000

static bool tell(void *arg, const char *what)
{
	struct told *told = arg;
	char *text;

	if (told->nr++ >= TELL_MOST)
		return true;
	text = told->path ? out_text("%s: %s", out_name(told->path), what)
			  : out_text("%s", what);
	if (told->list)
		json_object_array_add(told->list, json_object_new_string(text));
	else
		printf("ERROR %s\n", text);
	free(text);
	return true;
}

struct sum {
	struct own_report rep;
	u64 clusters;		/* of all parts that allocate any */
	bool dirty;
	const char *why_ro;
};

static void print_text(const struct sum *sum, unsigned int told)
{
	const struct own_report *rep = &sum->rep;

	if (told > TELL_MOST)
		printf("... and %u more\n", told - TELL_MOST);
	if (sum->dirty)
		printf("The image is marked as not closed.\n");
	if (sum->why_ro)
		printf("The image must not be written: %s.\n", sum->why_ro);
	if (rep->bad || rep->overlaps)
		printf("%llu errors were found on the image.\n",
		       (unsigned long long)(rep->bad + rep->overlaps));
	if (rep->leaks)
		printf("%llu leaked clusters were found on the image.\n",
		       (unsigned long long)rep->leaks);
	if (!rep->bad && !rep->overlaps && !rep->leaks)
		printf("No errors were found on the image.\n");
	if (sum->clusters)
		printf("%llu/%llu = %.2f%% allocated\n",
		       (unsigned long long)rep->units,
		       (unsigned long long)sum->clusters,
		       100.0 * (double)rep->units / (double)sum->clusters);
	printf("Image end offset: %llu\n", (unsigned long long)rep->end_off);
}

static void print_json(const struct chain *chain, const struct sum *sum,
		       struct told *told)
{
	struct json_object *obj = json_object_new_object();
	const struct own_report *rep = &sum->rep;

	out_json_text(obj, "filename", chain->image);
	out_json_text(obj, "format", chain->layer[0].format);
	out_json_num(obj, "check-errors", 0);
	out_json_num(obj, "image-end-offset", rep->end_off);
	out_json_num(obj, "corruptions", rep->bad + rep->overlaps);
	out_json_num(obj, "leaks", rep->leaks);
	if (sum->clusters) {
		out_json_num(obj, "total-clusters", sum->clusters);
		out_json_num(obj, "allocated-clusters", rep->units);
	}
	out_json_bool(obj, "dirty-flag", sum->dirty);
	if (sum->why_ro)
		out_json_text(obj, "read-only-reason", sum->why_ro);
	json_object_object_add(obj, "errors", told->list);
	told->list = NULL;
	out_json(obj);
}

/* Adds what was found in one file of the image. */
static bool check_part(const struct chain *chain, const struct chain_part *part,
		       struct told *told, struct sum *sum)
{
	struct own_options opt = { .say = tell, .arg = told };
	const struct vdisk_geom *geom = &part->image->geom;
	struct own_report rep;

	if (!part->path)
		return true;
	told->path = chain->layer[0].nr > 1 ? part->path : NULL;
	if (own_check(part->image, &opt, &rep) < 0) {
		out_error(part->path, "%s", chain->fault.text);
		return false;
	}
	sum->rep.units += rep.units;
	sum->rep.bad += rep.bad;
	sum->rep.overlaps += rep.overlaps;
	sum->rep.leaks += rep.leaks;
	sum->rep.end_off = vdisk_max(sum->rep.end_off, rep.end_off);
	if (!(geom->flags & VDISK_GEOM_NO_ALLOC))
		sum->clusters += vdisk_div_up(geom->size_sec, geom->unit_sec);
	sum->dirty |= geom->flags & VDISK_GEOM_DIRTY;
	if (geom->flags & VDISK_GEOM_RDONLY && !sum->why_ro)
		sum->why_ro = geom->why_ro;
	return true;
}

static int check(const struct chain *chain, bool json)
{
	struct told told = { .list = json ? json_object_new_array() : NULL };
	const struct chain_layer *top = &chain->layer[0];
	struct sum sum = { .clusters = 0 };
	unsigned int i;

	for (i = 0; i < top->nr; i++) {
		if (check_part(chain, &top->part[i], &told, &sum))
			continue;
		json_object_put(told.list);
		return CHECK_FAILED;
	}
	if (json)
		print_json(chain, &sum, &told);
	else
		print_text(&sum, told.nr);
	return sum.rep.bad || sum.rep.overlaps ? CHECK_CORRUPT :
	       sum.rep.leaks ? CHECK_LEAKS : CHECK_CLEAN;
}

int cmd_check(const struct verb_options *opt)
{
	struct chain chain;
	int r;

	if (!chain_open(&chain, opt->args[0], opt, CHAIN_ALONE | CHAIN_LOCK))
		return CHECK_FAILED;
	r = check(&chain, opt->json);
	chain_close(&chain);
	return r;
}
