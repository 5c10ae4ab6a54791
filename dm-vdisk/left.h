/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Direct overwrites that a file system leaves to us to end; see compat.h. Ending
 * one may sleep, and we learn of it in an interrupt. A worker for each would be the
 * dearest part of its way. So
 *
 * - who submits bios ends, with the next one, what has come meanwhile;
 * - where it is the submitter who was interrupted, a worker comes only if he was
 *   not back in VDISK_LEFT_NS;
 * - else a worker comes at once, and ends whatever has come until it runs.
 */
#ifndef _VDISK_LEFT_H
#define _VDISK_LEFT_H

#include <linux/hrtimer.h>
#include <linux/llist.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "compat.h"

#define VDISK_LEFT_NS 50000

struct vdisk;
struct vdisk_seg;

/* Of one processor. */
struct vdisk_left {
	struct vdisk *v;
	struct llist_head segs;		/* vdisk_seg.left */
	struct task_struct *submitter;	/* the last one; only to compare */
	int armed;			/* xchg: the timer will look at segs */
	struct hrtimer timer;
	struct work_struct work;
};

/* Before and after all I/O. Exit also after a failed init. May sleep. */
int vdisk_left_init(struct vdisk *v);
void vdisk_left_exit(struct vdisk *v);

/* A segment whose kiocb is left to us. Any context. */
void vdisk_left_add(struct vdisk_seg *seg);

/* End what does not have to wait. Process context; does not sleep. */
void vdisk_left_drain(struct vdisk_left *left);

/* For map(): somebody submits a bio. */
static inline void vdisk_left_submitter(struct vdisk_left __percpu *all)
{
	struct vdisk_left *left;

	if (!IOCB_DIO_CALLER_COMP)
		return;
	left = raw_cpu_ptr(all);
	WRITE_ONCE(left->submitter, current);
	if (!llist_empty(&left->segs))
		vdisk_left_drain(left);
}

#endif /* _VDISK_LEFT_H */
