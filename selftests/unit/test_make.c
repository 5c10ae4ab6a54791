// SPDX-License-Identifier: GPL-2.0
/*
 * Makers: what is made is opened for writing, holds nothing, and says what the
 * recipe says; pieces do not overlap; each refusal is given, and at the limit
 * there is none yet.
 */
#include "test.h"
#include "../../formats/raw_make.c"
#include "../../formats/vhd_make.c"
#include "../../formats/vmdk_make.c"
#include "../../formats/parallels_make.c"
#include "../../formats/qed_make.c"
#include "steps.h"
#include "phrases.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))
#define ROOM (16ull << 30)	/* of address space */

enum { RAW, VHD, VMDK, STREAM, COWD, PARALLELS, QED };

static const struct vdisk_maker *const makers[] = {
	&vdisk_raw_maker, &vdisk_vhd_maker, &vdisk_vmdk_maker,
	&vdisk_stream_maker, &vdisk_cowd_maker, &vdisk_parallels_maker,
	&vdisk_qed_maker,
};

static const char text[] = "# Disk DescriptorFile\nversion=1\n";

#define K 1024ull
#define M (K * K)
#define G (M * K)
#define T (G * K)
#define SECTORS(bytes) ((bytes) / VDISK_SECTOR)

struct row {
	const char *name;
	int maker;
	struct vdisk_recipe recipe;
	const char *why;	/* NULL = it is made */
	u64 value;		/* with why; else the disk's sectors, 0 = as wanted */
	bool huge;		/* the tables are not walked */
};

/* Bytes may have one owner. */
static struct span {
	u64 off, len;
} spans[64];

static u32 nr_spans;

static bool is_free(u64 off, u64 len)
{
	u32 i;

	for (i = 0; i < nr_spans; i++)
		if (off < spans[i].off + spans[i].len &&
		    spans[i].off < off + len)
			return false;
	spans[nr_spans++] = (struct span){ off, len };
	return true;
}

static void put_piece(struct image *img, const struct vdisk_piece *p)
{
	u64 len = p->len ? p->len : p->count * p->width, i;

	if (p->off + len > img->len)
		breach("a piece passes the end of the file");
	else if (!is_free(p->off, len))
		breach("two pieces overlap");
	else if (p->len)
		memcpy(img->mem + p->off, p->data, len);
	else
		for (i = 0; i < p->count; i++)
			vdisk_store(img->mem + p->off + i * p->width,
				    p->value + i * p->step, p->width, p->big);
}

static void make(const struct row *row, const struct vdisk_layout *layout,
		 struct image *img)
{
	struct vdisk_piece *p = malloc(sizeof(*p));
	u32 i;

	nr_spans = 0;
	img->len = layout->file_len;
	/* A piece owes nothing to what was there before. */
	for (i = 0; i < ARRAY(spans); i++) {
		memset(p, 0, sizeof(*p));
		if (!makers[row->maker]->piece(&row->recipe, layout, i, p))
			break;
		put_piece(img, p);
	}
	if (i == ARRAY(spans))
		breach("pieces do not end");
	free(p);
}

static void check_empty(struct image *img, const struct vdisk_format *fmt,
			const struct vdisk_geom *geom)
{
	enum vdisk_kind want = geom->flags & VDISK_GEOM_NO_ALLOC ? VDISK_DATA :
			       VDISK_PARENT;
	struct vdisk_extent e;
	struct vdisk_step step;
	u64 at = 0;

	while (at < geom->size_sec && !steps_broken) {
		e = (struct vdisk_extent){ 0 };
		if (STEP(img, &step, fmt->map(geom, &step, at,
					      geom->size_sec - at, &e)))
			breach(step.why);
		if (e.kind != want && e.kind != VDISK_ZERO)
			breach("a new image holds something");
		if (!e.sectors)
			break;
		at += e.sectors;
	}
}

