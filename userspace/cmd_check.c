// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk check: is the image as it should be? With --repair, it is made so: first
 * on a trial, then what that changes is put into an undo file, then the image is
 * changed. The exit status is that of qemu-img check.
 */
#include <stdio.h>
#include <stdlib.h>

#include "chain.h"
#include "check_undo.h"
#include "out.h"
#include "repair.h"

enum {
	CHECK_CLEAN = 0,
	CHECK_FAILED = 1,
	CHECK_CORRUPT = 2,
	CHECK_LEAKS = 3,
};

struct told {
	bool json;
	bool quiet;			/* not a word on stdout */
	struct json_object *list;	/* with --json: faults */
	struct json_object *done;	/* and what was repaired */
	const char *path;		/* if the image has several files */
	bool dry_run;
	unsigned int nr;
};

/* A ruined table would fill the terminal. */
#define TELL_MOST 1000

static void tell(void *arg, const char *fault, const char *done)
{
	struct told *told = arg;
	char *text;

	if (told->nr++ >= TELL_MOST || told->quiet)
		return;
	text = out_text("%s%s%s%s%s", told->path ? out_name(told->path) : "",
			told->path ? ": " : "", fault, done ? ": " : "",
			done ? done : "");
	if (told->json)
		json_object_array_add(done ? told->done : told->list,
				      json_object_new_string(text));
	else
		printf("%s %s\n", !done ? "ERROR" : told->dry_run ?
		       "WOULD REPAIR" : "REPAIRED", text);
	free(text);
}

struct sum {
	struct repair repair;
	u64 clusters;		/* of all parts that allocate any */
	const char *undo;	/* the undo file that was made */
	bool dry_run;
};

static void print_text(const struct sum *sum, unsigned int told)
{
	const struct repair *repair = &sum->repair;
	const struct own_report *rep = &repair->rep;

	if (told > TELL_MOST)
		printf("... and %u more\n", told - TELL_MOST);
	if (repair->dirty)
		printf("The image is marked as not closed.\n");
	if (repair->why_ro)
		printf("The image must not be written: %s.\n", repair->why_ro);
	if (repair->mended)
		printf("%llu things %s repaired in the image.\n",
		       (unsigned long long)repair->mended,
		       sum->dry_run ? "would be" : "were");
	if (sum->undo)
		printf("Undo file: %s\n", out_name(sum->undo));
	if (repair->faults)
		printf("%llu errors were found on the image.\n",
		       (unsigned long long)repair->faults);
	if (rep->leaks)
		printf("%llu leaked clusters were found on the image.\n",
		       (unsigned long long)rep->leaks);
	if (!repair->faults && !rep->leaks)
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
	const struct repair *repair = &sum->repair;

	out_json_text(obj, "filename", chain->image);
	out_json_text(obj, "format", chain->layer[0].format);
	out_json_num(obj, "check-errors", 0);
	out_json_num(obj, "image-end-offset", repair->rep.end_off);
	out_json_num(obj, "corruptions", repair->faults);
	out_json_num(obj, "leaks", repair->rep.leaks);
	if (repair->write) {
		out_json_num(obj, "corruptions-fixed", repair->mended);
		out_json_num(obj, "leaks-fixed", repair->leaks_mended);
	}
	if (sum->clusters) {
		out_json_num(obj, "total-clusters", sum->clusters);
		out_json_num(obj, "allocated-clusters", repair->rep.units);
	}
	out_json_bool(obj, "dirty-flag", repair->dirty);
	if (repair->write)
		out_json_bool(obj, "dry-run", sum->dry_run);
	if (sum->undo)
		out_json_text(obj, "undo-file", sum->undo);
	if (repair->why_ro)
		out_json_text(obj, "read-only-reason", repair->why_ro);
	if (chain->parent_err)
		out_json_text(obj, "parent-error", chain->why);
	json_object_object_add(obj, "errors", told->list);
	told->list = NULL;
	if (repair->write)
		json_object_object_add(obj, "repaired", told->done);
	else
		json_object_put(told->done);
	told->done = NULL;
	out_json(obj);
}

/* Adds what was found in one file of the image. */
static bool check_part(const struct chain *chain, struct chain_part *part,
		       struct told *told, struct sum *sum)
{
	const struct vdisk_geom *geom;

	if (!part->path)
		return true;
	/* A repair says later what it found, with the name it had then. */
	told->path = chain->layer[0].nr > 1 ? part->path : NULL;
	if (sum->repair.write) {
		sum->repair.part = told->path;
		told->path = NULL;
	}
	if (repair_image(&sum->repair, part->image)) {
		out_error(part->path, "%s", chain->fault.text);
		return false;
	}
	geom = &part->image->geom;
	if (!(geom->flags & VDISK_GEOM_NO_ALLOC))
		sum->clusters += vdisk_div_up(geom->size_sec, geom->unit_sec);
	return true;
}

