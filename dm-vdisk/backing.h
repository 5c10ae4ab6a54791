/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A backing: the file or block device that holds an image.
 *
 * One mode per backing: everything direct, or everything through the page
 * cache, tables and data alike. VHD bitmaps share pages with data; a buffered
 * table write beside direct data would write back a stale neighbour.
 */
#ifndef _VDISK_BACKING_H
#define _VDISK_BACKING_H

#include <linux/errseq.h>
#include <linux/types.h>
#include <linux/list.h>
#include <linux/mutex.h>

struct vdisk;
struct vdisk_seg;
struct vdisk_backing;
struct bio;
struct file;
struct dm_dev;
struct file_claim;

/*
 * Each of them fails by -ENOSPC, -ENOMEM or -EIO (see vdisk_backing_error()) and by
 * nothing else: -EAGAIN, -EUCLEAN and their like are words of our own elsewhere.
 * Or by -EOPNOTSUPP, where it says so.
 */
struct vdisk_backing_ops {
	/*
	 * Start the asynchronous transfer of a segment; it ends by
	 * vdisk_io_seg_done(), maybe before this returns, maybe in interrupt
	 * context. With @nowait: -EAGAIN if it cannot be done without sleeping
	 * (nothing was started); callable from map(), where submitter.h allows
	 * it. Else 0, may sleep; from workers only. Required.
	 */
	int (*submit)(struct vdisk_backing *b, struct vdisk_seg *seg, bool nowait);

	/*
	 * Transfer @len bytes of kernel memory (of the linear map, within a
	 * page or physically contiguous) and wait. Offset and length are
	 * multiples of 512 unless the backing is buffered. A read past the end
	 * gives zeroes; -EIO if the file did not end there before (@len below).
	 * May sleep. Required.
	 */
	int (*rw)(struct vdisk_backing *b, bool write, u64 off, void *buf,
		  size_t len);

	/*
	 * Have space for [off, off + len), where nothing was written yet: it reads
	 * zero after it as before. A device has it. May sleep. Required.
	 */
	int (*reserve)(struct vdisk_backing *b, u64 off, u64 len);

	/*
	 * Make [off, off + len) read zero; with @keep its space stays. May sleep.
	 * Required.
	 */
	int (*zero)(struct vdisk_backing *b, u64 off, u64 len, bool keep);

	/*
	 * Give the space of [off, off + len) back. 0 if it reads zero then; else
	 * (-EOPNOTSUPP too) it may have any effect on these bytes, or none. May
	 * sleep. Required.
	 */
	int (*punch)(struct vdisk_backing *b, u64 off, u64 len);

	/* All that was written is durable, or -errno. May sleep. Required. */
	int (*flush)(struct vdisk_backing *b);

	/*
	 * Grow or cut the file; a device only checks (-ENOSPC). May sleep.
	 * Required.
	 */
	int (*set_len)(struct vdisk_backing *b, u64 len);
};

/* End the segment's write, which was left to us. May sleep. */
void vdisk_seg_end_left(struct vdisk_seg *seg);

/* Who may use a file that the device has open already. */
enum vdisk_backing_use {
	VDISK_USE_IMAGE,		/* nobody */
	VDISK_USE_RAW,			/* other raw extents */
	VDISK_USE_STAMP,		/* the stamp: whoever has it for writing */
};

struct vdisk_backing {
	const struct vdisk_backing_ops *ops;
	struct list_head link;		/* vdisk->backings */
	struct vdisk *v;
	char *path;			/* as `dmsetup table` prints it */
	struct file *file;		/* our own, for I/O; NULL: remapped */
	struct file *held;		/* the one given as fd:N: keeps its locks */
	struct dm_dev *dev;		/* a block device */
	struct inode *inode;		/* identity of a file; NULL: a device */
	dev_t rdev;			/* identity of a device */
	enum vdisk_backing_use use;
	struct file_claim *claim;	/* against other devices */
	unsigned int users;
	bool device;
	bool write;
	bool direct;
	unsigned long flags;
	struct mutex flush_lock;	/* one at a time: its end is everybody's */
	errseq_t wb_err;		/* flush_lock: errors of write-back seen */
	u64 len;			/* READ_ONCE: bytes that we know of */
	unsigned long touched;		/* flush_lock: jiffies; 0: not yet */
};

enum vdisk_backing_bits {
	VDISK_BACKING_WRITTEN,		/* something may not be durable */
	VDISK_BACKING_CHANGED,		/* and the file's times do not tell yet */
};

/*
 * One of the three errors for what a file system or a device answered; bytes stay
 * as they are. Over quota, or over the greatest file size: both are out of space.
 */
static inline long vdisk_backing_error(long ret)
{
	switch (ret) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return -ENOSPC;
	case -ENOMEM:
		return -ENOMEM;
	}
	return ret < 0 ? -EIO : ret;
}

/* Bytes of the file or device now. */
u64 vdisk_backing_len(const struct vdisk_backing *b);

/*
 * Open @name (a path or fd:N). Where @use allows it, two names of one file
 * give one backing; else a file may appear once. A file that another device uses is
 * busy if either writes. On error *@error is the constant phrase for the user.
 */
struct vdisk_backing *vdisk_backing_open(struct vdisk *v, const char *name,
					 bool write, enum vdisk_backing_use use,
					 char **error);
void vdisk_backing_close(struct vdisk_backing *b);

/* Another table of the same mapped device holds the file for writing. */
bool vdisk_backing_handed_over(const struct vdisk_backing *b);

/*
 * Before the first I/O, and after each resume: note how long the file is, and drop
 * what the page cache has of a file that is going to be read and written beside
 * it; each write would look for it there. May sleep.
 */
void vdisk_backing_start(struct vdisk_backing *b);

/*
 * After the last I/O before a suspend: who reads a block device through its page
 * cache gets what is on it, and not what was before we wrote beside that. May sleep.
 */
void vdisk_backing_stop(struct vdisk_backing *b);

/*
 * Set the times of a file that was written since they were set last: single
 * writes leave them alone. Unless @settle, at most once a minute, and not while
 * the file system is frozen, which @settle waits for. May sleep.
 */
void vdisk_backing_touch(struct vdisk_backing *b, bool settle);

/*
 * vdisk_backing_wrote() notes a completed write, vdisk_backing_unsure() that
 * somebody else's may not be durable; any context. vdisk_backing_flush(): flush if
 * either was noted since the last. One that fails stops all writing: what was
 * written may be gone. May sleep.
 */
void vdisk_backing_wrote(struct vdisk_backing *b);
void vdisk_backing_unsure(struct vdisk_backing *b);
int vdisk_backing_flush(struct vdisk_backing *b);

/* What a table that stopped tells of a file to the next one. */
enum vdisk_backing_heritage {
	VDISK_HERITAGE_LOST = 1 << 0,	/* acknowledged writes never got there */
	VDISK_HERITAGE_MARKED = 1 << 1,	/* its image is still marked, by us */
};

/*
 * vdisk_backing_bequeath(): what the next table of the same mapped device is to
 * know of @b, in place of what it was before. vdisk_backing_inherit() tells it to
 * that table, and nothing while only one table has the file. May sleep.
 */
void vdisk_backing_bequeath(struct vdisk_backing *b, unsigned int heritage);
unsigned int vdisk_backing_inherit(const struct vdisk_backing *b);

extern const struct vdisk_backing_ops vdisk_backing_file_ops;
extern const struct vdisk_backing_ops vdisk_backing_bdev_ops;

#endif /* _VDISK_BACKING_H */
