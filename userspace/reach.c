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

#define LINKS_MOST 40		/* as the kernel has it */

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

/* "nbd:", "json:" and the like; a single letter is a drive. */
static bool is_protocol(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz"
			  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

	return n > 1 && name[n] == ':';
}

char *reach_target(const char *from, const char *name)
{
	char *dir = dir_of(from), *target = normal(dir, name);

	free(dir);
	return target;
}

char *reach_place(const char *image)
{
	const char *slash = strrchr(image, '/'), *base = slash ? slash + 1 : image;
	char *real = realpath(image, NULL), *dir, *place;
	struct stat st;

	if (real || errno != ENOENT || !lstat(image, &st))
		return real;
	dir = slash ? out_text("%.*s", (int)(slash - image + 1), image)
		    : out_text(".");
	real = realpath(dir, NULL);
	free(dir);
	if (!real)
		return NULL;
	place = out_text("%s/%s", strcmp(real, "/") ? real : "", base);
	free(real);
	return place;
}

char *reach_name_for(const char *from, const char *file)
{
	char *dir = dir_of(from);
	const char *name = rest(dir, file);

	free(dir);
	if (!name || !*name)
		return out_text("%s", file);
	/* Nobody may take it for a protocol, a drive, or Windows' way of writing. */
	return out_text("%s%s", name[strcspn(name, ":/")] == ':' ||
			strchr(name, '\\') ? "./" : "", name);
}

