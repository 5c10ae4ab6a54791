// SPDX-License-Identifier: GPL-2.0
/*
 * Opening the images of a device. The constructor checks everything, but keeps
 * nothing it read: the device may be about to replace a table that still
 * writes the same files. vdisk_image_start_all() reads again, when the old
 * table is suspended and all it had is in the files.
 */
#include "plan.h"

#include <linux/slab.h>

static int image_geometry(struct vdisk_image *image, struct vdisk_feed *feed)
{
	const struct vdisk_extent_args *ext = image->args;
	struct vdisk_params params = {
		.start_off = ext->start_sec << VDISK_SHIFT,
		.size_sec = ext->sectors,
		.size_rule = ext->size_rule,
		.write = image->write,
	};
	int r;

	if (image->backing) {
		params.file_len = vdisk_backing_len(image->backing);
		params.device = image->backing->device;
	}
	image->file_len = params.file_len;
	image->data_end = params.file_len;
	vdisk_feed_init(feed, image);
	while ((r = image->format->open(&params, &feed->step, &image->geom)) ==
	       -EAGAIN) {
		r = vdisk_feed_bytes(feed);
		if (r)
			break;
	}
	vdisk_feed_done(feed);
	if (!r && image->geom.size_sec < ext->sectors) {
		feed->step.value = image->geom.size_sec;
		feed->step.why = "Image is smaller than the extent";
		r = -EUCLEAN;
	}
	return r;
}

/*
 * Reasons to refuse a sound image: its position in the stack, or the mode. A mark
 * that the table before us set (@marked: and could not take back) is no reason.
 */
static const char *image_refusal(const struct vdisk_image *image, bool base,
				 bool start, bool marked)
{
	const struct vdisk_geom *geom = &image->geom;

	if (geom->flags & VDISK_GEOM_PARENT && base)
		return "Image needs its parent as a layer below";
	/* Nothing is written any more by a device that failed. */
	if (!image->write || READ_ONCE(image->v->failed))
		return NULL;
	if (geom->flags & VDISK_GEOM_RDONLY)
		return geom->why_ro;
	/* In the constructor that table may still be running. */
	if (geom->flags & VDISK_GEOM_DIRTY && !marked &&
	    (start || !vdisk_backing_handed_over(image->backing)))
		return "Image was not closed: check it first";
	return NULL;
}

/* Read the headers; the cache is empty before and after. */
static int image_check(struct vdisk_image *image, bool base, bool start,
		       bool marked, const char **why)
{
	char number[VDISK_NUMBER_MAX];
	struct vdisk_feed feed;
	int r;

	*why = "Cannot read the image";
	r = image_geometry(image, &feed);
	if (r == -EUCLEAN) {
		*why = feed.step.why ?: *why;
		vdisk_step_number(&feed.step, number);
		DMERR("%s: %s: %s: %s", vdisk_name(image->v),
		      image->backing ? image->backing->path : "-", *why,
		      number);
		r = -EINVAL;
	} else if (!r) {
		*why = image_refusal(image, base, start, marked);
		r = *why ? -EROFS : 0;
	}
	vdisk_cache_empty(&image->cache);
	return r;
}

