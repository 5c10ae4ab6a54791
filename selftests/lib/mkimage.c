// SPDX-License-Identifier: GPL-2.0
/* Empty images of every format, for tests. */
#include <stdio.h>
#include <stdlib.h>

#include "mkimage.h"

struct args {
	char *const *keys;
	size_t nr;
	u64 used;		/* bit i: keys[i] was asked for */
	const char *wrong;
};

static const char *text(struct args *a, const char *key, const char *none)
{
	size_t i, n = strlen(key);

	for (i = 0; i < a->nr; i++) {
		if (strncmp(a->keys[i], key, n) || a->keys[i][n] != '=')
			continue;
		a->used |= 1ull << i;
		return a->keys[i] + n + 1;
	}
	return none;
}

static u64 num(struct args *a, const char *key, u64 none)
{
	const char *t = text(a, key, NULL);
	char *end;
	u64 v;

	if (!t)
		return none;
	v = strtoull(t, &end, 0);
	if (*end == 'k')
		v <<= 10;
	else if (*end == 'M')
		v <<= 20;
	else if (*end == 'G')
		v <<= 30;
	if (end == t || (*end && end[1]))
		a->wrong = "Not a number";
	return v;
}

static bool flag(struct args *a, const char *key, bool none)
{
	return num(a, key, none);
}

/* 32 hex digits, or a pattern of @none. */
static void id_of(struct args *a, const char *key, u8 none, u8 *id)
{
	const char *t = text(a, key, NULL);
	unsigned int v;
	int i;

	memset(id, none, 16);
	for (i = 0; t && i < 16; i++) {
		if (sscanf(t + 2 * i, "%2x", &v) != 1) {
			a->wrong = "Not an id of 32 hex digits";
			return;
		}
		id[i] = (u8)v;
	}
}

static void put(struct args *a, struct vdisk_store *store, u64 off,
		const void *buf, size_t len)
{
	if (!a->wrong && vdisk_store_write(store, off, buf, len))
		a->wrong = "Cannot write the image";
}

static void put_length(struct args *a, struct vdisk_store *store, u64 len)
{
	if (!a->wrong && len > store->length &&
	    vdisk_store_set_length(store, len))
		a->wrong = "Cannot make the image as long";
}

/* @n bytes of @v at @off. */
static void put_fill(struct args *a, struct vdisk_store *store, u64 off, u8 v,
		     u64 n)
{
	u8 buf[4096];
	u64 len;

	memset(buf, v, sizeof(buf));
	for (; n; n -= len, off += len) {
		len = vdisk_min(n, sizeof(buf));
		put(a, store, off, buf, len);
	}
}

static void le(u8 *p, u64 v, u32 width)
{
	vdisk_store(p, v, width, false);
}

static void be(u8 *p, u64 v, u32 width)
{
	vdisk_store(p, v, width, true);
}

/*-----------------------------------------------------------------
 * VHD
 */

static void vhd_sum(u8 *p, u32 len, u32 at)
{
	u32 i, sum = 0;

	be(p + at, 0, 4);
	for (i = 0; i < len; i++)
		sum += p[i];
	be(p + at, ~sum, 4);
}

static void vhd_footer(struct args *a, u8 *f, u64 size, u32 type)
{
	const char *creator = text(a, "creator", "win ");

	memset(f, 0, 512);
	memcpy(f, "conectix", 8);
	be(f + 8, 2, 4);
	be(f + 12, 0x10000, 4);
	be(f + 16, type == 2 ? ~0ull : 512, 8);
	be(f + 24, 0x2a000000, 4);
	memcpy(f + 28, creator, strnlen(creator, 4));
	be(f + 32, 0x60001, 4);
	memcpy(f + 36, "Wi2k", 4);
	be(f + 40, size, 8);
	be(f + 48, size, 8);
	be(f + 56, num(a, "cylinders", 65535), 2);
	be(f + 58, num(a, "heads", 16), 1);
	be(f + 59, num(a, "sectors", 255), 1);
	be(f + 60, type, 4);
	id_of(a, "id", 0x11, f + 68);
	be(f + 84, num(a, "saved", 0), 1);
	vhd_sum(f, 512, 64);
}

