// SPDX-License-Identifier: GPL-2.0
/* Driving the steps of a format from a context that may sleep. */
#include "vdisk.h"

void vdisk_feed_init(struct vdisk_feed *feed, struct vdisk_image *image)
{
	feed->image = image;
	feed->step = (struct vdisk_step){
		.file_len = READ_ONCE(image->file_len),
		.data_end = READ_ONCE(image->data_end),
	};
}

void vdisk_feed_reset(struct vdisk_feed *feed)
{
	u32 i;

	for (i = 0; i < feed->step.nr_views; i++)
		vdisk_cache_unpin(feed->pin[i]);
	feed->step.nr_views = 0;
	feed->step.file_len = READ_ONCE(feed->image->file_len);
	feed->step.data_end = READ_ONCE(feed->image->data_end);
}

int vdisk_feed_bytes(struct vdisk_feed *feed)
{
	struct vdisk_step *step = &feed->step;
	u64 off = round_down(step->need.off, VDISK_BLOCK);
	struct vdisk_block *b;
	u32 i;

	for (i = 0; i < step->nr_views; i++)
		if (step->view[i].off == off)
			return -EUCLEAN;
	if (step->nr_views == VDISK_MAX_VIEWS)
		return -EUCLEAN;
	b = vdisk_cache_pin(&feed->image->cache, off, false);
	if (IS_ERR(b))
		return PTR_ERR(b);
	feed->pin[step->nr_views] = b;
	step->view[step->nr_views++] = (struct vdisk_view){
		.off = off, .len = VDISK_BLOCK, .data = b->data,
	};
	return 0;
}

void vdisk_feed_done(struct vdisk_feed *feed)
{
	vdisk_feed_reset(feed);
}

void vdisk_image_complain(const struct vdisk_image *image,
			  const struct vdisk_step *step)
{
	DMERR_LIMIT("%s: %s: %s: %llu", vdisk_name(image->v),
		    image->backing ? image->backing->path : image->format->name,
		    step->why ?: "Format broke its contract", step->value);
}

int vdisk_image_refused(const struct vdisk_image *image,
			const struct vdisk_step *step)
{
	vdisk_image_complain(image, step);
	return step->full ? -ENOSPC : -EIO;
}
