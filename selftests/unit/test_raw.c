// SPDX-License-Identifier: GPL-2.0
/* Extents without tables: what is refused, and where sectors are. */
#include "test.h"
#include "../../formats/raw.c"
#include "steps.h"
#include "phrases.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

static const struct vdisk_format *const formats[] = {
	&vdisk_raw_format, &vdisk_zero_format, &vdisk_error_format,
};

enum { RAW, ZERO, ERROR };

static void test_open(void)
{
	static const struct {
		const char *name;
		u32 format;
		u64 file_len, start, size;
		const char *why;
		u64 value;		/* or the disk's sectors */
		const char *why_ro;
	} rows[] = {
		{ "a whole file", RAW, 1 << 20, 0, 0, NULL, 2048 },
		{ "one sector", RAW, 512, 0, 0, NULL, 1 },
		{ "behind an offset", RAW, 1 << 20, 4608, 0, NULL, 2039 },
		{ "a part of a file", RAW, 1 << 20, 512, 10, NULL, 10 },
		{ "as much as there is", RAW, 1 << 20, 512, 2047, NULL, 2047 },
		{ "the largest file", RAW, (1ull << 63) - 512, 0, 0, NULL,
		  (1ull << 54) - 1 },
		{ "odd bytes", RAW, 1025, 0, 0, NULL, 3,
		  "File length is not a multiple of 512" },
		{ "odd bytes, asked for", RAW, 1025, 512, 2, NULL, 2,
		  "File length is not a multiple of 512" },
		{ "odd bytes, not asked for", RAW, 1025, 0, 2, NULL, 2 },
		{ "less than a sector", RAW, 1, 0, 0, NULL, 1,
		  "File length is not a multiple of 512" },
		{ "an odd offset", RAW, 1 << 20, 511, 0,
		  "Offset is not a multiple of 512", 511 },
		{ "an offset behind the file", RAW, 1024, 1536, 0,
		  "Offset is past the end of the file", 1536 },
		{ "the largest offset", RAW, 1024, -512ull, 1,
		  "Offset is past the end of the file", -512ull },
		{ "an offset at the end", RAW, 1024, 1024, 0,
		  "The disk is empty", 0 },
		{ "an empty file", RAW, 0, 0, 0, "The disk is empty", 0 },
		{ "an extent longer than the file", RAW, 1024, 0, 3,
		  "File is too short for the extent", 3 },
		{ "longer by the offset", RAW, 1024, 512, 2,
		  "File is too short for the extent", 2 },
		{ "longer than can be", RAW, 1024, 0, ~0ull,
		  "File is too short for the extent", ~0ull },
		{ "an extent of an empty file", RAW, 0, 0, 1,
		  "File is too short for the extent", 1 },
		{ "zeroes", ZERO, 0, 0, 7, NULL, 7,
		  "Extent has no file to write to" },
		{ "errors", ERROR, 0, 0, 7, NULL, 7,
		  "Extent has no file to write to" },
		{ "no zeroes", ZERO, 512, 0, 0, "The disk is empty", 0 },
		{ "no errors", ERROR, 512, 0, 0, "The disk is empty", 0 },
	};
	struct vdisk_params params;
	struct vdisk_geom geom;
	struct vdisk_step step;
	struct image img = { 0 };
	u32 i;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		params = (struct vdisk_params){
			.file_len = rows[i].file_len, .start_off = rows[i].start,
			.size_sec = rows[i].size, .write = true,
		};
		img.len = params.file_len;
		r = STEP(&img, &step, formats[rows[i].format]->open(&params,
								   &step, &geom));
		if (rows[i].why) {
			if (T_OK(r == -EUCLEAN && step.why &&
				 !strcmp(step.why, rows[i].why) &&
				 step.value == rows[i].value, rows[i].name))
				phrase_saw(rows[i].why);
			continue;
		}
		T_OK(!r && geom.size_sec == rows[i].value, rows[i].name);
		if (T_STR(geom.why_ro, rows[i].why_ro, "may it be written"))
			phrase_saw(rows[i].why_ro);
		T_EQ(!!(geom.flags & VDISK_GEOM_RDONLY), !!rows[i].why_ro,
		     "the flag says the same");
		/* A caller may divide by these, and align with them. */
		T_OK(geom.unit_sec == 1 && geom.unit_len == 512 &&
		     geom.unit_align == 512 && !geom.tail_len,
		     "a unit is a sector");
	}
	T_STR(steps_broken, NULL, "opening keeps the contract");
}

