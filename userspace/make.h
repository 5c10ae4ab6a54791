/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New images: options, files, and what each format consists of.
 *
 * Every file is made in the directory where it belongs, without a name or, where
 * that cannot be, under one of its own, and gets its real one when the whole image
 * is there and durable. What was made is removed when the program ends earlier, by
 * a signal too; an image that is replaced is locked, and there until then.
 */
#ifndef _VDISK_MAKE_IMAGE_H
#define _VDISK_MAKE_IMAGE_H

#include "../formats/make.h"
#include "disk.h"
#include "reach.h"

struct make;
struct salvage;

enum make_type {
	MAKE_TEXT,
	MAKE_SIZE,		/* bytes, with a suffix */
	MAKE_NUMBER,
	MAKE_BOOL,		/* on or off */
	MAKE_CHOICE,
};

struct make_option {
	const char *name;
	enum make_type type;
	const char *none;	/* what it is when not given; NULL = nothing */
	const char *help;
	const char *const *choice;	/* ended by NULL */
};

/* A format that can be made. */
struct make_kind {
	const struct vdisk_format *format;
	const struct make_option *option;	/* ended by a name of NULL */
	/*
	 * Make the files; false after saying why not. The size may become more
	 * than it was.
	 */
	bool (*make)(struct make *make);
	/* Formats of a parent, or NULL: any. Those who take one have options. */
	const struct vdisk_format *parent;
};

/* The kind for a name, or NULL after saying so. */
const struct make_kind *make_kind_find(const char *format);

extern const struct make_option make_vmdk_options[];
extern const struct make_option make_parallels_options[];
bool make_vmdk(struct make *make);
bool make_parallels(struct make *make);

/* A file of the new image. */
struct make_file {
	char *path;		/* the name it will have */
	char *temp;		/* the name it has, or NULL: none */
	int fd;			/* for both; -1: a directory */
	bool directory;
	bool inside;		/* goes where its directory goes */
	bool placed;		/* it has the name @path */
	int old_fd;		/* what is to be replaced, locked; or -1 */
	char *aside;		/* another name of that, or NULL */
	const struct vdisk_format *format;	/* with @sectors */
	u64 sectors;		/* of the disk in it; 0 = none */
	struct vdisk_store *memory;	/* what it is with make->dry */
};

struct make {
	const char *image;	/* as the user said it */
	char *place;		/* the same, or where that link leads */
	const struct make_kind *kind;
	char **value;		/* of kind->option, as given or NULL */
	u64 size_sec;
	bool force;		/* replace what is there */
	bool kept;		/* the files have their names for good */
	bool dry;		/* nothing is written: files are memory */
	bool nowhere;		/* with it: nor do their names matter */
	unsigned int threads;	/* that deflate; 0 = this one */
	u64 sparse;		/* shorter runs of zeroes are written, bytes;
				 * 0: all are
				 */
	/* Instead of make_commit(), or NULL: it keeps them, or they are gone. */
	bool (*commit)(struct make *make, void *arg);
	void *commit_arg;

	struct make_file *file;	/* the one the user named is the first */
	unsigned int nr;

	/* Where what cannot be read is noted, or NULL: then it is the end. */
	struct salvage *salvage;

	/* What is read for the new image, and must not be replaced; or NULL. */
	const struct reach *sources;
	u8 parent_id[16];
	u32 parent_cid;
	u32 parent_time;

	/* A stream is written from front to back. */
	bool stream;
	struct vdisk_recipe recipe;
	struct vdisk_layout layout;
	char *text;		/* what recipe.text points to, or NULL */
};

/*-----------------------------------------------------------------
 * make_options.c
 */

/* "10M", "1.5GiB" and the like; false if it is no size. */
bool make_parse_size(const char *text, u64 *bytes);
/* The same of a disk, rounded up to whole sectors. */
bool make_parse_sectors(const char *text, u64 *sectors);

