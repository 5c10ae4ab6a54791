// SPDX-License-Identifier: GPL-2.0
/* Inflating compressed units, and keeping the last ones. */
#include "vdisk.h"
#include "compat.h"

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/zlib.h>

#define WORKSPACES 2		/* that are there even without memory */
#define IDLE_MOST 8		/* that are kept for the next grain */
#define DEFLATE_LEVEL 6

static unsigned int grain_cache_mb = 32;
module_param(grain_cache_mb, uint, 0644);
MODULE_PARM_DESC(grain_cache_mb,
		 "Memory for inflated grains of all devices, in MiB");

static mempool_t workspaces;
static struct shrinker *shrinker;
static struct workqueue_struct *free_wq;
static DECLARE_WAIT_QUEUE_HEAD(grain_wait);

/*
 * Held while a grain that came from lru is taken out of its image's index: an
 * image that drops its grains waits for that, and may go away then.
 */
static DEFINE_MUTEX(evict_lock);

/* Protects lru and nr_bytes; a leaf. */
static DEFINE_SPINLOCK(grains_lock);
static LIST_HEAD(lru);
static unsigned long nr_bytes;

static void *workspace_alloc(gfp_t gfp, void *size)
{
	return kvmalloc((size_t)size, GFP_KERNEL);
}

static void workspace_free(void *p, void *size)
{
	kvfree(p);
}

/*
 * Workspaces are large, and new memory may be zeroed each time: those that were
 * used last are used first. The list is in their own first bytes.
 */
static DEFINE_SPINLOCK(idle_lock);
static LIST_HEAD(idle);
static unsigned int nr_idle;

static void *workspace_idle(void)
{
	struct list_head *p = NULL;

	spin_lock(&idle_lock);
	if (nr_idle) {
		p = idle.next;
		list_del(p);
		nr_idle--;
	}
	spin_unlock(&idle_lock);
	return p;
}

static void *workspace_get(void)
{
	return workspace_idle() ?: mempool_alloc(&workspaces, GFP_NOIO);
}

static void workspace_put(void *p)
{
	/* Whoever waits for one of the pool waits until the pool has one. */
	bool keep = READ_ONCE(workspaces.curr_nr) >= workspaces.min_nr;

	if (keep) {
		spin_lock(&idle_lock);
		keep = nr_idle < min(IDLE_MOST, num_online_cpus());
		if (keep) {
			list_add((struct list_head *)p, &idle);
			nr_idle++;
		}
		spin_unlock(&idle_lock);
	}
	if (!keep)
		mempool_free(p, &workspaces);
}

static unsigned long workspace_pages(void)
{
	return (unsigned long)workspaces.pool_data >> PAGE_SHIFT;
}

/* Memory is short: the pool is enough. How many pages that gave. */
static unsigned long workspaces_drop(void)
{
	unsigned long pages = 0;
	void *p;

	while ((p = workspace_idle())) {
		kvfree(p);
		pages += workspace_pages();
	}
	return pages;
}

/* After a grace period, and where vfree() may sleep. */
static void grain_free_work(struct work_struct *work)
{
	struct vdisk_grain *g = container_of(to_rcu_work(work),
					     struct vdisk_grain, free);

	kvfree(g->data);
	kfree(g);
}

void vdisk_grain_put(struct vdisk_grain *g)
{
	if (!refcount_dec_and_test(&g->refs))
		return;
	INIT_RCU_WORK(&g->free, grain_free_work);
	queue_rcu_work(free_wq, &g->free);
}

static struct vdisk_grain *grain_alloc(struct vdisk_image *image, u64 off,
				       u64 sector)
{
	struct vdisk_grain *g = kzalloc(sizeof(*g), GFP_NOIO);

	if (!g)
		return NULL;
	g->len = image->geom.unit_sec << VDISK_SHIFT;
	g->data = kvmalloc(g->len, GFP_KERNEL);	/* in a noio scope */
	if (!g->data) {
		kfree(g);
		return NULL;
	}
	g->off = off;
	g->sector = sector;
	g->image = image;
	refcount_set(&g->refs, 2);
	INIT_LIST_HEAD(&g->lru);
	return g;
}