/* A parent that was changed, or is another one, is a fault of the chain. */
static void check_parent(const struct chain *chain, struct told *told,
			 struct sum *sum)
{
	char *text;

	if (!chain->parent_err)
		return;
	told->path = NULL;
	text = out_text("Parent: %s", chain->why);
	if (chain->parent_err == -ESTALE)
		repair_say(&sum->repair, text, NULL);
	else if (!told->json && !told->quiet)
		printf("The parent was not looked at: %s\n", chain->why);
	free(text);
}

/* What the trials say, to the files; @undo: an undo file is made before. */
static bool commit(const struct chain *chain, struct sum *sum)
{
	const struct verb_options *opt = chain->opt;

	if (!opt->repair || opt->dry_run)
		return true;
	if (!opt->no_undo && !check_undo_save(chain, &sum->undo))
		return false;
	return check_undo_commit(chain, sum->undo);
}

static int status(const struct sum *sum, const struct told *told)
{
	const struct repair *repair = &sum->repair;

	/* As it is: nothing was repaired. */
	bool lost = told->dry_run && repair->mended_leaks;

	if (repair->faults ||
	    (told->dry_run && repair->mended > repair->mended_leaks))
		return CHECK_CORRUPT;
	return repair->rep.leaks || lost ? CHECK_LEAKS : CHECK_CLEAN;
}

static int check(const struct chain *chain, struct told *told, struct sum *sum)
{
	const struct chain_layer *top = &chain->layer[0];
	unsigned int i;

	check_parent(chain, told, sum);
	for (i = 0; i < top->nr; i++)
		if (!check_part(chain, &top->part[i], told, sum))
			return CHECK_FAILED;
	told->path = NULL;
	if (!commit(chain, sum))
		return CHECK_FAILED;
	repair_tell(&sum->repair);
	if (told->json)
		print_json(chain, sum, told);
	else if (!told->quiet)
		print_text(sum, told->nr);
	return status(sum, told);
}

/* NULL, or why these options do not go together. */
static const char *wrong_options(const struct verb_options *opt)
{
	if (opt->undo && (opt->repair || opt->dry_run || opt->undo_file ||
			  opt->no_undo))
		return "--undo puts back what a repair did: no repair with it";
	if ((opt->repair || opt->undo) && opt->force_share)
		return "A repair takes the image for itself: no --force-share";
	if (!opt->repair && (opt->dry_run || opt->undo_file || opt->no_undo))
		return "--dry-run, --undo-file and --no-undo are of --repair";
	if (opt->undo_file && opt->no_undo)
		return "--undo-file and --no-undo: which of the two?";
	return NULL;
}

static int check_image(const struct verb_options *opt)
{
	struct told told = {
		.json = opt->json, .quiet = opt->quiet && !opt->json,
		.dry_run = opt->dry_run,
	};
	struct sum sum = {
		.repair = { .write = opt->repair, .say = tell, .arg = &told },
		.dry_run = opt->dry_run,
	};
	struct verb_options with = *opt;
	struct chain chain;
	int r = CHECK_FAILED;

	if (opt->json) {
		told.list = json_object_new_array();
		told.done = json_object_new_array();
	}
	check_undo_resume(opt);
	with.heads = &sum.repair;
	if (chain_open(&chain, opt->args[0], &with, CHAIN_SOFT | CHAIN_LOCK |
		       (opt->repair ? CHAIN_WRITE : 0))) {
		r = check(&chain, &told, &sum);
		chain_close(&chain);
	}
	json_object_put(told.list);
	json_object_put(told.done);
	return r;
}

/* Leaks may be given back where nothing else is wrong; else nothing is done. */
static bool has_leaks_only(const struct verb_options *opt)
{
	struct verb_options look = *opt;

	look.repair = look.json = look.dry_run = false;
	look.quiet = true;
	return check_image(&look) == CHECK_LEAKS;
}

int cmd_check(const struct verb_options *opt)
{
	struct verb_options with = *opt;
	const char *wrong = wrong_options(opt);

	if (wrong) {
		out_error(opt->args[0], "%s", wrong);
		return CHECK_FAILED;
	}
	if (opt->undo)
		return check_undo_apply(opt) ? CHECK_CLEAN : CHECK_FAILED;
	if (opt->repair_leaks)
		with.repair = has_leaks_only(opt);
	return check_image(&with);
}
