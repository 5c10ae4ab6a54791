// SPDX-License-Identifier: GPL-2.0
/* A block device as backing: bios, moved. */
#include "vdisk.h"
#include "compat.h"

static blk_status_t own_status(blk_status_t status)
{
	return errno_to_blk_status((int)vdisk_backing_error(
					blk_status_to_errno(status)));
}

static void bdev_ended(struct bio *clone)
{
	struct vdisk_seg *seg = clone->bi_private;
	blk_status_t status = clone->bi_status;

	bio_put(clone);
	if (unlikely(status)) {
		/* A write that was to be durable may have failed in its flush. */
		if (seg->dsync && status != BLK_STS_NOSPC)
			vdisk_trip(seg->io->v, "flush-failed");
		status = own_status(status);
	}
	vdisk_io_seg_done(seg, status);
}

/* map() remaps what it can; here come the parts of a bio that waited. */
static int bdev_submit(struct vdisk_backing *b, struct vdisk_seg *seg,
		       bool nowait)
{
	struct bio *bio = vdisk_io_bio(seg->io), *clone;

	if (nowait)
		return -EAGAIN;
	clone = bio_alloc_clone(b->dev->bdev, bio, GFP_NOIO, &seg->io->v->bios);
	if (!clone) {
		vdisk_io_seg_done(seg, BLK_STS_RESOURCE);
		return 0;
	}
	clone->bi_iter = seg->iter;
	clone->bi_iter.bi_sector = seg->off >> VDISK_SHIFT;
	clone->bi_private = seg;
	clone->bi_end_io = bdev_ended;
	/* Nobody polls for a clone, and nobody is there to try again. */
	clone->bi_opf &= ~(REQ_NOWAIT | REQ_POLLED);
	if (!seg->dsync)
		clone->bi_opf &= ~REQ_FUA;
	submit_bio_noacct(clone);
	return 0;
}

static int bdev_rw(struct vdisk_backing *b, bool write, u64 off, void *buf,
		   size_t len)
{
	u64 room = vdisk_backing_len(b);
	struct bio_vec bv;
	struct bio bio;
	int r;

	/* A last block that the device holds in part, or not at all. */
	if (!write && (off >= room || len > room - off)) {
		size_t have = off < room ? room - off : 0;

		memset(buf + have, 0, len - have);
		len = have;
		if (!len)
			return 0;
	}
	bio_init(&bio, b->dev->bdev, &bv, 1,
		 (write ? REQ_OP_WRITE : REQ_OP_READ) | REQ_SYNC | REQ_META);
	bio.bi_iter.bi_sector = off >> VDISK_SHIFT;
	__bio_add_page(&bio, virt_to_page(buf), len, offset_in_page(buf));
	r = submit_bio_wait(&bio);
	bio_uninit(&bio);
	if (write)
		vdisk_backing_wrote(b);
	return (int)vdisk_backing_error(r);
}

static int bdev_reserve(struct vdisk_backing *b, u64 off, u64 len)
{
	return 0;
}

static int bdev_zero(struct vdisk_backing *b, u64 off, u64 len, bool keep)
{
	int r = blkdev_issue_zeroout(b->dev->bdev, off >> VDISK_SHIFT,
				     len >> VDISK_SHIFT, GFP_NOIO,
				     keep ? BLKDEV_ZERO_NOUNMAP : 0);

	vdisk_backing_wrote(b);
	return (int)vdisk_backing_error(r);
}

/* Some devices read zero after a discard, but none promises it. */
static int bdev_punch(struct vdisk_backing *b, u64 off, u64 len)
{
	blkdev_issue_discard(b->dev->bdev, off >> VDISK_SHIFT,
			     len >> VDISK_SHIFT, GFP_NOIO);
	vdisk_backing_wrote(b);
	return -EOPNOTSUPP;
}

static int bdev_flush(struct vdisk_backing *b)
{
	return (int)vdisk_backing_error(blkdev_issue_flush(b->dev->bdev));
}

static int bdev_set_len(struct vdisk_backing *b, u64 len)
{
	return len > vdisk_backing_len(b) ? -ENOSPC : 0;
}

const struct vdisk_backing_ops vdisk_backing_bdev_ops = {
	.submit		= bdev_submit,
	.rw		= bdev_rw,
	.reserve	= bdev_reserve,
	.zero		= bdev_zero,
	.punch		= bdev_punch,
	.flush		= bdev_flush,
	.set_len	= bdev_set_len,
};
