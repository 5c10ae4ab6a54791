// SPDX-License-Identifier: GPL-2.0
/*
 * The data path. map() looks up the first run of a bio and, where nothing has
 * to wait, starts it there and then: remapped to a block device, or as a
 * NOWAIT kiocb on the bio's own pages. What must wait goes to a worker, which
 * takes the bio run by run.
 */
#include "vdisk.h"
#include "submitter.h"

#include <linux/sched/mm.h>

static u64 io_sector(const struct vdisk *v, const struct bvec_iter *iter)
{
	return dm_target_offset(v->ti, iter->bi_sector);
}

void vdisk_io_zero(struct bio *bio, struct bvec_iter start)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	__bio_for_each_segment(bv, bio, iter, start)
		memzero_bvec(&bv);
}

static void io_put(struct vdisk_io *io)
{
	struct bio *bio = vdisk_io_bio(io);

	if (!atomic_dec_and_test(&io->pending))
		return;
	bio->bi_status = io->status;
	if (unlikely(io->commit && !io->status))
		vdisk_commit_queue(io->v, bio);
	else
		bio_endio(bio);
}

void vdisk_io_start(struct vdisk_seg *seg, struct vdisk_io *io,
		    struct vdisk_backing *backing, u64 off, u64 sectors)
{
	seg->io = io;
	seg->backing = backing;
	seg->off = off;
	seg->dsync = false;
	seg->iter = io->iter;
	seg->iter.bi_size = sectors << VDISK_SHIFT;
}

/* Any context. */
void vdisk_io_seg_done(struct vdisk_seg *seg, blk_status_t status)
{
	struct vdisk_io *io = seg->io;

	if (op_is_write(bio_op(vdisk_io_bio(io))))
		vdisk_backing_wrote(seg->backing);
	if (seg->waiter) {
		seg->status = status;
		complete(seg->waiter);
		return;
	}
	if (unlikely(status))
		io->status = status;
	if (seg != &io->seg)
		mempool_free(seg, &io->v->segs);
	io_put(io);
}

/* Start a run of the worker's bio; its end is one of those io waits for. */
static void run_start(struct vdisk_io *io, const struct vdisk_where *where,
		      bool dsync)
{
	struct vdisk_backing *b = where->image->backing;
	struct vdisk_seg *seg = &io->seg;

	if (seg->backing) {
		seg = mempool_alloc(&io->v->segs, GFP_NOIO);
		seg->waiter = NULL;
	}
	vdisk_io_start(seg, io, b, where->off, where->sectors);
	seg->dsync = dsync;
	atomic_inc(&io->pending);
	b->ops->submit(b, seg, false);
}

/* Copy a run of a grain into the bio at @start. */
static void copy_grain(struct bio *bio, struct bvec_iter start,
		       const struct vdisk_grain *g,
		       const struct vdisk_where *where)
{
	const u8 *from = g->data + (where->skip_sec << VDISK_SHIFT);
	struct bvec_iter iter;
	struct bio_vec bv;

	start.bi_size = where->sectors << VDISK_SHIFT;
	__bio_for_each_segment(bv, bio, iter, start) {
		memcpy_to_bvec(&bv, from);
		from += bv.bv_len;
	}
}

static s64 read_grain(struct vdisk_io *io, u64 sector,
		      const struct vdisk_where *where)
{
	struct vdisk_grain *g;

	g = vdisk_grain_get(where->image, sector - where->image->first_sec,
			    where);
	if (IS_ERR(g))
		return PTR_ERR(g);
	copy_grain(vdisk_io_bio(io), io->iter, g, where);
	vdisk_grain_put(g);
	return where->sectors;
}

static s64 read_run(struct vdisk_io *io, u64 sector,
		    const struct vdisk_where *where)
{
	struct bvec_iter iter = io->iter;

	switch (where->kind) {
	case VDISK_DATA:
		run_start(io, where, false);
		return where->sectors;
	case VDISK_ZERO:
		iter.bi_size = where->sectors << VDISK_SHIFT;
		vdisk_io_zero(vdisk_io_bio(io), iter);
		return where->sectors;
	case VDISK_DEFLATE:
		return read_grain(io, sector, where);
	default:
		return -EIO;
	}
}

