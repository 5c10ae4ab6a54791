// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk: the table of verbs, and the only place that shows usage. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "options.h"
#include "out.h"
#include "signals.h"

#ifndef VDISK_VERSION
#define VDISK_VERSION "1.0.0"
#endif

#define SIZES \
	"SIZE is in bytes, or ends in k, M, G, T, P or E, as in 1.5G; KiB is k, and\n" \
	"KB is 1000 bytes. It is rounded up to a whole sector of 512 bytes"

static const struct verb verbs[] = {
	{ "probe", cmd_probe, 1, 1, "", "IMAGE",
	  "print the format of an image, or fail", NULL },
	{ "info", cmd_info, 1, 1, "jJfZaCU", "IMAGE",
	  "tell what the headers say", NULL },
	{ "map", cmd_map, 1, 1, "jJfZaU", "IMAGE",
	  "list what lies where, as qemu-img map does", NULL },
	{ "why", cmd_why, 2, 2, "jJfZa", "IMAGE|NAME SECTOR",
	  "show which table entries say what a sector is",
	  "NAME is an attached device. A file of the same name is meant first:\n"
	  "/dev/mapper/NAME is always the device.\n" },
	{ "check", cmd_check, 1, 1, "jJfZaRyIeiqU", "IMAGE",
	  "look for what is wrong with an image, and repair it",
	  "--repair alone is --repair=all; leaks gives lost space back, and changes\n"
	  "nothing else. Exit status: 0 clean, 1 could not check, 2 corrupt, 3 leaks only.\n" },
	{ "table", cmd_table, 1, 1, "rfoaU", "IMAGE",
	  "print the device-mapper table line, for dmsetup create", NULL },
	{ "attach", cmd_attach, 1, 2, "rfoaUPNwTy", "[NAME] IMAGE",
	  "make the image the block device /dev/mapper/NAME",
	  "Without NAME the device is called like the file, without the ending; if there\n"
	  "is such a device, with a number added. Its path is printed in any case.\n" },
	{ "detach", cmd_detach, 1, 1, "D", "NAME",
	  "remove the device, and those of its partitions", NULL },
	{ "status", cmd_status, 1, 1, "jJ", "NAME",
	  "tell how an attached device does",
	  "Exit status: 0 healthy, 1 could not tell, 3 not healthy.\n" },
	{ "list", cmd_list, 0, 1, "jJH", "[FILE]",
	  "list attached images, or the devices that use a file", NULL },
	{ "create", cmd_create, 1, 2, "gmbFaUxqy", "IMAGE [SIZE]",
	  "make an empty image, or a child of another one",
	  SIZES "; with -b it is\n"
	  "the parent's unless given. -f FORMAT -o help lists options.\n" },
	{ "convert", cmd_convert, 2, 2, "fOZmaUxncMWSApqy", "IMAGE OUTPUT",
	  "copy the disk into a new image of any format",
	  "With -n the output is there already: a block device, or an image of the format\n"
	  "-O that is at least as long. -O FORMAT -o help lists options of a new image.\n" },
	{ "compare", cmd_compare, 2, 2, "fGjJatpqU", "IMAGE IMAGE2",
	  "tell whether two disks hold the same",
	  "Behind the end of the shorter disk the other has to be zero. Exit status: 0 the\n"
	  "same, 1 not, 2 an image cannot be opened, 3 or 4 cannot be read.\n" },
	{ "measure", cmd_measure, 0, 1, "jJfOmzaU", "[IMAGE]",
	  "tell how long the files of a new image would be",
	  "Of a copy of IMAGE, or of an empty disk with --size. What shrinks by being\n"
	  "compressed is counted as if it did not.\n" },
	{ "resize", cmd_resize, 2, 2, "sfaUqy", "IMAGE|NAME SIZE",
	  "make the disk longer or shorter",
	  SIZES ";\n"
	  "+SIZE and -SIZE are added to what it is.\n" },
	{ "rebase", cmd_rebase, 1, 1, "bFufaUpqy", "IMAGE|NAME",
	  "give the image another parent, and let it read the same",
	  "-b \"\" takes the parent away.\n" },
	{ "snapshot", cmd_snapshot, 2, 2, "fQmaUxqy", "IMAGE|NAME CHILD",
	  "make an empty child on top of the image",
	  "-o help lists options of the child.\n" },
	{ "commit", cmd_commit, 1, 1, "faUpqy", "CHILD|NAME",
	  "put what the child holds into its parent",
	  "The child reads as before, and is not needed any more; a device goes on\n"
	  "with the parent.\n" },
	{ NULL },
};

