// SPDX-License-Identifier: GPL-2.0
/*
 * LD_PRELOAD: what a program does to its files goes wrong from the TRIP_AT-th
 * thing on. TRIP_HOW=full: nothing more fits, as on a full disk: bytes that are
 * there can be written, holes and what lies behind the end cannot. TRIP_HOW=INT,
 * TRIP_HOW=34: that signal comes, once. TRIP_COUNT=FILE: tell there how many things were done.
 *
 * TRIP_HOW=rename, TRIP_HOW=fsync: only the TRIP_AT-th of these fails.
 *
 * TRIP_HOW=call: the TRIP_AT-th thing done to a name or to what a file is fails;
 * TRIP_HOW=calls: and all after it do; TRIP_HOW=kill: the program is killed before
 * it. TRIP_CALLS=FILE: tell there how many there were.
 *
 * TRIP_SWAP=new:old: when a path that ends in /old is opened for the first time, the
 * file new has just been renamed to it.
 *
 * TRIP_NO=proc,openat2: as where /proc is not mounted, or openat2() is refused;
 * exchange, noreplace, link, tmpfile: as on a file system that cannot do that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static unsigned long done;

static int signal_of(const char *how)
{
	int sig;

	for (sig = 1; sig < 32; sig++)
		if (!strcmp(how, sigabbrev_np(sig)))
			return sig;
	return atoi(how);
}

/* Is it full by now? */
static int tick(void)
{
	const char *at = getenv("TRIP_AT"), *how = getenv("TRIP_HOW");
	unsigned long trip = at ? strtoul(at, NULL, 10) : 0;

	done++;
	if (!trip || !how || done < trip)
		return 0;
	if (!strcmp(how, "full"))
		return 1;
	if (done == trip && signal_of(how))
		raise(signal_of(how));
	return 0;
}

/* Would it take space that the file has not got? */
static int is_new(int fd, off64_t off, size_t len)
{
	struct stat st;
	off64_t hole;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	hole = lseek64(fd, off, SEEK_HOLE);
	return hole < off + (off64_t)len;
}

/* Is this the one that fails? */
static int fails(const char *what, unsigned long *count)
{
	const char *at = getenv("TRIP_AT"), *how = getenv("TRIP_HOW");

	if (!at || !how || strcmp(how, what) || ++*count != strtoul(at, NULL, 10))
		return 0;
	errno = EIO;
	return 1;
}

static unsigned long renames, syncs, calls;

static int is_missing(const char *what)
{
	const char *no = getenv("TRIP_NO");

	return no && strstr(no, what);
}

/* What is done to a name, or to what a file is. */
static int call(void)
{
	const char *at = getenv("TRIP_AT"), *how = getenv("TRIP_HOW");
	unsigned long trip = at ? strtoul(at, NULL, 10) : 0;

	calls++;
	if (!how || !trip)
		return 0;
	if (!strcmp(how, "kill") && calls == trip)
		kill(getpid(), SIGKILL);
	if ((!strcmp(how, "call") && calls == trip) ||
	    (!strcmp(how, "calls") && calls >= trip)) {
		errno = EIO;
		return 1;
	}
	return 0;
}

static int missing(int err)
{
	errno = err;
	return -1;
}

int rename(const char *from, const char *to)
{
	return call() || fails("rename", &renames) ? -1 : NEXT(rename)(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
	      unsigned int flags)
{
	if (call() || fails("rename", &renames))
		return -1;
	if ((flags & RENAME_EXCHANGE && is_missing("exchange")) ||
	    (flags & RENAME_NOREPLACE && is_missing("noreplace")))
		return missing(EINVAL);
	return NEXT(renameat2)(from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to)
{
	if (call())
		return -1;
	return is_missing("link") ? missing(EPERM) : NEXT(link)(from, to);
}

int unlink(const char *path)
{
	return call() ? -1 : NEXT(unlink)(path);
}

int fchown(int fd, uid_t uid, gid_t gid)
{
	return call() ? -1 : NEXT(fchown)(fd, uid, gid);
}

int fchmod(int fd, mode_t mode)
{
	return call() ? -1 : NEXT(fchmod)(fd, mode);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
	if (tick() && is_new(fd, off, len)) {
		errno = ENOSPC;
		return -1;
	}
	return NEXT(pwrite64)(fd, buf, len, off);
}

int ftruncate64(int fd, off64_t len)
{
	tick();
	return NEXT(ftruncate64)(fd, len);
}

int fdatasync(int fd)
{
	tick();
	return NEXT(fdatasync)(fd);
}

int fsync(int fd)
{
	tick();
	if (call() || fails("fsync", &syncs))
		return -1;
	return NEXT(fsync)(fd);
}

static int in_proc(const char *path)
{
	return is_missing("proc") && !strncmp(path, "/proc/", 6);
}

static void swap(const char *path)
{
	static int over;
	const char *what = getenv("TRIP_SWAP"), *old = what ? strchr(what, ':') : NULL;
	const char *base = strrchr(path, '/');
	char new[256];

	if (!old || !base || over || strcmp(base + 1, old + 1))
		return;
	over = 1;
	snprintf(new, sizeof(new), "%.*s", (int)(old - what), what);
	NEXT(rename)(new, path);
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if (in_proc(path)) {
		errno = ENOENT;
		return -1;
	}
	swap(path);
	if ((flags & O_TMPFILE) == O_TMPFILE && is_missing("tmpfile"))
		return missing(EOPNOTSUPP);
	if (flags & O_CREAT && call())
		return -1;
	return NEXT(open64)(path, flags, mode);
}

int access(const char *path, int mode)
{
	if (in_proc(path)) {
		errno = ENOENT;
		return -1;
	}
	return NEXT(access)(path, mode);
}

ssize_t readlink(const char *path, char *buf, size_t len)
{
	if (in_proc(path)) {
		errno = ENOENT;
		return -1;
	}
	return NEXT(readlink)(path, buf, len);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	if (in_proc(from)) {
		errno = ENOENT;
		return -1;
	}
	if (call())
		return -1;
	return NEXT(linkat)(from_dir, from, to_dir, to, flags);
}

long syscall(long number, ...)
{
	long a[5], (*next)(long number, ...) = dlsym(RTLD_NEXT, "syscall");
	va_list args;
	int i;

	va_start(args, number);
	for (i = 0; i < 5; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_openat2 && is_missing("openat2")) {
		errno = ENOSYS;
		return -1;
	}
	return next(number, a[0], a[1], a[2], a[3], a[4]);
}

__attribute__((destructor)) static void tell(void)
{
	const char *to = getenv("TRIP_COUNT");
	FILE *file = to ? fopen(to, "w") : NULL;

	if (file) {
		fprintf(file, "%lu\n", done);
		fclose(file);
	}
	to = getenv("TRIP_CALLS");
	file = to ? fopen(to, "w") : NULL;
	if (file) {
		fprintf(file, "%lu\n", calls);
		fclose(file);
	}
}