static s64 write_run(struct vdisk_io *io, u64 sector,
		     const struct vdisk_where *where)
{
	bool fua = vdisk_io_bio(io)->bi_opf & REQ_FUA;
	unsigned int top = io->v->nr_layers - 1;
	struct vdisk_image *image;
	s64 done;

	if (where->kind == VDISK_ERROR)
		return -EIO;
	if (where->kind == VDISK_DATA && where->layer == top) {
		if (fua && !vdisk_commit_settled(where->image)) {
			io->commit = true;
			fua = false;
		}
		run_start(io, where, fua);
		return where->sectors;
	}
	image = vdisk_image_at(&io->v->layer[top], sector);
	if (!image->format->alloc)
		return -EROFS;
	done = vdisk_write_alloc(io, image, sector - image->first_sec,
				 where->sectors);
	/* A parked bio may be another worker's by now. */
	if (done > 0 && fua)
		io->commit = true;
	return done;
}

/* The first run of what is left: sectors done, 0 if parked, or -errno. */
static s64 one_run(struct vdisk_io *io)
{
	u64 sector = io_sector(io->v, &io->iter);
	struct vdisk_where where;
	s64 r;

	if (unlikely(op_is_write(bio_op(vdisk_io_bio(io))) &&
		     !READ_ONCE(io->v->stamped))) {
		r = vdisk_stamp_write(io->v);
		if (r)
			return r;
	}
	if (!bio_has_data(vdisk_io_bio(io))) {
		r = vdisk_discard_run(io, sector, bvec_iter_sectors(io->iter));
		if (r > 0 && vdisk_io_bio(io)->bi_opf & REQ_FUA)
			io->commit = true;
		return r;
	}
	r = vdisk_lookup_wait(io->v, (int)io->v->nr_layers - 1, sector,
			      bvec_iter_sectors(io->iter), &where);
	if (r)
		return r;
	if (op_is_write(bio_op(vdisk_io_bio(io))))
		return write_run(io, sector, &where);
	return read_run(io, sector, &where);
}

static void io_work(struct work_struct *work)
{
	struct vdisk_io *io = container_of(work, struct vdisk_io, work);
	struct bio *bio = vdisk_io_bio(io);
	unsigned int noio = memalloc_noio_save();
	unsigned int throttle = current->flags & PF_LOCAL_THROTTLE;
	s64 r = 1;

	/* We may be what cleans the pages that we would be throttled for. */
	current->flags |= PF_LOCAL_THROTTLE;
	while (io->iter.bi_size) {
		r = one_run(io);
		if (!r)
			break;
		if (r == -EAGAIN)
			continue;
		if (r < 0) {
			io->status = errno_to_blk_status((int)r);
			break;
		}
		bio_advance_iter(bio, &io->iter, (unsigned int)r << VDISK_SHIFT);
	}
	if (r)
		io_put(io);
	current->flags = (current->flags & ~PF_LOCAL_THROTTLE) | throttle;
	memalloc_noio_restore(noio);
}

void vdisk_io_requeue(struct vdisk_io *io)
{
	queue_work(io->v->wq, &io->work);
}

/* Not without waiting: to a worker. Device-mapper lets no REQ_NOWAIT in. */
static int defer(struct vdisk_io *io, struct bio *bio)
{
	vdisk_count(io->v, queued);
	vdisk_submitter_sign(bio);
	io->iter = bio->bi_iter;
	io->seg.backing = NULL;
	INIT_WORK(&io->work, io_work);
	queue_work(io->v->wq, &io->work);
	return DM_MAPIO_SUBMITTED;
}

static int map_data(struct vdisk_io *io, struct bio *bio,
		    const struct vdisk_where *where)
{
	struct vdisk_backing *b = where->image->backing;
	bool fua = bio->bi_opf & REQ_FUA;

	if (fua && (b->file || !vdisk_commit_settled(where->image)))
		return defer(io, bio);
	if (b->file && !vdisk_submitter_allows(bio))
		return defer(io, bio);
	if (where->sectors < bio_sectors(bio))
		dm_accept_partial_bio(bio, where->sectors);
	if (!b->file) {
		io->seg.backing = b;
		bio_set_dev(bio, b->dev->bdev);
		bio->bi_iter.bi_sector = where->off >> VDISK_SHIFT;
		vdisk_count(io->v, direct);
		return DM_MAPIO_REMAPPED;
	}
	io->iter = bio->bi_iter;
	vdisk_io_start(&io->seg, io, b, where->off, bio_sectors(bio));
	if (b->ops->submit(b, &io->seg, true))
		return defer(io, bio);
	vdisk_count(where->image->v, direct);
	return DM_MAPIO_SUBMITTED;
}