static void check_made(const struct row *row, const struct vdisk_layout *layout)
{
	const struct vdisk_format *fmt = makers[row->maker]->format;
	struct vdisk_params params = { .write = true };
	struct model m = { .fmt = fmt };
	struct vdisk_step step;
	int r;

	steps_broken = NULL;
	image_new(&m.img, ROOM);
	if (row->maker != RAW)
		make(row, layout, &m.img);
	m.img.len = params.file_len = layout->file_len;
	r = STEP(&m.img, &step, fmt->open(&params, &step, &m.geom));
	T_STR(r ? step.why : NULL, NULL, t_name("%s: opens", row->name));
	m.img.data_end = m.geom.data_end;
	if (!r) {
		T_EQ(m.geom.size_sec, row->value ? row->value :
		     row->recipe.size_sec, t_name("%s: the size", row->name));
		T_EQ(m.geom.flags & (VDISK_GEOM_DIRTY | VDISK_GEOM_RDONLY |
				     VDISK_GEOM_SCAN), 0,
		     t_name("%s: may be written", row->name));
		T_EQ(!!(m.geom.flags & VDISK_GEOM_PARENT),
		     row->recipe.parent && row->maker != COWD,
		     t_name("%s: the parent", row->name));
		if (!row->huge)
			check_empty(&m.img, fmt, &m.geom);
		/* It asks for each unit alone. */
		if (!row->huge && !(m.geom.flags & VDISK_GEOM_NO_ALLOC) &&
		    m.geom.size_sec / m.geom.unit_sec < 100000)
			check_walk(&m);
	}
	T_STR(steps_broken, NULL, t_name("%s: is empty and sound", row->name));
	image_free(&m.img);
}

#define PARENT(name) .parent = name, .parent_len = sizeof(name) - 1
#define TEXT .text = text, .text_len = sizeof(text) - 1

