// SPDX-License-Identifier: GPL-2.0
/* The table cache: loading, pinning, and giving memory back. */
#include "vdisk.h"
#include "compat.h"

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/wait.h>

static unsigned int table_cache_mb = 64;
module_param(table_cache_mb, uint, 0644);
MODULE_PARM_DESC(table_cache_mb,
		 "Memory for translation tables of all devices, in MiB");

static struct kmem_cache *block_slab;
static struct shrinker *shrinker;

/*
 * Protects lru and every block's place in it; nr_blocks and nr_shadows, of the
 * blocks in it. Nests inside cache->lock; whoever holds it only tries for a
 * cache->lock.
 */
static DEFINE_SPINLOCK(blocks_lock);
static LIST_HEAD(lru);
static unsigned long nr_blocks;
static unsigned long nr_shadows;

static void block_free(struct vdisk_block *b)
{
	free_page((unsigned long)b->data);
	free_page((unsigned long)b->shadow);
	kmem_cache_free(block_slab, b);
}

static void block_free_rcu(struct rcu_head *head)
{
	block_free(container_of(head, struct vdisk_block, rcu));
}

static struct vdisk_block *block_alloc(struct vdisk_cache *cache, u64 off,
				       gfp_t gfp)
{
	struct vdisk_block *b = kmem_cache_zalloc(block_slab, gfp);

	if (!b)
		return NULL;
	b->data = (u8 *)__get_free_page(gfp);
	if (!b->data) {
		kmem_cache_free(block_slab, b);
		return NULL;
	}
	b->off = off;
	b->cache = cache;
	INIT_LIST_HEAD(&b->dirty_link);
	INIT_LIST_HEAD(&b->commit_link);
	INIT_LIST_HEAD(&b->lru);
	return b;
}

/* Out of the index and the lru; readers under RCU may still see it. */
static void block_unlink(struct vdisk_block *b)
{
	struct vdisk_cache *cache = b->cache;

	lockdep_assert_held(&cache->lock);
	lockdep_assert_held(&blocks_lock);
	xa_lock(&cache->blocks);
	__xa_erase(&cache->blocks, b->off / VDISK_BLOCK);
	xa_unlock(&cache->blocks);
	list_del_init(&b->lru);
	nr_blocks--;
	if (b->shadow)
		nr_shadows--;
}

/* A block that nobody needs, from the cold end; false if @b must stay. */
static bool block_evict(struct vdisk_block *b)
{
	struct vdisk_cache *cache = b->cache;
	bool idle;

	lockdep_assert_held(&blocks_lock);
	if (READ_ONCE(b->used)) {
		WRITE_ONCE(b->used, false);
		return false;
	}
	/* Order is the other way round, so no waiting here. */
	if (!spin_trylock(&cache->lock))
		return false;
	idle = !b->pins && !b->dirty && list_empty(&b->commit_link) &&
	       list_empty(&b->dirty_link);
	if (idle)
		block_unlink(b);
	spin_unlock(&cache->lock);
	return idle;
}

static unsigned long evict(unsigned long want, unsigned long scan)
{
	struct vdisk_block *b;
	unsigned long flags, done = 0;

	spin_lock_irqsave(&blocks_lock, flags);
	while (done < want && scan-- && !list_empty(&lru)) {
		b = list_last_entry(&lru, struct vdisk_block, lru);
		if (block_evict(b)) {
			call_rcu(&b->rcu, block_free_rcu);
			done++;
		} else {
			list_move(&b->lru, &lru);
		}
	}
	spin_unlock_irqrestore(&blocks_lock, flags);
	return done;
}

/*
 * What a block takes: its page, itself, and of the index as much as where each
 * unit has a bitmap, and so a leaf of its own; some wait for a grace period. One
 * that was ever dirty has a second page.
 */
#define BLOCK_COST (PAGE_SIZE + 1536)

static void keep_limit(void)
{
	unsigned long limit = (unsigned long)READ_ONCE(table_cache_mb) << 20;
	unsigned long taken = READ_ONCE(nr_blocks) * BLOCK_COST +
			      READ_ONCE(nr_shadows) * PAGE_SIZE;

	if (taken > limit)
		evict(DIV_ROUND_UP(taken - limit, BLOCK_COST), 64);
}

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	return READ_ONCE(nr_blocks) ?: SHRINK_EMPTY;
}

static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	return evict(sc->nr_to_scan, sc->nr_to_scan * 2);
}

