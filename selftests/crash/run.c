// SPDX-License-Identifier: GPL-2.0
/* One workload: an image, a guest that writes to it, a model beside it. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "../lib/mkimage.h"
#include "crash.h"

#define ROOM (256ull << 20)
#define OLD_BYTE 0xa5	/* what a device held before */

static const struct vdisk_format *format_of(const char *line)
{
	const struct vdisk_format *format;
	char name[32];

	if (sscanf(line, "%31s", name) != 1)
		errx(2, "no format in: %s", line);
	format = vdisk_format_find(name);
	if (!format)
		errx(2, "format %s is not built in", name);
	return format;
}

static int add_layer(struct run *run, struct vdisk_disk *disk,
		     const char *line, struct ram_store *store, bool write,
		     struct rng *rng)
{
	struct vdisk_image_opts opts = {
		.write = write, .force = true,
		.grow_units = 1 + (u32)rng_below(rng, 4),
		.cache_blocks = rng_one_in(rng, 4) ? 2 : 0,
		.skip_flush = run->opts->skip_flush,
		.random = (const u8 *)"0123456789abcdefghijklmnopqrstuv",
	};
	struct vdisk_image *image;
	int r;

	r = vdisk_image_open(&image, format_of(line), &store->store, &opts,
			     &run->fault);
	if (r)
		return r;
	r = vdisk_disk_push(disk);
	if (!r)
		r = vdisk_disk_add(disk, image, 0);
	if (r)
		vdisk_image_drop(image);
	return r;
}

int crash_open(struct run *run, struct ram_store *top, bool write,
	       struct vdisk_disk **disk)
{
	struct rng rng = { .state = run->seed + run->state };
	int r;

	r = vdisk_disk_new(disk, &run->fault);
	if (!r && run->parent)
		r = add_layer(run, *disk, run->config->parent, run->parent,
			      false, &rng);
	if (!r)
		r = add_layer(run, *disk, run->config->image, top, write, &rng);
	if (r) {
		vdisk_disk_drop(*disk);
		*disk = NULL;
	}
	return r;
}

static struct ram_store *make_image(const char *line, u64 device_len)
{
	struct ram_store *ram = ram_store_new(ROOM);
	const char *wrong;

	if (device_len)
		ram_store_device(ram, device_len, OLD_BYTE);
	wrong = mkimage_line(&ram->store, line);
	if (wrong)
		errx(2, "mkimage %s: %s", line, wrong);
	return ram;
}

static void make_buf(struct run *run, u64 sector, u64 sectors, u32 value)
{
	u64 i;

	for (i = 0; i < sectors; i++)
		pattern_make(run->buf + i * 512, sector + i, value);
}

/* A parent with something here and there, and its values in the model. */
static void make_parent(struct run *run)
{
	struct vdisk_disk *disk;
	u64 sector, n, size, i;
	u32 k, value;
	int r;

	run->parent = make_image(run->config->parent, 0);
	r = vdisk_disk_new(&disk, &run->fault);
	if (!r)
		r = add_layer(run, disk, run->config->parent, run->parent, true,
			      &run->rng);
	if (r)
		errx(2, "parent: %s", run->fault.text);
	size = disk->size_sec;
	/* What a longer parent has is not the child's, however long that gets. */
	if (size > run->model->size_sec) {
		n = vdisk_min(size - run->model->size_sec, run->buf_sec);
		make_buf(run, 0, n, 0x88888888);
		r = vdisk_disk_write(disk, run->model->size_sec, run->buf, n);
		if (r)
			errx(2, "parent: %s", run->fault.text);
		size = run->model->size_sec;
	}
	for (k = 0; k < 24; k++) {
		const struct window *w = &run->window[k % run->nr_windows];

		if (w->sector >= size)
			continue;
		sector = w->sector + rng_below(&run->rng, w->sectors);
		if (sector >= size)
			continue;
		n = vdisk_min(1 + rng_below(&run->rng, run->buf_sec),
			      size - sector);
		value = 0x80000000 + k;
		make_buf(run, sector, n, value);
		r = vdisk_disk_write(disk, sector, run->buf, n);
		if (r)
			errx(2, "parent: %s", run->fault.text);
		for (i = sector; i < sector + n; i++)
			run->model->now[i] = run->model->durable[i] = value;
	}
	if (vdisk_disk_close(disk))
		errx(2, "parent: %s", run->fault.text);
}

