// SPDX-License-Identifier: GPL-2.0
/* VMDK space-efficient snapshots: refusals, entries, walk. */
#include "test.h"
#include "../../formats/sesparse.c"
#include "steps.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

/*
 * Sectors: volatile header 1, journal header 2, journal 3 to 6, directory 7,
 * three tables from 8 on, bitmap 200, backmap 201 to 202, 16 grains from 203.
 */
enum {
	DIR = 7 * 512,
	TABLE = 8 * 512,
	GRAIN = 203 * 512,
	CAPACITY_SEC = (4 * 4096 - 1) * 8 - 3,
};

static void put(struct image *img, u64 off, u64 value, u32 width)
{
	vdisk_store(img->mem + off, value, width, false);
}

static u64 grain_entry(u64 grain)
{
	return 3ull << 60 | (grain & 0xfff) << 48 | grain >> 12;
}

static void build(struct image *img)
{
	static const u16 area[NR_AREAS][2] = {
		{ 1, 1 }, { 2, 1 }, { 3, 4 }, { 7, 1 }, { 8, 192 }, { 200, 1 },
		{ 201, 2 }, { 203, 128 },
	};
	u32 i;

	image_new(img, 1ull << 30);
	put(img, 0, 0xcafebabe, 8);
	put(img, 8, 0x200000001, 8);
	put(img, 16, CAPACITY_SEC, 8);
	put(img, 24, 8, 8);
	put(img, 32, 64, 8);
	for (i = 0; i < NR_AREAS; i++) {
		put(img, 80 + i * 16, area[i][0], 8);
		put(img, 88 + i * 16, area[i][1], 8);
	}
	put(img, 512, 0xcafecafe, 8);
	img->len = (203 + 128) * 512;
}

static int open_it(struct image *img, struct vdisk_step *step,
		   struct vdisk_geom *geom)
{
	struct vdisk_params params = { .file_len = img->len };
	int r;

	steps_broken = NULL;
	r = STEP(img, step, sesparse_open(&params, step, geom));
	img->data_end = geom->data_end;
	return r;
}

static void test_refusals(void)
{
	static const struct {
		const char *why;
		u64 value;
		u32 off;
		u64 poke, len;
	} rows[] = {
		{ "File is shorter than an seSparse header", 511, 0, 0xcafebabe,
		  511 },
		{ "No seSparse header found", 0xcafecafe, 0, 0xcafecafe, 0 },
		{ "Unknown seSparse version", 0x200000002, 8, 0x200000002, 0 },
		{ "The disk is empty", 0, 16, 0, 0 },
		{ "The seSparse directory is too short", 64, 16, 64 * 32768 + 1, 0 },
		{ "The seSparse directory is too short", 64, 16, ~0ull, 0 },
		{ "Size of seSparse grains is not 8 sectors", 16, 24, 16, 0 },
		{ "Size of seSparse tables is not 64 sectors", 32, 32, 32, 0 },
		{ "Unknown seSparse flags", 1, 40, 1, 0 },
		{ "Unknown seSparse feature", 9, 48, 9, 0 },
		{ "Unknown seSparse feature", 9, 72, 9, 0 },
		{ "No room for an seSparse volatile header", 0, 88, 0, 0 },
		{ "An seSparse area is outside the file", 332, 80, 332, 0 },
		{ "An seSparse area is outside the file", 7, 136, 325, 0 },
		{ "An seSparse area is outside the file", 8, 152, ~0ull, 0 },
		{ "An seSparse area is outside the file", ~0ull, 160, ~0ull, 0 },
		{ "An seSparse area lies in the header", AREA_DIRECTORY, 128, 0, 0 },
		{ "No seSparse volatile header found", 0, 512, 0, 0 },
		{ "The seSparse journal must be replayed first", 1, 536, 1, 0 },
	};
	struct vdisk_params params = { .size_sec = CAPACITY_SEC + 1 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		build(&img);
		put(&img, rows[i].off, rows[i].poke, 8);
		if (rows[i].len)
			img.len = rows[i].len;
		r = open_it(&img, &step, &geom);
		T_OK(r == -EUCLEAN && !strcmp(step.why, rows[i].why) &&
		     step.value == rows[i].value && !steps_broken, rows[i].why);
		image_free(&img);
	}
	build(&img);
	params.file_len = img.len;
	T_EQ(STEP(&img, &step, sesparse_open(&params, &step, &geom)), -EUCLEAN,
	     "an extent line longer than the capacity");
	T_STR(step.why, "Image is smaller than the extent", "and why");
	image_free(&img);
}

