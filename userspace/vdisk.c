// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk: the table of verbs, the options, and the only place that shows usage. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "out.h"
#include "signals.h"
#include "verbs.h"

#ifndef VDISK_VERSION
#define VDISK_VERSION "1.0.0"
#endif

enum {
	OPT_ALLOW = 'a',
	OPT_CHAIN = 'C',
	OPT_DEFERRED = 'D',
	OPT_NO_PARTS = 'N',
	OPT_PARTS = 'P',
	OPT_PARENT = 'b',
	OPT_PARENT_FORMAT = 'F',
	OPT_FORCE = 'x',
	OPT_MAKE = 'm',		/* no option: -o is told of the image made */
	OPT_FORMAT = 'f',
	OPT_HELP = 'h',
	OPT_JSON = 'j',
	OPT_OPTION = 'o',
	OPT_OUTPUT = 'O',
	OPT_READ_ONLY = 'r',
	OPT_REPAIR = 'R',
	OPT_SHARE = 'U',
	OPT_SHRINK = 's',
	OPT_UNSAFE = 'u',
};

struct verb {
	const char *name;
	int (*run)(const struct verb_options *opt);
	int min_args, max_args;
	const char *flags;	/* the options it takes, OPT_*, besides --help */
	const char *args;
	const char *help;
	const char *more;	/* what only its own --help says, or NULL */
};

static const struct verb verbs[] = {
	{ "probe", cmd_probe, 1, 1, "", "IMAGE",
	  "print the format of an image, or fail", NULL },
	{ "info", cmd_info, 1, 1, "jfoaC", "IMAGE",
	  "tell what the headers say", NULL },
	{ "map", cmd_map, 1, 1, "jfoa", "IMAGE",
	  "list what lies where, as qemu-img map does", NULL },
	{ "why", cmd_why, 2, 2, "jfoa", "IMAGE|NAME SECTOR",
	  "show which table entries say what a sector is",
	  "NAME is an attached device. A file of the same name is meant first:\n"
	  "/dev/mapper/NAME is always the device.\n" },
	{ "check", cmd_check, 1, 1, "jfoRU", "IMAGE",
	  "look for what is wrong with an image, and repair it",
	  "Exit status: 0 clean, 1 could not check, 2 corrupt, 3 leaks only.\n" },
	{ "table", cmd_table, 1, 1, "rfoaU", "IMAGE",
	  "print the device-mapper table line, for dmsetup create", NULL },
	{ "attach", cmd_attach, 2, 2, "rfoaUPN", "NAME IMAGE",
	  "make the image the block device /dev/mapper/NAME", NULL },
	{ "detach", cmd_detach, 1, 1, "D", "NAME",
	  "remove the device, and those of its partitions", NULL },
	{ "status", cmd_status, 1, 1, "j", "NAME",
	  "tell how an attached device does",
	  "Exit status: 0 healthy, 1 could not tell, 3 not healthy.\n" },
	{ "list", cmd_list, 0, 0, "j", "",
	  "list attached images", NULL },
	{ "create", cmd_create, 1, 2, "fmbFaUx", "IMAGE [SIZE]",
	  "make an empty image, or a child of another one",
	  "SIZE is in bytes, or ends in k, M, G, T, P or E; with -b it is the\n"
	  "parent's unless given. -f FORMAT -o help lists options.\n" },
	{ "convert", cmd_convert, 2, 2, "fOomaUx", "IMAGE OUTPUT",
	  "copy the disk into a new image of any format",
	  "-O FORMAT -o help lists options of the new image.\n" },
	{ "resize", cmd_resize, 2, 2, "sfaU", "IMAGE|NAME SIZE",
	  "make the disk longer or shorter",
	  "SIZE is in bytes, or ends in k, M, G, T, P or E; +SIZE and -SIZE are added to\n"
	  "what it is.\n" },
	{ "rebase", cmd_rebase, 1, 1, "bFufaU", "IMAGE|NAME",
	  "give the image another parent, and let it read the same",
	  "-b \"\" takes the parent away.\n" },
	{ "snapshot", cmd_snapshot, 2, 2, "fOmaUx", "IMAGE|NAME CHILD",
	  "make an empty child on top of the image", NULL },
	{ "commit", cmd_commit, 1, 1, "faU", "CHILD|NAME",
	  "put what the child holds into its parent",
	  "The child reads as before, and is not needed any more; a device goes on\n"
	  "with the parent.\n" },
	{ NULL },
};

