// SPDX-License-Identifier: GPL-2.0-or-later
/* What the tool says: errors, names, sizes, JSON. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "out.h"

static char *keep(char *text)
{
	static char *kept[OUT_NAMES];
	static unsigned int at;

	free(kept[at]);
	kept[at] = text;
	at = (at + 1) % OUT_NAMES;
	return text;
}

/* Bytes of the well-formed UTF-8 character at @p, or 0; @c becomes its code. */
static int utf8(const u8 *p, u32 *c)
{
	static const u32 least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	int n, i;

	*c = *p;
	if (*p < 0x80)
		return 1;
	n = (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 :
	    (*p & 0xf8) == 0xf0 ? 4 : 0;
	if (!n)
		return 0;
	*c &= 0x7f >> n;
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (p[i] & 0x3f);
	}
	if (*c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000))
		return 0;
	return n;
}

/* Controls, line ends, and the marks that turn text around stay hidden. */
static bool printable(u32 c)
{
	if (c < 0x20 || (c >= 0x7f && c < 0xa0))
		return false;
	return !(c >= 0x200e && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) &&
	       !(c >= 0x2066 && c <= 0x2069);
}

/* @name with what is no UTF-8, or not @safe to print, as \xNN. */
static const char *clean(const char *name, bool safe)
{
	const u8 *p = (const u8 *)name;
	char *text = out_alloc(strlen(name) + 1, 4), *to = text;
	int n, i;
	u32 c;

	while (*p) {
		n = utf8(p, &c);
		if (n && (!safe || printable(c))) {
			memcpy(to, p, n);
			to += n;
			p += n;
			continue;
		}
		for (i = n ? n : 1; i; i--)
			to += sprintf(to, "\\x%02x", *p++);
	}
	*to = 0;
	return keep(text);
}

const char *out_name(const char *name)
{
	return clean(name, true);
}

/* What is not said yet. */
static FILE *held;
static char *held_text;
static size_t held_len;

static void say(const char *subject, const char *kind, const char *fmt,
		va_list args)
{
	FILE *to = held ? held : stderr;

	fflush(stdout);
	fputs("vdisk: ", to);
	if (subject)
		fprintf(to, "%s: ", out_name(subject));
	fputs(kind, to);
	vfprintf(to, fmt, args);
	fputc('\n', to);
}

void out_hold(bool hold)
{
	if (hold && !held) {
		held = open_memstream(&held_text, &held_len);
	} else if (!hold && held) {
		fclose(held);
		held = NULL;
		fputs(held_text, stderr);
		free(held_text);
		held_text = NULL;
	}
}

void out_error(const char *subject, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(subject, "", fmt, args);
	va_end(args);
}

void out_warn(const char *subject, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(subject, "warning: ", fmt, args);
	va_end(args);
}

static enum out_level told;

void out_tell(enum out_level level)
{
	told = vdisk_max(told, level);
}

void out_note(enum out_level level, const char *subject, const char *fmt, ...)
{
	va_list args;

	if (level > told)
		return;
	va_start(args, fmt);
	say(subject, "", fmt, args);
	va_end(args);
}

const char *out_size(u64 bytes)
{
	static const char *const units[] = {
		"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
	};
	double v = (double)bytes;
	unsigned int i = 0;

	while (v >= 999.5 && i < sizeof(units) / sizeof(units[0]) - 1) {
		v /= 1024;
		i++;
	}
	return keep(out_text("%.3g %s", v, units[i]));
}

void out_id(const u8 *id, char *text)
{
	int i;

	for (i = 0; i < 16; i++)
		sprintf(text + 2 * i, "%02x", id[i]);
}

void out_json_text(struct json_object *obj, const char *key, const char *text)
{
	json_object_object_add(obj, key,
			       json_object_new_string(clean(text, false)));
}

void out_json_num(struct json_object *obj, const char *key, u64 num)
{
	json_object_object_add(obj, key, json_object_new_uint64(num));
}

void out_json_bool(struct json_object *obj, const char *key, bool yes)
{
	json_object_object_add(obj, key, json_object_new_boolean(yes));
}

void out_json(struct json_object *obj)
{
	puts(json_object_to_json_string_ext(obj,
					    JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
}

/*
 * A reader who has seen enough and left is no news; everything else that keeps
 * output from its place is.
 */
bool out_flush(void)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return true;
	if (errno != EPIPE)
		out_error("standard output", "%s",
			  errno ? strerror(errno) : "Write failed");
	return false;
}

static void *there(void *mem)
{
	if (mem)
		return mem;
	fputs("vdisk: Out of memory\n", stderr);
	exit(1);
}

void *out_alloc(size_t count, size_t size)
{
	return there(calloc(count ? count : 1, size));
}

void *out_grow(void *old, size_t count, size_t size)
{
	return there(reallocarray(old, count, size));
}

char *out_text(const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	return there(text);
}
