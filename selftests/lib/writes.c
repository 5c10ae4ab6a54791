// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded into a program, writes down what it does to the file WRITES_FILE,
 * in order, to WRITES_LOG: for each call its kind ('w'rite, 'l'ength, 'p'unch,
 * 'f'lush), offset and length as three 64-bit integers, then the bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, uint64_t kind, uint64_t off, uint64_t len,
		 const void *data)
{
	const char *file = getenv("WRITES_FILE"), *to = getenv("WRITES_LOG");
	uint64_t head[3] = { kind, off, len };
	struct stat a, b;
	int log;

	if (!file || !to || fstat(fd, &a) || stat(file, &b) ||
	    a.st_ino != b.st_ino || a.st_dev != b.st_dev)
		return;
	log = open(to, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (log < 0 || write(log, head, sizeof(head)) != sizeof(head) ||
	    (data && write(log, data, len) != (ssize_t)len))
		abort();
	close(log);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
	note(fd, 'w', (uint64_t)off, len, buf);
	return NEXT(pwrite64)(fd, buf, len, off);
}

int ftruncate64(int fd, off64_t len)
{
	note(fd, 'l', (uint64_t)len, 0, NULL);
	return NEXT(ftruncate64)(fd, len);
}

int fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	note(fd, 'p', (uint64_t)off, (uint64_t)len, NULL);
	return NEXT(fallocate64)(fd, mode, off, len);
}

int fdatasync(int fd)
{
	note(fd, 'f', 0, 0, NULL);
	return NEXT(fdatasync)(fd);
}
