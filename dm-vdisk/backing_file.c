// SPDX-License-Identifier: GPL-2.0
/*
 * A backing that is read and written as a file: kiocbs over the bio's own
 * pages. The file system maps every transfer when it is submitted, so sparse,
 * reflinked and moving files stay right.
 */
#include "vdisk.h"
#include "compat.h"
#include "submitter.h"

#include <linux/falloc.h>
#include <linux/kthread.h>
#include <linux/uio.h>

#define ZERO_BVECS 16

static void seg_resubmit(struct work_struct *work)
{
	struct vdisk_seg *seg = container_of(work, struct vdisk_seg, work);

	seg->backing->ops->submit(seg->backing, seg, false);
}

/*
 * The segment failed. A write that was to be durable may have met the error of
 * others, whose data the file system could not write: no flush after it will be
 * told. A direct write without space has begun nothing, and says nothing of others.
 */
static void seg_failed(struct vdisk_seg *seg, long ret)
{
	long error = vdisk_backing_error(ret);

	if (seg->dsync && (error == -EIO ||
			   (error == -ENOSPC && !seg->backing->direct)))
		vdisk_trip(seg->io->v, "flush-failed");
	vdisk_io_seg_done(seg, errno_to_blk_status((int)error));
}

/* The file ends at seg->off, before the segment does. */
static void seg_past_end(struct vdisk_seg *seg)
{
	struct bio *bio = vdisk_io_bio(seg->io);

	if (op_is_write(bio_op(bio)) ||
	    seg->off < READ_ONCE(seg->backing->len)) {
		seg_failed(seg, -EIO);
		return;
	}
	/* The file never had these bytes: the rest of its last sector. */
	vdisk_io_zero(bio, seg->iter);
	vdisk_io_seg_done(seg, BLK_STS_OK);
}

/*
 * Any context. @ret: bytes, or -errno. A worker goes on with a short transfer,
 * and does again what failed where it was not allowed to wait.
 */
static void seg_ended(struct vdisk_seg *seg, long ret)
{
	bool nowait = seg->iocb.ki_flags & IOCB_NOWAIT;
	struct bio *bio = vdisk_io_bio(seg->io);

	if (likely(ret == seg->iter.bi_size)) {
		vdisk_io_seg_done(seg, BLK_STS_OK);
		return;
	}
	if (ret < 0 && !nowait) {
		seg_failed(seg, ret);
		return;
	}
	if (ret > 0) {
		bio_advance_iter(bio, &seg->iter, ret);
		seg->off += ret;
	}
	/* The end may lie within a sector, where no direct read may begin. */
	if (!ret || (ret > 0 && !op_is_write(bio_op(bio)) &&
		     seg->off >= READ_ONCE(seg->backing->len))) {
		seg_past_end(seg);
		return;
	}
	INIT_WORK(&seg->work, seg_resubmit);
	queue_work(seg->io->v->retry_wq, &seg->work);
}

/* Freeze protection for as long as the write is on its way. */
static bool start_write(struct kiocb *iocb, bool nowait)
{
	struct super_block *sb = file_inode(iocb->ki_filp)->i_sb;

	if (!nowait)
		sb_start_write(sb);
	else if (!sb_start_write_trylock(sb))
		return false;
	/* For lockdep: another thread may end what this one starts. */
	__sb_writers_release(sb, SB_FREEZE_WRITE);
	return true;
}

static void end_write(struct kiocb *iocb)
{
	struct super_block *sb = file_inode(iocb->ki_filp)->i_sb;

	__sb_writers_acquired(sb, SB_FREEZE_WRITE);
	sb_end_write(sb);
}

static void seg_finish(struct vdisk_seg *seg, long ret)
{
	if (seg->iocb.ki_flags & IOCB_WRITE)
		end_write(&seg->iocb);
	seg_ended(seg, ret);
}

/*
 * File systems look at the kiocb until read_iter() or write_iter() returns, when
 * it may have been completed long ago: it ends when both are done with it.
 */
static void seg_put(struct vdisk_seg *seg)
{
	if (!atomic_dec_and_test(&seg->users))
		return;
	if (vdisk_dio_is_left(&seg->iocb))
		vdisk_left_add(seg);
	else
		seg_finish(seg, seg->ret);
}

void vdisk_seg_end_left(struct vdisk_seg *seg)
{
	struct vdisk_aside aside;
	long ret;

	vdisk_aside_begin(&aside);
	ret = vdisk_dio_end(&seg->iocb);
	vdisk_aside_end(&aside);
	/* Not aside: bios that are submitted when this one ends are collected. */
	seg_finish(seg, ret);
}

static void file_complete(struct kiocb *iocb, long ret)
{
	struct vdisk_seg *seg = container_of(iocb, struct vdisk_seg, iocb);

	seg->ret = ret;
	seg_put(seg);
}

static void seg_iov(struct iov_iter *iov, struct vdisk_seg *seg,
		    struct bio *bio, bool write)
{
	const struct bio_vec *first = __bvec_iter_bvec(bio->bi_io_vec, seg->iter);
	struct bvec_iter i = seg->iter;
	unsigned long nr = 0;

