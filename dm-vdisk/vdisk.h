/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the target share.
 *
 * A vdisk is a stack of layers, base first; a layer is a list of images laid
 * end to end; an image is one format over one backing. Only images of the top
 * layer are written.
 *
 * Lock order, outermost first:
 *
 *	v->stamp_lock		the stamp, before the first write
 *	image->grow_lock	the allocator and BEFORE phases
 *	image->commit_lock	one commit at a time
 *	backing->flush_lock	one flush at a time
 *	evict_lock		(grain.c) eviction of grains
 *	image->cache.lock	spinlock, interrupts off: cached table bytes,
 *				dirty lists, claims on units, image->seq
 *
 * claims_lock (backing.c), blocks_lock (cache.c), grains_lock (grain.c) and
 * v->lock are leaves. Lookups
 * take none of them: they run under RCU and image->seq.
 */
#ifndef _VDISK_H
#define _VDISK_H

#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/fs.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/seqlock.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

#include "../formats/format.h"
#include "backing.h"
#include "cache.h"
#include "grain.h"
#include "left.h"

#define DM_MSG_PREFIX "vdisk"

#define VDISK_MAX_LAYERS 64
#define VDISK_MAX_EXTENTS 4096

struct vdisk;
struct vdisk_io;

/* A table line, parsed. Strings point into copies that the structure owns. */
struct vdisk_extent_args {
	u64 sectors;
	const struct vdisk_format *format;
	const char *backing;		/* path or fd:N; NULL without a file */
	u64 start_sec;
	enum vdisk_size_rule size_rule;
};

struct vdisk_layer_args {
	unsigned int nr;
	struct vdisk_extent_args *extent;
};

/* Bytes to be changed in a file before the first write: a VMDK's content id. */
#define VDISK_STAMP_MAX 8

struct vdisk_stamp_args {
	const char *backing;		/* path or fd:N; NULL: nothing to stamp */
	u64 off;			/* bytes */
	char text[VDISK_STAMP_MAX + 1];	/* in place of as many bytes */
};

struct vdisk_args {
	bool write;
	bool buffered;
	unsigned int commit_ms;
	u64 prealloc_sec;		/* a file grows by so much; 0: by default */
	bool falloc;			/* and has the space then, not only length */
	bool queue;			/* writes without space wait for it */
	unsigned int nr_layers;
	struct vdisk_layer_args *layer;
	struct vdisk_stamp_args stamp;
};

/* The search for what earlier attachments left behind; see pool.c. */
enum vdisk_scan {
	VDISK_SCAN_WAITS,		/* for the first change */
	VDISK_SCAN_RUNS,
	VDISK_SCAN_OVER,
};

struct vdisk_image {
	struct vdisk *v;
	const struct vdisk_format *format;
	struct vdisk_backing *backing;	/* NULL without a file */
	const struct vdisk_extent_args *args;
	u64 first_sec;			/* in its layer */
	u64 end_sec;
	bool write;
	struct vdisk_geom geom;
	struct vdisk_cache cache;
	seqcount_spinlock_t seq;	/* table bytes change under cache.lock */
	struct xarray grains;		/* struct vdisk_grain by sector of the file */
	struct work_struct ahead_work;
	u64 ahead_sec;			/* READ_ONCE: read tables ahead of it */
	u64 missed_sec;			/* READ_ONCE: the last miss */

	/* Writers only. */
	struct list_head claims;	/* cache.lock */
	struct list_head freed;		/* cache.lock: vdisk_freed of this epoch */
	struct list_head reclaim;	/* cache.lock: those nobody uses */
	struct mutex grow_lock;		/* protects down to scan_lost */
	u64 data_end;			/* units end below; others READ_ONCE it */
	u64 file_len;			/* others READ_ONCE it */
	u64 room_end;			/* grow() prepared the file up to here */
	u64 next_off;			/* where appending goes on */
	u64 fresh_off;			/* from here on the file reads zero */
	u64 old_end;			/* next_off of the beginning */
	u64 spare_off;			/* a table that no plan used */
	u32 spare_len;			/* or 0 */
	struct xarray pool;		/* free units; see pool.c */
	unsigned int pool_nr;		/* others READ_ONCE it */
	struct xarray touched;		/* units freed while the scan runs */
	enum vdisk_scan scan;		/* others READ_ONCE it */
	bool scanned;			/* next_off is known */
	bool grown;			/* there may be something to trim */
	bool marked;			/* the image says that it is in use */
	bool to_stamp;			/* stamp_lock: VDISK_GEOM_STAMP is to do */
	bool scan_lost;			/* touched is not complete */
	unsigned long scan_until;	/* jiffies: the first writers wait */
	struct work_struct scan_work;
	wait_queue_head_t scan_wait;	/* for its end */
	struct mutex commit_lock;
};

