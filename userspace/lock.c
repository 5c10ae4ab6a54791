// SPDX-License-Identifier: GPL-2.0-or-later
/* Image locks as QEMU takes them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "lock.h"

enum {
	USED = 100,
	UNSHARED = 200,
	READ = 0,
	WRITE = 1,
	RESIZE = 3,
};

static int take(int fd, off_t byte)
{
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET,
		.l_start = byte, .l_len = 1,
	};

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* Does another open file hold the byte? */
static int test(int fd, off_t byte)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = byte, .l_len = 1,
	};

	if (fcntl(fd, F_OFD_GETLK, &lock))
		return -errno;
	return lock.l_type == F_UNLCK ? 0 : -EBUSY;
}

static const int writer[] = { READ, WRITE, RESIZE };
static const int others[] = { WRITE, RESIZE };

int lock_take(int fd, bool write)
{
	int i, r = 0;

	for (i = 0; !r && i < (write ? 3 : 1); i++)
		r = take(fd, USED + writer[i]);
	for (i = 0; !r && i < 2; i++)
		r = take(fd, UNSHARED + others[i]);
	return r;
}

int lock_image(int fd, bool write)
{
	/*
	 * Take first, then look: of two who come at once at least one sees the
	 * other. A refused caller closes the file, and its locks are gone.
	 */
	int i, r = lock_take(fd, write);

	for (i = 0; !r && i < (write ? 3 : 1); i++)
		r = test(fd, UNSHARED + writer[i]);
	for (i = 0; !r && i < 2; i++)
		r = test(fd, USED + others[i]);
	return r;
}

void lock_lower(int fd)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int i;

	for (i = 0; i < 2; i++) {
		lock.l_start = USED + others[i];
		fcntl(fd, F_OFD_SETLK, &lock);
	}
}
