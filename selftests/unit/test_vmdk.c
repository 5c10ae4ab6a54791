// SPDX-License-Identifier: GPL-2.0
/* VMDK hosted sparse extents: refusals, entries, plans. */
#include "test.h"
#include "vmdk_image.h"

static void test_refusals(void)
{
	static const struct refusal rows[] = {
		{ "File is shorter than a VMDK header", 511, 0, 0, 0, 511 },
		{ "VMDK header not found", 0x564d4458, 0, 1, 'X', 0 },
		{ "Unknown VMDK version", 0, 4, 4, 0, 0 },
		{ "Unknown VMDK version", 4, 4, 4, 4, 0 },
		{ "Unknown incompatible VMDK feature", 0x40003, 8, 4, 0x40003, 0 },
		{ "Unknown incompatible VMDK feature", 0x80000003, 8, 4,
		  0x80000003, 0 },
		{ "Line ends were changed by a transfer", 0x0a0d200d, 73, 1,
		  '\r', 0 },
		{ "Unknown VMDK compression method", 2, 77, 2, 2, 0 },
		{ "VMDK compression flag and method differ", 1, 77, 2, 1, 0 },
		{ "VMDK compression flag and method differ", 0, 8, 4, 0x30003, 0 },
		{ "VMDK compression needs markers, and they it", 0x20003, 8, 4,
		  0x20003, 0 },
		{ "Extents are in the embedded descriptor", 1, 12, 8, 0, 0 },
		{ "VMDK capacity is too large", 1ull << 54, 12, 8, 1ull << 54, 0 },
		{ "VMDK capacity is too large", ~0ull, 12, 8, ~0ull, 0 },
		{ "Grain size is not a power of two", 0, 20, 8, 0, 0 },
		{ "Grain size is not a power of two", 24, 20, 8, 24, 0 },
		{ "Grain size is not 4 KiB to 1 GiB", 4, 20, 8, 4, 0 },
		{ "Grain size is not 4 KiB to 1 GiB", 0x400000, 20, 8, 0x400000,
		  0 },
		{ "Grain size is not 4 KiB to 1 GiB", 1ull << 63, 20, 8,
		  1ull << 63, 0 },
		{ "Grain table has not 1 to 512 entries", 0, 44, 4, 0, 0 },
		{ "Grain table has not 1 to 512 entries", 513, 44, 4, 513, 0 },
		{ "Grain table has not 1 to 512 entries", 1u << 31, 44, 4,
		  1u << 31, 0 },
		{ "Grain directory is too large", (1ull << 53) / 32, 12, 8,
		  1ull << 53, 0 },
		{ "Grain directory is outside the file", 5, 12, 8, 32 * 400, 0 },
		{ "Grain directory is outside the file", 9, 56, 8, 9, 0 },
		{ "Grain directory is outside the file", 8, 56, 8, 8, 0 },
		{ "Grain directory is outside the file", 1ull << 55, 56, 8,
		  1ull << 55, 0 },
		{ "Grain directory is outside the file", ~0ull, 48, 8, ~0ull, 0 },
		{ "Grain directory lies in the metadata", 0, 56, 8, 0, 0 },
		{ "Grain directory lies in the metadata", 2, 56, 8, 2, 0 },
		{ "Grain directory lies in the metadata", 1, 48, 8, 1, 0 },
		{ "Grain directories overlap", 5, 48, 8, 5, 0 },
		{ "Descriptor is outside the file", 9, 28, 8, 9, 0 },
		{ "Descriptor is outside the file", 1, 36, 8, 8, 0 },
		{ "Descriptor is outside the file", 1, 36, 8, ~0ull, 0 },
		{ "VMDK overhead is past the end of the file", 9, 64, 8, 9, 0 },
		{ "VMDK overhead is past the end of the file", ~0ull, 64, 8,
		  ~0ull, 0 },
	};
	struct vdisk_params params = { .size_sec = 31 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		build(&img, &small);
		refuse(&img, &rows[i], open_it);
	}

	build(&img, &small);
	params.file_len = img.len;
	T_EQ(STEP(&img, &step, vmdk_open(&params, &step, &geom)), -EUCLEAN,
	     "an extent line longer than the capacity");
	T_STR(step.why, "Image is smaller than the extent", "and why");
	put(&img, 12, 0, 8);
	put(&img, 28, 0, 8);
	T_EQ(open_it(&img, &step, &geom), -EUCLEAN, "no capacity, no text");
	T_STR(step.why, "The disk is empty", "and why");
	image_free(&img);

	build(&img, &packed_small);
	put(&img, 20, 4096, 8);
	T_EQ(open_it(&img, &step, &geom), -EUCLEAN, "too much to inflate");
	T_STR(step.why, "Compressed grain size is over 1 MiB", "and why");
	image_free(&img);
}