static void vhd_header(struct args *a, u8 *h, u64 bat, u64 entries, u64 block,
		       u32 type)
{
	const char *parent = text(a, "parent", "");
	size_t i;

	memset(h, 0, 1024);
	memcpy(h, "cxsparse", 8);
	be(h + 8, ~0ull, 8);
	be(h + 16, bat, 8);
	be(h + 24, 0x10000, 4);
	be(h + 28, entries, 4);
	be(h + 32, block, 4);
	if (type == 4)
		id_of(a, "parent_id", 0x22, h + 40);
	for (i = 0; parent[i] && i < 256; i++)
		be(h + 64 + 2 * i, (u8)parent[i], 2);
	vhd_sum(h, 1024, 36);
}

static void make_vhd(struct args *a, struct vdisk_store *store, u64 size)
{
	const char *name = text(a, "type", "dynamic");
	u32 type = !strcmp(name, "fixed") ? 2 : !strcmp(name, "dynamic") ? 3 : 4;
	u64 block = num(a, "block", 2 << 20), bat = num(a, "bat", 1536);
	u64 entries = num(a, "entries", vdisk_div_up(size, block ? block : 1));
	u64 end, gap = num(a, "gap", 0);
	bool trailer = flag(a, "trailer", true);
	u8 f[512], h[1024];

	vhd_footer(a, f, size, type);
	end = size;
	if (type != 2) {
		vhd_header(a, h, bat, entries, block, type);
		put(a, store, 0, f, sizeof(f));
		put(a, store, 512, h, sizeof(h));
		end = vdisk_align(bat + entries * 4, 512, 0);
		put_fill(a, store, bat, 0xff, end - bat);
	}
	put_length(a, store, end + gap);
	if (trailer)
		put(a, store, end + gap, f, sizeof(f));
}

/*-----------------------------------------------------------------
 * QED
 */

static void make_qed(struct args *a, struct vdisk_store *store, u64 size)
{
	u64 cluster = num(a, "cluster", 65536), table = num(a, "table", 4);
	u64 header = num(a, "header", 1);
	const char *backing = text(a, "backing", NULL);
	u64 features = backing ? flag(a, "raw", false) ? 5 : 1 : 0;
	u8 h[64] = "QED";

	le(h + 4, cluster, 4);
	le(h + 8, table, 4);
	le(h + 12, header, 4);
	le(h + 16, num(a, "features", features), 8);
	le(h + 32, num(a, "autoclear", 0), 8);
	le(h + 40, header * cluster, 8);
	le(h + 48, size, 8);
	if (backing) {
		le(h + 56, sizeof(h), 4);
		le(h + 60, strlen(backing), 4);
		put(a, store, sizeof(h), backing, strlen(backing));
	}
	put(a, store, 0, h, sizeof(h));
	put_fill(a, store, header * cluster, 0, table * cluster);
	put_length(a, store, (header + table) * cluster);
}

/*-----------------------------------------------------------------
 * Parallels
 */