struct vdisk_layer {
	unsigned int nr;
	u64 size_sec;
	struct vdisk_image **image;	/* in order of first_sec */
};

/* Counters of one CPU; the sums are in the status line. */
struct vdisk_stats {
	u64 direct;		/* I/O issued from map() */
	u64 queued;		/* bios that a worker took over */
	u64 alloc;		/* plans run */
	u64 commit;		/* epochs written */
	u64 fsync;
};

/* What became of the last write that needed space. */
enum vdisk_space_state {
	VDISK_SPACE_THERE,
	VDISK_SPACE_AWAITED,		/* enospc=queue: writes are parked */
	VDISK_SPACE_LACKING,		/* they fail */
};

struct vdisk {
	struct dm_target *ti;
	struct vdisk_args args;
	unsigned int nr_layers;
	struct vdisk_layer *layer;
	int deep;			/* where a walk may be cut short, or -1 */
	struct vdisk_cache levels;	/* level.c */
	struct list_head backings;	/* vdisk_backing.link */
	struct vdisk_backing *stamp;	/* what args.stamp names, or NULL */
	struct mutex stamp_lock;	/* one who stamps; others wait */
	bool text_stamped;		/* stamp_lock: args.stamp is done */
	bool stamped;			/* all is, or nothing to do; READ_ONCE */
	bool resumed;			/* changed in start_work, settle_work */
	int start_error;		/* of start_work */
	struct notifier_block reboot;
	struct completion rested;	/* rest_work is done */

	struct workqueue_struct *wq;		/* bios that must wait */
	struct workqueue_struct *scan_wq;	/* scans: writers wait for them */
	struct workqueue_struct *retry_wq;	/* the rest of short transfers */
	struct workqueue_struct *commit_wq;	/* ordered, freezable: commits */
	struct workqueue_struct *left_wq;	/* waits for no other */
	struct vdisk_left __percpu *left;
	struct work_struct commit_work;
	struct delayed_work timer;
	struct work_struct event_work;
	struct work_struct start_work;	/* at a resume */
	struct work_struct settle_work;	/* at a suspend */
	struct work_struct rest_work;	/* before a reboot */
	struct work_struct reclaim_work;
	struct srcu_struct inflight;	/* bios that may use what they looked up */
	mempool_t segs;
	struct bio_set bios;

	spinlock_t lock;		/* interrupts off: down to stopping */
	struct bio_list flushes;	/* waiting for the next commit */
	const char *failed;		/* why nothing is written any more */
	enum vdisk_space_state space;	/* others READ_ONCE it */
	unsigned long space_since;	/* jiffies: AWAITED */
	struct list_head parked;	/* vdisk_io.park: waiting for space */
	unsigned int nr_parked;		/* others READ_ONCE it */
	bool stopping;			/* nothing is parked; others READ_ONCE it */
	struct delayed_work space_work;	/* tries the parked again */
	struct vdisk_stats __percpu *stats;
};

/* Where a run of the guest's sectors is. */
struct vdisk_where {
	enum vdisk_kind kind;
	struct vdisk_image *image;	/* of a DATA or DEFLATE run, or a miss */
	unsigned int layer;		/* index of its layer */
	u64 sectors;
	u64 off;
	u32 len;
	u64 skip_sec;
	u64 miss_off;			/* -EAGAIN: image's table block there */
};

/* A part of a bio that goes to one place of one file. */
struct vdisk_seg {
	struct vdisk_io *io;
	struct vdisk_backing *backing;
	struct bvec_iter iter;		/* of io's bio: what is still to do */
	u64 off;			/* where iter starts in the file */
	bool dsync;			/* durable when it ends */
	blk_status_t status;		/* for waiter */
	struct completion *waiter;	/* one who waits, instead of the bio */
	atomic_t users;			/* of iocb: who submits, who completes */
	long ret;			/* from who completes: bytes, or -errno */
	struct llist_node left;		/* vdisk_left.segs */
	union {
		struct kiocb iocb;
		struct work_struct work;	/* a short one that goes on */
	};
};

/* Per bio. */
struct vdisk_io {
	struct vdisk *v;
	struct bvec_iter iter;		/* what no segment covers yet */
	atomic_t pending;		/* segments, and one for the worker */
	blk_status_t status;
	int inflight;			/* of v->inflight; -1: not entered */
	bool commit;			/* FUA whose entries are not durable */
	bool waited;			/* for space; it was parked */
	struct work_struct work;
	struct list_head park;		/* vdisk_claim.waiters, vdisk.parked */
	struct vdisk_seg seg;		/* the first, mostly the only one */
};

static inline struct bio *vdisk_io_bio(struct vdisk_io *io)
{
	return dm_bio_from_per_bio_data(io, sizeof(*io));
}

