// SPDX-License-Identifier: GPL-2.0
/* The device-mapper target `vdisk`: a disk out of virtual-disk image files. */
#include "vdisk.h"
#include "compat.h"

#include <linux/magic.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/suspend.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#define MIN_SEGS 64
#define MAX_DISCARD_SECTORS (1u << 21)	/* 1 GiB */
#define MAX_BEST_IO (4u << 20)	/* the kernel reads ahead twice as much */
#define REBOOT_WAIT (30 * HZ)	/* for a backing, before a reboot goes on */

static bool hibernating;	/* READ_ONCE: a memory image is being made */

static const char *vdisk_health(const struct vdisk *v)
{
	const char *failed = READ_ONCE(v->failed);

	if (failed)
		return failed;
	return READ_ONCE(v->space) ? "out-of-space" : "ok";
}

static void vdisk_event(struct work_struct *work)
{
	struct vdisk *v = container_of(work, struct vdisk, event_work);
	struct mapped_device *md = dm_table_get_md(v->ti->table);
	unsigned int noio = memalloc_noio_save();
	char health[64];
	char *env[2] = { health, NULL };

	/* For those that wait for the device, and those that wait for udev. */
	dm_table_event(v->ti->table);
	snprintf(health, sizeof(health), "DM_VDISK_HEALTH=%s",
		 vdisk_health(v));
	kobject_uevent_env(&disk_to_dev(dm_disk(md))->kobj, KOBJ_CHANGE, env);
	memalloc_noio_restore(noio);
}

/*
 * The root disk stays attached across a reboot: commit it and clear its in-use
 * mark from here. In the queue of the commits, since a suspend may come meanwhile.
 */
static void vdisk_rest(struct work_struct *work)
{
	struct vdisk *v = container_of(work, struct vdisk, rest_work);
	unsigned int noio = memalloc_noio_save();

	if (v->resumed && vdisk_commit_rest(v))
		DMERR("%s: cannot bring the image to rest", vdisk_name(v));
	memalloc_noio_restore(noio);
	complete(&v->rested);
}

static int vdisk_reboot(struct notifier_block *nb, unsigned long event, void *p)
{
	struct vdisk *v = container_of(nb, struct vdisk, reboot);

	/* What the memory image of the sleeping system has is not to change. */
	if (READ_ONCE(hibernating))
		return NOTIFY_DONE;
	reinit_completion(&v->rested);
	queue_work(v->commit_wq, &v->rest_work);
	if (!wait_for_completion_timeout(&v->rested, REBOOT_WAIT))
		DMERR("%s: backing does not answer: not at rest", vdisk_name(v));
	return NOTIFY_DONE;
}

static int vdisk_pm(struct notifier_block *nb, unsigned long event, void *p)
{
	if (event == PM_HIBERNATION_PREPARE || event == PM_POST_HIBERNATION)
		WRITE_ONCE(hibernating, event == PM_HIBERNATION_PREPARE);
	return NOTIFY_DONE;
}

static struct notifier_block vdisk_pm_notifier = { .notifier_call = vdisk_pm };

static void vdisk_dtr(struct dm_target *ti)
{
	struct vdisk *v = ti->private;

	if (v->reboot.notifier_call)
		unregister_reboot_notifier(&v->reboot);
	cancel_delayed_work_sync(&v->space_work);
	if (v->wq)
		destroy_workqueue(v->wq);
	if (v->scan_wq)
		destroy_workqueue(v->scan_wq);
	if (v->retry_wq)
		destroy_workqueue(v->retry_wq);
	vdisk_left_exit(v);
	if (v->commit_wq) {
		cancel_delayed_work_sync(&v->timer);
		destroy_workqueue(v->commit_wq);
	}
	vdisk_stamp_close(v);
	vdisk_image_close_all(v);
	cleanup_srcu_struct(&v->inflight);
	bioset_exit(&v->bios);
	mempool_exit(&v->segs);
	free_percpu(v->stats);
	vdisk_table_free(&v->args);
	kfree(v);
}

