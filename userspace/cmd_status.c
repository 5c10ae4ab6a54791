// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk status: the words of the status line, each with its meaning. */
#include <stdio.h>
#include <stdlib.h>

#include "dmctl.h"
#include "line.h"
#include "out.h"
#include "verbs.h"

/* The fields behind mode and health, in the order of Documentation/dm-vdisk.rst. */
static const struct {
	const char *key, *text;
} fields[] = {
	{ "layers", "layers" },
	{ "direct", "transfers started at once" },
	{ "queued", "requests a worker took over" },
	{ "alloc", "plans for new units" },
	{ "commit", "commits of table entries" },
	{ "fsync", "flushes of files" },
	{ "parked", "writes that wait for space" },
	{ "free", "free units known of" },
};

#define NR_FIELDS (sizeof(fields) / sizeof(fields[0]))
#define NR_ALWAYS 6		/* the target has told them from the start */

struct state {
	const struct dmctl_device *dev;
	const struct line_extent *image;
	const char *mode, *health;
	unsigned int nr;		/* of the fields, as many as were told */
	unsigned long long field[NR_FIELDS];
};

/* Fields are only ever added, at the end: an older module says less. */
static bool parse_status(struct state *s, char *text)
{
	char *save = NULL, *word, *end;

	s->mode = strtok_r(text, " ", &save);
	s->health = strtok_r(NULL, " ", &save);
	for (s->nr = 0; s->nr < NR_FIELDS; s->nr++) {
		word = strtok_r(NULL, " ", &save);
		if (!word)
			break;
		s->field[s->nr] = strtoull(word, &end, 10);
		if (*end)
			return false;
	}
	return s->nr >= NR_ALWAYS;
}

static const char *meaning(const char *health)
{
	static const struct {
		const char *health, *text;
	} known[] = {
		{ "ok", "ok" },
		{ "flush-failed",
		  "a flush of a file failed; nothing is written any more" },
		{ "commit-failed",
		  "a suspend could not write all; nothing is written any more" },
		{ "out-of-space", "the last write that needed space had none" },
		{ "table-write-failed",
		  "a write of table entries failed; nothing is written any more" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].health, health))
			return known[i].text;
	return health;
}

static void tell_json(const struct state *s)
{
	struct json_object *obj = json_object_new_object();
	unsigned int i;

	out_json_text(obj, "name", s->dev->name);
	out_json_text(obj, "uuid", s->dev->uuid);
	if (s->image) {
		out_json_text(obj, "format", s->image->format);
		out_json_text(obj, "filename", s->image->path);
	}
	out_json_num(obj, "virtual-size", s->dev->size_sec * VDISK_SECTOR);
	out_json_text(obj, "mode", s->mode);
	out_json_text(obj, "health", s->health);
	out_json_num(obj, "open-count", (u64)s->dev->open_count);
	out_json_bool(obj, "suspended", s->dev->suspended);
	out_json_bool(obj, "deferred-remove", s->dev->deferred);
	for (i = 0; i < s->nr; i++)
		out_json_num(obj, fields[i].key, s->field[i]);
	out_json(obj);
}

static void tell_text(const struct state *s)
{
	char *path = dmctl_path(s->dev->name);
	unsigned int i;

	printf("device: %s%s%s\n", path,
	       s->dev->suspended ? ", suspended" : "",
	       s->dev->deferred ? ", will be removed when it is closed" : "");
	printf("uuid: %s\n", s->dev->uuid);
	if (s->image)
		printf("image: %s (%s)\n", out_name(s->image->path),
		       s->image->format);
	printf("size: %s\n", out_size(s->dev->size_sec * VDISK_SECTOR));
	printf("mode: %s\n", strcmp(s->mode, "rw") ? "read only" :
						      "read and write");
	printf("health: %s\n", meaning(s->health));
	printf("held open: %d\n", s->dev->open_count);
	for (i = 0; i < s->nr; i++)
		printf("%s: %llu\n", fields[i].text, s->field[i]);
	free(path);
}

static int tell(const struct dmctl_device *dev, const struct line *line,
		char *text, bool json)
{
	struct state s = { .dev = dev, .image = line_image(line) };
	char *copy = out_text("%s", text);
	bool good = parse_status(&s, copy);
	int r;

	if (!good)
		out_error(dev->name, "Unknown status line: %s", out_name(text));
	else if (json)
		tell_json(&s);
	else
		tell_text(&s);
	r = !good ? VERB_FAILED : strcmp(s.health, "ok") ? VERB_SICK : VERB_OK;
	free(copy);
	return r;
}

int cmd_status(const struct verb_options *opt)
{
	struct dmctl_device dev;
	struct line line;
	char *text;
	int r;

	if (dmctl_get_ours(opt->args[0], &dev))
		return VERB_FAILED;
	line_parse(&line, dev.params);
	r = dmctl_status(dev.name, &text);
	if (r) {
		out_error(dev.name, "%s", strerror(-r));
		r = VERB_FAILED;
	} else {
		r = tell(&dev, &line, text, opt->json);
		free(text);
	}
	line_free(&line);
	free(dev.params);
	return r;
}