static void make_parallels(struct args *a, struct vdisk_store *store, u64 size)
{
	u64 version = num(a, "version", 2), sectors = size / 512;
	u64 cluster = num(a, "cluster", 1 << 20), tracks = cluster / 512;
	u64 entries = num(a, "entries", vdisk_div_up(sectors, tracks + !tracks));
	u64 least = vdisk_div_up(64 + entries * 4, 512), data_off, start;
	u8 h[64];

	data_off = version == 1 ? least : vdisk_align(least, tracks, 0);
	data_off = num(a, "data_off", data_off);
	start = data_off ? data_off : least;
	memset(h, 0, sizeof(h));
	memcpy(h, version == 1 ? "WithoutFreeSpace" : "WithouFreSpacExt", 16);
	le(h + 16, 2, 4);
	le(h + 20, 16, 4);
	le(h + 24, sectors / 512, 4);
	le(h + 28, tracks, 4);
	le(h + 32, entries, 4);
	le(h + 36, sectors, 8);
	le(h + 44, num(a, "in_use", 0), 4);
	le(h + 48, data_off, 4);
	le(h + 52, num(a, "flags", 0), 4);
	if (flag(a, "ext", false)) {
		u8 ext[64] = { 0 };

		/* A dirty bitmap without bits; its sum is not checked. */
		le(h + 56, start, 8);
		le(ext, 0xAB234CEF23DCEA87ull, 8);
		le(ext + 24, 0x20385FAE252CB34Aull, 8);
		put_length(a, store, start * 512 + cluster);
		put(a, store, start * 512, ext, sizeof(ext));
	}
	put_fill(a, store, 0, 0, start * 512);
	put(a, store, 0, h, sizeof(h));
	put_length(a, store, start * 512);
}

/*-----------------------------------------------------------------
 * VMDK
 */

/* A directory at sector @gd and, with @tables, its tables behind it. */
static u64 vmdk_tables(struct args *a, struct vdisk_store *store, u64 gd,
		       u64 nr, u64 gt_sectors, bool tables)
{
	u64 first = gd + vdisk_div_up(nr * 4, 512), i;
	u8 e[4];

	put_fill(a, store, gd * 512, 0, (first - gd) * 512);
	for (i = 0; tables && i < nr; i++) {
		le(e, first + i * gt_sectors, 4);
		put(a, store, gd * 512 + i * 4, e, 4);
	}
	if (tables)
		put_length(a, store, (first + nr * gt_sectors) * 512);
	return tables ? first + nr * gt_sectors : first;
}

static void vmdk_descriptor(struct args *a, char *t, size_t room, u64 sectors)
{
	const char *parent = text(a, "parent", NULL);

	memset(t, 0, room);
	snprintf(t, room,
		 "# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\n"
		 "createType=\"monolithicSparse\"\n%s%s%s"
		 "\n# Extent description\nRW %llu SPARSE \"image.vmdk\"\n"
		 "\n# The Disk Data Base\n#DDB\n\n"
		 "ddb.virtualHWVersion = \"4\"\n"
		 "ddb.adapterType = \"ide\"\n",
		 text(a, "cid", "12345678"), text(a, "parent_cid", "ffffffff"),
		 parent ? "parentFileNameHint=\"" : "", parent ? parent : "",
		 parent ? "\"\n" : "", (unsigned long long)sectors);
}

/* What stands before each part of a stream. */
static void vmdk_marker(struct args *a, struct vdisk_store *store, u64 sector,
			u64 value, u32 type)
{
	u8 m[512] = { 0 };

	le(m, value, 8);
	le(m + 12, type, 4);
	put(a, store, sector * 512, m, sizeof(m));
}

/* The end of a stream: directory, footer, end marker, each with its marker. */
static void vmdk_end(struct args *a, struct vdisk_store *store, u8 *h, u64 gd,
		     u64 nr)
{
	u64 end = gd + vdisk_div_up(nr * 4, 512);

	vmdk_marker(a, store, gd - 1, end - gd, 2);
	vmdk_marker(a, store, end, 1, 3);
	le(h + 56, gd, 8);
	put(a, store, (end + 1) * 512, h, 512);
	vmdk_marker(a, store, end + 2, 0, 0);
	le(h + 56, ~0ull, 8);
}

