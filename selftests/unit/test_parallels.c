// SPDX-License-Identifier: GPL-2.0
/* Parallels: what is refused, what is mapped, and what plans do to an image. */
#include "test.h"
#include "../../formats/parallels.c"
#include "steps.h"

struct shape {
	const char *name;
	bool v2;
	u32 tracks;	/* sectors in a cluster */
	u32 entries;
	u32 data_off;	/* sectors, as in the header */
	u64 sectors;
	bool parent;
	u32 times;
};

static void put(struct image *img, u64 off, u64 value, u32 width)
{
	vdisk_store(img->mem + off, value, width, false);
}

static u64 data_start(const struct shape *s)
{
	return s->data_off ? s->data_off : (64 + s->entries * 4 + 511) / 512;
}

/* An empty image: header and BAT. */
static void build(struct image *img, const struct shape *s)
{
	image_new(img, 4ull << 30);
	memcpy(img->mem, s->v2 ? "WithouFreSpacExt" : "WithoutFreeSpace", 16);
	put(img, 16, 2, 4);
	put(img, 20, 16, 4);
	put(img, 28, s->tracks, 4);
	put(img, 32, s->entries, 4);
	put(img, 36, s->sectors, 8);
	put(img, 48, s->data_off, 4);
	img->len = data_start(s) * 512;
}

static int open_it(struct image *img, struct vdisk_step *step,
		   struct vdisk_geom *geom)
{
	struct vdisk_params params = { .file_len = img->len, .write = true };
	int r;

	steps_broken = NULL;
	r = STEP(img, step, parallels_open(&params, step, geom));
	img->data_end = geom->data_end;
	return r;
}

/* 8-sector clusters, 2000 entries: 16 sectors of header and BAT. */
static const struct shape v1 = { "v1", false, 8, 2000, 0, 16000, false, 0 };
static const struct shape v2 = { "v2", true, 8, 2000, 16, 16000, false, 0 };

static void test_refusals(void)
{
	static const struct refusal rows[] = {
		{ "File is shorter than a Parallels header", 63, 0, 0, 0, 63,
		  0 },
		{ "File is 2^63 bytes or longer", 1ull << 63, 0, 0, 0,
		  1ull << 63, 0 },
		{ "No Parallels header found", 0x57697468, 15, 1, 'x', 65536,
		  0 },
		{ "No Parallels header found", 0x00697468, 0, 1, 0, 65536, 1 },
		{ "Unknown Parallels version", 3, 16, 4, 3, 65536, 0 },
		{ "Parallels cluster size is zero", 0, 28, 4, 0, 65536, 0 },
		{ "Parallels cluster size is too large", 4186128, 28, 4,
		  4186128, 65536, 0 },
		{ "Conversion of the image was not finished", 3, 52, 4, 3,
		  65536, 1 },
		{ "BAT has too many entries", 1 << 29, 32, 4, 1 << 29,
		  1ull << 40, 0 },
		{ "BAT reaches past the end of the file", 16369, 32, 4, 16369,
		  65536, 0 },
		{ "The disk is empty", 0, 36, 8, 5ull << 32, 65536, 0 },
		{ "The disk is empty", 0, 36, 8, 0, 65536, 1 },
		{ "BAT is too short for the disk", 2000, 36, 8, 16001, 65536,
		  0 },
		{ "BAT is too short for the disk", 2000, 36, 8, 5ull << 32,
		  65536, 1 },
		{ "BAT is too short for the disk", 2000, 36, 8, -1ull, 65536,
		  1 },
		{ "Data offset is zero", 0, 48, 4, 0, 65536, 1 },
		{ "Data offset is not a whole cluster", 17, 48, 4, 17, 65536,
		  1 },
		{ "Data offset lies in the BAT", 8, 48, 4, 8, 65536, 1 },
		{ "Data offset lies in the BAT", 15, 48, 4, 15, 65536, 0 },
		{ "Data offset is past the end of the file", 129, 48, 4, 129,
		  65536, 0 },
		{ "Extension reaches past the file's end", 121, 56, 8, 121,
		  65536, 0 },
		{ "Extension reaches past the file's end", 1ull << 55, 56, 8,
		  1ull << 55, 65536, 0 },
		{ "Extension reaches past the file's end", (1ull << 55) - 1, 56,
		  8, (1ull << 55) - 1, 65536, 1 },
		{ "Extension lies in the BAT", 15, 56, 8, 15, 65536, 0 },
	};
	struct image img;
	u32 i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		build(&img, rows[i].shape ? &v2 : &v1);
		refuse(&img, &rows[i], open_it);
	}
}

