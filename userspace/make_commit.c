// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files of a new image get their names, all of them or none.
 *
 * What had such a name before keeps one until the end, so that there is always a
 * way back: it changes names with the new file, or is linked or renamed aside
 * first where the file system cannot do that (NFS, 9p, CIFS, FUSE). It is locked
 * from the moment it was looked at, and the name must still be its own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attrs.h"
#include "make.h"
#include "out.h"
#include "signals.h"

#define MEANWHILE "Another file has taken its place meanwhile"

static bool fail(const char *subject, int err)
{
	out_error(subject, "%s", err == ESTALE ? MEANWHILE : strerror(err));
	return false;
}

/* @err: 0 or an errno, if a file system may just not know how. */
static bool cannot(int err)
{
	return err == EINVAL || err == ENOSYS || err == EOPNOTSUPP ||
	       err == EPERM || err == EMLINK;
}

static int sync_fd(int fd)
{
	/* EINVAL: a directory of a file system that has no use for it. */
	return fsync(fd) && errno != EINVAL ? errno : 0;
}

static int sync_at(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return errno;
	err = sync_fd(fd);
	close(fd);
	return err;
}

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? out_text("%.*s", (int)(slash - path + 1), path)
		     : out_text(".");
}

/* What the files hold comes before their names. */
bool make_sync(const struct make *make)
{
	unsigned int i = make->nr;
	const struct make_file *file;
	int err;

	while (i--) {
		file = &make->file[i];
		err = file->fd < 0 ? sync_at(file->temp) : sync_fd(file->fd);
		if (err)
			return fail(file->path, err);
	}
	return true;
}

/* Links may have led to several; the one of most files is not asked again. */
static int sync_directories(const struct make *make)
{
	char *last = NULL, *dir;
	unsigned int i;
	int err = 0;

	for (i = 0; !err && i < make->nr; i++) {
		if (make->file[i].inside)
			continue;
		dir = directory_of(make->file[i].path);
		if (!last || strcmp(last, dir))
			err = sync_at(dir);
		free(last);
		last = dir;
	}
	free(last);
	return err;
}

/*-----------------------------------------------------------------
 * Names
 */

static bool is_at(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !lstat(path, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* A name for a file that has none. */
static int link_to(const struct make_file *file, const char *path)
{
	char proc[32];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", file->fd);
	return linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) ?
	       errno : 0;
}

/* Never over a file that came in the meantime. */
static int move(const char *from, const char *to, bool directory)
{
	int err;

	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	if (!cannot(errno))
		return errno;
	/* A file system that cannot do it in one. */
	if (!directory && !link(from, to)) {
		err = unlink(from) ? errno : 0;
		if (err)
			unlink(to);
		return err;
	}
	if (!directory && !cannot(errno))
		return errno;
	if (!access(to, F_OK))
		return EEXIST;
	return rename(from, to) ? errno : 0;
}

static void drop_temp(struct make_file *file)
{
	free(file->temp);
	file->temp = NULL;
}

/* Where nothing is. */
static int place_new(struct make_file *file)
{
	int err = file->temp ? move(file->temp, file->path, file->directory)
			     : link_to(file, file->path);

	file->placed = !err;
	if (!err && !file->directory)
		drop_temp(file);
	return err;
}

/* The old file is at another name after it, and maybe at its own. */
static int put_aside(const struct make *make, struct make_file *file)
{
	char *aside = make_temp_name(make->nr, file->path);
	bool linked = !link(file->path, aside);
	int err = linked ? 0 : errno;

	if (err && cannot(err))
		err = move(file->path, aside, false);
	/* Some file systems give each link an inode number of its own. */
	if (!err && !is_at(file->old_fd, aside) &&
	    !(linked && is_at(file->old_fd, file->path))) {
		/* Whatever that is, it gets its name back. */
		if (linked)
			unlink(aside);
		else
			move(aside, file->path, false);
		err = ESTALE;
	}
	if (err)
		free(aside);
	else
		file->aside = aside;
	return err;
}

static int place_over(const struct make *make, struct make_file *file)
{
	int err = put_aside(make, file);

	if (err)
		return err;
	if (is_at(file->old_fd, file->path))
		err = rename(file->temp, file->path) ? errno : 0;
	else
		err = move(file->temp, file->path, false);
	file->placed = !err;
	if (!err)
		drop_temp(file);
	return err;
}

static int replace(const struct make *make, struct make_file *file)
{
	int err = file->fd < 0 ? EBADF : -attrs_copy(file->old_fd, file->fd);

	if (!err && !is_at(file->old_fd, file->path))
		err = ESTALE;
	if (!err && !file->temp) {
		file->temp = make_temp_name(make->nr, file->path);
		err = link_to(file, file->temp);
		if (err)
			drop_temp(file);
	}
	if (err)
		return err;
	if (renameat2(AT_FDCWD, file->temp, AT_FDCWD, file->path,
		      RENAME_EXCHANGE))
		return cannot(errno) ? place_over(make, file) : errno;
	file->placed = true;
	file->aside = file->temp;
	file->temp = NULL;
	return is_at(file->old_fd, file->aside) ? 0 : ESTALE;
}

/* What is at @file->path loses the name again, to what had it before. */
static void take_back(struct make_file *file)
{
	int err = 0;

	if (file->aside && is_at(file->old_fd, file->path))
		err = unlink(file->aside) ? errno : 0;
	else if (file->aside && file->placed)
		err = rename(file->aside, file->path) ? errno : 0;
	else if (file->aside)
		err = move(file->aside, file->path, false);
	else if (file->placed && file->directory)
		err = rename(file->path, file->temp) ? errno : 0;
	else if (file->placed && is_at(file->fd, file->path))
		err = unlink(file->path) ? errno : 0;
	if (err && file->aside)
		out_error(file->path, "The file that was there is %s now: %s",
			  out_name(file->aside), strerror(err));
	else if (err)
		out_error(file->path, "Cannot be taken away again: %s",
			  strerror(err));
	file->placed = false;
	free(file->aside);
	file->aside = NULL;
}

void make_take_back(struct make *make)
{
	bool any = false;
	unsigned int i;

	for (i = 0; i < make->nr; i++) {
		any |= make->file[i].placed || make->file[i].aside;
		take_back(&make->file[i]);
	}
	if (any)
		sync_directories(make);
}

/* The one the user named comes last: nobody finds half an image by it. */
bool make_place(struct make *make)
{
	unsigned int i = make->nr;
	struct make_file *file;
	int err = 0;

	if (!make_sync(make))
		return false;
	while (!err && i--) {
		file = &make->file[i];
		if (!file->inside)
			err = file->old_fd < 0 ? place_new(file)
					       : replace(make, file);
	}
	i = err ? i : 0;
	if (!err)
		err = sync_directories(make);
	if (err) {
		fail(make->file[i].path, err);
		make_take_back(make);
	}
	return !err;
}

void make_keep(struct make *make)
{
	struct make_file *file;
	unsigned int i;

	make->kept = true;
	for (i = 0; i < make->nr; i++) {
		file = &make->file[i];
		if (file->aside && unlink(file->aside))
			out_warn(file->path, "The file that was there is %s now: "
				 "%s", out_name(file->aside), strerror(errno));
	}
}

bool make_commit(struct make *make)
{
	sigset_t old;
	bool good;

	if (make->dry)
		return true;
	/* It may take long, and may be interrupted. */
	if (!make_sync(make))
		return false;
	signals_hold(&old);
	good = make_place(make);
	if (good)
		make_keep(make);
	signals_let(&old);
	return good;
}
