/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rule of the submitter: what of `current` may reach the file system below.
 *
 * map() runs in the task that submits the bio, mostly a file system's writer. The
 * file system that holds the image would take that task's transaction, limits and
 * lists for its own. Two things are done about it: vdisk_submitter_allows() sends
 * to a worker what cannot be hidden, and struct vdisk_aside hides the rest around
 * each call into a file system. Documentation/locking.rst has the list, and why.
 */
#ifndef _VDISK_SUBMITTER_H
#define _VDISK_SUBMITTER_H

#include <linux/backing-dev.h>
#include <linux/bio.h>
#include <linux/blk-cgroup.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>

/*
 * What is put aside during a call into a file system, and put back after it.
 * Any context in which the call itself is legal.
 */
struct vdisk_aside {
	void *journal_info;		/* the submitter's transaction */
	struct bio_list *bio_list;	/* bios that wait for map() to return */
	unsigned int noio;
};

static inline void vdisk_aside_begin(struct vdisk_aside *aside)
{
	aside->journal_info = current->journal_info;
	aside->bio_list = current->bio_list;
	current->journal_info = NULL;
	current->bio_list = NULL;
	aside->noio = memalloc_noio_save();
}

static inline void vdisk_aside_end(const struct vdisk_aside *aside)
{
	memalloc_noio_restore(aside->noio);
	current->bio_list = aside->bio_list;
	current->journal_info = aside->journal_info;
}

/* Images in images in images: each level is a file system deeper. */
static inline bool vdisk_submitter_stack_is_short(void)
{
	unsigned long here = (unsigned long)__builtin_frame_address(0);

	return here - (unsigned long)end_of_stack(current) < THREAD_SIZE / 2;
}

/*
 * Bios that wait until map() returns may be out of the pool that a further one
 * would come from: current->bio_list[0] has those of this level, [1] those of the
 * levels above.
 */
static inline bool vdisk_submitter_has_bios(void)
{
	const struct bio_list *list = current->bio_list;

	return list && !(bio_list_empty(&list[0]) && bio_list_empty(&list[1]));
}

/*
 * The inode whose page cache the bio's first page is of, or NULL. Under RCU: the
 * inode of a page that is only read into may go at any time.
 */
static inline struct inode *vdisk_submitter_host(const struct bio *bio)
{
	struct address_space *mapping;

	mapping = folio_mapping(page_folio(bio_page(bio)));
	return mapping ? READ_ONCE(mapping->host) : NULL;
}

/*
 * Pages of a block device's page cache are a file system's metadata, read under
 * its locks even where the bio does not say REQ_META.
 */
static inline bool vdisk_submitter_is_metadata(const struct bio *bio)
{
	const struct inode *host;
	bool r;

	if (bio->bi_opf & REQ_META)
		return true;
	rcu_read_lock();
	host = vdisk_submitter_host(bio);
	r = host && S_ISBLK(host->i_mode);
	rcu_read_unlock();
	return r;
}

/*
 * Write-back is in the name of the group whose pages they are, but whoever submits
 * it is mostly in another. device-mapper's clone does not have the name, so it is
 * asked for where write-back took it from. True: @bio has that group's name now, a
 * worker must act in it. False: the group is the submitter's own.
 */
static inline bool vdisk_submitter_is_proxy(struct bio *bio)
{
#ifdef CONFIG_CGROUP_WRITEBACK
	struct cgroup_subsys_state *css = NULL;
	const struct bdi_writeback *wb;
	struct inode *host;

	if (!op_is_write(bio_op(bio)))
		return false;
	/* All of them, up to the group, are freed after a grace period. */
	rcu_read_lock();
	host = vdisk_submitter_host(bio);
	wb = host ? READ_ONCE(host->i_wb) : NULL;
	if (wb && inode_cgwb_enabled(host))
		css = wb->blkcg_css;
	if (css == blkcg_root_css)
		css = NULL;
	if (css)
		bio_associate_blkg_from_css(bio, css);
	rcu_read_unlock();
	return css;
#else
	return false;
#endif
}

/*
 * A worker is going to transfer for @bio: note in whose name. Before it leaves the
 * submitter's context; does not sleep.
 */
static inline void vdisk_submitter_sign(struct bio *bio)
{
	if (!bio_has_data(bio) || !vdisk_submitter_is_proxy(bio))
		bio_associate_blkg(bio);
}

/*
 * May a call into the file system be begun from map() for @bio, which has data?
 * Else a worker does it. Any context; does not sleep.
 */
static inline bool vdisk_submitter_allows(struct bio *bio)
{
	if (current->journal_info || vdisk_submitter_has_bios())
		return false;
	if (op_is_write(bio_op(bio)) && rlimit(RLIMIT_FSIZE) != RLIM_INFINITY)
		return false;
	return !vdisk_submitter_is_metadata(bio) &&
	       !vdisk_submitter_is_proxy(bio) &&
	       !vdisk_submitter_stack_is_short();
}

#endif /* _VDISK_SUBMITTER_H */