void crash_set_windows(struct run *run, u64 size)
{
	u64 w = run->config->window_sec;

	if (!w || size <= 3 * w) {
		run->window[0] = (struct window){ 0, size };
		run->nr_windows = 1;
		return;
	}
	run->window[0] = (struct window){ 0, w };
	run->window[1] = (struct window){ (size - w) / 2, w };
	run->window[2] = (struct window){ size - w, w };
	run->nr_windows = 3;
}

static int reopen(struct run *run)
{
	int r = crash_open(run, run->ram, true, &run->disk);

	/* Opening may flush: see the hook, and what fails on purpose. */
	if (r == -ECANCELED || r == -EILSEQ || r == -EIO || r == -ENOSPC)
		return r;
	if (r)
		return crash_fail(run, "cannot open: %s", run->fault.text);
	run->image = run->disk->layer[run->disk->nr - 1].part[0].image;
	return 0;
}

static int setup(struct run *run)
{
	const struct crash_config *c = run->config;
	struct vdisk_image_opts opts = { .write = false };
	struct vdisk_image *image;
	u64 most;

	run->ram = make_image(c->image, c->device_len);
	run->work = ram_store_new(ROOM);
	run->again = ram_store_new(ROOM);
	if (vdisk_image_open(&image, format_of(c->image), &run->ram->store,
			     &opts, &run->fault))
		errx(2, "%s: %s", c->image, run->fault.text);
	most = vdisk_max(image->geom.size_sec, c->most_sec);
	run->model = model_new(most);
	run->model->size_sec = image->geom.size_sec;
	vdisk_image_drop(image);

	run->buf_sec = vdisk_max(128, c->unit_sec * 3);
	run->buf = malloc(run->buf_sec * 512);
	run->look = malloc(run->buf_sec * 512);
	run->seen = calloc(most, sizeof(*run->seen));
	if (!run->buf || !run->look || !run->seen)
		err(2, "malloc");
	crash_set_windows(run, run->model->size_sec);
	if (c->parent)
		make_parent(run);
	ram_store_record(run->ram);
	ram_store_copy(run->work, run->ram);
	run->ram->on_flush = crash_states;
	run->ram->arg = run;
	return reopen(run);
}

void crash_end(struct run *run)
{
	vdisk_disk_drop(run->disk);
	vdisk_store_close(&run->ram->store);
	vdisk_store_close(&run->work->store);
	vdisk_store_close(&run->again->store);
	if (run->parent)
		vdisk_store_close(&run->parent->store);
	model_free(run->model);
	free(run->buf);
	free(run->look);
	free(run->seen);
}

/*-----------------------------------------------------------------
 * The guest
 */

/* Some sectors, mostly few, sometimes whole units. */
static void pick(struct run *run, u64 *sector, u64 *sectors)
{
	const struct window *w =
		&run->window[rng_below(&run->rng, run->nr_windows)];
	u64 unit = run->config->unit_sec, end = w->sector + w->sectors;

	*sector = w->sector + rng_below(&run->rng, w->sectors);
	switch (rng_below(&run->rng, 4)) {
	case 0:
		*sectors = 1;
		break;
	case 1:
		*sectors = 1 + rng_below(&run->rng, 8);
		break;
	case 2:
		*sectors = 1 + rng_below(&run->rng, unit * 2);
		break;
	default:
		*sector -= *sector % unit;
		*sector = vdisk_max(*sector, w->sector);
		*sectors = unit * (1 + rng_below(&run->rng, 2));
	}
	*sectors = vdisk_min(*sectors, vdisk_min(run->buf_sec, end - *sector));
}

/* A discard may leave what was there, the parent's, or zeroes: look. */
static int discard(struct run *run, u64 sector, u64 sectors)
{
	struct model *m = run->model;
	u64 i;
	u32 value;
	int r;

	/* Zeroes may be found from the first moment on. */
	for (i = 0; i < sectors; i++) {
		value = m->now[sector + i];
		model_write(m, sector + i, 1, 0);
		model_write(m, sector + i, 1, value);
	}
	r = vdisk_disk_discard(run->disk, sector, sectors);
	if (!r)
		r = vdisk_disk_read(run->disk, sector, run->look, sectors);
	for (i = 0; i < sectors && !r; i++) {
		if (!pattern_read(run->look + i * 512, sector + i, &value) ||
		    (value && value != m->now[sector + i]))
			return crash_fail(run, "discarded sector %llu holds %x",
					  (unsigned long long)(sector + i),
					  value);
		if (value != m->now[sector + i])
			model_write(m, sector + i, 1, value);
	}
	return r;
}

