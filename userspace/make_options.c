// SPDX-License-Identifier: GPL-2.0-or-later
/* -o of new images: KEY=VALUE against the table of the format. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include "make.h"
#include "out.h"

/* Digits only: no sign, no blank, no overflow. The rest is at *@end. */
static bool parse_digits(const char *text, const char **end, u64 *v)
{
	const char *p;

	*v = 0;
	for (p = text; *p >= '0' && *p <= '9'; p++)
		if (vdisk_mul(*v, 10, v) || vdisk_add(*v, *p - '0', v))
			return false;
	*end = p;
	return p > text;
}

/*
 * A unit as qemu-img, losetup and cryptsetup have it: k and KiB are 1024 bytes,
 * KB is 1000, b is one. False if it is none of these.
 */
static bool parse_unit(const char *text, u64 *unit)
{
	static const char letters[] = "kmgtpe";
	const char *letter;
	u64 base = 1024;
	int n;

	*unit = 1;
	if (!*text || ((*text | 0x20) == 'b' && !text[1]))
		return true;
	letter = strchr(letters, *text | 0x20);
	if (!letter)
		return false;
	if (text[1] && !strcmp(text + 1, "B"))
		base = 1000;
	else if (text[1] && strcmp(text + 1, "iB"))
		return false;
	for (n = 0; n <= letter - letters; n++)
		*unit *= base;
	return true;
}

/* Digits behind the point: the part of @unit that they are, rounded down. */
static bool parse_fraction(const char *text, const char **end, u64 *num,
			   u64 *parts)
{
	if (!parse_digits(text, end, num))
		return false;
	for (*parts = 1; text < *end; text++)
		if (vdisk_mul(*parts, 10, parts))
			return false;
	return true;
}

bool make_parse_size(const char *text, u64 *bytes)
{
	u64 unit, num = 0, parts = 1;
	const char *end;

	if (!parse_digits(text, &end, bytes))
		return false;
	if (*end == '.' && !parse_fraction(end + 1, &end, &num, &parts))
		return false;
	/* Half a byte is nothing. */
	if (!parse_unit(end, &unit) || (parts > 1 && unit == 1) ||
	    vdisk_mul(*bytes, unit, bytes))
		return false;
	num = (u64)((unsigned __int128)num * unit / parts);
	return !vdisk_add(*bytes, num, bytes);
}

bool make_parse_sectors(const char *text, u64 *sectors)
{
	u64 bytes;

	if (!make_parse_size(text, &bytes))
		return false;
	*sectors = vdisk_div_up(bytes, VDISK_SECTOR);
	return true;
}

static bool is_choice(const struct make_option *o, const char *value)
{
	unsigned int i;

	for (i = 0; o->choice[i]; i++)
		if (!strcmp(o->choice[i], value))
			return true;
	return false;
}

static bool is_good(const struct make_option *o, const char *value, u64 *v)
{
	const char *end;

	switch (o->type) {
	case MAKE_SIZE:
		return make_parse_size(value, v);
	case MAKE_NUMBER:
		return parse_digits(value, &end, v) && !*end;
	case MAKE_BOOL:
		*v = !strcmp(value, "on");
		return *v || !strcmp(value, "off");
	case MAKE_CHOICE:
		return is_choice(o, value);
	default:
		return true;
	}
}

static const char *const kinds_of_value[] = {
	[MAKE_TEXT] = "TEXT",
	[MAKE_SIZE] = "SIZE",
	[MAKE_NUMBER] = "NUMBER",
	[MAKE_BOOL] = "on|off",
	[MAKE_CHOICE] = "NAME",
};

static char *choices(const struct make_option *o)
{
	char *all = out_text("%s", o->choice[0]), *more;
	unsigned int i;

	for (i = 1; o->choice[i]; i++) {
		more = out_text("%s, %s", all, o->choice[i]);
		free(all);
		all = more;
	}
	return all;
}

static bool bad_value(const struct make_option *o, const char *value)
{
	char *all;

	if (o->type != MAKE_CHOICE) {
		out_error(NULL, "Option %s takes %s, not: %s", o->name,
			  kinds_of_value[o->type], out_name(value));
		return false;
	}
	all = choices(o);
	out_error(NULL, "Option %s is one of %s, not: %s", o->name, all,
		  out_name(value));
	free(all);
	return false;
}

/* A flag alone is "on". */
bool make_set(struct make *make, const char *word)
{
	const struct make_option *o = make->kind->option;
	const char *value = strchrnul(word, '=');
	const size_t len = (size_t)(value - word);
	u64 v;

	while (o->name && (strlen(o->name) != len ||
			   memcmp(o->name, word, len)))
		o++;
	if (!o->name) {
		char *name = out_text("%.*s", (int)len, word);

		out_error(NULL, "Unknown option: %s", out_name(name));
		free(name);
		return false;
	}
	value = *value ? value + 1 : o->type == MAKE_BOOL ? "on" : "";
	if (!is_good(o, value, &v))
		return bad_value(o, value);
	free(make->value[o - make->kind->option]);
	make->value[o - make->kind->option] = out_text("%s", value);
	return true;
}

void make_show_options(const struct make_kind *kind)
{
	const struct make_option *o;
	char *left, *all;

	printf("Options of %s:\n", kind->format->name);
	for (o = kind->option; o->name; o++) {
		left = out_text("%s=%s", o->name, kinds_of_value[o->type]);
		printf("  %-22s %s", left, o->help);
		free(left);
		if (o->choice) {
			all = choices(o);
			printf(": %s", all);
			free(all);
		}
		if (o->none)
			printf(" (default: %s)", o->none);
		printf("\n");
	}
}

bool make_takes_parent(const struct make_kind *kind)
{
	const struct make_option *o;

	for (o = kind->option; o->name; o++)
		if (!strcmp(o->name, "backing_file"))
			return true;
	return false;
}

bool make_given(const struct make *make, const char *name)
{
	const struct make_option *o;

	for (o = make->kind->option; o->name; o++)
		if (!strcmp(o->name, name))
			return make->value[o - make->kind->option];
	return false;
}

const char *make_text(const struct make *make, const char *name)
{
	const struct make_option *o;

	for (o = make->kind->option; o->name; o++)
		if (!strcmp(o->name, name))
			return make->value[o - make->kind->option] ?
				make->value[o - make->kind->option] : o->none;
	return NULL;
}

u64 make_number(const struct make *make, const char *name)
{
	const char *text = make_text(make, name);
	u64 v = 0;

	if (text)
		make_parse_size(text, &v);
	return v;
}

bool make_flag(const struct make *make, const char *name)
{
	const char *text = make_text(make, name);

	return text && !strcmp(text, "on");
}

void make_tell(const struct make *make)
{
	printf("Would make %s, %s of %s\n", out_name(make->image),
	       make->kind->format->name,
	       out_size(make->size_sec * VDISK_SECTOR));
}
