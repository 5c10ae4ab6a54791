// SPDX-License-Identifier: GPL-2.0
/* QED: what is refused, what is mapped, and what plans do to an image. */
#include "test.h"
#include "../../formats/qed.c"
#include "steps.h"

struct shape {
	const char *name;
	u32 cluster;
	u32 table;	/* clusters */
	u32 header;	/* clusters */
	u32 gap;	/* clusters between the header and L1 */
	u64 sectors;
	bool parent;
	u32 times;
};

static void put(struct image *img, u64 off, u64 value, u32 width)
{
	vdisk_store(img->mem + off, value, width, false);
}

/* An empty image: header and L1. */
static void build(struct image *img, const struct shape *s)
{
	u64 l1 = (u64)(s->header + s->gap) * s->cluster;

	image_new(img, 16ull << 30);
	memcpy(img->mem, "QED", 4);
	put(img, 4, s->cluster, 4);
	put(img, 8, s->table, 4);
	put(img, 12, s->header, 4);
	put(img, 40, l1, 8);
	put(img, 48, s->sectors * 512, 8);
	if (s->parent) {
		put(img, 16, QED_BACKING_FILE, 8);
		put(img, 56, 64, 4);
		put(img, 60, 9, 4);
		memcpy(img->mem + 64, "base.qcow", 9);
	}
	img->len = l1 + (u64)s->table * s->cluster;
}

static int open_it(struct image *img, struct vdisk_step *step,
		   struct vdisk_geom *geom)
{
	struct vdisk_params params = { .file_len = img->len, .write = true };
	int r;

	steps_broken = NULL;
	r = STEP(img, step, qed_open(&params, step, geom));
	img->data_end = geom->data_end;
	return r;
}

/* 4 KiB clusters, tables of 2: L1 at 4096, file of 64 KiB. */
static const struct shape small = {
	"small", 4096, 2, 1, 0, 40000, false, 0,
};

static void test_refusals(void)
{
	static const struct refusal rows[] = {
		{ "File is shorter than a QED header", 63, 0, 0, 0, 63 },
		{ "File is 2^63 bytes or longer", 1ull << 63, 0, 0, 0,
		  1ull << 63 },
		{ "No QED header found", 0x51454458, 3, 1, 'X', 65536 },
		{ "QED cluster size is not a power of two", 0, 4, 4, 0, 65536 },
		{ "QED cluster size is not a power of two", 4097, 4, 4, 4097,
		  65536 },
		{ "QED cluster size is not 4 KiB to 64 MiB", 2048, 4, 4, 2048,
		  65536 },
		{ "QED cluster size is not 4 KiB to 64 MiB", 128 << 20, 4, 4,
		  128 << 20, 65536 },
		{ "QED table size is not a power of two", 0, 8, 4, 0, 65536 },
		{ "QED table size is not a power of two", 3, 8, 4, 3, 65536 },
		{ "QED table size is more than 16 clusters", 32, 8, 4, 32,
		  65536 },
		{ "QED header size is zero", 0, 12, 4, 0, 65536 },
		{ "QED header size is 4 GiB or more", 1 << 20, 12, 4, 1 << 20,
		  65536 },
		{ "QED header reaches past the file's end", 17, 12, 4, 17,
		  65536 },
		{ "QED image has unknown features", 8, 16, 8, 9, 65536 },
		{ "QED image has unknown features", 1ull << 63, 16, 8,
		  1ull << 63 | 4, 65536 },
		{ "L1 table is not cluster aligned", 4608, 40, 8, 4608, 65536 },
		{ "L1 table lies in the header", 0, 40, 8, 0, 65536 },
		{ "L1 table reaches past the file's end", 61440, 40, 8, 61440,
		  65536 },
		{ "L1 table reaches past the file's end", 0xFFFFFFFFFFFFF000ull,
		  40, 8, 0xFFFFFFFFFFFFF000ull, 65536 },
		{ "QED size is not a multiple of 512", 513, 48, 8, 513, 65536 },
		{ "The disk is empty", 0, 48, 8, 0, 65536 },
		{ "QED size is more than its tables hold", (1ull << 32) + 512,
		  48, 8, (1ull << 32) + 512, 65536 },
		{ "QED size is more than its tables hold", -512ull, 48, 8,
		  -512ull, 65536 },
		{ "Backing file name is not 1 to 1023 bytes", 0, 16, 8, 1,
		  65536 },
	};
	struct image img;
	u32 i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		build(&img, &small);
		refuse(&img, &rows[i], open_it);
	}
}