static const struct row rows[] = {
	{ "raw", RAW, { .size_sec = 1 } },
	{ "raw, the longest", RAW, { .size_sec = (1ull << 54) - 1 } },
	{ "raw, one more", RAW, { .size_sec = 1ull << 54 },
	  "Disk has 2^63 bytes or more", 1ull << 54 },
	{ "raw, empty", RAW, { 0 }, "The disk is empty" },

	{ "fixed VHD", VHD, { .size_sec = 1, .fixed = true } },
	{ "fixed VHD by geometry", VHD,
	  { .size_sec = SECTORS(10 * M), .fixed = true, .rounded = true },
	  NULL, 20536 },
	{ "VHD", VHD, { .size_sec = 1, .unit_len = 2 * M } },
	{ "VHD of small blocks", VHD,
	  { .size_sec = 99999, .unit_len = 4 * K } },
	{ "VHD of large blocks", VHD,
	  { .size_sec = SECTORS(G) + 1, .unit_len = 256 * M } },
	{ "VHD, the longest", VHD,
	  { .size_sec = VHD_MAX_SECTORS, .unit_len = 2 * M }, .huge = true },
	{ "VHD, the longest of blocks of 1 MiB", VHD,
	  { .size_sec = VHD_MAX_SECTORS, .unit_len = M }, .huge = true },
	{ "VHD, the longest of blocks of 512 KiB", VHD,
	  { .size_sec = VHD_MAX_SECTORS, .unit_len = 512 * K },
	  "Block size is too small for the disk", 512 * K },
	{ "VHD, one more", VHD,
	  { .size_sec = VHD_MAX_SECTORS + 1, .unit_len = 2 * M },
	  "VHD is larger than 2040 GiB, sectors", VHD_MAX_SECTORS + 1 },
	{ "VHD, fixed, one too many", VHD, { .size_sec = VHD_MAX_FIXED,
	  .fixed = true }, "Fixed VHD is too large, sectors", VHD_MAX_FIXED },
	{ "VHD, empty", VHD, { .unit_len = 2 * M }, "The disk is empty" },
	{ "VHD of blocks too small", VHD, { .size_sec = 1, .unit_len = 2 * K },
	  "Block size is not a power of 2, 4 KiB to 256 MiB", 2 * K },
	{ "VHD of blocks too large", VHD,
	  { .size_sec = 1, .unit_len = 512 * M },
	  "Block size is not a power of 2, 4 KiB to 256 MiB", 512 * M },
	{ "VHD of odd blocks", VHD, { .size_sec = 1, .unit_len = 3 * M },
	  "Block size is not a power of 2, 4 KiB to 256 MiB", 3 * M },
	{ "VHD on another", VHD,
	  { .size_sec = 20480, .unit_len = 2 * M, PARENT("sub/base.vhd") } },
	{ "VHD on another elsewhere", VHD,
	  { .size_sec = 20480, .unit_len = 2 * M, PARENT("/a/b.vhd") } },
	{ "VHD on no file", VHD,
	  { .size_sec = 1, .unit_len = 2 * M, PARENT("base/") },
	  "Parent's name is no file's", 5 },
	{ "VHD on an empty name", VHD,
	  { .size_sec = 1, .unit_len = 2 * M, PARENT("") },
	  "Parent's name is no file's", 0 },
	{ "VHD on a backslash", VHD,
	  { .size_sec = 1, .unit_len = 2 * M, PARENT("a\\b") },
	  "Parent's name cannot be told to Windows", 3 },
	{ "VHD on half a letter", VHD,
	  { .size_sec = 1, .unit_len = 2 * M, PARENT("a\xc3") },
	  "Parent's name cannot be told to Windows", 2 },
	{ "VHD on a surrogate", VHD,
	  { .size_sec = 1, .unit_len = 2 * M, PARENT("a\xed\xa0\x80") },
	  "Parent's name cannot be told to Windows", 4 },

	{ "VMDK", VMDK, { .size_sec = 1, .unit_len = 64 * K, TEXT } },
	{ "VMDK without a text", VMDK, { .size_sec = 4194304, .unit_len = 64 * K } },
	{ "VMDK with zeroed grains", VMDK,
	  { .size_sec = SECTORS(5 * G), .unit_len = 64 * K, .zeroed = true, TEXT } },
	{ "VMDK of small grains", VMDK,
	  { .size_sec = SECTORS(99 * M) + 1, .unit_len = 4 * K, TEXT } },
	{ "VMDK of large grains", VMDK,
	  { .size_sec = SECTORS(G) + 1, .unit_len = G, TEXT } },
	{ "VMDK, the longest", VMDK,
	  { .size_sec = (1ull << 32) - 525312, .unit_len = 64 * K, TEXT },
	  .huge = true },
	{ "VMDK, a grain more", VMDK,
	  { .size_sec = (1ull << 32) - 525312 + 1, .unit_len = 64 * K, TEXT },
	  "Disk and tables exceed 2 TiB, sectors",
	  (1ull << 32) - 525312 + 1 },
	{ "VMDK, far too long", VMDK,
	  { .size_sec = 1ull << 54, .unit_len = 64 * K, TEXT },
	  "Disk is too long for a VMDK, sectors", 1ull << 54 },
	{ "VMDK, empty", VMDK, { .unit_len = 64 * K }, "The disk is empty" },
	{ "VMDK of odd grains", VMDK, { .size_sec = 1, .unit_len = 3 * K },
	  "Grain size is not a power of two", 3 * K },
	{ "VMDK of no grains", VMDK, { .size_sec = 1 },
	  "Grain size is not a power of two", 0 },
	{ "VMDK of grains too small", VMDK, { .size_sec = 1, .unit_len = 2 * K },
	  "Grain size is not 4 KiB to 1 GiB", 2 * K },
	{ "VMDK of grains too large", VMDK, { .size_sec = 1, .unit_len = 2 * G },
	  "Grain size is not 4 KiB to 1 GiB", 2 * G },
	{ "VMDK, the text too long", VMDK,
	  { .size_sec = 1, .unit_len = 64 * K, .text = text, .text_len = 10241 },
	  "Descriptor is longer than 10240 bytes", 10241 },

	{ "stream", STREAM, { .size_sec = 1, .unit_len = 64 * K, TEXT } },
	{ "stream of a long disk", STREAM,
	  { .size_sec = SECTORS(5 * T), .unit_len = 64 * K, TEXT } },
	{ "stream of large grains", STREAM,
	  { .size_sec = SECTORS(G), .unit_len = M, TEXT } },
	{ "stream of grains too large", STREAM,
	  { .size_sec = SECTORS(G), .unit_len = 2 * M, TEXT },
	  "Grain size is not 4 KiB to 1 MiB", 2 * M },

	{ "COWD", COWD, { .size_sec = 1, .unit_len = 512 } },
	{ "COWD on another", COWD,
	  { .size_sec = 99999, .unit_len = 512, PARENT("base.vmdk") } },
	{ "COWD of large grains", COWD,
	  { .size_sec = SECTORS(T), .unit_len = M } },
	{ "COWD, the longest", COWD,
	  { .size_sec = 4294948864, .unit_len = M }, .huge = true },
	{ "COWD, a grain more", COWD,
	  { .size_sec = 4294948864 + 1, .unit_len = M },
	  "Disk and tables exceed 2 TiB, sectors", 4294948864 + 1 },
	{ "COWD of grains too large", COWD, { .size_sec = 1, .unit_len = 2 * M },
	  "Grain size is over 1 MiB", 2 * M },

	{ "Parallels v1", PARALLELS,
	  { .size_sec = 1, .unit_len = 63 * 512, .version = 1 } },
	{ "Parallels v1, the longest", PARALLELS,
	  { .size_sec = (1ull << 32) - 2048 * 9, .unit_len = M, .version = 1 },
	  .huge = true },
	{ "Parallels v1, a cluster more", PARALLELS,
	  { .size_sec = (1ull << 32) - 2048 * 9 + 1, .unit_len = M,
	    .version = 1 },
	  "Disk is longer than 2 TiB, sectors", (1ull << 32) - 2048 * 9 + 1 },
	{ "Parallels v2", PARALLELS,
	  { .size_sec = 2049, .unit_len = M, .version = 2 } },
	{ "Parallels of one sector", PARALLELS,
	  { .size_sec = 99999, .unit_len = 512, .version = 2 } },
	{ "Parallels, the most clusters", PARALLELS,
	  { .size_sec = PARALLELS_MAX_ENTRIES, .unit_len = 512, .version = 2 },
	  .huge = true },
	{ "Parallels, one more", PARALLELS,
	  { .size_sec = PARALLELS_MAX_ENTRIES + 1ull, .unit_len = 512,
	    .version = 2 },
	  "Disk has too many clusters", PARALLELS_MAX_ENTRIES + 1ull },
	{ "Parallels, the largest cluster", PARALLELS,
	  { .size_sec = SECTORS(5 * T), .unit_len = 4186127 * 512ull,
	    .version = 2 } },
	{ "Parallels, a larger one", PARALLELS,
	  { .size_sec = 1, .unit_len = 4186128 * 512ull, .version = 2 },
	  "Cluster size is over 2 GiB", 4186128 * 512ull },
	{ "Parallels v3", PARALLELS,
	  { .size_sec = 1, .unit_len = M, .version = 3 },
	  "Parallels version is not 1 or 2", 3 },
	{ "Parallels of odd bytes", PARALLELS,
	  { .size_sec = 1, .unit_len = M + 1, .version = 2 },
	  "Cluster size is not a multiple of 512", M + 1 },
	{ "Parallels, empty", PARALLELS, { .unit_len = M, .version = 2 },
	  "The disk is empty" },

	{ "QED", QED, { .size_sec = 1, .unit_len = 64 * K, .table_units = 4 } },
	{ "QED of small clusters", QED,
	  { .size_sec = SECTORS(G), .unit_len = 4 * K, .table_units = 1 } },
	{ "QED of large ones", QED,
	  { .size_sec = SECTORS(G), .unit_len = 64 * M, .table_units = 16 },
	  .huge = true },
	{ "QED, the longest", QED,
	  { .size_sec = SECTORS(64 * T), .unit_len = 64 * K, .table_units = 4 } },
	{ "QED, one more", QED,
	  { .size_sec = SECTORS(64 * T) + 1, .unit_len = 64 * K,
	    .table_units = 4 },
	  "Disk is longer than the tables, bytes", 64 * T },
	{ "QED, the longest of all", QED,
	  { .size_sec = (1ull << 54) - 1, .unit_len = 64 * M,
	    .table_units = 16 }, .huge = true },
	{ "QED, longer than that", QED,
	  { .size_sec = 1ull << 54, .unit_len = 64 * M, .table_units = 16 },
	  "Disk is longer than the tables, bytes", (1ull << 63) - 512 },
	{ "QED on another", QED,
	  { .size_sec = 1, .unit_len = 64 * K, .table_units = 4,
	    PARENT("base.qed") } },
	{ "QED on an empty name", QED,
	  { .size_sec = 1, .unit_len = 64 * K, .table_units = 4, PARENT("") },
	  "Parent's name is not 1 to 1023 bytes", 0 },
	{ "QED of odd clusters", QED,
	  { .size_sec = 1, .unit_len = 3 * K, .table_units = 4 },
	  "Cluster size is not a power of two", 3 * K },
	{ "QED of clusters too small", QED,
	  { .size_sec = 1, .unit_len = 2 * K, .table_units = 4 },
	  "Cluster size is not 4 KiB to 64 MiB", 2 * K },
	{ "QED of clusters too large", QED,
	  { .size_sec = 1, .unit_len = 128 * M, .table_units = 4 },
	  "Cluster size is not 4 KiB to 64 MiB", 128 * M },
	{ "QED of odd tables", QED,
	  { .size_sec = 1, .unit_len = 64 * K, .table_units = 3 },
	  "Table size is not 1, 2, 4, 8 or 16", 3 },
	{ "QED of tables too large", QED,
	  { .size_sec = 1, .unit_len = 64 * K, .table_units = 32 },
	  "Table size is not 1, 2, 4, 8 or 16", 32 },
	{ "QED, empty", QED, { .unit_len = 64 * K, .table_units = 4 },
	  "The disk is empty" },
};

