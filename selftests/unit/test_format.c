// SPDX-License-Identifier: GPL-2.0
/* The table of formats, views and their borders, needs, plans. */
#include "test.h"
#include "../../formats/format.c"
#include "steps.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

static void test_find(void)
{
	static const struct {
		const char *name;
		const struct vdisk_format *format;
	} rows[] = {
		{ "vhd", &vdisk_vhd_format },
		{ "vpc", &vdisk_vhd_format },
		{ "vmdk", &vdisk_vmdk_format },
		{ "cowd", &vdisk_cowd_format },
		{ "sesparse", &vdisk_sesparse_format },
		{ "parallels", &vdisk_parallels_format },
		{ "qed", &vdisk_qed_format },
		{ "raw", &vdisk_raw_format },
		{ "zero", &vdisk_zero_format },
		{ "error", &vdisk_error_format },
		{ "", NULL },
		{ "vh", NULL },
		{ "vhdx", NULL },
		{ "VHD", NULL },
		{ "vhd ", NULL },
		{ " vhd", NULL },
		{ "qcow2", NULL },
	};
	const struct vdisk_format *f;
	u32 i, j;

	for (i = 0; i < ARRAY(rows); i++)
		T_OK(vdisk_format_find(rows[i].name) == rows[i].format,
		     t_name("find '%s'", rows[i].name));
	for (i = 0; vdisk_formats[i]; i++) {
		f = vdisk_formats[i];
		T_OK(vdisk_format_find(f->name) == f,
		     t_name("%s is found by its name", f->name));
		T_OK(f->open && f->map && f->walk && (f->grow || !f->alloc),
		     t_name("%s has what the contract requires", f->name));
		T_OK(!f->probe == !!(f->flags & VDISK_FORMAT_NO_PROBE) ||
		     !f->probe, t_name("%s: a probe is for probing", f->name));
		for (j = 0; j < i; j++)
			T_OK(strcmp(f->name, vdisk_formats[j]->name) &&
			     (!f->alias ||
			      (strcmp(f->alias, vdisk_formats[j]->name) &&
			       (!vdisk_formats[j]->alias ||
				strcmp(f->alias, vdisk_formats[j]->alias)))),
			     t_name("%s is not also %s", f->name,
				    vdisk_formats[j]->name));
	}
}

static u8 file_byte(u64 off)
{
	return (u8)(off * 7 + off / 512 + 1);
}

static struct vdisk_view view_of(u64 off, u32 len)
{
	u8 *data = malloc(len);
	u32 i;

	for (i = 0; i < len; i++)
		data[i] = file_byte(off + i);
	return (struct vdisk_view){ off, len, data };
}

static void give_back(struct vdisk_step *step)
{
	u32 i;

	for (i = 0; i < step->nr_views; i++)
		free((void *)step->view[i].data);
	*step = (struct vdisk_step){ 0 };
}

static void test_views(void)
{
	static const struct {
		const char *name;
		u64 off;
		u32 len, have;
	} rows[] = {
		{ "all of a view", 1000, 100, 100 },
		{ "its first byte", 1000, 1, 1 },
		{ "its last byte", 1099, 1, 1 },
		{ "its end", 1090, 100, 10 },
		{ "the byte before", 999, 1, 0 },
		{ "from the byte before", 999, 101, 0 },
		{ "the byte behind", 1100, 1, 0 },
		{ "far away", 1ull << 63, 8, 0 },
		{ "the end of all numbers", ~0ull, 8, 0 },
		{ "the second view", 5000, 8, 8 },
		{ "the first that holds the start", 1050, 4000, 50 },
		{ "at the top of all numbers", ~0ull - 15, 16, 15 },
	};
	struct vdisk_step step = { .nr_views = 3 };
	const u8 *p;
	u32 i, n;

	step.view[0] = view_of(1000, 100);
	step.view[1] = view_of(4096, 4096);
	step.view[2] = view_of(~0ull - 15, 15);
	for (i = 0; i < ARRAY(rows); i++) {
		n = vdisk_have(&step, rows[i].off, rows[i].len, &p);
		T_OK(n == rows[i].have && !p == !n &&
		     (!n || (p[0] == file_byte(rows[i].off) &&
			     p[n - 1] == file_byte(rows[i].off + n - 1))),
		     t_name("have %s", rows[i].name));
		step.need = (struct vdisk_need){ .off = 1, .len = 2 };
		p = vdisk_want(&step, rows[i].off, rows[i].len);
		if (n == rows[i].len)
			T_OK(p && *p == file_byte(rows[i].off) &&
			     step.need.off == 1 && step.need.len == 2,
			     t_name("want %s", rows[i].name));
		else
			T_OK(!p && step.need.kind == VDISK_NEED_BYTES &&
			     step.need.off == rows[i].off &&
			     step.need.len == rows[i].len,
			     t_name("want %s", rows[i].name));
	}
	give_back(&step);
}