static void make_vmdk(struct args *a, struct vdisk_store *store, u64 size)
{
	u64 grain = num(a, "grain", 65536) / 512, gtes = num(a, "gtes", 512);
	bool packed = flag(a, "packed", false), footer = flag(a, "footer", false);
	bool redundant = flag(a, "redundant", !packed);
	bool zeroed = flag(a, "zeroed", false);
	bool tables = flag(a, "tables", !packed);
	u64 sectors = size / 512, cov = grain * gtes;
	u64 nr = vdisk_div_up(sectors, cov + !cov), gd, rgd = 21;
	u64 gt_sectors = vdisk_div_up(gtes * 4, 512), end;
	char desc[20 * 512];
	u8 h[512] = "KDMV";

	end = rgd;
	if (redundant)
		end = vmdk_tables(a, store, rgd, nr, gt_sectors, tables);
	gd = end + footer;	/* a marker before it */
	end = vmdk_tables(a, store, gd, nr, gt_sectors, tables);
	end = footer ? rgd : packed ? end : vdisk_align(end, grain + !grain, 0);
	le(h + 4, num(a, "version", packed ? 3 : zeroed ? 2 : 1), 4);
	le(h + 8, 1 | (redundant ? 2 : 0) | (zeroed ? 4 : 0) |
		  (packed ? 0x30000 : 0), 4);
	le(h + 12, sectors, 8);
	le(h + 20, grain, 8);
	le(h + 28, 1, 8);
	le(h + 36, 20, 8);
	le(h + 44, gtes, 4);
	le(h + 48, redundant ? rgd : 0, 8);
	le(h + 56, gd, 8);
	le(h + 64, end, 8);
	h[72] = (u8)num(a, "unclean", 0);
	memcpy(h + 73, "\n \r\n", 4);
	le(h + 77, packed, 2);
	vmdk_descriptor(a, desc, sizeof(desc), sectors);
	if (footer)
		vmdk_end(a, store, h, gd, nr);
	put(a, store, 0, h, sizeof(h));
	put(a, store, 512, desc, sizeof(desc));
	put_length(a, store, end * 512);
}

static void make_cowd(struct args *a, struct vdisk_store *store, u64 size)
{
	u64 grain = num(a, "grain", 512) / 512, sectors = size / 512, end;
	u64 nr = vdisk_div_up(sectors, 4096 * grain + !grain);
	u8 h[2048] = "COWD";

	end = vmdk_tables(a, store, 4, nr, 32, flag(a, "tables", false));
	le(h + 4, 1, 4);
	le(h + 8, 3, 4);
	le(h + 12, sectors, 4);
	le(h + 16, grain, 4);
	le(h + 20, 4, 4);
	le(h + 24, nr, 4);
	le(h + 28, end, 4);
	le(h + 1648, num(a, "unclean", 0), 4);
	put(a, store, 0, h, sizeof(h));
	put_length(a, store, end * 512);
}

static void make_raw(struct args *a, struct vdisk_store *store, u64 size)
{
	put_length(a, store, size);
}

static const struct maker {
	const char *format;
	void (*make)(struct args *a, struct vdisk_store *store, u64 size);
} makers[] = {
	{ "vhd", make_vhd },
	{ "qed", make_qed },
	{ "parallels", make_parallels },
	{ "vmdk", make_vmdk },
	{ "cowd", make_cowd },
	{ "raw", make_raw },
};

const char *mkimage(struct vdisk_store *store, const char *format,
		    char *const *keys, size_t nr)
{
	struct args a = { .keys = keys, .nr = nr };
	size_t i;
	u64 size;

	if (nr > 32)
		return "Too many keys";
	size = num(&a, "size", 0);
	for (i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
		if (strcmp(makers[i].format, format))
			continue;
		makers[i].make(&a, store, size);
		if (!a.wrong && a.used != (1ull << nr) - 1)
			return "Unknown key";
		return a.wrong;
	}
	return "Unknown format";
}

const char *mkimage_line(struct vdisk_store *store, const char *line)
{
	char copy[512], *word[33], *save, *w;
	size_t nr = 0;

	if (strlen(line) >= sizeof(copy))
		return "Line is too long";
	strcpy(copy, line);
	for (w = strtok_r(copy, " ", &save); w && nr < 33;
	     w = strtok_r(NULL, " ", &save))
		word[nr++] = w;
	if (!nr)
		return "Unknown format";
	return mkimage(store, word[0], word + 1, nr - 1);
}