static void test_geometry(void)
{
	struct vdisk_params params = { .write = true };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_fact fact;
	struct vdisk_plan plan;
	struct image img;
	u32 i;

	build(&img, &small);
	T_EQ(open_it(&img, &step, &geom), 0, "a small image opens");
	T_EQ(geom.size_sec, 30, "size");
	T_EQ(geom.unit_len, 4096, "grain");
	T_EQ(geom.data_off, 8 * 512, "data behind the overhead");
	T_EQ(geom.alloc_off, 8 * 512, "appending at the end");
	T_EQ(geom.flags, VDISK_GEOM_MARK, "flags");
	put(&img, 72, 1, 1);
	img.len = 8 * 512 + 100;
	params.file_len = img.len;
	params.size_sec = 29;
	params.device = true;
	STEP(&img, &step, vmdk_open(&params, &step, &geom));
	T_EQ(geom.flags, VDISK_GEOM_MARK | VDISK_GEOM_DIRTY | VDISK_GEOM_SCAN,
	     "unclean, and on a device");
	T_EQ(geom.size_sec, 29, "the extent line's size");
	T_EQ(geom.alloc_off, 16 * 512, "appending behind a part of a grain");
	for (i = 0; vmdk_fact(&geom, i, &fact); i++)
		if (!fact.name || i > 50)
			breach("a fact has no name");
	T_OK(i == 15 && !steps_broken, "facts");
	STEP(&img, &step, vmdk_mark(&geom, &step, false, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_EQ(img.mem[72], 0, "marked clean");
	STEP(&img, &step, vmdk_trim(&geom, &step, 0, &plan));
	apply_phase(&img, &plan, VDISK_PUBLISH);
	T_EQ(img.len, 8 * 512, "the tables are not cut off");

	put(&img, 4, 3, 4);
	T_EQ(open_it(&img, &step, &geom), 0, "version 3 opens");
	T_OK(geom.flags & VDISK_GEOM_RDONLY && geom.why_ro, "to be read only");
	put(&img, 4, 2, 4);
	put(&img, 8, 1, 4);
	put(&img, 48, ~0ull, 8);
	T_OK(!open_it(&img, &step, &geom) && !geom.priv[VMDK_RGD_OFF],
	     "no flag: rgdOffset says nothing");
	image_free(&img);
}

static void test_probe(void)
{
	u8 h[512] = "KDMV";

	T_EQ(vmdk_probe(h, 511, NULL, 0), 0, "probe: too short");
	T_EQ(vmdk_probe(h, 512, NULL, 0), 50, "probe: version 0");
	h[4] = 3;
	T_EQ(vmdk_probe(h, 512, NULL, 0), 90, "probe: version 3");
	h[0] = 'C';
	T_EQ(vmdk_probe(h, 512, NULL, 0), 0, "probe: another magic");
}

/* A good or bad answer of map() for one entry, with every way to lend. */
static bool maps_to(struct image *img, const struct vdisk_geom *geom,
		    u64 sector, const char *why, enum vdisk_kind kind, u64 off)
{
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	bool good = true;
	int r;

	for (img->lend = 0; img->lend < NR_LEND; img->lend++) {
		r = STEP(img, &step, vdisk_vmdk_map(geom, &step, sector, 2, &e));
		if (why)
			good &= r == -EUCLEAN && !strcmp(step.why, why);
		else
			good &= !r && e.kind == kind && e.sectors == 2 &&
				(kind != VDISK_DATA || e.off == off);
	}
	img->lend = 0;
	return good && !steps_broken;
}

/* The small image with 16 sectors more; overhead ends at 8. */
static void test_entries(void)
{
	static const struct {
		u32 gde, gte;
		const char *why;
		enum vdisk_kind kind;
		u64 off;
		u32 flags, sector;
	} rows[] = {
		{ 0, 8, NULL, VDISK_PARENT, 0, 3, 9 },
		{ 6, 0, NULL, VDISK_PARENT, 0, 3, 9 },
		{ 6, 8, NULL, VDISK_DATA, 9 * 512, 3, 9 },
		{ 6, 16, NULL, VDISK_DATA, 17 * 512, 3, 9 },
		{ 6, 1, NULL, VDISK_ZERO, 0, 7, 9 },
		{ 6, 1, "Grain lies in the metadata", 0, 0, 3, 9 },
		{ 6, 2, "Grain lies in the metadata", 0, 0, 7, 9 },
		{ 6, 6, "Grain lies in the metadata", 0, 0, 3, 9 },
		{ 6, 5, "Grain lies in the metadata", 0, 0, 3, 9 },
		/* Below the overhead, but on nothing. */
		{ 6, 7, NULL, VDISK_DATA, 8 * 512, 3, 9 },
		{ 6, 17, "Grain ends past the file", 0, 0, 3, 9 },
		{ 6, 0xffffffff, "Grain ends past the file", 0, 0, 3, 9 },
		{ 6, 18, NULL, VDISK_DATA, 20 * 512, 3, 26 },
		{ 6, 19, "Grain ends past the file", 0, 0, 3, 26 },
		{ 1, 8, "Grain table lies in the metadata", 0, 0, 3, 9 },
		{ 2, 8, "Grain table lies in the metadata", 0, 0, 3, 9 },
		{ 24, 8, "Grain table ends past the file", 0, 0, 3, 9 },
		{ 0xffffffff, 8, "Grain table ends past the file", 0, 0, 3, 9 },
	};
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct layout l;
	struct image img;
	u32 i;

	l = build(&img, &small);
	img.len += 16 * 512;
	for (i = 0; i < ARRAY(rows); i++) {
		put(&img, 8, rows[i].flags, 4);
		put(&img, l.gd * 512, rows[i].gde, 4);
		put(&img, 6 * 512 + rows[i].sector / 8 * 4, rows[i].gte, 4);
		open_it(&img, &step, &geom);
		T_OK(maps_to(&img, &geom, rows[i].sector, rows[i].why,
			     rows[i].kind, rows[i].off),
		     t_name("entry %u of table %u: %s", rows[i].gte,
			    rows[i].gde, rows[i].why ? rows[i].why : "good"));
	}
	image_free(&img);
}

/* No reader needs the overhead: wherever it says, the grains are the same. */
static void test_overhead(void)
{
	static const u32 overhead[] = { 0, 1, 8, 9, 12, 24 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct layout l;
	struct image img;
	u32 i;

	l = build(&img, &small);
	img.len += 16 * 512;
	put(&img, 6 * 512 + 4, 8, 4);
	put(&img, 6 * 512 + 8, 16, 4);
	for (i = 0; i < ARRAY(overhead); i++) {
		put(&img, 64, overhead[i], 8);
		T_OK(!open_it(&img, &step, &geom) &&
		     maps_to(&img, &geom, 9, NULL, VDISK_DATA, 9 * 512) &&
		     maps_to(&img, &geom, 17, NULL, VDISK_DATA, 17 * 512),
		     t_name("grains at 8 and 16, overhead %u", overhead[i]));
	}
	T_EQ(l.end, 8, "the overhead is 8");
	image_free(&img);
}

static void test_runs(void)
{
	static const struct {
		u64 sector, sectors, run;
		enum vdisk_kind kind;
		const char *name;
	} rows[] = {
		{ 3, 500, 61, VDISK_PARENT, "tables that are not there" },
		{ 64, 500, 24, VDISK_DATA, "neighbours" },
		{ 176, 500, 32, VDISK_DATA, "neighbours, over a table's end" },
		{ 87, 500, 1, VDISK_DATA, "the end of a run" },
		{ 88, 500, 8, VDISK_DATA, "not the next grain" },
		{ 96, 500, 16, VDISK_ZERO, "zeroes" },
		{ 112, 500, 16, VDISK_PARENT, "holes, up to a bad table" },
		{ 64, 20, 20, VDISK_DATA, "what was asked for" },
		{ 228, 172, 172, VDISK_PARENT, "to the end of the disk" },
	};
	static const struct shape shape = {
		"", 2, 5, 8, 4, 400, NONE, false, 0,
	};
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct layout l;
	struct image img;
	u64 at;
	u32 i;

	l = build(&img, &shape);
	at = l.end * 512;
	img.len = at + 64 * 512;
	for (i = 2; i < 4; i++)
		put(&img, l.gd * 512 + i * 4, l.end + i, 4);
	put(&img, l.gd * 512 + 16, 2, 4);
	put(&img, l.gd * 512 + 20, l.end + 4, 4);
	put(&img, l.gd * 512 + 24, l.end + 5, 4);
	put(&img, at + 4 * 512 + 8, l.end + 24, 4);
	put(&img, at + 4 * 512 + 12, l.end + 32, 4);
	put(&img, at + 5 * 512, l.end + 40, 4);
	put(&img, at + 5 * 512 + 4, l.end + 48, 4);
	for (i = 0; i < 3; i++)
		put(&img, at + 2 * 512 + i * 4, l.end + 8 + i * 8, 4);
	put(&img, at + 2 * 512 + 12, l.end + 40, 4);
	put(&img, at + 3 * 512, 1, 4);
	put(&img, at + 3 * 512 + 4, 1, 4);
	open_it(&img, &step, &geom);
	for (i = 0; i < ARRAY(rows); i++) {
		img.lend = LEND_BLOCK;
		STEP(&img, &step, vdisk_vmdk_map(&geom, &step, rows[i].sector,
						 rows[i].sectors, &e));
		T_OK(e.kind == rows[i].kind && e.sectors == rows[i].run &&
		     !steps_broken, rows[i].name);
		img.lend = LEND_EXACT;
		STEP(&img, &step, vdisk_vmdk_map(&geom, &step, 66, 100, &e));
		T_OK(e.sectors == 6, "one entry at hand");
	}
	image_free(&img);
}

/* Two sets of two tables; the second table has 3 entries of a disk of 56. */
static void test_plans(void)
{
	static const struct shape shape = {
		"", 1, 7, 8, 4, 56, NONE, false, 0,
	};
	struct vdisk_ask ask = { .sector = 11, .sectors = 40 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct layout l;
	struct image img;
	u64 gd, rgd;

	l = build(&img, &shape);
	gd = l.gd * 512;
	rgd = l.rgd * 512;
	img.len = 1 << 20;
	img.lend = LEND_BLOCK;
	open_it(&img, &step, &geom);
	do {
		img.next = 65536;
		STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan));
	} while (plan.made_sec != 24);
	T_OK(plan.nr == 5 && plan.op[0].kind == VDISK_OP_ZERO &&
	     plan.op[0].phase == VDISK_IN_DATA && plan.op[0].off == 65536 &&
	     plan.op[0].value == 1024, "both tables are zeroed with DATA");
	T_OK(is_set(&plan, 1, VDISK_PUBLISH, gd, 1, 128, 0) &&
	     is_set(&plan, 2, VDISK_PUBLISH, rgd, 1, 129, 0),
	     "both directories are published");
	T_OK(is_set(&plan, 3, VDISK_PUBLISH, 65536 + 4, 3, 136, 8) &&
	     is_set(&plan, 4, VDISK_PUBLISH, 65536 + 516, 3, 136, 8),
	     "entries of both tables are published");
	T_OK(plan.first_sec == 8 && plan.sectors == 21 &&
	     plan.first_off == 136 * 512 && plan.data_off == 139 * 512 &&
	     plan.fill == VDISK_FILL_PARENT, "the plan says where");

	/* Found in one set only. */
	put(&img, gd, 40, 4);
	img.next = 65536;
	STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan));
	T_OK(plan.nr == 2 && is_set(&plan, 0, VDISK_PUBLISH, rgd, 1, 40, 0) &&
	     plan.op[1].off == 40 * 512 + 4,
	     "a table that has no copy becomes its own");
	put(&img, rgd, 40, 4);
	img.next = 65536;
	STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan));
	T_EQ(plan.nr, 1, "a table that is its own copy is set once");
	put(&img, gd, 0, 4);
	img.next = 65536;
	STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan));
	T_OK(plan.nr == 5 && is_set(&plan, 2, VDISK_PUBLISH, rgd, 1, 129, 0),
	     "a table that is only a copy is made anew");
	put(&img, gd, 40, 4);
	put(&img, rgd, 2, 4);
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)),
	     -EUCLEAN, "a bad copy");

	/* Kinds. */
	put(&img, rgd, 41, 4);
	put(&img, 40 * 512 + 4, 1, 4);
	put(&img, 40 * 512 + 12, 1000, 4);
	img.next = 65536;
	STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan));
	T_OK(plan.nr == 2 && plan.fill == VDISK_FILL_ZERO &&
	     plan.made_sec == 8 && plan.sectors == 5,
	     "a grain of zeroes is filled with zeroes");
	ask.sector = 25;
	STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan));
	T_OK(plan.nr == 0 && !plan.made_sec && plan.sectors == 7 &&
	     plan.data_off == 1001 * 512, "a grain that is there needs no plan");

	/* The end of the numbers. */
	ask.sector = 0;
	img.noise = true;
	img.next = (1ull << 41) - 4096;
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)), 0,
	     "the last grain that has a number");
	img.next = 1ull << 41;
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)),
	     -EUCLEAN, "the first that has none");
	T_STR(step.why, "VMDK file is full at 2 TiB", "and why");
	put(&img, gd, 0, 4);
	img.next = 1ull << 41;
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)),
	     -EUCLEAN, "a table that has none");
	T_OK(!steps_broken, "plans keep the contract");
	image_free(&img);
}

