// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk commit: what a child holds goes into its parent. The child stays as it
 * is, and reads the same at every moment; when it is done it may be removed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "chain.h"
#include "lock.h"
#include "online.h"
#include "out.h"
#include "progress.h"
#include "rechain.h"
#include "resize.h"
#include "signals.h"

#define CHUNK (1u << 20)

/* The files, whatever their names lead to later. */
struct pair {
	char *path;				/* of the parent */
	const struct vdisk_format *format;
	struct stat parent, child;
};

static int stat_layer(const struct chain_layer *layer, struct stat *st)
{
	return fstat(layer->text_fd >= 0 ? layer->text_fd : layer->part[0].fd,
		     st);
}

/* By the file that stands for the top layer. */
static bool is_file(const struct chain *chain, const struct stat *st)
{
	struct stat now;

	if (!stat_layer(&chain->layer[0], &now) && now.st_dev == st->st_dev &&
	    now.st_ino == st->st_ino)
		return true;
	out_error(chain->image, "Another file has taken its place meanwhile");
	return false;
}

/* Which file the parent is: the whole chain is looked at, as attach does. */
static bool find_parent(const char *image, const struct verb_options *opt,
			struct pair *pair)
{
	const struct chain_layer *layer;
	struct chain chain;
	bool good = false;

	if (!chain_open(&chain, image, opt, CHAIN_LOCK))
		return false;
	layer = chain.layer;
	if (chain.nr < 2) {
		out_error(chain.image, "Image has no parent");
	} else if (!strcmp(layer[0].path, layer[1].path)) {
		out_error(chain.image, "Layers of a bundle cannot be committed");
	} else if (stat_layer(&layer[0], &pair->child) ||
		   stat_layer(&layer[1], &pair->parent)) {
		out_error(chain.image, "%s", strerror(errno));
	} else {
		pair->path = out_text("%s", layer[1].path);
		pair->format = vdisk_format_find(layer[1].format);
		good = true;
	}
	chain_close(&chain);
	return good;
}

/* Sectors that the child holds. */
static int copy_some(struct chain *parent, struct chain *child, u64 sector,
		     const struct vdisk_hit *hit, u8 *buf, u64 *done)
{
	int r;

	*done = hit->sectors;
	if (hit->kind == VDISK_ZERO)
		return vdisk_disk_zero(parent->disk, sector, hit->sectors);
	*done = vdisk_min(*done, CHUNK / VDISK_SECTOR);
	r = vdisk_disk_read(child->disk, sector, buf, *done);
	return r ? r : vdisk_disk_write(parent->disk, sector, buf, *done);
}

static bool copy(struct chain *parent, struct chain *child)
{
	u8 *buf = out_alloc(1, CHUNK);
	u64 sector, n, size = child->disk->size_sec;
	struct vdisk_hit hit;
	bool stopped;
	int r = 0;

	*parent->fault.text = *child->fault.text = 0;
	for (sector = 0; !r && sector < size && !resize_stop && !signals_wait();
	     sector += n) {
		progress_show("copying", sector, size);
		r = vdisk_disk_map(child->disk, sector, size - sector, &hit);
		n = hit.sectors;
		/* What no layer holds is the parent's already. */
		if (!r && hit.image)
			r = copy_some(parent, child, sector, &hit, buf, &n);
	}
	free(buf);
	progress_clear();
	if (r && *child->fault.text)
		out_error(child->image, "%s", child->fault.text);
	else if (r)
		out_error(parent->image, "%s", parent->fault.text);
	/* Who comes too late to stop it has it done. */
	stopped = !r && sector < size;
	if (stopped)
		out_error(child->image, "Interrupted: the parent has a part of "
			  "it, the child still has all");
	if (vdisk_disk_settle(parent->disk) && !r) {
		out_error(parent->image, "%s", parent->fault.text);
		r = -EIO;
	}
	return !r && !stopped;
}

/* What of the child is there to be copied; the parent may have to grow first. */
static bool try_commit(struct chain *parent, struct chain *child)
{
	u64 sector, size = child->disk->size_sec, sum = 0;
	struct vdisk_hit hit;

	for (sector = 0; sector < size; sector += hit.sectors) {
		if (vdisk_disk_map(child->disk, sector, size - sector, &hit)) {
			out_error(child->image, "%s", child->fault.text);
			return false;
		}
		sum += hit.image ? hit.sectors : 0;
	}
	if (!chain_check(parent) || (size > parent->disk->size_sec &&
				     !rechain_may_size(parent, size)))
		return false;
	printf("Would put %llu bytes of %s into %s\n",
	       (unsigned long long)(sum * VDISK_SECTOR), out_name(child->image),
	       out_name(parent->image));
	return true;
}

static bool commit(struct chain *parent, struct chain *child)
{
	return chain_check(parent) && rechain_stamp(parent, child) &&
	       copy(parent, child) && rechain_stamped(parent, child);
}

/* The parent is closed if it is false. */
static bool make_room(struct chain *parent, const struct chain *child,
		      const struct pair *pair, const struct verb_options *opt,
		      unsigned int flags)
{
	u64 size_sec = child->disk->size_sec;
	struct stat st;
	bool good;

	if (size_sec <= parent->disk->size_sec)
		return true;
	/* A text may have become another file by it. */
	good = rechain_size(parent, size_sec) &&
	       !stat_layer(&parent->layer[0], &st);
	chain_close(parent);
	if (!good || !chain_open(parent, pair->path, opt, flags))
		return false;
	good = is_file(parent, &st);
	if (!good)
		chain_close(parent);
	return good;
}

