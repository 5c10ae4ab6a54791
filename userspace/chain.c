// SPDX-License-Identifier: GPL-2.0-or-later
/* From the name of an image to the disk it stands for. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "chain_in.h"
#include "dmctl.h"
#include "holders.h"
#include "lock.h"
#include "out.h"
#include "repair.h"

int chain_fail(struct chain *chain, int err, char *why)
{
	free(chain->why);
	chain->why = why;
	return err;
}

int chain_fail_reach(struct chain *chain, int err)
{
	return chain_fail(chain, err, out_text("%s", chain->reach.why));
}

/* What an image's functions said, or what the errno says if they did not. */
int chain_fail_fault(struct chain *chain, int err)
{
	return chain_fail(chain, err, out_text("%s", *chain->fault.text ?
					       chain->fault.text :
					       strerror(-err)));
}

int chain_fail_in(struct chain *chain, int err, const char *name)
{
	return chain_fail(chain, err, out_text("%s: %s", out_name(name),
					       chain->why));
}

/*-----------------------------------------------------------------
 * Layers and their parts
 */

struct chain_layer *chain_newest(struct chain *chain)
{
	return &chain->layer[chain->nr - 1];
}

struct chain_layer *chain_new_layer(struct chain *chain, const char *path,
				    const char *format)
{
	struct chain_layer *layer;

	chain->layer = out_grow(chain->layer, chain->nr + 1,
				sizeof(*chain->layer));
	layer = &chain->layer[chain->nr++];
	*layer = (struct chain_layer){
		.path = out_text("%s", path), .format = format, .text_fd = -1,
	};
	return layer;
}

static void drop_part(struct chain_part *part)
{
	vdisk_image_drop(part->image);
	vdisk_store_close(part->store);
	free(part->path);
}

void chain_drop_layer(struct chain *chain)
{
	struct chain_layer *layer = &chain->layer[--chain->nr];

	while (layer->nr)
		drop_part(&layer->part[--layer->nr]);
	free(layer->part);
	free(layer->path);
	free(layer->parent);
	if (layer->desc)
		descriptor_free(layer->desc);
	free(layer->desc);
	if (layer->text_fd >= 0)
		close(layer->text_fd);
}

/* What this program writes nobody else may have, whatever the user says. */
static bool is_ours(const struct chain *chain, bool write)
{
	return write && !(chain->flags & CHAIN_LEND);
}

/* But the device that it is changed for has it. */
static bool may_share(const struct chain *chain, bool write)
{
	return chain->opt->device_locks ||
	       (chain->opt->force_share && !is_ours(chain, write));
}

static const char *share_hint(const struct chain *chain, bool write)
{
	return chain->opt->repair || is_ours(chain, write) ?
	       "" : " (see --force-share)";
}

int chain_lock(struct chain *chain, int fd, bool write)
{
	const char *hint = share_hint(chain, write);
	char name[DMCTL_NAME_MAX];
	int r;

	if (!(chain->flags & CHAIN_LOCK) || may_share(chain, write))
		return 0;
	r = lock_image(fd, write);
	out_note(OUT_DEBUG, chain->image, "File %d: lock to %s: %s", fd,
		 write ? "write" : "read", r ? strerror(-r) : "taken");
	if (r == -EBUSY && repair_attached(fd, name, sizeof(name)))
		return chain_fail(chain, r,
				  out_text("Image is attached: %s%s",
					   out_name(name), hint));
	if (r == -EBUSY)
		return chain_fail(chain, r,
				  out_text("Image is in use by another program%s",
					   hint));
	if (r)
		return chain_fail(chain, r,
				  out_text("Image cannot be locked: %s%s",
					   strerror(-r), hint));
	return 0;
}