/*
 * Was the bio sent on to a device as it is? That device ended it then, and it
 * cannot be sent again.
 */
static inline bool vdisk_io_sent_on(struct vdisk_io *io)
{
	struct dm_dev *dev = io->seg.backing ? io->seg.backing->dev : NULL;

	return dev && vdisk_io_bio(io)->bi_bdev == dev->bdev;
}

/* In kernels for debugging: stand still where another one may overtake. */
#if defined(CONFIG_KASAN) || defined(VDISK_DEBUG)
void vdisk_debug_stall(void);
#else
static inline void vdisk_debug_stall(void)
{
}
#endif

#define vdisk_count(v, field) this_cpu_inc((v)->stats->field)

static inline const char *vdisk_name(const struct vdisk *v)
{
	return dm_device_name(dm_table_get_md(v->ti->table));
}

/* table.c APIs: the table line, both directions. May sleep. */
int vdisk_table_parse(struct vdisk_args *args, unsigned int argc, char **argv,
		      char **error);
void vdisk_table_free(struct vdisk_args *args);
void vdisk_table_print(const struct vdisk *v, char *result, unsigned int maxlen);

/*
 * image.c APIs: files, layers and their geometry. May sleep. vdisk_image_stop_all()
 * brings all into the files, when nothing is in flight, and forgets all that was
 * read. Where that fails the device fails, and so does the next table.
 */
int vdisk_image_open_all(struct vdisk *v, char **error);
int vdisk_image_start_all(struct vdisk *v);
void vdisk_image_stop_all(struct vdisk *v);
void vdisk_image_close_all(struct vdisk *v);

/*
 * step.c APIs: drive the steps of a format. A feed pins the blocks it shows. Each
 * call of the format is between vdisk_feed_begin() and vdisk_feed_retry(), which
 * says that table bytes changed meanwhile: call again. vdisk_feed_bytes() answers
 * a need for bytes, 0 or -errno (-EUCLEAN if the format breaks the rules).
 * vdisk_image_complain() logs what is wrong with an image; vdisk_image_refused()
 * too, and returns the error for -EUCLEAN. May sleep.
 */
struct vdisk_feed {
	struct vdisk_image *image;
	struct vdisk_step step;
	struct vdisk_block *pin[VDISK_MAX_VIEWS];
};

/*
 * How far entries may point. Inside the read section of image->seq that the
 * entries are read in: what grew for an entry grew before it was published.
 */
static inline void vdisk_step_limits(struct vdisk_step *step,
				     const struct vdisk_image *image)
{
	step->data_end = READ_ONCE(image->data_end);
	smp_rmb();	/* with grow_to(): what is in it is there */
	step->file_len = READ_ONCE(image->file_len);
	vdisk_debug_stall();
}

static inline unsigned int vdisk_feed_begin(struct vdisk_feed *feed)
{
	unsigned int seq = read_seqcount_begin(&feed->image->seq);

	vdisk_step_limits(&feed->step, feed->image);
	return seq;
}

static inline bool vdisk_feed_retry(const struct vdisk_feed *feed,
				    unsigned int seq)
{
	return read_seqcount_retry(&feed->image->seq, seq);
}

void vdisk_feed_init(struct vdisk_feed *feed, struct vdisk_image *image);
void vdisk_feed_reset(struct vdisk_feed *feed);
int vdisk_feed_bytes(struct vdisk_feed *feed);
void vdisk_feed_done(struct vdisk_feed *feed);
/* What is told beside the phrase of a step: a checksum with what it should be. */
#define VDISK_NUMBER_MAX 64
void vdisk_step_number(const struct vdisk_step *step,
		       char text[VDISK_NUMBER_MAX]);
void vdisk_image_complain(const struct vdisk_image *image,
			  const struct vdisk_step *step);
int vdisk_image_refused(const struct vdisk_image *image,
			const struct vdisk_step *step);

/* io.c APIs: the data path. */
int vdisk_io_map(struct vdisk *v, struct bio *bio);
int vdisk_io_end(struct vdisk *v, struct bio *bio, blk_status_t *error);
void vdisk_io_requeue(struct vdisk_io *io);
void vdisk_io_retry(struct vdisk_io *io);	/* from its beginning */
void vdisk_io_zero(struct bio *bio, struct bvec_iter start);
void vdisk_io_start(struct vdisk_seg *seg, struct vdisk_io *io,
		    struct vdisk_backing *backing, u64 off, u64 sectors);
void vdisk_io_seg_done(struct vdisk_seg *seg, blk_status_t status);

/*
 * level.c APIs. vdisk_level_find(): the layer to go on with at v->deep; it cuts
 * @sectors down to those for which it is so, if that is @known.
 * vdisk_level_learn() remembers how far down nothing is for the granules of a
 * run. Any context.
 */
