// SPDX-License-Identifier: GPL-2.0-or-later
/* The files of a new image, from nothing to their names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lock.h"
#include "make.h"
#include "out.h"
#include "signals.h"

#define CHUNK (128u * 1024)

/* For the handler of signals: whose files are to be removed. */
static struct make *volatile unfinished;

/* What a handler of signals may do: unlink() and rmdir(). */
static void remove_files(const struct make *make)
{
	unsigned int i = make->nr;

	while (i--) {
		if (make->file[i].directory)
			rmdir(make->file[i].temp);
		else
			unlink(make->file[i].temp);
	}
}

static void give_up(int sig)
{
	if (unfinished)
		remove_files(unfinished);
	signal(sig, SIG_DFL);
	raise(sig);
}

void make_begin(struct make *make, const char *image,
		const struct make_kind *kind)
{
	unsigned int nr = 0;

	while (kind->option[nr].name)
		nr++;
	*make = (struct make){
		.image = image, .kind = kind,
		.value = out_alloc(nr, sizeof(*make->value)),
	};
	unfinished = make;
	signals_catch(give_up);
}

/*-----------------------------------------------------------------
 * Making
 */

static bool fail(const char *subject, int err)
{
	out_error(subject, "%s", strerror(err));
	return false;
}

static bool is_source(const struct make *make, const struct stat *st)
{
	unsigned int i;

	for (i = 0; make->sources && i < make->sources->nr_seen; i++)
		if (make->sources->seen[i].dev == st->st_dev &&
		    make->sources->seen[i].ino == st->st_ino)
			return true;
	return false;
}

static bool is_locked(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return false;
	r = lock_image(fd, true);
	close(fd);
	return r == -EBUSY;
}

/* Why a file that is there may not be replaced, or NULL. */
static const char *old_fault(const struct make *make, const char *path,
			     const struct stat *st)
{
	if (!make->force)
		return strerror(EEXIST);
	if (S_ISDIR(st->st_mode))
		return strerror(EISDIR);
	if (!S_ISREG(st->st_mode))
		return "Not a regular file";
	if (is_source(make, st))
		return "The new image is made from this file";
	return is_locked(path) ? "Image is in use by another program" : NULL;
}

/*
 * May @path be made? Fills what is known of @file: where it is (a link's file is
 * replaced, not the link), and whom the file there belongs to.
 */
static bool check_path(const struct make *make, const char *path,
		       struct make_file *file)
{
	const char *fault;
	struct stat st;

	if (lstat(path, &st)) {
		if (errno != ENOENT)
			return fail(path, errno);
		file->path = out_text("%s", path);
		return true;
	}
	if (S_ISLNK(st.st_mode) && make->force) {
		file->path = realpath(path, NULL);
		if (!file->path || stat(file->path, &st))
			return fail(path, errno);
	} else {
		file->path = out_text("%s", path);
	}
	fault = old_fault(make, file->path, &st);
	if (fault)
		out_error(path, "%s", fault);
	file->replaces = true;
	file->uid = st.st_uid;
	file->gid = st.st_gid;
	file->mode = st.st_mode & 0777;
	return !fault;
}

/* A name of its own beside @path, not used by a program that was killed. */
static char *temp_name(const struct make *make, const char *path)
{
	const char *slash = strrchr(path, '/');
	unsigned int i = make->nr;
	struct stat st;
	char *name;

	for (;; i++) {
		name = out_text("%.*s.vdisk-%ld-%u",
				slash ? (int)(slash - path + 1) : 0, path,
				(long)getpid(), i);
		if (lstat(name, &st))
			return name;
		free(name);
	}
}

/* Until it has the owner of what it replaces it is nobody else's to read. */
static int create(const struct make_file *file)
{
	int fd;

	if (file->directory)
		return mkdir(file->temp, 0777);
	fd = open(file->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		  file->replaces ? 0600 : 0666);
	return fd < 0 ? fd : close(fd);
}