static bool fits(const struct chain *parent, const struct chain *child)
{
	if (parent->disk->size_sec <= child->disk->size_sec)
		return true;
	out_error(parent->image, "Parent is longer than the device, sectors: "
		  "%llu", (unsigned long long)parent->disk->size_sec);
	return false;
}

/*
 * @opt tells of the child; @parent is open, and closed by this. With @exact the
 * disk must not become longer by the parent being so.
 */
static bool commit_into(struct chain *parent, const char *image,
			const struct verb_options *opt,
			const struct pair *pair, bool exact)
{
	const struct verb_options popt = *parent->opt;
	unsigned int flags = parent->flags & ~CHAIN_CHECKED;
	struct chain child;
	bool good = is_file(parent, &pair->parent), open = true;

	if (good && chain_open(&child, image, opt,
			       CHAIN_LOCK | CHAIN_ALONE |
			       (opt->dry_run ? 0 : CHAIN_WRITE))) {
		good = is_file(&child, &pair->child) &&
		       (!exact || fits(parent, &child));
		if (good && opt->dry_run)
			good = try_commit(parent, &child);
		else if (good)
			good = open = make_room(parent, &child, pair, &popt,
						flags);
		good = good && (opt->dry_run || commit(parent, &child));
		chain_close(&child);
	} else {
		good = false;
	}
	if (open)
		chain_close(parent);
	return good;
}

static bool commit_image(const char *image, const struct verb_options *opt,
			 const struct pair *pair, bool exact)
{
	struct verb_options popt = *opt;
	struct chain parent;

	popt.format = pair->format;
	return chain_open(&parent, pair->path, &popt, CHAIN_LOCK |
			  (opt->dry_run ? 0 : CHAIN_WRITE)) &&
	       commit_into(&parent, image, opt, pair, exact);
}

/*-----------------------------------------------------------------
 * The top of a device
 */

/* Of the parent: one who reads it may be the device, anybody else is too many. */
static bool lock_parent(const struct chain *held)
{
	const struct chain_layer *parent = &held->layer[1];
	unsigned int j;
	int r = 0;

	if (parent->text_fd >= 0)
		r = lock_image(parent->text_fd, true);
	for (j = 0; j < parent->nr && !r; j++)
		if (parent->part[j].path)
			r = lock_image(parent->part[j].fd, true);
	if (r)
		out_error(parent->path, "%s", r == -EBUSY ?
			  "Image is in use by another program" : strerror(-r));
	return !r;
}

static void unlock_parent(const struct chain *held)
{
	const struct chain_layer *parent = &held->layer[1];
	unsigned int j;

	if (parent->text_fd >= 0)
		lock_lower(parent->text_fd);
	for (j = 0; j < parent->nr; j++)
		if (parent->part[j].path)
			lock_lower(parent->part[j].fd);
}

/* All that can be done to the parent before: nobody writes to it. */
static bool open_parent(struct chain *parent, const struct pair *pair,
			const struct verb_options *opt)
{
	const struct chain_layer *top;
	unsigned int i;
	int r = 0;

	if (!chain_open(parent, pair->path, opt, CHAIN_WRITE))
		return false;
	top = &parent->layer[0];
	if (chain_check(parent)) {
		parent->flags |= CHAIN_CHECKED;
		for (i = 0; i < top->nr && !r; i++)
			r = vdisk_space_scan(top->part[i].image);
		if (!r)
			return true;
		out_error(parent->image, "%s", parent->fault.text);
	}
	chain_close(parent);
	return false;
}

/*
 * The device goes on with the parent; if that fails, with what it had. @held: the
 * device's files, the parent locked to be written.
 */
static bool commit_held(struct online *on, const struct pair *pair,
			const struct chain *held)
{
	struct verb_options popt = on->opt;
	struct chain parent;
	bool good;

	popt.format = pair->format;
	if (!open_parent(&parent, pair, &popt)) {
		unlock_parent(held);
		return false;
	}
	if (!online_suspend(on)) {
		chain_close(&parent);
		unlock_parent(held);
		return false;
	}
	good = commit_into(&parent, on->image, &on->opt, pair, true);
	if (!good) {
		/* What the kernel knows of the parent's tables is not so any more. */
		unlock_parent(held);
		online_replace(on, on->image, false);
		return false;
	}
	on->opt.format = pair->format;
	return online_replace(on, pair->path, false);
}

static bool commit_attached(struct online *on)
{
	struct pair pair = { .path = NULL };
	struct chain held;
	bool good = find_parent(on->image, &on->opt, &pair);

	if (good && on->opt.dry_run) {
		good = commit_image(on->image, &on->opt, &pair, true);
		free(pair.path);
		return good;
	}
	good = good && online_take(on, &held);
	if (good) {
		good = lock_parent(&held);
		if (good)
			good = commit_held(on, &pair, &held);
		else
			unlock_parent(&held);
		chain_close(&held);
	}
	free(pair.path);
	return good;
}

int cmd_commit(const struct verb_options *opt)
{
	struct pair pair = { .path = NULL };
	const char *image = opt->args[0];
	struct online on;
	bool good, ok;

	rechain_begin();
	if (online_find(&on, image, opt, &ok)) {
		good = ok && commit_attached(&on);
		online_end(&on);
	} else {
		good = find_parent(image, opt, &pair) &&
		       commit_image(image, opt, &pair, false);
		free(pair.path);
	}
	return good ? VERB_OK : VERB_FAILED;
}
