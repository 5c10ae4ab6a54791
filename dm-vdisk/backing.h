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

/* Where there is no space, each of them says so by -ENOSPC. */
struct vdisk_backing_ops {
	/*
	 * Start the asynchronous transfer of a segment; it ends by
	 * vdisk_io_seg_done(), maybe before this returns, maybe in interrupt
	 * context. With @nowait: -EAGAIN if it would sleep (nothing was started);
	 * callable from map(). Else 0, may sleep. Required.
	 */
	int (*submit)(struct vdisk_backing *b, struct vdisk_seg *seg, bool nowait);

	/*
	 * Transfer @len bytes of kernel memory (of the linear map, within a
	 * page or physically contiguous) and wait. Offset and length are
	 * multiples of 512 unless the backing is buffered. A read past the end
	 * gives zeroes. May sleep; 0 or -errno. Required.
	 */
	int (*rw)(struct vdisk_backing *b, bool write, u64 off, void *buf,
		  size_t len);

	/*
	 * Have space for [off, off + len), where nothing was written yet: it reads
	 * zero after it as before. A device has it. May sleep. Required.
	 */
	int (*reserve)(struct vdisk_backing *b, u64 off, u64 len);

	/* Make [off, off + len) read zero. May sleep. Required. */
	int (*zero)(struct vdisk_backing *b, u64 off, u64 len);

	/*
	 * Give the space of [off, off + len) back. 0 if it reads zero then; else
	 * it may have any effect on these bytes, or none. May sleep. Required.
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
};

enum vdisk_backing_bits {
	VDISK_BACKING_WRITTEN,		/* since the last flush */
};

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
 * Before the first I/O: drop what the page cache has of a file that is going to
 * be read and written beside it; each write would look for it there. May sleep.
 */
void vdisk_backing_start(struct vdisk_backing *b);

/* The file's times, which single writes leave alone. May sleep. */
void vdisk_backing_touch(struct vdisk_backing *b);

/*
 * Note a completed write (any context). Flush if any was since the last; one
 * that fails stops all writing: what was written may be gone. May sleep.
 */
void vdisk_backing_wrote(struct vdisk_backing *b);
int vdisk_backing_flush(struct vdisk_backing *b);

extern const struct vdisk_backing_ops vdisk_backing_file_ops;
extern const struct vdisk_backing_ops vdisk_backing_bdev_ops;

#endif /* _VDISK_BACKING_H */