static void test_row(const struct row *row)
{
	struct vdisk_layout layout;
	int r = makers[row->maker]->layout(&row->recipe, &layout);

	T_STR(layout.why, row->why, row->name);
	T_EQ(r, row->why ? -EINVAL : 0, t_name("%s: returns", row->name));
	if (row->why && layout.why) {
		T_EQ(layout.value, row->value, t_name("%s: value", row->name));
		phrase_saw(row->why);
	} else if (!r) {
		check_made(row, &layout);
	}
}

/* Names as long as can be, and one more. */
static void test_long_names(void)
{
	static char name[3000];
	const struct {
		int maker;
		u32 good;
		const char *why;
		bool path;	/* of many short parts */
	} longest[] = {
		{ VHD, 255, "Parent's name is too long", false },
		{ VHD, 2046, "Parent's name is too long", true },
		{ QED, 1023, "Parent's name is not 1 to 1023 bytes", false },
		{ COWD, 1023, "Parent's name is over 1023 bytes", false },
	};
	struct row row = { .name = "a long name" };
	u32 i, j;

	for (i = 0; i < ARRAY(longest); i++) {
		memset(name, 'n', sizeof(name));
		for (j = 1; longest[i].path && j < sizeof(name); j += 2)
			name[j] = j < longest[i].good - 1 ? '/' : 'n';
		row.maker = longest[i].maker;
		row.recipe = (struct vdisk_recipe){
			.size_sec = 1, .unit_len = 4096, .table_units = 1,
			.parent = name, .parent_len = longest[i].good,
		};
		row.why = NULL;
		test_row(&row);
		row.recipe.parent_len++;
		row.why = longest[i].why;
		row.value = longest[i].good + 1;
		test_row(&row);
		row.value = 0;
	}
}

