// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes of files and block devices. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"

struct file_store {
	struct vdisk_store store;
	int fd;
};

int vdisk_store_set_length(struct vdisk_store *store, u64 len)
{
	if (store->device)
		return len > store->length ? -ENOSPC : 0;
	if (len == store->length)
		return 0;
	return store->ops->set_length(store, len);
}

int vdisk_store_punch(struct vdisk_store *store, u64 off, u64 len)
{
	if (!store->ops->punch)
		return -EOPNOTSUPP;
	return store->ops->punch(store, off, len);
}

int vdisk_store_zero(struct vdisk_store *store, u64 off, u64 len, bool space)
{
	return store->ops->zero ? store->ops->zero(store, off, len, space)
				: -EOPNOTSUPP;
}

static struct file_store *of(struct vdisk_store *store)
{
	return (struct file_store *)store;
}

/* A number that off_t cannot hold comes from a broken image, not from us. */
static bool fits(u64 off, u64 len)
{
	u64 end;

	return !vdisk_add(off, len, &end) && end <= INT64_MAX;
}

/*
 * What the last system call on the file failed with. Some errors are words of our
 * own: -EUCLEAN is an image that its format refuses, and would be repaired. A file
 * system that answers so, of its own damage, has an I/O error.
 */
static int io_error(void)
{
	switch (errno) {
	case EAGAIN:
	case EUCLEAN:
	case EPROTO:
	case EINVAL:
	case E2BIG:
		return -EIO;
	}
	return -errno;
}

static int file_read(struct vdisk_store *store, u64 off, void *buf, size_t len)
{
	u8 *to = buf;
	ssize_t n;

	if (!fits(off, len))
		return -EOVERFLOW;
	while (len) {
		n = pread(of(store)->fd, to, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return io_error();
		/* Somebody cut the file short meanwhile. */
		if (!n && off < store->length)
			return -EIO;
		if (!n) {
			memset(to, 0, len);
			return 0;
		}
		to += n;
		off += (u64)n;
		len -= (size_t)n;
	}
	return 0;
}

static int file_write(struct vdisk_store *store, u64 off, const void *buf,
		      size_t len)
{
	const u8 *from = buf;
	ssize_t n;

	if (!fits(off, len))
		return -EOVERFLOW;
	if (store->device && off + len > store->length)
		return -ENOSPC;
	while (len) {
		n = pwrite(of(store)->fd, from, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? io_error() : -EIO;
		from += n;
		off += (u64)n;
		len -= (size_t)n;
		store->length = vdisk_max(store->length, off);
	}
	return 0;
}

static int file_flush(struct vdisk_store *store)
{
	return fdatasync(of(store)->fd) ? io_error() : 0;
}

static int file_set_length(struct vdisk_store *store, u64 len)
{
	if (!fits(len, 0))
		return -EFBIG;
	if (ftruncate(of(store)->fd, (off_t)len))
		return io_error();
	store->length = len;
	return 0;
}

static int file_punch(struct vdisk_store *store, u64 off, u64 len)
{
	if (!fits(off, len))
		return -EOVERFLOW;
	if (fallocate(of(store)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)off, (off_t)len))
		return -errno;
	return 0;
}

/*
 * Of a block device, both ways are promises that the bytes read zero: a discard
 * that may leave what was there is another call. A device or file system that
 * cannot do it, or not from these bytes on, is written to.
 */
static int file_zero(struct vdisk_store *store, u64 off, u64 len, bool space)
{
	int mode = space ? FALLOC_FL_ZERO_RANGE
			 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	u64 end;

	if (!fits(off, len) || vdisk_add(off, len, &end) || end > store->length)
		return -EINVAL;
	if (!fallocate(of(store)->fd, mode, (off_t)off, (off_t)len))
		return 0;
	return errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS ||
	       errno == ENODEV ? -EOPNOTSUPP : -errno;
}

/* A hole is filled with what it reads; where holes cannot be told, none is. */
static int file_reserve(struct vdisk_store *store, u64 off, const void *now,
			size_t len)
{
	off_t hole;

	if (store->device || !fits(off, len))
		return 0;
	hole = lseek(of(store)->fd, (off_t)off, SEEK_HOLE);
	if (hole < 0 || (u64)hole >= off + len)
		return 0;
	return file_write(store, off, now, len);
}

static void file_close(struct vdisk_store *store)
{
	close(of(store)->fd);
	free(of(store));
}

static const struct vdisk_store_ops file_ops = {
	.read		= file_read,
	.write		= file_write,
	.flush		= file_flush,
	.set_length	= file_set_length,
	.punch		= file_punch,
	.zero		= file_zero,
	.reserve	= file_reserve,
	.close		= file_close,
};

int vdisk_store_file(int fd, struct vdisk_store **store)
{
	struct file_store *file;
	struct stat st;
	u64 len;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, &len))
			return -errno;
		/* The module writes beside the pages that others have read. */
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	} else if (S_ISREG(st.st_mode)) {
		len = (u64)st.st_size;
	} else {
		return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTBLK;
	}

	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->store.ops = &file_ops;
	file->store.length = len;
	file->store.device = S_ISBLK(st.st_mode);
	file->fd = fd;
	*store = &file->store;
	return 0;
}