static u32 model_spec(const struct model *m, u64 sector)
{
	const u8 *mem = m->img.mem;
	u64 grain = vdisk_le64(mem + 20), gtes = vdisk_le32(mem + 44);
	u64 gd = vdisk_le64(mem + 56) * 512, n = sector / grain, gt, data;

	gt = vdisk_le32(mem + gd + n / gtes * 4);
	data = gt ? vdisk_le32(mem + gt * 512 + n % gtes * 4) : 0;
	if (data == 1 && mem[8] & 4)
		return 0;
	return data ? vdisk_le32(mem + (data + sector % grain) * 512)
		    : below(m, sector);
}

/* Tables that are in both sets say the same. */
static bool copies_agree(const struct image *img)
{
	const u8 *mem = img->mem;
	u64 gtes = vdisk_le32(mem + 44), cov = gtes * vdisk_le64(mem + 20), i;
	u64 gd = vdisk_le64(mem + 56) * 512, rgd = vdisk_le64(mem + 48) * 512;
	u64 gt, rgt;

	for (i = 0; i < vdisk_div_up(vdisk_le64(mem + 12), cov); i++) {
		gt = vdisk_le32(mem + gd + i * 4);
		rgt = vdisk_le32(mem + rgd + i * 4);
		if (gt && rgt && memcmp(mem + gt * 512, mem + rgt * 512,
					gtes * 4))
			return false;
	}
	return true;
}