static const struct {
	int flag;
	const char *usage, *help;
} flag_help[] = {
	{ OPT_JSON, "--json", "print JSON" },
	{ OPT_READ_ONLY, "-r, --read-only", "allow no writes" },
	{ OPT_REPAIR, "--repair", "put right what can be, say each thing done" },
	{ OPT_PARTS, "-P, --partitions",
	  "make devices of its partitions, too (by kpartx)" },
	{ OPT_NO_PARTS, "--no-partitions", "not even if udev's rules would" },
	{ OPT_DEFERRED, "--deferred", "if it is in use, remove it after that" },
	{ OPT_CHAIN, "--backing-chain", "the same of all its parents" },
	{ OPT_FORMAT, "-f, --format FORMAT", "do not guess the format" },
	{ OPT_OUTPUT, "-O, --output-format FORMAT", "of the copy; default: raw" },
	{ OPT_OPTION, "-o, --options KEY=VALUE,...",
	  "size=auto|chs|current (VHD), commit=MS, buffered,\n"
	  "                              prealloc_size=SECTORS,\n"
	  "                              prealloc_mode=truncate|falloc,\n"
	  "                              enospc=error|queue" },
	{ OPT_MAKE, "-o, --options KEY=VALUE,...", "options of the new image" },
	{ OPT_PARENT, "-b, --backing FILE",
	  "the parent, as the image will name it" },
	{ OPT_PARENT_FORMAT, "-F, --backing-format FORMAT", "of the parent" },
	{ OPT_FORCE, "--force", "replace a file that is there" },
	{ OPT_ALLOW, "--allow-path PATH",
	  "the image may refer to this file, or to what is beneath it" },
	{ OPT_SHARE, "-U, --force-share", "use the image though others do" },
	{ OPT_SHRINK, "--shrink", "give up data behind the new end" },
	{ OPT_UNSAFE, "-u, --unsafe", "change the parent's name only" },
	{ OPT_HELP, "-h, --help", "show this" },
};

static const struct option long_options[] = {
	{ "allow-path", required_argument, NULL, OPT_ALLOW },
	{ "backing-chain", no_argument, NULL, OPT_CHAIN },
	{ "deferred", no_argument, NULL, OPT_DEFERRED },
	{ "backing", required_argument, NULL, OPT_PARENT },
	{ "backing-format", required_argument, NULL, OPT_PARENT_FORMAT },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "force-share", no_argument, NULL, OPT_SHARE },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "no-partitions", no_argument, NULL, OPT_NO_PARTS },
	{ "options", required_argument, NULL, OPT_OPTION },
	{ "output-format", required_argument, NULL, OPT_OUTPUT },
	{ "partitions", no_argument, NULL, OPT_PARTS },
	{ "read-only", no_argument, NULL, OPT_READ_ONLY },
	{ "shrink", no_argument, NULL, OPT_SHRINK },
	{ "repair", no_argument, NULL, OPT_REPAIR },
	{ "unsafe", no_argument, NULL, OPT_UNSAFE },
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
	unsigned int i;

	printf("Usage: vdisk %s [OPTION]...%s%s\n\n%c%s.\n\n", v->name,
	       *v->args ? " " : "", v->args, *v->help - 'a' + 'A', v->help + 1);
	for (i = 0; i < sizeof(flag_help) / sizeof(flag_help[0]); i++)
		if (flag_help[i].flag == OPT_HELP ||
		    strchr(v->flags, flag_help[i].flag))
			printf("  %-28s%s\n", flag_help[i].usage,
			       flag_help[i].help);
	if (v->more)
		printf("\n%s", v->more);
	if (strchr(v->flags, OPT_FORMAT))
		show_formats();
	return out_flush() ? VERB_OK : VERB_FAILED;
}

static bool set_format(struct verb_options *opt, const char *name)
{
	opt->format = vdisk_format_find(name);
	if (opt->format && !(opt->format->flags & VDISK_FORMAT_NO_FILE))
		return true;
	out_error(NULL, "Unknown format: %s", out_name(name));
	return false;
}

static bool set_number(const char *key, const char *text, unsigned int most,
		       unsigned int *to)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = text ? strtoul(text, &end, 10) : 0;
	if (!text || *text < '0' || *text > '9' || *end || errno || v > most) {
		out_error(NULL, "Option %s is not a number up to %u: %s", key,
			  most, out_name(text ? text : ""));
		return false;
	}
	*to = (unsigned int)v;
	return true;
}

static bool set_size_rule(struct verb_options *opt, const char *text)
{
	static const char *const names[] = {
		[VDISK_SIZE_AUTO] = "auto",
		[VDISK_SIZE_CURRENT] = "current",
		[VDISK_SIZE_CHS] = "chs",
	};
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!text || strcmp(text, names[i]))
			continue;
		opt->size_rule = (enum vdisk_size_rule)i;
		opt->size_name = i == VDISK_SIZE_AUTO ? NULL : names[i];
		return true;
	}
	out_error(NULL, "Option size is auto, chs or current, not: %s",
		  out_name(text ? text : ""));
	return false;
}

const char *const verb_space[VERB_SPACE] = {
	"prealloc_size", "prealloc_mode", "enospc",
};

/* What the value means the target knows; here it must be one word. */
static bool set_space(struct verb_options *opt, const char *key,
		      const char *value)
{
	unsigned int i;

	for (i = 0; i < VERB_SPACE; i++) {
		if (strcmp(key, verb_space[i]) || !value || !*value ||
		    value[strspn(value, "0123456789abcdefghijklmnopqrstuvwxyz")])
			continue;
		opt->space[i] = value;
		return true;
	}
	return false;
}