static int open_image(struct chain *chain, struct chain_part *part,
		      const struct vdisk_image_opts *opts)
{
	struct chain_layer *layer = chain_newest(chain);
	int r;

	*chain->fault.text = 0;
	r = vdisk_image_open(&part->image, part->format, part->store, opts,
			     &chain->fault);
	if (r)
		return chain_fail_fault(chain, r);
	part->sectors = part->image->geom.size_sec;
	part->offset_sec = opts->start_off / VDISK_SECTOR;
	layer->part = out_grow(layer->part, layer->nr + 1,
			       sizeof(*layer->part));
	layer->part[layer->nr++] = *part;
	layer->size_sec += part->sectors;
	out_note(OUT_VERBOSE, chain->image, "File %d: %s: %s, layer %u, %s, %llu sectors",
		 part->fd, part->path ? out_name(part->path) : "none",
		 part->format->name, chain->nr - 1,
		 part->image->opts.write ? "to be written" : "read only",
		 (unsigned long long)part->sectors);
	return 0;
}

/*
 * Who uses a file that is to be written, and took no lock: a device whose table
 * was loaded without this tool, or whatever stands on a block device.
 */
static int ask_holders(struct chain *chain, const struct reach_file *file)
{
	const char *hint = share_hint(chain, true);
	struct dmctl_device dev = { .open_count = 0 };
	char name[DMCTL_NAME_MAX], *user;
	struct stat st;
	int r = 0;

	if (!(chain->flags & CHAIN_LOCK) || may_share(chain, true))
		return 0;
	if (repair_attached(file->fd, name, sizeof(name)))
		return chain_fail(chain, -EBUSY,
				  out_text("Image is attached: %s%s",
					   out_name(name), hint));
	if (!file->device || fstat(file->fd, &st))
		return 0;
	dev.major = major(st.st_rdev);
	dev.minor = minor(st.st_rdev);
	user = holders_of(&dev, false);
	if (user)
		r = chain_fail(chain, -EBUSY, out_text("Device %s%s", user, hint));
	free(user);
	return r;
}

int chain_add_part(struct chain *chain, struct reach_file *file,
		   const struct vdisk_format *format,
		   const struct vdisk_image_opts *opts)
{
	struct chain_part part = {
		.format = format, .fd = file->fd, .moved = chain->moved,
	};
	struct vdisk_image_opts look = *opts;
	int r;

	look.lenient = chain->flags & CHAIN_LOOK;

	r = chain_lock(chain, file->fd, opts->write);
	if (!r && opts->write)
		r = ask_holders(chain, file);
	if (!r) {
		r = vdisk_store_file(file->fd, &part.store);
		if (r)
			chain_fail(chain, r, out_text("%s", strerror(-r)));
	}
	if (r) {
		reach_close(file);
		return r;
	}
	part.path = file->path;
	*file = (struct reach_file){ .fd = -1 };
	if (chain->opt->heads && chain->nr == 1) {
		/* The headers first; it is then opened to be looked at. */
		look.write = false;
		part.store = repair_trial_new(part.store);
		repair_trial_keep(part.store);
		repair_heads(chain->opt->heads,
			     strcmp(part.path, chain->image) ? part.path : NULL,
			     part.format, part.store, &look);
	}
	r = open_image(chain, &part, &look);
	if (r)
		drop_part(&part);
	return r;
}

int chain_add_hole(struct chain *chain, const char *format, u64 sectors)
{
	struct chain_part part = {
		.format = vdisk_format_find(format), .fd = -1,
	};

	return open_image(chain, &part, &(struct vdisk_image_opts){
		.size_sec = sectors,
	});
}

/*-----------------------------------------------------------------
 * Files
 */

