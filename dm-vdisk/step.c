// SPDX-License-Identifier: GPL-2.0
/* Driving the steps of a format from a context that may sleep. */
#include "vdisk.h"

#if defined(CONFIG_KASAN) || defined(VDISK_DEBUG)
#include <linux/delay.h>
#include <linux/module.h>

static unsigned int debug_stall_us;
module_param(debug_stall_us, uint, 0644);
MODULE_PARM_DESC(debug_stall_us, "Debug: workers stand still in some lookups");

/* One call in eight, so that a retry gets through. Under RCU: no sleep. */
void vdisk_debug_stall(void)
{
	static atomic_t calls = ATOMIC_INIT(0);
	unsigned int us = READ_ONCE(debug_stall_us);

	if (!us || !(current->flags & PF_WQ_WORKER) ||
	    atomic_inc_return(&calls) % 8)
		return;
	for (; us >= 1000; us -= 1000)
		udelay(1000);
	udelay(us);
}
#endif

void vdisk_feed_init(struct vdisk_feed *feed, struct vdisk_image *image)
{
	feed->image = image;
	feed->step = (struct vdisk_step){ .nr_views = 0 };
	vdisk_step_limits(&feed->step, image);
}

void vdisk_feed_reset(struct vdisk_feed *feed)
{
	u32 i;

	for (i = 0; i < feed->step.nr_views; i++)
		vdisk_cache_unpin(feed->pin[i]);
	feed->step.nr_views = 0;
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

void vdisk_step_number(const struct vdisk_step *step,
		       char text[VDISK_NUMBER_MAX])
{
	if (step->sum)
		snprintf(text, VDISK_NUMBER_MAX,
			 "sum 0x%08llx, of the bytes 0x%08llx", step->value,
			 step->right);
	else
		snprintf(text, VDISK_NUMBER_MAX, "%llu", step->value);
}

void vdisk_image_complain(const struct vdisk_image *image,
			  const struct vdisk_step *step)
{
	char number[VDISK_NUMBER_MAX];

	vdisk_step_number(step, number);
	DMERR_LIMIT("%s: %s: %s: %s", vdisk_name(image->v),
		    image->backing ? image->backing->path : image->format->name,
		    step->why ?: "Format broke its contract", number);
}

int vdisk_image_refused(const struct vdisk_image *image,
			const struct vdisk_step *step)
{
	vdisk_image_complain(image, step);
	return step->full ? -ENOSPC : -EIO;
}