static void test_names(void)
{
	static const struct {
		u32 off, len;
		const char *why;
	} rows[] = {
		{ 64, 1, NULL },
		{ 64, 1023, NULL },
		{ 4095, 1, NULL },
		{ 64, 1024, "Backing file name is not 1 to 1023 bytes" },
		{ 63, 1, "Backing file name is outside the header" },
		{ 4096, 1, "Backing file name is outside the header" },
		{ 4000, 97, "Backing file name is outside the header" },
		{ 0xFFFFFFFF, 2, "Backing file name is outside the header" },
	};
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;
	int r;

	build(&img, &small);
	put(&img, 56, 0xFFFFFFFF, 4);
	put(&img, 60, 0xFFFFFFFF, 4);
	T_EQ(open_it(&img, &step, &geom), 0, "no bit: the old name is not read");
	T_EQ(geom.flags, VDISK_GEOM_MARK, "no bit: no parent");
	put(&img, 16, 1, 8);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(&img, 56, rows[i].off, 4);
		put(&img, 60, rows[i].len, 4);
		r = open_it(&img, &step, &geom);
		T_OK(rows[i].why ? r == -EUCLEAN && !strcmp(step.why, rows[i].why)
				 : !r && geom.flags & VDISK_GEOM_PARENT,
		     rows[i].why ? rows[i].why : "a legal backing name");
	}
	image_free(&img);
}

/* Sizes at the edge of the format; the file is long but not there. */
static void test_sizes(void)
{
	static const struct {
		u32 cluster, table;
		u64 most;
	} rows[] = {
		{ 4096, 1, 512ull * 512 * 4096 },
		{ 4096, 16, 8192ull * 8192 * 4096 },
		{ 65536, 4, 32768ull * 32768 * 65536 },
		{ 2 << 20, 1, 1ull << 57 },
		{ 8 << 20, 1, (1ull << 63) - 512 },
		{ 64 << 20, 16, (1ull << 63) - 512 },
	};
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct shape s = small;
	struct image img;
	u32 i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s.cluster = rows[i].cluster;
		s.table = rows[i].table;
		s.sectors = rows[i].most / 512;
		build(&img, &s);
		T_EQ(open_it(&img, &step, &geom), 0, "the largest disk");
		T_EQ(geom.size_sec, s.sectors, "the largest disk's size");
		put(&img, 48, rows[i].most + 512, 8);
		T_EQ(open_it(&img, &step, &geom), -EUCLEAN, "a larger one");
		image_free(&img);
	}
}

