// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text that describes a VMDK disk.
 *
 * It is read line by line, never searched: "CID" is a part of "parentCID", and
 * any key may stand in a comment or a file name. Programs write LF and CRLF,
 * blanks where they like, and keys in either case. Names are in the encoding
 * that the text says; all encodings that producers write keep line ends and
 * quotes what they are in ASCII, except UTF-16, which is told by its first bytes.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <iconv.h>
#include <stdlib.h>

#include "descriptor.h"
#include "out.h"

static const char tracked[] = "Changes of this VMDK are tracked elsewhere";

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

static char *bad_text(const struct line *l, const char *what,
		      const struct line *word)
{
	char *text = out_text("%.*s", (int)(word->end - word->p), word->p);
	char *all = out_text("Descriptor line %u: %s: %s", l->nr, what,
			     out_name(text));

	free(text);
	return all;
}

static int one_of(const struct line *word, const char *const *names)
{
	int i;

	for (i = 0; names[i]; i++)
		if (same(word->p, word->end, names[i]))
			return i;
	return -1;
}

static struct descriptor_span span(const char *text, const char *p,
				   const char *end)
{
	return (struct descriptor_span){ (size_t)(p - text), (size_t)(end - p) };
}

/*-----------------------------------------------------------------
 * Encodings
 */

/* @len bytes from one encoding to the other, and a zero behind; or NULL. */
static char *convert(const char *to, const char *from, const char *p,
		     size_t len)
{
	iconv_t cd = iconv_open(to, from);
	size_t room = 4 * len + 16, left = room;
	char *text, *at, *in = (char *)p;
	bool good;

	/* Windows' names of its code pages are not known everywhere. */
	if (cd == (iconv_t)-1 && !strncasecmp(from, "windows-", 8)) {
		text = out_text("CP%s", from + 8);
		cd = iconv_open(to, text);
		free(text);
	} else if (cd == (iconv_t)-1 && !strncasecmp(to, "windows-", 8)) {
		text = out_text("CP%s", to + 8);
		cd = iconv_open(text, from);
		free(text);
	}
	if (cd == (iconv_t)-1)
		return NULL;
	at = text = out_alloc(room + 1, 1);
	good = iconv(cd, &in, &len, &at, &left) == 0 &&
	       iconv(cd, NULL, NULL, &at, &left) == 0;
	iconv_close(cd);
	if (good)
		return text;
	free(text);
	return NULL;
}

static bool is_ascii(const char *p, size_t len)
{
	while (len && !(*p & 0x80)) {
		p++;
		len--;
	}
	return !len;
}

static bool is_utf8(const char *encoding)
{
	return !encoding || !strcasecmp(encoding, "UTF-8") ||
	       !strcasecmp(encoding, "UTF8");
}

/* As the system calls it. What is not in the encoding is left as it is. */
static char *decode(const struct descriptor *desc, const char *p, size_t len)
{
	char *name = NULL;

	if (!is_utf8(desc->encoding) && !is_ascii(p, len))
		name = convert("UTF-8", desc->encoding, p, len);
	return name ? name : out_text("%.*s", (int)len, p);
}

char *descriptor_encode(const struct descriptor *desc, const char *name)
{
	if (is_utf8(desc->encoding) || is_ascii(name, strlen(name)))
		return out_text("%s", name);
	return convert(desc->encoding, "UTF-8", name, strlen(name));
}

/*-----------------------------------------------------------------
 * Extents
 */

/* "FILE" in quotes; they have no escapes. */
static bool quoted(struct line *l, struct line *name)
{
	const char *close;

	while (l->p < l->end && is_blank(*l->p))
		l->p++;
	if (l->p == l->end || *l->p != '"')
		return false;
	close = memchr(l->p + 1, '"', (size_t)(l->end - l->p - 1));
	if (!close)
		return false;
	name->p = l->p + 1;
	name->end = close;
	l->p = close + 1;
	return true;
}

static void add_extent(struct descriptor *desc,
		       const struct descriptor_extent *e)
{
	desc->extent = out_grow(desc->extent, desc->nr_extents + 1,
				sizeof(*desc->extent));
	desc->extent[desc->nr_extents++] = *e;
	desc->sectors += e->sectors;
}