static void test_geometry(void)
{
	static const struct {
		const char *name;
		bool v2;
		u32 data_off;
		u64 len, start, base, next;
	} rows[] = {
		{ "v1, data behind the BAT", false, 0, 8192, 8192, 8192, 8192 },
		{ "v1, data not at a cluster", false, 19, 65536, 9728, 9728,
		  9728 + 14 * 4096 },
		{ "v1, a file that ends before the data", false, 0, 8064, 8192,
		  8192, 8192 },
		{ "v2", true, 24, 12288, 12288, 0, 12288 },
		{ "v2, a file with a tail", true, 16, 65537, 8192, 0, 69632 },
	};
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct shape s;
	struct image img;
	u32 i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s = rows[i].v2 ? v2 : v1;
		s.data_off = rows[i].data_off;
		build(&img, &s);
		img.len = rows[i].len;
		T_OK(!open_it(&img, &step, &geom) && geom.size_sec == 16000 &&
		     geom.unit_sec == 8 && geom.unit_len == 4096 &&
		     geom.data_off == rows[i].start &&
		     geom.unit_base == rows[i].base &&
		     geom.alloc_off == rows[i].next &&
		     geom.data_end == rows[i].len &&
		     geom.flags == VDISK_GEOM_MARK, rows[i].name);
		image_free(&img);
	}
	build(&img, &v1);
	put(&img, 40, 0xFFFFFFFF, 4);
	T_OK(!open_it(&img, &step, &geom) && geom.size_sec == 16000,
	     "v1: the high half of the size does not count");
	image_free(&img);
}

