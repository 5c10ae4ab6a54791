/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between chain.c, which opens and stacks, and chain_*.c, which know how a kind
 * of image says what else belongs to it. Functions return 0 or a negative errno
 * with chain->why.
 */
#ifndef _VDISK_CHAIN_IN_H
#define _VDISK_CHAIN_IN_H

#include "../formats/probe.h"
#include "chain.h"

/* Takes @why over; returns @err. */
int chain_fail(struct chain *chain, int err, char *why);
/* The same, with what reach_*() or an image's function said. */
int chain_fail_reach(struct chain *chain, int err);
int chain_fail_fault(struct chain *chain, int err);
/* "NAME: " goes before what was said last. */
int chain_fail_in(struct chain *chain, int err, const char *name);

/* A layer below those there are, for parts to be added; newest is the last. */
struct chain_layer *chain_new_layer(struct chain *chain, const char *path,
				    const char *format);
struct chain_layer *chain_newest(struct chain *chain);
void chain_drop_layer(struct chain *chain);

/* @file is used up in any case. */
int chain_add_part(struct chain *chain, struct reach_file *file,
		   const struct vdisk_format *format,
		   const struct vdisk_image_opts *opts);
/* A part without a file: "zero" or "error". */
int chain_add_hole(struct chain *chain, const char *format, u64 sectors);

/*
 * A file that is one layer or brings several, of @format or of what it looks
 * like. @file is used up in any case.
 */
int chain_add_file(struct chain *chain, struct reach_file *file,
		   const struct vdisk_format *format, bool write);

/* Lock a file that is no part, as chain_add_part() locks those. */
int chain_lock(struct chain *chain, int fd, bool write);

/*
 * What a file is: of @format, if that is not NULL, or of what both its ends
 * say. Either of a kind that opens it, or of a format, or @why it is not known
 * (to be freed): the only place where a guess is made. @option is the one by which
 * the user says the format; NULL for a parent, whose child says it.
 */
struct chain_kind;

struct chain_probe {
	const struct chain_kind *kind;
	const struct vdisk_format *format;
	char *why;
};

void chain_probe(struct chain_probe *probe, const struct reach_file *file,
		 const struct vdisk_format *format, const char *option);

/* Does either end of the file say that it is of @format? */
bool chain_claimed(const struct reach_file *file,
		   const struct vdisk_format *format);

/* What a layer's image calls its parent, in the order to be tried. */
#define CHAIN_MAX_NAMES 6

struct chain_names {
	char *name[CHAIN_MAX_NAMES];
	unsigned int nr;
};

/*
 * The ways to read a name that another system may have written: as it is, with
 * Windows' separators, and the file of that name beside the one that says it: of
 * an absolute name, or of any that is a @parent's.
 */
void chain_spell(struct chain_names *names, const char *name, bool parent);

/* Open what the file at @from calls @name, in the first way that works. */
int chain_find(struct chain *chain, const char *from, const char *name,
	       bool write, struct reach_file *file);

/*
 * A file that is a part of a disk, opened without what says so: -EROFS or
 * -EINVAL unless the chain is opened in a way where that does no harm. @what,
 * which is used up, says what is missing.
 */
int chain_alone(struct chain *chain, bool write, char *what);

/* The same, if @file is an extent without its descriptor, or a bundle's image. */
int chain_vmdk_alone(struct chain *chain, const struct reach_file *file,
		     const struct vdisk_format *format, bool write);
int chain_bundle_alone(struct chain *chain, const struct reach_file *file,
		       bool write);

/*
 * How an image of several files is found and opened.
 *
 * claims()	is it of this kind though no byte of it says so? Optional.
 * takes()	is it of this kind because of the bytes that make this claim?
 *		Optional.
 * open()	as chain_add_file(), of what was claimed. With claims or takes.
 * names()	what the layer calls its parent: 1 if it has one, 0 if not.
 *		Optional.
 * parent()	one of these names was opened: add it, or -ESTALE if it is not
 *		the file the layer @child (an index) means. @file is used up in
 *		any case. With names.
 * spell()	the names that names() would give if a new image called its
 *		parent @name. Optional: just that.
 */
struct chain_kind {
	const char *format;	/* of the layers; as a user calls it */
	bool (*claims)(const struct reach_file *file);
	bool (*takes)(const struct vdisk_claim *claim);
	int (*open)(struct chain *chain, struct reach_file *file, bool write);
	int (*names)(struct chain *chain, const struct chain_layer *layer,
		     struct chain_names *names);
	int (*parent)(struct chain *chain, struct reach_file *file,
		      unsigned int child);
	void (*spell)(const char *name, struct chain_names *names);
};

extern const struct chain_kind *const chain_kinds[];	/* ended by NULL */
extern const struct chain_kind chain_vhd;
extern const struct chain_kind chain_vmdk;
extern const struct chain_kind chain_qed;
extern const struct chain_kind chain_bundle;

#endif /* _VDISK_CHAIN_IN_H */
