/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the name of an image to the disk it stands for: all its files open, each
 * with its format, its place in a layer, and its locks.
 */
#ifndef _VDISK_CHAIN_H
#define _VDISK_CHAIN_H

#include "disk.h"
#include "descriptor.h"
#include "reach.h"
#include "verbs.h"

#define CHAIN_MAX_LAYERS 64

enum chain_flags {
	CHAIN_WRITE = 1 << 0,	/* the top layer's files are opened for writing */
	CHAIN_LOCK = 1 << 1,	/* refuse what others have locked */
	CHAIN_ALONE = 1 << 2,	/* do not look for parents */
	CHAIN_SOFT = 1 << 3,	/* a parent that cannot be had is no failure */
	CHAIN_PIECE = 1 << 4,	/* nor is a piece of a disk: the caller looks */
	CHAIN_CHECKED = 1 << 5,	/* chain_check() has nothing to look for */
	CHAIN_LOOK = 1 << 6,	/* headers only: what they say though damaged */
	CHAIN_LEND = 1 << 7,	/* to a device, not to be written here: the user may
				 * say that it is shared
				 */
};

/* A piece of a layer. */
struct chain_part {
	const struct vdisk_format *format;
	char *path;			/* NULL for zeroes and errors */
	int fd;				/* the store's */
	struct vdisk_store *store;
	struct vdisk_image *image;
	u64 sectors;
	bool moved;			/* as chain->moved says */
	u64 offset_sec;			/* raw: where it starts in the file */
};

struct chain_layer {
	struct chain_part *part;
	unsigned int nr;
	u64 size_sec;
	const char *format;	/* as a user calls it */
	char *path;		/* the file that stands for the layer */
	char *parent;		/* a parent's name as found, or NULL */
	const char *why_ro;	/* what describes the layer forbids to write it */
	struct descriptor *desc;	/* VMDK with a text */
	u64 text_off;			/* where the text starts in its file */
	int text_fd;			/* that file, or -1: it is the first part's */
};

struct chain {
	const char *image;		/* as the user said it */
	struct chain_layer *layer;	/* top first */
	unsigned int nr;
	struct vdisk_disk *disk;
	struct vdisk_fault fault;
	struct reach reach;
	const struct verb_options *opt;
	unsigned int flags;
	char *why;			/* of the last failure */
	bool moved;			/* chain_find() took a file of that name */
	int parent_err;			/* CHAIN_SOFT: of a parent; why says it */
};

/* The format of what is open at @file, as a user calls it; or NULL and @why. */
const char *chain_probe_name(const struct reach_file *file, char **why);

/*
 * Would an image of @format at @place (see reach.h), which is called @image, find
 * @parent by @name? Whoever writes a name into an image asks this before; says
 * what is wrong itself.
 */
bool chain_finds(const struct chain *parent, const char *image,
		 const char *place, const char *format, const char *name);

/* A disk may have thousands of extents, each an open file. */
void chain_many_files(void);

/* Says what is wrong itself. On success chain_close() ends it. */
bool chain_open(struct chain *chain, const char *image,
		const struct verb_options *opt, unsigned int flags);
void chain_close(struct chain *chain);

/*
 * The arguments of the table line, for the caller to free: backings as paths,
 * or as descriptors of this process with @by_fd. NULL, and said why, if a path
 * cannot stand in a line.
 */
char *chain_table(const struct chain *chain, const struct verb_options *opt,
		  bool by_fd);

/*
 * Is the top layer fit to be written: no bytes with two owners, no entry that
 * points outside? Says what is wrong. Very long tables are not looked through.
 */
bool chain_check(const struct chain *chain);

/*
 * The same without a word, while the kernel writes to it: what it says then may be
 * wrong if it is bad, and is right if it is good.
 */
bool chain_is_sound(const struct chain *chain);

/* The file an image of the disk lies in, and its descriptor or -1. */
int chain_fd(const struct chain *chain, const struct vdisk_image *image);
const char *chain_path(const struct chain *chain,
		       const struct vdisk_image *image);

#endif /* _VDISK_CHAIN_H */
