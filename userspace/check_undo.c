// SPDX-License-Identifier: GPL-2.0-or-later
/* Undo files of vdisk check: which files they are of, and where they lie. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_undo.h"
#include "dmctl.h"
#include "lock.h"
#include "out.h"
#include "progress.h"
#include "repair.h"
#include "undo.h"

/* What tells a file from others that had its name. */
static u64 inode_of(const struct stat *st)
{
	return S_ISBLK(st->st_mode) ? st->st_rdev : st->st_ino;
}

static u64 image_inode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : inode_of(&st);
}

static bool is_changed(const struct chain_part *part)
{
	return part->path && repair_trial_changes(part->store);
}

/*-----------------------------------------------------------------
 * Saving
 */

static bool save_failed(const char *path, int r)
{
	if (r == -EEXIST)
		out_error(path, "An undo file is there already: nothing is "
			  "repaired (see --undo-file, --no-undo)");
	else
		out_error(path, "Undo file cannot be written: %s: nothing is "
			  "repaired (see --undo-file, --no-undo)",
			  strerror(-r));
	return false;
}

/* IMAGE.vdisk-undo, unless another name was given. */
static const char *name_of(const struct verb_options *opt)
{
	static char *name;

	if (opt->undo_file)
		return opt->undo_file;
	free(name);
	name = out_text("%s.vdisk-undo", opt->args[0]);
	return name;
}

/* Not where devices are: that is memory. */
static const char *undo_name(const struct chain *chain)
{
	if (chain->opt->undo_file)
		return chain->opt->undo_file;
	if (chain->layer[0].nr && chain->layer[0].part[0].store &&
	    chain->layer[0].part[0].store->device) {
		out_error(chain->image, "Where is the undo file of a device to "
			  "be? (see --undo-file, --no-undo)");
		return NULL;
	}
	return name_of(chain->opt);
}

bool check_undo_save(const struct chain *chain, const char **path)
{
	const struct chain_layer *top = &chain->layer[0];
	struct undo_file *file = out_alloc(top->nr, sizeof(*file));
	unsigned int i, nr = 0;
	struct stat st;
	int r = 0;

	for (i = 0; i < top->nr; i++) {
		if (!is_changed(&top->part[i]))
			continue;
		file[nr].path = realpath(top->part[i].path, NULL);
		file[nr].store = top->part[i].store;
		if (!file[nr].path || fstat(top->part[i].fd, &st))
			r = -errno;
		file[nr++].inode = inode_of(&st);
	}
	*path = nr ? undo_name(chain) : NULL;
	if (*path && !r)
		r = undo_save(*path, image_inode(chain->opt->args[0]), file, nr);
	if (*path && r)
		save_failed(*path, r);
	if (nr && !*path)
		r = -EINVAL;
	for (i = 0; i < nr; i++)
		free((char *)file[i].path);
	free(file);
	return !r;
}

bool check_undo_commit(const struct chain *chain, const char *undo)
{
	const struct chain_layer *top = &chain->layer[0];
	unsigned int i;
	int r;

	for (i = 0; i < top->nr; i++) {
		if (!is_changed(&top->part[i]))
			continue;
		r = repair_trial_apply(top->part[i].store);
		progress_clear();
		if (r) {
			out_error(top->part[i].path,
				  "Write failed in the middle of the repair: %s",
				  strerror(-r));
			return false;
		}
	}
	r = undo ? undo_mark(undo, true) : 0;
	if (r)
		out_warn(undo, "Undo file cannot be marked as done: %s",
			 strerror(-r));
	return true;
}

/*-----------------------------------------------------------------
 * Putting back
 */

struct opened {
	char *name;		/* in the undo file */
	u64 inode;
	struct vdisk_store *store;
};

struct undo {
	const char *image;
	struct vdisk_fault fault;
	struct opened *file;
	unsigned int nr;
};