	/* Bvecs as they are, of many pages: for_each_bvec() counts the pages. */
	for (; i.bi_size; nr++)
		bvec_iter_advance_single(bio->bi_io_vec, &i,
					 mp_bvec_iter_len(bio->bi_io_vec, i));
	iov_iter_bvec(iov, write ? ITER_SOURCE : ITER_DEST, first, nr,
		      seg->iter.bi_size);
	/* How far the iterator is in it; the field's name differs. */
	iov->iov_offset = mp_bvec_iter_offset(bio->bi_io_vec, seg->iter) -
			  first->bv_offset;
}

/*
 * In map(), current->bio_list collects what is submitted until map() returns. A
 * file system may wait for its own metadata even so: ext4 reads its extent tree
 * whatever IOCB_NOWAIT says. So what it submits starts at once.
 *
 * A worker transfers in the name of the bio's control group, and nothing else: a
 * table that all writers wait for is not to be held up by one group's limit.
 */
static ssize_t seg_transfer(struct vdisk_seg *seg, struct iov_iter *iov,
			    bool write)
{
	bool worker = !(seg->iocb.ki_flags & IOCB_NOWAIT);
	struct vdisk_aside aside;
	ssize_t ret;

	if (worker)
		kthread_associate_blkcg(bio_blkcg_css(vdisk_io_bio(seg->io)));
	vdisk_aside_begin(&aside);
	ret = write ? vdisk_write_iter(&seg->iocb, iov)
		    : vdisk_read_iter(&seg->iocb, iov);
	vdisk_aside_end(&aside);
	if (worker)
		kthread_associate_blkcg(NULL);
	return ret;
}

static int file_submit(struct vdisk_backing *b, struct vdisk_seg *seg,
		       bool nowait)
{
	struct bio *bio = vdisk_io_bio(seg->io);
	bool write = op_is_write(bio_op(bio));
	struct iov_iter iov;
	ssize_t ret;

	if (nowait && !(b->direct && b->file->f_mode & FMODE_NOWAIT))
		return -EAGAIN;
	seg_iov(&iov, seg, bio, write);
	seg->iocb = (struct kiocb){
		.ki_filp = b->file,
		.ki_pos = seg->off,
		.ki_complete = file_complete,
		.ki_flags = (b->direct ? IOCB_DIRECT : 0) |
			    (nowait ? IOCB_NOWAIT : 0) |
			    (write ? IOCB_WRITE | IOCB_DIO_CALLER_COMP : 0) |
			    (seg->dsync ? IOCB_DSYNC : 0),
		.ki_ioprio = bio->bi_ioprio,
	};
	if (write && !start_write(&seg->iocb, nowait))
		return -EAGAIN;

	atomic_set(&seg->users, 2);
	ret = seg_transfer(seg, &iov, write);
	if (ret == -EIOCBQUEUED) {
		seg_put(seg);
		return 0;
	}
	if (write)
		end_write(&seg->iocb);
	/* Whatever it is called: it may be the submitter's, not the file's. */
	if (ret < 0 && nowait)
		return -EAGAIN;
	seg_ended(seg, ret);
	return 0;
}

/* One synchronous transfer of an iov; what it moved, or -errno. */
static ssize_t sync_iov(struct vdisk_backing *b, bool write, u64 off,
			struct iov_iter *iov)
{
	struct vdisk_aside aside;
	struct kiocb iocb;
	ssize_t ret;

	init_sync_kiocb(&iocb, b->file);
	iocb.ki_pos = off;
	iocb.ki_flags |= (b->direct ? IOCB_DIRECT : 0) |
			 (write ? IOCB_WRITE : 0);
	vdisk_aside_begin(&aside);
	if (write)
		file_start_write(b->file);
	ret = write ? vdisk_write_iter(&iocb, iov) : vdisk_read_iter(&iocb, iov);
	if (write)
		file_end_write(b->file);
	vdisk_aside_end(&aside);
	return vdisk_backing_error(ret);
}

static int file_rw(struct vdisk_backing *b, bool write, u64 off, void *buf,
		   size_t len)
{
	struct iov_iter iov;
	struct bio_vec bv;
	ssize_t ret;

	while (len) {
		bv.bv_page = virt_to_page(buf);
		bv.bv_offset = offset_in_page(buf);
		bv.bv_len = len;
		iov_iter_bvec(&iov, write ? ITER_SOURCE : ITER_DEST, &bv, 1,
			      len);
		ret = sync_iov(b, write, off, &iov);
		if (ret < 0)
			return ret;
		if (!ret && write)
			return -EIO;
		if (!ret && off < READ_ONCE(b->len))
			return -EIO;	/* somebody cut the file short */
		if (!ret) {
			memset(buf, 0, len);
			return 0;
		}
		buf += ret;
		off += ret;
		len -= ret;
	}
	if (write)
		vdisk_backing_wrote(b);
	return 0;
}

