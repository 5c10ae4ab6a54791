// SPDX-License-Identifier: GPL-2.0
/*
 * The ownership map against a naive one that remembers every byte, with room
 * for few pieces at a time, so that windows are short and many.
 */
#define _GNU_SOURCE
#include "test.h"
#include "../../userspace/own.c"
#include "tool.h"

#define FILE_LEN 4096u
#define MOST 200

/* The walk hands out these; a range of length ~0 is a bad entry. */
static struct vdisk_range ranges[MOST];
static unsigned int nr_ranges;

void vdisk_walker_start(struct vdisk_walker *w, struct vdisk_image *image)
{
	*w = (struct vdisk_walker){ .image = image };
}

int vdisk_walker_next(struct vdisk_walker *w, struct vdisk_range *range)
{
	struct vdisk_image *image = w->image;

	*range = (struct vdisk_range){ .len = 0 };
	if (w->cursor == nr_ranges)
		return 0;
	*range = ranges[w->cursor++];
	if (range->len != ~0ull)
		return 0;
	snprintf(image->fault->text, sizeof(image->fault->text), "Bad entry: 7");
	return -EUCLEAN;
}

const struct vdisk_repair *vdisk_repair_find(const struct vdisk_format *format)
{
	return NULL;
}

void vdisk_drive_start(struct vdisk_drive *d, struct vdisk_image *image)
{
}

bool vdisk_drive_again(struct vdisk_drive *d, struct vdisk_image *image, int *r)
{
	return false;
}

void progress_show(const char *what, u64 done, u64 all)
{
}

static u32 seed;