static int fail(struct undo *undo, int r, const char *what, const char *name)
{
	snprintf(undo->fault.text, sizeof(undo->fault.text), "%s: %s", what,
		 out_name(name));
	return r;
}

/* The image itself, the file beside it, or where it was: the one it is of. */
static char *find_name(const struct undo *undo, const char *name, u64 inode)
{
	char *a = out_text("%s", undo->image), *b = out_text("%s", name);
	char *beside = out_text("%s/%s", dirname(a), basename(b));
	const char *found = undo->image;

	if (image_inode(undo->image) != inode && image_inode(beside) == inode)
		found = beside;
	else if (image_inode(undo->image) != inode && image_inode(name) == inode)
		found = name;
	free(a);
	free(b);
	a = out_text("%s", found);
	free(beside);
	return a;
}

static int lock(struct undo *undo, int fd, const char *path)
{
	char name[DMCTL_NAME_MAX];
	int r;

	if (repair_attached(fd, name, sizeof(name)))
		return fail(undo, -EBUSY, "Image is attached", name);
	r = lock_image(fd, true);
	if (r == -EBUSY)
		return fail(undo, r, "Image is in use by another program", path);
	return r ? fail(undo, r, "Image cannot be locked", strerror(-r)) : 0;
}

static int open_path(struct undo *undo, const char *path, struct opened *to)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), r;
	struct stat st;

	if (fd < 0)
		return fail(undo, -errno, path, strerror(errno));
	r = fstat(fd, &st) ? -errno : lock(undo, fd, path);
	if (!r) {
		r = vdisk_store_file(fd, &to->store);
		if (r)
			fail(undo, r, path, strerror(-r));
	}
	if (r)
		close(fd);
	to->inode = inode_of(&st);
	return r;
}

static int open_undo(void *arg, struct undo_file *file)
{
	struct undo *undo = arg;
	struct opened *to;
	unsigned int i;
	char *path;
	int r;

	for (i = 0; i < undo->nr; i++)
		if (!strcmp(undo->file[i].name, file->path))
			break;
	if (i == undo->nr) {
		undo->file = out_grow(undo->file, i + 1, sizeof(*undo->file));
		to = &undo->file[i];
		path = find_name(undo, file->path, file->inode);
		r = open_path(undo, path, to);
		free(path);
		if (r)
			return r;
		to->name = out_text("%s", file->path);
		undo->nr++;
	}
	file->inode = undo->file[i].inode;
	file->store = undo->file[i].store;
	return 0;
}

static int put_back(const char *image, FILE *f, struct vdisk_fault *fault)
{
	struct undo undo = { .image = image };
	unsigned int i;
	int r;

	r = undo_apply(f, image_inode(image), open_undo, &undo,
		       &undo.fault);
	for (i = 0; i < undo.nr; i++) {
		vdisk_store_close(undo.file[i].store);
		free(undo.file[i].name);
	}
	free(undo.file);
	*fault = undo.fault;
	return r;
}

bool check_undo_apply(const struct verb_options *opt)
{
	FILE *f = fopen(opt->undo, "re");
	struct vdisk_fault fault;
	int r;

	if (!f) {
		out_error(opt->undo, "%s", strerror(errno));
		return false;
	}
	r = put_back(opt->args[0], f, &fault);
	fclose(f);
	if (r) {
		out_error(opt->args[0], "%s", fault.text);
		return false;
	}
	/* A repair may make it anew, as of one that was cut off. */
	undo_mark(opt->undo, false);
	printf("The image is as it was before the repair.\n");
	return true;
}

void check_undo_resume(const struct verb_options *opt)
{
	const char *name = name_of(opt);
	struct vdisk_fault fault;
	FILE *f;

	if (!opt->repair || opt->no_undo || opt->dry_run)
		return;
	f = fopen(name, "re");
	if (!f)
		return;
	if (!undo_is_done(f) && !put_back(opt->args[0], f, &fault))
		unlink(name);
	fclose(f);
}