static void test_flags(void)
{
	static const struct {
		u32 in_use, flags, want;
		const char *fact, *why;
	} rows[] = {
		{ 0, 0, 0, "closed", NULL },
		{ 0x312E3276, 0, 0, "closed with extension", NULL },
		{ 0, 1, VDISK_GEOM_STAMP, "closed", NULL },
		{ 0x746F6E59, 1, VDISK_GEOM_DIRTY | VDISK_GEOM_STAMP, "in use",
		  NULL },
		{ 1, 0, VDISK_GEOM_RDONLY, "unknown",
		  "In-use mark of the image is unknown" },
		{ 0, 5, VDISK_GEOM_RDONLY | VDISK_GEOM_STAMP, "closed",
		  "Image has unknown flags" },
	};
	struct vdisk_fact fact;
	struct vdisk_params params = { 0 };
	struct vdisk_step step;
	struct vdisk_plan plan;
	struct vdisk_geom geom;
	struct image img;
	u32 i;

	build(&img, &v2);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(&img, 44, rows[i].in_use, 4);
		put(&img, 52, rows[i].flags, 4);
		T_OK(!open_it(&img, &step, &geom) &&
		     geom.flags == (VDISK_GEOM_MARK | rows[i].want) &&
		     (!rows[i].why || !strcmp(geom.why_ro, rows[i].why)),
		     rows[i].why ? rows[i].why : "a good in-use mark");
		parallels_fact(&geom, 1, &fact);
		T_STR(fact.text, rows[i].fact, "fact: in-use");
	}
	put(&img, 44, 0x312E3276, 4);
	put(&img, 52, 1, 4);
	open_it(&img, &step, &geom);
	STEP(&img, &step, parallels_mark(&geom, &step, true, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_OK(!memcmp(img.mem + 44, "Ynot", 4), "marked in use");
	T_EQ(vdisk_le32(img.mem + 52), 0, "no longer empty");
	STEP(&img, &step, parallels_mark(&geom, &step, false, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_EQ(vdisk_le32(img.mem + 44), 0, "marked closed");

	params.file_len = img.len;
	params.device = true;
	STEP(&img, &step, parallels_open(&params, &step, &geom));
	T_OK(geom.flags & VDISK_GEOM_SCAN, "a device's end is not the image's");
	image_free(&img);
}

static void test_said_size(void)
{
	static const struct {
		u64 header, said, got;
	} rows[] = {
		{ 15999, 0, 15999 },
		{ 15999, 15999, 15999 },
		{ 16000, 15999, 15999 },
		{ 16000, 15993, 15993 },
		{ 16000, 15992, 0 },
		{ 16000, 16001, 0 },
		{ 15999, 15998, 0 },
	};
	struct vdisk_params params = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;
	int r;

	build(&img, &v2);
	params.file_len = img.len;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(&img, 36, rows[i].header, 8);
		params.size_sec = rows[i].said;
		r = STEP(&img, &step, parallels_open(&params, &step, &geom));
		T_OK(rows[i].got ? !r && geom.size_sec == rows[i].got :
		     r == -EUCLEAN && !strcmp(step.why,
				"Size differs from the descriptor's"),
		     rows[i].got ? "a size that agrees with the descriptor's" :
		     "Size differs from the descriptor's");
	}
	image_free(&img);
}

static void feature(struct image *img, u64 off, u64 magic, u64 flags, u32 size)
{
	put(img, off, magic, 8);
	put(img, off + 8, flags, 8);
	put(img, off + 16, size, 4);
}

/* Two features at @a and @b, byte offsets in the extension at 16384. */
static void test_extension(void)
{
	static const u64 bitmap = 0x20385FAE252CB34Aull;
	const struct {
		const char *name;
		u64 magic1, flags1;
		u32 size1;
		u64 magic2, flags2;
		u32 size2;
		const char *why;
	} rows[] = {
		{ "an extension without features" },
		{ "a map of changed blocks", bitmap, 1, 40 },
		{ "an unknown feature", 7, 2, 41, 0, 0, 0 },
		{ "two features", 7, 0, 40, bitmap, 1, 0 },
		{ "a necessary feature", 7, 1, 0, 0, 0, 0,
		  "Format extension has unknown features" },
		{ "a second necessary feature", 7, 0, 8, 8, 3, 0,
		  "Format extension has unknown features" },
		{ "a feature as long as can be", 7, 0, 16384 - 72 },
		{ "a longer one", 7, 0, 16384 - 71, 0, 0, 0,
		  "Format extension is damaged" },
		{ "the longest", 7, 0, 0xFFFFFFFF, 0, 0, 0,
		  "Format extension is damaged" },
		{ "a second one too long", 7, 0, 16384 - 96, 7, 0, 8,
		  "Format extension is damaged" },
		{ "more sections than views", 7, 0, 4096 - 64, 7, 0, 8,
		  "Format extension has many features" },
	};
	struct vdisk_params params = { 0 };
	struct vdisk_step step;
	struct vdisk_plan plan;
	struct vdisk_geom geom;
	struct image img;
	struct shape s = v2;
	u32 i, l, at;
	bool good;

	s.tracks = 32;
	s.data_off = 32;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		build(&img, &s);
		img.len = 65536;
		put(&img, 56, 32, 8);
		put(&img, 16384, 0xAB234CEF23DCEA87ull, 8);
		feature(&img, 16384 + 24, rows[i].magic1, rows[i].flags1,
			rows[i].size1);
		at = 48 + (rows[i].size1 + 7) / 8 * 8;
		if (rows[i].magic2)
			feature(&img, 16384 + at, rows[i].magic2,
				rows[i].flags2, rows[i].size2);
		good = true;
		for (l = 0; l < NR_LEND; l++) {
			img.lend = l;
			good &= !open_it(&img, &step, &geom) && !steps_broken &&
				(rows[i].why ? geom.why_ro &&
				 !strcmp(geom.why_ro, rows[i].why)
				 : !(geom.flags & VDISK_GEOM_RDONLY));
		}
		T_OK(good, rows[i].name);
		image_free(&img);
	}

	build(&img, &s);
	img.len = params.file_len = 65536;
	put(&img, 56, 32, 8);
	open_it(&img, &step, &geom);
	T_OK(geom.why_ro && !strcmp(geom.why_ro, "Format extension is damaged"),
	     "Format extension is damaged");
	T_OK(!STEP(&img, &step, parallels_open(&params, &step, &geom)) &&
	     geom.flags & VDISK_GEOM_RDONLY,
	     "who only reads is told of it, and may read");
	put(&img, 32 * 512, PARALLELS_EXT_MAGIC, 8);
	open_it(&img, &step, &geom);
	STEP(&img, &step, parallels_mark(&geom, &step, true, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_EQ(vdisk_le64(img.mem + 56), 0, "a write drops the extension");

	put(&img, 56, 32, 8);
	STEP(&img, &step, parallels_trim(&geom, &step, 20000, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_EQ(vdisk_le64(img.mem + 56), 0, "a cut drops the extension before");
	T_EQ(img.len, 65536, "and then");
	apply_phase(&img, &plan, VDISK_PUBLISH);
	T_EQ(img.len, 32768, "cuts the file");
	image_free(&img);
}

static void test_entries(void)
{
	static const struct {
		const char *why;
		bool v2;
		u32 entry;
		u64 off;
	} rows[] = {
		{ NULL, false, 0, 0 },
		{ NULL, false, 16, 8192 },
		{ NULL, false, 17, 8704 },	/* as old QEMU leaves them */
		{ NULL, false, 120, 61440 },
		{ NULL, true, 2, 8192 },
		{ NULL, true, 15, 61440 },
		{ "BAT entry points into the headers", false, 1 },
		{ "BAT entry points into the headers", false, 15 },
		{ "BAT entry points into the headers", true, 1 },
		{ "BAT entry points past the file's end", false, 121 },
		{ "BAT entry points past the file's end", true, 16 },
		{ "BAT entry points past the file's end", false, 0xFFFFFFFF },
		{ "BAT entry points past the file's end", true, 0xFFFFFFFF },
		{ "BAT entry points into the extension", false, 33 },
		{ "BAT entry points into the extension", false, 47 },
		{ "BAT entry points into the extension", true, 5 },
	};
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	bool good;
	u32 i, l;
	int r;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		build(&img, rows[i].v2 ? &v2 : &v1);
		img.len = 65536;
		put(&img, 56, 40, 8);
		put(&img, 40 * 512, PARALLELS_EXT_MAGIC, 8);
		open_it(&img, &step, &geom);
		put(&img, 64 + 1234 * 4, rows[i].entry, 4);
		good = true;
		for (l = 0; l < NR_LEND; l++) {
			img.lend = l;
			r = STEP(&img, &step, parallels_map(&geom, &step,
					1234 * 8 + 3, 2, &e));
			if (rows[i].why)
				good &= r == -EUCLEAN &&
					!strcmp(step.why, rows[i].why) &&
					step.value == rows[i].entry;
			else
				good &= !r && e.sectors == 2 &&
					(rows[i].entry ? e.kind == VDISK_DATA &&
					 e.off == rows[i].off + 3 * 512
					 : e.kind == VDISK_PARENT);
		}
		T_OK(good && !steps_broken,
		     rows[i].why ? rows[i].why : "an entry is mapped");
		image_free(&img);
	}
}

static void test_runs(void)
{
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i, v;

	for (v = 0; v < 2; v++) {
		build(&img, v ? &v2 : &v1);
		img.len = 65536;
		open_it(&img, &step, &geom);
		for (i = 0; i < 4; i++)
			put(&img, 64 + i * 4, v ? 2 + i : 16 + i * 8, 4);
		put(&img, 64 + 4 * 4, v ? 2 : 16, 4);
		put(&img, 64 + 7 * 4, v ? 15 : 120, 4);
		put(&img, 64 + 8 * 4, v ? 16 : 128, 4);	/* outside */
		img.lend = LEND_BLOCK;
		STEP(&img, &step, parallels_map(&geom, &step, 5, 9000, &e));
		T_EQ(e.sectors, 4 * 8 - 5, "neighbours in the file are one run");
		STEP(&img, &step, parallels_map(&geom, &step, 5, 8, &e));
		T_EQ(e.sectors, 8, "a run of parts of two clusters");
		STEP(&img, &step, parallels_map(&geom, &step, 41, 9000, &e));
		T_EQ(e.sectors, 15, "holes are one run");
		STEP(&img, &step, parallels_map(&geom, &step, 56, 9000, &e));
		T_EQ(e.sectors, 8, "a wrong neighbour ends a run");
		STEP(&img, &step, parallels_map(&geom, &step, 72, 9000, &e));
		T_EQ(e.sectors, (1008 - 9) * 8, "the views at hand end a run");
		img.lend = LEND_EXACT;
		STEP(&img, &step, parallels_map(&geom, &step, 5, 9000, &e));
		T_EQ(e.sectors, 3, "a run of one entry at hand");
		T_OK(!steps_broken, "runs keep the contract");
		image_free(&img);
	}
}

static void test_walk(void)
{
	struct vdisk_range range;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u64 cursor = 0, count[3] = { 0 }, bad = 0, calls = 0, bytes = 0;
	int r;

	build(&img, &v1);
	img.len = 65536;
	put(&img, 56, 40, 8);
	put(&img, 40 * 512, PARALLELS_EXT_MAGIC, 8);
	open_it(&img, &step, &geom);
	put(&img, 64, 3, 4);
	put(&img, 64 + 4 * 1007, 16, 4);
	put(&img, 64 + 4 * 1008, 200, 4);
	put(&img, 64 + 4 * 1999, 57, 4);
	do {
		r = STEP(&img, &step, parallels_walk(&geom, &step, &cursor,
						     &range));
		bad += r == -EUCLEAN;
		if (r || !range.len)
			continue;
		count[range.kind]++;
		if (range.kind == VDISK_RANGE_TABLE)
			bytes += range.len;
		if (range.kind == VDISK_RANGE_UNIT)
			T_EQ(range.sector, range.off == 8192 ? 1007 * 8 : 1999 * 8,
			     "a walk tells a cluster's sector");
	} while ((r || range.len) && ++calls < 100 && !steps_broken);
	T_EQ(bad, 2, "a walk tells each bad entry");
	T_EQ(count[VDISK_RANGE_UNIT], 2, "a walk goes on behind bad entries");
	T_EQ(count[VDISK_RANGE_TABLE], 2, "a walk tells the BAT in blocks");
	T_EQ(bytes, 8000, "a walk tells all of the BAT");
	T_EQ(count[VDISK_RANGE_META], 2, "a walk tells header and extension");
	T_OK(!steps_broken && calls < 100, "a walk ends");

	for (cursor = 0; cursor < 5; cursor++)
		put(&img, 64 + 4 * (900 + cursor), 16 + 8 * cursor, 4);
	check_run(&vdisk_parallels_format, &img, &geom, 900 * 8, 16 * 512,
		  3 * 4096);

	/* Its place is refused to units as long as the image is open. */
	put(&img, 56, 0, 8);
	for (cursor = 0, calls = 0; calls < 100; calls++) {
		STEP(&img, &step, parallels_walk(&geom, &step, &cursor, &range));
		if (range.len && range.kind == VDISK_RANGE_META)
			break;
	}
	STEP(&img, &step, parallels_walk(&geom, &step, &cursor, &range));
	T_EQ(range.len, geom.unit_len, "an extension that was dropped is told");
	image_free(&img);
}

/* The last cluster an entry can name, and the first it cannot. */
static void test_limits(void)
{
	struct vdisk_ask ask = { .sector = 80, .sectors = 8 };
	struct vdisk_step step = { 0 };
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct image img;
	u64 end;
	u32 v;

	for (v = 0; v < 2; v++) {
		build(&img, v ? &v2 : &v1);
		open_it(&img, &step, &geom);
		end = v ? 1ull << 44 : 1ull << 41;
		step = (struct vdisk_step){
			.file_len = img.len, .data_end = end, .nr_views = 1,
			.view = { { 0, 4096, img.mem } },
			.unit = { end - 4096, 1 },
		};
		T_OK(!parallels_alloc(&geom, &step, &ask, &plan) &&
		     plan.op[0].value == (v ? 0xFFFFFFFF : 0xFFFFFFF8),
		     "the last cluster");
		step.unit.off = end - 4096 + 512;
		T_OK(parallels_alloc(&geom, &step, &ask, &plan) == -EUCLEAN &&
		     !strcmp(step.why, "BAT entries cannot say so large an offset"),
		     "BAT entries cannot say so large an offset");
		T_EQ(STEP(&img, &step, parallels_grow(&geom, &step, end, &plan)),
		     0, "the longest file");
		T_OK(STEP(&img, &step, parallels_grow(&geom, &step, end + 1,
						      &plan)) == -EUCLEAN &&
		     !strcmp(step.why, "Parallels file is full"),
		     "Parallels file is full");
		image_free(&img);
	}

	/* A file as long as v1 can say, with a cluster at its end. */
	build(&img, &v1);
	put(&img, 28, 4186127, 4);
	img.len = (1ull << 41) + 4096;
	T_OK(!open_it(&img, &step, &geom) && geom.data_end == 1ull << 41,
	     "what no entry can say is no data");
	image_free(&img);
}

static void test_probe_and_facts(void)
{
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_fact fact;
	struct image img;
	u32 i, v;

	for (v = 0; v < 2; v++) {
		build(&img, v ? &v2 : &v1);
		T_EQ(parallels_probe(img.mem, 64, NULL, 0), 90, "probe");
		T_EQ(parallels_probe(img.mem, 63, NULL, 0), 0, "probe: short");
		open_it(&img, &step, &geom);
		T_OK(parallels_fact(&geom, 0, &fact) &&
		     !strcmp(fact.text, v ? "v2" : "v1"), "fact: subformat");
		for (i = 0; parallels_fact(&geom, i, &fact) && i < 50; i++)
			if (!fact.name)
				breach("a fact has no name");
		T_OK(i == 9 && !steps_broken, "facts");
		put(&img, 16, 1, 4);
		T_EQ(parallels_probe(img.mem, 64, NULL, 0), 30,
		     "probe: another version");
		put(&img, 8, 0, 1);
		T_EQ(parallels_probe(img.mem, 64, NULL, 0), 0,
		     "probe: another magic");
		image_free(&img);
	}
}

/* Stacked over a parent, nothing can be given back. */
static void test_discard(void)
{
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct image img;

	build(&img, &v2);
	img.len = 65536;
	put(&img, 36, 15997, 8);
	open_it(&img, &step, &geom);
	put(&img, 64 + 1998 * 4, 7, 4);
	put(&img, 64 + 1999 * 4, 8, 4);
	img.lend = LEND_BLOCK;
	STEP(&img, &step, parallels_discard(&geom, &step, 1998 * 8, 13, true,
					    &plan));
	T_OK(plan.nr == 1 && plan.sectors == 13 && plan.op[0].count == 2 &&
	     plan.freed_off == 7 * 4096 && plan.freed_len == 8192,
	     "the disk's last cluster is whole");
	STEP(&img, &step, parallels_discard(&geom, &step, 1998 * 8, 12, true,
					    &plan));
	T_OK(plan.nr == 1 && plan.sectors == 8 && plan.freed_len == 4096,
	     "whole clusters only");
	STEP(&img, &step, parallels_discard(&geom, &step, 1998 * 8 + 1, 12, true,
					    &plan));
	T_OK(plan.nr == 0 && plan.sectors == 7, "a part of a cluster stays");
	geom.flags |= VDISK_GEOM_PARENT;
	STEP(&img, &step, parallels_discard(&geom, &step, 1998 * 8, 13, true,
					    &plan));
	T_OK(plan.nr == 0 && plan.sectors == 13, "over a parent there is no way");
	image_free(&img);
}

static u32 spec(const struct model *m, u64 sector)
{
	const u8 *mem = m->img.mem;
	u64 tracks = vdisk_le32(mem + 28);
	u64 e = vdisk_le32(mem + 64 + sector / tracks * 4);

	if (!e)
		return below(m, sector);
	if (!memcmp(mem, "WithouFreSpacExt", 16))
		e *= tracks;
	return vdisk_le32(mem + (e + sector % tracks) * 512);
}

static void test_models(void)
{
	static const struct shape shapes[] = {
		{ "v1, 1 sector", false, 1, 3000, 0, 2999, false, 200 },
		{ "v1, 8 sectors over a parent", false, 8, 3000, 31, 23991, true,
		  200 },
		{ "v1, 63 sectors, data_off 0", false, 63, 1500, 0, 90001, false,
		  200 },
		{ "v1, 63 sectors over a parent", false, 63, 1500, 13, 90001,
		  true, 200 },
		{ "v1, 126 sectors", false, 126, 1100, 126, 126 * 1100, false,
		  150 },
		{ "v1, 2048 sectors", false, 2048, 40, 0, 2048 * 39 + 1, false,
		  60 },
		{ "v2, 1 sector", true, 1, 3000, 24, 2999, false, 200 },
		{ "v2, 63 sectors over a parent", true, 63, 1500, 63, 90001, true,
		  200 },
		{ "v2, 126 sectors", true, 126, 1100, 252, 126 * 1100 - 5, false,
		  150 },
		{ "v2, 504 sectors", true, 504, 1100, 504, 504 * 1050, false,
		  100 },
		{ "v2, 2048 sectors over a parent", true, 2048, 40, 2048,
		  2048 * 39 + 1, true, 60 },
	};
	u32 i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct model m = {
			.fmt = &vdisk_parallels_format,
			.parent = shapes[i].parent, .spec = spec,
		};

		build(&m.img, &shapes[i]);
		/* Where the first block of the BAT ends. */
		model_run(&m, shapes[i].times, 1008ull * shapes[i].tracks, true);
		if (steps_broken)
			printf("# %s\n", steps_broken);
		T_OK(!steps_broken, shapes[i].name);
		image_free(&m.img);
	}
}

static void test_noise(void)
{
	struct image img;
	u32 i, v, opened;

	for (v = 0; v < 2; v++) {
		build(&img, v ? &v2 : &v1);
		img.len = 65536;
		for (i = 0; i < 8; i++)
			put(&img, 64 + i * 4, v ? 2 + i : 16 + i * 8, 4);
		opened = noise_run(&vdisk_parallels_format, &img, 8064, 4000);
		if (steps_broken)
			printf("# %s\n", steps_broken);
		T_OK(!steps_broken && opened > 500, "steps stand noise");
		image_free(&img);
	}
}

int main(void)
{
	test_refusals();
	test_geometry();
	test_flags();
	test_said_size();
	test_extension();
	test_entries();
	test_runs();
	test_walk();
	test_limits();
	test_probe_and_facts();
	test_discard();
	test_models();
	test_noise();
	return T_DONE();
}