/* Takes the names in @file over. */
static bool add(struct make *make, struct make_file file)
{
	sigset_t old;
	int err = 0;

	signals_hold(&old);
	make->file = out_grow(make->file, make->nr + 1, sizeof(*make->file));
	if (create(&file))
		err = errno;
	else
		make->file[make->nr++] = file;
	signals_let(&old);
	if (!err)
		return true;
	fail(file.path, err);
	free(file.path);
	free(file.temp);
	return false;
}

static bool add_named(struct make *make, const char *path, bool directory)
{
	struct make_file file = { .directory = directory };

	if (check_path(make, path, &file)) {
		file.temp = temp_name(make, file.path);
		return add(make, file);
	}
	free(file.path);
	return false;
}

bool make_file(struct make *make, const char *path)
{
	return add_named(make, path, false);
}

bool make_directory(struct make *make, const char *path)
{
	return add_named(make, path, true);
}

bool make_file_inside(struct make *make, const char *name)
{
	const struct make_file *dir = &make->file[0];

	return add(make, (struct make_file){
		.path = out_text("%s/%s", dir->path, name),
		.temp = out_text("%s/%s", dir->temp, name),
		.inside = true,
	});
}

/*-----------------------------------------------------------------
 * Content
 */

/* As a store, so that there is one place that writes files. */
static struct vdisk_store *open_last(const struct make *make)
{
	const struct make_file *file = &make->file[make->nr - 1];
	struct vdisk_store *store;
	int fd = open(file->temp, O_RDWR | O_CLOEXEC), r;

	if (fd < 0) {
		fail(file->path, errno);
		return NULL;
	}
	r = vdisk_store_file(fd, &store);
	if (!r)
		return store;
	close(fd);
	fail(file->path, -r);
	return NULL;
}

static bool close_last(const struct make *make, struct vdisk_store *store,
		       int r)
{
	vdisk_store_close(store);
	return r ? fail(make->file[make->nr - 1].path, -r) : true;
}

bool make_content(struct make *make, const void *bytes, size_t len)
{
	struct vdisk_store *store = open_last(make);

	return store && close_last(make, store,
				   vdisk_store_write(store, 0, bytes, len));
}

static int write_table(struct vdisk_store *store,
		       const struct vdisk_piece *piece)
{
	u8 *buf = out_alloc(1, CHUNK);
	u64 done = 0, n, i;
	int r = 0;

	for (; !r && done < piece->count; done += n) {
		n = vdisk_min(piece->count - done, CHUNK / piece->width);
		for (i = 0; i < n; i++)
			vdisk_store(buf + i * piece->width,
				    piece->value + (done + i) * piece->step,
				    piece->width, piece->big);
		r = vdisk_store_write(store, piece->off + done * piece->width,
				      buf, n * piece->width);
	}
	free(buf);
	return r;
}

static int write_pieces(struct vdisk_store *store,
			const struct vdisk_maker *maker,
			const struct vdisk_recipe *recipe,
			const struct vdisk_layout *layout)
{
	struct vdisk_piece *piece = out_alloc(1, sizeof(*piece));
	int r = vdisk_store_set_length(store, layout->file_len);
	u32 i;

	for (i = 0; !r && maker->piece(recipe, layout, i, piece); i++)
		r = piece->len ? vdisk_store_write(store, piece->off,
						   piece->data, piece->len)
			       : write_table(store, piece);
	free(piece);
	return r;
}

bool make_fail(const struct make *make, const char *why, u64 value)
{
	out_error(make->image, "%s: %llu", why, (unsigned long long)value);
	return false;
}

bool make_check(struct make *make, const struct vdisk_maker *maker,
		const struct vdisk_recipe *recipe)
{
	struct vdisk_layout *layout = &make->layout;

	return !maker->layout(recipe, layout) ||
	       make_fail(make, layout->why, layout->value);
}