static void test_models(void)
{
	static const struct shape shapes[] = {
		{ "4 KiB x 512", 1, 3, 8, 512, 9001, ALL, false, 300 },
		{ "4 KiB x 512, zeroes, parent", 2, 7, 8, 512, 9001, ALL, true,
		  300 },
		{ "4 KiB x 1, no tables", 1, 3, 8, 1, 3003, NONE, false, 200 },
		{ "4 KiB x 7, some tables", 1, 1, 8, 7, 4999, ODD, true, 300 },
		{ "4 KiB x 100, zeroes, no tables", 2, 7, 8, 100, 20001, NONE,
		  false, 300 },
		{ "4 KiB x 64, torn sets", 1, 3, 8, 64, 9999, TORN, false, 300 },
		{ "64 KiB x 512", 1, 3, 128, 512, 140001, ALL, true, 100 },
		{ "64 KiB x 128, one set", 2, 5, 128, 128, 50001, ODD, false,
		  100 },
		{ "1 MiB x 3, zeroes", 2, 7, 2048, 3, 60001, ODD, true, 40 },
		{ "64 MiB x 2", 1, 3, 131072, 2, 400001, NONE, false, 4 },
	};
	u32 i;

	for (i = 0; i < ARRAY(shapes); i++) {
		const struct shape *s = &shapes[i];
		struct model m = {
			.fmt = &vdisk_vmdk_format, .parent = s->parent,
			.spec = model_spec, .table_len = 8192,
		};

		build(&m.img, s);
		model_run(&m, s->times, s->grain * s->gtes < s->capacity ?
			  s->grain * s->gtes : 0, true);
		if (steps_broken)
			printf("# %s\n", steps_broken);
		T_OK(!steps_broken, s->name);
		if (s->flags & VMDK_REDUNDANT && s->tables != TORN)
			T_OK(copies_agree(&m.img), "both sets are equal");
		image_free(&m.img);
	}
}

