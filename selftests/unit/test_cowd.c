// SPDX-License-Identifier: GPL-2.0
/* VMDK redo logs of ESX: refusals, entries, freeSector, plans. */
#include "test.h"
#include "../../formats/cowd.c"
#include "steps.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

struct shape {
	const char *name;
	u32 grain, capacity;
	bool tables;		/* every second one is there */
	bool parent;
	u32 times;
};

static void put(struct image *img, u64 off, u64 value, u32 width)
{
	vdisk_store(img->mem + off, value, width, false);
}

/* The directory is at sector 4, the tables that there are behind it. */
static void build(struct image *img, const struct shape *s)
{
	u32 gdes = (u32)vdisk_div_up(s->capacity, 4096ull * s->grain), i;
	u64 at = 4 + vdisk_div_up(gdes * 4ull, 512);

	image_new(img, 16ull << 30);
	memcpy(img->mem, "COWD", 4);
	put(img, 4, 1, 4);
	put(img, 8, 3, 4);
	put(img, 12, s->capacity, 4);
	put(img, 16, s->grain, 4);
	put(img, 20, 4, 4);
	put(img, 24, gdes, 4);
	for (i = 0; s->tables && i < gdes; i += 2, at += 32)
		put(img, 2048 + i * 4ull, at, 4);
	put(img, 28, at, 4);
	img->len = at * 512;
}

static int open_it(struct image *img, struct vdisk_step *step,
		   struct vdisk_geom *geom)
{
	struct vdisk_params params = { .file_len = img->len, .write = true };
	int r;

	steps_broken = NULL;
	r = STEP(img, step, cowd_open(&params, step, geom));
	img->data_end = geom->data_end;
	img->next = geom->alloc_off;
	return r;
}

/* Two tables, the first at sector 5; data from 37 on. */
static const struct shape small = { "small", 1, 5000, true, false, 0 };

static void test_refusals(void)
{
	static const struct refusal rows[] = {
		{ "File is shorter than a COWD header", 2047, 0, 0, 0, 2047 },
		{ "COWD header not found", 0x44574f58, 0, 1, 'X', 0 },
		{ "Unknown COWD version", 2, 4, 4, 2, 0 },
		{ "The disk is empty", 0, 12, 4, 0, 0 },
		{ "COWD grain size is not a power of two", 0, 16, 4, 0, 0 },
		{ "COWD grain size is not a power of two", 3, 16, 4, 3, 0 },
		{ "COWD grain size is over 1 MiB", 4096, 16, 4, 4096, 0 },
		{ "COWD directory is too short for the disk", 1, 24, 4, 1, 0 },
		{ "COWD directory is too short for the disk", 2, 12, 4, 8193, 0 },
		{ "COWD directory lies in the header", 3, 20, 4, 3, 0 },
		{ "COWD directory lies in the header", 0, 20, 4, 0, 0 },
		{ "COWD directory is outside the file", 37, 20, 4, 37, 0 },
		{ "COWD directory is outside the file", ~0u, 20, 4, ~0u, 0 },
		{ "COWD directory is outside the file", 4, 24, 4, ~0u, 0 },
	};
	struct vdisk_params params = { .size_sec = 5001 };
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
	T_EQ(STEP(&img, &step, cowd_open(&params, &step, &geom)), -EUCLEAN,
	     "an extent line longer than the capacity");
	T_STR(step.why, "Image is smaller than the extent", "and why");
	image_free(&img);
}