/* A caller that has bytes at hand, but not all of them. */
static u32 shown;

static bool show(struct vdisk_step *step, u64 off)
{
	shown++;
	if (off >= 8192)
		return false;
	step->view[step->nr_views++] = view_of(off & ~4095ull, 4096);
	return true;
}

static void test_show(void)
{
	struct vdisk_step step = { .show = show };
	const u8 *p;

	shown = 0;
	p = vdisk_want(&step, 5000, 8);
	T_OK(p && *p == file_byte(5000) && step.nr_views == 1, "what is shown is there");
	T_EQ(step.need.kind, 0, "and not asked for");
	T_OK(vdisk_want(&step, 8000, 8) && shown == 1, "nor is it shown again");
	T_OK(!vdisk_want(&step, 9000, 8) && shown == 2, "what is not shown is not there");
	T_OK(step.need.kind == VDISK_NEED_BYTES && step.need.off == 9000, "but asked for");
	step.show = NULL;
	T_OK(!vdisk_want(&step, 100, 8) && shown == 2, "without a hand there is nothing at it");
	give_back(&step);
}

/* A copy over the borders of views and blocks, asked for piece by piece. */
static void test_copy(void)
{
	static const struct {
		const char *name;
		u64 off;
		u32 len, needs;
	} rows[] = {
		{ "nothing", 4096, 0, 0 },
		{ "a byte", 4095, 1, 1 },
		{ "a block", 4096, 4096, 1 },
		{ "two blocks", 8192, 8192, 2 },
		{ "over a border", 4000, 200, 2 },
		{ "a header over a border", 3584, 1024, 2 },
		{ "up to a border", 3072, 1024, 1 },
		{ "over two borders", 4095, 4098, 3 },
		{ "two blocks, not aligned", 100, 8192, 3 },
		{ "high up", (1ull << 62) - 3, 8, 2 },
	};
	struct vdisk_step step = { 0 };
	u8 dst[8192 + 2], *heap;
	u32 i, j, needs;
	bool good;

	for (i = 0; i < ARRAY(rows); i++) {
		heap = malloc(rows[i].len + 1);
		good = true;
		for (needs = 0; vdisk_copy(&step, rows[i].off, heap,
					   rows[i].len) == -EAGAIN; needs++) {
			if (step.nr_views == VDISK_MAX_VIEWS)
				break;
			good &= step.need.kind == VDISK_NEED_BYTES &&
				step.need.len &&
				step.need.off / VDISK_BLOCK ==
				(step.need.off + step.need.len - 1) / VDISK_BLOCK;
			step.view[step.nr_views++] = view_of(step.need.off,
							     step.need.len);
		}
		for (j = 0; j < rows[i].len; j++)
			good &= heap[j] == file_byte(rows[i].off + j);
		T_OK(good && needs == rows[i].needs,
		     t_name("copy %s", rows[i].name));
		free(heap);
		give_back(&step);
	}

	/* Views in another order, overlapping, longer than asked for. */
	step.nr_views = 3;
	step.view[0] = view_of(8192, 4096);
	step.view[1] = view_of(0, 5000);
	step.view[2] = view_of(4096, 4096);
	memset(dst, 0xAA, sizeof(dst));
	T_EQ(vdisk_copy(&step, 100, dst + 1, 8192), 0, "views in any order");
	good = dst[0] == 0xAA && dst[8193] == 0xAA;
	for (j = 0; j < 8192; j++)
		good &= dst[1 + j] == file_byte(100 + j);
	T_OK(good, "not a byte too many");
	give_back(&step);
}