static u32 rnd(u32 below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static struct vdisk_store store = { .length = FILE_LEN };
static struct vdisk_fault fault;
static struct vdisk_image image = {
	.format = &vdisk_vhd_format,
	.store = &store, .fault = &fault,
	.geom = {
		.unit_sec = 2, .unit_len = 16, .data_off = 64,
		.data_end = FILE_LEN,
	},
};

static unsigned int told;

static bool count(void *arg, const char *what)
{
	told++;
	return true;
}

static bool once(void *arg, const char *what)
{
	told++;
	return false;
}

static void put(enum vdisk_range_kind kind, u64 off, u64 len, u64 sector)
{
	ranges[nr_ranges++] = (struct vdisk_range){
		.kind = kind, .off = off, .len = len, .sector = sector,
	};
}

static int check(unsigned int room, struct own_report *rep)
{
	told = 0;
	return own_check(&image, &(struct own_options){
		.room = room, .say = count }, rep);
}

/*
 * Units at random places, up to five that follow each other as one range, each
 * free place once: no overlap. Then some twice.
 */
static void random_image(bool overlapping, u64 *leaks, u64 *units)
{
	bool used[FILE_LEN / 16] = { false };
	unsigned int n = 1 + rnd(MOST - 20), i, slot, run;

	nr_ranges = 0;
	put(VDISK_RANGE_META, 0, 40, 0);
	put(VDISK_RANGE_TABLE, 40, 24, 0);
	*units = 0;
	for (i = 0; i < n; i++) {
		slot = 4 + rnd(FILE_LEN / 16 - 4);
		for (run = 0; run <= i % 5 && slot + run < FILE_LEN / 16 &&
		     !used[slot + run]; run++)
			used[slot + run] = true;
		if (run)
			put(VDISK_RANGE_UNIT, slot * 16, run * 16, i * 10);
		*units += run;
	}
	*leaks = 0;
	for (slot = 4; slot < FILE_LEN / 16; slot++)
		*leaks += !used[slot];
	if (!overlapping)
		return;
	i = 2 + rnd(nr_ranges - 2);
	slot = rnd((unsigned int)ranges[i].len / 16) * 16;
	put(VDISK_RANGE_UNIT, ranges[i].off + slot - rnd(2) * 8, 16, 9999);
	++*units;
}

static void test_random(void)
{
	struct own_report rep;
	u64 leaks, units;
	unsigned int i, room;
	int r;

	for (i = 0; i < 400; i++) {
		seed = i;
		room = 4 + rnd(i % 3 ? 12 : 300);
		random_image(false, &leaks, &units);
		r = check(room, &rep);
		if (!T_OK(!r && !rep.bad && !rep.overlaps && !told &&
			  rep.units == units && rep.leaks == leaks,
			  t_name("%u: %llu units in windows of %u", i,
				 (unsigned long long)units, room)))
			printf("#   r %d bad %llu overlaps %llu leaks %llu of %llu\n",
			       r, (unsigned long long)rep.bad,
			       (unsigned long long)rep.overlaps,
			       (unsigned long long)rep.leaks,
			       (unsigned long long)leaks);
		random_image(true, &leaks, &units);
		r = check(room, &rep);
		T_OK(!r && rep.overlaps && rep.overlaps <= 2 && told,
		     t_name("%u: the same with one of two owners", i));
	}
}

/* More equal pieces than there is room: no window can part them. */
static void test_equal(void)
{
	struct own_report rep;
	unsigned int i;

	nr_ranges = 0;
	for (i = 0; i < 100; i++)
		put(VDISK_RANGE_UNIT, 160, 16, i * 2);
	T_EQ(check(8, &rep), 0, "a hundred units in one place");
	T_EQ(rep.overlaps, 99, "all but one are too much");
	T_EQ(rep.end_off, 176, "where the last ends");
}

/* A range of many units over those of others, told at any time of the walk. */
static void test_long(void)
{
	struct own_report rep;
	unsigned int i, room;

	for (i = 0; i <= 40; i++) {
		for (nr_ranges = 0; nr_ranges < i; )
			put(VDISK_RANGE_UNIT, 96 + nr_ranges * 48, 16,
			    1000 + nr_ranges * 10);
		put(VDISK_RANGE_UNIT, 64, 128 * 16, 0);
		while (nr_ranges < 41)
			put(VDISK_RANGE_UNIT, 48 + nr_ranges * 48, 16,
			    990 + nr_ranges * 10);
		for (room = 4; room < 32; room += 3) {
			check(room, &rep);
			T_EQ(rep.overlaps, 40, t_name(
			     "a range over forty units, told as the %u., in windows of %u",
			     i, room));
		}
	}
	T_EQ(rep.units, 168, "all are counted");
	T_EQ(rep.stuck, 0, "each of them can be moved");
}

static void test_rows(void)
{
	struct own_report rep;

	nr_ranges = 0;
	put(VDISK_RANGE_META, 0, 64, 0);
	put(VDISK_RANGE_UNIT, 0, ~0ull, 0);
	put(VDISK_RANGE_UNIT, 64, 16, 0);
	T_EQ(check(4, &rep), 0, "a bad entry is no end");
	T_EQ(rep.bad, 1, "a bad entry is counted");
	T_EQ(rep.units, 1, "and what follows it");
	T_STR(fault.text, "Bad entry: 7", "the fault is the walk's");

	T_EQ(own_check(&image, &(struct own_options){ .say = once }, &rep), 1,
	     "enough is said");
	nr_ranges = 0;
	put(VDISK_RANGE_TABLE, 0, 64, 0);
	T_EQ(own_check(&image, &(struct own_options){ .table_limit = 63 }, &rep),
	     1, "tables over the limit");
	T_EQ(own_check(&image, &(struct own_options){ .table_limit = 64 }, &rep),
	     0, "tables within the limit");

	nr_ranges = 0;
	put(VDISK_RANGE_UNIT, 64, FILE_LEN - 64 - 15, 0);
	check(4, &rep);
	T_EQ(rep.leaks, 0, "less than a unit is no leak");
	ranges[0].len--;
	check(4, &rep);
	T_EQ(rep.leaks, 1, "a unit at the end is one");
	store.device = true;
	check(4, &rep);
	T_EQ(rep.leaks, 0, "but the rest of a device is not lost");
	store.device = false;

	nr_ranges = 0;
	put(VDISK_RANGE_META, 64, 20, 0);
	put(VDISK_RANGE_UNIT, 80, 16, 6);
	told = 0;
	check(4, &rep);
	T_EQ(rep.overlaps, 1, "a unit in a header");
}

int main(void)
{
	test_rows();
	test_equal();
	test_long();
	test_random();
	return T_DONE();
}
