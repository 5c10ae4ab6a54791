// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A store as it would be: writes stay in memory and are seen by reads. What is
 * below is not written.
 */
#include <stdlib.h>

#include "out.h"
#include "repair.h"

struct patch {
	u64 off;
	size_t len;
	u8 *data;
};

struct trial {
	struct vdisk_store store;
	struct vdisk_store *below;
	bool owns;		/* closes what is below */
	struct patch *patch;	/* the later one counts */
	unsigned int nr;
};

static struct trial *of(struct vdisk_store *store)
{
	return (struct trial *)store;
}

static int trial_read(struct vdisk_store *store, u64 off, void *buf, size_t len)
{
	const struct trial *t = of(store);
	const struct patch *p;
	u64 from, to;
	int r;

	r = vdisk_store_read(t->below, off, buf, len);
	for (p = t->patch; !r && p < t->patch + t->nr; p++) {
		from = vdisk_max(off, p->off);
		to = vdisk_min(off + len, p->off + p->len);
		if (from < to)
			memcpy((u8 *)buf + (from - off),
			       p->data + (from - p->off), to - from);
	}
	return r;
}

static int trial_write(struct vdisk_store *store, u64 off, const void *buf,
		       size_t len)
{
	struct trial *t = of(store);
	struct patch *p;

	if (store->device && off + len > store->length)
		return -ENOSPC;
	t->patch = out_grow(t->patch, t->nr + 1, sizeof(*t->patch));
	p = &t->patch[t->nr++];
	*p = (struct patch){ off, len, out_alloc(1, len) };
	memcpy(p->data, buf, len);
	store->length = vdisk_max(store->length, off + len);
	return 0;
}

static int trial_flush(struct vdisk_store *store)
{
	return 0;
}

/* What is cut off and grown again would read old bytes: nobody does that. */
static int trial_set_length(struct vdisk_store *store, u64 len)
{
	store->length = len;
	return 0;
}

static void trial_close(struct vdisk_store *store)
{
	struct trial *t = of(store);

	while (t->nr)
		free(t->patch[--t->nr].data);
	free(t->patch);
	if (t->owns)
		vdisk_store_close(t->below);
	free(t);
}

static const struct vdisk_store_ops trial_ops = {
	.read		= trial_read,
	.write		= trial_write,
	.flush		= trial_flush,
	.set_length	= trial_set_length,
	.close		= trial_close,
};

struct vdisk_store *repair_trial_new(struct vdisk_store *below)
{
	struct trial *t = out_alloc(1, sizeof(*t));

	t->store.ops = &trial_ops;
	t->store.length = below->length;
	t->store.device = below->device;
	t->below = below;
	return &t->store;
}

void repair_trial_keep(struct vdisk_store *store)
{
	of(store)->owns = true;
}