/* What the guest finds now is one of what it may find: it is that from now. */
static int look_again(struct run *run)
{
	u64 sector;
	size_t i;
	int r;

	r = crash_compare(run, run->disk, false);
	for (i = 0; i < run->nr_windows && !r; i++) {
		const struct window *w = &run->window[i];

		for (sector = w->sector; sector < w->sector + w->sectors;
		     sector++)
			if (run->seen[sector] != run->model->now[sector])
				model_write(run->model, sector, 1,
					    run->seen[sector]);
	}
	return r;
}

/* The program dies; the machine does not, so all that was written is there. */
static int die(struct run *run)
{
	int r;

	vdisk_disk_drop(run->disk);
	run->disk = NULL;
	run->image = NULL;
	r = reopen(run);
	return r ? r : look_again(run);
}

/* After an error the guest goes on, unless what was promised may be gone. */
static int recover(struct run *run)
{
	if (!run->disk)
		return reopen(run) ?: look_again(run);
	if (!run->image->failed)
		return look_again(run);
	if (vdisk_disk_write(run->disk, 0, run->buf, 1) != -EROFS ||
	    vdisk_disk_flush(run->disk) != -EROFS)
		return crash_fail(run, "writes on after a failed commit");
	return die(run);
}

static int act(struct run *run, u64 dice)
{
	struct model *m = run->model;
	u64 sector, n;
	bool changed;
	int r = 0;

	pick(run, &sector, &n);
	if (dice < 58) {
		make_buf(run, sector, n, ++m->last);
		model_write(m, sector, n, m->last);
		r = vdisk_disk_write(run->disk, sector, run->buf, n);
	} else if (dice < 66) {
		model_write(m, sector, n, 0);
		r = vdisk_disk_zero(run->disk, sector, n);
	} else if (dice < 76) {
		r = discard(run, sector, n);
	} else if (dice < 90) {
		r = vdisk_disk_flush(run->disk);
		if (!r)
			model_flushed(m);
	} else if (dice < 96) {
		r = crash_compare(run, run->disk, true);
	} else if (dice < 97) {
		r = die(run);
	} else if (dice < 98) {
		changed = run->image->changed;
		r = vdisk_disk_settle(run->disk);
		if (!r && changed)
			model_flushed(m);
	} else {
		/* Who wrote nothing vouches for nothing. */
		changed = run->image->changed;
		r = vdisk_disk_close(run->disk);
		run->disk = NULL;
		run->image = NULL;
		if (!r && changed)
			model_flushed(m);
		if (!r)
			r = reopen(run);
	}
	return r;
}

/* One action; in some runs a write or a flush below it fails. */
static int act_or_fail(struct run *run)
{
	u64 dice = rng_below(&run->rng, 100);
	int r;

	if (run->config->most_sec && rng_one_in(&run->rng, 12))
		return crash_resize(run);
	if (run->faults && rng_one_in(&run->rng, 12)) {
		run->ram->fail_errno = rng_one_in(&run->rng, 2) ? EIO : ENOSPC;
		if (rng_one_in(&run->rng, 3))
			run->ram->fail_flush = 1 + rng_below(&run->rng, 3);
		else
			run->ram->fail_write = 1 + rng_below(&run->rng, 8);
	}
	r = act(run, dice);
	run->ram->fail_write = run->ram->fail_flush = 0;
	if (run->faults && (r == -EIO || r == -ENOSPC))
		r = recover(run);
	return r;
}

/* Nothing is where the guest never wrote. */
static int check_rest(struct run *run)
{
	struct window all = { 0, run->model->size_sec };

	run->window[0] = all;
	run->nr_windows = 1;
	return crash_compare(run, run->disk, true);
}

bool crash_run(struct run *run)
{
	u32 ops, i;
	int r;

	run->rng.state = run->seed;
	run->why[0] = 0;
	run->faults = rng_one_in(&run->rng, 3);
	run->one_in = rng_one_in(&run->rng, 2) ? 1 : 8;
	r = setup(run);
	/* Short runs stay nearly empty; long ones fill up, seen now and then. */
	ops = 20 + (u32)rng_below(&run->rng, run->one_in > 1 ? 600 : 80);
	for (i = 0; i < ops && !r; i++)
		r = act_or_fail(run);
	if (!r && rng_one_in(&run->rng, 8))
		r = check_rest(run);
	if (r && r != -ECANCELED && !run->why[0])
		crash_fail(run, "error %d: %s", -r, run->fault.text);
	return !run->why[0];
}