/* From lookup to completion, on any CPUs: what sparse cannot follow. */
static int enter(struct vdisk *v)
{
	int index = __srcu_read_lock(&v->inflight);

	__release(&v->inflight);
	return index;
}

static void leave(struct vdisk *v, int index)
{
	__acquire(&v->inflight);
	__srcu_read_unlock(&v->inflight, index);
}

/* A read that memory answers: zeroes, or a grain that is inflated. */
static int map_copy(struct vdisk_io *io, struct bio *bio,
		    const struct vdisk_where *where)
{
	struct vdisk_grain *g = NULL;

	if (where->kind == VDISK_DEFLATE) {
		g = vdisk_grain_find(where->image, where->off);
		if (!g)
			return defer(io, bio);
		if (g->sector != io_sector(io->v, &bio->bi_iter) -
				 where->image->first_sec - where->skip_sec) {
			vdisk_grain_put(g);
			return defer(io, bio);
		}
	}
	if (where->sectors < bio_sectors(bio))
		dm_accept_partial_bio(bio, where->sectors);
	if (g) {
		copy_grain(bio, bio->bi_iter, g, where);
		vdisk_grain_put(g);
	} else {
		zero_fill_bio(bio);
	}
	bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

int vdisk_io_map(struct vdisk *v, struct bio *bio)
{
	struct vdisk_io *io = dm_per_bio_data(bio, sizeof(*io));
	bool write = op_is_write(bio_op(bio));
	struct vdisk_where where;
	int r;

	vdisk_left_submitter(v->left);
	io->seg.backing = NULL;
	io->inflight = -1;
	io->waited = false;
	if (unlikely(bio->bi_opf & REQ_PREFLUSH)) {
		vdisk_commit_queue(v, bio);
		return DM_MAPIO_SUBMITTED;
	}
	if (unlikely(write && (!v->args.write || READ_ONCE(v->failed))))
		return DM_MAPIO_KILL;
	switch (bio_op(bio)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		break;
	default:
		return DM_MAPIO_KILL;
	}
	/* Until it ends, no place that this bio looks up is used anew. */
	if (v->args.write)
		io->inflight = enter(v);
	io->v = v;
	io->status = BLK_STS_OK;
	io->commit = false;
	io->seg.waiter = NULL;
	atomic_set(&io->pending, 1);

	if (unlikely(!bio_has_data(bio) || (write && !READ_ONCE(v->stamped))))
		return defer(io, bio);
	r = vdisk_lookup(v, (int)v->nr_layers - 1,
			 io_sector(v, &bio->bi_iter), bio_sectors(bio), &where);
	/* What is wrong with one run is no reason to refuse those before it. */
	if (unlikely(r || where.kind == VDISK_ERROR))
		return defer(io, bio);
	if (where.kind == VDISK_DATA &&
	    (!write || where.layer == v->nr_layers - 1))
		return map_data(io, bio, &where);
	if (write)
		return defer(io, bio);
	return map_copy(io, bio, &where);
}

/* What ended, all its parts, is done anew as if it had just come. */
void vdisk_io_retry(struct vdisk_io *io)
{
	struct bio *bio = vdisk_io_bio(io);

	io->inflight = enter(io->v);
	io->status = BLK_STS_OK;
	io->commit = false;
	atomic_set(&io->pending, 1);
	bio->bi_status = BLK_STS_OK;
	defer(io, bio);
}

int vdisk_io_end(struct vdisk *v, struct bio *bio, blk_status_t *error)
{
	struct vdisk_io *io = dm_per_bio_data(bio, sizeof(*io));

	/* A durable write may have failed in the flush that it needs. */
	if (unlikely(*error && *error != BLK_STS_NOSPC) &&
	    bio->bi_opf & REQ_FUA && vdisk_io_sent_on(io))
		vdisk_trip(v, "flush-failed");
	if (io->seg.backing && op_is_write(bio_op(bio)))
		vdisk_backing_wrote(io->seg.backing);
	if (io->inflight >= 0)
		leave(v, io->inflight);
	return DM_ENDIO_DONE;
}
