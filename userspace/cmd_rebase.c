// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk rebase: an image gets another parent. What it reads stays the same: what
 * the old parent held and the new one does not goes into the image first, where
 * it is what it was, and then the new name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "chain.h"
#include "identify.h"
#include "make.h"
#include "online.h"
#include "out.h"
#include "progress.h"
#include "rechain.h"
#include "resize.h"
#include "signals.h"

#define CHUNK (1u << 20)
#define PART_MS 500		/* a device is suspended at a time */
#define PAUSE_MS 100		/* and goes on between */

struct job {
	struct chain child;
	struct chain parent;
	struct verb_options parent_opt;	/* which the chain refers to */
	bool nobody;		/* there is no new parent */
	bool dry;		/* nothing is written */
	u64 kept;		/* sectors that had to become the image's own */
	char *path;		/* of the new one */
	u8 *old, *new;		/* CHUNK bytes each */
	u64 sector;		/* the work has come as far */
	u64 until;		/* ms, as now_ms() tells; 0 = it has all time */
};

/* What the new parent has: where it ends it reads zero. */
static int read_new(struct job *job, u64 sector, u64 sectors)
{
	u64 size = job->nobody ? 0 : job->parent.disk->size_sec, n;

	n = vdisk_min(sectors, size - vdisk_min(size, sector));
	memset(job->new + n * VDISK_SECTOR, 0, (sectors - n) * VDISK_SECTOR);
	return n ? vdisk_disk_read(job->parent.disk, sector, job->new, n) : 0;
}

static bool differs(const struct job *job, u64 i)
{
	return memcmp(job->old + i * VDISK_SECTOR, job->new + i * VDISK_SECTOR,
		      VDISK_SECTOR);
}

/* Sectors that lie below the image: those that would change become its own. */
static int keep(struct job *job, u64 sector, u64 sectors)
{
	u64 i, n;
	int r;

	r = vdisk_disk_read(job->child.disk, sector, job->old, sectors);
	if (r)
		return r;
	r = read_new(job, sector, sectors);
	if (r) {
		progress_clear();
		out_error(job->parent.image, "%s", job->parent.fault.text);
		return r;
	}
	for (i = 0; i < sectors && !r; i += n) {
		for (n = 1; i + n < sectors && differs(job, i + n) == differs(job, i);)
			n++;
		if (differs(job, i))
			job->kept += n;
		if (differs(job, i) && !job->dry)
			r = vdisk_disk_write(job->child.disk, sector + i,
					     job->old + i * VDISK_SECTOR, n);
	}
	return r;
}

