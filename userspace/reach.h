/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which files a command may open.
 *
 * The user's own words are obeyed. A name found in an image is somebody else's:
 * it has to be relative, without "..", and must stay beneath the directory of
 * the image the user named, links included. --allow-path adds a file, or a
 * directory and what is beneath it. Only regular files are opened, and none
 * twice.
 */
#ifndef _VDISK_REACH_H
#define _VDISK_REACH_H

#include <sys/types.h>
#include "../formats/env.h"

/* A file, or a directory with all that is beneath it. */
struct reach_base {
	char *said;		/* absolute, "." and ".." worked off */
	char *real;		/* without links */
	int fd;			/* of the directory; of a file -1 */
};

struct reach {
	struct reach_base *base;	/* the image's directory comes first */
	unsigned int nr_bases;
	struct {
		dev_t dev;
		ino_t ino;
	} *seen;
	unsigned int nr_seen;
	char *why;		/* of the last failure: a phrase, printable */
};

struct reach_file {
	int fd;			/* -1: not open */
	char *path;		/* absolute, without links */
	bool device;		/* a block device */
	bool directory;
};

/* Functions return 0, or a negative errno with reach->why. */

/* The image of the command line. @allow: what --allow-path was given. */
int reach_image(struct reach *reach, const char *image, const char **allow,
		unsigned int nr_allow, bool write, struct reach_file *file);

/* For names only: as if an image were at @from, which may not be there yet. */
int reach_begin(struct reach *reach, const char *from, const char **allow,
		unsigned int nr_allow);

/* The file that the file at @from calls @name, with '/' between directories. */
int reach_named(struct reach *reach, const char *from, const char *name,
		bool write, struct reach_file *file);

/* Take the file into the chain: -ELOOP if it is there already. */
int reach_claim(struct reach *reach, const struct reach_file *file);

/* The file claimed last is not wanted after all. */
void reach_unclaim(struct reach *reach);

/*
 * Names that are written into an image: who makes one and who reads it resolve it
 * by these alone. Paths are to be freed.
 */

/* Where an image called @image is, or would be made; NULL with errno. */
char *reach_place(const char *image);

/* What the file at @from, a place, calls @name; "." and ".." by their letters. */
char *reach_target(const char *from, const char *name);

/* The other way round: what the file at @from should call @file. */
char *reach_name_for(const char *from, const char *file);

/* reach_target() of an image as the user calls it, to be told him; or NULL. */
char *reach_parent(const char *image, const char *name);

void reach_close(struct reach_file *file);
void reach_end(struct reach *reach);

#endif /* _VDISK_REACH_H */