bool make_part(struct make *make, const struct vdisk_maker *maker,
	       const struct vdisk_recipe *recipe)
{
	struct make_file *file = &make->file[make->nr - 1];
	struct vdisk_layout *layout = &make->layout;
	struct vdisk_store *store;

	if (!make_check(make, maker, recipe))
		return false;
	file->format = maker->format;
	file->sectors = layout->size_sec;
	store = open_last(make);
	return store && close_last(make, store,
				   write_pieces(store, maker, recipe, layout));
}

/*-----------------------------------------------------------------
 * The end
 */

static int sync_at(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return errno;
	/* EINVAL: a directory of a file system that has no use for it. */
	err = fsync(fd) && errno != EINVAL ? errno : 0;
	close(fd);
	return err;
}

/* The directory that @path is in. */
static int sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? out_text("%.*s", (int)(slash - path + 1), path)
			  : out_text(".");
	int err = sync_at(dir);

	free(dir);
	return err;
}

/* What the files hold comes before their names. */
static bool sync_files(const struct make *make)
{
	unsigned int i = make->nr;
	int err;

	while (i--) {
		err = sync_at(make->file[i].temp);
		if (err)
			return fail(make->file[i].path, err);
	}
	return true;
}

/* Not over a file that came in the meantime, unless that was asked for. */
static int give_name(const struct make *make, struct make_file *file)
{
	/* Who may not give it away keeps it, with the same mode. */
	if (file->replaces && chown(file->temp, file->uid, file->gid) &&
	    errno != EPERM)
		return errno;
	if (file->replaces && chmod(file->temp, file->mode))
		return errno;
	file->swapped = file->replaces &&
			!renameat2(AT_FDCWD, file->temp, AT_FDCWD, file->path,
				   RENAME_EXCHANGE);
	if (file->swapped)
		return 0;
	if (file->replaces && errno != EINVAL && errno != ENOSYS &&
	    errno != ENOENT)
		return errno;
	if (make->force)
		return rename(file->temp, file->path) ? errno : 0;
	if (!renameat2(AT_FDCWD, file->temp, AT_FDCWD, file->path,
		       RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	/* A file system that cannot do it in one. */
	if (!access(file->path, F_OK))
		return EEXIST;
	return rename(file->temp, file->path) ? errno : 0;
}

/* What has its name already loses it again, to what had it before. */
static void take_back(const struct make *make, unsigned int first)
{
	const struct make_file *file;

	for (; first < make->nr; first++) {
		file = &make->file[first];
		if (file->swapped)
			rename(file->temp, file->path);
		else if (file->directory)
			rename(file->path, file->temp);
		else if (!file->inside)
			unlink(file->path);
	}
}

static void remove_replaced(const struct make *make)
{
	unsigned int i;

	for (i = 0; i < make->nr; i++)
		if (make->file[i].swapped)
			unlink(make->file[i].temp);
}

/* The one the user named comes last: nobody finds half an image by it. */
bool make_commit(struct make *make)
{
	unsigned int i = make->nr;
	sigset_t old;
	int err = 0;

	if (!sync_files(make))
		return false;
	signals_hold(&old);
	while (!err && i) {
		struct make_file *file = &make->file[i - 1];

		if (!file->inside)
			err = give_name(make, file);
		i -= !err;
	}
	if (err) {
		fail(make->file[i - 1].path, err);
	} else {
		err = sync_directory(make->file[0].path);
		if (err)
			fail(make->file[0].path, err);
	}
	if (err) {
		take_back(make, i);
	} else {
		remove_replaced(make);
		unfinished = NULL;
	}
	signals_let(&old);
	return !err;
}

void make_end(struct make *make)
{
	unsigned int i;
	sigset_t old;

	signals_hold(&old);
	if (unfinished)
		remove_files(make);
	unfinished = NULL;
	signals_let(&old);
	for (i = 0; i < make->nr; i++) {
		free(make->file[i].path);
		free(make->file[i].temp);
	}
	free(make->file);
	for (i = 0; make->kind->option[i].name; i++)
		free(make->value[i]);
	free(make->value);
	free(make->text);
}