static int vdisk_alloc_resources(struct vdisk *v)
{
	int r;

	v->stats = alloc_percpu(struct vdisk_stats);
	if (!v->stats)
		return -ENOMEM;
	r = mempool_init_kmalloc_pool(&v->segs, MIN_SEGS,
				      sizeof(struct vdisk_seg));
	if (!r)
		r = bioset_init(&v->bios, MIN_SEGS, 0, 0);
	if (r)
		return r;
	v->wq = alloc_workqueue("vdisk/%s", VDISK_WQ_FILES | WQ_UNBOUND, 0,
				vdisk_name(v));
	/* A worker of wq may wait for what those of these two do. */
	v->scan_wq = alloc_workqueue("vdisk-scan/%s",
				     VDISK_WQ_FILES | WQ_UNBOUND, 0,
				     vdisk_name(v));
	v->retry_wq = alloc_workqueue("vdisk-retry/%s",
				      VDISK_WQ_FILES | WQ_PERCPU, 0,
				      vdisk_name(v));
	/* Nothing is committed behind the back of a memory image on disk. */
	v->commit_wq = alloc_ordered_workqueue("vdisk-commit/%s",
					       VDISK_WQ_FILES | WQ_FREEZABLE,
					       vdisk_name(v));
	if (!v->wq || !v->scan_wq || !v->retry_wq || !v->commit_wq)
		return -ENOMEM;
	return vdisk_left_init(v);
}

static void vdisk_set_target(struct dm_target *ti)
{
	struct vdisk *v = ti->private;

	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	if (v->args.write) {
		ti->num_discard_bios = 1;
		ti->discards_supported = true;
		ti->num_write_zeroes_bios = 1;
	}
	ti->per_io_data_size = sizeof(struct vdisk_io);
}

/*
 * All that a suspend leaves in memory goes into the files. In a worker: the limits
 * and the signals of whoever suspends the device are none of its own.
 */
static void vdisk_settle(struct work_struct *work)
{
	struct vdisk *v = container_of(work, struct vdisk, settle_work);
	unsigned int noio = memalloc_noio_save();

	vdisk_image_stop_all(v);
	v->resumed = false;
	memalloc_noio_restore(noio);
}

/* The headers are read anew, likewise. */
static void vdisk_start(struct work_struct *work)
{
	struct vdisk *v = container_of(work, struct vdisk, start_work);

	v->start_error = vdisk_image_start_all(v);
	v->resumed = !v->start_error;
}

static int vdisk_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct vdisk *v;
	int r;

	ti->error = "Cannot allocate device";
	v = kzalloc(sizeof(*v), GFP_KERNEL);
	if (!v)
		return -ENOMEM;
	r = init_srcu_struct(&v->inflight);
	if (r) {
		kfree(v);
		return r;
	}
	v->ti = ti;
	ti->private = v;
	vdisk_cache_init(&v->levels, NULL);
	INIT_LIST_HEAD(&v->backings);
	spin_lock_init(&v->lock);
	mutex_init(&v->stamp_lock);
	bio_list_init(&v->flushes);
	INIT_WORK(&v->commit_work, vdisk_commit_work);
	INIT_WORK(&v->event_work, vdisk_event);
	INIT_WORK(&v->start_work, vdisk_start);
	INIT_WORK(&v->settle_work, vdisk_settle);
	INIT_WORK(&v->rest_work, vdisk_rest);
	init_completion(&v->rested);
	INIT_WORK(&v->reclaim_work, vdisk_reclaim_work);
	INIT_DELAYED_WORK(&v->timer, vdisk_commit_timer);
	INIT_LIST_HEAD(&v->parked);
	INIT_DELAYED_WORK(&v->space_work, vdisk_nospace_work);

	r = vdisk_alloc_resources(v);
	if (!r)
		r = vdisk_table_parse(&v->args, argc, argv, &ti->error);
	if (r)
		goto bad;
	if (v->args.write && !(dm_table_get_mode(ti->table) & BLK_OPEN_WRITE)) {
		ti->error = "Device is read-only, the table says rw";
		r = -EROFS;
		goto bad;
	}
	r = vdisk_image_open_all(v, &ti->error);
	if (!r)
		r = vdisk_stamp_open(v, &ti->error);
	if (r)
		goto bad;
	vdisk_set_target(ti);
	v->reboot.notifier_call = vdisk_reboot;
	register_reboot_notifier(&v->reboot);
	return 0;
