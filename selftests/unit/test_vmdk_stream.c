// SPDX-License-Identifier: GPL-2.0
/* VMDK streams: the footer, records, and a stream that is written. */
#include "test.h"
#include "vmdk_image.h"

/*
 * A stream as exporters make it: grains 1 and 3, the first of two tables, the
 * directory, the footer.
 */
static void build_stream(struct image *img)
{
	const struct shape *s = &packed_small;
	u64 at = 8, gt, gd;

	image_new(img, 1ull << 30);
	header(img, 0, s);
	put(img, 48, 0, 8);
	put(img, 56, VMDK_IN_FOOTER, 8);
	put(img, 64, at, 8);
	put_record(img, at * 512, 8, 8, 100, 600);
	put_record(img, (at + 2) * 512, 24, 8, 300, 0);
	put_marker(img, (at + 3) * 512, 1, VMDK_MARK_GT);
	gt = at + 4;
	put(img, gt * 512 + 4, at, 4);
	put(img, gt * 512 + 12, at + 2, 4);
	put_marker(img, (at + 5) * 512, 1, VMDK_MARK_GD);
	gd = at + 6;
	put(img, gd * 512, gt, 4);
	put_marker(img, (at + 7) * 512, 1, VMDK_MARK_FOOTER);
	header(img, (at + 8) * 512, s);
	put(img, (at + 8) * 512 + 56, gd, 8);
	put(img, (at + 8) * 512 + 64, 8, 8);
	img->len = (at + 10) * 512;
}

static void test_footer(void)
{
	static const struct {
		const char *why;
		u64 value;
		u32 off, width;
		u64 poke, len;
	} rows[] = {
		{ "File is too short for a VMDK footer", 1535, 0, 0, 0, 1535 },
		{ "VMDK footer not found", 14 * 512, 0, 0, 0, 17 * 512 },
		{ "VMDK footer not found", 15 * 512, 15 * 512, 1, 2, 0 },
		{ "VMDK footer not found", 15 * 512, 15 * 512 + 8, 4, 1, 0 },
		{ "VMDK footer not found", 15 * 512, 15 * 512 + 12, 4, 2, 0 },
		{ "VMDK footer has no magic", 0x564d444c, 16 * 512, 1, 'L', 0 },
		{ "VMDK footer and header differ", 4, 16 * 512 + 4, 4, 4, 0 },
		{ "VMDK footer and header differ", 4, 16 * 512 + 4, 4, 0, 0 },
		{ "VMDK footer and header differ", 8, 16 * 512 + 8, 1, 5, 0 },
		{ "VMDK footer and header differ", 12, 16 * 512 + 12, 8, 99, 0 },
		{ "VMDK footer and header differ", 20, 16 * 512 + 20, 8, 16, 0 },
		{ "VMDK footer and header differ", 44, 16 * 512 + 44, 4, 5, 0 },
		{ "VMDK footer and header differ", 77, 16 * 512 + 77, 2, 0, 0 },
		{ "VMDK stream has no end marker", 17 * 512, 17 * 512 + 12, 4, 3,
		  0 },
		{ "Grain directory is outside the file", ~0ull, 16 * 512 + 56, 8,
		  ~0ull, 0 },
		{ "Grain directory is outside the file", 15, 16 * 512 + 56, 8, 15,
		  0 },
	};
	struct vdisk_range range = { .len = 1 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	u64 cursor = 0, owned = 0;
	u32 i;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		build_stream(&img);
		if (rows[i].width)
			put(&img, rows[i].off, rows[i].poke, rows[i].width);
		if (rows[i].len)
			img.len = rows[i].len;
		r = open_it(&img, &step, &geom);
		T_OK(r == -EUCLEAN && !strcmp(step.why, rows[i].why) &&
		     step.value == rows[i].value && !steps_broken,
		     t_name("%s: byte %u", rows[i].why, rows[i].off));
		image_free(&img);
	}

	build_stream(&img);
	T_EQ(open_it(&img, &step, &geom), 0, "a stream opens");
	T_OK(geom.data_end == 15 * 512 && geom.alloc_off == 15 * 512,
	     "records go where the footer is");
	while (range.len && !steps_broken) {
		STEP(&img, &step, vdisk_vmdk_walk(&geom, &step, &cursor,
						  &range));
		owned += range.len;
	}
	/* All but what lies between the descriptor and the overhead. */
	T_EQ(owned, img.len - 5 * 512, "a walk finds markers and footer");
	img.len -= 500;
	T_EQ(open_it(&img, &step, &geom), 0, "the last sector may be short");
	T_EQ(geom.data_end, 15 * 512, "the footer is where it was");
	image_free(&img);
}