void chain_spell(struct chain_names *names, const char *name, bool parent)
{
	bool drive = ((*name | 0x20) >= 'a' && (*name | 0x20) <= 'z') &&
		     name[1] == ':' && (name[2] == '\\' || name[2] == '/');
	bool windows = drive || !strncmp(name, "\\\\", 2);
	char *text, *p;

	/* A parent's name has always been read as Windows means it. */
	if (!windows && (!parent || strchr(name, '/') || !strchr(name, '\\')))
		names->name[names->nr++] = out_text("%s", name);
	text = out_text("%s", drive ? name + 2 : name);
	if (windows || !strchr(name, '/'))
		for (p = text; *p; p++)
			*p = *p == '\\' ? '/' : *p;
	p = strrchr(text, '/');
	if (p && p[1] && (parent || windows || *name == '/'))
		p = out_text("%s", p + 1);
	else
		p = NULL;
	if (windows || strcmp(text, name))
		names->name[names->nr++] = text;
	else
		free(text);
	if (p)
		names->name[names->nr++] = p;
}

int chain_find(struct chain *chain, const char *from, const char *name,
	       bool write, struct reach_file *file)
{
	struct chain_names names = { .nr = 0 };
	char *first = NULL;
	unsigned int i;
	int r = -ENOENT;

	chain_spell(&names, name, false);
	for (i = 0; i < names.nr; i++) {
		r = reach_named(&chain->reach, from, names.name[i], write, file);
		if (!r)
			break;
		if (!first)
			first = out_text("%s", chain->reach.why);
		/* It is there, only not allowed: no other file is meant. */
		if (*name == '/' && !access(name, F_OK))
			break;
	}
	chain->moved = !r && i && !strchr(names.name[i], '/');
	while (names.nr)
		free(names.name[--names.nr]);
	if (r)
		return chain_fail(chain, r, first);
	free(first);
	return 0;
}

int chain_alone(struct chain *chain, bool write, char *what)
{
	bool said = chain->opt->format && chain->nr <= 1;
	int r = 0;

	/* Who only looks at one file, or names its parent, may. */
	if (!(chain->flags & (CHAIN_ALONE | CHAIN_SOFT)) && (write || !said))
		r = chain_fail(chain, write ? -EROFS : -EINVAL,
			       out_text("%s (see %s)", what,
					said ? "--read-only" :
					write ? "-f with --read-only" : "-f"));
	free(what);
	return r;
}

int chain_add_file(struct chain *chain, struct reach_file *file,
		   const struct vdisk_format *format, bool write)
{
	struct vdisk_image_opts opts = {
		.write = write,
		.size_rule = chain->opt->size_rule,
	};
	const char *option = chain->opt->format_option;
	struct chain_probe probe;
	int r;

	if (chain->nr)
		option = NULL;
	else if (!option)
		option = "-f";
	chain_probe(&probe, file, format, option);
	if (probe.why) {
		reach_close(file);
		return chain_fail(chain, -EINVAL, probe.why);
	}
	if (probe.kind)
		return probe.kind->open(chain, file, write);
	chain_new_layer(chain, file->path, probe.format->name);
	r = chain_vmdk_alone(chain, file, probe.format, write);
	if (!r && probe.format == &vdisk_parallels_format)
		r = chain_bundle_alone(chain, file, write);
	if (r)
		reach_close(file);
	else
		r = chain_add_part(chain, file, probe.format, &opts);
	if (r)
		chain_drop_layer(chain);
	return r;
}

static int try_name(struct chain *chain, const struct chain_kind *kind,
		    unsigned int child, const char *name)
{
	const unsigned int nr = chain->nr;
	struct reach_file file;
	int r;

	r = reach_named(&chain->reach, chain->layer[child].path, name, false,
			&file);
	if (r)
		return chain_fail_reach(chain, r);
	/* Before the lock: in a circle we would meet our own. */
	r = reach_claim(&chain->reach, &file);
	if (r) {
		reach_close(&file);
		return chain_fail_reach(chain, r);
	}
	r = kind->parent(chain, &file, child);
	if (!r)
		return 0;
	while (chain->nr > nr)
		chain_drop_layer(chain);
	reach_unclaim(&chain->reach);
	return chain_fail_in(chain, r, name);
}

/*
 * The first name that leads to the right file wins. If none does, the first
 * one's trouble is told, unless a later one led to a wrong file.
 */
