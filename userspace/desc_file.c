// SPDX-License-Identifier: GPL-2.0-or-later
/* A small file gets other bytes, all or none. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attrs.h"
#include "desc_file.h"
#include "lock.h"
#include "make.h"
#include "out.h"

static int sync_directory(const char *path)
{
	char *dir = out_text("%.*s", (int)(strrchr(path, '/') - path + 1), path);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	if (fd < 0 || fsync(fd))
		r = -errno;
	if (fd >= 0)
		close(fd);
	free(dir);
	return r;
}

static int fill(int fd, const char *text)
{
	ssize_t len = (ssize_t)strlen(text), n = pwrite(fd, text, (size_t)len, 0);

	if (n < 0 || (n == len && fsync(fd)))
		return -errno;
	return n == len ? 0 : -ENOSPC;
}

/* Nobody else's descriptor leads to the new file: it takes the place of @fd. */
static int take_place(int new, int fd)
{
	int r = lock_take(new, true);

	/* Where there are no locks the old file had none either. */
	if (r == -EBUSY)
		return r;
	return dup3(new, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int desc_file_replace(const char *path, int fd, const char *text)
{
	struct stat st, now;
	char *name;
	int new, r;

	if (fstat(fd, &st) || lstat(path, &now))
		return -errno;
	if (st.st_dev != now.st_dev || st.st_ino != now.st_ino)
		return -ESTALE;
	if (st.st_nlink > 1)
		return -EMLINK;
	name = make_temp_name(0, path);
	new = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (new < 0) {
		r = -errno;
		free(name);
		return r;
	}
	r = attrs_copy(fd, new);
	if (!r)
		r = fill(new, text);
	if (!r && rename(name, path))
		r = -errno;
	if (r)
		unlink(name);
	if (!r)
		r = sync_directory(path);
	if (!r)
		r = take_place(new, fd);
	close(new);
	free(name);
	return r;
}
