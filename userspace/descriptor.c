// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text that describes a VMDK disk.
 *
 * It is read line by line, never searched: "CID" is a part of "parentCID", and
 * any key may stand in a comment or a file name. Programs write LF and CRLF,
 * blanks where they like, and keys in either case.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdlib.h>

#include "descriptor.h"
#include "out.h"

struct line {
	const char *p, *end;
	u32 nr;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void trim(struct line *l)
{
	while (l->p < l->end && is_blank(*l->p))
		l->p++;
	while (l->end > l->p && is_blank(l->end[-1]))
		l->end--;
}

/* The next line of [*p, end) without blanks around; false at the end. */
static bool next_line(const char **p, const char *end, struct line *l)
{
	const char *lf;

	if (*p >= end)
		return false;
	lf = memchr(*p, '\n', (size_t)(end - *p));
	l->p = *p;
	l->end = lf ? lf : end;
	*p = lf ? lf + 1 : end;
	l->nr++;
	trim(l);
	return true;
}

static bool same(const char *p, const char *end, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(end - p) == n && !strncasecmp(p, word, n);
}

/* The next word of the line, up to a blank. */
static bool next_word(struct line *l, struct line *word)
{
	while (l->p < l->end && is_blank(*l->p))
		l->p++;
	word->p = l->p;
	while (l->p < l->end && !is_blank(*l->p))
		l->p++;
	word->end = l->p;
	return word->end > word->p;
}

static bool number(const struct line *word, u64 *v)
{
	const char *p;

	*v = 0;
	for (p = word->p; p < word->end; p++)
		if (*p < '0' || *p > '9' || vdisk_mul(*v, 10, v) ||
		    vdisk_add(*v, *p - '0', v))
			return false;
	return word->p < word->end;
}

static char *bad(const struct line *l, const char *what)
{
	return out_text("Descriptor line %u: %s", l->nr, what);
}

static int one_of(const struct line *word, const char *const *names)
{
	int i;

	for (i = 0; names[i]; i++)
		if (same(word->p, word->end, names[i]))
			return i;
	return -1;
}

/* "FILE" in quotes; they have no escapes. */
static char *quoted(struct line *l)
{
	const char *close;
	char *file;

	while (l->p < l->end && is_blank(*l->p))
		l->p++;
	if (l->p == l->end || *l->p != '"')
		return NULL;
	close = memchr(l->p + 1, '"', (size_t)(l->end - l->p - 1));
	if (!close || close == l->p + 1)
		return NULL;
	file = out_text("%.*s", (int)(close - l->p - 1), l->p + 1);
	l->p = close + 1;
	return file;
}

/* SECTORS TYPE ["FILE" [OFFSET ...]], the access being read already. */
static char *parse_extent(struct descriptor *desc, struct line *l, int access)
{
	static const char *const types[] = {
		"FLAT", "VMFS", "ZERO", "SPARSE", "VMFSSPARSE", "SESPARSE", NULL,
	};
	struct descriptor_extent e = { .access = (enum descriptor_access)access };
	struct line word;
	char *what;
	int type;

	if (desc->nr_extents == DESCRIPTOR_MAX_EXTENTS)
		return bad(l, "More than 4096 extents");
	next_word(l, &word);
	if (!number(&word, &e.sectors) || !e.sectors)
		return bad(l, "Extent has no length");
	if (vdisk_add(desc->sectors, e.sectors, &desc->sectors) ||
	    desc->sectors > 1ull << 54)
		return bad(l, "Extents are too long");
	next_word(l, &word);
	type = one_of(&word, types);
	if (type < 0) {
		char *name = out_text("%.*s", (int)(word.end - word.p), word.p);

		what = out_text("Descriptor line %u: Extent type cannot be "
				"used: %s", l->nr, out_name(name));
		free(name);
		return what;
	}
	e.type = (enum descriptor_type)type;
	if (e.type != DESCRIPTOR_ZERO) {
		e.file = quoted(l);
		if (!e.file)
			return bad(l, "Extent names no file");
	}
	if (e.type == DESCRIPTOR_FLAT || e.type == DESCRIPTOR_VMFS) {
		/* VMFS lines leave it out, and mean 0. */
		if (next_word(l, &word) ? !number(&word, &e.offset_sec) ||
		    e.offset_sec > 1ull << 54 : e.type == DESCRIPTOR_FLAT) {
			free(e.file);
			return bad(l, "Extent has no offset");
		}
	}
	desc->extent = out_grow(desc->extent, desc->nr_extents + 1,
				sizeof(*desc->extent));
	desc->extent[desc->nr_extents++] = e;
	return NULL;
}

static bool hex(const struct line *value, u32 *v)
{
	const char *p;

	*v = 0;
	for (p = value->p; p < value->end; p++) {
		if (!isxdigit((unsigned char)*p))
			return false;
		*v = *v << 4 | (u32)(*p <= '9' ? *p - '0' :
				     (*p | 0x20) - 'a' + 10);
	}
	return p > value->p && p - value->p <= 8;
}

enum key { VERSION, CID, PARENT_CID, CREATE_TYPE, PARENT_HINT, NR_KEYS };

/* The first line of a key counts. */
static char *parse_key(struct descriptor *desc, const struct line *l,
		       const char *eq, const char *text, bool *seen)
{
	static const char *const keys[] = {
		"version", "CID", "parentCID", "createType",
		"parentFileNameHint", NULL,
	};
	struct line key = { .p = l->p, .end = eq };
	struct line value = { .p = eq + 1, .end = l->end };
	u64 version;
	int k;

	trim(&key);
	trim(&value);
	if (value.end - value.p >= 2 && *value.p == '"' && value.end[-1] == '"') {
		value.p++;
		value.end--;
	}
	k = one_of(&key, keys);
	if (k < 0 || seen[k])
		return NULL;
	seen[k] = true;
	switch ((enum key)k) {
	case VERSION:
		if (!number(&value, &version) || !version || version > 3)
			return bad(l, "Descriptor version is not 1 to 3");
		break;
	case CID:
		if (!hex(&value, &desc->cid))
			return bad(l, "CID is not up to 8 hex digits");
		desc->cid_at = (u64)(value.p - text);
		desc->cid_len = (u32)(value.end - value.p);
		break;
	case PARENT_CID:
		if (!hex(&value, &desc->parent_cid))
			return bad(l, "parentCID is not up to 8 hex digits");
		break;
	case CREATE_TYPE:
		desc->create_type = out_text("%.*s", (int)(value.end - value.p),
					     value.p);
		break;
	case PARENT_HINT:
		desc->parent_hint = out_text("%.*s", (int)(value.end - value.p),
					     value.p);
		break;
	case NR_KEYS:
		break;
	}
	return NULL;
}

char *descriptor_parse(struct descriptor *desc, const void *text, size_t len)
{
	static const char *const access[] = { "RW", "RDONLY", "NOACCESS", NULL };
	const char *p = text, *end = p + strnlen(p, len), *eq;
	struct line l = { .nr = 0 }, rest, word;
	bool seen[NR_KEYS] = { false };
	char *what = NULL;
	int a;

	*desc = (struct descriptor){ .parent_cid = DESCRIPTOR_NO_PARENT };
	if (len > DESCRIPTOR_MAX_LEN)
		return out_text("Descriptor is longer than 1 MiB: %zu", len);
	while (!what && next_line(&p, end, &l)) {
		if (l.p == l.end || *l.p == '#')
			continue;
		rest = l;
		next_word(&rest, &word);
		a = one_of(&word, access);
		eq = memchr(l.p, '=', (size_t)(l.end - l.p));
		if (a >= 0)
			what = parse_extent(desc, &rest, a);
		else if (eq)
			what = parse_key(desc, &l, eq, text, seen);
		else
			what = bad(&l, "Neither a key nor an extent");
	}
	if (!what && !seen[VERSION])
		what = out_text("Descriptor says no version");
	if (!what && !seen[CID])
		what = out_text("Descriptor says no CID");
	return what;
}

void descriptor_free(struct descriptor *desc)
{
	while (desc->nr_extents)
		free(desc->extent[--desc->nr_extents].file);
	free(desc->extent);
	free(desc->create_type);
	free(desc->parent_hint);
	*desc = (struct descriptor){ .nr_extents = 0 };
}
