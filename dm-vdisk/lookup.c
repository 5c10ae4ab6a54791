// SPDX-License-Identifier: GPL-2.0
/*
 * Where a sector is: from the top layer down, each image asking its format
 * with what the table cache holds.
 */
#include "vdisk.h"

struct vdisk_image *vdisk_image_at(struct vdisk_layer *layer, u64 sector)
{
	unsigned int lo = 0, hi = layer->nr;

	while (hi - lo > 1) {
		unsigned int mid = (lo + hi) / 2;

		if (layer->image[mid]->first_sec <= sector)
			lo = mid;
		else
			hi = mid;
	}
	return layer->image[lo];
}

struct lookup {
	struct vdisk_step step;
	struct vdisk_image *image;
};

/* vdisk_step.show: what the table cache has. Under RCU. */
static bool show_cached(struct vdisk_step *step, u64 off)
{
	struct lookup *l = container_of(step, struct lookup, step);
	struct vdisk_block *b = vdisk_cache_find(&l->image->cache, off);

	if (!b || step->nr_views == VDISK_MAX_VIEWS)
		return false;
	step->view[step->nr_views++] = (struct vdisk_view){
		.off = b->off, .len = VDISK_BLOCK, .data = b->data,
	};
	return true;
}

/*
 * Table bytes may change while the format reads them (image->seq tells), and
 * a block may be dropped from the cache, but not before the RCU section ends.
 */
int vdisk_lookup_image(struct vdisk_image *image, u64 sector, u64 sectors,
		       struct vdisk_extent *ext, struct vdisk_where *where)
{
	struct lookup l;
	unsigned int seq;
	int r;

	l.image = image;
	l.step.nr_views = 0;
	l.step.show = show_cached;
	l.step.why = NULL;
	l.step.sum = false;
	rcu_read_lock();
	do {
		seq = read_seqcount_begin(&image->seq);
		vdisk_step_limits(&l.step, image);
		r = image->format->map(&image->geom, &l.step, sector, sectors,
				       ext);
	} while (read_seqcount_retry(&image->seq, seq));
	rcu_read_unlock();

	if (likely(!r))
		return 0;
	if (r == -EAGAIN) {
		where->image = image;
		where->miss_off = l.step.need.off;
		return r;
	}
	vdisk_image_complain(image, &l.step);
	return -EIO;
}

int vdisk_lookup(struct vdisk *v, int top, u64 sector, u64 sectors,
		 struct vdisk_where *where)
{
	struct vdisk_image *image;
	struct vdisk_layer *layer;
	struct vdisk_extent ext;
	bool known = true;
	int l, r;

	for (l = top; l >= 0; l--) {
		if (l == v->deep)
			l = vdisk_level_find(v, sector, &sectors, &known);
		layer = &v->layer[l];
		/* Past a shorter parent's end there is nothing further down. */
		if (sector >= layer->size_sec)
			break;
		image = vdisk_image_at(layer, sector);
		sectors = min(sectors, image->end_sec - sector);
		where->layer = l;
		where->sectors = sectors;
		r = vdisk_lookup_image(image, sector - image->first_sec,
				       sectors, &ext, where);
		if (unlikely(r))
			return r;
		sectors = ext.sectors;
		if (ext.kind == VDISK_PARENT)
			continue;
		where->kind = ext.kind;
		where->image = image;
		where->sectors = sectors;
		where->off = ext.off;
		where->len = ext.len;
		where->skip_sec = ext.skip_sec;
		goto found;
	}
	where->kind = VDISK_ZERO;
	where->image = NULL;
	where->layer = 0;
	where->sectors = sectors;
found:
	/* The layer at v->deep and the next one passed: worth remembering. */
	if (!known && v->deep - l > 1)
		vdisk_level_learn(v, sector, sectors);
	return 0;
}

/* The blocks that one image needs for one answer, all at the same time. */
struct pins {
	struct vdisk_image *image;
	struct vdisk_block *block[VDISK_MAX_VIEWS];
	unsigned int nr;
};

static void unpin_all(struct pins *pins)
{
	while (pins->nr)
		vdisk_cache_unpin(pins->block[--pins->nr]);
}

static int pin_missing(struct pins *pins, const struct vdisk_where *where)
{
	struct vdisk_block *b;

	/* Full of blocks of this image: its tables have changed meanwhile. */
	if (pins->image != where->image || pins->nr == VDISK_MAX_VIEWS)
		unpin_all(pins);
	pins->image = where->image;
	b = vdisk_cache_pin(&where->image->cache, where->miss_off, false);
	if (IS_ERR(b))
		return PTR_ERR(b);
	pins->block[pins->nr++] = b;
	return 0;
}

/*
 * Goes on at the layer that missed something, with its blocks pinned: however
 * little memory there is, one layer's blocks fit, and each is loaded once.
 */
int vdisk_lookup_wait(struct vdisk *v, int top, u64 sector, u64 sectors,
		      struct vdisk_where *where)
{
	struct pins pins = { .nr = 0 };
	int r;

	while ((r = vdisk_lookup(v, top, sector, sectors, where)) == -EAGAIN) {
		r = pin_missing(&pins, where);
		if (r)
			break;
		vdisk_ahead_missed(where->image, sector - where->image->first_sec);
		top = (int)where->layer;
		sectors = where->sectors;
	}
	unpin_all(&pins);
	return r;
}

static int read_grain(const struct vdisk_where *where, u64 sector, void *buf,
		      size_t len)
{
	struct vdisk_grain *g;

	g = vdisk_grain_get(where->image, sector - where->image->first_sec,
			    where);
	if (IS_ERR(g))
		return PTR_ERR(g);
	memcpy(buf, g->data + (where->skip_sec << VDISK_SHIFT), len);
	vdisk_grain_put(g);
	return 0;
}

int vdisk_read_below(struct vdisk *v, int top, u64 sector, void *buf,
		     u64 sectors)
{
	struct vdisk_where where;
	struct vdisk_backing *b;
	size_t len;
	int r;

	while (sectors) {
		r = vdisk_lookup_wait(v, top - 1, sector, sectors, &where);
		if (r)
			return r;
		len = where.sectors << VDISK_SHIFT;
		switch (where.kind) {
		case VDISK_DATA:
			b = where.image->backing;
			r = b->ops->rw(b, false, where.off, buf, len);
			break;
		case VDISK_ZERO:
			memset(buf, 0, len);
			break;
		case VDISK_DEFLATE:
			r = read_grain(&where, sector, buf, len);
			break;
		default:
			r = -EIO;
		}
		if (r)
			return r;
		sector += where.sectors;
		sectors -= where.sectors;
		buf += len;
	}
	return 0;
}
