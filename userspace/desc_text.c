// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing the text that describes a VMDK disk.
 *
 * It is changed where it is if the change is in one sector. Else a text in a file of
 * its own is written to a new file, which takes the name and all else that is said
 * of the old one (desc_file.c). In a sparse extent the new one goes to the second half of the descriptor's room, the header
 * points there, and comes back when the first half has the new text, too: some
 * programs look nowhere else.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../formats/make.h"
#include "../formats/vmdk.h"
#include "desc_file.h"
#include "desc_text.h"
#include "out.h"

static int text_fd(const struct chain_layer *layer)
{
	return layer->text_fd >= 0 ? layer->text_fd : layer->part[0].fd;
}

static bool failed(const struct chain_layer *layer, int err)
{
	out_error(layer->path, "Descriptor: %s", strerror(err));
	return false;
}

static bool read_at(int fd, void *buf, size_t len, u64 off)
{
	ssize_t n = pread(fd, buf, len, (off_t)off);

	if (n >= 0 && (size_t)n < len)
		errno = EIO;
	return n == (ssize_t)len;
}

static bool write_at(int fd, const void *buf, size_t len, u64 off)
{
	ssize_t n = pwrite(fd, buf, len, (off_t)off);

	if (n >= 0 && (size_t)n < len)
		errno = ENOSPC;
	return n == (ssize_t)len;
}

/* Bytes the text has room for inside an extent. */
static bool read_room(const struct chain_layer *layer, u64 *room)
{
	struct vmdk_header_disk h;

	if (!read_at(text_fd(layer), &h, sizeof(h), 0))
		return false;
	*room = le64_of(h.desc_size) * VDISK_SECTOR;
	return true;
}

char *desc_text_read(const struct chain_layer *layer)
{
	struct stat st;
	u64 len = 0;
	char *text;

	if (layer->text_off)
		read_room(layer, &len);
	else if (!fstat(text_fd(layer), &st))
		len = (u64)st.st_size;
	if (!len || len > DESCRIPTOR_MAX_LEN) {
		failed(layer, EFBIG);
		return NULL;
	}
	text = out_alloc(len + 1, 1);
	if (read_at(text_fd(layer), text, len, layer->text_off))
		return text;
	failed(layer, errno);
	free(text);
	return NULL;
}

/*-----------------------------------------------------------------
 * Texts
 */

/* The line behind the one at @p. */
static const char *next_line(const char *p)
{
	p += strcspn(p, "\n");
	return *p ? p + 1 : p;
}

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

/* @text with [from, to) replaced. */
static char *replace(const char *text, const char *from, const char *to,
		     const char *what)
{
	return out_text("%.*s%s%s", (int)(from - text), text, what, to);
}

static bool is_extent(const char *line)
{
	static const char *const words[] = { "RW", "RDONLY", "NOACCESS" };
	unsigned int i;
	size_t n;

	line = skip_blanks(line);
	for (i = 0; i < 3; i++) {
		n = strlen(words[i]);
		if (!strncmp(line, words[i], n) && strchr(" \t", line[n]))
			return true;
	}
	return false;
}

static const char *last_extent(const char *text)
{
	const char *line, *last = NULL;

	for (line = text; *line; line = next_line(line))
		if (is_extent(line))
			last = line;
	return last;
}

char *desc_text_extent(const char *text, u64 sectors)
{
	const char *last = last_extent(text), *from;
	char number[24];

	if (!last)
		return out_text("%s", text);
	from = skip_blanks(last);
	from = skip_blanks(from + strcspn(from, " \t\n"));
	snprintf(number, sizeof(number), "%llu", (unsigned long long)sectors);
	return replace(text, from, from + strspn(from, "0123456789"), number);
}

/* Between the first quote of the line and its last. */
static bool quoted(const char *line, const char **from, const char **to)
{
	const char *end = line + strcspn(line, "\r\n");

	*from = memchr(line, '"', (size_t)(end - line));
	*to = memrchr(line, '"', (size_t)(end - line));
	return *from && (*from)++ < *to;
}

char *desc_text_name(const char *text)
{
	const char *last = last_extent(text), *from, *to;

	return last && quoted(last, &from, &to) ?
		out_text("%.*s", (int)(to - from), from) : out_text("%s", "");
}

char *desc_text_more(const char *text, u64 sectors, const char *name)
{
	const char *last = last_extent(text), *from, *to, *kind, *next;
	char *line, *more, *result;

	if (!last || !quoted(last, &from, &to))
		return out_text("%s", text);
	kind = skip_blanks(last);
	kind = skip_blanks(kind + strcspn(kind, " \t"));
	kind += strspn(kind, "0123456789");
	next = next_line(last);
	line = out_text("RW %llu%.*s%s%.*s", (unsigned long long)sectors,
			(int)(from - kind), kind, name, (int)(next - to), to);
	more = out_text("%s%s", next[-1] == '\n' ? "" : "\n", line);
	result = replace(text, next, next, more);
	free(line);
	free(more);
	return result;
}

static bool is_key(const char *line, const char *key)
{
	size_t n = strlen(key);

	line = skip_blanks(line);
	return !strncasecmp(line, key, n) && *skip_blanks(line + n) == '=';
}