bad:
	vdisk_dtr(ti);
	return r;
}

static int vdisk_map(struct dm_target *ti, struct bio *bio)
{
	return vdisk_io_map(ti->private, bio);
}

static int vdisk_end_io(struct dm_target *ti, struct bio *bio,
			blk_status_t *error)
{
	struct vdisk_io *io = dm_per_bio_data(bio, sizeof(*io));
	struct vdisk *v = ti->private;
	int r = vdisk_io_end(v, bio, error);

	if (likely(!READ_ONCE(v->space) && *error != BLK_STS_NOSPC) ||
	    !op_is_write(bio_op(bio)))
		return r;
	if (*error == BLK_STS_NOSPC)
		return vdisk_nospace_end(v, io);
	if (!*error && io->waited)
		vdisk_nospace_over(v);
	return r;
}

static int vdisk_preresume(struct dm_target *ti)
{
	struct vdisk *v = ti->private;

	/* A resume of what was not suspended finds its caches in use. */
	if (v->resumed)
		return 0;
	queue_work(v->commit_wq, &v->start_work);
	flush_work(&v->start_work);
	if (!v->start_error)
		vdisk_nospace_start(v);
	return v->start_error;
}

/*
 * The longest unit of the top layer, in bytes: what a guest aligns to it, and
 * writes at once, needs no fill around it. 0 if no unit is a multiple of a block.
 */
static unsigned int best_io(const struct vdisk *v, unsigned int block)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	u64 best = 0, len;
	unsigned int i;

	for (i = 0; i < top->nr; i++) {
		len = (u64)top->image[i]->geom.unit_sec << VDISK_SHIFT;
		if (len <= MAX_BEST_IO && !(len & (block - 1)))
			best = max(best, len);
	}
	return (unsigned int)best;
}

/* Bios of every backing are sent on to a device as they are. */
static bool remaps_all(const struct vdisk *v)
{
	struct vdisk_backing *b;

	list_for_each_entry(b, &v->backings, link)
		if (b->file)
			return false;
	return true;
}

/*
 * A file system that sums up what it writes wants pages that nobody changes
 * meanwhile, and gets the guest's own ones.
 */
static bool stable_writes(const struct vdisk *v)
{
	struct vdisk_backing *b;
	struct super_block *sb;

	list_for_each_entry(b, &v->backings, link) {
		if (!b->file || !b->direct || !b->write)
			continue;
		sb = file_inode(b->file)->i_sb;
		if (sb->s_iflags & SB_I_STABLE_WRITES ||
		    sb->s_magic == BTRFS_SUPER_MAGIC)
			return true;
	}
	return false;
}

/* After device-mapper has set its queue up for the table. */
static void vdisk_resume(struct dm_target *ti)
{
	struct vdisk *v = ti->private;

	vdisk_queue_features(dm_disk(dm_table_get_md(ti->table))->queue,
			     stable_writes(v), remaps_all(v));
}

static void vdisk_presuspend(struct dm_target *ti)
{
	vdisk_nospace_stop(ti->private);
}

static void vdisk_presuspend_undo(struct dm_target *ti)
{
	vdisk_nospace_start(ti->private);
}

static void vdisk_postsuspend(struct dm_target *ti)
{
	struct vdisk *v = ti->private;

	if (!v->resumed)
		return;
	cancel_delayed_work_sync(&v->space_work);
	flush_workqueue(v->wq);
	flush_workqueue(v->scan_wq);
	cancel_delayed_work_sync(&v->timer);
	queue_work(v->commit_wq, &v->settle_work);
	flush_workqueue(v->commit_wq);
}

static void status_info(struct vdisk *v, char *result, unsigned int maxlen)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	const char *mode = v->args.write ? "rw" : "ro";
	struct vdisk_stats sum = { 0 };
	unsigned int sz = 0, i;
	u64 free = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct vdisk_stats *s = per_cpu_ptr(v->stats, cpu);

		sum.direct += s->direct;
		sum.queued += s->queued;
		sum.alloc += s->alloc;
		sum.commit += s->commit;
		sum.fsync += s->fsync;
	}
	for (i = 0; i < top->nr; i++)
		free += READ_ONCE(top->image[i]->pool_nr);
	DMEMIT("%s %s %u %llu %llu %llu %llu %llu %u %llu",
	       READ_ONCE(v->failed) ? "ro" : mode, vdisk_health(v),
	       v->nr_layers, sum.direct, sum.queued, sum.alloc, sum.commit,
	       sum.fsync, READ_ONCE(v->nr_parked), free);
}