static int try_names(struct chain *chain, const struct chain_kind *kind,
		     const struct chain_names *names)
{
	const unsigned int child = chain->nr - 1;
	char *first = NULL;
	unsigned int i;
	int r;

	r = chain_fail(chain, -ENOENT, out_text("no name is given"));
	for (i = 0; i < names->nr; i++) {
		r = try_name(chain, kind, child, names->name[i]);
		out_note(OUT_DEBUG, chain->layer[child].path, "Parent %s: %s",
			 out_name(names->name[i]), r ? chain->why : "found");
		if (!r || r == -EBUSY || r == -ELOOP) {
			free(first);
			return r;
		}
		if (!first || r == -ESTALE) {
			free(first);
			first = out_text("%s", chain->why);
		}
	}
	return first ? chain_fail(chain, r, first) : r;
}

/*
 * 1 = there is none, 0 = it is the newest layer now. Without @open only its
 * name is found out.
 */
static int add_parent(struct chain *chain, bool open)
{
	struct chain_layer *layer = chain_newest(chain);
	const struct chain_kind *kind = NULL;
	struct chain_names names = { .nr = 0 };
	unsigned int i;
	int r;

	for (i = 0; chain_kinds[i] && !kind; i++)
		if (chain_kinds[i]->names &&
		    !strcmp(chain_kinds[i]->format, layer->format))
			kind = chain_kinds[i];
	if (!kind)
		return 1;
	r = kind->names(chain, layer, &names);
	if (r > 0 && names.nr)
		layer->parent = out_text("%s", names.name[0]);
	if (r > 0 && open)
		r = try_names(chain, kind, &names);
	else if (r >= 0 || !open)
		r = 1;
	while (names.nr)
		free(names.name[--names.nr]);
	return r;
}

static void spell(const char *format, const char *name,
		  struct chain_names *names)
{
	unsigned int i;

	for (i = 0; chain_kinds[i]; i++)
		if (chain_kinds[i]->spell &&
		    !strcmp(chain_kinds[i]->format, format))
			chain_kinds[i]->spell(name, names);
	if (!names->nr)
		names->name[names->nr++] = out_text("%s", name);
}