static void add_make_option(struct verb_options *opt, char *word)
{
	opt->make_help |= !strcmp(word, "help");
	opt->make = out_grow(opt->make, opt->nr_make + 1, sizeof(*opt->make));
	opt->make[opt->nr_make++] = word;
}

/* Is it an option of how an image is read? */
static bool is_reading_option(const char *word)
{
	static const char *const keys[] = {
		"size", "commit", "buffered", "prealloc_size", "prealloc_mode",
		"enospc",
	};
	const size_t len = strcspn(word, "=");
	unsigned int i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strlen(keys[i]) == len && !memcmp(keys[i], word, len))
			return true;
	return false;
}

/* -o KEY=VALUE,...: cuts @list up. */
static bool set_options(struct verb_options *opt, const struct verb *v,
			char *list)
{
	char *key, *value;

	while ((key = strsep(&list, ","))) {
		if (strchr(v->flags, OPT_MAKE) &&
		    !(strchr(v->flags, OPT_OPTION) && is_reading_option(key))) {
			add_make_option(opt, key);
			continue;
		}
		value = strchr(key, '=');
		if (value)
			*value++ = 0;
		if (!strcmp(key, "size")) {
			if (!set_size_rule(opt, value))
				return false;
		} else if (!strcmp(key, "commit")) {
			if (!set_number(key, value, 3600000, &opt->commit_ms))
				return false;
			opt->commit_given = true;
		} else if (!strcmp(key, "buffered") && !value) {
			opt->buffered = true;
		} else if (!set_space(opt, key, value)) {
			out_error(NULL, "Unknown option: %s", out_name(key));
			return false;
		}
	}
	return true;
}

/* Every option has a long name; some have no other. */
static const char *long_name(int c)
{
	const struct option *o = long_options;

	while (o->name && o->val != c)
		o++;
	return o->name;
}

/* 0 go on, 1 help is wanted, -1 it was wrong */
static int set_flag(struct verb_options *opt, const struct verb *v, int c)
{
	if (c == OPT_HELP)
		return 1;
	if (c == '?' || c == ':')
		return -1;
	if (!strchr(v->flags, c) &&
	    !(c == OPT_OPTION && strchr(v->flags, OPT_MAKE))) {
		out_error(NULL, "%s does not take the option --%s", v->name,
			  long_name(c));
		return -1;
	}
	switch (c) {
	case OPT_JSON:
		opt->json = true;
		break;
	case OPT_READ_ONLY:
		opt->read_only = true;
		break;
	case OPT_REPAIR:
		opt->repair = true;
		break;
	case OPT_SHARE:
		opt->force_share = true;
		break;
	case OPT_CHAIN:
		opt->backing_chain = true;
		break;
	case OPT_DEFERRED:
		opt->deferred = true;
		break;
	case OPT_PARTS:
		opt->partitions = true;
		break;
	case OPT_NO_PARTS:
		opt->no_partitions = true;
		break;
	case OPT_FORCE:
		opt->force = true;
		break;
	case OPT_PARENT:
		opt->parent = optarg;
		break;
	case OPT_PARENT_FORMAT:
		opt->parent_format = optarg;
		break;
	case OPT_UNSAFE:
		opt->unsafe = true;
		break;
	case OPT_SHRINK:
		opt->shrink = true;
		break;
	case OPT_FORMAT:
		return set_format(opt, optarg) ? 0 : -1;
	case OPT_OUTPUT:
		opt->out_format = optarg;
		break;
	case OPT_OPTION:
		return set_options(opt, v, optarg) ? 0 : -1;
	case OPT_ALLOW:
		opt->allow = out_grow(opt->allow, opt->nr_allow + 1,
				      sizeof(*opt->allow));
		opt->allow[opt->nr_allow++] = optarg;
		break;
	}
	return 0;
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
	int c, r;

	while ((c = getopt_long(nr, argv, "b:f:F:hjo:O:PruU", long_options,
				NULL)) != -1) {
		r = set_flag(&opt, v, c);
		if (r > 0)
			return show_verb_help(v);
		if (r < 0)
			return wrong;
	}
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
	if (!out_flush() && r == VERB_OK)
		r = VERB_FAILED;
	return r;
}

int main(int argc, char **argv)
{
	static char name[] = "vdisk";
	const struct verb *v;
	const char *verb = argc > 1 ? argv[1] : "";

	signals_start();
	if (!strcmp(verb, "--help") || !strcmp(verb, "-h") ||
	    !strcmp(verb, "help"))
		return show_help();
	if (!strcmp(verb, "--version") || !strcmp(verb, "-V")) {
		printf("vdisk %s\n", VDISK_VERSION);
		return out_flush() ? VERB_OK : VERB_FAILED;
	}
	for (v = verbs; v->name; v++) {
		if (strcmp(v->name, verb))
			continue;
		argv[1] = name;		/* getopt's messages begin with it */
		return run_verb(v, argc - 1, argv + 1);
	}
	if (argc > 1)
		out_error(NULL, "Unknown verb: %s (see vdisk --help)",
			  out_name(verb));
	else
		out_error(NULL, "What to do? (see vdisk --help)");
	return VERB_USAGE;
}
