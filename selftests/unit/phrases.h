/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Has every reason that a format can give been given? A test notes those it
 * saw; at its end the format's source is searched for all there are.
 */
#ifndef _SELFTESTS_PHRASES_H
#define _SELFTESTS_PHRASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "test.h"

enum { MAX_PHRASES = 128 };

static const char *phrases_seen[MAX_PHRASES];
static unsigned int phrases_nr;

static bool phrase_seen(const char *why)
{
	unsigned int i;

	for (i = 0; i < phrases_nr; i++)
		if (!strcmp(phrases_seen[i], why))
			return true;
	return false;
}

/* @why was given where it was expected. It must stay in memory. */
static void phrase_saw(const char *why)
{
	if (why && phrases_nr < MAX_PHRASES && !phrase_seen(why))
		phrases_seen[phrases_nr++] = why;
}

/* The source of a format, from wherever the test was started. */
static char *phrases_read(const char *name)
{
	static const char *const ways[] = { "../formats", "formats", NULL };
	const char *slash = strrchr(__FILE__, '/');
	char path[512];
	FILE *file = NULL;
	char *text;
	size_t n;
	int i;

	for (i = 0; !file && i < 3; i++) {
		if (ways[i])
			snprintf(path, sizeof(path), "%s/%s", ways[i], name);
		else
			snprintf(path, sizeof(path), "%.*s/../../formats/%s",
				 slash ? (int)(slash - __FILE__) : 1,
				 slash ? __FILE__ : ".", name);
		file = fopen(path, "r");
	}
	if (!file)
		return NULL;
	text = calloc(1, 1 << 20);
	n = fread(text, 1, (1 << 20) - 1, file);
	fclose(file);
	text[n] = 0;
	return text;
}

/* The first string behind each @key is a reason. Returns how many there are. */
static unsigned int phrases_behind(char *text, const char *key)
{
	unsigned int found = 0;
	char *at, *quote, *end, *stop;

	for (at = text; (at = strstr(at, key)); at += strlen(key)) {
		stop = strchr(at, ';');
		quote = strchr(at, '"');
		if (!stop || !quote || quote > stop)
			continue;
		end = strchr(++quote, '"');
		*end = 0;
		T_OK(phrase_seen(quote), t_name("a test gets: %s", quote));
		*end = '"';
		found++;
	}
	return found;
}

/* One point for every reason in the source of the format. */
static void phrases_check(const char *name, unsigned int least)
{
	char *text = phrases_read(name);

	if (!T_OK(text, "the source of the format is there"))
		return;
	T_OK(phrases_behind(text, "vdisk_bad(") +
	     phrases_behind(text, "vdisk_bad_sum(") +
	     phrases_behind(text, "vdisk_full(") +
	     phrases_behind(text, "why_ro = ") >= least,
	     "the source of the format gives reasons");
	free(text);
}

#endif /* _SELFTESTS_PHRASES_H */
