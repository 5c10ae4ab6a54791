// SPDX-License-Identifier: GPL-2.0-or-later
/* The options of the command line: one table of all, each verb has some. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "make.h"
#include "options.h"
#include "out.h"
#include "progress.h"

/* No value, one behind '=' only (the letter needs one), one in any case. */
enum value { NONE, MAYBE, VALUE };

static const struct verb_option {
	int key;
	char letter;		/* 0: it has none */
	const char *name;
	enum value value;
	const char *what;	/* what --help calls the value */
	const char *help;
} options[] = {
	{ OPT_JSON, 'j', "json", NONE, "", "print JSON" },
	{ OPT_PRINT, 0, "output", VALUE, " json|human", "the same: print JSON, or not" },
	{ OPT_NO_HEADINGS, 0, "noheadings", NONE, "", "print no headings" },
	{ OPT_READ_ONLY, 'r', "read-only", NONE, "", "allow no writes" },
	{ OPT_REPAIR, 'r', "repair", MAYBE, "[=leaks|all]",
	  "put right what can be, say each thing done" },
	{ OPT_UNDO_FILE, 0, "undo-file", VALUE, " FILE",
	  "where --repair puts the old bytes before it\n"
	  "                              changes any; default: IMAGE.vdisk-undo" },
	{ OPT_NO_UNDO, 0, "no-undo", NONE, "", "repair without such a file" },
	{ OPT_UNDO, 0, "undo", VALUE, " FILE",
	  "put the old bytes back into the image" },
	{ OPT_PARTS, 'P', "partitions", NONE, "",
	  "make devices of its partitions, too (by kpartx)" },
	{ OPT_NO_PARTS, 0, "no-partitions", NONE, "",
	  "not even if udev's rules would" },
	{ OPT_TRUSTED, 0, "trusted", NONE, "",
	  "its contents may be used like those of this machine's disks" },
	{ OPT_SHOW, 0, "show", NONE, "",
	  "print the device, which is done in any case" },
	{ OPT_DEFERRED, 0, "deferred", NONE, "",
	  "if it is in use, remove it after that" },
	{ OPT_CHAIN, 0, "backing-chain", NONE, "", "the same of all its parents" },
	{ OPT_FORMAT, 'f', "format", VALUE, " FORMAT",
	  "of the image: do not guess it" },
	{ OPT_NEW_FORMAT, 'f', "format", VALUE, " FORMAT",
	  "of the new image; must be given" },
	{ OPT_SECOND_FORMAT, 'F', "second-format", VALUE, " FORMAT",
	  "of the second image: do not guess it" },
	{ OPT_OUTPUT, 'O', "output-format", VALUE, " FORMAT",
	  "of the new image; default: raw" },
	{ OPT_OUTPUT_CHILD, 'O', "output-format", VALUE, " FORMAT",
	  "of the child; default: the image's, or qed where\n"
	  "                              the image's cannot have a parent" },
	{ OPT_OPTION, 'o', "options", VALUE, " KEY=VALUE,...",
	  "size=auto|chs|current (VHD), commit=MS, buffered,\n"
	  "                              prealloc_size=SECTORS,\n"
	  "                              prealloc_mode=truncate|falloc,\n"
	  "                              enospc=error|queue" },
	{ OPT_SIZE_RULE, 'o', "options", VALUE, " KEY=VALUE,...",
	  "size=auto|chs|current: which size of a VHD counts" },
	{ OPT_MAKE, 'o', "options", VALUE, " KEY=VALUE,...",
	  "options of the new image" },
	{ OPT_PARENT, 'b', "backing", VALUE, " FILE",
	  "the parent, as the image will name it" },
	{ OPT_PARENT_FORMAT, 'F', "backing-format", VALUE, " FORMAT",
	  "of the parent" },
	{ OPT_NO_CREATE, 'n', "no-create", NONE, "",
	  "write into an output that is there" },
	{ OPT_COMPRESS, 'c', "compress", NONE, "",
	  "the same as -o subformat=streamOptimized (VMDK)" },
	{ OPT_THREADS, 'm', "parallel", VALUE, " N",
	  "compress with N threads, 1 to 16; default: one\n"
	  "                              for each processor, up to 4" },
	{ OPT_OUT_OF_ORDER, 'W', "out-of-order", NONE, "",
	  "allow writes in any order; there are none" },
	{ OPT_SPARSE, 'S', "sparse-size", VALUE, " SIZE",
	  "zeroes shorter than this take place, too;\n"
	  "                              0: all of them; default: 4k" },
	{ OPT_STRICT, 's', "strict", NONE, "",
	  "sizes, and what takes place, must be the same" },
	{ OPT_SIZE, 0, "size", VALUE, " SIZE", "of an empty disk" },
	{ OPT_FORCE, 0, "force", NONE, "", "replace a file that is there" },
	{ OPT_ALLOW, 0, "allow-path", VALUE, " PATH",
	  "the image may refer to this file, or to what is beneath it" },
	{ OPT_SALVAGE, 0, "salvage", NONE, "",
	  "go on where it cannot be read: zeroes, and exit status 1" },
	{ OPT_SHARE, 'U', "force-share", NONE, "",
	  "use the image though others do" },
	{ OPT_SHRINK, 0, "shrink", NONE, "", "give up data behind the new end" },
	{ OPT_UNSAFE, 'u', "unsafe", NONE, "", "change the parent's name only" },
	{ OPT_DRY_RUN, 0, "dry-run", NONE, "",
	  "look whether it can be done, and change nothing" },
	{ OPT_PROGRESS, 'p', "progress", NONE, "", "show progress" },
	{ OPT_QUIET, 'q', "quiet", NONE, "", "print nothing but errors" },
	{ OPT_VERBOSE, 'v', "verbose", NONE, "",
	  "tell which files, formats and tables are used" },
	{ OPT_DEBUG, 0, "debug", NONE, "",
	  "the same, and which names and locks are tried" },
	{ OPT_HELP, 'h', "help", NONE, "", "show this" },
};

