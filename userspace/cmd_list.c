// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk list: what is attached, or which devices use a file. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "dmctl.h"
#include "line.h"
#include "out.h"
#include "verbs.h"

static int by_name(const void *a, const void *b)
{
	const struct dmctl_device *p = a, *q = b;

	return strcmp(p->name, q->name);
}

/* What the device is made of; "" where there is nothing. */
struct made {
	const char *mode, *format, *path;
	unsigned int layers;
};

static struct made made_of(const struct line *line)
{
	const struct line_extent *image = line_image(line);

	return (struct made){
		.mode = line->write ? "rw" : "ro",
		.format = image ? image->format : "",
		.path = image ? image->path : "",
		.layers = line->nr,
	};
}

static struct json_object *line_json(const struct dmctl_device *dev,
				     const struct made *line)
{
	struct json_object *obj = json_object_new_object();

	out_json_text(obj, "name", dev->name);
	out_json_text(obj, "uuid", dev->uuid);
	out_json_text(obj, "format", line->format);
	out_json_text(obj, "mode", line->mode);
	out_json_num(obj, "virtual-size", dev->size_sec * VDISK_SECTOR);
	out_json_text(obj, "filename", line->path);
	out_json_num(obj, "layers", line->layers);
	out_json_num(obj, "open-count", (u64)dev->open_count);
	out_json_bool(obj, "suspended", dev->suspended);
	out_json_bool(obj, "deferred-remove", dev->deferred);
	return obj;
}

static void print_text(const struct dmctl_device *dev, const struct made *line)
{
	printf("%-16s %-10s %-4s %10s  %s\n", dev->name, line->format,
	       line->mode, out_size(dev->size_sec * VDISK_SECTOR),
	       out_name(line->path));
}

/* By any of its names. */
static bool is_file(const struct stat *file, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return false;
	if (S_ISBLK(st.st_mode))
		return S_ISBLK(file->st_mode) && st.st_rdev == file->st_rdev;
	return st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

/* Of any layer: a parent is in use as well. */
static bool uses(const struct line *line, const struct stat *file)
{
	unsigned int i, j;

	for (i = 0; i < line->nr; i++)
		for (j = 0; j < line->layer[i].nr; j++)
			if (line->layer[i].extent[j].path &&
			    is_file(file, line->layer[i].extent[j].path))
				return true;
	return false;
}

static void tell(const struct dmctl_device *devs, unsigned int nr,
		 const struct stat *file, const struct verb_options *opt)
{
	struct json_object *all = json_object_new_array();
	bool first = !opt->no_headings;
	struct line line;
	struct made made;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		line_parse(&line, devs[i].params);
		made = made_of(&line);
		if (file && !uses(&line, file)) {
			line_free(&line);
			continue;
		}
		if (opt->json) {
			json_object_array_add(all, line_json(&devs[i], &made));
		} else {
			if (first)
				printf("%-16s %-10s %-4s %10s  %s\n", "NAME",
				       "FORMAT", "MODE", "SIZE", "FILE");
			first = false;
			print_text(&devs[i], &made);
		}
		line_free(&line);
	}
	if (opt->json)
		out_json(all);
	else
		json_object_put(all);
}

int cmd_list(const struct verb_options *opt)
{
	struct stat file;
	struct dmctl_device *devs;
	unsigned int nr, i;
	int r;

	if (opt->nr_args && stat(opt->args[0], &file)) {
		out_error(opt->args[0], "%s", strerror(errno));
		return VERB_FAILED;
	}
	r = dmctl_list(&devs, &nr);
	if (r) {
		out_error(NULL, "Device-mapper: %s", strerror(-r));
		return VERB_FAILED;
	}
	qsort(devs, nr, sizeof(*devs), by_name);
	tell(devs, nr, opt->nr_args ? &file : NULL, opt);
	for (i = 0; i < nr; i++)
		free(devs[i].params);
	free(devs);
	return VERB_OK;
}
