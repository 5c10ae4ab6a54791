// SPDX-License-Identifier: GPL-2.0-or-later
/* The files of a new image, from nothing to their names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "dmctl.h"
#include "lock.h"
#include "make.h"
#include "out.h"
#include "repair.h"
#include "signals.h"

#define CHUNK (128u * 1024)

/* For the handler of signals: whose files are to be removed. */
static struct make *volatile unfinished;

/* What a handler of signals may do: unlink() and rmdir(). */
static void remove_files(const struct make *make)
{
	unsigned int i = make->nr;

	while (i--) {
		if (!make->file[i].temp)
			continue;
		if (make->file[i].directory)
			rmdir(make->file[i].temp);
		else
			unlink(make->file[i].temp);
	}
}

static void give_up(int sig)
{
	if (unfinished && !unfinished->kept)
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
	chain_many_files();
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

/*
 * It stays locked until the end: whoever comes later does not get it. False after
 * saying why it may not be replaced.
 */
static bool take_old(struct make_file *file, const struct stat *st)
{
	char name[DMCTL_NAME_MAX];
	struct stat now;

	file->old_fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
			    O_NONBLOCK);
	if (file->old_fd < 0 || fstat(file->old_fd, &now))
		return fail(file->path, errno);
	if (now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		return fail(file->path, ESTALE);
	if (repair_attached(file->old_fd, name, sizeof(name)))
		out_error(file->path, "Image is attached: %s", out_name(name));
	else if (lock_image(file->old_fd, true) == -EBUSY)
		out_error(file->path, "Image is in use by another program");
	else
		return true;
	return false;
}

/* Why a file that is there may not be replaced, or NULL. */
static const char *old_fault(const struct make *make, const struct stat *st)
{
	if (S_ISBLK(st->st_mode))
		return "Is a block device (convert -n writes to it)";
	if (!make->force)
		return strerror(EEXIST);
	if (S_ISDIR(st->st_mode))
		return strerror(EISDIR);
	if (!S_ISREG(st->st_mode))
		return "Not a regular file";
	return is_source(make, st) ? "The new image is made from this file"
				   : NULL;
}

/*
 * May @path be made? Fills what is known of @file: where it is (a link's file is
 * replaced, not the link), and whom the file there belongs to.
 */
static bool check_path(const struct make *make, const char *path,
		       struct make_file *file)
{
	const char *fault;
	struct stat st, to;

	if (make->nowhere || lstat(path, &st)) {
		if (!make->nowhere && errno != ENOENT)
			return fail(path, errno);
		file->path = out_text("%s", path);
		return true;
	}
	if (S_ISLNK(st.st_mode) && make->force) {
		file->path = realpath(path, NULL);
		if (!file->path || stat(file->path, &st))
			return fail(path, errno);
	} else {
		/* What is in /dev/mapper are links. */
		if (S_ISLNK(st.st_mode) && !stat(path, &to) &&
		    S_ISBLK(to.st_mode))
			st = to;
		file->path = out_text("%s", path);
	}
	fault = old_fault(make, &st);
	if (fault)
		out_error(path, "%s", fault);
	return !fault && take_old(file, &st);
}

char *make_temp_name(unsigned int first, const char *path)
{
	const char *slash = strrchr(path, '/');
	unsigned int i = first;
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

/* Where that can be done, what is not finished has no name that could be left. */
static int create_nameless(const struct make_file *file, mode_t mode)
{
	const char *slash = strrchr(file->path, '/');
	char *dir;
	int fd;

	if (file->inside || access("/proc/self/fd", X_OK))
		return -1;
	dir = slash ? out_text("%.*s", (int)(slash - file->path + 1), file->path)
		    : out_text(".");
	fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, mode);
	free(dir);
	return fd;
}

/* Until it has the owner of what it replaces it is nobody else's to read. */
static int create(const struct make *make, struct make_file *file)
{
	mode_t mode = file->old_fd < 0 ? 0666 : 0600;

	if (!file->directory)
		file->fd = create_nameless(file, mode);
	if (file->fd >= 0)
		return 0;
	if (!file->temp)
		file->temp = make_temp_name(make->nr, file->path);
	if (file->directory)
		return mkdir(file->temp, 0777);
	file->fd = open(file->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	return file->fd < 0 ? -1 : 0;
}

static void drop_file(struct make_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	if (file->old_fd >= 0)
		close(file->old_fd);
	vdisk_store_close(file->memory);
	free(file->path);
	free(file->temp);
	free(file->aside);
}

/* Of what is only tried: could there be such a file? */
static int create_memory(const struct make *make, struct make_file *file)
{
	const char *slash = strrchr(file->path, '/');
	char *dir = slash ? out_text("%.*s", (int)(slash - file->path + 1),
				     file->path) : out_text(".");
	int r = file->inside || make->nowhere ? 0 : access(dir, W_OK | X_OK);

	free(dir);
	if (!r)
		file->memory = vdisk_store_memory();
	return r;
}

/* Takes the names in @file over. */
static bool add(struct make *make, struct make_file file)
{
	sigset_t old;
	int err = 0;

	signals_hold(&old);
	make->file = out_grow(make->file, make->nr + 1, sizeof(*make->file));
	if (make->dry ? create_memory(make, &file) : create(make, &file))
		err = errno;
	else
		make->file[make->nr++] = file;
	signals_let(&old);
	if (!err)
		return true;
	fail(file.path, err);
	drop_file(&file);
	return false;
}

static bool add_named(struct make *make, const char *path, bool directory)
{
	struct make_file file = {
		.directory = directory, .fd = -1, .old_fd = -1,
	};

	if (check_path(make, path, &file))
		return add(make, file);
	drop_file(&file);
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
		.temp = dir->temp ? out_text("%s/%s", dir->temp, name) : NULL,
		.inside = true, .fd = -1, .old_fd = -1,
	});
}

/*-----------------------------------------------------------------
 * Content
 */

int make_store(const struct make_file *file, struct vdisk_store **store)
{
	int fd, r;

	if (file->memory) {
		*store = vdisk_store_memory_share(file->memory);
		return 0;
	}
	fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = vdisk_store_file(fd, store);
	if (r)
		close(fd);
	return r;
}

/* As a store, so that there is one place that writes files. */
static struct vdisk_store *open_last(const struct make *make)
{
	const struct make_file *file = &make->file[make->nr - 1];
	struct vdisk_store *store;
	int r = make_store(file, &store);

	if (!r)
		return store;
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

/*-----------------------------------------------------------------*/

void make_end(struct make *make)
{
	unsigned int i;
	sigset_t old;

	signals_hold(&old);
	if (!make->kept) {
		make_take_back(make);
		remove_files(make);
	}
	unfinished = NULL;
	signals_let(&old);
	for (i = 0; i < make->nr; i++)
		drop_file(&make->file[i]);
	free(make->file);
	for (i = 0; make->kind->option[i].name; i++)
		free(make->value[i]);
	free(make->value);
	free(make->text);
	free(make->place);
}