static void test_map(void)
{
	static const struct {
		const char *name;
		u32 format;
		u64 start, sector, sectors;
		enum vdisk_kind kind;
		u64 off;
	} rows[] = {
		{ "the first sector", RAW, 0, 0, 1, VDISK_DATA, 0 },
		{ "all of it in one run", RAW, 0, 0, 2048, VDISK_DATA, 0 },
		{ "the last sector", RAW, 0, 2047, 1, VDISK_DATA, 2047 * 512 },
		{ "behind an offset", RAW, 1536, 5, 9, VDISK_DATA, 4096 },
		{ "zeroes", ZERO, 0, 3, 2000, VDISK_ZERO, 0 },
		{ "errors", ERROR, 0, 3, 2000, VDISK_ERROR, 0 },
	};
	struct vdisk_params params = { .file_len = 1 << 20 };
	struct vdisk_extent e;
	struct vdisk_geom geom;
	struct vdisk_step step;
	struct image img = { .len = 1 << 20 };
	u32 i;
	int r;

	for (i = 0; i < ARRAY(rows); i++) {
		params.start_off = rows[i].start;
		params.size_sec = rows[i].start ? 0 : 2048;
		STEP(&img, &step, formats[rows[i].format]->open(&params, &step,
							       &geom));
		e = (struct vdisk_extent){ 0 };
		r = STEP(&img, &step, formats[rows[i].format]->map(
				 &geom, &step, rows[i].sector, rows[i].sectors,
				 &e));
		T_OK(!r && e.kind == rows[i].kind && e.off == rows[i].off &&
		     e.sectors == rows[i].sectors && img.calls == 1,
		     rows[i].name);
	}
	T_STR(steps_broken, NULL, "mapping keeps the contract");
}

static void test_walk(void)
{
	struct vdisk_params params = {
		.file_len = 1 << 20, .start_off = 512, .size_sec = 10,
	};
	struct vdisk_range range;
	struct vdisk_geom geom;
	struct vdisk_step step;
	struct image img = { .len = 1 << 20 };
	u64 cursor;
	u32 i;

	for (i = 0; i < ARRAY(formats); i++) {
		STEP(&img, &step, formats[i]->open(&params, &step, &geom));
		cursor = 0;
		if (i == RAW) {
			STEP(&img, &step, formats[i]->walk(&geom, &step,
							  &cursor, &range));
			T_OK(range.kind == VDISK_RANGE_UNIT &&
			     range.off == 512 && range.len == 5120 &&
			     !range.sector, "a raw extent owns its sectors");
		}
		STEP(&img, &step, formats[i]->walk(&geom, &step, &cursor,
						  &range));
		T_EQ(range.len, 0, "and that is all");
		STEP(&img, &step, formats[i]->walk(&geom, &step, &cursor,
						  &range));
		T_EQ(range.len, 0, "also when asked again");
	}
	T_STR(steps_broken, NULL, "walking keeps the contract");
}

/* What a caller may not find: a raw file is never told from its bytes. */
static void test_table(void)
{
	u32 i;

	for (i = 0; i < ARRAY(formats); i++) {
		T_OK(!formats[i]->probe &&
		     formats[i]->flags & VDISK_FORMAT_NO_PROBE,
		     "only ever by name");
		T_OK(!formats[i]->alloc && !formats[i]->grow &&
		     !formats[i]->discard && !formats[i]->mark &&
		     !formats[i]->trim, "nothing to allocate");
		T_EQ(!!(formats[i]->flags & VDISK_FORMAT_NO_FILE), i != RAW,
		     "who has a file");
	}
}

int main(void)
{
	test_open();
	test_map();
	test_walk();
	test_table();
	phrases_check("raw.c", 6);
	return T_DONE();
}