/* SECTORS TYPE ["FILE" [OFFSET ...]], the access being read already. */
static char *parse_extent(struct descriptor *desc, struct line *l, int access,
			  const char *text)
{
	static const char *const types[] = {
		"FLAT", "VMFS", "ZERO", "SPARSE", "VMFSSPARSE", "SESPARSE", NULL,
	};
	struct descriptor_extent e = { .access = (enum descriptor_access)access };
	struct line word, name = { .p = NULL };
	u64 sum;
	int type;

	if (desc->nr_extents == DESCRIPTOR_MAX_EXTENTS)
		return bad(l, "More than 4096 extents");
	next_word(l, &word);
	if (!number(&word, &e.sectors) || (!e.sectors && !desc->informs))
		return bad(l, "Extent has no length");
	e.digits = span(text, word.p, word.end);
	if (vdisk_add(desc->sectors, e.sectors, &sum) || sum > 1ull << 54)
		return bad(l, "Extents are too long");
	next_word(l, &word);
	type = one_of(&word, types);
	if (type < 0)
		return bad_text(l, "Extent type cannot be used", &word);
	e.type = (enum descriptor_type)type;
	if (e.type != DESCRIPTOR_ZERO &&
	    (!quoted(l, &name) || (name.p == name.end && !desc->informs)))
		return bad(l, "Extent names no file");
	if (e.type == DESCRIPTOR_FLAT || e.type == DESCRIPTOR_VMFS) {
		/* VMFS lines leave it out, and mean 0. */
		if (next_word(l, &word) ? !number(&word, &e.offset_sec) ||
		    e.offset_sec > 1ull << 54 : e.type == DESCRIPTOR_FLAT)
			return bad(l, "Extent has no offset");
	}
	if (name.p) {
		e.name = span(text, name.p, name.end);
		e.file = decode(desc, name.p, (size_t)(name.end - name.p));
	}
	add_extent(desc, &e);
	return NULL;
}

/*-----------------------------------------------------------------
 * Keys
 */

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

/* Words of a key that say that the bytes of the extents are none of the disk. */
static bool is_key_of_cipher(const struct line *key)
{
	static const char *const begins[] = { "keyID", "encryption", NULL };
	size_t len = (size_t)(key->end - key->p);
	int i;

	for (i = 0; begins[i]; i++)
		if (len >= strlen(begins[i]) &&
		    !strncasecmp(key->p, begins[i], strlen(begins[i])))
			return true;
	return false;
}

static bool has_word(const struct line *value, const char *word)
{
	size_t n = strlen(word);
	const char *p;

	for (p = value->p; p + n <= value->end; p++)
		if (!strncasecmp(p, word, n))
			return true;
	return false;
}

static char *parse_version(struct descriptor *desc, const struct line *l,
			   const struct line *value)
{
	u64 version;

	if (!number(value, &version) || !version || version > 3)
		return bad(l, "Descriptor version is not 1 to 3");
	if (version == 3)
		desc->why_ro = tracked;
	return NULL;
}

static char *parse_filters(struct descriptor *desc, const struct line *l,
			   const struct line *value)
{
	if (has_word(value, "vmcrypt"))
		return bad_text(l, "Disk is encrypted", value);
	if (value->p < value->end && !desc->why_ro)
		desc->why_ro = "A filter must see what is written to this VMDK";
	return NULL;
}

static char *text_of(const struct descriptor *desc, const struct line *value)
{
	if (value->p == value->end)
		return NULL;
	return decode(desc, value->p, (size_t)(value->end - value->p));
}

/* An id that says something. */
static bool is_id(const struct line *value)
{
	const char *p;

	for (p = value->p; p < value->end; p++)
		if (*p != '0' && isxdigit((unsigned char)*p))
			return true;
	return false;
}

