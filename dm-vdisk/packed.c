// SPDX-License-Identifier: GPL-2.0
/*
 * Writing compressed units: the whole unit is read, changed and deflated into
 * a new record behind the others, and the table is pointed at it. The old
 * record is given back when that is durable.
 */
#include "plan.h"

#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* Bytes in front of a stream that a format may want; see data_off. */
#define HEAD_MAX VDISK_SECTOR

struct packed {
	u8 *unit;		/* what the guest sees */
	u8 *record;		/* what goes to the file */
	u32 room;		/* bytes of record */
};

/* What the unit holds now: its own record, or the layers below. */
static int read_unit(struct vdisk_writer *w, u64 first, u8 *buf)
{
	struct vdisk_image *image = w->image;
	u64 end = min(image->geom.unit_sec, image->geom.size_sec - first);

	memset(buf, 0, image->geom.unit_sec << VDISK_SHIFT);
	end = min(end, image->end_sec - image->first_sec - first);
	return vdisk_read_below(image->v, (int)image->v->nr_layers,
				image->first_sec + first, buf, end);
}

static void merge(struct vdisk_writer *w, u64 first, u8 *buf)
{
	struct bvec_iter iter, start = w->io->iter;
	u8 *to = buf + ((w->ask.sector - first) << VDISK_SHIFT);
	struct bio_vec bv;

	if (!bio_has_data(vdisk_io_bio(w->io))) {
		memset(to, 0, w->ask.sectors << VDISK_SHIFT);
		return;
	}
	start.bi_size = w->ask.sectors << VDISK_SHIFT;
	__bio_for_each_segment(bv, vdisk_io_bio(w->io), iter, start) {
		memcpy_from_bvec(to, &bv);
		to += bv.bv_len;
	}
}

static int write_record(struct vdisk_backing *b, u64 off, u8 *buf, u32 len)
{
	u32 n;
	int r = 0;

	for (; !r && len; len -= n, buf += n, off += n) {
		n = min_t(u32, len, PAGE_SIZE);
		r = b->ops->rw(b, true, off,
			       page_address(vmalloc_to_page(buf)), n);
	}
	return r;
}

static int run_plan(struct vdisk_writer *w, struct packed *p)
{
	struct vdisk_image *image = w->image;
	u64 off = w->feed.step.unit.off;
	u32 len = w->unit_len, head = (u32)(w->plan.data_off - off);
	struct vdisk_freed *freed = NULL;
	int r;

	if (w->plan.data_off < off || head > HEAD_MAX ||
	    head + w->ask.packed_len > len || len > p->room)
		return -EIO;
	/* The stream was deflated HEAD_MAX into the record; now it is placed. */
	memmove(p->record + head, p->record + HEAD_MAX, w->ask.packed_len);
	memset(p->record, 0, head);
	memset(p->record + head + w->ask.packed_len, 0,
	       len - head - w->ask.packed_len);
	vdisk_plan_compose(image, &w->plan, off, p->record, len);

	if (w->plan.freed_len) {
		freed = kmalloc(sizeof(*freed), GFP_NOIO);
		if (!freed)
			return -ENOMEM;
		freed->image = image;
		freed->off = w->plan.freed_off;
		freed->len = w->plan.freed_len;
	}
	r = vdisk_plan_run(image, &w->plan, VDISK_BEFORE, 0, 0);
	w->started = true;
	if (!r)
		r = vdisk_plan_run(image, &w->plan, VDISK_IN_DATA, off,
				   off + len);
	if (!r)
		r = vdisk_pins_take(&w->pins, image, &w->plan);
	if (!r)
		r = write_record(image->backing, off, p->record, len);
	if (r)
		kfree(freed);
	else
		vdisk_plan_publish(image, &w->plan, &w->pins, freed);
	vdisk_pins_drop(&w->pins);
	return r;
}

static int deflate_unit(struct vdisk_writer *w, struct packed *p)
{
	u64 unit = w->image->geom.unit_sec;
	u64 first = vdisk_div(w->ask.sector, unit) * unit;
	int r = 0;

	w->ask.sectors = min(w->ask.sectors, first + unit - w->ask.sector);
	if (w->ask.sectors < unit)
		r = read_unit(w, first, p->unit);
	if (r)
		return r;
	merge(w, first, p->unit);
	r = vdisk_grain_deflate(p->unit, (u32)(unit << VDISK_SHIFT),
				p->record + HEAD_MAX, p->room - HEAD_MAX);
	if (r < 0)
		return -EIO;
	w->ask.packed_len = r;
	return 0;
}

int vdisk_packed_write(struct vdisk_writer *w)
{
	u32 len = (u32)(w->image->geom.unit_sec << VDISK_SHIFT);
	struct packed p = { .room = 2 * len + 2 * HEAD_MAX };
	int r = -ENOMEM;

	p.unit = kvmalloc(len, GFP_KERNEL);	/* in a noio scope */
	p.record = vmalloc(p.room);
	if (p.unit && p.record)
		r = deflate_unit(w, &p);
	if (!r)
		r = vdisk_write_plan(w);
	if (!r)
		r = run_plan(w, &p);
	kvfree(p.record);
	kvfree(p.unit);
	return r;
}
