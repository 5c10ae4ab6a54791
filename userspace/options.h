/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of the command line: which verb takes which, and what they set. */
#ifndef _VDISK_OPTIONS_H
#define _VDISK_OPTIONS_H

#include "verbs.h"

/* Which option of the table in options.c: its place in struct verb, by a letter. */
enum {
	OPT_ALLOW = 'a',
	OPT_CHAIN = 'C',
	OPT_COMPRESS = 'c',
	OPT_DEBUG = 'd',
	OPT_DEFERRED = 'D',
	OPT_DRY_RUN = 'y',
	OPT_NO_CREATE = 'n',
	OPT_NO_HEADINGS = 'H',
	OPT_NO_PARTS = 'N',
	OPT_NO_UNDO = 'e',
	OPT_PARTS = 'P',
	OPT_PARENT = 'b',
	OPT_PARENT_FORMAT = 'F',
	OPT_SECOND_FORMAT = 'G',	/* compare: of the second image */
	OPT_FORCE = 'x',
	OPT_MAKE = 'm',			/* -o of an image that is made */
	OPT_FORMAT = 'f',
	OPT_NEW_FORMAT = 'g',		/* -f of one that is made */
	OPT_HELP = 'h',
	OPT_JSON = 'j',
	OPT_OUTPUT = 'O',
	OPT_OUTPUT_CHILD = 'Q',		/* snapshot: -O of the child */
	OPT_OPTION = 'o',		/* how the kernel is to use an image */
	OPT_SIZE_RULE = 'Z',		/* -o where only size= means something */
	OPT_OUT_OF_ORDER = 'W',
	OPT_PRINT = 'J',		/* --output=json, qemu-img's --json */
	OPT_PROGRESS = 'p',
	OPT_QUIET = 'q',
	OPT_READ_ONLY = 'r',
	OPT_REPAIR = 'R',
	OPT_SALVAGE = 'A',
	OPT_SHARE = 'U',
	OPT_SHOW = 'w',
	OPT_SHRINK = 's',
	OPT_SIZE = 'z',
	OPT_SPARSE = 'S',
	OPT_STRICT = 't',
	OPT_THREADS = 'M',
	OPT_TRUSTED = 'T',
	OPT_UNDO = 'i',
	OPT_UNDO_FILE = 'I',
	OPT_UNSAFE = 'u',
	OPT_VERBOSE = 'v',
};

struct verb {
	const char *name;
	int (*run)(const struct verb_options *opt);
	int min_args, max_args;
	const char *flags;	/* the options it takes, OPT_*, and ALL_TAKE */
	const char *args;
	const char *help;
	const char *more;	/* what only its own --help says, or NULL */
};

#define ALL_TAKE "dvh"

bool options_take(const struct verb *v, int key);

/* A line of --help for each. */
void options_show(const struct verb *v);

/*
 * Sets @opt from what argv says, up to optind. False after saying what is wrong.
 * *@help: it was asked for, and nothing else counts.
 */
bool options_parse(const struct verb *v, int argc, char **argv,
		   struct verb_options *opt, bool *help);

#endif /* _VDISK_OPTIONS_H */