static char *parse_value(struct descriptor *desc, enum descriptor_key key,
			 const struct line *l, const struct line *value,
			 const char *text)
{
	switch (key) {
	case DESCRIPTOR_VERSION:
		return parse_version(desc, l, value);
	case DESCRIPTOR_CID:
		if (!hex(value, &desc->cid))
			return bad(l, "CID is not up to 8 hex digits");
		desc->cid_at = (u64)(value->p - text);
		desc->cid_len = (u32)(value->end - value->p);
		break;
	case DESCRIPTOR_PARENT_CID:
		if (!hex(value, &desc->parent_cid))
			return bad(l, "parentCID is not up to 8 hex digits");
		break;
	case DESCRIPTOR_CREATE_TYPE:
		desc->create_type = text_of(desc, value);
		break;
	case DESCRIPTOR_PARENT_HINT:
		desc->parent_hint = text_of(desc, value);
		break;
	case DESCRIPTOR_CHANGE_TRACK:
		if (value->p < value->end)
			desc->why_ro = tracked;
		break;
	case DESCRIPTOR_UUID_PARENT:
		if (is_id(value))
			desc->uuid_parent = text_of(desc, value);
		break;
	case DESCRIPTOR_IO_FILTERS:
		return parse_filters(desc, l, value);
	case DESCRIPTOR_ENCODING:
	case DESCRIPTOR_NR_KEYS:
		break;
	}
	return NULL;
}

static const char *const keys[] = {
	[DESCRIPTOR_VERSION] = "version",
	[DESCRIPTOR_CID] = "CID",
	[DESCRIPTOR_PARENT_CID] = "parentCID",
	[DESCRIPTOR_CREATE_TYPE] = "createType",
	[DESCRIPTOR_PARENT_HINT] = "parentFileNameHint",
	[DESCRIPTOR_ENCODING] = "encoding",
	[DESCRIPTOR_CHANGE_TRACK] = "changeTrackPath",
	[DESCRIPTOR_UUID_PARENT] = "ddb.uuid.parent",
	[DESCRIPTOR_IO_FILTERS] = "ddb.iofilters",
	[DESCRIPTOR_NR_KEYS] = NULL,
};

/* KEY=VALUE, the quotes off. */
static void split(const struct line *l, const char *eq, struct line *key,
		  struct line *value)
{
	*key = (struct line){ .p = l->p, .end = eq };
	*value = (struct line){ .p = eq + 1, .end = l->end };
	trim(key);
	trim(value);
	if (value->end - value->p >= 2 && *value->p == '"' &&
	    value->end[-1] == '"') {
		value->p++;
		value->end--;
	}
}

static char *parse_key(struct descriptor *desc, const struct line *l,
		       const char *eq, const char *text,
		       const struct descriptor_span *whole)
{
	struct line key, value;
	int k;

	split(l, eq, &key, &value);
	if (is_key_of_cipher(&key) && value.p < value.end)
		return bad_text(l, "Disk is encrypted", &key);
	k = one_of(&key, keys);
	if (k < 0 || desc->line[k].len)
		return NULL;
	desc->line[k] = *whole;
	return parse_value(desc, (enum descriptor_key)k, l, &value, text);
}

/* It says how all names are to be read, those before it, too. */
static void find_encoding(struct descriptor *desc, const char *p,
			  const char *end)
{
	struct line l = { .nr = 0 }, key, value;
	const char *eq;

	while (!desc->encoding && next_line(&p, end, &l)) {
		eq = memchr(l.p, '=', (size_t)(l.end - l.p));
		if (l.p == l.end || *l.p == '#' || !eq)
			continue;
		split(&l, eq, &key, &value);
		if (same(key.p, key.end, keys[DESCRIPTOR_ENCODING]))
			desc->encoding = out_text("%.*s",
						  (int)(value.end - value.p),
						  value.p);
	}
}

/*-----------------------------------------------------------------*/

/* @passed: the first complaint that was none. */
static char *parse_line(struct descriptor *desc, struct line *l,
			const char *text, const struct descriptor_span *whole,
			char **passed)
{
	static const char *const access[] = { "RW", "RDONLY", "NOACCESS", NULL };
	struct line rest = *l, word;
	const char *eq = memchr(l->p, '=', (size_t)(l->end - l->p));
	u32 nr = desc->nr_extents;
	char *what;
	int a;

	next_word(&rest, &word);
	a = one_of(&word, access);
	if (a < 0 && eq)
		return parse_key(desc, l, eq, text, whole);
	what = a < 0 ? bad(l, "Neither a key nor an extent") :
		       parse_extent(desc, &rest, a, text);
	if (desc->nr_extents > nr)
		desc->extent[nr].line = *whole;
	/* Where a header says where the bytes are this is not read for it. */
	if (!what || !desc->informs)
		return what;
	if (!*passed)
		*passed = what;
	else
		free(what);
	return NULL;
}