static void test_discard(void)
{
	static const struct {
		u64 sector, sectors, done;
		bool unmap, parent;
		u32 flags, nr, count, value;
		u64 freed_off, freed_len;
		const char *name;
	} rows[] = {
		{ 0, 30, 16, true, false, 3, 2, 2, 0, 8 * 512, 8192,
		  "neighbours are freed together" },
		{ 0, 30, 16, false, true, 7, 2, 2, 1, 8 * 512, 8192,
		  "zeroes hide a parent" },
		{ 8, 12, 8, true, false, 3, 2, 1, 0, 16 * 512, 4096,
		  "whole grains only" },
		{ 24, 6, 6, true, false, 3, 2, 1, 0, 40 * 512, 4096,
		  "the disk's last grain is whole at its end" },
		{ 24, 5, 5, true, false, 3, 0, 0, 0, 0, 0,
		  "but not before" },
		{ 3, 20, 5, true, false, 7, 0, 0, 0, 0, 0,
		  "a part of a grain has no way" },
		{ 0, 17, 16, true, true, 3, 0, 0, 0, 0, 0,
		  "no way over a parent without zeroes" },
		{ 0, 17, 16, false, false, 3, 0, 0, 0, 0, 0,
		  "holes are no zeroes" },
		{ 16, 8, 8, true, false, 7, 2, 1, 1, 32 * 512, 4096,
		  "a single grain" },
	};
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct image img;
	bool good;
	u32 i;

	build(&img, &small);
	img.len = 64 * 512;
	put(&img, 6 * 512, 8, 4);
	put(&img, 6 * 512 + 4, 16, 4);
	put(&img, 6 * 512 + 8, 32, 4);
	put(&img, 6 * 512 + 12, 40, 4);
	put(&img, 6 * 512 + 8, 32, 4);
	for (i = 0; i < ARRAY(rows); i++) {
		put(&img, 8, rows[i].flags, 4);
		open_it(&img, &step, &geom);
		if (rows[i].parent)
			geom.flags |= VDISK_GEOM_PARENT;
		img.lend = LEND_BLOCK;
		STEP(&img, &step,
		     vdisk_vmdk_discard(&geom, &step, rows[i].sector,
					rows[i].sectors, rows[i].unmap, &plan));
		good = plan.sectors == rows[i].done && plan.nr == rows[i].nr &&
		       plan.freed_off == rows[i].freed_off &&
		       plan.freed_len == rows[i].freed_len && !steps_broken;
		if (plan.nr)
			good &= is_set(&plan, 0, VDISK_PUBLISH, 6 * 512 +
				       rows[i].sector / 8 * 4, rows[i].count,
				       rows[i].value, 0);
		T_OK(good, rows[i].name);
	}
	image_free(&img);
}

