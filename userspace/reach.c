// SPDX-License-Identifier: GPL-2.0-or-later
/* Which files a command may open. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "out.h"
#include "reach.h"

static int fail(struct reach *reach, int err, char *why)
{
	free(reach->why);
	reach->why = why;
	return err;
}

static int fail_errno(struct reach *reach, int err)
{
	return fail(reach, -err, out_text("%s", strerror(err)));
}

/* @path after @dir, "." and ".." worked off by their letters alone. */
static char *normal(const char *dir, const char *path)
{
	char *all = out_text("%s/%s", *path == '/' ? "" : dir, path);
	char *to = all, *from = all, *end;
	size_t n;

	while (*from) {
		from += strspn(from, "/");
		end = strchrnul(from, '/');
		n = (size_t)(end - from);
		if (n == 2 && from[0] == '.' && from[1] == '.') {
			while (to > all && *--to != '/')
				;
		} else if (n && !(n == 1 && *from == '.')) {
			*to++ = '/';
			memmove(to, from, n);
			to += n;
		}
		from = end;
	}
	if (to == all)
		*to++ = '/';
	*to = 0;
	return all;
}

/* What is left of @path beneath @dir; "" if it is @dir; NULL if outside. */
static const char *rest(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	if (!strcmp(dir, "/"))
		return path + 1;
	if (strncmp(path, dir, n) || (path[n] && path[n] != '/'))
		return NULL;
	return path[n] ? path + n + 1 : path + n;
}

static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return out_text("%.*s", slash > path ? (int)(slash - path) : 1, path);
}

/*
 * From a descriptor that only points at a file to one that reads it. Looking
 * first what it is keeps open() from what opening a device or FIFO may do.
 */
static int open_found(struct reach *reach, int at, bool write, bool named,
		      struct reach_file *file)
{
	char proc[32], path[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstat(at, &st))
		return fail_errno(reach, errno);
	file->directory = S_ISDIR(st.st_mode);
	file->device = S_ISBLK(st.st_mode);
	if (!S_ISREG(st.st_mode) &&
	    !(named && (file->device || file->directory)))
		return fail(reach, -EINVAL, out_text("Not a regular file"));

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", at);
	n = readlink(proc, path, sizeof(path) - 1);
	if (n < 0)
		return fail_errno(reach, errno);
	path[n] = 0;
	file->fd = open(proc, (write && !file->directory ? O_RDWR : O_RDONLY) |
			O_CLOEXEC);
	if (file->fd < 0)
		return fail_errno(reach, errno);
	file->path = out_text("%s", path);
	return 0;
}

