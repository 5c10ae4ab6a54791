// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk list: what is attached. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

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

int cmd_list(const struct verb_options *opt)
{
	struct json_object *all = json_object_new_array();
	struct dmctl_device *devs;
	struct line line;
	struct made made;
	unsigned int nr, i;
	int r;

	r = dmctl_list(&devs, &nr);
	if (r) {
		out_error(NULL, "Device-mapper: %s", strerror(-r));
		json_object_put(all);
		return VERB_FAILED;
	}
	qsort(devs, nr, sizeof(*devs), by_name);
	for (i = 0; i < nr; i++) {
		line_parse(&line, devs[i].params);
		made = made_of(&line);
		if (opt->json)
			json_object_array_add(all, line_json(&devs[i], &made));
		else
			printf("%-16s %-10s %s %10s  %s\n", devs[i].name,
			       made.format, made.mode,
			       out_size(devs[i].size_sec * VDISK_SECTOR),
			       out_name(made.path));
		line_free(&line);
		free(devs[i].params);
	}
	free(devs);
	if (opt->json)
		out_json(all);
	else
		json_object_put(all);
	return VERB_OK;
}