/* Out of the index; false if somebody else did it. */
static bool grain_unlink(struct vdisk_grain *g)
{
	unsigned long i = g->off >> VDISK_SHIFT, flags;
	bool ours;

	xa_lock_irqsave(&g->image->grains, flags);
	ours = xa_load(&g->image->grains, i) == g;
	if (ours)
		__xa_erase(&g->image->grains, i);
	xa_unlock_irqrestore(&g->image->grains, flags);
	if (!ours)
		return false;
	spin_lock_irqsave(&grains_lock, flags);
	if (!list_empty(&g->lru)) {
		list_del_init(&g->lru);
		nr_bytes -= g->len;
	}
	spin_unlock_irqrestore(&grains_lock, flags);
	return true;
}

/* The coldest grain, with a reference; those used lately get another turn. */
static struct vdisk_grain *pick_cold(unsigned long *scan)
{
	struct vdisk_grain *g, *found = NULL;

	spin_lock_irq(&grains_lock);
	while (!found && *scan && !list_empty(&lru)) {
		--*scan;
		g = list_last_entry(&lru, struct vdisk_grain, lru);
		list_move(&g->lru, &lru);
		if (READ_ONCE(g->used))
			WRITE_ONCE(g->used, false);
		else if (refcount_inc_not_zero(&g->refs))
			found = g;
	}
	spin_unlock_irq(&grains_lock);
	return found;
}

static unsigned long evict(unsigned long bytes, unsigned long scan)
{
	unsigned long done = 0;
	struct vdisk_grain *g;

	if (!mutex_trylock(&evict_lock))
		return 0;
	while (done < bytes && (g = pick_cold(&scan))) {
		if (grain_unlink(g)) {
			done += g->len;
			vdisk_grain_put(g);
		}
		vdisk_grain_put(g);
	}
	mutex_unlock(&evict_lock);
	return done;
}

static void keep_limit(void)
{
	unsigned long limit = (unsigned long)READ_ONCE(grain_cache_mb) << 20;

	if (READ_ONCE(nr_bytes) > limit)
		evict(READ_ONCE(nr_bytes) - limit, 64);
}

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	unsigned long pages = READ_ONCE(nr_bytes) >> PAGE_SHIFT;

	return pages + READ_ONCE(nr_idle) * workspace_pages() ?: SHRINK_EMPTY;
}

static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	unsigned long done;

	done = evict(sc->nr_to_scan << PAGE_SHIFT, 64) >> PAGE_SHIFT;
	return done < sc->nr_to_scan ? done + workspaces_drop() : done;
}

/* Who sees READY sees the bytes: pairs with the release in grain_load(). */
static enum vdisk_grain_state grain_state(struct vdisk_grain *g)
{
	return smp_load_acquire(&g->state);	/* pairs with grain_load() */
}

struct vdisk_grain *vdisk_grain_find(struct vdisk_image *image, u64 off)
{
	struct vdisk_grain *g;

	rcu_read_lock();
	g = xa_load(&image->grains, off >> VDISK_SHIFT);
	if (g && (grain_state(g) != VDISK_GRAIN_READY ||
		  !refcount_inc_not_zero(&g->refs)))
		g = NULL;
	rcu_read_unlock();
	if (g && !READ_ONCE(g->used))
		WRITE_ONCE(g->used, true);
	return g;
}

static int read_record(struct vdisk_backing *b, u64 off, u8 *buf, u32 len)
{
	u32 n;
	int r;

	if (!is_vmalloc_addr(buf))
		return b->ops->rw(b, false, off, buf, len);
	for (; len; len -= n, buf += n, off += n) {
		n = min_t(u32, len, PAGE_SIZE);
		r = b->ops->rw(b, false, off,
			       page_address(vmalloc_to_page(buf)), n);
		if (r)
			return r;
	}
	return 0;
}

