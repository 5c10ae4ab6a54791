// SPDX-License-Identifier: GPL-2.0
/*
 * What lies behind a BAT that is to grow. The tool moves it out of the way
 * first; where somebody else drives the format, it is refused.
 */
#include "test.h"
#include "../../formats/vhd_resize.c"
#include "steps.h"
#include "phrases.h"

/* vhd_image.h opens what it has built. */
static int vhd_open(const struct vdisk_params *params, struct vdisk_step *step,
		    struct vdisk_geom *geom)
{
	return vdisk_vhd_format.open(params, step, geom);
}

#include "vhd_image.h"

struct way {
	const char *name;
	u32 bat, header;	/* where they are; 0 = where build() puts it */
	u64 locator, len;	/* bytes behind the BAT's last entry */
	u32 code;
	const char *why;
};

static const struct way ways[] = {
	{ "nothing", 0, 0, 0, 0, 0, NULL },
	{ "a locator", 0, 0, 352, 100, 1,
	  "Parent locator lies behind the BAT" },
	{ "the end of a locator", 0, 0, 0, 353, 1,
	  "Parent locator lies behind the BAT" },
	{ "a locator that is none", 0, 0, 352, 100, 0, NULL },
	{ "a locator of no bytes", 0, 0, 352, 0, 1, NULL },
	{ "a locator past the new end", 0, 0, 64 << 10, 100, 1, NULL },
	{ "the header", 512, 4096, 0, 0, 0, "VHD header lies behind the BAT" },
	{ "a header past the new end", 512, 64 << 10, 0, 0, 0, NULL },
};

static void arrange(struct image *img, const struct way *w)
{
	struct shape s = small;
	u64 at = HEADER_AT + 576;

	s.room = 256 << 10;
	build(img, &s, 512);
	if (w->code || w->locator || w->len) {
		put(img, at, w->code ? 0x57327275 : 0, 4);
		put(img, at + 8, w->len, 4);
		put(img, at + 16, BAT_AT + 160 + w->locator, 8);
	}
	if (w->header) {
		put(img, HEADER_AT + 16, w->bat, 8);
		memcpy(img->mem + w->header, img->mem + HEADER_AT, 1024);
		memset(img->mem + w->bat, 0xFF, 160);
		sum(img->mem + w->header, 1024, 36);
		vdisk_store(foot + 16, w->header, 8, true);
		sum(foot, 512, 64);
		memcpy(img->mem, foot, 512);
		memcpy(img->mem + img->len - 512, foot, 512);
	} else {
		seal(img, 512);
	}
}

static void test_way(const struct way *w)
{
	struct vdisk_resize rs = { .old_sec = 5000, .size_sec = 500000 };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct image img;
	int r;

	arrange(&img, w);
	T_EQ(open_it(&img, &step, &geom), 0, t_name("%s: opens", w->name));
	r = STEP(&img, &step, vhd_start(&geom, &step, &rs));
	T_OK(r == (w->why ? -EUCLEAN : 0) &&
	     (!w->why || !strcmp(step.why, w->why)),
	     t_name("%s behind the BAT", w->name));
	if (w->why && r == -EUCLEAN)
		phrase_saw(step.why);
	/* The entries there are suffice: nothing is in the way. */
	rs = (struct vdisk_resize){ .old_sec = 5000, .size_sec = 5120 };
	T_EQ(STEP(&img, &step, vhd_start(&geom, &step, &rs)), 0,
	     t_name("%s, where the BAT stays", w->name));
	image_free(&img);
}

int main(void)
{
	u32 i;

	for (i = 0; i < ARRAY(ways); i++)
		test_way(&ways[i]);
	kept("the contract is kept");
	return T_DONE();
}