char *reach_parent(const char *image, const char *name)
{
	char *place = reach_place(image), *target, *cwd = NULL, *path;
	const char *below = NULL;

	if (!place)
		return NULL;
	target = reach_target(place, name);
	free(place);
	/* As a user would say it who said the image so. */
	if (*image != '/' && *name != '/')
		cwd = getcwd(NULL, 0);
	if (cwd)
		below = rest(cwd, target);
	free(cwd);
	if (!below || !*below)
		return target;
	path = out_text("%s", below);
	free(target);
	return path;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The same file again by its @path, where there is no /proc. */
static int open_again(struct reach *reach, const struct stat *st, const char *path,
		      int flags, struct reach_file *file)
{
	struct stat now;

	file->path = realpath(path, NULL);
	if (!file->path)
		return fail_errno(reach, errno);
	file->fd = open(file->path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0 || fstat(file->fd, &now)) {
		now.st_ino = 0;
		fail_errno(reach, errno);
	} else if (!is_same(st, &now)) {
		fail(reach, -ESTALE, out_text("Name leads to another file "
					      "(is /proc mounted?)"));
	} else {
		return 0;
	}
	reach_close(file);
	return -ESTALE;
}

/*
 * From a descriptor that only points at a file to one that reads it. Looking
 * first what it is keeps open() from what opening a device or FIFO may do.
 * @name: by which it was found.
 */
static int open_found(struct reach *reach, int at, const char *name, bool write,
		      bool named, struct reach_file *file)
{
	char proc[32], path[PATH_MAX];
	struct stat st;
	ssize_t n;
	int flags;

	if (fstat(at, &st))
		return fail_errno(reach, errno);
	file->directory = S_ISDIR(st.st_mode);
	file->device = S_ISBLK(st.st_mode);
	if (!S_ISREG(st.st_mode) &&
	    !(named && (file->device || file->directory)))
		return fail(reach, -EINVAL, out_text("Not a regular file"));

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", at);
	flags = (write && !file->directory ? O_RDWR : O_RDONLY) | O_CLOEXEC;
	n = readlink(proc, path, sizeof(path) - 1);
	if (n < 0 && (errno == ENOENT || errno == EACCES))
		return open_again(reach, &st, name, flags, file);
	if (n < 0 && errno == ENAMETOOLONG)
		return fail(reach, -ENAMETOOLONG,
			    out_text("Path is longer than %u bytes", PATH_MAX - 1));
	if (n < 0)
		return fail_errno(reach, errno);
	path[n] = 0;
	file->fd = open(proc, flags);
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

	/* What is not there holds nothing that could be allowed. */
	if (!real && (errno == ENOENT || errno == ENOTDIR))
		return 0;
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

/* Takes @dir over. */
static int add_bases(struct reach *reach, char *dir, const char **allow,
		     unsigned int nr_allow)
{
	int r = add_base(reach, dir);
	unsigned int i;

	free(dir);
	for (i = 0; !r && i < nr_allow; i++)
		r = add_base(reach, allow[i]);
	return r;
}

int reach_begin(struct reach *reach, const char *from, const char **allow,
		unsigned int nr_allow)
{
	*reach = (struct reach){ 0 };
	return add_bases(reach, dir_of(from), allow, nr_allow);
}

int reach_image(struct reach *reach, const char *image, const char **allow,
		unsigned int nr_allow, bool write, struct reach_file *file)
{
	int at, r;

	*reach = (struct reach){ 0 };
	*file = (struct reach_file){ .fd = -1 };
	at = open(image, O_PATH | O_CLOEXEC);
	if (at < 0)
		return fail_errno(reach, errno);
	r = open_found(reach, at, image, write, true, file);
	close(at);
	if (r)
		return r;
	/* A bundle is its own directory. */
	r = add_bases(reach, file->directory ? out_text("%s", file->path) :
		      dir_of(file->path), allow, nr_allow);
	if (r)
		reach_close(file);
	return r;
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

struct walk {
	int *fd;		/* from the base down to where it is */
	unsigned int nr;
	char *left;		/* of the name */
	unsigned int links;
};

static int step_up(struct walk *w)
{
	if (w->nr == 1)
		return -EXDEV;
	close(w->fd[--w->nr]);
	return 0;
}

/* The text of the link at @fd comes before what is left. */
static int follow(struct walk *w, int fd)
{
	char text[PATH_MAX], *left;
	ssize_t n = readlinkat(fd, "", text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = 0;
	if (*text == '/')
		return -EXDEV;
	if (++w->links > LINKS_MOST)
		return -ELOOP;
	left = out_text("%s/%s", text, w->left);
	free(w->left);
	w->left = left;
	return 0;
}

/* Takes the first name of what is left. */
static int step(struct walk *w)
{
	char *name = w->left + strspn(w->left, "/");
	size_t len = strcspn(name, "/");
	struct stat st;
	int fd, r = 0;

	name = out_text("%.*s", (int)len, name);
	memmove(w->left, w->left + strspn(w->left, "/") + len,
		strlen(w->left + strspn(w->left, "/") + len) + 1);
	if (!strcmp(name, "..")) {
		r = step_up(w);
	} else if (*name && strcmp(name, ".")) {
		fd = openat(w->fd[w->nr - 1], name,
			    O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0) {
			r = -errno;
		} else if (!fstat(fd, &st) && S_ISLNK(st.st_mode)) {
			r = follow(w, fd);
			close(fd);
		} else {
			w->fd = out_grow(w->fd, w->nr + 1, sizeof(*w->fd));
			w->fd[w->nr++] = fd;
		}
	}
	free(name);
	return r;
}

/*
 * What openat2() does, for where there is none, or a filter of system calls
 * refuses it: never above @base, whatever links say.
 */
static int walk(int base, const char *name)
{
	struct walk w = {
		.fd = out_alloc(1, sizeof(*w.fd)), .nr = 1,
		.left = out_text("%s", name),
	};
	int at, r = 0;

	w.fd[0] = at = dup(base);
	if (at < 0)
		r = -errno;
	while (!r && *w.left)
		r = step(&w);
	if (!r)
		at = w.fd[--w.nr];
	while (w.nr)
		close(w.fd[--w.nr]);
	free(w.fd);
	free(w.left);
	return r ? r : at;
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
	if (at >= 0)
		return at;
	return errno == ENOSYS || errno == EPERM ? walk(b->fd, left) : -errno;
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
	char *target;
	int at = -EPERM, r = -EPERM;
	unsigned int i;

	*file = (struct reach_file){ .fd = -1 };
	if (!*name)
		return fail(reach, -EINVAL, out_text("Empty file name"));
	if (is_protocol(name))
		return fail(reach, -EINVAL,
			    out_text("%s is not the name of a file",
				     out_name(name)));
	target = reach_target(from, name);
	for (i = strange; at < 0 && i < reach->nr_bases; i++) {
		at = open_beneath(&reach->base[i], target);
		out_note(OUT_DEBUG, from, "Trying %s beneath %s: %s",
			 out_name(target), out_name(reach->base[i].real),
			 at < 0 ? strerror(-at) : "found");
		/* What the first place that could hold it said counts. */
		if (at < 0 && (r == -EPERM || r == -ENOTDIR))
			r = at;
	}
	if (at < 0) {
		free(target);
		return say_outside(reach, name, r);
	}
	r = open_found(reach, at, target, write,
		       i > 1 && reach->base[i - 1].fd < 0, file);
	free(target);
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