static void test_geometry(void)
{
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_fact fact;
	struct image img;
	u32 i;

	build(&img);
	T_EQ(sesparse_probe(img.mem, 15, NULL, 0), 0, "probe: too short");
	T_EQ(sesparse_probe(img.mem, 16, NULL, 0), 90, "probe: a header");
	T_EQ(open_it(&img, &step, &geom), 0, "an image opens");
	T_OK(geom.size_sec == CAPACITY_SEC && geom.unit_sec == 8 &&
	     geom.data_off == GRAIN && geom.flags == VDISK_GEOM_RDONLY &&
	     geom.why_ro, "geometry");
	for (i = 0; sesparse_fact(&geom, i, &fact); i++)
		if (!fact.name || i > 50)
			breach("a fact has no name");
	T_OK(i == 6 && !steps_broken, "facts");
	put(&img, 192, 1 << 20, 8);
	T_OK(!open_it(&img, &step, &geom) && !geom.priv[GRAINS],
	     "the grains may begin behind the file");
	put(&img, 8, 1, 8);
	T_EQ(sesparse_probe(img.mem, 16, NULL, 0), 50, "probe: version");
	img.mem[0] = 0;
	T_EQ(sesparse_probe(img.mem, 16, NULL, 0), 0, "probe: magic");
	image_free(&img);
}

static void test_entries(void)
{
	static const struct {
		u64 gde, gte;
		const char *why;
		enum vdisk_kind kind;
		u64 off;
	} rows[] = {
		{ 0, 0x3ull << 60, NULL, VDISK_PARENT, 0 },
		{ 0x1000000000000001, 0, NULL, VDISK_PARENT, 0 },
		{ 0x1000000000000001, 1ull << 60, NULL, VDISK_ZERO, 0 },
		{ 0x1000000000000001, 2ull << 60 | 77, NULL, VDISK_ZERO, 0 },
		{ 0x1000000000000001, 3ull << 60, NULL, VDISK_DATA, GRAIN },
		{ 0x1000000000000001, 0x300f000000000000, NULL, VDISK_DATA,
		  GRAIN + 15 * 4096 },
		{ 0x1000000000000001, 0x3010000000000000,
		  "Grain is outside the seSparse area", 0, 0 },
		{ 0x1000000000000001, 0x3000000000000001,
		  "Grain is outside the seSparse area", 0, 0 },
		{ 0x1000000000000001, 0x3fffffffffffffff,
		  "Grain is outside the seSparse area", 0, 0 },
		{ 0x1000000000000001, 1, "Wrong seSparse table entry", 0, 0 },
		{ 0x1000000000000001, 4ull << 60, "Wrong seSparse table entry",
		  0, 0 },
		{ 0x1000000000000001, ~0ull, "Wrong seSparse table entry", 0,
		  0 },
		{ 1, 0, "Wrong seSparse directory entry", 0, 0 },
		{ 0x2000000000000000, 0, "Wrong seSparse directory entry", 0,
		  0 },
		{ 0x1000000000000003, 0, "Grain table is outside the seSparse area", 0,
		  0 },
		{ 0x10000000ffffffff, 0, "Grain table is outside the seSparse area", 0,
		  0 },
	};
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	bool good;
	u32 i, l;
	int r;

	build(&img);
	open_it(&img, &step, &geom);
	for (i = 0; i < ARRAY(rows); i++) {
		/* The third directory entry, the second table, its 600th. */
		put(&img, DIR + 16, rows[i].gde, 8);
		put(&img, TABLE + 32768 + 600 * 8, rows[i].gte, 8);
		good = true;
		for (l = 0; l < NR_LEND; l++) {
			img.lend = l;
			r = STEP(&img, &step,
				 sesparse_map(&geom, &step, 2 * 32768 + 4803, 4,
					      &e));
			if (rows[i].why)
				good &= r == -EUCLEAN &&
					!strcmp(step.why, rows[i].why);
			else
				good &= !r && e.kind == rows[i].kind &&
					e.sectors == 4 &&
					(e.kind != VDISK_DATA ||
					 e.off == rows[i].off + 3 * 512);
		}
		T_OK(good && !steps_broken,
		     t_name("entry %llx: %s", (unsigned long long)rows[i].gte,
			    rows[i].why ? rows[i].why : "good"));
	}
	image_free(&img);
}

static void fill(struct image *img)
{
	u32 i;

	put(img, DIR + 2 * 8, 1ull << 60, 8);
	for (i = 0; i < 5; i++)
		put(img, TABLE + i * 8, grain_entry(i), 8);
	put(img, TABLE + 5 * 8, grain_entry(9), 8);
	put(img, TABLE + 6 * 8, 1ull << 60, 8);
	put(img, TABLE + 7 * 8, 2ull << 60, 8);
	put(img, TABLE + 9 * 8, grain_entry(16), 8);
	put(img, TABLE + 4095 * 8, grain_entry(15), 8);
}

