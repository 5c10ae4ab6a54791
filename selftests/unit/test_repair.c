// SPDX-License-Identifier: GPL-2.0
/* What may be tried on headers: never anything on those that are sound. */
#include "test.h"
#include "../../formats/repair.c"
#include "steps.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

enum { ROOM = 1 << 20 };

/* A file of zeroes has no header: each way ends, with that one refusal. */
static void test_nothing(void)
{
	struct vdisk_params params = { .file_len = ROOM };
	struct vdisk_mend mend;
	struct vdisk_step step;
	struct image img = { 0 };
	u32 i, n;
	int r;

	image_new(&img, ROOM);
	img.len = ROOM;
	for (i = 0; i < ARRAY(repairs); i++) {
		if (!repairs[i]->head)
			continue;
		for (n = 0; n < 100; n++) {
			r = STEP(&img, &step,
				 repairs[i]->head(&params, &step, n, &mend));
			if (r != -EUCLEAN)
				break;
			T_STR(step.why, "Nothing to be mended here",
			      t_name("%s, way %u", repairs[i]->format->name, n));
		}
		T_OK(!r && !mend.done,
		     t_name("%s: then no more", repairs[i]->format->name));
	}
}

/* Where a device ends no footer is missed, as it would be in a file. */
static void test_footer_on_device(void)
{
	const struct vdisk_repair *vhd = vdisk_repair_find(&vdisk_vhd_format);
	struct vdisk_geom geom = { .tail_len = 512, .tail = "conectix" };
	struct vdisk_mend mend;
	struct vdisk_step step;
	struct image img = { 0 };
	u64 cursor = 0;
	int r;

	image_new(&img, ROOM);
	img.len = ROOM;
	r = STEP(&img, &step, vhd->copies(&geom, &step, &cursor, false, &mend));
	T_OK(!r && mend.what, "VHD: a file wants a footer at its end");
	geom.flags = VDISK_GEOM_NO_TAIL;
	cursor = 0;
	r = STEP(&img, &step, vhd->copies(&geom, &step, &cursor, false, &mend));
	T_OK(!r && !mend.what, "VHD: a device does not");
	T_EQ(cursor, ~0ull, "VHD: that is all");
}

static void test_find(void)
{
	u32 i;

	for (i = 0; i < ARRAY(repairs); i++)
		T_OK(vdisk_repair_find(repairs[i]->format) == repairs[i],
		     repairs[i]->format->name);
	T_OK(!vdisk_repair_find(&vdisk_raw_format), "raw is not repaired");
	T_OK(!vdisk_repair_find(&vdisk_sesparse_format),
	     "seSparse is not repaired");
	T_OK(!steps_broken, steps_broken ? steps_broken : "the contract holds");
}

int main(void)
{
	test_nothing();
	test_footer_on_device();
	test_find();
	return T_DONE();
}
