// SPDX-License-Identifier: GPL-2.0
/* Ending the writes that file systems leave to us. */
#include "vdisk.h"

#include <linux/sched/mm.h>

static void send_worker(struct vdisk_left *left)
{
	queue_work(left->v->left_wq, &left->work);
}

/* What the page cache has of the file is dropped at the end, with waiting. */
static bool may_wait(const struct vdisk_seg *seg)
{
	return seg->iocb.ki_filp->f_mapping->nrpages;
}

/* All that has come; with @wait, also what may have to wait. */
static void end_segs(struct vdisk_left *left, bool wait)
{
	struct llist_node *list = llist_reverse_order(llist_del_all(&left->segs));
	unsigned int noio = memalloc_noio_save();
	struct vdisk_seg *seg, *next;

	llist_for_each_entry_safe(seg, next, list, left) {
		if (wait || !may_wait(seg))
			vdisk_seg_end_left(seg);
		else if (llist_add(&seg->left, &left->segs))
			send_worker(left);
	}
	memalloc_noio_restore(noio);
}

void vdisk_left_drain(struct vdisk_left *left)
{
	end_segs(left, false);
}

static void left_work(struct work_struct *work)
{
	end_segs(container_of(work, struct vdisk_left, work), true);
}

static enum hrtimer_restart left_timer(struct hrtimer *timer)
{
	struct vdisk_left *left = container_of(timer, struct vdisk_left, timer);

	/* Then look: who adds later arms it again. */
	xchg(&left->armed, 0);
	if (!llist_empty(&left->segs))
		send_worker(left);
	return HRTIMER_NORESTART;
}

void vdisk_left_add(struct vdisk_seg *seg)
{
	struct vdisk_left *left = raw_cpu_ptr(seg->io->v->left);
	bool first;

	/*
	 * Once it is in the list another may end the segment, and with it the
	 * last bio of the device: vdisk_left_exit() waits for this section.
	 */
	rcu_read_lock();
	first = llist_add(&seg->left, &left->segs);
	if (in_task() || READ_ONCE(left->submitter) != current) {
		if (first)
			send_worker(left);
	} else if (!xchg(&left->armed, 1)) {
		hrtimer_start(&left->timer, ns_to_ktime(VDISK_LEFT_NS),
			      HRTIMER_MODE_REL_PINNED);
	}
	rcu_read_unlock();
}

int vdisk_left_init(struct vdisk *v)
{
	int cpu;

	if (!IOCB_DIO_CALLER_COMP)
		return 0;
	v->left_wq = alloc_workqueue("vdisk-end/%s", VDISK_WQ_FILES | WQ_PERCPU,
				     0, vdisk_name(v));
	v->left = alloc_percpu(struct vdisk_left);
	if (!v->left_wq || !v->left)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct vdisk_left *left = per_cpu_ptr(v->left, cpu);

		left->v = v;
		init_llist_head(&left->segs);
		hrtimer_setup(&left->timer, left_timer, CLOCK_MONOTONIC,
			      HRTIMER_MODE_REL_PINNED);
		INIT_WORK(&left->work, left_work);
	}
	return 0;
}

void vdisk_left_exit(struct vdisk *v)
{
	int cpu;

	if (v->left)
		synchronize_rcu();	/* with vdisk_left_add() */
	if (v->left_wq && v->left)
		for_each_possible_cpu(cpu)
			hrtimer_cancel(&per_cpu_ptr(v->left, cpu)->timer);
	if (v->left_wq)
		destroy_workqueue(v->left_wq);
	free_percpu(v->left);
}
