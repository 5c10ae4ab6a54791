// SPDX-License-Identifier: GPL-2.0
/*
 * LD_PRELOAD: the power goes, at the CUT_AT-th thing that a program does to its
 * files. Each sector written since its file's last flush is then the new one or
 * the old one, by the dice of CUT_SEED. CUT_COUNT=FILE: tell there how many
 * things were done by a program that came to its end.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = 512, FILES = 64 };

/* A sector as it was when it was flushed last. */
struct old {
	off_t off;
	ssize_t len;
	char data[SECTOR];
};

static struct file {
	struct old *old;
	size_t nr;
} files[FILES];

static unsigned long done;

static ssize_t real_write(int fd, const void *buf, size_t len, off_t off)
{
	static ssize_t (*fn)(int, const void *, size_t, off_t);

	if (!fn)
		*(void **)&fn = dlsym(RTLD_NEXT, "pwrite64");
	return fn(fd, buf, len, off);
}

static unsigned long number(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

static void lose(int fd, unsigned int *seed)
{
	struct file *f = &files[fd];
	size_t i;

	for (i = 0; i < f->nr; i++)
		if (rand_r(seed) & 64)
			real_write(fd, f->old[i].data, (size_t)f->old[i].len,
				   f->old[i].off);
}

static void tick(void)
{
	unsigned long at = number("CUT_AT");
	unsigned int seed = (unsigned int)(number("CUT_SEED") + at);
	int fd;

	if (++done != at)
		return;
	for (fd = 0; fd < FILES; fd++)
		lose(fd, &seed);
	_exit(77);
}

static void remember(int fd, size_t len, off_t off)
{
	struct file *f = &files[fd];
	off_t at = off & ~(off_t)(SECTOR - 1);
	size_t i;

	for (; at < off + (off_t)len; at += SECTOR) {
		for (i = 0; i < f->nr && f->old[i].off != at; i++)
			;
		if (i < f->nr)
			continue;
		f->old = realloc(f->old, (f->nr + 1) * sizeof(*f->old));
		if (!f->old)
			abort();
		f->old[i].off = at;
		f->old[i].len = pread(fd, f->old[i].data, SECTOR, at);
		f->nr += f->old[i].len > 0;
	}
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	tick();
	/* Much at once is content, and would take long to be remembered. */
	if (fd < FILES && len <= 1 << 16)
		remember(fd, len, off);
	return real_write(fd, buf, len, off);
}

#define DURABLE(name) \
int name(int fd) \
{ \
	static int (*fn)(int); \
\
	if (!fn) \
		*(void **)&fn = dlsym(RTLD_NEXT, #name); \
	tick(); \
	if (fd < FILES) \
		files[fd].nr = 0; \
	return fn(fd); \
}

DURABLE(fdatasync)
DURABLE(fsync)

int ftruncate64(int fd, off_t len)
{
	static int (*fn)(int, off_t);

	if (!fn)
		*(void **)&fn = dlsym(RTLD_NEXT, "ftruncate64");
	tick();
	return fn(fd, len);
}

int rename(const char *from, const char *to)
{
	static int (*fn)(const char *, const char *);

	if (!fn)
		*(void **)&fn = dlsym(RTLD_NEXT, "rename");
	tick();
	return fn(from, to);
}

static void __attribute__((destructor)) tell(void)
{
	const char *path = getenv("CUT_COUNT");
	FILE *f = path ? fopen(path, "w") : NULL;

	if (!f)
		return;
	fprintf(f, "%lu\n", done);
	fclose(f);
}