static void test_geometry(void)
{
	static const struct {
		u64 sectors;
		struct vhd_chs want;
		u64 rounded;
	} sizes[] = {
		{ SECTORS(10 * M), { 301, 4, 17 }, 20536 },
		{ SECTORS(64 * M), { 963, 8, 17 }, 131104 },
		/* 8192 tracks: as many as 8 heads must not have. */
		{ SECTORS(68 * M), { 280, 16, 31 }, 139383 },
		{ SECTORS(G), { 2080, 16, 63 }, 2097648 },
		{ SECTORS(128 * G), { 65535, 16, 255 }, SECTORS(128 * G) },
		{ 267382800, { 65535, 16, 255 }, 267382800 },
		{ 68, { 1, 4, 17 }, 68 },
		{ 1, { 0, 4, 17 }, 68 },
	};
	struct vhd_chs g;
	u64 s, r;
	u32 i;

	for (i = 0; i < ARRAY(sizes); i++) {
		g = chs_of(sizes[i].sectors);
		T_MEM(&g, &sizes[i].want, sizeof(g),
		      t_name("geometry of %llu",
			     (unsigned long long)sizes[i].sectors));
		T_EQ(round_up(sizes[i].sectors), sizes[i].rounded,
		     t_name("%llu rounded up",
			    (unsigned long long)sizes[i].sectors));
	}
	for (s = 1, i = 0; s < 267382800; s += s / 7 + 1) {
		r = round_up(s);
		g = chs_of(r);
		i += r < s || r - s > 16 * 255 || chs_sectors(&g) != r;
	}
	T_EQ(i, 0, "what is rounded up is its own geometry");
}