static void test_unpack(void)
{
	static const struct {
		const char *why;
		u32 off, width;
		u64 poke;
		u32 len;
	} rows[] = {
		{ NULL, 0, 0, 0, 1024 },
		{ NULL, 0, 0, 0, 12 + 634 },
		{ NULL, 8, 4, 8192, 12 + 8192 },
		{ "Compressed grain is of another sector", 0, 8, 16, 1024 },
		{ "Compressed grain is of another sector", 0, 8, 1ull << 32 | 8,
		  1024 },
		{ "Compressed grain has no data", 8, 4, 0, 1024 },
		{ "Compressed grain is too long", 8, 4, 8193, 1024 },
		{ "Compressed grain is too long", 8, 4, ~0u, 1024 },
		{ "Compressed grain is cut off", 0, 0, 0, 12 + 633 },
		{ "Compressed grain is cut off", 0, 0, 0, 11 },
	};
	u32 off, len, i;
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		build_stream(&img);
		open_it(&img, &step, &geom);
		if (rows[i].width)
			put(&img, 8 * 512 + rows[i].off, rows[i].poke,
			    rows[i].width);
		r = vmdk_unpack(&geom, &step, 13, img.mem + 8 * 512,
				rows[i].len, &off, &len);
		if (rows[i].why)
			T_OK(r == -EUCLEAN && !strcmp(step.why, rows[i].why),
			     rows[i].why);
		else
			T_OK(!r && off == 12 &&
			     len == vdisk_le32(img.mem + 8 * 512 + 8),
			     "a record is unpacked");
		image_free(&img);
	}
	build_stream(&img);
	open_it(&img, &step, &geom);
	STEP(&img, &step, vdisk_vmdk_map(&geom, &step, 13, 40, &e));
	T_OK(e.kind == VDISK_DEFLATE && e.off == 8 * 512 && e.skip_sec == 5 &&
	     e.sectors == 3 && e.len == 7 * 512, "a record is mapped");
	put(&img, 12 * 512 + 4, 15, 4);
	T_EQ(STEP(&img, &step, vdisk_vmdk_map(&geom, &step, 13, 40, &e)),
	     -EUCLEAN, "a record behind the data");
	image_free(&img);
}

struct stream {
	struct image img;
	struct vdisk_geom geom;
	u32 *now;
};

static u64 room_of(const struct stream *s, u64 grain)
{
	return vdisk_min(s->geom.unit_sec,
			 s->geom.size_sec - grain * s->geom.unit_sec);
}

/* The stamps of @grain's sectors. */
static void read_grain(struct stream *s, u64 grain, u32 *stamp)
{
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	u32 off, len, i;
	u8 *bytes;

	memset(stamp, 0, s->geom.unit_sec * sizeof(*stamp));
	if (STEP(&s->img, &step, vdisk_vmdk_map(&s->geom, &step,
						grain * s->geom.unit_sec,
						room_of(s, grain), &e)))
		breach("a good stream cannot be read");
	if (e.kind != VDISK_DEFLATE || steps_broken)
		return;
	if (e.off + e.len > s->img.data_end)
		breach("a record may pass the end of the data");
	bytes = malloc(e.len);
	memcpy(bytes, s->img.mem + e.off, e.len);
	if (vmdk_unpack(&s->geom, &step, grain * s->geom.unit_sec, bytes, e.len,
			&off, &len) || vdisk_le16(bytes + off) != 0x9c78)
		breach("a good record cannot be read");
	for (i = 0; i < s->geom.unit_sec && !steps_broken; i++)
		stamp[i] = vdisk_le32(bytes + off + 2 + i * 4);
	free(bytes);
}

