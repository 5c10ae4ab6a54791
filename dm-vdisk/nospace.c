// SPDX-License-Identifier: GPL-2.0
/*
 * Writes for which the backing has no space. They fail, or, with enospc=queue,
 * wait: each is taken out of the way when it ends and is tried again from its
 * beginning, by a timer, a message, or because units were given back. When that
 * has gone on for no_space_timeout, all of them fail, and so does each that
 * comes, until one of them had what it needed.
 *
 * A write that is parked has ended: it is not in v->inflight, and holds no claim.
 */
#include "vdisk.h"

#include <linux/module.h>

#define RETRY_MS 1000

static unsigned int no_space_timeout = 60;
module_param(no_space_timeout, uint, 0644);
MODULE_PARM_DESC(no_space_timeout, "Seconds that writes wait for space; 0 for ever");

static bool park(struct vdisk *v, struct vdisk_io *io)
{
	lockdep_assert_held(&v->lock);
	if (!v->args.queue || v->space != VDISK_SPACE_AWAITED || v->stopping ||
	    v->failed || vdisk_io_sent_on(io))
		return false;
	io->inflight = -1;
	io->waited = true;
	list_add_tail(&io->park, &v->parked);
	WRITE_ONCE(v->nr_parked, v->nr_parked + 1);
	return true;
}

int vdisk_nospace_end(struct vdisk *v, struct vdisk_io *io)
{
	bool first, parked, requeue;
	unsigned long flags;

	/* No data: a commit that had no space for a table. */
	if (vdisk_io_bio(io)->bi_opf & REQ_PREFLUSH)
		return DM_ENDIO_DONE;
	spin_lock_irqsave(&v->lock, flags);
	first = !v->space;
	if (first) {
		WRITE_ONCE(v->space, v->args.queue ? VDISK_SPACE_AWAITED :
						     VDISK_SPACE_LACKING);
		v->space_since = jiffies;
	}
	parked = park(v, io);
	requeue = v->stopping && v->args.queue && dm_noflush_suspending(v->ti);
	if (first)
		queue_work(v->commit_wq, &v->event_work);
	/* Under the lock: a bio that is parked is all that keeps the device. */
	if (parked)
		queue_delayed_work(v->wq, &v->space_work,
				   msecs_to_jiffies(RETRY_MS));
	spin_unlock_irqrestore(&v->lock, flags);
	if (parked)
		return DM_ENDIO_INCOMPLETE;
	return requeue ? DM_ENDIO_REQUEUE : DM_ENDIO_DONE;
}

void vdisk_nospace_over(struct vdisk *v)
{
	unsigned long flags;
	bool over;

	spin_lock_irqsave(&v->lock, flags);
	/* While others wait, one that fitted into what is left proves little. */
	over = v->space && list_empty(&v->parked);
	if (over)
		WRITE_ONCE(v->space, VDISK_SPACE_THERE);
	spin_unlock_irqrestore(&v->lock, flags);
	if (over)
		queue_work(v->commit_wq, &v->event_work);
}

/* Out of time: no more is parked, so what ends now ends. */
static bool timed_out(struct vdisk *v)
{
	unsigned int secs = READ_ONCE(no_space_timeout);

	lockdep_assert_held(&v->lock);
	if (!secs || v->space != VDISK_SPACE_AWAITED ||
	    time_before(jiffies, v->space_since + secs * HZ))
		return false;
	WRITE_ONCE(v->space, VDISK_SPACE_LACKING);
	return true;
}

static void end_parked(struct vdisk_io *io, blk_status_t status)
{
	struct bio *bio = vdisk_io_bio(io);

	bio->bi_status = status;
	bio_endio(bio);
}

void vdisk_nospace_work(struct work_struct *work)
{
	struct vdisk *v = container_of(to_delayed_work(work), struct vdisk,
				       space_work);
	struct vdisk_io *io, *next;
	LIST_HEAD(parked);
	bool late;

	spin_lock_irq(&v->lock);
	list_splice_init(&v->parked, &parked);
	WRITE_ONCE(v->nr_parked, 0);
	late = !list_empty(&parked) && timed_out(v);
	spin_unlock_irq(&v->lock);
	if (late) {
		DMERR("%s: no space came: writes that need some fail",
		      vdisk_name(v));
		queue_work(v->commit_wq, &v->event_work);
	}
	list_for_each_entry_safe(io, next, &parked, park) {
		list_del_init(&io->park);
		if (READ_ONCE(v->failed))
			end_parked(io, BLK_STS_IOERR);
		else if (late || (READ_ONCE(v->stopping) &&
				  dm_noflush_suspending(v->ti)))
			end_parked(io, BLK_STS_NOSPC);
		else
			vdisk_io_retry(io);
	}
}

void vdisk_nospace_retry(struct vdisk *v)
{
	spin_lock_irq(&v->lock);
	/* Who says so knows of space: it is awaited anew. */
	if (v->space == VDISK_SPACE_LACKING && list_empty(&v->parked))
		WRITE_ONCE(v->space, VDISK_SPACE_THERE);
	spin_unlock_irq(&v->lock);
	mod_delayed_work(v->wq, &v->space_work, 0);
}

/* Before a suspend: it waits for all bios, so none may wait for space. */
void vdisk_nospace_stop(struct vdisk *v)
{
	spin_lock_irq(&v->lock);
	WRITE_ONCE(v->stopping, true);
	spin_unlock_irq(&v->lock);
	mod_delayed_work(v->wq, &v->space_work, 0);
}

void vdisk_nospace_start(struct vdisk *v)
{
	spin_lock_irq(&v->lock);
	WRITE_ONCE(v->stopping, false);
	WRITE_ONCE(v->space, VDISK_SPACE_THERE);
	spin_unlock_irq(&v->lock);
}