/* A bad entry is told and passed; what is behind the disk's end is nothing. */
static void test_walk(void)
{
	static const struct shape shape = {
		"", 1, 3, 8, 512, 8192 * 512 - 8, NONE, false, 0,
	};
	u64 cursor = 0, units = 0, tables = 0, metas = 0, bad = 0, calls = 0;
	struct vdisk_range range;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct layout l;
	struct image img;
	u64 gt;
	int r;

	l = build(&img, &shape);
	gt = l.end * 512 - 512 + 4096;	/* crosses a block */
	img.len = gt + 65536;
	put(&img, l.gd * 512, 2, 4);
	put(&img, l.gd * 512 + 1023 * 4, gt / 512, 4);
	put(&img, l.rgd * 512 + 3 * 4, ~0u, 4);
	put(&img, l.rgd * 512 + 1000 * 4, gt / 512 + 8, 4);
	put(&img, l.rgd * 512 + 1023 * 4, gt / 512, 4);
	put(&img, gt, 5, 4);
	put(&img, gt + 510 * 4, gt / 512 + 16, 4);
	put(&img, gt + 511 * 4, 7, 4);
	open_it(&img, &step, &geom);
	do {
		r = STEP(&img, &step, vdisk_vmdk_walk(&geom, &step, &cursor,
						      &range));
		bad += r == -EUCLEAN;
		if (r || !range.len)
			continue;
		units += range.kind == VDISK_RANGE_UNIT;
		tables += range.kind == VDISK_RANGE_TABLE ? range.len : 0;
		metas += range.kind == VDISK_RANGE_META ? range.len : 0;
	} while ((r || range.len) && ++calls < 100 && !steps_broken);
	T_EQ(bad, 3, "a walk tells each bad entry");
	T_EQ(units, 1, "a walk goes on behind bad entries");
	T_EQ(tables, 2 * 4096 + 2 * 2048, "a walk tells each table once");
	T_EQ(metas, 3 * 512, "a walk tells header and descriptor");
	T_OK(!steps_broken && calls < 40, "a walk ends, empty parts at once");

	for (cursor = 0; cursor < 4; cursor++)
		put(&img, gt + 4 * (100 + cursor),
		    img.len / 512 - 24 + 8 * cursor, 4);
	cursor = check_run(&vdisk_vmdk_format, &img, &geom,
			   (1023 * 512 + 100) * 8, img.len - 24 * 512, 3 * 4096);
	T_EQ(cursor >> 5 & 0x1fff, 104, "and it goes on behind");
	image_free(&img);
}

static void test_noise(void)
{
	static const struct shape shapes[] = {
		{ "", 2, 7, 8, 4, 62, ALL, false, 0 },
		{ "", 3, PACKED | 6, 8, 5, 191, TORN, false, 0 },
	};
	struct layout l;
	struct image img;
	u32 i, n, opened;

	for (i = 0; i < ARRAY(shapes); i++) {
		l = build(&img, &shapes[i]);
		for (n = 0; n < 4; n++) {
			put(&img, (l.gd + 1) * 512 + n * 4, l.end + n * 8, 4);
			put_record(&img, (l.end + n * 8) * 512, n * 8, 8, n, 99);
		}
		img.len = 65536;
		opened = noise_run(&vdisk_vmdk_format, &img,
				   (u32)l.end * 512 + 2048, 6000);
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
	test_probe();
	test_entries();
	test_overhead();
	test_runs();
	test_plans();
	test_discard();
	test_walk();
	test_models();
	test_noise();
	return T_DONE();
}