static void test_geometry(void)
{
	struct vdisk_params params = { .write = true };
	struct vdisk_step step;
	struct vdisk_plan plan;
	struct vdisk_geom geom;
	struct vdisk_fact fact;
	struct image img;
	u32 i;

	build(&img, &small);
	put(&img, 16, QED_NEED_CHECK | QED_NO_PROBE, 8);
	put(&img, 24, 0xFF00, 8);
	put(&img, 32, 0x10, 8);
	img.len = params.file_len = 65536 + 1000;
	T_EQ(open_it(&img, &step, &geom), 0, "unknown soft features open");
	T_EQ(geom.flags, VDISK_GEOM_MARK | VDISK_GEOM_DIRTY | VDISK_GEOM_STAMP,
	     "found not closed, and with autoclear bits");
	T_EQ(geom.data_off, 4096, "data starts behind the header");
	T_EQ(geom.data_end, 65536, "a part of a cluster holds none");
	T_EQ(geom.alloc_off, 65536 + 4096, "and is not overwritten");
	T_EQ(geom.unit_sec, 8, "sectors in a cluster");

	STEP(&img, &step, qed_mark(&geom, &step, true, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_EQ(vdisk_le64(img.mem + 16), 6, "marked dirty");
	T_EQ(vdisk_le64(img.mem + 24), 0xFF00, "compat features stay");
	T_EQ(vdisk_le64(img.mem + 32), 0, "autoclear features go");
	STEP(&img, &step, qed_mark(&geom, &step, false, &plan));
	apply_phase(&img, &plan, VDISK_BEFORE);
	T_EQ(vdisk_le64(img.mem + 16), 4, "marked clean");

	for (i = 0; qed_fact(&geom, i, &fact); i++)
		if (!fact.name || i > 50)
			breach("a fact has no name");
	T_OK(i == 10 && !steps_broken, "facts");

	STEP(&img, &step, qed_trim(&geom, &step, 9000, &plan));
	apply_phase(&img, &plan, VDISK_PUBLISH);
	T_EQ(img.len, 12288, "a file is cut at clusters");
	T_EQ(STEP(&img, &step, qed_grow(&geom, &step, 1ull << 63, &plan)),
	     -EUCLEAN, "QED file is full at 2^63 bytes");

	params.file_len = img.len;
	params.device = true;
	STEP(&img, &step, qed_open(&params, &step, &geom));
	T_OK(geom.flags & VDISK_GEOM_SCAN, "a device's end is not the image's");
	params.size_sec = 7;
	T_EQ(STEP(&img, &step, qed_open(&params, &step, &geom)), -EUCLEAN,
	     "a size that is not the header's");
	T_OK(!strcmp(step.why, "QED size differs from what was said"),
	     "a size that is not the header's: why");
	image_free(&img);
}

static void test_probe(void)
{
	u8 h[64] = "QED";

	T_EQ(qed_probe(h, 63, NULL, 0), 0, "probe: too short");
	T_EQ(qed_probe(h, 64, NULL, 0), 30, "probe: four bytes");
	vdisk_store(h + 4, 65536, 4, false);
	vdisk_store(h + 8, 4, 4, false);
	T_EQ(qed_probe(h, 64, NULL, 0), 90, "probe: a header");
	h[3] = 1;
	T_EQ(qed_probe(h, 64, NULL, 0), 0, "probe: another magic");
}

/* Entries by hand: L1 at 4096, an L2 at 12288, clusters from 20480 on. */
static void test_entries(void)
{
	static const struct {
		u64 l1, l2;
		const char *why;
		enum vdisk_kind kind;
		u64 off;
	} rows[] = {
		{ 0, 20480, NULL, VDISK_PARENT, 0 },
		{ 12288, 0, NULL, VDISK_PARENT, 0 },
		{ 12288, 1, NULL, VDISK_ZERO, 0 },
		{ 12288, 20480, NULL, VDISK_DATA, 20480 },
		{ 12288, 61440, NULL, VDISK_DATA, 61440 },
		{ 1, 0, "L2 table is not cluster aligned" },
		{ 12289, 0, "L2 table is not cluster aligned" },
		{ 1ull << 63 | 12288, 0, "L2 table reaches past the file's end" },
		{ 61440, 0, "L2 table reaches past the file's end" },
		{ 4096, 0, "L2 table overlaps the L1 table" },
		{ 8192, 0, "L2 table overlaps the L1 table" },
		{ 12288, 2, "Cluster is not cluster aligned" },
		{ 12288, 4095, "Cluster is not cluster aligned" },
		{ 12288, 20481, "Cluster is not cluster aligned" },
		{ 12288, 65536, "Cluster reaches past the file's end" },
		{ 12288, -4096ull, "Cluster reaches past the file's end" },
		{ 12288, 4096, "Cluster overlaps a table" },
		{ 12288, 8192, "Cluster overlaps a table" },
		{ 12288, 12288, "Cluster overlaps a table" },
		{ 12288, 16384, "Cluster overlaps a table" },
	};
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	bool good;
	u32 i, l;
	int r;

	build(&img, &small);
	img.len = 65536 + 512;
	open_it(&img, &step, &geom);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Cluster 1030: the 2nd table's 6th entry. */
		put(&img, 4096 + 8, rows[i].l1, 8);
		put(&img, 12288 + 6 * 8, rows[i].l2, 8);
		good = true;
		for (l = 0; l < NR_LEND; l++) {
			img.lend = l;
			r = STEP(&img, &step, qed_map(&geom, &step,
						      1030 * 8 + 3, 2, &e));
			if (rows[i].why)
				good &= r == -EUCLEAN &&
					!strcmp(step.why, rows[i].why);
			else
				good &= !r && e.kind == rows[i].kind &&
					e.sectors == 2 &&
					(e.kind != VDISK_DATA ||
					 e.off == rows[i].off + 3 * 512);
		}
		T_OK(good && !steps_broken,
		     rows[i].why ? rows[i].why : "an entry is mapped");
	}
	image_free(&img);

	/* Two clusters of header leave a table or a cluster in the second. */
	build(&img, &(struct shape){ "", 4096, 2, 2, 2, 40000, false, 0 });
	img.len = 65536;
	open_it(&img, &step, &geom);
	put(&img, 16384, 4096, 8);
	r = STEP(&img, &step, qed_map(&geom, &step, 0, 1, &e));
	T_OK(r == -EUCLEAN && !strcmp(step.why, "L2 table lies in the header"),
	     "L2 table lies in the header");
	put(&img, 16384, 24576, 8);
	put(&img, 24576, 4096, 8);
	r = STEP(&img, &step, qed_map(&geom, &step, 0, 1, &e));
	T_OK(r == -EUCLEAN && !strcmp(step.why, "Cluster lies in the header"),
	     "Cluster lies in the header");
	image_free(&img);
}

/* Runs are as long as the entries at hand prove, and no longer. */
static void test_runs(void)
{
	struct vdisk_extent e;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u32 i;

	build(&img, &small);
	img.len = 65536;
	open_it(&img, &step, &geom);
	put(&img, 4096 + 8 * 2, 12288, 8);	/* the 3rd table */
	for (i = 0; i < 5; i++)
		put(&img, 12288 + i * 8, 20480 + i * 4096, 8);
	put(&img, 12288 + 5 * 8, 20480, 8);	/* not the next one */
	put(&img, 12288 + 6 * 8, 1, 8);
	put(&img, 12288 + 7 * 8, 1, 8);
	put(&img, 12288 + 12 * 8, 61440, 8);
	put(&img, 12288 + 13 * 8, 65536, 8);	/* the next one, but outside */

	img.lend = LEND_BLOCK;
	STEP(&img, &step, qed_map(&geom, &step, 5, 30000, &e));
	T_EQ(e.sectors, 2 * 8192 - 5, "missing tables are one run");
	STEP(&img, &step, qed_map(&geom, &step, 2 * 8192 + 5, 1000, &e));
	T_EQ(e.sectors, 5 * 8 - 5, "neighbours in the file are one run");
	STEP(&img, &step, qed_map(&geom, &step, 2 * 8192 + 6 * 8, 1000, &e));
	T_OK(e.kind == VDISK_ZERO && e.sectors == 16, "zeroes are one run");
	STEP(&img, &step, qed_map(&geom, &step, 2 * 8192 + 8 * 8, 1000, &e));
	T_OK(e.kind == VDISK_PARENT && e.sectors == 32, "holes are one run");
	STEP(&img, &step, qed_map(&geom, &step, 2 * 8192 + 12 * 8, 1000, &e));
	T_EQ(e.sectors, 8, "a wrong neighbour ends a run");
	STEP(&img, &step, qed_map(&geom, &step, 2 * 8192 + 20 * 8, 8100, &e));
	T_EQ(e.sectors, (512 - 20) * 8, "the views at hand end a run");
	img.lend = LEND_LONG;
	STEP(&img, &step, qed_map(&geom, &step, 3 * 8192 - 16, 1000, &e));
	T_EQ(e.sectors, 16, "the end of a table ends a run");
	img.lend = LEND_EXACT;
	STEP(&img, &step, qed_map(&geom, &step, 2 * 8192 + 5, 1000, &e));
	T_EQ(e.sectors, 3, "a run of one entry at hand");
	T_OK(!steps_broken, "runs keep the contract");
	image_free(&img);
}

/* A bad entry is told and passed. */
static void test_walk(void)
{
	struct vdisk_range range;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u64 cursor = 0, tables = 0, units = 0, bad = 0, calls = 0;
	int r;

	build(&img, &small);
	img.len = 65536;
	open_it(&img, &step, &geom);
	put(&img, 4096 + 8 * 3, 7, 8);
	put(&img, 4096 + 8 * 4, 12288, 8);
	put(&img, 4096 + 8 * 511, 8192, 8);
	put(&img, 4096 + 8 * 1023, 4096, 8);
	put(&img, 12288, 3, 8);
	put(&img, 12288 + 8 * 511, 20480, 8);
	put(&img, 12288 + 8 * 512, 5, 8);
	put(&img, 12288 + 8 * 1023, 61440, 8);
	do {
		r = STEP(&img, &step, qed_walk(&geom, &step, &cursor, &range));
		bad += r == -EUCLEAN;
		if (r)
			continue;
		tables += range.kind == VDISK_RANGE_TABLE;
		units += range.kind == VDISK_RANGE_UNIT;
		if (range.kind == VDISK_RANGE_UNIT)
			T_EQ(range.sector, range.off == 20480 ?
			     (4 * 1024 + 511) * 8 : (4 * 1024 + 1023) * 8,
			     "a walk tells a cluster's sector");
	} while ((r || range.len) && ++calls < 100 && !steps_broken);
	T_EQ(bad, 5, "a walk tells each bad entry");
	T_EQ(units, 2, "a walk goes on behind bad entries");
	T_EQ(tables, 4, "a walk tells tables in blocks");
	T_OK(!steps_broken && calls < 100, "a walk ends");

	for (cursor = 0; cursor < 4; cursor++)
		put(&img, 12288 + 8 * (600 + cursor), 53248 + 4096 * cursor, 8);
	cursor = check_run(&vdisk_qed_format, &img, &geom,
			   (4 * 1024 + 600) * 8, 53248, 3 * 4096);
	T_EQ(cursor >> 3 & 0xFFFFFFF, 604, "and it goes on behind");

	/* The table it is in goes away, or goes bad, between two steps. */
	for (bad = 0; bad < 2; bad++) {
		put(&img, 4096 + 8 * 3, 12288, 8);
		for (cursor = 0, range.off = 0; range.off != 12288; )
			STEP(&img, &step, qed_walk(&geom, &step, &cursor,
						   &range));
		put(&img, 4096 + 8 * 3, bad, 8);
		r = STEP(&img, &step, qed_walk(&geom, &step, &cursor, &range));
		T_OK(bad ? r == -EUCLEAN : !r && range.off == 12288,
		     "a walk looks again where it is");
		T_EQ(cursor >> 31, 4, "and goes on behind");
	}
	image_free(&img);
}

static void test_plans(void)
{
	struct vdisk_ask ask = { .sector = 8192 + 8 * 1000 + 3, .sectors = 1000 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct image img;

	build(&img, &small);
	img.len = 131072;
	open_it(&img, &step, &geom);
	img.lend = LEND_BLOCK;
	/* Cluster 1000 of a table of 1024, in a request for 126. */
	do {
		img.next = 20480;
		STEP(&img, &step, qed_alloc(&geom, &step, &ask, &plan));
		T_OK(step.need.count == 24, "no more than one table's clusters");
	} while (plan.made_sec < 8 * 24);
	T_EQ(plan.nr, 3, "a new table: zero it, fill it, point to it");
	T_OK(plan.op[0].kind == VDISK_OP_ZERO &&
	     plan.op[0].phase == VDISK_IN_DATA && plan.op[0].off == 20480 &&
	     plan.op[0].value == 8192, "the table is zeroed with DATA");
	T_OK(plan.op[1].phase == VDISK_PUBLISH &&
	     plan.op[1].off == 20480 + 8 * 1000 && plan.op[1].count == 24 &&
	     plan.op[1].value == 28672 && plan.op[1].step == 4096,
	     "the entries are published");
	T_OK(plan.op[2].phase == VDISK_PUBLISH && plan.op[2].off == 4104 &&
	     plan.op[2].value == 20480, "the table is published");
	T_OK(plan.first_sec == ask.sector - 3 && plan.sectors == 8 * 24 - 3 &&
	     plan.first_off == 28672 && plan.data_off == 28672 + 3 * 512 &&
	     plan.fill == VDISK_FILL_PARENT, "the plan says where");

	img.next = 28672;
	put(&img, 4104, 12288, 8);
	put(&img, 12288, 1, 8);
	put(&img, 12288 + 8, 61440, 8);
	ask.sector = 8192;
	STEP(&img, &step, qed_alloc(&geom, &step, &ask, &plan));
	T_OK(plan.nr == 1 && plan.fill == VDISK_FILL_ZERO && plan.sectors == 8,
	     "a zero cluster is filled with zeroes");
	ask.sector = 8200;
	STEP(&img, &step, qed_alloc(&geom, &step, &ask, &plan));
	T_OK(plan.nr == 0 && plan.made_sec == 0 && plan.data_off == 61440 &&
	     plan.sectors == 8, "a place that is there needs no plan");
	T_OK(!steps_broken, "plans keep the contract");
	image_free(&img);
}

static void test_discard(void)
{
	static const struct {
		const char *name;
		u64 sector, sectors;
		bool unmap, parent;
		u64 covered, nr, value, freed_len;
	} rows[] = {
		{ "the disk's last cluster is whole",
		  4998 * 8, 13, 1, 0, 13, 1, 0, 8192 },
		{ "zeroes, not a hole", 4998 * 8, 13, 0, 0, 13, 1, 1, 8192 },
		{ "no hole over a parent", 4998 * 8, 13, 1, 1, 13, 1, 1, 8192 },
		{ "whole clusters only", 4998 * 8, 12, 1, 0, 8, 1, 0, 4096 },
		{ "a part of a cluster stays", 4998 * 8 + 1, 12, 1, 0, 7, 0 },
		{ "less than a cluster stays", 4998 * 8, 7, 1, 0, 7, 0 },
		{ "zeroes become a hole", 4992 * 8, 16, 1, 0, 16, 1, 0, 0 },
		{ "zeroes stay over a parent", 4992 * 8, 16, 1, 1, 16, 0 },
		{ "a hole stays", 4994 * 8, 16, 1, 0, 16, 0 },
		{ "a hole becomes zeroes", 4994 * 8, 16, 0, 1, 16, 1, 1, 0 },
		{ "a missing table stays", 0, 16, 0, 1, 16, 0 },
	};
	struct shape s = small;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct image img;
	u64 at = 12288 + (4992 - 4096) * 8;
	u32 i;

	s.sectors = 39997;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s.parent = rows[i].parent;
		build(&img, &s);
		img.len = 65536;
		open_it(&img, &step, &geom);
		img.lend = LEND_BLOCK;
		put(&img, 4096 + 4 * 8, 12288, 8);
		put(&img, at, 1, 8);
		put(&img, at + 8, 1, 8);
		put(&img, at + 6 * 8, 24576, 8);
		put(&img, at + 7 * 8, 28672, 8);
		STEP(&img, &step, qed_discard(&geom, &step, rows[i].sector,
					      rows[i].sectors, rows[i].unmap,
					      &plan));
		T_OK(plan.nr == rows[i].nr && plan.sectors == rows[i].covered &&
		     plan.freed_len == rows[i].freed_len &&
		     (!plan.freed_len || plan.freed_off == 24576) &&
		     (!plan.nr || (plan.op[0].value == rows[i].value &&
				   plan.op[0].step == 0)), rows[i].name);
		image_free(&img);
	}
	T_OK(!steps_broken, "discards keep the contract");
}

static u32 spec(const struct model *m, u64 sector)
{
	const u8 *mem = m->img.mem;
	u64 cluster = vdisk_le32(mem + 4), at = sector * 512, l2, data;
	u64 n = vdisk_le32(mem + 8) * cluster / 8;

	l2 = vdisk_le64(mem + vdisk_le64(mem + 40) + at / cluster / n * 8);
	data = l2 ? vdisk_le64(mem + l2 + at / cluster % n * 8) : 0;
	if (data == 1)
		return 0;
	return data ? vdisk_le32(mem + data + at % cluster) : below(m, sector);
}

static void test_models(void)
{
	static const struct shape shapes[] = {
		{ "4 KiB x 1", 4096, 1, 1, 0, 20003, false, 300 },
		{ "4 KiB x 1 over a parent", 4096, 1, 2, 3, 20003, true, 300 },
		{ "4 KiB x 2", 4096, 2, 1, 1, 50001, false, 200 },
		{ "4 KiB x 16 over a parent", 4096, 16, 1, 0, 150000, true, 200 },
		{ "32 KiB x 1 over a parent", 32768, 1, 1, 0, 300000, true, 100 },
		{ "64 KiB x 4", 65536, 4, 1, 0, 30001, false, 100 },
		{ "1 MiB x 8 over a parent", 1 << 20, 8, 1, 0, 60000, true, 40 },
		{ "64 MiB x 1", 64 << 20, 1, 1, 0, 400001, false, 6 },
		{ "64 MiB x 16 over a parent", 64 << 20, 16, 1, 0, 300001, true, 4 },
	};
	const struct shape *s;
	u64 table;
	u32 i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct model m = {
			.fmt = &vdisk_qed_format, .parent = shapes[i].parent,
			.spec = spec,
		};

		s = &shapes[i];
		build(&m.img, s);
		m.table_len = (u64)s->table * s->cluster;
		/* Where the first L2 table ends, if the disk goes so far. */
		table = m.table_len / 8 * s->cluster / 512;
		model_run(&m, s->times, table < s->sectors ? table : 0,
			  m.table_len <= 1 << 20);
		if (steps_broken)
			printf("# %s\n", steps_broken);
		T_OK(!steps_broken, s->name);
		image_free(&m.img);
	}
}