static void show_formats(void)
{
	unsigned int i;

	printf("\nFormats:");
	for (i = 0; vdisk_formats[i]; i++) {
		const struct vdisk_format *f = vdisk_formats[i];

		if (f->flags & VDISK_FORMAT_NO_FILE)
			continue;
		printf(" %s", f->name);
		if (f->alias)
			printf(" (%s)", f->alias);
	}
	printf("\n");
}

static int show_help(void)
{
	const struct verb *v;

	printf("Usage: vdisk VERB [OPTION]... [ARGUMENT]...\n\n");
	for (v = verbs; v->name; v++)
		printf("  %-9s%-19s%s\n", v->name, v->args, v->help);
	printf("\nvdisk VERB --help tells the options of a verb.\n");
	show_formats();
	return out_flush() ? VERB_OK : VERB_FAILED;
}

static int show_verb_help(const struct verb *v)
{
	printf("Usage: vdisk %s [OPTION]...%s%s\n\n%c%s.\n\n", v->name,
	       *v->args ? " " : "", v->args, *v->help - 'a' + 'A', v->help + 1);
	options_show(v);
	if (v->more)
		printf("\n%s", v->more);
	if (options_take(v, OPT_FORMAT) || options_take(v, OPT_NEW_FORMAT))
		show_formats();
	return out_flush() ? VERB_OK : VERB_FAILED;
}

/* A last argument like "-1G": a number, not an option. */
static bool ends_in_number(const struct verb *v, int argc, char **argv)
{
	const char *last = argv[argc - 1];

	return v->run == cmd_resize && argc > 2 && *last == '-' &&
	       last[1] >= '0' && last[1] <= '9';
}

static int run_verb(const struct verb *v, int argc, char **argv)
{
	/* qemu-img check's users read 2 as "corrupt". */
	int wrong = v->run == cmd_check ? VERB_FAILED : VERB_USAGE;
	int nr = argc - ends_in_number(v, argc, argv);
	struct verb_options opt = { 0 };
	bool help = false;
	int r;

	if (!options_parse(v, nr, argv, &opt, &help))
		return wrong;
	if (help)
		return show_verb_help(v);
	opt.args = argv + optind;
	opt.nr_args = argc - optind;
	if (!opt.make_help &&
	    (opt.nr_args < v->min_args || opt.nr_args > v->max_args)) {
		out_error(NULL, "Usage: vdisk %s [OPTION]...%s%s", v->name,
			  *v->args ? " " : "", v->args);
		return wrong;
	}
	r = v->run(&opt);
	free(opt.allow);
	free(opt.make);
	/* 1 of compare says that the disks differ, which is no failure. */
	if (v->run == cmd_compare && r <= VERB_FAILED)
		return out_flush() ? r : VERB_USAGE;
	if (!out_flush() && r == VERB_OK)
		r = VERB_FAILED;
	return r;
}

static const struct verb *find_verb(const char *name)
{
	const struct verb *v;

	for (v = verbs; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static int unknown_verb(const char *name)
{
	out_error(NULL, "Unknown verb: %s (see vdisk --help)", out_name(name));
	return VERB_USAGE;
}

/* vdisk help VERB */
static int help_on(const char *name)
{
	const struct verb *v = find_verb(name);

	return v ? show_verb_help(v) : unknown_verb(name);
}

int main(int argc, char **argv)
{
	const struct verb *v;
	const char *verb = argc > 1 ? argv[1] : "";

	signals_start();
	if (!strcmp(verb, "help") && argc > 2)
		return help_on(argv[2]);
	if (!strcmp(verb, "--help") || !strcmp(verb, "-h") ||
	    !strcmp(verb, "help"))
		return show_help();
	if (!strcmp(verb, "--version") || !strcmp(verb, "-V")) {
		printf("vdisk %s\n", VDISK_VERSION);
		return out_flush() ? VERB_OK : VERB_FAILED;
	}
	v = find_verb(verb);
	if (v)
		return run_verb(v, argc - 1, argv + 1);
	if (argc > 1)
		return unknown_verb(verb);
	out_error(NULL, "What to do? (see vdisk --help)");
	return VERB_USAGE;
}