static struct vdisk_image *image_open(struct vdisk *v, unsigned int l,
				      const struct vdisk_extent_args *ext,
				      u64 first_sec, char **error)
{
	bool top = l == v->args.nr_layers - 1;
	struct vdisk_image *image;
	const char *why;
	int r;

	image = kzalloc(sizeof(*image), GFP_KERNEL);
	if (!image) {
		*error = "Cannot allocate image";
		return ERR_PTR(-ENOMEM);
	}
	image->v = v;
	image->format = ext->format;
	image->args = ext;
	image->first_sec = first_sec;
	image->end_sec = first_sec + ext->sectors;
	image->write = top && v->args.write;
	vdisk_cache_init(&image->cache, image);
	seqcount_spinlock_init(&image->seq, &image->cache.lock);
	xa_init_flags(&image->grains, XA_FLAGS_LOCK_IRQ);
	INIT_LIST_HEAD(&image->claims);
	INIT_LIST_HEAD(&image->freed);
	INIT_LIST_HEAD(&image->reclaim);
	xa_init(&image->pool);
	xa_init(&image->touched);
	INIT_WORK(&image->scan_work, vdisk_pool_scan);
	INIT_WORK(&image->ahead_work, vdisk_ahead_work);
	init_waitqueue_head(&image->scan_wait);
	mutex_init(&image->grow_lock);
	mutex_init(&image->commit_lock);

	if (ext->backing) {
		image->backing = vdisk_backing_open(v, ext->backing,
				image->write,
				ext->format == &vdisk_raw_format ?
				VDISK_USE_RAW : VDISK_USE_IMAGE, error);
		if (IS_ERR(image->backing)) {
			r = PTR_ERR(image->backing);
			kfree(image);
			return ERR_PTR(r);
		}
	}
	r = image_check(image, l == 0, false, false, &why);
	if (!r)
		return image;
	*error = (char *)why;
	if (image->backing)
		vdisk_backing_close(image->backing);
	kfree(image);
	return ERR_PTR(r);
}

static int layer_open(struct vdisk *v, unsigned int l, char **error)
{
	const struct vdisk_layer_args *args = &v->args.layer[l];
	struct vdisk_layer *layer = &v->layer[l];
	struct vdisk_image *image;
	unsigned int i;

	layer->image = kvcalloc(args->nr, sizeof(*layer->image), GFP_KERNEL);
	if (!layer->image) {
		*error = "Cannot allocate layer";
		return -ENOMEM;
	}
	for (i = 0; i < args->nr; i++) {
		image = image_open(v, l, &args->extent[i], layer->size_sec,
				   error);
		if (IS_ERR(image))
			return PTR_ERR(image);
		layer->image[layer->nr++] = image;
		layer->size_sec = image->end_sec;
		if (layer->size_sec > LLONG_MAX / VDISK_SECTOR) {
			*error = "Layer is too long";
			return -EINVAL;
		}
	}
	return 0;
}

/* On error what was opened stays: vdisk_image_close_all() it. */
int vdisk_image_open_all(struct vdisk *v, char **error)
{
	unsigned int l;
	int r;

	v->layer = kcalloc(v->args.nr_layers, sizeof(*v->layer), GFP_KERNEL);
	if (!v->layer) {
		*error = "Cannot allocate layers";
		return -ENOMEM;
	}
	for (l = 0; l < v->args.nr_layers; l++) {
		v->nr_layers = l + 1;
		r = layer_open(v, l, error);
		if (r)
			return r;
	}
	/* A walk of two or three layers is as short as it gets. */
	v->deep = v->nr_layers > 3 ? (int)v->nr_layers - 2 : -1;
	if (v->layer[l - 1].size_sec != v->ti->len) {
		*error = "Extents of the top layer do not fill the target";
		return -EINVAL;
	}
	return 0;
}

static int image_start(struct vdisk_image *image, bool base)
{
	bool marked = image->marked;
	const char *why;
	int r;

	if (image->backing) {
		vdisk_backing_start(image->backing);
		marked |= vdisk_backing_inherit(image->backing) &
			  VDISK_HERITAGE_MARKED;
	}
	r = image_check(image, base, true, marked, &why);
	if (r) {
		DMERR("%s: %s: %s", vdisk_name(image->v),
		      image->backing ? image->backing->path : "-", why);
		return r;
	}
	image->data_end = image->geom.data_end;
	image->next_off = image->geom.alloc_off;
	image->old_end = image->next_off;
	image->spare_len = 0;
	image->room_end = image->geom.data_end;
	image->fresh_off = image->file_len;
	image->scanned = true;
	/* A tail is wiped when it moves. */
	if (image->geom.tail_len && !(image->geom.flags & VDISK_GEOM_SCAN))
		image->fresh_off = image->geom.data_end;
	if (image->backing && image->backing->device)
		image->fresh_off = U64_MAX;
	/* On a device nothing says where the image ends but its tables. */
	if (image->geom.flags & VDISK_GEOM_SCAN ||
	    (image->backing && image->backing->device))
		image->scanned = false;
	image->grown = false;
	image->marked = marked && image->geom.flags & VDISK_GEOM_DIRTY;
	image->scan = VDISK_SCAN_WAITS;
	image->scan_lost = false;
	return 0;
}