/* Encoded by two bytes a character: the whole becomes UTF-8 first. */
static char *recode(struct descriptor *desc, const void *text, size_t len)
{
	const u8 *b = text;
	char *new;

	if (len < 2 || !((b[0] == 0xff && b[1] == 0xfe) ||
			 (b[0] == 0xfe && b[1] == 0xff)))
		return NULL;
	new = convert("UTF-8", b[0] == 0xff ? "UTF-16LE" : "UTF-16BE",
		      (const char *)text + 2, (len - 2) & ~(size_t)1);
	desc->recoded = new;
	return new;
}

static char *parse_text(struct descriptor *desc, const char *text, size_t len)
{
	const char *p = text, *end = p + strnlen(p, len), *start;
	struct line l = { .nr = 0 };
	struct descriptor_span whole;
	char *what = NULL, *passed = NULL;

	/* A byte-order mark is what editors put before UTF-8. */
	if (end - p >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	if (!desc->recoded)
		find_encoding(desc, p, end);
	for (start = p; !what && next_line(&p, end, &l); start = p) {
		if (l.p == l.end || *l.p == '#')
			continue;
		whole = span(text, start, p);
		what = parse_line(desc, &l, text, &whole, &passed);
	}
	if (!what && (!desc->line[DESCRIPTOR_VERSION].len || !desc->cid_len)) {
		/* What lacks both is another text than it should be. */
		what = passed ? passed :
		       out_text("Descriptor says no %s",
				desc->line[DESCRIPTOR_VERSION].len ?
				"CID" : "version");
		passed = NULL;
	}
	free(passed);
	return what;
}

char *descriptor_parse(struct descriptor *desc, const void *text, size_t len,
		       bool informs)
{
	char *recoded, *what;

	*desc = (struct descriptor){
		.parent_cid = DESCRIPTOR_NO_CID, .informs = informs,
	};
	if (len > DESCRIPTOR_MAX_LEN)
		return out_text("Descriptor is longer than 1 MiB: %zu", len);
	recoded = recode(desc, text, len);
	if (!recoded)
		return parse_text(desc, text, len);
	what = parse_text(desc, recoded, strlen(recoded));
	if (!desc->why_ro)
		desc->why_ro = "Descriptor is UTF-16, which is only read";
	free(recoded);
	return what;
}

void descriptor_free(struct descriptor *desc)
{
	while (desc->nr_extents)
		free(desc->extent[--desc->nr_extents].file);
	free(desc->extent);
	free(desc->create_type);
	free(desc->parent_hint);
	free(desc->uuid_parent);
	free(desc->encoding);
	*desc = (struct descriptor){ .nr_extents = 0 };
}

bool descriptor_has_parent(const struct descriptor *desc)
{
	return desc->parent_cid != DESCRIPTOR_NO_CID || desc->parent_hint;
}

bool descriptor_no_cid(const struct descriptor *desc)
{
	return !desc->cid_len || desc->cid >= DESCRIPTOR_LONG_CID;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

bool descriptor_same(const struct descriptor *a, const struct descriptor *b)
{
	u32 i;

	if (a->cid != b->cid || a->parent_cid != b->parent_cid ||
	    a->nr_extents != b->nr_extents || a->why_ro != b->why_ro ||
	    !same_text(a->create_type, b->create_type) ||
	    !same_text(a->parent_hint, b->parent_hint) ||
	    !same_text(a->uuid_parent, b->uuid_parent) ||
	    !same_text(a->encoding, b->encoding))
		return false;
	for (i = 0; i < a->nr_extents; i++) {
		const struct descriptor_extent *p = &a->extent[i];
		const struct descriptor_extent *q = &b->extent[i];

		if (p->access != q->access || p->type != q->type ||
		    p->sectors != q->sectors ||
		    p->offset_sec != q->offset_sec ||
		    !same_text(p->file, q->file))
			return false;
	}
	return true;
}