static int file_write_zeroes(struct vdisk_backing *b, u64 off, u64 len)
{
	struct bio_vec bv[ZERO_BVECS];
	struct iov_iter iov;
	ssize_t ret;
	int i;

	for (i = 0; i < ZERO_BVECS; i++) {
		bv[i].bv_page = ZERO_PAGE(0);
		bv[i].bv_offset = 0;
		bv[i].bv_len = PAGE_SIZE;
	}
	while (len) {
		iov_iter_bvec(&iov, ITER_SOURCE, bv, ZERO_BVECS,
			      min_t(u64, len, ZERO_BVECS * PAGE_SIZE));
		ret = sync_iov(b, true, off, &iov);
		if (ret <= 0)
			return ret ? ret : -EIO;
		off += ret;
		len -= ret;
	}
	return 0;
}

/*
 * Whole pages by fallocate, the edges by writing zeroes: a file system would
 * zero them in the page cache, beside our direct I/O.
 */
static int change_extents(struct vdisk_backing *b, int mode, u64 off, u64 len)
{
	u64 from = round_up(off, PAGE_SIZE);
	u64 to = round_down(off + len, PAGE_SIZE);
	struct vdisk_aside aside;
	int r;

	if (!b->file->f_op->fallocate || from >= to)
		return -EOPNOTSUPP;
	vdisk_aside_begin(&aside);
	r = vfs_fallocate(b->file, mode | FALLOC_FL_KEEP_SIZE, from, to - from);
	vdisk_aside_end(&aside);
	if (!r && from > off)
		r = file_write_zeroes(b, off, from - off);
	if (!r && off + len > to)
		r = file_write_zeroes(b, to, off + len - to);
	/* After the change: a flush before it counts for nothing. */
	vdisk_backing_wrote(b);
	return r;
}

/* Extents that are not written, as far as the file system has such. */
static int file_reserve(struct vdisk_backing *b, u64 off, u64 len)
{
	struct vdisk_aside aside;
	int r = -EOPNOTSUPP;

	vdisk_aside_begin(&aside);
	if (b->device)
		r = 0;
	else if (b->file->f_op->fallocate)
		r = vfs_fallocate(b->file, FALLOC_FL_KEEP_SIZE, off, len);
	vdisk_aside_end(&aside);
	if (r == -EOPNOTSUPP)
		r = file_write_zeroes(b, off, len);
	vdisk_backing_wrote(b);
	return (int)vdisk_backing_error(r);
}

/* A zeroed range of a file keeps its extents in any case. */
static int file_zero(struct vdisk_backing *b, u64 off, u64 len, bool keep)
{
	int r = -EOPNOTSUPP;

	/* Below this a few writes are cheaper than new extents. */
	if (len >= ZERO_BVECS * PAGE_SIZE)
		r = change_extents(b, FALLOC_FL_ZERO_RANGE, off, len);
	if (r == -EOPNOTSUPP)
		r = file_write_zeroes(b, off, len);
	vdisk_backing_wrote(b);
	return (int)vdisk_backing_error(r);
}

static int file_punch(struct vdisk_backing *b, u64 off, u64 len)
{
	return (int)vdisk_backing_error(change_extents(b, FALLOC_FL_PUNCH_HOLE,
						       off, len));
}

/*
 * A file is told of an error of write-back once, and that may have been by a
 * write that is synchronous (dsync, or mount -o sync). So we keep count by
 * ourselves as well, from the last flush on.
 */
static int file_flush(struct vdisk_backing *b)
{
	struct vdisk_aside aside;
	int r, late;

	vdisk_aside_begin(&aside);
	r = vfs_fsync(b->file, 1);
	vdisk_aside_end(&aside);
	late = errseq_check_and_advance(&b->file->f_mapping->wb_err, &b->wb_err);
	return (int)vdisk_backing_error(r ?: late);
}

static int file_set_len(struct vdisk_backing *b, u64 len)
{
	struct vdisk_aside aside;
	int r;

	if (b->device)
		return len > vdisk_backing_len(b) ? -ENOSPC : 0;
	if (len == vdisk_backing_len(b))
		return 0;
	if (len > file_inode(b->file)->i_sb->s_maxbytes)
		return -ENOSPC;
	/* Shorter first: until it is cut, nobody reads behind the new end. */
	if (len < READ_ONCE(b->len))
		WRITE_ONCE(b->len, len);
	vdisk_aside_begin(&aside);
	r = vfs_truncate(&b->file->f_path, len);
	vdisk_aside_end(&aside);
	WRITE_ONCE(b->len, r ? vdisk_backing_len(b) : len);
	vdisk_backing_wrote(b);
	return (int)vdisk_backing_error(r);
}

const struct vdisk_backing_ops vdisk_backing_file_ops = {
	.submit		= file_submit,
	.rw		= file_rw,
	.reserve	= file_reserve,
	.zero		= file_zero,
	.punch		= file_punch,
	.flush		= file_flush,
	.set_len	= file_set_len,
};
