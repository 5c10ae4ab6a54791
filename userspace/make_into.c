// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a disk holds, into a disk that is there: a block device, or an image. All
 * its bytes become those of the source, as far as that goes: where the source
 * reads zero, what was there before must not be seen.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "chain.h"
#include "make.h"
#include "out.h"
#include "progress.h"

#define COMMIT (64ull << 20)	/* bytes after which tables are written */

/* Zeroes without writing them, where the file or device can do that. */
static int zero_some(struct chain *to, u64 sector, u64 sectors, u64 *done)
{
	struct vdisk_hit hit;
	int r = vdisk_disk_map(to->disk, sector, sectors, &hit);

	if (r)
		return r;
	*done = hit.sectors;
	if (hit.kind == VDISK_DATA && hit.layer == to->disk->nr - 1 &&
	    hit.image->geom.flags & VDISK_GEOM_NO_ALLOC) {
		r = vdisk_store_zero(hit.image->store, hit.off,
				     hit.sectors * VDISK_SECTOR, false);
		if (r != -EOPNOTSUPP)
			return r;
	}
	return vdisk_disk_zero(to->disk, sector, hit.sectors);
}

static int write_over(void *arg, const u8 *p, u64 sector, u64 sectors)
{
	struct chain *to = arg;
	u64 done;
	int r = 0;

	if (p)
		return vdisk_disk_write(to->disk, sector, p, sectors);
	for (; !r && sectors; sector += done, sectors -= done)
		r = zero_some(to, sector, sectors, &done);
	return r;
}

/* False if @from could not be read, else *@r says how writing went. */
static bool copy(const struct make *make, struct chain *from, struct chain *to,
		 int *r)
{
	const u64 size = from->disk->size_sec, chunk = make_chunk(make);
	u8 *buf = out_alloc(1, chunk);
	u64 sector, n, since = 0;
	struct vdisk_hit hit;
	bool good = true;

	for (sector = 0; good && !*r && sector < size; sector += n) {
		progress_show("copying", sector, size);
		n = vdisk_min(chunk / VDISK_SECTOR, size - sector);
		good = !make_map(from, sector, &hit);
		if (good && make_is_hole(make, &hit)) {
			n = hit.sectors;
			*r = write_over(to, NULL, sector, n);
			continue;
		}
		good = make_read(make, from, sector, buf, n, good);
		if (good)
			*r = make_write_sparse(make, buf, n * VDISK_SECTOR,
					       sector, write_over, to);
		since += n * VDISK_SECTOR;
		if (good && !*r && since >= COMMIT) {
			*r = vdisk_disk_flush(to->disk);
			since = 0;
		}
	}
	progress_clear();
	free(buf);
	return good;
}

/* A device has no tables whose commit would be a flush of it. */
static int settle(struct chain *to)
{
	const struct chain_layer *top = &to->layer[0];
	int r = vdisk_disk_settle(to->disk);
	unsigned int i;

	for (i = 0; !r && i < top->nr; i++)
		if (top->part[i].store)
			r = vdisk_store_flush(top->part[i].store);
	return r;
}

bool make_copy_into(const struct make *make, struct chain *from,
		    struct chain *to)
{
	bool read;
	int r = 0;

	*from->fault.text = *to->fault.text = 0;
	read = copy(make, from, to, &r);
	if (!r)
		r = settle(to);
	if (!read)
		out_error(from->image, "%s", from->fault.text);
	if (r)
		out_error(to->image, "%s", *to->fault.text ? to->fault.text
							   : strerror(-r));
	if (read && !r)
		return true;
	out_error(to->image, "Only a part of the copy is there");
	return false;
}
