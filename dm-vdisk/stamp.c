// SPDX-License-Identifier: GPL-2.0
/*
 * Stamps: bytes that must change, durably, before the first write of an attachment,
 * in place or not, since they say that the contents are what they were. A VMDK's
 * content id is one, by which a child sees that its parent is no longer what it was
 * made from: the table line has it. The others are in the header of the image
 * (VDISK_GEOM_STAMP), and its format knows them.
 */
#include "vdisk.h"

#include <linux/slab.h>

int vdisk_stamp_open(struct vdisk *v, char **error)
{
	const struct vdisk_stamp_args *args = &v->args.stamp;
	struct vdisk_backing *b;

	v->text_stamped = true;
	v->stamped = true;
	if (!args->backing)
		return 0;
	if (!v->args.write) {
		*error = "A read-only device stamps nothing";
		return -EINVAL;
	}
	b = vdisk_backing_open(v, args->backing, true, VDISK_USE_STAMP, error);
	if (IS_ERR(b))
		return PTR_ERR(b);
	v->stamp = b;
	v->text_stamped = false;
	v->stamped = false;
	if (args->off + strlen(args->text) > vdisk_backing_len(b)) {
		*error = "Stamp is past the end of its file";
		return -EINVAL;
	}
	return 0;
}

/* Whole sectors, as they are with the new bytes in them. */
static int stamp_sectors(struct vdisk *v, u64 off, const char *text)
{
	u64 from = round_down(off, VDISK_SECTOR);
	size_t len = round_up(off + strlen(text), VDISK_SECTOR) - from;
	u8 *buf = (u8 *)__get_free_page(GFP_NOIO);
	int r;

	if (!buf)
		return -ENOMEM;
	r = v->stamp->ops->rw(v->stamp, false, from, buf, len);
	if (!r) {
		memcpy(buf + (off - from), text, strlen(text));
		r = v->stamp->ops->rw(v->stamp, true, from, buf, len);
	}
	free_page((unsigned long)buf);
	return r;
}

static int stamp_text(struct vdisk *v, u64 off, const char *text)
{
	char *buf = kstrdup(text, GFP_NOIO);
	int r;

	if (!buf)
		return -ENOMEM;
	r = v->stamp->ops->rw(v->stamp, true, off, buf, strlen(text));
	kfree(buf);
	return r;
}

void vdisk_stamp_start(struct vdisk *v)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	bool stamped = v->text_stamped;
	struct vdisk_image *image;
	unsigned int i;

	for (i = 0; i < top->nr; i++) {
		image = top->image[i];
		image->to_stamp = image->write &&
				  image->geom.flags & VDISK_GEOM_STAMP;
		stamped &= !image->to_stamp;
	}
	WRITE_ONCE(v->stamped, stamped);
}

static int write_text(struct vdisk *v)
{
	const struct vdisk_stamp_args *args = &v->args.stamp;
	int r;

	lockdep_assert_held(&v->stamp_lock);
	if (v->text_stamped)
		return 0;
	if (v->stamp->direct)
		r = stamp_sectors(v, args->off, args->text);
	else
		r = stamp_text(v, args->off, args->text);
	if (!r)
		r = vdisk_backing_flush(v->stamp);
	if (!r)
		vdisk_backing_touch(v->stamp, false);
	v->text_stamped = !r;
	return r;
}

int vdisk_stamp_write(struct vdisk *v)
{
	struct vdisk_layer *top = &v->layer[v->nr_layers - 1];
	unsigned int i;
	int r;

	mutex_lock(&v->stamp_lock);
	r = write_text(v);
	for (i = 0; !r && i < top->nr; i++) {
		if (!top->image[i]->to_stamp)
			continue;
		r = vdisk_space_stamp(top->image[i]);
		top->image[i]->to_stamp = r;
	}
	if (!r)
		WRITE_ONCE(v->stamped, true);
	mutex_unlock(&v->stamp_lock);
	return r;
}

void vdisk_stamp_close(struct vdisk *v)
{
	if (v->stamp)
		vdisk_backing_close(v->stamp);
	v->stamp = NULL;
}
