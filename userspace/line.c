// SPDX-License-Identifier: GPL-2.0-or-later
/* The arguments of a table line, taken apart. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "line.h"
#include "out.h"

/* The kernel takes no more of either; a line that says so is none of ours. */
#define LAYERS_MOST 64
#define EXTENTS_MOST 4096

/* The next word, which ends where the next blank was; NULL at the end. */
static char *word(char **rest)
{
	char *start = *rest + strspn(*rest, " ");

	if (!*start)
		return NULL;
	*rest = start + strcspn(start, " ");
	if (**rest)
		*(*rest)++ = 0;
	return start;
}

static bool number(const char *text, u64 most, u64 *n)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*n = strtoull(text, &end, 10);
	return !*end && !errno && *n <= most;
}

static bool is_octal(const char *text)
{
	return strspn(text, "01234567") >= 3 && *text < '4';
}

void line_unescape(char *text)
{
	char *to = text;

	for (; *text; to++) {
		if (*text == '\\' && is_octal(text + 1)) {
			*to = (char)((text[1] - '0') << 6 |
				     (text[2] - '0') << 3 | (text[3] - '0'));
			text += 4;
		} else {
			*to = *text++;
		}
	}
	*to = 0;
}

static bool parse_key(struct line_extent *ext, const char *text)
{
	if (!strncmp(text, "offset=", 7))
		return number(text + 7, UINT64_MAX / VDISK_SECTOR,
			      &ext->offset_sec);
	if (!strcmp(text, "size=current"))
		ext->size_rule = VDISK_SIZE_CURRENT;
	else if (!strcmp(text, "size=chs"))
		ext->size_rule = VDISK_SIZE_CHS;
	return true;
}

static bool parse_extent(struct line_extent *ext, char **rest)
{
	const char *format, *text;
	u64 args;

	if (!number(word(rest), UINT64_MAX / VDISK_SECTOR, &ext->sectors))
		return false;
	format = word(rest);
	if (!format || !number(word(rest), UINT32_MAX, &args))
		return false;
	ext->format = out_text("%s", format);
	if (!args)
		return true;
	text = word(rest);
	if (!text)
		return false;
	ext->path = out_text("%s", text);
	line_unescape(ext->path);
	while (--args) {
		text = word(rest);
		if (!text || !parse_key(ext, text))
			return false;
	}
	return true;
}

static bool parse_layer(struct line_layer *layer, char **rest)
{
	u64 nr;

	if (!number(word(rest), EXTENTS_MOST, &nr) || !nr)
		return false;
	layer->extent = out_alloc(nr, sizeof(*layer->extent));
	while (layer->nr < nr)
		if (!parse_extent(&layer->extent[layer->nr++], rest))
			return false;
	return true;
}

bool line_parse(struct line *line, const char *params)
{
	char *text = out_text("%s", params), *rest = text;
	const char *mode = word(&rest);
	bool good;
	u64 nr = 0;

	*line = (struct line){ .write = mode && !strcmp(mode, "rw") };
	good = mode && number(word(&rest), LAYERS_MOST, &nr) && nr;
	if (good)
		line->layer = out_alloc(nr, sizeof(*line->layer));
	while (good && line->nr < nr)
		good = parse_layer(&line->layer[line->nr++], &rest);
	free(text);
	return good;
}

void line_free(struct line *line)
{
	struct line_layer *layer;
	struct line_extent *ext;

	while (line->nr) {
		layer = &line->layer[--line->nr];
		while (layer->nr) {
			ext = &layer->extent[--layer->nr];
			free(ext->format);
			free(ext->path);
		}
		free(layer->extent);
	}
	free(line->layer);
	*line = (struct line){ 0 };
}

const struct line_extent *line_image(const struct line *line)
{
	const struct line_layer *top;
	unsigned int i;

	if (!line->nr)
		return NULL;
	top = &line->layer[line->nr - 1];
	for (i = 0; i < top->nr; i++)
		if (top->extent[i].path)
			return &top->extent[i];
	return NULL;
}