/* Every grain is as it should be; grain @but may be as @other has it. */
static void check_grains(struct stream *s, u64 but, const u32 *other)
{
	u64 unit = s->geom.unit_sec, grain;
	u32 *got = malloc(unit * sizeof(*got));
	size_t len;

	for (grain = 0; grain * unit < s->geom.size_sec; grain++) {
		read_grain(s, grain, got);
		len = room_of(s, grain) * sizeof(*got);
		if (memcmp(got, s->now + grain * unit, len) &&
		    (grain != but || memcmp(got, other, len)))
			breach("a grain reads neither old nor new");
	}
	free(got);
}

static void publish(struct stream *s, const struct vdisk_plan *plan, u64 grain,
		    const u32 *stamp)
{
	static struct part part[MAX_PARTS];
	u32 parts = parts_of(plan, part), set, i;

	for (i = 0; i < parts; i++)
		memcpy(part[i].old, s->img.mem + part[i].at, VDISK_SECTOR);
	for (set = 0; set < 1u << parts; set++) {
		for (i = 0; i < parts; i++)
			if (set >> i & 1)
				apply_part(&s->img, part[i].op, part[i].at);
		check_grains(s, grain, stamp);
		for (i = 0; i < parts; i++)
			memcpy(s->img.mem + part[i].at, part[i].old,
			       VDISK_SECTOR);
	}
	apply_phase(&s->img, plan, VDISK_PUBLISH);
	memcpy(s->now + grain * s->geom.unit_sec, stamp,
	       s->geom.unit_sec * sizeof(*stamp));
	if (plan->freed_off + plan->freed_len > s->img.len)
		breach("what is not there is freed");
	memset(s->img.mem + plan->freed_off, 0xEE, plan->freed_len);
}

/* A part of @grain changes: it is read, merged and appended. */
static void write_grain(struct stream *s, u64 grain, u32 serial)
{
	u64 unit = s->geom.unit_sec, first, end;
	u32 more = steps_random() % 3 ? steps_random() % 2000 : 4;
	struct vdisk_ask ask = {
		.sector = grain * unit + steps_random() % room_of(s, grain),
		.sectors = 1 + steps_random() % (2 * unit),
		.packed_len = 2 + 4 * (u32)unit + more,
	};
	u32 *stamp = malloc(unit * sizeof(*stamp));
	struct vdisk_plan plan;
	struct vdisk_step step;

	ask.sectors = vdisk_min(ask.sectors, s->geom.size_sec - ask.sector);
	end = s->img.next + 65536;
	if (end > s->img.data_end) {
		STEP(&s->img, &step, vmdk_grow(&s->geom, &step, end, &plan));
		apply_phase(&s->img, &plan, VDISK_BEFORE);
		s->img.data_end = end;
	}
	read_grain(s, grain, stamp);
	if (STEP(&s->img, &step, vdisk_vmdk_alloc(&s->geom, &step, &ask, &plan)))
		breach("a good stream cannot be written");
	if (steps_broken)
		return;
	first = ask.sector - grain * unit;
	if (plan.sectors != vdisk_min(ask.sectors, unit - first) ||
	    plan.first_sec != grain * unit || plan.made_sec != unit)
		breach("a plan for a record covers the wrong sectors");
	for (end = first + plan.sectors; first < end; first++)
		stamp[first] = serial;
	apply_phase(&s->img, &plan, VDISK_IN_DATA);
	put(&s->img, plan.data_off, 0x9c78, 2);
	for (first = 0; first < unit; first++)
		put(&s->img, plan.data_off + 2 + first * 4, stamp[first], 4);
	memset(s->img.mem + plan.data_off + 2 + unit * 4, 0x77, more);
	publish(s, &plan, grain, stamp);
	free(stamp);
}