#define NR_OPTIONS (sizeof(options) / sizeof(options[0]))

bool options_take(const struct verb *v, int key)
{
	return strchr(v->flags, key) || strchr(ALL_TAKE, key);
}

static void show_option(const struct verb_option *o)
{
	char letter[] = { '-', o->letter, ',', ' ', 0 };
	char *usage = out_text("%s--%s%s", o->letter ? letter : "", o->name,
			       o->what);

	printf("  %-28s%s\n", usage, o->help);
	free(usage);
}

void options_show(const struct verb *v)
{
	unsigned int i;

	for (i = 0; i < NR_OPTIONS; i++)
		if (options_take(v, options[i].key))
			show_option(&options[i]);
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

/* What the target is told of an image; most of it needs a device. */
static const char *const reading_keys[] = {
	"size", "commit", "buffered", "prealloc_size", "prealloc_mode",
	"enospc",
};

static bool is_reading_option(const char *word)
{
	const size_t len = strcspn(word, "=");
	unsigned int i;

	for (i = 0; i < sizeof(reading_keys) / sizeof(reading_keys[0]); i++)
		if (strlen(reading_keys[i]) == len &&
		    !memcmp(reading_keys[i], word, len))
			return true;
	return false;
}

static bool set_reading_option(struct verb_options *opt, const struct verb *v,
			       char *key)
{
	char *value = strchr(key, '=');

	if (value)
		*value++ = 0;
	if (!strcmp(key, "size"))
		return set_size_rule(opt, value);
	if (!options_take(v, OPT_OPTION) && is_reading_option(key)) {
		out_error(NULL, "%s has no use for the option %s", v->name, key);
		return false;
	}
	if (!strcmp(key, "commit")) {
		opt->commit_given = true;
		return set_number(key, value, 3600000, &opt->commit_ms);
	}
	if (!strcmp(key, "buffered") && !value) {
		opt->buffered = true;
		return true;
	}
	if (set_space(opt, key, value))
		return true;
	out_error(NULL, "Unknown option: %s", out_name(key));
	return false;
}

/* -o KEY=VALUE,...: cuts @list up. */
static bool set_options(struct verb_options *opt, const struct verb *v,
			char *list)
{
	bool reads = options_take(v, OPT_OPTION) || options_take(v, OPT_SIZE_RULE);
	char *key;

	while ((key = strsep(&list, ","))) {
		if (options_take(v, OPT_MAKE) && !(reads && is_reading_option(key)))
			add_make_option(opt, key);
		else if (!set_reading_option(opt, v, key))
			return false;
	}
	return true;
}

/* Of two that are said both ways the last one counts. */
static bool set_word(const struct verb_option *o, const char *yes,
		     const char *no, bool *to)
{
	*to = !strcmp(optarg, yes);
	if (*to || !strcmp(optarg, no))
		return true;
	out_error(NULL, "Option --%s is %s or %s, not: %s", o->name, yes, no,
		  out_name(optarg));
	return false;
}

static bool set_size(const struct verb_option *o, u64 *bytes)
{
	if (make_parse_size(optarg, bytes))
		return true;
	out_error(NULL, "Option --%s takes a size, as 10M, not: %s", o->name,
		  out_name(optarg));
	return false;
}

static bool set_threads(struct verb_options *opt)
{
	if (!set_number("--parallel", optarg, 16, &opt->threads))
		return false;
	if (opt->threads)
		return true;
	out_error(NULL, "Option --parallel is a number from 1 to 16, not: 0");
	return false;
}

/* Those that are there or not. */
static bool *switch_of(struct verb_options *opt, int key)
{
	switch (key) {
	case OPT_JSON:
		return &opt->json;
	case OPT_READ_ONLY:
		return &opt->read_only;
	case OPT_SHARE:
		return &opt->force_share;
	case OPT_CHAIN:
		return &opt->backing_chain;
	case OPT_COMPRESS:
		return &opt->compress;
	case OPT_DEFERRED:
		return &opt->deferred;
	case OPT_DRY_RUN:
		return &opt->dry_run;
	case OPT_NO_CREATE:
		return &opt->no_create;
	case OPT_NO_HEADINGS:
		return &opt->no_headings;
	case OPT_PARTS:
		return &opt->partitions;
	case OPT_NO_PARTS:
		return &opt->no_partitions;
	case OPT_TRUSTED:
		return &opt->trusted;
	case OPT_FORCE:
		return &opt->force;
	case OPT_PROGRESS:
		return &opt->progress;
	case OPT_QUIET:
		return &opt->quiet;
	case OPT_STRICT:
		return &opt->strict;
	case OPT_SALVAGE:
		return &opt->salvage;
	case OPT_UNSAFE:
		return &opt->unsafe;
	case OPT_SHRINK:
		return &opt->shrink;
	default:
		return NULL;
	}
}

static bool set_flag(struct verb_options *opt, const struct verb *v,
		     const struct verb_option *o)
{
	bool *on = switch_of(opt, o->key);

	if (on) {
		*on = true;
		return true;
	}
	switch (o->key) {
	case OPT_NO_UNDO:
		opt->no_undo = true;
		break;
	case OPT_UNDO:
		opt->undo = optarg;
		break;
	case OPT_UNDO_FILE:
		opt->undo_file = optarg;
		break;
	case OPT_REPAIR:
		opt->repair = true;
		opt->repair_leaks = false;
		return !optarg || set_word(o, "leaks", "all", &opt->repair_leaks);
	case OPT_PRINT:
		return set_word(o, "json", "human", &opt->json);
	case OPT_PARENT:
		opt->parent = optarg;
		break;
	case OPT_PARENT_FORMAT:
	case OPT_SECOND_FORMAT:
		opt->parent_format = optarg;
		break;
	case OPT_FORMAT:
	case OPT_NEW_FORMAT:
		return set_format(opt, optarg);
	case OPT_OUTPUT:
	case OPT_OUTPUT_CHILD:
		opt->out_format = optarg;
		break;
	case OPT_OPTION:
	case OPT_SIZE_RULE:
	case OPT_MAKE:
		return set_options(opt, v, optarg);
	case OPT_SIZE:
		opt->size_given = true;
		return set_size(o, &opt->size);
	case OPT_SPARSE:
		opt->sparse_given = true;
		return set_size(o, &opt->sparse);
	case OPT_THREADS:
		return set_threads(opt);
	case OPT_ALLOW:
		opt->allow = out_grow(opt->allow, opt->nr_allow + 1,
				      sizeof(*opt->allow));
		opt->allow[opt->nr_allow++] = optarg;
		break;
	case OPT_VERBOSE:
		out_tell(OUT_VERBOSE);
		break;
	case OPT_DEBUG:
		out_tell(OUT_DEBUG);
		break;
	}
	return true;
}

/*-----------------------------------------------------------------
 * getopt_long() knows the options of the verb only, so that an abbreviation is
 * one of those. A long one is told by LONG + its place in the table.
 */

#define LONG 256

struct getopt {
	char letters[3 * NR_OPTIONS + 2];
	struct option longs[NR_OPTIONS + 1];
};

static void tell_getopt(const struct verb *v, struct getopt *g)
{
	static const int args[] = {
		[NONE] = no_argument, [MAYBE] = optional_argument,
		[VALUE] = required_argument,
	};
	char *letter = g->letters;
	struct option *l = g->longs;
	unsigned int i;

	*letter++ = ':';
	for (i = 0; i < NR_OPTIONS; i++) {
		const struct verb_option *o = &options[i];
		bool again = l > g->longs && !strcmp(l[-1].name, o->name);

		/* convert: two kinds of -o, told apart by their keys */
		if (!options_take(v, o->key) || again)
			continue;
		*l++ = (struct option){
			o->name, args[o->value], NULL, (int)(LONG + i),
		};
		if (!o->letter)
			continue;
		*letter++ = o->letter;
		if (o->value != NONE)
			*letter++ = ':';
	}
	*letter = 0;
	*l = (struct option){ NULL };
}

/* What getopt_long() returned, or NULL. */
static const struct verb_option *find_option(const struct verb *v, int c)
{
	unsigned int i;

	if (c >= LONG)
		return &options[c - LONG];
	for (i = 0; i < NR_OPTIONS; i++)
		if (options[i].letter == c && options_take(v, options[i].key))
			return &options[i];
	return NULL;
}

static bool is_known(const char *name, size_t len, char letter)
{
	unsigned int i;

	for (i = 0; i < NR_OPTIONS; i++)
		if (name ? strlen(options[i].name) == len &&
			   !memcmp(options[i].name, name, len) :
			   options[i].letter == letter)
			return true;
	return false;
}

/* How many options of the verb a word may stand for. */
static unsigned int count_meant(const struct getopt *g, const char *word,
				size_t len)
{
	const struct option *l;
	unsigned int nr = 0;

	for (l = g->longs; l->name; l++)
		nr += !strncmp(l->name, word, len);
	return nr;
}

/* Why getopt_long() returned @c, ':' or '?'. */
static void say_wrong(const struct verb *v, const struct getopt *g, int c,
		      const char *word)
{
	const struct verb_option *o = optopt ? find_option(v, optopt) : NULL;
	size_t len = strcspn(word, "=");
	const char *fault;
	char *said;

	if (optopt && optopt < LONG)
		said = out_text("-%c", optopt);
	else
		said = o ? out_text("--%s", o->name)
			 : out_text("%.*s", (int)len, word);
	if (o)
		fault = c == ':' ? "needs a value" : "takes no value";
	else if (!optopt && !is_known(word + 2, len - 2, 0) &&
		 count_meant(g, word + 2, len - 2) > 1)
		fault = "is short for several ones";
	else
		fault = NULL;
	if (fault)
		out_error(NULL, "Option %s %s (see vdisk %s --help)",
			  out_name(said), fault, v->name);
	else if (is_known(optopt ? NULL : word + 2, len - 2, (char)optopt))
		out_error(NULL, "%s does not take the option %s", v->name,
			  out_name(said));
	else
		out_error(NULL, "Unknown option: %s (see vdisk %s --help)",
			  out_name(said), v->name);
	free(said);
}

/* What the user wrote for the long option that getopt_long() found. */
static const char *word_of(char **argv)
{
	bool apart = optarg && optarg == argv[optind - 1];

	return argv[optind - 1 - apart];
}

/* A whole name is no abbreviation: --force is not --force-share. */
static bool is_anothers(const struct verb_option *o, const char *word)
{
	size_t len = strcspn(word + 2, "=");

	return strlen(o->name) != len && is_known(word + 2, len, 0);
}

bool options_parse(const struct verb *v, int argc, char **argv,
		   struct verb_options *opt, bool *help)
{
	const struct verb_option *o;
	struct getopt g;
	int c;

	tell_getopt(v, &g);
	opterr = 0;
	while ((c = getopt_long(argc, argv, g.letters, g.longs, NULL)) != -1) {
		o = c == '?' || c == ':' ? NULL : find_option(v, c);
		if (!o || (c >= LONG && is_anothers(o, word_of(argv)))) {
			optopt = o ? 0 : optopt;
			say_wrong(v, &g, c, o ? word_of(argv) : argv[optind - 1]);
			return false;
		}
		*help = o->key == OPT_HELP;
		if (*help)
			return true;
		if (!set_flag(opt, v, o))
			return false;
	}
	progress_wish(opt->quiet ? -1 : opt->progress);
	return true;
}
