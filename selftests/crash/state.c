// SPDX-License-Identifier: GPL-2.0
/* States that a crash may leave, and what is demanded of each. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "crash.h"

int crash_fail(struct run *run, const char *fmt, ...)
{
	va_list args;

	if (!run->why[0]) {
		va_start(args, fmt);
		vsnprintf(run->why, sizeof(run->why), fmt, args);
		va_end(args);
	}
	return -EILSEQ;
}

/*-----------------------------------------------------------------
 * What is demanded
 */

static int by_offset(const void *a, const void *b)
{
	const struct vdisk_range *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* No bad entry, nothing outside the file, nothing owned twice. */
static int check_walk(struct run *run, struct vdisk_image *image)
{
	struct vdisk_range *range = NULL;
	size_t nr = 0, room = 0, i;
	u64 cursor = 0;
	int r = 0;

	do {
		if (nr == room) {
			room = room * 2 + 256;
			range = reallocarray(range, room, sizeof(*range));
			if (!range)
				abort();
		}
		r = vdisk_image_walk(image, &cursor, &range[nr]);
		if (r)
			crash_fail(run, "walk: %s", run->fault.text);
	} while (!r && range[nr++].len);
	if (r)
		goto out;

	qsort(range, --nr, sizeof(*range), by_offset);
	for (i = 0; i < nr && !r; i++) {
		if (range[i].off + range[i].len > image->store->length)
			r = crash_fail(run, "range at %llu ends past the file",
				       (unsigned long long)range[i].off);
		else if (i && range[i - 1].off + range[i - 1].len > range[i].off)
			r = crash_fail(run, "ranges at %llu and %llu overlap",
				       (unsigned long long)range[i - 1].off,
				       (unsigned long long)range[i].off);
	}
out:
	free(range);
	return r;
}

static int compare_some(struct run *run, struct vdisk_disk *disk, u64 sector,
			u64 sectors, bool exact)
{
	const struct model *m = run->model;
	u32 value;
	u64 i;

	if (vdisk_disk_read(disk, sector, run->look, sectors))
		return crash_fail(run, "sector %llu: %s",
				  (unsigned long long)sector, run->fault.text);
	for (i = 0; i < sectors; i++) {
		if (!pattern_read(run->look + i * 512, sector + i, &value))
			return crash_fail(run, "sector %llu holds garbage",
					  (unsigned long long)(sector + i));
		run->seen[sector + i] = value;
		if (exact ? value == m->now[sector + i]
			  : model_allows(m, sector + i, value))
			continue;
		return crash_fail(run, "sector %llu holds %x, flushed %x, now %x",
				  (unsigned long long)(sector + i), value,
				  m->durable[sector + i], m->now[sector + i]);
	}
	return 0;
}

struct window crash_window(const struct run *run, size_t i)
{
	struct window w = run->window[i];

	w.sector = vdisk_min(w.sector, run->clip_sec);
	w.sectors = vdisk_min(w.sectors, run->clip_sec - w.sector);
	return w;
}

int crash_compare(struct run *run, struct vdisk_disk *disk, bool exact)
{
	u64 sector, n;
	size_t i;
	int r = 0;

	run->clip_sec = disk->size_sec;
	for (i = 0; i < run->nr_windows; i++) {
		const struct window w = crash_window(run, i);

		for (sector = w.sector; sector < w.sector + w.sectors && !r;
		     sector += n) {
			n = vdisk_min(run->buf_sec,
				      w.sector + w.sectors - sector);
			r = compare_some(run, disk, sector, n, exact);
		}
	}
	return r;
}

static struct vdisk_image *top_image(struct vdisk_disk *disk)
{
	return disk->layer[disk->nr - 1].part[0].image;
}

static int check_disk(struct run *run, struct ram_store *store,
		      struct vdisk_disk **disk, bool write)
{
	if (crash_open(run, store, write, disk))
		return crash_fail(run, "does not open%s: %s",
				  write ? " to be written" : "",
				  run->fault.text);
	if ((*disk)->size_sec != run->model->size_sec &&
	    (*disk)->size_sec != run->resize_sec)
		return crash_fail(run, "disk has %llu sectors",
				  (unsigned long long)(*disk)->size_sec);
	run->clip_sec = (*disk)->size_sec;
	return check_walk(run, top_image(*disk));
}

/* What was found after the crash stays, whatever is written beside it. */
static int write_again(struct run *run, struct vdisk_disk *disk,
		       struct rng *rng, u32 *expect)
{
	u64 sector, n, i;
	u32 k, value;
	int r = 0;

	for (k = 0; k < 6 && !r; k++) {
		struct window w =
			crash_window(run, rng_below(rng, run->nr_windows));

		if (!w.sectors)
			w = crash_window(run, 0);
		sector = w.sector + rng_below(rng, w.sectors);
		n = 1 + rng_below(rng, vdisk_min(run->buf_sec,
						 run->config->unit_sec * 2));
		n = vdisk_min(n, w.sector + w.sectors - sector);
		value = 0x40000000 + k;
		if (k == 4) {
			value = 0;
			r = vdisk_disk_zero(disk, sector, n);
		} else {
			for (i = 0; i < n; i++)
				pattern_make(run->look + i * 512, sector + i,
					     value);
			r = vdisk_disk_write(disk, sector, run->look, n);
		}
		for (i = 0; i < n; i++)
			expect[sector + i] = value;
		if (!r && k % 2)
			r = vdisk_disk_flush(disk);
	}
	return r ? crash_fail(run, "write after the crash: %s", run->fault.text)
		 : 0;
}

static int check_expect(struct run *run, struct vdisk_disk *disk,
			const u32 *expect)
{
	size_t i;
	u64 s, n, k;
	u32 value;

	for (i = 0; i < run->nr_windows; i++) {
		const struct window w = crash_window(run, i);

		for (s = w.sector; s < w.sector + w.sectors; s += n) {
			n = vdisk_min(run->buf_sec, w.sector + w.sectors - s);
			if (vdisk_disk_read(disk, s, run->look, n))
				return crash_fail(run, "used on: %s",
						  run->fault.text);
			for (k = 0; k < n; k++)
				if (!pattern_read(run->look + k * 512, s + k,
						  &value) ||
				    value != expect[s + k])
					return crash_fail(run,
						"used on: sector %llu holds %x, was %x",
						(unsigned long long)(s + k),
						value, expect[s + k]);
		}
	}
	return 0;
}

/* VHD: the footer may be missing behind a file that grew just now, only. */
static int check_tail(struct run *run, const struct vdisk_image *image,
		      bool grew)
{
	struct vdisk_fact fact;
	u32 i;

	if (grew || !image->format->fact)
		return 0;
	for (i = 0; image->format->fact(&image->geom, i, &fact); i++)
		if (!strcmp(fact.name, "trailing-footer-missing") && fact.num)
			return crash_fail(run, "file does not end in its footer");
	return 0;
}

/* The image is taken up where the crash left it. */
static int check_again(struct run *run, struct rng *rng)
{
	struct vdisk_disk *disk = NULL;
	u32 *expect = run->seen;
	int r;

	ram_store_copy(run->again, run->work);
	r = check_disk(run, run->again, &disk, true);
	if (!r)
		r = write_again(run, disk, rng, expect);
	if (vdisk_disk_close(disk) && !r)
		r = crash_fail(run, "close after the crash: %s",
			       run->fault.text);
	disk = NULL;
	if (!r)
		r = check_disk(run, run->again, &disk, false);
	if (!r)
		r = check_tail(run, top_image(disk), false);
	if (!r)
		r = check_expect(run, disk, expect);
	vdisk_disk_drop(disk);
	return r;
}

static int check_state(struct run *run, struct rng *rng)
{
	struct vdisk_disk *disk = NULL;
	int r;

	r = check_disk(run, run->work, &disk, false);
	if (!r && run->image && run->image->marked &&
	    !(top_image(disk)->geom.flags & VDISK_GEOM_DIRTY))
		r = crash_fail(run, "image in use is not marked");
	if (!r)
		r = check_tail(run, top_image(disk), run->resize_sec ||
			       run->work->store.length > run->ram->base_len);
	if (!r)
		r = crash_compare(run, disk, false);
	vdisk_disk_drop(disk);
	if (!r && rng_one_in(rng, 8))
		r = check_again(run, rng);
	return r;
}

/*-----------------------------------------------------------------
 * States
 */

enum subset {
	NOTHING,
	ALL,
	PREFIX,
	RANDOM,
};

/* Keep about @per_cent of the sectors of an event. */
static void apply_torn(struct run *run, const struct ram_event *event,
		       u64 per_cent, struct rng *rng)
{
	u64 sectors = event->len / 512 + 2, i;
	u8 *keep = calloc(sectors / 8 + 1, 1);

	if (!keep)
		abort();
	for (i = 0; i < sectors; i++)
		if (rng_below(rng, 100) < per_cent)
			keep[i / 8] |= (u8)(1 << i % 8);
	ram_store_apply(run->work, event, keep);
	free(keep);
}

/*
 * Changes of length survive in order: the first so many of them. Writes
 * survive as they like, whole or in part.
 */
static void apply_random(struct run *run, struct rng *rng)
{
	u64 lengths = 0, per_cent = 10 + rng_below(rng, 81), what;
	bool whole = rng_one_in(rng, 2);
	size_t i;

	for (i = 0; i < run->ram->nr_events; i++)
		lengths += !run->ram->event[i].data;
	lengths = rng_below(rng, lengths + 1);

	for (i = 0; i < run->ram->nr_events; i++) {
		const struct ram_event *e = &run->ram->event[i];

		if (!e->data) {
			if (lengths) {
				lengths--;
				ram_store_apply(run->work, e, NULL);
			}
			continue;
		}
		what = rng_below(rng, 100);
		if (whole ? what < per_cent : what < per_cent / 2)
			ram_store_apply(run->work, e, NULL);
		else if (!whole && what < per_cent)
			apply_torn(run, e, per_cent, rng);
	}
}

static int one_state(struct run *run, enum subset subset, size_t prefix)
{
	struct rng rng;
	size_t i;
	int r;

	run->state++;
	if (run->opts->state && run->state != run->opts->state)
		return run->state >= run->last_state ? -ECANCELED : 0;

	rng.state = run->seed ^ run->state * 0xd1342543de82ef95ull;
	if (subset == ALL)
		prefix = run->ram->nr_events;
	if (subset == RANDOM)
		apply_random(run, &rng);
	else
		for (i = 0; i < prefix; i++)
			ram_store_apply(run->work, &run->ram->event[i], NULL);

	r = check_state(run, &rng);
	if (r)
		return r;	/* work is kept as it is */
	ram_store_undo(run->work, run->ram);
	return run->state >= run->last_state ? -ECANCELED : 0;
}

static int states_of_epoch(struct run *run, size_t nr)
{
	size_t i, k;
	int r;

	r = one_state(run, NOTHING, 0);
	if (!r)
		r = one_state(run, ALL, 0);
	/* All prefixes of a short epoch, some of a long one. */
	for (i = 1; i < nr && i <= 8 && !r; i++) {
		k = nr <= 9 ? i : 1 + rng_below(&run->rng, nr - 1);
		r = one_state(run, PREFIX, k);
	}
	for (i = 0; i < vdisk_min(nr * 2, 10) && !r; i++)
		r = one_state(run, RANDOM, 0);
	return r;
}

int crash_states(void *arg)
{
	struct run *run = arg;
	size_t nr = run->ram->nr_events, i;
	int r;

	if (!nr)
		return 0;
	r = rng_one_in(&run->rng, run->one_in) ? states_of_epoch(run, nr) : 0;
	/* What follows is made on top of all these events. */
	for (i = 0; i < nr && !r; i++)
		ram_store_apply(run->work, &run->ram->event[i], NULL);
	return r;
}