static void test_runs(void)
{
	static const struct {
		u64 sector, sectors, run;
		enum vdisk_kind kind;
		const char *name;
	} rows[] = {
		{ 9, 100000, 65536 - 9, VDISK_PARENT, "missing tables" },
		{ 9, 50, 50, VDISK_PARENT, "what was asked for" },
		{ 98304, 100, 100, VDISK_PARENT, "the last table" },
		{ 65541, 999, 35, VDISK_DATA, "neighbours" },
		{ 65536 + 40, 999, 8, VDISK_DATA, "not the next one" },
		{ 65536 + 48, 999, 16, VDISK_ZERO, "unmapped and zero" },
		{ 65536 + 64, 999, 8, VDISK_PARENT, "a hole before a bad entry" },
		{ 65536 + 80, 9999, 512 * 8 - 80, VDISK_PARENT,
		  "to the end of the view" },
	};
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;

	build(&img);
	fill(&img);
	open_it(&img, &step, &geom);
	img.lend = LEND_BLOCK;
	for (i = 0; i < ARRAY(rows); i++) {
		STEP(&img, &step, sesparse_map(&geom, &step, rows[i].sector,
					       rows[i].sectors, &e));
		T_OK(e.kind == rows[i].kind && e.sectors == rows[i].run &&
		     !steps_broken, rows[i].name);
	}
	image_free(&img);
}

static void test_walk(void)
{
	u64 cursor = 0, owned[3] = { 0 }, bad = 0, calls = 0;
	struct vdisk_range range;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	int r;

	build(&img);
	fill(&img);
	put(&img, DIR, 1, 8);
	put(&img, DIR + 3 * 8, 1ull << 60 | 2, 8);
	put(&img, TABLE + 2 * 32768 + 4094 * 8, grain_entry(12), 8);
	put(&img, TABLE + 2 * 32768 + 4095 * 8, 5, 8);	/* behind the disk */
	open_it(&img, &step, &geom);
	do {
		r = STEP(&img, &step, sesparse_walk(&geom, &step, &cursor,
						    &range));
		bad += r == -EUCLEAN;
		if (!r)
			owned[range.kind] += range.len;
		if (!r && range.off == GRAIN + 12 * 4096)
			T_EQ(range.sector, (4 * 4096 - 2) * 8, "the last grain");
	} while ((r || range.len) && ++calls < 100 && !steps_broken);
	T_EQ(bad, 2, "a walk tells each bad entry");
	T_EQ(owned[VDISK_RANGE_META], (1 + 1 + 1 + 4 + 1 + 2) * 512,
	     "a walk tells the areas");
	T_EQ(owned[VDISK_RANGE_TABLE], 4 * 8 + 2 * 32768,
	     "a walk tells the tables in use");
	T_EQ(owned[VDISK_RANGE_UNIT], 8 * 4096, "a walk tells grains");
	T_OK(!steps_broken && calls < 60, "a walk ends");
	image_free(&img);
}

/* As noise_run(), which writes. */
static void test_noise(void)
{
	static const struct vdisk_step none;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_extent e;
	struct vdisk_range range;
	u32 i, n, opened = 0;
	struct image img;
	u64 cursor;

	for (i = 0; i < 1500 && !steps_broken; i++) {
		build(&img);
		fill(&img);
		for (n = steps_random() % 3; n; n--)
			img.mem[16 + steps_random() % 192] = (u8)steps_random();
		for (n = steps_random() % 64; n; n--)
			img.mem[DIR + steps_random() % 1024] = (u8)steps_random();
		img.lend = i % NR_LEND;
		step = none;
		if (!open_it(&img, &step, &geom)) {
			opened++;
			for (n = 0; n < 8; n++) {
				u64 s = steps_random() % geom.size_sec;

				STEP(&img, &step, sesparse_map(&geom, &step, s,
						geom.size_sec - s, &e));
			}
			for (n = 0, cursor = 0; n < 300; n++)
				if (!STEP(&img, &step,
					  sesparse_walk(&geom, &step, &cursor,
							&range)) &&
				    !range.len)
					break;
		}
		image_free(&img);
	}
	if (steps_broken)
		printf("# %s\n", steps_broken);
	T_OK(!steps_broken && opened > 300, "steps stand noise");
}

int main(void)
{
	test_refusals();
	test_geometry();
	test_entries();
	test_runs();
	test_walk();
	test_noise();
	return T_DONE();
}
