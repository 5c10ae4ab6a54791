/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between kernel versions, and nothing else. The code around
 * it is written for the newest kernel.
 */
#ifndef _VDISK_COMPAT_H
#define _VDISK_COMPAT_H

#include <linux/version.h>
#include <linux/fs.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/hrtimer.h>
#include <linux/shrinker.h>
#include <linux/workqueue.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "dm-vdisk needs Linux 6.1 or newer"
#endif

/* 6.5: device modes are blk_mode_t, no longer fmode_t. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
typedef fmode_t blk_mode_t;
#define BLK_OPEN_READ FMODE_READ
#define BLK_OPEN_WRITE FMODE_WRITE
#endif

/* 6.10: call_read_iter() and call_write_iter() went away. */
static inline ssize_t vdisk_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	return iocb->ki_filp->f_op->read_iter(iocb, iter);
}

static inline ssize_t vdisk_write_iter(struct kiocb *iocb,
				       struct iov_iter *iter)
{
	return iocb->ki_filp->f_op->write_iter(iocb, iter);
}

/*
 * 6.6: who sets the flag is told of a direct overwrite before the file system has
 * ended it, and ends it, where that may sleep. The result is what vdisk_dio_end()
 * returns. 6.19 has no such flag any more.
 */
#ifdef IOCB_DIO_CALLER_COMP
static inline bool vdisk_dio_is_left(const struct kiocb *iocb)
{
	return iocb->ki_flags & IOCB_DIO_CALLER_COMP && iocb->dio_complete;
}

static inline long vdisk_dio_end(struct kiocb *iocb)
{
	return iocb->dio_complete(iocb->private);
}
#else
#define IOCB_DIO_CALLER_COMP 0
static inline bool vdisk_dio_is_left(const struct kiocb *iocb)
{
	return false;
}

static inline long vdisk_dio_end(struct kiocb *iocb)
{
	return -EIO;
}
#endif

/* 6.13: a timer and its function are set up at once. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/*
 * For work that calls a file system. Memory reclaim waits for it, so it has a
 * rescuer; but the file system may flush queues of its own that have none (XFS
 * without space), which the kernel warns of. We cannot cure that, nor do without.
 */
#define VDISK_WQ_FILES (WQ_MEM_RECLAIM | __WQ_LEGACY)

/* 6.18: a workqueue is one or the other; before, per CPU if not unbound. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define WQ_PERCPU 0
#endif

/* 6.17: zeroes that unmap have a limit of their own, the same one or 0. */
static inline void vdisk_limit_zeroes(struct queue_limits *limits,
				      unsigned int sectors)
{
	limits->max_write_zeroes_sectors = sectors;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	limits->max_hw_wzeroes_unmap_sectors = 0;
#endif
}

/*
 * 6.11: features are limits. Before, device-mapper derives them from the devices
 * below and sets them in the queue; what files below mean is set when it has.
 * @poll: polling may stay, if device-mapper found that it works.
 */
static inline void vdisk_limit_features(struct queue_limits *limits,
					bool stable, bool poll)
{
#ifdef BLK_FEAT_POLL
	if (stable)
		limits->features |= BLK_FEAT_STABLE_WRITES;
	if (!poll)
		limits->features &= ~BLK_FEAT_POLL;
#endif
}

static inline void vdisk_queue_features(struct request_queue *q, bool stable,
					bool poll)
{
#ifndef BLK_FEAT_POLL
	/* 6.3: before, all bios that are polled say REQ_NOWAIT. */
	if (LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0))
		poll = false;
	if (stable)
		blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, q);
	if (!poll)
		blk_queue_flag_clear(QUEUE_FLAG_POLL, q);
#endif
}

/* 6.7: shrinkers are allocated. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline struct shrinker *vdisk_shrinker_alloc(const char *name)
{
	return kzalloc(sizeof(struct shrinker), GFP_KERNEL);
}

static inline int vdisk_shrinker_register(struct shrinker *s, const char *name)
{
	return register_shrinker(s, "%s", name);
}

/* Only for one that was registered; else kfree() it. */
static inline void vdisk_shrinker_free(struct shrinker *s)
{
	unregister_shrinker(s);
	kfree(s);
}

static inline void vdisk_shrinker_drop(struct shrinker *s)
{
	kfree(s);
}
#else
static inline struct shrinker *vdisk_shrinker_alloc(const char *name)
{
	return shrinker_alloc(0, "%s", name);
}

static inline int vdisk_shrinker_register(struct shrinker *s, const char *name)
{
	shrinker_register(s);
	return 0;
}

static inline void vdisk_shrinker_free(struct shrinker *s)
{
	shrinker_free(s);
}

static inline void vdisk_shrinker_drop(struct shrinker *s)
{
	shrinker_free(s);
}
#endif

#endif /* _VDISK_COMPAT_H */