char *desc_text_key(const char *text, const char *key, const char *value)
{
	const char *line, *after = NULL, *end = "\n";
	char *pair, *result;

	for (line = text; *line && !is_key(line, key); line = next_line(line)) {
		if (is_extent(line) && !after)
			after = line;
		/* New lines stand where those are that they belong to. */
		if (is_key(line, "parentCID") || is_key(line, "CID"))
			after = next_line(line);
		if (line[strcspn(line, "\r\n")] == '\r')
			end = "\r\n";
	}
	if (!*line && !value)
		return out_text("%s", text);
	pair = value ? out_text("%s=%s%s", key, value, end) : out_text("%s", "");
	if (*line)
		result = replace(text, line, next_line(line), pair);
	else
		result = replace(text, after ? after : line,
				 after ? after : line, pair);
	free(pair);
	return result;
}

/*-----------------------------------------------------------------
 * A file of its own
 */

/* The sectors of @a and @b that differ: how many, and the first. */
static u64 differ(const char *a, const char *b, u64 len, u64 *first)
{
	u64 n = 0, off;

	for (off = 0; off < len; off += VDISK_SECTOR) {
		if (!memcmp(a + off, b + off, VDISK_SECTOR))
			continue;
		*first = n ? *first : off;
		n++;
	}
	return n;
}

/* What is to be written where, for a file that is changed in place. */
struct patch {
	char *area;		/* the text, as long as the old one */
	u64 off, len;		/* what is to be written of it */
};

/*
 * Can it be, by one sector, which is the old one or the new one at any time? The
 * rest of a shorter text is empty lines, which say nothing.
 */
static bool is_small(const struct chain_layer *layer, const char *text,
		     struct patch *patch)
{
	char *old = desc_text_read(layer);
	u64 len = old ? strlen(old) : 0, room, nr = 0;

	*patch = (struct patch){ .area = NULL };
	if (!old || strlen(text) > len) {
		free(old);
		return false;
	}
	room = vdisk_align(len + 1, VDISK_SECTOR, 0);
	old = out_grow(old, room, 1);
	memset(old + len, 0, room - len);
	patch->area = out_alloc(room, 1);
	memset(patch->area, '\n', len);
	memcpy(patch->area, text, strlen(text));
	nr = differ(old, patch->area, room, &patch->off);
	patch->len = nr ? vdisk_min(VDISK_SECTOR, len - patch->off) : 0;
	free(old);
	return nr <= 1;
}

static bool has_links(const struct chain_layer *layer)
{
	struct stat st;

	if (fstat(text_fd(layer), &st) || st.st_nlink <= 1)
		return false;
	out_error(layer->path, "Descriptor has several hard links, and does "
		  "not stay as it is but for one sector: %llu",
		  (unsigned long long)st.st_nlink);
	return true;
}

static bool change_file(const struct chain_layer *layer, const char *text)
{
	struct patch patch;
	int r = 0;

	if (is_small(layer, text, &patch)) {
		if (patch.len &&
		    (!write_at(text_fd(layer), patch.area + patch.off,
			       patch.len, patch.off) ||
		     fdatasync(text_fd(layer))))
			r = -errno;
	} else if (has_links(layer)) {
		free(patch.area);
		return false;
	} else {
		r = desc_file_replace(layer->path, text_fd(layer), text);
	}
	free(patch.area);
	return r ? failed(layer, -r) : true;
}

bool desc_text_may_write(const struct chain_layer *layer, const char *text)
{
	struct patch patch;
	bool good;

	if (layer->text_off)
		return true;
	good = is_small(layer, text, &patch) || !has_links(layer);
	free(patch.area);
	return good;
}

/*-----------------------------------------------------------------
 * Inside an extent
 */

static bool point_at(int fd, u64 sector, u64 sectors)
{
	struct vmdk_header_disk h;

	if (!read_at(fd, &h, sizeof(h), 0))
		return false;
	h.desc_offset = to_le64(sector);
	h.desc_size = to_le64(sectors);
	return write_at(fd, &h, sizeof(h), 0) && !fdatasync(fd);
}

static bool write_by_halves(int fd, u64 off, u64 room, const char *area)
{
	u64 half = room / 2 / VDISK_SECTOR, len = half * VDISK_SECTOR;
	u64 sector = off / VDISK_SECTOR;
	char *zero = out_alloc(1, room - len);
	bool good;

	good = write_at(fd, area, len, off + room - len) && !fdatasync(fd) &&
	       point_at(fd, sector + room / VDISK_SECTOR - half, half) &&
	       write_at(fd, area, len, off) && !fdatasync(fd) &&
	       point_at(fd, sector, room / VDISK_SECTOR) &&
	       write_at(fd, zero, room - len, off + len) && !fdatasync(fd);
	free(zero);
	return good;
}

static bool change_inside(const struct chain_layer *layer, const char *text)
{
	u64 room, nr, first = 0, off = layer->text_off, len = strlen(text);
	char *old = desc_text_read(layer), *area;
	int fd = text_fd(layer);
	bool good;

	if (!old)
		return false;
	good = read_room(layer, &room);
	area = out_alloc(room + 1, 1);
	memcpy(area, text, vdisk_min(len, room));
	nr = differ(old, area, room, &first);
	errno = 0;
	if (len >= room) {
		errno = EFBIG;
		good = false;
	} else if (nr == 1) {
		good = good && write_at(fd, area + first, VDISK_SECTOR,
					off + first) && !fdatasync(fd);
	} else if (nr > 1) {
		errno = EFBIG;
		good = good && vdisk_max(len, strlen(old)) <
			       room / 2 / VDISK_SECTOR * VDISK_SECTOR;
		errno = good ? 0 : errno;
		good = good && write_by_halves(fd, off, room, area);
	}
	if (!good)
		failed(layer, errno ? errno : EIO);
	free(area);
	free(old);
	return good;
}

bool desc_text_write(const struct chain_layer *layer, const char *text)
{
	return layer->text_off ? change_inside(layer, text)
			       : change_file(layer, text);
}
