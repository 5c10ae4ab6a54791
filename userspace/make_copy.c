// SPDX-License-Identifier: GPL-2.0-or-later
/* What a disk holds, to a new image: holes stay holes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "chain.h"
#include "make.h"
#include "out.h"
#include "progress.h"
#include "salvage.h"

#define CHUNK (1ull << 20)
#define GROW (4u << 20)		/* bytes the files grow by at a time */
#define COMMIT (64ull << 20)	/* bytes after which tables are written */

/* The disk that the new files are. */
struct target {
	struct vdisk_disk *disk;
	struct vdisk_store **store;
	struct vdisk_fault fault;
	unsigned int nr;
};

/* Errors of the file are told as such, those of the image as what they are. */
static bool fail(const struct make *make, const struct target *to, int r)
{
	bool ours = (r == -EUCLEAN || r == -EPROTO || r == -EINVAL) &&
		    *to->fault.text;

	out_error(make->image, "%s", ours ? to->fault.text : strerror(-r));
	return false;
}

bool make_is_zero(const u8 *p, size_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

u64 make_chunk(const struct make *make)
{
	/* Whole grains: there is none at its end that only looks short. */
	return make->sparse ? vdisk_align(CHUNK, make->sparse, 0) : CHUNK;
}

static int open_part(struct target *to, const struct make_file *file)
{
	/* Nobody sees the files before make_commit(), which flushes them. */
	const struct vdisk_image_opts opts = {
		.write = true, .size_sec = file->sectors, .skip_flush = ~0u,
	};
	struct vdisk_store *store;
	struct vdisk_image *image;
	int r = make_store(file, &store);

	if (r)
		return r;
	to->store[to->nr++] = store;
	r = vdisk_image_open(&image, file->format, store, &opts, &to->fault);
	if (r)
		return r;
	/* A tail that moves with the end would make what it left no hole. */
	if (!image->geom.tail_len)
		image->opts.grow_units =
			(u32)vdisk_div_up(GROW, image->geom.unit_len);
	r = vdisk_disk_add(to->disk, image, file->sectors);
	if (r)
		vdisk_image_drop(image);
	return r;
}

static int open_target(const struct make *make, struct target *to)
{
	unsigned int i;
	int r;

	*to = (struct target){
		.store = out_alloc(make->nr, sizeof(*to->store)),
	};
	r = vdisk_disk_new(&to->disk, &to->fault);
	if (!r)
		r = vdisk_disk_push(to->disk);
	for (i = 0; !r && i < make->nr; i++)
		if (make->file[i].sectors)
			r = open_part(to, &make->file[i]);
	return r;
}

static int close_target(struct target *to, int r)
{
	unsigned int i;

	if (r)
		vdisk_disk_drop(to->disk);
	else
		r = vdisk_disk_close(to->disk);
	for (i = 0; i < to->nr; i++)
		vdisk_store_close(to->store[i]);
	free(to->store);
	return r;
}

/* Bytes at @p that are zero grains, or that are none; up to @len. */
static size_t same_kind(const u8 *p, size_t len, size_t grain, bool zero)
{
	size_t n = 0, next;

	while (n < len) {
		next = vdisk_min(grain, len - n);
		if (make_is_zero(p + n, next) != zero)
			break;
		n += next;
	}
	return n;
}

int make_write_sparse(const struct make *make, const u8 *p, size_t len,
		      u64 sector, make_write_fn *write, void *arg)
{
	const size_t grain = make->sparse ? make->sparse : len;
	size_t n;
	bool zero;
	int r = 0;

	for (; !r && len; p += n, len -= n, sector += n / VDISK_SECTOR) {
		/* Of -S 0 nothing is. */
		zero = make->sparse && make_is_zero(p, vdisk_min(grain, len));
		n = make->sparse ? same_kind(p, len, grain, zero) : len;
		r = write(arg, zero ? NULL : p, sector, n / VDISK_SECTOR);
	}
	return r;
}

/* Grains of zeroes are left out. */
static int write_new(void *arg, const u8 *p, u64 sector, u64 sectors)
{
	struct target *to = arg;

	return p ? vdisk_disk_write(to->disk, sector, p, sectors) : 0;
}

/*
 * A format may have no holes, the file it is in still has: a raw disk is mostly
 * that. Whoever cannot tell, a device for instance, has none.
 */
int make_map(struct chain *from, u64 sector, struct vdisk_hit *hit)
{
	int r = vdisk_disk_map(from->disk, sector,
			       from->disk->size_sec - sector, hit), fd;
	u64 hole;
	off_t data;

	if (r || hit->kind != VDISK_DATA)
		return r;
	fd = chain_fd(from, hit->image);
	data = fd < 0 ? (off_t)hit->off :
	       lseek(fd, (off_t)hit->off, SEEK_DATA);
	if (data < 0)
		hole = errno == ENXIO ? hit->sectors : 0;
	else
		hole = ((u64)data - hit->off) / VDISK_SECTOR;
	if (hole) {
		hit->kind = VDISK_ZERO;
		hit->sectors = vdisk_min(hit->sectors, hole);
	}
	return 0;
}

bool make_is_hole(const struct make *make, const struct vdisk_hit *hit)
{
	return hit->kind == VDISK_ZERO && make->sparse &&
	       hit->sectors * VDISK_SECTOR >= make->sparse;
}

bool make_read(const struct make *make, struct chain *from, u64 sector,
	       u8 *buf, u64 sectors, bool mapped)
{
	if (make->salvage)
		salvage_read(make->salvage, from, sector, buf, sectors);
	return make->salvage ||
	       (mapped && !vdisk_disk_read(from->disk, sector, buf, sectors));
}

static bool copy(const struct make *make, struct chain *from,
		 struct target *to, int *r)
{
	const u64 size = from->disk->size_sec;
	u64 sector, n, since = 0, chunk = make_chunk(make);
	u8 *buf = out_alloc(1, chunk);
	struct vdisk_hit hit;
	bool good = true;

	for (sector = 0; good && !*r && sector < size; sector += n) {
		progress_show("copying", sector, size);
		n = vdisk_min(chunk / VDISK_SECTOR, size - sector);
		good = !make_map(from, sector, &hit);
		if (good && make_is_hole(make, &hit)) {
			n = hit.sectors;
			continue;
		}
		good = make_read(make, from, sector, buf, n, good);
		if (!good)
			break;
		*r = make_write_sparse(make, buf, n * VDISK_SECTOR, sector,
				       write_new, to);
		since += n * VDISK_SECTOR;
		if (!*r && since >= COMMIT) {
			*r = vdisk_disk_flush(to->disk);
			since = 0;
		}
	}
	progress_clear();
	free(buf);
	return good;
}

bool make_copy(struct make *make, struct chain *from)
{
	struct target to;
	bool read = true;
	int r;

	if (make->dry)
		return true;
	if (make->stream)
		return make_copy_stream(make, from);
	r = open_target(make, &to);
	if (!r)
		read = copy(make, from, &to, &r);
	r = close_target(&to, read ? r : -EIO);
	if (!read) {
		out_error(from->image, "%s", from->fault.text);
		return false;
	}
	return r ? fail(make, &to, r) : true;
}
