// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk list: what is attached. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include "dmctl.h"
#include "out.h"
#include "verbs.h"

struct line {
	const char *mode, *format, *path;	/* "" where there is none */
	unsigned int layers;
};

/* The next word of a table line, its backslashes taken off; NULL at the end. */
static char *word(char **rest)
{
	char *from = *rest, *to, *start;

	while (*from == ' ')
		from++;
	if (!*from)
		return NULL;
	for (start = to = from; *from && *from != ' '; from++) {
		if (*from == '\\' && from[1])
			from++;
		*to++ = *from;
	}
	*rest = *from ? from + 1 : from;
	*to = 0;
	return start;
}

static unsigned int number(char **rest)
{
	char *w = word(rest);

	return w ? (unsigned int)strtoul(w, NULL, 10) : 0;
}

/* Cuts @params up. Of the top layer the first extent with a file counts. */
static void read_line(char *params, struct line *line)
{
	unsigned int layer, extents, args, i;
	const char *format, *path;

	*line = (struct line){ .mode = "", .format = "", .path = "" };
	line->mode = word(&params);
	if (!line->mode)
		line->mode = "";
	line->layers = number(&params);
	for (layer = 0; layer < line->layers; layer++) {
		extents = number(&params);
		line->path = line->format = "";
		while (extents--) {
			if (!word(&params))	/* sectors */
				return;
			format = word(&params);
			args = number(&params);
			path = args ? word(&params) : "";
			for (i = 1; i < args; i++)
				word(&params);
			if (!*line->path && format && path) {
				line->format = format;
				line->path = path;
			}
		}
	}
}

static int by_name(const void *a, const void *b)
{
	const struct dmctl_device *p = a, *q = b;

	return strcmp(p->name, q->name);
}

static struct json_object *line_json(const struct dmctl_device *dev,
				     const struct line *line)
{
	struct json_object *obj = json_object_new_object();

	out_json_text(obj, "name", dev->name);
	out_json_text(obj, "format", line->format);
	out_json_text(obj, "mode", line->mode);
	out_json_num(obj, "virtual-size", dev->size_sec * VDISK_SECTOR);
	out_json_text(obj, "filename", line->path);
	out_json_num(obj, "layers", line->layers);
	out_json_num(obj, "open-count", (u64)dev->open_count);
	out_json_bool(obj, "suspended", dev->suspended);
	return obj;
}

int cmd_list(const struct verb_options *opt)
{
	struct json_object *all = json_object_new_array();
	struct dmctl_device *devs;
	struct line line;
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
		read_line(devs[i].params, &line);
		if (opt->json)
			json_object_array_add(all, line_json(&devs[i], &line));
		else
			printf("%-16s %-10s %s %10s  %s\n", devs[i].name,
			       line.format, line.mode,
			       out_size(devs[i].size_sec * VDISK_SECTOR),
			       out_name(line.path));
		free(devs[i].params);
	}
	free(devs);
	if (opt->json)
		out_json(all);
	else
		json_object_put(all);
	return VERB_OK;
}