/* Fields by the numbers of the specifications, as no reader of ours needs all. */
static void test_fields(void)
{
	static const struct {
		const char *name;
		int maker;
		struct vdisk_recipe recipe;
		struct {
			u32 off, width;
			bool big;
			u64 value;
		} field[14];
	} images[] = {
		{ "VHD", VHD,
		  { .size_sec = SECTORS(10 * M), .unit_len = 2 * M,
		    .time = EPOCH + 7, .id = { 9 } },
		  { { 8, 4, true, 2 }, { 12, 4, true, 0x10000 },
		    { 16, 8, true, 512 }, { 24, 4, true, 7 },
		    { 36, 4, true, 0x5769326b }, { 40, 8, true, 10 * M },
		    { 48, 8, true, 10 * M }, { 56, 4, true, 0xffff10ff },
		    { 60, 4, true, 3 }, { 68, 1, true, 9 },
		    { 528, 8, true, 1536 }, { 540, 4, true, 5 },
		    { 544, 4, true, 2 * M }, { 1536, 8, true, ~0ull } } },
		{ "VHD by geometry", VHD,
		  { .size_sec = SECTORS(10 * M), .unit_len = 2 * M,
		    .rounded = true },
		  { { 48, 8, true, 20536 * 512 }, { 56, 4, true, 302 << 16 |
		      4 << 8 | 17 } } },
		{ "VHD on another", VHD,
		  { .size_sec = 20480, .unit_len = 2 * M, PARENT("/b.vhd") },
		  { { 60, 4, true, 4 }, { 528, 8, true, 1536 + 4096 },
		    { 1088, 4, true, 0x57326b75 }, { 1092, 4, true, 4096 },
		    { 1096, 4, true, 12 }, { 1100, 4, true, 0 },
		    { 1104, 8, true, 1536 }, { 1536, 4, false, 0x62005c } } },
		{ "VMDK", VMDK, { .size_sec = 20480, .unit_len = 64 * K, TEXT },
		  { { 4, 4, false, 1 }, { 8, 4, false, 3 }, { 28, 8, false, 1 },
		    { 36, 8, false, 20 }, { 44, 4, false, 512 },
		    { 48, 8, false, 21 }, { 56, 8, false, 26 },
		    { 64, 8, false, 128 }, { 72, 1, false, 0 },
		    { 73, 4, true, 0x0a200d0a }, { 77, 2, false, 0 },
		    { 21 * 512, 4, false, 22 }, { 26 * 512, 4, false, 27 },
		    { 512, 4, true, 0x23204469 } } },
		{ "VMDK with zeroed grains", VMDK,
		  { .size_sec = 20480, .unit_len = 64 * K, .zeroed = true },
		  { { 4, 4, false, 2 }, { 8, 4, false, 7 }, { 28, 8, false, 0 },
		    { 36, 8, false, 0 } } },
		{ "stream", STREAM, { .size_sec = 20480, .unit_len = 64 * K, TEXT },
		  { { 4, 4, false, 3 }, { 8, 4, false, 0x30001 },
		    { 48, 8, false, 0 }, { 56, 8, false, ~0ull },
		    { 64, 8, false, 128 }, { 77, 2, false, 1 },
		    { 128 * 512, 8, false, 1 }, { 128 * 512 + 12, 4, false, 2 },
		    { 130 * 512, 8, false, 1 }, { 130 * 512 + 12, 4, false, 3 },
		    { 131 * 512 + 56, 8, false, 129 },
		    { 132 * 512, 8, false, 0 } } },
		{ "COWD", COWD, { .size_sec = 1008000, .unit_len = 512 },
		  { { 4, 4, false, 1 }, { 8, 4, false, 3 }, { 16, 4, false, 1 },
		    { 20, 4, false, 4 }, { 24, 4, false, 247 },
		    { 28, 4, false, 6 }, { 32, 4, false, 1000 },
		    { 36, 4, false, 16 }, { 40, 4, false, 63 },
		    { 1060, 4, false, 1 }, { 1648, 4, false, 0 } } },
		{ "Parallels v1", PARALLELS,
		  { .size_sec = 20480, .unit_len = 63 * 512, .version = 1 },
		  { { 8, 8, true, 0x7265655370616365 }, { 16, 4, false, 2 },
		    { 20, 4, false, 16 }, { 24, 4, false, 40 },
		    { 28, 4, false, 63 }, { 32, 4, false, 326 },
		    { 36, 8, false, 20480 }, { 44, 4, false, 0 },
		    { 48, 4, false, 63 }, { 52, 4, false, 0 } } },
		{ "Parallels v2", PARALLELS,
		  { .size_sec = 20480, .unit_len = M, .version = 2 },
		  { { 8, 8, true, 0x6553706163457874 } } },
		{ "QED on raw", QED,
		  { .size_sec = 20480, .unit_len = 64 * K, .table_units = 2,
		    PARENT("b"), .raw_parent = true },
		  { { 8, 4, false, 2 }, { 12, 4, false, 1 }, { 16, 8, false, 5 },
		    { 24, 8, false, 0 }, { 32, 8, false, 0 },
		    { 40, 8, false, 64 * K }, { 48, 8, false, 10 * M },
		    { 56, 4, false, 64 }, { 60, 4, false, 1 },
		    { 64, 1, false, 'b' } } },
	};
	struct vdisk_layout layout;
	struct image img;
	struct row row;
	u32 i, j, off;
	u8 want[8];

	image_new(&img, ROOM);
	for (i = 0; i < ARRAY(images); i++) {
		row = (struct row){ .maker = images[i].maker,
				    .recipe = images[i].recipe };
		image_zero(&img, 0, 4 * M);
		makers[row.maker]->layout(&row.recipe, &layout);
		make(&row, &layout, &img);
		for (j = 0; j < ARRAY(images[i].field); j++) {
			if (!images[i].field[j].width)
				break;
			off = images[i].field[j].off;
			vdisk_store(want, images[i].field[j].value,
				    images[i].field[j].width,
				    images[i].field[j].big);
			T_MEM(img.mem + off, want, images[i].field[j].width,
			      t_name("%s: field at %u", images[i].name, off));
		}
	}
	image_free(&img);
}

