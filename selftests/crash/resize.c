// SPDX-License-Identifier: GPL-2.0
/* A disk gets another size while states are made of it. */
#include "../../userspace/resize.h"
#include "crash.h"

/* What is behind the end is gone, and zero should it come back. */
static void cut_model(struct model *m, u64 from, u64 to)
{
	for (; from < to; from++)
		m->now[from] = m->durable[from] = m->head[from] = 0;
}

/* A little, a lot, or any; never nothing. */
static u64 pick_size(struct run *run)
{
	u64 old = run->model->size_sec, most = run->config->most_sec, n;

	n = 1 + rng_below(&run->rng, rng_one_in(&run->rng, 2) ? most : 40);
	if (rng_one_in(&run->rng, 2))
		return vdisk_min(old + n, most);
	return n < old ? old - n : old / 2 + 1;
}

int crash_resize(struct run *run)
{
	struct model *m = run->model;
	u64 old = m->size_sec, size = pick_size(run);
	int r;

	r = vdisk_disk_flush(run->disk);
	if (r)
		return r;
	model_flushed(m);
	crash_set_windows(run, vdisk_max(old, size));
	run->resize_sec = size;
	r = resize_disk(run->disk, size);
	run->resize_sec = 0;
	if (r)
		return r;
	m->size_sec = size;
	cut_model(m, size, vdisk_max(old, size));
	crash_set_windows(run, size);
	return crash_compare(run, run->disk, true);
}