int vdisk_level_find(struct vdisk *v, u64 sector, u64 *sectors, bool *known);
void vdisk_level_learn(struct vdisk *v, u64 sector, u64 sectors);

/*
 * ahead.c APIs: a lookup of a sector of the image had to load a block; a block
 * is used for the first time, maybe one that was loaded ahead (any context).
 */
void vdisk_ahead_missed(struct vdisk_image *image, u64 sector);
void vdisk_ahead_used(struct vdisk_block *b);
void vdisk_ahead_work(struct work_struct *work);

/*
 * lookup.c APIs. vdisk_lookup() answers for sectors of the disk, looking from
 * layer @top down; any context; 0, -EAGAIN (a table block is missing: image,
 * miss_off; the layers above where->layer have answered) or -EIO.
 * vdisk_lookup_wait() loads what is missing; may sleep. vdisk_read_below()
 * reads synchronously what the layers below @top hold.
 */
int vdisk_lookup(struct vdisk *v, int top, u64 sector, u64 sectors,
		 struct vdisk_where *where);
int vdisk_lookup_image(struct vdisk_image *image, u64 sector, u64 sectors,
		       struct vdisk_extent *ext, struct vdisk_where *where);
int vdisk_lookup_wait(struct vdisk *v, int top, u64 sector, u64 sectors,
		      struct vdisk_where *where);
int vdisk_read_below(struct vdisk *v, int top, u64 sector, void *buf,
		     u64 sectors);
struct vdisk_image *vdisk_image_at(struct vdisk_layer *layer, u64 sector);

/*
 * write.c, discard.c APIs: changing what is where. May sleep. Each does a
 * prefix of the sectors at io->iter: the number of sectors done; 0 if the bio
 * was parked behind another writer of the same unit; -EAGAIN if something
 * changed: look again; or -errno.
 */
s64 vdisk_write_alloc(struct vdisk_io *io, struct vdisk_image *image,
		      u64 sector, u64 sectors);
s64 vdisk_discard_run(struct vdisk_io *io, u64 sector, u64 sectors);

/*
 * nospace.c APIs. vdisk_nospace_end(): a write ended with BLK_STS_NOSPC; what
 * end_io is to return. vdisk_nospace_over(): one had what it needed. Both: any
 * context. vdisk_nospace_retry(): what is parked, now. vdisk_nospace_stop(): from
 * now on nothing is parked, until vdisk_nospace_start(). The others may sleep.
 */
int vdisk_nospace_end(struct vdisk *v, struct vdisk_io *io);
void vdisk_nospace_over(struct vdisk *v);
void vdisk_nospace_retry(struct vdisk *v);
void vdisk_nospace_stop(struct vdisk *v);
void vdisk_nospace_start(struct vdisk *v);
void vdisk_nospace_work(struct work_struct *work);

/* pool.c: the scan of one image. */
void vdisk_pool_scan(struct work_struct *work);

/*
 * discard.c: give back what was freed in epochs that are durable, when no bio
 * uses it any more. vdisk_reclaim_later() takes a list of struct vdisk_freed;
 * vdisk_reclaim_drain() waits until all of it is given back (may sleep).
 */
void vdisk_reclaim_later(struct vdisk_image *image, struct list_head *freed);
void vdisk_reclaim_drain(struct vdisk *v);
void vdisk_reclaim_work(struct work_struct *work);

/*
 * space.c: vdisk_space_rest() marks the image clean if no writer is about;
 * vdisk_space_stop() trims the file as well. vdisk_space_stamp() marks it in use and
 * closed again, which revokes what it says of its contents. May sleep.
 */
int vdisk_space_stamp(struct vdisk_image *image);
int vdisk_space_rest(struct vdisk_image *image);
int vdisk_space_stop(struct vdisk_image *image);

/*
 * stamp.c APIs. vdisk_stamp_start(): the images have been opened, nothing is written
 * yet. vdisk_stamp_write() makes the stamps durable, once; every write must find
 * v->stamped set or call it first. May sleep; 0 or -errno.
 */
int vdisk_stamp_open(struct vdisk *v, char **error);
void vdisk_stamp_start(struct vdisk *v);
int vdisk_stamp_write(struct vdisk *v);
void vdisk_stamp_close(struct vdisk *v);

/* commit.c APIs: durability. */
void vdisk_commit_queue(struct vdisk *v, struct bio *bio);
int vdisk_commit_all(struct vdisk *v);
int vdisk_commit_rest(struct vdisk *v);
void vdisk_commit_work(struct work_struct *work);
void vdisk_commit_timer(struct work_struct *work);
int vdisk_commit_image(struct vdisk_image *image);
bool vdisk_commit_settled(const struct vdisk_image *image);
void vdisk_commit_arm(struct vdisk *v);
void vdisk_trip(struct vdisk *v, const char *why);

#endif /* _VDISK_H */