/* What of the parent's name is where. */
static void test_parent_name(void)
{
	static const u8 want[] = {
		'.', 0, '\\', 0, 's', 0, '\\', 0, 0xe4, 0, 0x3d, 0xd8, 0, 0xde,
	};
	static const u8 base[] = { 0, 0xe4, 0xd8, 0x3d, 0xde, 0, 0, 0 };
	struct row row = {
		.name = "a name of all kinds of letters", .maker = VHD,
		.recipe = { .size_sec = 1, .unit_len = 4096,
			    .parent_id = { 1, 2, 3 }, .parent_time = EPOCH + 5,
			    PARENT("s/\xc3\xa4\xf0\x9f\x98\x80") },
	};
	struct vdisk_layout layout;
	struct vhd_header_disk h;
	struct image img;

	vdisk_vhd_maker.layout(&row.recipe, &layout);
	image_new(&img, ROOM);
	make(&row, &layout, &img);
	memcpy(&h, img.mem + 512, sizeof(h));
	T_EQ(be32_of(h.locator[0].code), W2RU, "a relative path");
	T_EQ(be32_of(h.locator[0].data_length), sizeof(want), "its length");
	T_MEM(img.mem + be64_of(h.locator[0].data_offset), want, sizeof(want),
	      "as Windows writes it");
	T_MEM(h.parent_name, base, sizeof(base), "the name alone");
	T_MEM(h.parent_unique_id, row.recipe.parent_id, 16, "the parent's id");
	T_EQ(be32_of(h.parent_timestamp), 5, "and time");
	image_free(&img);
}

int main(void)
{
	static const char *const sources[] = {
		"raw_make.c", "vhd_make.c", "vmdk_make.c", "parallels_make.c",
		"qed_make.c",
	};
	unsigned int i, found = 0;
	char *source;

	for (i = 0; i < ARRAY(rows); i++)
		test_row(&rows[i]);
	test_long_names();
	test_geometry();
	test_parent_name();
	test_fields();
	for (i = 0; i < ARRAY(sources); i++) {
		source = phrases_read(sources[i]);
		if (T_OK(source, sources[i]))
			found += phrases_behind(source, "vdisk_unmakable(");
		free(source);
	}
	T_OK(found >= 25, "the sources give reasons");
	return T_DONE();
}