static void test_noise(void)
{
	struct image img;
	u32 i, opened;

	build(&img, &small);
	img.len = 131072;
	put(&img, 4096, 12288, 8);
	put(&img, 4096 + 8, 20480, 8);
	for (i = 0; i < 8; i++) {
		put(&img, 12288 + i * 8, 32768 + i * 4096, 8);
		put(&img, 20480 + i * 8, 65536 + i * 4096, 8);
	}
	opened = noise_run(&vdisk_qed_format, &img, 28672, 4000);
	if (steps_broken)
		printf("# %s\n", steps_broken);
	T_OK(!steps_broken && opened > 500, "steps stand noise");
	image_free(&img);
}

/* Many units at once are those that a walk tells one by one. */
static void test_many(void)
{
	struct vdisk_range range;
	struct vdisk_many many;
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u64 cursor = 0, after, units, sum, i, l2_at = 12288;
	u32 told = 0, wrong = 0;
	int r;

	build(&img, &small);
	img.len = 1 << 20;
	put(&img, 4096, l2_at, 8);
	for (i = 0; i < 100; i++)
		put(&img, l2_at + i * 8, i % 7 == 3 ? 0 : i % 9 == 4 ? 5000 :
		    i % 11 == 5 ? 1 : 65536 + (i * 37 % 200) * 4096, 8);
	open_it(&img, &step, &geom);
	do {
		r = STEP(&img, &step, qed_walk(&geom, &step, &cursor, &range));
		if (!range.len && !r)
			break;
		/* With all of the file at hand. */
		after = cursor;
		step = (struct vdisk_step){
			.file_len = img.len, .data_end = geom.data_end,
			.nr_views = 1, .view = { { 0, (u32)img.len, img.mem } },
		};
		vdisk_qed_many(&geom, &step, &after, &many);
		told += many.nr;
		sum = 0;
		for (units = many.nr, i = 0; i < many.nr; i++)
			sum += many.off[i];
		while (units && !wrong) {
			r = STEP(&img, &step, qed_walk(&geom, &step, &cursor,
						       &range));
			if (r || range.kind != VDISK_RANGE_UNIT) {
				wrong++;
				break;
			}
			for (; range.len && units; range.len -= 4096, units--) {
				sum -= range.off;
				range.off += 4096;
			}
		}
		wrong += sum != 0;
	} while (!wrong);
	T_OK(told > 0 && !wrong && !steps_broken,
	     t_name("%u units many at a time are those of the walk", told));
	image_free(&img);
}

int main(void)
{
	test_refusals();
	test_names();
	test_sizes();
	test_geometry();
	test_probe();
	test_entries();
	test_runs();
	test_walk();
	test_plans();
	test_discard();
	test_models();
	test_noise();
	test_many();
	return T_DONE();
}