/* Zero in both, without looking at bytes. */
static int both_zero(struct job *job, const struct vdisk_hit *hit, u64 sector,
		     u64 *sectors)
{
	u64 size = job->nobody ? 0 : job->parent.disk->size_sec;
	struct vdisk_hit below = { .kind = VDISK_ZERO, .sectors = *sectors };
	int r;

	if (hit->kind != VDISK_ZERO)
		return 0;
	if (sector < size) {
		r = vdisk_disk_map(job->parent.disk, sector,
				   vdisk_min(*sectors, size - sector), &below);
		if (r)
			return r;
	}
	if (below.kind != VDISK_ZERO)
		return 0;
	*sectors = below.sectors;
	return 1;
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

/* From job->sector on, all or as long as there is time. */
static bool keep_all(struct job *job)
{
	struct vdisk_disk *disk = job->child.disk;
	u64 sector, n;
	struct vdisk_hit hit;
	bool stopped = false;
	int r = 0;

	*job->child.fault.text = *job->parent.fault.text = 0;
	for (sector = job->sector; r >= 0 && sector < disk->size_sec;
	     sector += n) {
		stopped = resize_stop || signals_wait();
		if (stopped || (job->until && now_ms() >= job->until))
			break;
		progress_show("copying", sector, disk->size_sec);
		r = vdisk_disk_map(disk, sector, disk->size_sec - sector, &hit);
		n = hit.sectors;
		if (r || (hit.image && hit.layer == disk->nr - 1))
			continue;
		r = both_zero(job, &hit, sector, &n);
		if (r)
			continue;
		n = vdisk_min(n, CHUNK / VDISK_SECTOR);
		r = keep(job, sector, n);
	}
	progress_clear();
	if (r < 0 && !*job->parent.fault.text)
		out_error(job->child.image, "%s", job->child.fault.text);
	job->sector = sector;
	if (stopped)
		out_error(job->child.image, "Interrupted, the parent is as it was");
	if (!job->dry && vdisk_disk_settle(disk) && r >= 0) {
		out_error(job->child.image, "%s", job->child.fault.text);
		r = -EIO;
	}
	return r >= 0 && !stopped;
}

static bool tell_parent(struct job *job, const char *name)
{
	struct rechain_parent parent = { .name = name };
	const struct chain_layer *top;
	struct stat st;

	if (!job->nobody) {
		top = &job->parent.layer[0];
		if (!stat(top->path, &st))
			parent.time = (u32)vdisk_min((u64)st.st_mtime, ~0u);
		parent.raw = !strcmp(top->format, "raw");
		parent.cid = top->desc ? top->desc->cid : 0;
		memcpy(parent.id, top->part[0].image->geom.id,
		       sizeof(parent.id));
	}
	return rechain_parent(&job->child, &parent);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static bool open_parent(struct job *job, const char *image,
			const struct verb_options *opt)
{
	struct verb_options *popt = &job->parent_opt;

	*popt = *opt;
	if (job->nobody)
		return true;
	popt->format = NULL;
	popt->format_option = "-F";
	if (opt->parent_format) {
		popt->format = vdisk_format_find(opt->parent_format);
		if (!popt->format) {
			out_error(NULL, "Unknown format: %s",
				  out_name(opt->parent_format));
			return false;
		}
	}
	job->path = reach_parent(image, opt->parent);
	if (!job->path) {
		out_error(image, "%s", strerror(errno));
		return false;
	}
	if (is_same_file(job->path, job->child.layer[0].path)) {
		out_error(job->child.image, "Image would be its own parent");
		return false;
	}
	if (!identify(job->path, popt,
		      make_kind_find(job->child.layer[0].format)))
		return false;
	return chain_open(&job->parent, job->path, popt,
			  CHAIN_LOCK | (opt->unsafe ? CHAIN_ALONE : 0));
}

/*
 * A hard link elsewhere does not find its parent, but its other name does: next
 * to the image, that may be the image.
 */
static bool means(const struct chain *all, const char *own)
{
	const struct chain_layer *last = &all->layer[all->nr - 1];
	bool same;
	char *path;

	if (!all->parent_err || !last->parent)
		return false;
	path = reach_parent(own, last->parent);
	same = path && is_same_file(path, own);
	free(path);
	return same;
}

/*
 * Nor may it be below its new parent: by whichever name, and whoever has it
 * locked, which is this program.
 */
static bool stands_on_itself(const struct job *job)
{
	struct verb_options opt = *job->parent.opt;
	const char *own = job->child.layer[0].path;
	struct chain all;
	bool found = false;
	unsigned int i;

	opt.force_share = true;
	if (!chain_open(&all, job->path, &opt, CHAIN_SOFT))
		return false;
	for (i = 0; i < all.nr; i++)
		found |= is_same_file(all.layer[i].path, own);
	found |= means(&all, own);
	chain_close(&all);
	return found;
}

/* Formats with ids know only parents of their own. */
static bool may_stand_on(struct job *job)
{
	const struct make_kind *kind;
	const char *format = job->child.layer[0].format, *is;

	if (job->nobody)
		return true;
	if (stands_on_itself(job)) {
		out_error(job->child.image, "Image would be its own parent");
		return false;
	}
	kind = make_kind_find(format);
	is = job->parent.layer[0].format;
	if (!kind)
		return false;
	if (kind->parent && strcmp(is, kind->parent->name)) {
		out_error(job->parent.image, "Parent of a %s image is %s, not %s",
			  format, kind->parent->name, is);
		return false;
	}
	if (strcmp(format, "vmdk") || job->parent.layer[0].desc)
		return true;
	out_error(job->parent.image, "Image has no descriptor");
	return false;
}

/* By the name that the image will have for it. */
static bool is_found(const struct job *job, const char *name)
{
	const struct chain_layer *top = &job->child.layer[0];

	return job->nobody || chain_finds(&job->parent, job->child.image,
					  top->path, top->format, name);
}

static bool would(const struct job *job, const struct verb_options *opt)
{
	printf("Would copy %llu bytes into %s, and name %s its parent\n",
	       (unsigned long long)(job->kept * VDISK_SECTOR),
	       out_name(job->child.image),
	       job->nobody ? "nobody" : out_name(opt->parent));
	return true;
}

static bool rebase(struct job *job, const struct verb_options *opt)
{
	bool good;

	if (!may_stand_on(job) || !is_found(job, opt->parent))
		return false;
	if (opt->unsafe)
		return opt->dry_run ? would(job, opt) :
				      tell_parent(job, opt->parent);
	job->old = out_alloc(1, CHUNK);
	job->new = out_alloc(1, CHUNK);
	good = chain_check(&job->child) && keep_all(job);
	if (good && opt->dry_run)
		good = would(job, opt);
	else if (good && job->sector >= job->child.disk->size_sec)
		good = tell_parent(job, opt->parent);
	free(job->old);
	free(job->new);
	return good;
}

/*
 * @opt tells of the image, @parent_opt of the new parent; @flags go to the image's
 * chain. Of @ms, if that is not 0, from *@sector on.
 */
static bool rebase_image(const char *image, const struct verb_options *opt,
			 const struct verb_options *parent_opt,
			 unsigned int flags, u64 *sector, u64 ms)
{
	struct job job = {
		.nobody = !*opt->parent, .sector = *sector,
		.dry = opt->dry_run,
		.until = ms ? now_ms() + ms : 0,
	};
	bool good = false;

	flags |= CHAIN_LOCK | (opt->dry_run ? 0 : CHAIN_WRITE) |
		 (opt->unsafe ? CHAIN_ALONE : 0);
	if (!chain_open(&job.child, image, opt, flags))
		return false;
	if (open_parent(&job, image, parent_opt)) {
		good = rebase(&job, opt);
		/* The next part sees whether it is the last. */
		*sector = job.sector < job.child.disk->size_sec ? job.sector
								: ~0ull;
		if (!job.nobody)
			chain_close(&job.parent);
	}
	chain_close(&job.child);
	free(job.path);
	return good;
}

/* Is refused now what would be refused then? */
static bool look_before(struct online *on, const struct verb_options *opt)
{
	struct job job = { .nobody = !*opt->parent };
	bool good = false;

	if (!chain_open(&job.child, on->image, &on->opt, 0))
		return false;
	if (open_parent(&job, on->image, opt)) {
		good = may_stand_on(&job) && is_found(&job, opt->parent);
		if (!job.nobody)
			chain_close(&job.parent);
	}
	chain_close(&job.child);
	free(job.path);
	return good;
}

/*
 * Whether it went well or not, the image reads as it did after each part, whoever
 * writes to it then: the device goes on between them.
 */
static bool rebase_attached(struct online *on, const struct verb_options *opt)
{
	unsigned int flags;
	u64 sector = 0;
	bool good;

	if (opt->unsafe) {
		out_error(on->dev.name, "An attached disk would change under "
			  "its user");
		return false;
	}
	if (opt->dry_run)
		return rebase_image(on->image, &on->opt, opt, 0, &sector, 0);
	if (!look_before(on, opt))
		return false;
	flags = online_look(on);
	do {
		if (sector)
			usleep(PAUSE_MS * 1000);
		if (!online_suspend(on))
			return false;
		good = rebase_image(on->image, &on->opt, opt, flags, &sector,
				    PART_MS);
		good = online_replace(on, on->image, false) && good;
	} while (good && sector != ~0ull);
	return good;
}

int cmd_rebase(const struct verb_options *opt)
{
	struct online on;
	u64 sector = 0;
	bool good, ok;

	if (!opt->parent) {
		out_error(NULL, "On which parent? (see vdisk rebase --help)");
		return VERB_USAGE;
	}
	rechain_begin();
	if (online_find(&on, opt->args[0], opt, &ok)) {
		good = ok && rebase_attached(&on, opt);
		online_end(&on);
	} else {
		good = rebase_image(opt->args[0], opt, opt, 0, &sector, 0);
	}
	return good ? VERB_OK : VERB_FAILED;
}