static bool is_file(const struct reach_file *file, const char *path)
{
	struct stat a, b;

	return !fstat(file->fd, &a) && !stat(path, &b) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/*
 * Other readers of these formats take what is before a colon for a protocol. A
 * VMDK may name a path of Windows, with a drive.
 */
static bool is_mistaken(const char *format, const char *name)
{
	bool vmdk = !strcmp(format, "vmdk");

	if (!vmdk && strcmp(format, "qed"))
		return false;
	if (vmdk && name[0] && name[1] == ':' &&
	    (name[2] == '\\' || name[2] == '/'))
		return false;
	return name[strcspn(name, ":/")] == ':';
}

bool chain_finds(const struct chain *parent, const char *image,
		 const char *place, const char *format, const char *name)
{
	const char *path = parent->layer[0].path;
	struct chain_names names = { .nr = 0 };
	struct reach_file file = { .fd = -1 };
	struct reach reach;
	bool good = false;
	unsigned int i;
	int r;

	if (parent->nr >= CHAIN_MAX_LAYERS) {
		out_error(image, "Parent: more than %u layers",
			  CHAIN_MAX_LAYERS);
		return false;
	}
	/* Where it may be opened is for who reads it to say. */
	r = reach_begin(&reach, place, &path, 1);
	spell(format, name, &names);
	/* What the first name says that leads to no file is what is told. */
	for (i = 0; i < names.nr && (!i || r); i++)
		r = reach_named(&reach, place, names.name[i], false, &file);
	if (r)
		out_error(image, "Parent: %s", reach.why);
	else if (!is_file(&file, path))
		out_error(image, "Parent: Name leads to another file: %s",
			  out_name(file.path));
	else if (is_mistaken(format, name))
		out_error(image, "Parent: Name would be taken for a protocol, "
			  "write ./%s", out_name(name));
	else
		good = true;
	reach_close(&file);
	reach_end(&reach);
	while (names.nr)
		free(names.name[--names.nr]);
	return good;
}

/*-----------------------------------------------------------------
 * The whole
 */

/* The disk takes the images; the layers keep their pointers to them. */
static int build_disk(struct chain *chain)
{
	unsigned int i, j;
	int r;

	r = vdisk_disk_new(&chain->disk, &chain->fault);
	for (i = chain->nr; !r && i--;) {
		r = vdisk_disk_push(chain->disk);
		for (j = 0; !r && j < chain->layer[i].nr; j++)
			r = vdisk_disk_add(chain->disk,
					   chain->layer[i].part[j].image,
					   chain->layer[i].part[j].sectors);
	}
	if (!r)
		return 0;
	chain_fail_fault(chain, r);
	/* Which images the disk owns by now is not known: leave it to exit. */
	chain->disk = NULL;
	for (i = 0; i < chain->nr; i++)
		for (j = 0; j < chain->layer[i].nr; j++)
			chain->layer[i].part[j].image = NULL;
	return r;
}

void chain_many_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_all(struct chain *chain)
{
	const struct verb_options *opt = chain->opt;
	bool write = chain->flags & CHAIN_WRITE;
	struct reach_file file;
	int r;

	r = reach_image(&chain->reach, chain->image, opt->allow, opt->nr_allow,
			write, &file);
	if (!r) {
		r = reach_claim(&chain->reach, &file);
		if (r)
			reach_close(&file);
	}
	if (r)
		chain_fail_reach(chain, r);
	else
		r = chain_add_file(chain, &file, opt->format, write);
	if (r) {
		out_error(chain->image, "%s", chain->why);
		return r;
	}
	while (!r) {
		r = add_parent(chain, !(chain->flags & CHAIN_ALONE));
		if (!r && chain->nr > CHAIN_MAX_LAYERS)
			r = chain_fail(chain, -E2BIG,
				       out_text("more than %u layers",
						CHAIN_MAX_LAYERS));
	}
	if (r < 0 && chain->flags & CHAIN_SOFT) {
		chain->parent_err = r;
		r = 0;
	}
	if (r < 0) {
		out_error(chain->nr > 1 ? chain_newest(chain)->path :
					  chain->image, "Parent: %s", chain->why);
		return r;
	}
	r = build_disk(chain);
	if (r)
		out_error(chain->image, "%s", chain->why);
	return r;
}

bool chain_open(struct chain *chain, const char *image,
		const struct verb_options *opt, unsigned int flags)
{
	*chain = (struct chain){ .image = image, .opt = opt, .flags = flags };
	chain_many_files();
	if (!open_all(chain))
		return true;
	chain_close(chain);
	return false;
}

void chain_close(struct chain *chain)
{
	unsigned int i, j;

	if (chain->disk) {
		vdisk_disk_drop(chain->disk);
		for (i = 0; i < chain->nr; i++)
			for (j = 0; j < chain->layer[i].nr; j++)
				chain->layer[i].part[j].image = NULL;
	}
	while (chain->nr)
		chain_drop_layer(chain);
	free(chain->layer);
	free(chain->why);
	reach_end(&chain->reach);
}

static const struct chain_part *part_of(const struct chain *chain,
					const struct vdisk_image *image)
{
	unsigned int i, j;

	for (i = 0; i < chain->nr; i++)
		for (j = 0; j < chain->layer[i].nr; j++)
			if (chain->layer[i].part[j].image == image)
				return &chain->layer[i].part[j];
	return NULL;
}

int chain_fd(const struct chain *chain, const struct vdisk_image *image)
{
	const struct chain_part *part = part_of(chain, image);

	return part ? part->fd : -1;
}

const char *chain_path(const struct chain *chain,
		       const struct vdisk_image *image)
{
	const struct chain_part *part = part_of(chain, image);

	return part ? part->path : NULL;
}