static void test_needs(void)
{
	struct vdisk_geom geom = { .unit_align = 4096, .unit_base = 3584 };
	struct vdisk_step step = { 0 };

	T_EQ(vdisk_bad(&step, "Why", 77), -EUCLEAN, "bad: what it returns");
	T_OK(!strcmp(step.why, "Why") && step.value == 77, "bad: what it says");

	T_OK(!vdisk_want_unit(&step, &geom, 1000, 3) &&
	     step.need.kind == VDISK_NEED_UNIT && step.need.len == 1000 &&
	     step.need.count == 3 && step.need.align == 4096 &&
	     step.need.base == 3584 && !step.need.off, "a need for units");
	step.unit = (struct vdisk_space){ 0, 1 };
	T_OK(vdisk_want_unit(&step, &geom, 1000, 3), "a unit at 0 is a unit");
	T_OK(!vdisk_want_table(&step, 2048, 512, 7) &&
	     step.need.kind == VDISK_NEED_TABLE && step.need.len == 2048 &&
	     step.need.count == 1 && step.need.align == 512 &&
	     step.need.base == 7, "a need for a table");
	step.table = (struct vdisk_space){ 512, 1 };
	T_OK(vdisk_want_table(&step, 2048, 512, 7), "a table is granted");
}

static void test_plans(void)
{
	struct {
		struct vdisk_plan plan;
		u64 behind;
	} p = { .behind = 0x5555 };
	struct vdisk_plan *plan = &p.plan;
	const struct vdisk_op *op = plan->op;
	u32 i;

	vdisk_plan_set(plan, VDISK_BEFORE, 1, 8, true, 3, ~0ull, 5);
	vdisk_plan_bits(plan, VDISK_PUBLISH, 2, 70000, 9, true);
	vdisk_plan_bits(plan, VDISK_PUBLISH, 2, 0, 9, false);
	vdisk_plan_zero(plan, VDISK_IN_DATA, 3, 1ull << 40);
	vdisk_plan_tail(plan, VDISK_BEFORE, 4);
	vdisk_plan_length(plan, VDISK_PUBLISH, 5);
	T_EQ(plan->nr, 6, "ops are counted");
	T_OK(op[0].kind == VDISK_OP_SET && op[0].phase == VDISK_BEFORE &&
	     op[0].off == 1 && op[0].width == 8 && op[0].big &&
	     op[0].count == 3 && op[0].value == ~0ull && op[0].step == 5,
	     "SET");
	T_OK(op[1].kind == VDISK_OP_BITS && op[1].phase == VDISK_PUBLISH &&
	     op[1].off == 2 && op[1].value == 70000 && op[1].count == 9 &&
	     op[1].step == 1, "BITS to 1");
	T_OK(op[2].kind == VDISK_OP_BITS && !op[2].value && !op[2].step,
	     "BITS to 0");
	T_OK(op[3].kind == VDISK_OP_ZERO && op[3].phase == VDISK_IN_DATA &&
	     op[3].off == 3 && op[3].value == 1ull << 40, "ZERO");
	T_OK(op[4].kind == VDISK_OP_TAIL && op[4].phase == VDISK_BEFORE &&
	     op[4].off == 4, "TAIL");
	T_OK(op[5].kind == VDISK_OP_LENGTH && op[5].phase == VDISK_PUBLISH &&
	     op[5].off == 5, "LENGTH");

	for (i = 6; i < VDISK_MAX_OPS + 5; i++)
		vdisk_plan_tail(plan, VDISK_BEFORE, i);
	T_EQ(plan->nr, VDISK_MAX_OPS, "a full plan takes no more");
	T_EQ(op[VDISK_MAX_OPS - 1].off, VDISK_MAX_OPS - 1,
	     "nor is its last op written over");
	T_EQ(p.behind, 0x5555, "nor what lies behind it");
}

