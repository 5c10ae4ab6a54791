// SPDX-License-Identifier: GPL-2.0
/*
 * A backing that is read and written as a file: kiocbs over the bio's own
 * pages. The file system maps every transfer when it is submitted, so sparse,
 * reflinked and moving files stay right.
 */
#include "vdisk.h"
#include "compat.h"

#include <linux/falloc.h>
#include <linux/sched/mm.h>
#include <linux/sched/task_stack.h>
#include <linux/uio.h>

#define ZERO_BVECS 16

static void seg_resubmit(struct work_struct *work)
{
	struct vdisk_seg *seg = container_of(work, struct vdisk_seg, work);

	seg->backing->ops->submit(seg->backing, seg, false);
}

/* What is at the end of a quota or of a largest file has no space. */
static long no_space(long ret)
{
	return ret == -EDQUOT || ret == -EFBIG ? -ENOSPC : ret;
}

/* Any context. @ret: bytes, or -errno. */
static void seg_ended(struct vdisk_seg *seg, long ret)
{
	struct bio *bio = vdisk_io_bio(seg->io);
	bool write = op_is_write(bio_op(bio));

	if (likely(ret == seg->iter.bi_size)) {
		vdisk_io_seg_done(seg, BLK_STS_OK);
		return;
	}
	if (ret < 0 && ret != -EAGAIN) {
		vdisk_io_seg_done(seg, errno_to_blk_status(no_space(ret)));
		return;
	}
	if (ret > 0) {
		bio_advance_iter(bio, &seg->iter, ret);
		seg->off += ret;
	} else if (!ret && !write && seg->off >= vdisk_backing_len(seg->backing)) {
		/* Past the end of a file that was cut short: zeroes. */
		vdisk_io_zero(bio, seg->iter);
		vdisk_io_seg_done(seg, BLK_STS_OK);
		return;
	} else if (!ret) {
		vdisk_io_seg_done(seg, BLK_STS_IOERR);
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
	seg_finish(seg, vdisk_dio_end(&seg->iocb));
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
 */
static ssize_t seg_transfer(struct vdisk_seg *seg, struct iov_iter *iov,
			    bool write)
{
	struct bio_list *collected = current->bio_list;
	unsigned int noio = memalloc_noio_save();
	ssize_t ret;

	current->bio_list = NULL;
	ret = write ? vdisk_write_iter(&seg->iocb, iov)
		    : vdisk_read_iter(&seg->iocb, iov);
	current->bio_list = collected;
	memalloc_noio_restore(noio);
	return ret;
}

/* Images in images in images: each level is a file system deeper. */
static bool stack_is_short(void)
{
	unsigned long here = (unsigned long)__builtin_frame_address(0);

	return here - (unsigned long)end_of_stack(current) < THREAD_SIZE / 2;
}

static int file_submit(struct vdisk_backing *b, struct vdisk_seg *seg,
		       bool nowait)
{
	struct bio *bio = vdisk_io_bio(seg->io);
	bool write = op_is_write(bio_op(bio));
	struct iov_iter iov;
	ssize_t ret;

	if (nowait && (!(b->direct && b->file->f_mode & FMODE_NOWAIT) ||
		       stack_is_short()))
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
	if (ret == -EAGAIN && nowait)
		return -EAGAIN;
	/* Without NOWAIT a file system that says so would say so for ever. */
	seg_ended(seg, ret == -EAGAIN ? -EIO : ret);
	return 0;
}

/* One synchronous transfer of an iov; what it moved, or -errno. */
static ssize_t sync_iov(struct vdisk_backing *b, bool write, u64 off,
			struct iov_iter *iov)
{
	struct kiocb iocb;
	unsigned int noio;
	ssize_t ret;

	init_sync_kiocb(&iocb, b->file);
	iocb.ki_pos = off;
	iocb.ki_flags |= (b->direct ? IOCB_DIRECT : 0) |
			 (write ? IOCB_WRITE : 0);
	noio = memalloc_noio_save();
	if (write)
		file_start_write(b->file);
	ret = write ? vdisk_write_iter(&iocb, iov) : vdisk_read_iter(&iocb, iov);
	if (write)
		file_end_write(b->file);
	memalloc_noio_restore(noio);
	return no_space(ret);
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
	unsigned int noio;
	int r;

	if (!b->file->f_op->fallocate || from >= to)
		return -EOPNOTSUPP;
	noio = memalloc_noio_save();
	r = vfs_fallocate(b->file, mode | FALLOC_FL_KEEP_SIZE, from, to - from);
	memalloc_noio_restore(noio);
	if (!r && from > off)
		r = file_write_zeroes(b, off, from - off);
	if (!r && off + len > to)
		r = file_write_zeroes(b, to, off + len - to);
	/* After the change: a flush before it counts for nothing. */
	vdisk_backing_wrote(b);
	return no_space(r);
}

/* Extents that are not written, as far as the file system has such. */
static int file_reserve(struct vdisk_backing *b, u64 off, u64 len)
{
	unsigned int noio = memalloc_noio_save();
	int r = -EOPNOTSUPP;

	if (b->device)
		r = 0;
	else if (b->file->f_op->fallocate)
		r = vfs_fallocate(b->file, FALLOC_FL_KEEP_SIZE, off, len);
	memalloc_noio_restore(noio);
	if (r == -EOPNOTSUPP)
		r = file_write_zeroes(b, off, len);
	vdisk_backing_wrote(b);
	return no_space(r);
}

static int file_zero(struct vdisk_backing *b, u64 off, u64 len)
{
	int r = -EOPNOTSUPP;

	/* Below this a few writes are cheaper than new extents. */
	if (len >= ZERO_BVECS * PAGE_SIZE)
		r = change_extents(b, FALLOC_FL_ZERO_RANGE, off, len);
	if (r == -EOPNOTSUPP)
		r = file_write_zeroes(b, off, len);
	vdisk_backing_wrote(b);
	return r;
}

static int file_punch(struct vdisk_backing *b, u64 off, u64 len)
{
	return change_extents(b, FALLOC_FL_PUNCH_HOLE, off, len);
}

static int file_flush(struct vdisk_backing *b)
{
	unsigned int noio = memalloc_noio_save();
	int r = vfs_fsync(b->file, 1);

	memalloc_noio_restore(noio);
	return r;
}

static int file_set_len(struct vdisk_backing *b, u64 len)
{
	unsigned int noio;
	int r;

	if (b->device)
		return len > vdisk_backing_len(b) ? -ENOSPC : 0;
	if (len == vdisk_backing_len(b))
		return 0;
	if (len > file_inode(b->file)->i_sb->s_maxbytes)
		return -ENOSPC;
	noio = memalloc_noio_save();
	r = vfs_truncate(&b->file->f_path, len);
	memalloc_noio_restore(noio);
	vdisk_backing_wrote(b);
	return no_space(r);
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
