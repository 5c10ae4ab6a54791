// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing the text that describes a VMDK disk. The places that change are those
 * where the parser read what the disk is, and the new text is parsed before a byte
 * of it is written.
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

static char *no_change(const struct chain_layer *layer, const char *what)
{
	out_error(layer->path, "Descriptor cannot be changed: %s", what);
	return NULL;
}

/* @text read again, as it was read when the layer was opened. */
static bool parse(const struct chain_layer *layer, const char *text,
		  struct descriptor *desc)
{
	char *what = descriptor_parse(desc, text, strlen(text),
				      layer->desc->informs);

	if (what) {
		no_change(layer, what);
		free(what);
		descriptor_free(desc);
	}
	return !what;
}

/*
 * @text with @len bytes from @at on replaced, if what comes out is read as
 * @want, which is used up; or NULL after saying that it is not.
 */
static char *replace(const struct chain_layer *layer, const char *text,
		     struct descriptor_span at, const char *what,
		     struct descriptor *want)
{
	char *new = out_text("%.*s%s%s", (int)at.at, text, what,
			     text + at.at + at.len);
	struct descriptor got;
	bool good = false;

	if (parse(layer, new, &got)) {
		good = descriptor_same(want, &got);
		if (!good)
			no_change(layer, "it would be read as another");
		descriptor_free(&got);
	}
	descriptor_free(want);
	if (good)
		return new;
	free(new);
	return NULL;
}

static struct descriptor_extent *last_of(struct descriptor *desc)
{
	return desc->nr_extents ? &desc->extent[desc->nr_extents - 1] : NULL;
}

char *desc_text_extent(const struct chain_layer *layer, const char *text,
		       u64 sectors)
{
	struct descriptor_extent *last;
	struct descriptor desc;
	char digits[24];

	if (!parse(layer, text, &desc))
		return NULL;
	last = last_of(&desc);
	if (!last) {
		descriptor_free(&desc);
		/* Where a header counts the text need not know. */
		return layer->desc->informs ? out_text("%s", text) :
			no_change(layer, "it lists no extents");
	}
	last->sectors = sectors;
	snprintf(digits, sizeof(digits), "%llu", (unsigned long long)sectors);
	return replace(layer, text, last->digits, digits, &desc);
}

char *desc_text_name(const struct chain_layer *layer, const char *text)
{
	struct descriptor_extent *last;
	struct descriptor desc;
	char *name = NULL;

	if (!parse(layer, text, &desc))
		return NULL;
	last = last_of(&desc);
	if (last && last->file)
		name = out_text("%s", last->file);
	else
		no_change(layer, "its last extent has no name");
	descriptor_free(&desc);
	return name;
}

/* A line of the last extent's kind, with its line end, for another file. */
static char *extent_line(const char *text, const struct descriptor_extent *like,
			 u64 sectors, const char *name)
{
	size_t kind = like->digits.at + like->digits.len;
	size_t rest = like->name.at + like->name.len;
	size_t end = like->line.at + like->line.len;

	return out_text("%sRW %llu%.*s%s%.*s",
			text[end - 1] == '\n' ? "" : "\n",
			(unsigned long long)sectors,
			(int)(like->name.at - kind), text + kind, name,
			(int)(end - rest), text + rest);
}

char *desc_text_more(const struct chain_layer *layer, const char *text,
		     u64 sectors, const char *name)
{
	struct descriptor_extent more;
	struct descriptor desc;
	char *in, *line, *result = NULL;
	size_t end;

	if (!parse(layer, text, &desc))
		return NULL;
	in = descriptor_encode(&desc, name);
	if (!desc.nr_extents || !in) {
		no_change(layer, in ? "it lists no extents" :
			  "its encoding has no such name");
		descriptor_free(&desc);
		free(in);
		return NULL;
	}
	more = *last_of(&desc);
	end = more.line.at + more.line.len;
	line = extent_line(text, &more, sectors, in);
	more.access = DESCRIPTOR_RW;
	more.sectors = sectors;
	more.file = out_text("%s", name);
	desc.extent = out_grow(desc.extent, desc.nr_extents + 1,
			       sizeof(*desc.extent));
	desc.extent[desc.nr_extents++] = more;
	result = replace(layer, text, (struct descriptor_span){ end, 0 }, line,
			 &desc);
	free(line);
	free(in);
	return result;
}

/* Where a new line goes: behind those that it belongs to. */
static size_t place_of_key(const struct descriptor *desc, const char *text)
{
	static const enum descriptor_key after[] = {
		DESCRIPTOR_PARENT_CID, DESCRIPTOR_CID,
	};
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (desc->line[after[i]].len)
			return desc->line[after[i]].at +
			       desc->line[after[i]].len;
	return desc->nr_extents ? desc->extent[0].line.at : strlen(text);
}

static void set_cid(struct descriptor *desc, enum descriptor_key key, u32 cid)
{
	if (key == DESCRIPTOR_CID)
		desc->cid = cid;
	else
		desc->parent_cid = cid;
}

/* Replace the line of @key, or add one; @value NULL: there shall be none. */
static char *set_line(const struct chain_layer *layer, const char *text,
		      enum descriptor_key key, const char *name,
		      const char *value, struct descriptor *want)
{
	struct descriptor_span at = want->line[key];
	const char *cr = strchr(text, '\n');
	const char *lf = cr && cr > text && cr[-1] == '\r' ? "\r\n" : "\n";
	char *line, *result;

	if (!at.len && !value) {
		descriptor_free(want);
		return out_text("%s", text);
	}
	if (!at.len)
		at.at = place_of_key(want, text);
	line = value ? out_text("%s%s=%s%s",
				at.at && text[at.at - 1] != '\n' ? lf : "",
				name, value, lf) : out_text("%s", "");
	result = replace(layer, text, at, line, want);
	free(line);
	return result;
}

char *desc_text_cid(const struct chain_layer *layer, const char *text,
		    enum descriptor_key key, u32 cid)
{
	struct descriptor desc;
	char digits[9];

	if (!parse(layer, text, &desc))
		return NULL;
	set_cid(&desc, key, cid);
	snprintf(digits, sizeof(digits), "%08x", cid);
	return set_line(layer, text, key,
			key == DESCRIPTOR_CID ? "CID" : "parentCID", digits,
			&desc);
}

char *desc_text_parent(const struct chain_layer *layer, const char *text,
		       const char *name)
{
	struct descriptor desc;
	char *in, *quoted = NULL, *result;

	if (!parse(layer, text, &desc))
		return NULL;
	in = descriptor_encode(&desc, name);
	if (!in) {
		descriptor_free(&desc);
		return no_change(layer, "its encoding has no such name");
	}
	if (*in)
		quoted = out_text("\"%s\"", in);
	free(desc.parent_hint);
	desc.parent_hint = quoted ? out_text("%s", name) : NULL;
	result = set_line(layer, text, DESCRIPTOR_PARENT_HINT,
			  "parentFileNameHint", quoted, &desc);
	free(quoted);
	free(in);
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