static int add_base(struct reach *reach, const char *path)
{
	struct reach_base *b;
	char *real = realpath(path, NULL), *cwd;
	struct stat st;

	if (!real || stat(real, &st)) {
		free(real);
		return fail(reach, -errno,
			    out_text("Path to allow, %s: %s", out_name(path),
				     strerror(errno)));
	}
	cwd = getcwd(NULL, 0);
	reach->base = out_grow(reach->base, reach->nr_bases + 1,
			       sizeof(*reach->base));
	b = &reach->base[reach->nr_bases++];
	b->said = normal(cwd ? cwd : "/", path);
	b->real = real;
	b->fd = S_ISDIR(st.st_mode) ?
		open(real, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	free(cwd);
	return 0;
}

int reach_image(struct reach *reach, const char *image, const char **allow,
		unsigned int nr_allow, bool write, struct reach_file *file)
{
	unsigned int i;
	char *dir;
	int at, r;

	*reach = (struct reach){ 0 };
	*file = (struct reach_file){ .fd = -1 };
	at = open(image, O_PATH | O_CLOEXEC);
	if (at < 0)
		return fail_errno(reach, errno);
	r = open_found(reach, at, write, true, file);
	close(at);
	if (r)
		return r;
	/* A bundle is its own directory. */
	dir = file->directory ? out_text("%s", file->path) : dir_of(file->path);
	r = add_base(reach, dir);
	free(dir);
	for (i = 0; !r && i < nr_allow; i++)
		r = add_base(reach, allow[i]);
	if (r)
		reach_close(file);
	return r;
}

/* "nbd:", "json:" and the like; a single letter is a drive. */
static bool is_protocol(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz"
			  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

	return n > 1 && name[n] == ':';
}

static bool climbs(const char *name)
{
	const char *p = name;

	while ((p = strstr(p, ".."))) {
		if ((p == name || p[-1] == '/') && (!p[2] || p[2] == '/'))
			return true;
		p += 2;
	}
	return false;
}

static int open_beneath(const struct reach_base *b, const char *target)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	const char *left = rest(b->said, target);
	int at;

	if (!left)
		left = rest(b->real, target);
	if (!left)
		return -ENOTDIR;
	if (b->fd < 0) {
		at = *left ? -1 : open(b->real, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		return at < 0 ? -ENOTDIR : at;
	}
	at = (int)syscall(SYS_openat2, b->fd, *left ? left : ".", &how,
			  sizeof(how));
	return at < 0 ? -errno : at;
}

/* Why none of the places the user gave holds @name. */
static int say_outside(struct reach *reach, const char *name, int err)
{
	if (err == -EXDEV)
		return fail(reach, -EPERM,
			    out_text("%s leads out of %s (see --allow-path)",
				     out_name(name),
				     out_name(reach->base[0].real)));
	if (err != -EPERM && err != -ENOTDIR)
		return fail(reach, err, out_text("%s: %s", out_name(name),
						 strerror(-err)));
	return fail(reach, -EPERM, *name == '/' ?
		    out_text("%s is an absolute path (see --allow-path)",
			     out_name(name)) :
		    out_text("%s leads out of %s (see --allow-path)",
			     out_name(name), out_name(reach->base[0].real)));
}

int reach_named(struct reach *reach, const char *from, const char *name,
		bool write, struct reach_file *file)
{
	bool strange = *name == '/' || climbs(name);
	char *dir, *target;
	int at = -EPERM, r = -EPERM;
	unsigned int i;

	*file = (struct reach_file){ .fd = -1 };
	if (!*name)
		return fail(reach, -EINVAL, out_text("Empty file name"));
	if (is_protocol(name))
		return fail(reach, -EINVAL,
			    out_text("%s is not the name of a file",
				     out_name(name)));
	dir = dir_of(from);
	target = normal(dir, name);
	for (i = strange; at < 0 && i < reach->nr_bases; i++) {
		at = open_beneath(&reach->base[i], target);
		/* What the first place that could hold it said counts. */
		if (at < 0 && (r == -EPERM || r == -ENOTDIR))
			r = at;
	}
	free(dir);
	free(target);
	if (at < 0)
		return say_outside(reach, name, r);
	r = open_found(reach, at, write, i > 1 && reach->base[i - 1].fd < 0,
		       file);
	close(at);
	if (!r && file->directory) {
		reach_close(file);
		r = fail(reach, -EISDIR, out_text("Not a regular file"));
	}
	if (r) {
		char *why = reach->why;

		reach->why = NULL;
		fail(reach, r, out_text("%s: %s", out_name(name), why));
		free(why);
	}
	return r;
}

int reach_claim(struct reach *reach, const struct reach_file *file)
{
	struct stat st;
	unsigned int i;

	if (fstat(file->fd, &st))
		return fail_errno(reach, errno);
	if (S_ISBLK(st.st_mode)) {	/* of any node of any name */
		st.st_dev = st.st_rdev;
		st.st_ino = 0;
	}
	for (i = 0; i < reach->nr_seen; i++)
		if (reach->seen[i].dev == st.st_dev &&
		    reach->seen[i].ino == st.st_ino)
			return fail(reach, -ELOOP,
				    out_text("%s is in the chain twice",
					     out_name(file->path)));
	reach->seen = out_grow(reach->seen, reach->nr_seen + 1,
			       sizeof(*reach->seen));
	reach->seen[reach->nr_seen].dev = st.st_dev;
	reach->seen[reach->nr_seen++].ino = st.st_ino;
	return 0;
}

void reach_unclaim(struct reach *reach)
{
	reach->nr_seen--;
}

void reach_close(struct reach_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	*file = (struct reach_file){ .fd = -1 };
}

void reach_end(struct reach *reach)
{
	unsigned int i;

	for (i = 0; i < reach->nr_bases; i++) {
		free(reach->base[i].said);
		free(reach->base[i].real);
		if (reach->base[i].fd >= 0)
			close(reach->base[i].fd);
	}
	free(reach->base);
	free(reach->seen);
	free(reach->why);
	*reach = (struct reach){ 0 };
}
