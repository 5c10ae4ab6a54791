/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs of the tool, one a file, and what the command line told them. */
#ifndef _VDISK_VERBS_H
#define _VDISK_VERBS_H

#include "../formats/format.h"

enum verb_exit {
	VERB_OK = 0,
	VERB_FAILED = 1,
	VERB_USAGE = 2,
	VERB_SICK = 3,		/* status: the device's health is not ok */
};

/* Options that the target looks at: how files grow, what a full one does. */
#define VERB_SPACE 3
extern const char *const verb_space[VERB_SPACE];

struct verb_options {
	bool json;
	bool read_only;
	bool device_locks;	/* the device holds the image's locks: take none */
	bool force_share;		/* do not look at locks */
	bool shrink;			/* data may be lost */
	bool repair;
	bool no_undo;
	const char *undo_file;		/* where a repair makes it, or NULL */
	const char *undo;		/* put back what this one has */
	bool repair_leaks;		/* nothing but lost space */
	struct repair *heads;		/* mends headers before an image is opened */
	bool salvage;			/* convert what can be read */
	bool unsafe;			/* rebase: change the name only */
	const struct vdisk_format *format;	/* -f, or NULL: probe */
	const char *format_option;	/* what says it, if it is not -f */
	const char *out_format;
	enum vdisk_size_rule size_rule;
	const char *size_name;		/* as given, or NULL */
	unsigned int commit_ms;
	bool commit_given;
	bool buffered;
	bool backing_chain;
	bool deferred;
	bool partitions;
	bool no_partitions;
	bool trusted;
	const char *space[VERB_SPACE];	/* as given, or NULL: see verb_space */
	const char **allow;		/* --allow-path */
	unsigned int nr_allow;
	char **make;			/* -o of a new image: KEY=VALUE each */
	unsigned int nr_make;
	bool make_help;			/* -o help */
	bool force;			/* replace what is there */
	bool dry_run;			/* change nothing */
	bool quiet;
	bool progress;
	bool no_headings;
	bool no_create;			/* convert: the output is there */
	bool compress;
	bool strict;			/* compare: sizes and holes, too */
	unsigned int threads;		/* 0 = not given */
	bool sparse_given;
	u64 sparse;			/* zeroes of this length make a hole */
	bool size_given;
	u64 size;			/* measure: of an empty disk */
	const char *parent;		/* -b */
	const char *parent_format;	/* -F */
	char **args;			/* what is no option */
	int nr_args;
};

int cmd_attach(const struct verb_options *opt);
int cmd_check(const struct verb_options *opt);
int cmd_commit(const struct verb_options *opt);
int cmd_compare(const struct verb_options *opt);
int cmd_convert(const struct verb_options *opt);
int cmd_create(const struct verb_options *opt);
int cmd_detach(const struct verb_options *opt);
int cmd_info(const struct verb_options *opt);
int cmd_list(const struct verb_options *opt);
int cmd_map(const struct verb_options *opt);
int cmd_measure(const struct verb_options *opt);
int cmd_probe(const struct verb_options *opt);
int cmd_rebase(const struct verb_options *opt);
int cmd_resize(const struct verb_options *opt);
int cmd_snapshot(const struct verb_options *opt);
int cmd_status(const struct verb_options *opt);
int cmd_table(const struct verb_options *opt);
/* What cmd_create() does, and @commit is how the files get their names. */
struct make;
int create_with(const struct verb_options *opt,
		bool (*commit)(struct make *make, void *arg), void *arg);
int cmd_why(const struct verb_options *opt);

#endif /* _VDISK_VERBS_H */