int vdisk_image_start_all(struct vdisk *v)
{
	struct vdisk_layer *layer;
	struct vdisk_backing *b;
	unsigned int i;
	int r;

	/* Whoever wrote through the table before us learns it from us. */
	list_for_each_entry(b, &v->backings, link)
		if (vdisk_backing_inherit(b) & VDISK_HERITAGE_LOST)
			vdisk_trip(v, "commit-failed");
	for (layer = v->layer; layer < v->layer + v->nr_layers; layer++) {
		for (i = 0; i < layer->nr; i++) {
			r = image_start(layer->image[i], layer == v->layer);
			if (r)
				return r;
		}
	}
	vdisk_stamp_start(v);
	return 0;
}

/* Places that were freed in an epoch that never became durable stay as they are. */
static void forget_freed(struct list_head *list)
{
	struct vdisk_freed *f, *next;

	list_for_each_entry_safe(f, next, list, link) {
		list_del(&f->link);
		kfree(f);
	}
}

/*
 * Forget what was read, what was changed and is not durable, and the places that
 * are free: the next start reads the file, which may have changed meanwhile.
 */
static void image_forget(struct vdisk_image *image)
{
	cancel_work_sync(&image->ahead_work);
	forget_freed(&image->freed);
	forget_freed(&image->reclaim);
	vdisk_grain_forget_all(image);
	vdisk_cache_empty(&image->cache);
	xa_destroy(&image->pool);
	image->pool_nr = 0;
}

/* Commit, cut the file, take the mark back. 0 if the commit succeeded. */
static int image_stop(struct vdisk_image *image)
{
	struct vdisk_backing *b = image->backing;
	bool marked;
	int r;

	if (!b)
		return 0;
	r = vdisk_commit_image(image);
	vdisk_reclaim_drain(image->v);
	/* Nothing is lost by a file that is longer, or by a mark. */
	if (!r && vdisk_space_stop(image))
		DMERR("%s: %s: cannot bring the image to rest",
		      vdisk_name(image->v), b->path);
	/* After a failure the mark is for those who are to check the image. */
	marked = image->marked && !READ_ONCE(image->v->failed);
	vdisk_backing_bequeath(b, marked ? VDISK_HERITAGE_MARKED : 0);
	vdisk_backing_touch(b, true);
	return r;
}

/*
 * No later commit makes good for one that failed here: what it held is forgotten.
 * So the device fails, and the next flush says so, be it to this table or, which
 * its files tell, to the next one. A device that had failed before has told.
 */
static void stop_failed(struct vdisk *v)
{
	struct vdisk_backing *b;

	vdisk_trip(v, "commit-failed");
	list_for_each_entry(b, &v->backings, link)
		vdisk_backing_bequeath(b, VDISK_HERITAGE_LOST);
}

void vdisk_image_stop_all(struct vdisk *v)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	bool failed = READ_ONCE(v->failed), lost = false;
	struct vdisk_backing *b;
	unsigned int l, i;

	for (i = 0; i < top->nr; i++)
		if (top->image[i]->write && image_stop(top->image[i]))
			lost = true;
	if (lost && !failed)
		stop_failed(v);
	list_for_each_entry(b, &v->backings, link)
		vdisk_backing_stop(b);
	for (l = 0; l < v->nr_layers; l++)
		for (i = 0; i < v->layer[l].nr; i++)
			image_forget(v->layer[l].image[i]);
	vdisk_cache_empty(&v->levels);
}

void vdisk_image_close_all(struct vdisk *v)
{
	struct vdisk_image *image;
	unsigned int l, i;

	for (l = 0; l < v->nr_layers; l++) {
		for (i = 0; i < v->layer[l].nr; i++) {
			image = v->layer[l].image[i];
			image_forget(image);
			if (image->backing)
				vdisk_backing_close(image->backing);
			kfree(image);
		}
		kvfree(v->layer[l].image);
	}
	vdisk_cache_empty(&v->levels);
	kfree(v->layer);
	v->layer = NULL;
	v->nr_layers = 0;
}