static void discard_grains(struct stream *s, u64 grain, u64 n)
{
	u64 unit = s->geom.unit_sec, i;
	u64 sector = grain * unit;
	u64 sectors = vdisk_min(n * unit, s->geom.size_sec - sector);
	u32 *zero = calloc(unit, sizeof(*zero));
	struct vdisk_plan plan;
	struct vdisk_step step;

	if (STEP(&s->img, &step, vdisk_vmdk_discard(&s->geom, &step, sector,
						    sectors, true, &plan)))
		breach("a good stream cannot be discarded");
	for (i = 1; plan.nr && i < vdisk_div_up(plan.sectors, unit); i++)
		if (s->now[(grain + i) * unit])
			breach("grains are freed that were not told");
	if (plan.nr)
		publish(s, &plan, grain, zero);
	free(zero);
}

/* What the walk tells does not overlap; records are as many as they map. */
static void walk_stream(struct stream *s)
{
	static struct vdisk_range r[4096];
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;
	u64 cursor = 0, n = 0, i, units = 0;

	do {
		if (STEP(&s->img, &step, vdisk_vmdk_walk(&s->geom, &step,
							 &cursor, &r[n])))
			breach("a good stream cannot be walked");
		units += r[n].kind == VDISK_RANGE_UNIT && r[n].len;
	} while (!steps_broken && r[n].len && ++n < ARRAY(r));
	qsort(r, n, sizeof(*r), by_off);
	for (i = 1; i < n; i++)
		if (r[i - 1].off + r[i - 1].len > r[i].off)
			breach("two owners of the same bytes");
	for (i = 0; i < s->geom.size_sec; i += s->geom.unit_sec) {
		STEP(&s->img, &step, vdisk_vmdk_map(&s->geom, &step, i, 1, &e));
		units -= e.kind == VDISK_DEFLATE;
	}
	if (units)
		breach("a walk misses records");
}

static void mark(struct stream *s, bool dirty)
{
	struct vdisk_params params = { .file_len = s->img.len, .write = true };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;

	STEP(&s->img, &step, vmdk_mark(&s->geom, &step, dirty, &plan));
	apply_phase(&s->img, &plan, VDISK_BEFORE);
	if (STEP(&s->img, &step, vmdk_open(&params, &step, &geom)))
		breach("a marked stream does not open");
	if (geom.priv[VMDK_FOOTER_OFF] || !(geom.flags & VDISK_GEOM_DIRTY) == dirty)
		breach("a marked stream still counts on its footer");
}

static void run_stream(struct stream *s, u32 times, const char *name)
{
	u64 grains, i;
	struct vdisk_step step;
	u32 serial = 1000;

	if (open_it(&s->img, &step, &s->geom))
		breach("a stream does not open");
	grains = vdisk_div_up(s->geom.size_sec, s->geom.unit_sec);
	s->now = calloc(grains * s->geom.unit_sec, sizeof(*s->now));
	for (i = 0; i < grains; i++)
		read_grain(s, i, s->now + i * s->geom.unit_sec);
	walk_stream(s);
	mark(s, true);
	while (times-- && !steps_broken) {
		s->img.lend = steps_random() % NR_LEND;
		if (steps_random() % 4)
			write_grain(s, steps_random() % grains, serial++);
		else
			discard_grains(s, steps_random() % grains,
				       1 + steps_random() % 3);
	}
	mark(s, false);
	walk_stream(s);
	check_grains(s, ~0ull, NULL);
	if (steps_broken)
		printf("# %s\n", steps_broken);
	T_OK(!steps_broken, name);
	free(s->now);
}

