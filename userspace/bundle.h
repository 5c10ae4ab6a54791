/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DiskDescriptor.xml of a Parallels bundle: a parser, no files. */
#ifndef _VDISK_BUNDLE_H
#define _VDISK_BUNDLE_H

#include "../formats/env.h"

#define BUNDLE_FILE "DiskDescriptor.xml"
#define BUNDLE_MAX_LEN (1u << 20)
#define BUNDLE_MAX_STORAGES 4096
#define BUNDLE_MAX_SHOTS 64

struct bundle_image {
	char *guid;		/* lower case, with braces */
	char *file;
	bool plain;		/* raw, else an expandable image */
};

/* A piece of the disk, with an image for each layer. */
struct bundle_storage {
	u64 start_sec, end_sec;
	u64 block_sec;		/* 0 if not said */
	struct bundle_image *image;
	unsigned int nr;
};

struct bundle {
	u64 size_sec;
	struct bundle_storage *storage;	/* by start, without gaps */
	unsigned int nr;
	char *layer[BUNDLE_MAX_SHOTS];	/* GUIDs, top first */
	unsigned int nr_layers;
	bool suspended;		/* a machine that sleeps has it open */
};

/* NULL, or what is wrong, to be freed. bundle_free() in any case. */
char *bundle_parse(struct bundle *bundle, const char *text, size_t len);
void bundle_free(struct bundle *bundle);

/* The image of the layer, or NULL. */
const struct bundle_image *bundle_image(const struct bundle_storage *storage,
					const char *guid);

#endif /* _VDISK_BUNDLE_H */