void vdisk_cache_init(struct vdisk_cache *cache, struct vdisk_image *image)
{
	cache->image = image;
	xa_init_flags(&cache->blocks, XA_FLAGS_LOCK_IRQ);
	spin_lock_init(&cache->lock);
	INIT_LIST_HEAD(&cache->dirty);
	init_waitqueue_head(&cache->wait);
}

void vdisk_cache_empty(struct vdisk_cache *cache)
{
	struct vdisk_block *b;
	unsigned long i = 0;

	for (;;) {
		/* Under the lock, or the shrinker might take it from our hands. */
		spin_lock_irq(&cache->lock);
		b = xa_find(&cache->blocks, &i, ULONG_MAX, XA_PRESENT);
		if (b) {
			WARN_ON_ONCE(b->pins);
			/* After a failed commit there may be dirt that is lost. */
			list_del_init(&b->dirty_link);
			spin_lock(&blocks_lock);
			block_unlink(b);
			spin_unlock(&blocks_lock);
		}
		spin_unlock_irq(&cache->lock);
		if (!b)
			break;
		call_rcu(&b->rcu, block_free_rcu);
	}
	cache->nr_dirty = 0;
	xa_destroy(&cache->blocks);
}

/* Who sees READY sees the bytes: pairs with the release in block_load(). */
static enum vdisk_block_state block_state(struct vdisk_block *b)
{
	return smp_load_acquire(&b->state);	/* pairs with block_load() */
}

struct vdisk_block *vdisk_cache_find(struct vdisk_cache *cache, u64 off)
{
	struct vdisk_block *b = xa_load(&cache->blocks, off / VDISK_BLOCK);

	if (!b || block_state(b) != VDISK_BLOCK_READY)
		return NULL;
	if (!READ_ONCE(b->used)) {
		WRITE_ONCE(b->used, true);
		vdisk_ahead_used(b);
	}
	return b;
}

bool vdisk_cache_holds(struct vdisk_cache *cache, u64 off)
{
	return xa_load(&cache->blocks, off / VDISK_BLOCK);
}

/* Wait until a block is loaded, or could not be. */
static void block_wait(struct vdisk_block *b)
{
	wait_event(b->cache->wait, block_state(b) != VDISK_BLOCK_LOADING);
}

/* Read a new block; all who wait for it learn how it went. */
static void block_load(struct vdisk_block *b)
{
	struct vdisk_cache *cache = b->cache;
	struct vdisk_backing *backing = cache->image->backing;

	b->error = backing->ops->rw(backing, false, b->off, b->data,
				    VDISK_BLOCK);
	if (b->error) {
		spin_lock_irq(&cache->lock);
		spin_lock(&blocks_lock);
		block_unlink(b);
		spin_unlock(&blocks_lock);
		spin_unlock_irq(&cache->lock);
	}
	/* Pairs with block_state(). */
	smp_store_release(&b->state,
			  b->error ? VDISK_BLOCK_FAILED : VDISK_BLOCK_READY);
	wake_up_all(&cache->wait);
}

/* The block of @off with a pin more, loading or loaded; NULL if not there. */
static struct vdisk_block *block_get(struct vdisk_cache *cache, u64 off)
{
	struct vdisk_block *b;

	spin_lock_irq(&cache->lock);
	b = xa_load(&cache->blocks, off / VDISK_BLOCK);
	if (b)
		b->pins++;
	spin_unlock_irq(&cache->lock);
	return b;
}

/* Put a new block into the index, pinned; -EBUSY if another was faster. */
static int block_add(struct vdisk_cache *cache, struct vdisk_block *b,
		     gfp_t gfp)
{
	int r;

	b->pins = 1;
	r = xa_insert_irq(&cache->blocks, b->off / VDISK_BLOCK, b, gfp);
	if (r)
		return r;
	spin_lock_irq(&blocks_lock);
	list_add(&b->lru, &lru);
	nr_blocks++;
	spin_unlock_irq(&blocks_lock);
	return 0;
}

static int block_shadow(struct vdisk_block *b)
{
	u8 *page;

	if (READ_ONCE(b->shadow))
		return 0;
	page = (u8 *)__get_free_page(GFP_NOIO);
	if (!page)
		return -ENOMEM;
	spin_lock_irq(&b->cache->lock);
	if (!b->shadow) {
		WRITE_ONCE(b->shadow, page);
		page = NULL;
		spin_lock(&blocks_lock);
		nr_shadows++;
		spin_unlock(&blocks_lock);
	}
	spin_unlock_irq(&b->cache->lock);
	free_page((unsigned long)page);
	keep_limit();
	return 0;
}

