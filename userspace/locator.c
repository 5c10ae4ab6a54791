// SPDX-License-Identifier: GPL-2.0-or-later
/* What a differencing VHD says about where its parent is. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "../formats/vhd.h"
#include "locator.h"
#include "out.h"

enum {
	W2RU = 0x57327275,	/* relative to the child, UTF-16LE */
	W2KU = 0x57326b75,	/* absolute, UTF-16LE */
	LONGEST = 65536,	/* bytes of a locator; Windows ends at 32767
				 * characters
				 */
};

static char *put_utf8(char *to, u32 c)
{
	int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const u8 first[] = { 0, 0xc0, 0xe0, 0xf0 };

	*to++ = (char)(first[more] | c >> (6 * more));
	while (more--)
		*to++ = (char)(0x80 | (c >> (6 * more) & 0x3f));
	return to;
}

/* UTF-16 up to a zero or @len, as UTF-8; NULL if it is malformed or empty. */
static char *from_utf16(const u8 *p, u32 len, bool big)
{
	char *text = out_alloc(len / 2 + 1, 3), *to = text;
	u32 c, low, i;

	for (i = 0; i + 1 < len; i += 2) {
		c = big ? vdisk_be16(p + i) : vdisk_le16(p + i);
		if (!c)
			break;
		if (c >= 0xd800 && c < 0xe000) {
			low = i + 3 >= len ? 0 : big ? vdisk_be16(p + i + 2)
						     : vdisk_le16(p + i + 2);
			if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000) {
				to = text;
				break;
			}
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i += 2;
		}
		to = put_utf8(to, c == '\\' ? '/' : c);
	}
	*to = 0;
	if (to > text)
		return text;
	free(text);
	return NULL;
}

/* Takes @text over; a name that is there already is not added again. */
static void add(struct chain_names *names, char *text)
{
	unsigned int i;
	char *drive = text;

	if (!text)
		return;
	if (((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z') && text[1] == ':')
		memmove(drive, text + 2, strlen(text + 2) + 1);
	for (i = 0; i < names->nr; i++) {
		if (strcmp(names->name[i], text))
			continue;
		free(text);
		return;
	}
	names->name[names->nr++] = text;
}

static int read_locator(struct vdisk_store *store,
			const struct vhd_locator_disk *l, char **text)
{
	u32 len = be32_of(l->data_length);
	u64 off = be64_of(l->data_offset);
	u8 *bytes;
	int r;

	*text = NULL;
	if (!len || len > LONGEST || off > store->length ||
	    len > store->length - off)
		return 0;
	bytes = out_alloc(1, len);
	r = vdisk_store_read(store, off, bytes, len);
	if (!r)
		*text = from_utf16(bytes, len, false);
	free(bytes);
	return r;
}

int locator_read(struct vdisk_store *store, const struct vdisk_geom *geom,
		 struct chain_names *names)
{
	static const u32 codes[] = { W2RU, W2KU };
	const struct vhd_footer_disk *f = (const void *)geom->tail;
	struct vhd_header_disk h;
	unsigned int i, j, nr;
	const char *slash;
	char *text;
	int r;

	r = vdisk_store_read(store, be64_of(f->data_offset), &h, sizeof(h));
	for (i = 0; !r && i < 2; i++) {
		for (j = 0; j < VHD_LOCATORS; j++)
			if (be32_of(h.locator[j].code) == codes[i])
				break;
		if (j == VHD_LOCATORS)
			continue;
		r = read_locator(store, &h.locator[j], &text);
		if (!r)
			add(names, text);
	}
	if (r)
		return r;
	add(names, from_utf16(h.parent_name, sizeof(h.parent_name), true));
	nr = names->nr;
	for (i = 0; i < nr; i++) {
		slash = strrchr(names->name[i], '/');
		if (slash && slash[1])
			add(names, out_text("%s", slash + 1));
	}
	return 0;
}
