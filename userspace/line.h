/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of a table line, taken apart; Documentation/dm-vdisk.rst. */
#ifndef _VDISK_LINE_H
#define _VDISK_LINE_H

#include "../formats/format.h"

struct line_extent {
	u64 sectors;
	char *format;
	char *path;		/* NULL for zeroes and errors */
	u64 offset_sec;		/* raw */
	enum vdisk_size_rule size_rule;
};

struct line_layer {
	struct line_extent *extent;
	unsigned int nr;
};

struct line {
	bool write;
	struct line_layer *layer;	/* base first */
	unsigned int nr;
};

/* False if it is no such line. line_free() frees @line in any case. */
bool line_parse(struct line *line, const char *params);
void line_free(struct line *line);

/* In a name \ooo stands for a byte, in octal; in /proc's files, too. */
void line_unescape(char *text);

/* Of the top layer, what a user calls the image; NULL if it has no file. */
const struct line_extent *line_image(const struct line *line);

#endif /* _VDISK_LINE_H */