static int vdisk_message(struct dm_target *ti, unsigned int argc, char **argv,
			 char *result, unsigned int maxlen)
{
	if (argc == 1 && !strcasecmp(argv[0], "retry")) {
		vdisk_nospace_retry(ti->private);
		return 0;
	}
	DMERR("Unknown message");
	return -EINVAL;
}

static void vdisk_status(struct dm_target *ti, status_type_t type,
			 unsigned int flags, char *result, unsigned int maxlen)
{
	struct vdisk *v = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		status_info(v, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		vdisk_table_print(v, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",mode=%s,layers=%u;", v->args.write ? "rw" : "ro",
		       v->nr_layers);
		break;
	}
}

/* Only devices that bios are sent to as they are; others are read as files. */
static int vdisk_iterate_devices(struct dm_target *ti,
				 iterate_devices_callout_fn fn, void *data)
{
	struct vdisk *v = ti->private;
	struct vdisk_backing *b;
	int r;

	list_for_each_entry(b, &v->backings, link) {
		if (!b->dev || b->file)
			continue;
		r = fn(ti, b->dev, 0, bdev_nr_sectors(b->dev->bdev), data);
		if (r)
			return r;
	}
	return 0;
}

/* Guests address 512-byte sectors in all these formats, whatever is below. */
static void vdisk_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct vdisk *v = ti->private;

	limits->logical_block_size = VDISK_SECTOR;
	/* Less than a page makes the host read before it writes. */
	limits->physical_block_size = max_t(unsigned int, PAGE_SIZE,
					    limits->physical_block_size);
	limits->io_min = max(limits->physical_block_size, limits->io_min);
	limits->io_opt = best_io(v, limits->physical_block_size);
	vdisk_limit_features(limits, stable_writes(v), remaps_all(v));
	if (!v->args.write)
		return;
	/* Less than a unit is punched out of the file where it is. */
	limits->discard_granularity = PAGE_SIZE;
	limits->max_discard_sectors = MAX_DISCARD_SECTORS;
	limits->max_hw_discard_sectors = MAX_DISCARD_SECTORS;
	vdisk_limit_zeroes(limits, MAX_DISCARD_SECTORS);
}

static struct target_type vdisk_target = {
	.name			= "vdisk",
	.version		= { 1, 1, 0 },
	.module			= THIS_MODULE,
	.ctr			= vdisk_ctr,
	.dtr			= vdisk_dtr,
	.map			= vdisk_map,
	.end_io			= vdisk_end_io,
	.preresume		= vdisk_preresume,
	.resume			= vdisk_resume,
	.presuspend		= vdisk_presuspend,
	.presuspend_undo	= vdisk_presuspend_undo,
	.postsuspend		= vdisk_postsuspend,
	.status			= vdisk_status,
	.message		= vdisk_message,
	.iterate_devices	= vdisk_iterate_devices,
	.io_hints		= vdisk_io_hints,
};

static int __init vdisk_init(void)
{
	int r = vdisk_cache_module_init();

	if (r)
		return r;
	r = vdisk_grain_module_init();
	if (r)
		goto bad_grain;
	r = register_pm_notifier(&vdisk_pm_notifier);
	if (r)
		goto bad_pm;
	r = dm_register_target(&vdisk_target);
	if (r)
		goto bad_target;
	return 0;
bad_target:
	unregister_pm_notifier(&vdisk_pm_notifier);
bad_pm:
	vdisk_grain_module_exit();
bad_grain:
	vdisk_cache_module_exit();
	return r;
}

static void __exit vdisk_exit(void)
{
	dm_unregister_target(&vdisk_target);
	unregister_pm_notifier(&vdisk_pm_notifier);
	vdisk_grain_module_exit();
	vdisk_cache_module_exit();
}

module_init(vdisk_init);
module_exit(vdisk_exit);

MODULE_DESCRIPTION(DM_NAME " target for virtual-disk images");
MODULE_LICENSE("GPL");