static void test_numbers(void)
{
	static const struct {
		u64 v, align, base, want;
	} align[] = {
		{ 0, 512, 0, 0 }, { 1, 512, 0, 512 }, { 512, 512, 0, 512 },
		{ 513, 512, 0, 1024 }, { 0, 4096, 3584, 3584 },
		{ 3584, 4096, 3584, 3584 }, { 3585, 4096, 3584, 7680 },
		{ 100, 63, 37, 100 }, { 101, 63, 37, 163 },
		{ 1ull << 62, 4096, 512, (1ull << 62) + 512 },
	};
	static const u8 bytes[8] = { 0x81, 2, 3, 4, 5, 6, 7, 0x88 };
	u8 mem[10];
	u64 x;
	u32 i;

	for (i = 0; i < ARRAY(align); i++)
		T_EQ(vdisk_align(align[i].v, align[i].align, align[i].base),
		     align[i].want, t_name("align %llu",
					   (unsigned long long)align[i].v));
	T_EQ(vdisk_div_up(0, 7), 0, "0 / 7");
	T_EQ(vdisk_div_up(7, 7), 1, "7 / 7");
	T_EQ(vdisk_div_up(8, 7), 2, "8 / 7");
	T_EQ(vdisk_div_up(~0ull, 2), 1ull << 63, "the largest number / 2");
	T_OK(vdisk_pow2(1) && vdisk_pow2(1ull << 63) && !vdisk_pow2(0) &&
	     !vdisk_pow2(3) && !vdisk_pow2(~0ull), "powers of two");
	T_OK(vdisk_add(~0ull, 1, &x) && !vdisk_add(~0ull, 0, &x) &&
	     vdisk_mul(1ull << 32, 1ull << 32, &x) &&
	     !vdisk_mul(1ull << 32, 0xFFFFFFFF, &x), "overflow is told");

	T_EQ(vdisk_be16(bytes), 0x8102, "big endian, 16 bits");
	T_EQ(vdisk_be32(bytes), 0x81020304u, "big endian, 32 bits");
	T_EQ(vdisk_be64(bytes), 0x8102030405060788ull, "big endian, 64 bits");
	T_EQ(vdisk_le16(bytes), 0x0281, "little endian, 16 bits");
	T_EQ(vdisk_le32(bytes + 1), 0x05040302u, "little endian, odd address");
	T_EQ(vdisk_le64(bytes), 0x8807060504030281ull, "little endian, 64 bits");
	for (i = 1; i <= 8; i++) {
		memset(mem, 0xAA, sizeof(mem));
		vdisk_store(mem + 1, 0x8807060504030281ull, i, false);
		T_OK(!memcmp(mem + 1, bytes, i) && mem[0] == 0xAA &&
		     mem[i + 1] == 0xAA, "store, little endian");
		memset(mem, 0xAA, sizeof(mem));
		vdisk_store(mem + 1, vdisk_be64(bytes) >> (64 - 8 * i), i, true);
		T_OK(!memcmp(mem + 1, bytes, i) && mem[0] == 0xAA &&
		     mem[i + 1] == 0xAA, "store, big endian");
	}
}

/* Entries that count up until one of them is another, near the top as well. */
static void test_count_up(void)
{
	static const u32 firsts[] = { 0, 1, 4096, 0xFFFFFFF0, 0xFFFFFFFF };
	static const u32 adds[] = { 0, 1, 129, 0x40000000 };
	u64 n, wrong, i, f, a, want, bad = 0;
	u8 p[9 * 4];
	bool big;

	for (i = 0; i < ARRAY(firsts) * ARRAY(adds) * 10 * 10 * 2; i++) {
		big = i & 1;
		n = i / 2 % 10;
		wrong = i / 20 % 10;
		f = firsts[i / 200 % ARRAY(firsts)];
		a = adds[i / 200 / ARRAY(firsts)];
		for (want = 0; want < 9; want++)
			vdisk_store(p + want * 4, (u32)(f + want * a) ^
				    (want == wrong ? 1u << i % 32 : 0), 4, big);
		for (want = 0; want < n && want != wrong &&
		     f + want * a <= 0xFFFFFFFF; )
			want++;
		bad += vdisk_count_up(p, vdisk_min(n, 9), (u32)f, (u32)a, big) !=
		       vdisk_min(want, 9);
	}
	T_EQ(bad, 0, "counting entries up");
}

int main(void)
{
	test_count_up();
	test_find();
	test_views();
	test_show();
	test_copy();
	test_needs();
	test_plans();
	test_numbers();
	return T_DONE();
}