struct vdisk_block *vdisk_cache_pin(struct vdisk_cache *cache, u64 off,
				    bool shadow)
{
	struct vdisk_block *b, *fresh;
	int r;

	off = round_down(off, VDISK_BLOCK);
	while (!(b = block_get(cache, off))) {
		fresh = block_alloc(cache, off, GFP_NOIO);
		if (!fresh)
			return ERR_PTR(-ENOMEM);
		r = block_add(cache, fresh, GFP_NOIO);
		if (!r) {
			b = fresh;
			block_load(b);
			keep_limit();
			break;
		}
		block_free(fresh);
		if (r != -EBUSY)
			return ERR_PTR(r);
	}
	block_wait(b);
	r = b->state == VDISK_BLOCK_FAILED ? b->error : 0;
	if (!r && shadow)
		r = block_shadow(b);
	if (r) {
		vdisk_cache_unpin(b);
		return ERR_PTR(r);
	}
	WRITE_ONCE(b->used, true);
	return b;
}

bool vdisk_cache_blank(struct vdisk_cache *cache, u64 off)
{
	const gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN;
	struct vdisk_block *b;
	int r;

	if (vdisk_cache_holds(cache, off))
		return true;
	b = block_alloc(cache, off, gfp | __GFP_ZERO);
	if (!b)
		return false;
	b->state = VDISK_BLOCK_READY;
	r = block_add(cache, b, gfp);
	if (r) {
		block_free(b);
		return r == -EBUSY;
	}
	keep_limit();
	vdisk_cache_unpin(b);
	return true;
}

void vdisk_cache_unpin(struct vdisk_block *b)
{
	struct vdisk_cache *cache = b->cache;
	unsigned long flags;
	bool gone;

	spin_lock_irqsave(&cache->lock, flags);
	/* One that failed to load is in no index: the last user frees it. */
	gone = !--b->pins && b->state == VDISK_BLOCK_FAILED;
	spin_unlock_irqrestore(&cache->lock, flags);
	if (gone)
		call_rcu(&b->rcu, block_free_rcu);
}

void vdisk_cache_dirty(struct vdisk_block *b, u64 off, u32 len)
{
	struct vdisk_cache *cache = b->cache;
	unsigned int first = (off - b->off) / VDISK_SECTOR;
	unsigned int last = (off + len - 1 - b->off) / VDISK_SECTOR;

	lockdep_assert_held(&cache->lock);
	b->dirty |= (u8)GENMASK(last, first);
	if (list_empty(&b->dirty_link)) {
		list_add_tail(&b->dirty_link, &cache->dirty);
		WRITE_ONCE(cache->nr_dirty, cache->nr_dirty + 1);
	}
}

void vdisk_cache_zeroed(struct vdisk_cache *cache, u64 off, u64 len)
{
	struct vdisk_image *image = cache->image;
	u64 at = round_down(off, VDISK_BLOCK), from, to;
	struct vdisk_block *b;

	for (; at < off + len; at += VDISK_BLOCK) {
		b = block_get(cache, at);
		if (!b)
			continue;
		block_wait(b);
		from = max(off, at);
		to = min(off + len, at + VDISK_BLOCK);
		spin_lock_irq(&cache->lock);
		write_seqcount_begin(&image->seq);
		memset(b->data + (from - at), 0, to - from);
		write_seqcount_end(&image->seq);
		spin_unlock_irq(&cache->lock);
		vdisk_cache_unpin(b);
	}
}

int vdisk_cache_module_init(void)
{
	int r;

	block_slab = kmem_cache_create("dm_vdisk_block",
				       sizeof(struct vdisk_block), 0, 0, NULL);
	if (!block_slab)
		return -ENOMEM;
	shrinker = vdisk_shrinker_alloc("dm-vdisk-tables");
	if (!shrinker) {
		r = -ENOMEM;
		goto bad;
	}
	shrinker->count_objects = shrink_count;
	shrinker->scan_objects = shrink_scan;
	shrinker->seeks = DEFAULT_SEEKS;
	r = vdisk_shrinker_register(shrinker, "dm-vdisk-tables");
	if (r) {
		vdisk_shrinker_drop(shrinker);
		goto bad;
	}
	return 0;
bad:
	kmem_cache_destroy(block_slab);
	return r;
}

void vdisk_cache_module_exit(void)
{
	vdisk_shrinker_free(shrinker);
	rcu_barrier();
	kmem_cache_destroy(block_slab);
}