static void test_geometry(void)
{
	struct vdisk_params params = { .write = true, .device = true };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_fact fact;
	struct vdisk_plan plan;
	struct image img;
	u8 head[8] = "COWD";
	u32 i;

	T_EQ(cowd_probe(head, 7, NULL, 0), 0, "probe: too short");
	T_EQ(cowd_probe(head, 8, NULL, 0), 50, "probe: version 0");
	head[4] = 1;
	T_EQ(cowd_probe(head, 8, NULL, 0), 90, "probe: version 1");
	head[3] = 'X';
	T_EQ(cowd_probe(head, 8, NULL, 0), 0, "probe: another magic");

	build(&img, &small);
	T_EQ(open_it(&img, &step, &geom), 0, "a small image opens");
	T_OK(geom.size_sec == 5000 && geom.unit_len == 512 &&
	     geom.data_off == 5 * 512 && geom.alloc_off == 37 * 512 &&
	     geom.flags == VDISK_GEOM_MARK, "geometry");
	put(&img, 28, 5, 4);
	put(&img, 1648, 1, 4);
	params.file_len = img.len;
	STEP(&img, &step, cowd_open(&params, &step, &geom));
	T_EQ(geom.flags, VDISK_GEOM_MARK | VDISK_GEOM_SCAN | VDISK_GEOM_DIRTY,
	     "unclean, and on a device");
	T_EQ(geom.alloc_off, 37 * 512, "freeSector is not believed");
	for (i = 0; cowd_fact(&geom, i, &fact); i++)
		if (!fact.name || i > 50)
			breach("a fact has no name");
	T_OK(i == 10 && !steps_broken, "facts");

	STEP(&img, &step, cowd_mark(&geom, &step, false, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_OK(!img.mem[1648] && vdisk_le32(img.mem + 28) == 5, "marked clean");
	img.data_end = 37 * 512 + 1;
	STEP(&img, &step, cowd_mark(&geom, &step, true, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_OK(img.mem[1648] == 1 && vdisk_le32(img.mem + 28) == 38,
	     "marked dirty, and freeSector is behind all room");
	STEP(&img, &step, cowd_grow(&geom, &step, 50 * 512, &plan));
	T_OK(plan.nr == 2 && plan.op[0].phase == VDISK_BEFORE &&
	     plan.op[1].phase == VDISK_BEFORE, "growing is BEFORE");
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_OK(vdisk_le32(img.mem + 28) == 50 && img.len == 50 * 512,
	     "freeSector grows with the file");
	STEP(&img, &step, cowd_trim(&geom, &step, 40 * 512, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_OK(vdisk_le32(img.mem + 28) == 40 && img.len == 50 * 512,
	     "freeSector is lowered first");
	apply_phase(&img, &plan, VDISK_PUBLISH);
	T_EQ(img.len, 40 * 512, "then the file is cut");
	STEP(&img, &step, cowd_trim(&geom, &step, 0, &plan));
	T_OK(plan.op[1].off == 5 * 512, "the directory is not cut off");
	T_EQ(STEP(&img, &step, cowd_grow(&geom, &step, COWD_MAX_END, &plan)), 0,
	     "the last end that has a number");
	T_EQ(STEP(&img, &step, cowd_grow(&geom, &step, COWD_MAX_END + 1, &plan)),
	     -EUCLEAN, "the first that has none");
	T_STR(step.why, "COWD file is full at 2 TiB", "and why");
	image_free(&img);
}

static void test_entries(void)
{
	static const struct {
		u32 gde, gte;
		const char *why;
		enum vdisk_kind kind;
		u64 off;
	} rows[] = {
		{ 5, 0, NULL, VDISK_PARENT, 0 },
		{ 0, 37, NULL, VDISK_PARENT, 0 },
		{ 5, 37, NULL, VDISK_DATA, 37 * 512 },
		{ 5, 69, NULL, VDISK_DATA, 69 * 512 },
		{ 5, 70, "Grain ends past the file", 0, 0 },
		{ 5, 1, "Grain lies in the metadata", 0, 0 },
		{ 5, 4, "Grain lies in the metadata", 0, 0 },
		{ 1, 37, "Grain table lies in the metadata", 0, 0 },
		{ 39, 37, "Grain table ends past the file", 0, 0 },
	};
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;
	int r;

	build(&img, &small);
	img.len = 70 * 512;
	open_it(&img, &step, &geom);
	for (i = 0; i < ARRAY(rows); i++) {
		put(&img, 2048, rows[i].gde, 4);
		put(&img, 5 * 512 + 9 * 4, rows[i].gte, 4);
		r = STEP(&img, &step, vdisk_vmdk_map(&geom, &step, 9, 1, &e));
		T_OK(!steps_broken && (rows[i].why ?
			r == -EUCLEAN && !strcmp(step.why, rows[i].why) :
			!r && e.kind == rows[i].kind && e.sectors == 1 &&
			(e.kind != VDISK_DATA || e.off == rows[i].off)),
		     t_name("entry %u of table %u: %s", rows[i].gte,
			    rows[i].gde, rows[i].why ? rows[i].why : "good"));
	}
	put(&img, 2048, 5, 4);
	for (i = 0; i < 20; i++)
		put(&img, 5 * 512 + (10 + i) * 4ull, 38 + i, 4);
	img.lend = LEND_BLOCK;
	STEP(&img, &step, vdisk_vmdk_map(&geom, &step, 10, 4000, &e));
	T_OK(e.off == 38 * 512 && e.sectors == 20, "neighbours are one run");
	STEP(&img, &step, vdisk_vmdk_map(&geom, &step, 30, 4500, &e));
	T_EQ(e.sectors, (4096 - 5 * 512 % 4096) / 4 - 30,
	     "the views at hand end a run");
	image_free(&img);
}

static u32 spec(const struct model *m, u64 sector)
{
	const u8 *mem = m->img.mem;
	u64 grain = vdisk_le32(mem + 16), n = sector / grain, gt, data;

	gt = vdisk_le32(mem + vdisk_le32(mem + 20) * 512ull + n / 4096 * 4);
	data = gt ? vdisk_le32(mem + gt * 512 + n % 4096 * 4) : 0;
	return data ? vdisk_le32(mem + (data + sector % grain) * 512)
		    : below(m, sector);
}

static void test_models(void)
{
	static const struct shape shapes[] = {
		{ "1 sector", 1, 30001, true, false, 300 },
		{ "1 sector over a parent, no tables", 1, 30001, false, true,
		  300 },
		{ "8 sectors over a parent", 8, 130003, true, true, 100 },
		{ "128 sectors", 128, 1100001, false, false, 40 },
		{ "2048 sectors over a parent", 2048, 60001, false, true, 30 },
	};
	u32 i;

	for (i = 0; i < ARRAY(shapes); i++) {
		const struct shape *s = &shapes[i];
		struct model m = {
			.fmt = &vdisk_cowd_format, .parent = s->parent,
			.spec = spec, .table_len = 20480,
		};

		build(&m.img, s);
		model_run(&m, s->times, s->grain * 4096 < s->capacity ?
			  s->grain * 4096 : 0, true);
		if (steps_broken)
			printf("# %s\n", steps_broken);
		T_OK(!steps_broken, s->name);
		T_OK(vdisk_le32(m.img.mem + 28) * 512ull >= m.img.data_end,
		     "freeSector is behind all room");
		image_free(&m.img);
	}
}

static void test_noise(void)
{
	struct image img;
	u32 i, opened;

	build(&img, &small);
	img.len = 128 * 512;
	for (i = 0; i < 64; i++)
		put(&img, 5 * 512 + i * 4ull, 40 + i, 4);
	opened = noise_run(&vdisk_cowd_format, &img, 3072, 4000);
	if (steps_broken)
		printf("# %s\n", steps_broken);
	T_OK(!steps_broken && opened > 500, "steps stand noise");
	image_free(&img);
}

int main(void)
{
	test_refusals();
	test_geometry();
	test_entries();
	test_models();
	test_noise();
	return T_DONE();
}