static void test_streams(void)
{
	static const struct shape shapes[] = {
		{ "4 KiB x 512, both sets", 3, PACKED | 2, 8, 512, 997, ALL,
		  false, 150 },
		{ "64 KiB x 3, no tables", 3, PACKED, 128, 3, 1999, NONE, false,
		  150 },
		{ "4 KiB x 5, zeroes, torn sets", 1, PACKED | 6, 8, 5, 991, TORN,
		  false, 150 },
	};
	struct vdisk_step step;
	struct vdisk_plan plan;
	struct stream s = { 0 };
	u32 i;

	build_stream(&s.img);
	run_stream(&s, 60, "a stream with a footer becomes a disk");
	image_free(&s.img);
	for (i = 0; i < ARRAY(shapes); i++) {
		build(&s.img, &shapes[i]);
		run_stream(&s, shapes[i].times, shapes[i].name);
		image_free(&s.img);
	}

	/* Only entries change: the footer must not outlive that. */
	build_stream(&s.img);
	open_it(&s.img, &step, &s.geom);
	mark(&s, true);
	T_EQ(vdisk_le64(s.img.mem + 56), 14, "the header knows the directory");
	T_EQ(s.img.mem[15 * 512 + 12], VMDK_MARK_FOOTER, "the footer is there");
	mark(&s, false);
	T_EQ(s.img.mem[15 * 512 + 12], 0, "the footer is gone");
	T_EQ(s.img.mem[16 * 512], 0, "and its header");
	vmdk_trim(&s.geom, &step, 0, &plan);
	apply_phase(&s.img, &plan, VDISK_PUBLISH);
	T_EQ(s.img.len, 14 * 512 + 8, "the directory is not cut off");
	image_free(&s.img);
}

static void test_packed_plans(void)
{
	struct vdisk_ask ask = { .sector = 12, .sectors = 100 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_plan plan;
	struct image img;

	build_stream(&img);
	open_it(&img, &step, &geom);
	img.lend = LEND_BLOCK;
	img.noise = true;
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)),
	     -EUCLEAN, "no length");
	T_STR(step.why, "Compressed grain has no data", "and why");
	ask.packed_len = 8193 + 500;
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)),
	     -EUCLEAN, "too long");
	T_STR(step.why, "Compressed grain is too long", "and why");
	ask.packed_len = 600;
	img.next = 1 << 20;
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)), 0,
	     "a record");
	T_OK(plan.nr == 4 && plan.op[0].off == 1 << 20 &&
	     plan.op[0].width == 8 && plan.op[0].value == 8 &&
	     plan.op[0].phase == VDISK_IN_DATA &&
	     is_set(&plan, 1, VDISK_IN_DATA, (1 << 20) + 8, 1, 600, 0) &&
	     plan.op[2].kind == VDISK_OP_ZERO &&
	     plan.op[2].off == (1 << 20) + 612 && plan.op[2].value == 412,
	     "marker and padding go with DATA");
	T_OK(is_set(&plan, 3, VDISK_PUBLISH, 12 * 512 + 4, 1, 2048, 0),
	     "the entry is published");
	T_OK(plan.data_off == (1 << 20) + 12 && plan.sectors == 4 &&
	     plan.freed_off == 8 * 512 && plan.freed_len == 1024,
	     "the plan says where, and what is free");
	put(&img, 8 * 512, 9, 1);
	STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan));
	T_EQ(plan.freed_len, 0, "a bad record gives nothing back");
	img.next = 1ull << 41;
	T_EQ(STEP(&img, &step, vdisk_vmdk_alloc(&geom, &step, &ask, &plan)),
	     -EUCLEAN, "a record at 2 TiB");
	T_OK(!steps_broken, "plans keep the contract");
	image_free(&img);
}

int main(void)
{
	test_footer();
	test_unpack();
	test_packed_plans();
	test_streams();
	return T_DONE();
}