/* KEY=VALUE or KEY; false after saying what is wrong. */
bool make_set(struct make *make, const char *word);
void make_show_options(const struct make_kind *kind);
bool make_takes_parent(const struct make_kind *kind);
/* make->dry: what would be there now. */
void make_tell(const struct make *make);

/* Did the user say it? */
bool make_given(const struct make *make, const char *name);

/* Values; the option must be in the table, and have a value for the last two. */
const char *make_text(const struct make *make, const char *name);
u64 make_number(const struct make *make, const char *name);
bool make_flag(const struct make *make, const char *name);

/*-----------------------------------------------------------------
 * make_files.c. False after saying what is wrong, of the image or the file.
 */

/* From here on a signal removes what was made. */
void make_begin(struct make *make, const char *image,
		const struct make_kind *kind);

/* A file to be called @path, empty. It is the last of make->file. */
bool make_file(struct make *make, const char *path);
bool make_directory(struct make *make, const char *path);
/* The same in the directory that was made first. */
bool make_file_inside(struct make *make, const char *name);

/* All bytes of the last file. */
bool make_content(struct make *make, const void *bytes, size_t len);
/* By recipe: the last file becomes a part of the disk. */
bool make_part(struct make *make, const struct vdisk_maker *maker,
	       const struct vdisk_recipe *recipe);

/* Can the recipe be followed? make_part() asks, too. */
bool make_check(struct make *make, const struct vdisk_maker *maker,
		const struct vdisk_recipe *recipe);

/* Without a commit before, all is removed. */
void make_end(struct make *make);

/* What @file holds, as a store. */
int make_store(const struct make_file *file, struct vdisk_store **store);
/* A name beside @path, from number @first on, that no killed program has left. */
char *make_temp_name(unsigned int first, const char *path);

/*-----------------------------------------------------------------
 * make_commit.c. False after saying what is wrong.
 */

/* The files are made durable and get their names. */
bool make_commit(struct make *make);

/*
 * The same in steps, with signals held. What was placed and not kept is taken
 * back, what was replaced is there again.
 */
bool make_sync(const struct make *make);
bool make_place(struct make *make);
void make_keep(struct make *make);
void make_take_back(struct make *make);

/*-----------------------------------------------------------------*/

/* All files of it: options are set, the parent is known. */
bool make_image(struct make *make);

/* make_copy.c: what @from holds, to the files that were made. */
struct chain;
bool make_copy(struct make *make, struct chain *from);
/* make_stream.c: the same for make->stream. And how long that may get. */
bool make_copy_stream(struct make *make, struct chain *from);
u64 make_stream_length(const struct make *make, u64 grains, u64 tables);
/* make_into.c: the same into a disk that is there; its old bytes go. */
bool make_copy_into(const struct make *make, struct chain *from,
		    struct chain *to);
bool make_is_zero(const u8 *p, size_t len);
/*
 * Sectors of @from, of which the first is @mapped, or could not be. False with
 * its fault; never with make->salvage.
 */
bool make_read(const struct make *make, struct chain *from, u64 sector,
	       u8 *buf, u64 sectors, bool mapped);

/*
 * What make->sparse says of zeroes. @write is called for each run of bytes, with
 * NULL for grains of zeroes. A range of no data is one if it is long enough; what
 * is read at a time is make_chunk() bytes.
 */
typedef int make_write_fn(void *arg, const u8 *p, u64 sector, u64 sectors);
int make_write_sparse(const struct make *make, const u8 *p, size_t len,
		      u64 sector, make_write_fn *write, void *arg);
bool make_is_hole(const struct make *make, const struct vdisk_hit *hit);
u64 make_chunk(const struct make *make);
/* What of @from is at @sector, up to its end; holes of files are ZERO. */
int make_map(struct chain *from, u64 sector, struct vdisk_hit *hit);

/* "what is wrong: 7" as it is told of @make's image. */
bool make_fail(const struct make *make, const char *why, u64 value);

#endif /* _VDISK_MAKE_IMAGE_H */