/* RFC 1950 says how its two header bytes are to be recognised. */
static int window_bits(const u8 *stream, u32 len)
{
	if (len >= 2 && (stream[0] & 15) == 8 &&
	    (stream[0] << 8 | stream[1]) % 31 == 0)
		return MAX_WBITS;
	return -MAX_WBITS;
}

/* A stream that is shorter than the grain leaves zeroes; a longer is damage. */
static int inflate_into(struct vdisk_grain *g, const u8 *stream, u32 len)
{
	struct z_stream_s z = {
		.next_in = stream,
		.avail_in = len,
		.next_out = g->data,
		.avail_out = g->len,
	};
	int r;

	z.workspace = workspace_get();
	r = zlib_inflateInit2(&z, window_bits(stream, len));
	if (r == Z_OK) {
		r = zlib_inflate(&z, Z_FINISH);
		zlib_inflateEnd(&z);
	}
	workspace_put(z.workspace);
	if (r != Z_STREAM_END)
		return -EIO;
	memset(g->data + z.total_out, 0, g->len - z.total_out);
	return 0;
}

static int grain_read(struct vdisk_grain *g, u32 len)
{
	struct vdisk_image *image = g->image;
	u32 stream_off, stream_len;
	struct vdisk_feed feed;
	u8 *buf;
	int r;

	buf = kvmalloc(round_up(len, VDISK_SECTOR), GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	r = read_record(image->backing, g->off, buf,
			round_up(len, VDISK_SECTOR));
	if (r)
		goto out;
	vdisk_feed_init(&feed, image);
	r = image->format->unpack(&image->geom, &feed.step, g->sector, buf,
				  len, &stream_off, &stream_len);
	if (!r) {
		r = inflate_into(g, buf + stream_off, stream_len);
		feed.step.why = "Compressed grain is damaged";
		feed.step.value = g->sector;
	}
	if (r) {
		vdisk_image_complain(image, &feed.step);
		r = -EIO;
	}
out:
	kvfree(buf);
	return r;
}

/*
 * The one in the index, with a reference, or @fresh put there. The lock may be
 * dropped for memory, and another grain be there after it: the exchange looks
 * again.
 */
static struct vdisk_grain *grain_insert(struct vdisk_image *image,
					struct vdisk_grain *fresh)
{
	struct vdisk_grain *g;

	xa_lock_irq(&image->grains);
	g = __xa_cmpxchg(&image->grains, fresh->off >> VDISK_SHIFT, NULL,
			 fresh, GFP_NOIO);
	if (!g)
		g = fresh;
	else if (xa_is_err(g))
		g = ERR_PTR(xa_err(g));
	else
		refcount_inc(&g->refs);
	xa_unlock_irq(&image->grains);
	return g;
}

static void grain_load(struct vdisk_grain *g, u32 len)
{
	g->error = grain_read(g, len);
	if (!g->error) {
		spin_lock_irq(&grains_lock);
		list_add(&g->lru, &lru);
		nr_bytes += g->len;
		spin_unlock_irq(&grains_lock);
	} else if (grain_unlink(g)) {
		vdisk_grain_put(g);
	}
	/* Pairs with grain_state(). */
	smp_store_release(&g->state, g->error ? VDISK_GRAIN_FAILED
					      : VDISK_GRAIN_READY);
	wake_up_all(&grain_wait);
	keep_limit();
}

/* Read and inflate it, or wait for who does. */
static struct vdisk_grain *grain_obtain(struct vdisk_image *image, u64 sector,
					const struct vdisk_where *where)
{
	struct vdisk_grain *g, *fresh;
	int r;

	fresh = grain_alloc(image, where->off, sector);
	if (!fresh)
		return ERR_PTR(-ENOMEM);
	g = grain_insert(image, fresh);
	if (g == fresh) {
		grain_load(g, where->len);
	} else {
		kvfree(fresh->data);
		kfree(fresh);
		if (IS_ERR(g))
			return g;
		wait_event(grain_wait, grain_state(g) != VDISK_GRAIN_LOADING);
	}
	if (g->state == VDISK_GRAIN_READY)
		return g;
	r = g->error;
	vdisk_grain_put(g);
	return ERR_PTR(r);
}

struct vdisk_grain *vdisk_grain_get(struct vdisk_image *image, u64 sector,
				    const struct vdisk_where *where)
{
	struct vdisk_grain *g = vdisk_grain_find(image, where->off);

	sector -= where->skip_sec;
	if (!g)
		g = grain_obtain(image, sector, where);
	if (IS_ERR(g) || g->sector == sector)
		return g;
	DMERR_LIMIT("%s: %s: Compressed grain is of another sector: %llu",
		    vdisk_name(image->v), image->backing->path, sector);
	vdisk_grain_put(g);
	return ERR_PTR(-EIO);
}

int vdisk_grain_deflate(const u8 *from, u32 len, u8 *to, u32 room)
{
	struct z_stream_s z = {
		.next_in = from,
		.avail_in = len,
		.next_out = to,
		.avail_out = room,
	};
	int r;

	z.workspace = workspace_get();
	r = zlib_deflateInit2(&z, DEFLATE_LEVEL, Z_DEFLATED, MAX_WBITS,
			      DEF_MEM_LEVEL, Z_DEFAULT_STRATEGY);
	if (r == Z_OK) {
		r = zlib_deflate(&z, Z_FINISH);
		zlib_deflateEnd(&z);
	}
	workspace_put(z.workspace);
	return r == Z_STREAM_END ? (int)z.total_out : -E2BIG;
}

void vdisk_grain_forget(struct vdisk_image *image, u64 off)
{
	struct vdisk_grain *g = vdisk_grain_find(image, off);

	if (!g)
		return;
	if (grain_unlink(g))
		vdisk_grain_put(g);
	vdisk_grain_put(g);
}

void vdisk_grain_forget_all(struct vdisk_image *image)
{
	struct vdisk_grain *g;
	unsigned long i;

	mutex_lock(&evict_lock);
	xa_for_each(&image->grains, i, g)
		vdisk_grain_forget(image, (u64)i << VDISK_SHIFT);
	mutex_unlock(&evict_lock);
	xa_destroy(&image->grains);
}

int vdisk_grain_module_init(void)
{
	size_t size = max(zlib_inflate_workspacesize(),
			  zlib_deflate_workspacesize(MAX_WBITS, MAX_MEM_LEVEL));
	int r;

	r = mempool_init(&workspaces, WORKSPACES, workspace_alloc,
			 workspace_free, (void *)size);
	if (r)
		return r;
	r = -ENOMEM;
	free_wq = alloc_workqueue("vdisk-grains", WQ_MEM_RECLAIM | WQ_PERCPU, 0);
	if (!free_wq)
		goto bad;
	shrinker = vdisk_shrinker_alloc("dm-vdisk-grains");
	if (!shrinker)
		goto bad_wq;
	shrinker->count_objects = shrink_count;
	shrinker->scan_objects = shrink_scan;
	shrinker->seeks = DEFAULT_SEEKS;
	r = vdisk_shrinker_register(shrinker, "dm-vdisk-grains");
	if (!r)
		return 0;
	vdisk_shrinker_drop(shrinker);
bad_wq:
	destroy_workqueue(free_wq);
bad:
	mempool_exit(&workspaces);
	return r;
}

void vdisk_grain_module_exit(void)
{
	vdisk_shrinker_free(shrinker);
	rcu_barrier();		/* then all that is to be freed is queued */
	destroy_workqueue(free_wq);
	workspaces_drop();
	mempool_exit(&workspaces);
}
