// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Parallels bundles: a directory whose DiskDescriptor.xml names the images of
 * every layer. The images themselves know nothing of each other.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"
#include "chain_in.h"
#include "out.h"

/* The file's own directory has a description. */
static bool has_description(const char *path)
{
	char *name = out_text("%.*s/%s", (int)(strrchr(path, '/') - path), path,
			      BUNDLE_FILE);
	bool yes = !access(name, F_OK);

	free(name);
	return yes;
}

/*
 * The directory, its description, or the empty file of the bundle's name that
 * lies in it. An image in it is taken for what it is.
 */
static bool bundle_claims(const struct reach_file *file)
{
	struct stat st;

	if (file->directory)
		return !faccessat(file->fd, BUNDLE_FILE, F_OK, 0);
	return !fstat(file->fd, &st) && S_ISREG(st.st_mode) && !st.st_size &&
	       has_description(file->path);
}

static bool bundle_takes(const struct vdisk_claim *claim)
{
	return claim->kind == VDISK_CLAIM_TEXT &&
	       claim->format == &vdisk_parallels_format;
}

static int read_bundle(struct chain *chain, int fd, struct bundle *bundle)
{
	char *text = out_alloc(BUNDLE_MAX_LEN + 1, 1), *what;
	ssize_t n = pread(fd, text, BUNDLE_MAX_LEN + 1, 0);
	int r = 0;

	if (n < 0) {
		r = chain_fail(chain, -errno, out_text("%s", strerror(errno)));
	} else {
		what = bundle_parse(bundle, text, (size_t)n);
		if (what) {
			bundle_free(bundle);
			r = chain_fail(chain, -EINVAL, what);
		}
	}
	free(text);
	return r;
}

static int add_image(struct chain *chain, const char *from,
		     const struct bundle_storage *s,
		     const struct bundle_image *image, bool write)
{
	struct vdisk_image_opts opts = {
		.write = write, .size_sec = s->end_sec - s->start_sec,
	};
	const struct vdisk_geom *geom;
	struct chain_layer *layer;
	struct reach_file file;
	int r;

	r = chain_find(chain, from, image->file, write, &file);
	if (r)
		return r;
	r = reach_claim(&chain->reach, &file);
	if (r) {
		reach_close(&file);
		return chain_fail_reach(chain, r);
	}
	r = chain_add_part(chain, &file,
			   vdisk_format_find(image->plain ? "raw" : "parallels"),
			   &opts);
	if (r)
		return chain_fail_in(chain, r, image->file);
	layer = chain_newest(chain);
	geom = &layer->part[layer->nr - 1].image->geom;
	if (image->plain || !s->block_sec || geom->unit_sec == s->block_sec)
		return 0;
	chain_fail(chain, 0,
		   out_text("Cluster has %llu sectors, and %llu according to %s",
			    (unsigned long long)geom->unit_sec,
			    (unsigned long long)s->block_sec, BUNDLE_FILE));
	return chain_fail_in(chain, -EINVAL, image->file);
}

static const char suspended[] = "Image belongs to a machine that is suspended";

/* @from: the description's path, which file names are relative to. */
static int add_layers(struct chain *chain, const char *from,
		      const struct bundle *bundle, const char *path, bool write)
{
	const struct bundle_storage *s;
	unsigned int i, j;
	int r = 0;

	if (bundle->suspended && write)
		return chain_fail(chain, -EROFS, out_text("%s (see --read-only)",
							  suspended));
	for (i = 0; !r && i < bundle->nr_layers; i++) {
		chain_new_layer(chain, path, "parallels")->why_ro =
			bundle->suspended && !i ? suspended : NULL;
		for (j = 0; !r && j < bundle->nr; j++) {
			s = &bundle->storage[j];
			r = add_image(chain, from, s,
				      bundle_image(s, bundle->layer[i]),
				      write && !i);
		}
	}
	return r;
}

static int bundle_open(struct chain *chain, struct reach_file *file, bool write)
{
	const unsigned int nr = chain->nr;
	struct reach_file description = { .fd = -1 };
	struct bundle bundle;
	struct stat st;
	char *in;
	int r = 0, fd = file->fd;

	if (file->directory || (!fstat(fd, &st) && !st.st_size)) {
		in = file->directory ? out_text("%s/", file->path)
				     : out_text("%s", file->path);
		r = reach_named(&chain->reach, in, BUNDLE_FILE, false,
				&description);
		free(in);
		if (r)
			chain_fail_reach(chain, r);
		fd = description.fd;
	}
	if (!r)
		r = read_bundle(chain, fd, &bundle);
	if (!r) {
		r = add_layers(chain, description.path ? description.path
						       : file->path,
			       &bundle, file->path, write);
		bundle_free(&bundle);
	}
	while (r && chain->nr > nr)
		chain_drop_layer(chain);
	reach_close(&description);
	reach_close(file);
	return r;
}

/* Does the description list the file at @path, and others? */
static bool is_one_of(const struct bundle *bundle, const char *path)
{
	const char *name = strrchr(path, '/') + 1, *slash;
	unsigned int i, j, nr = 0;
	bool listed = false;

	for (i = 0; i < bundle->nr; i++) {
		for (j = 0; j < bundle->storage[i].nr; j++) {
			const char *file = bundle->storage[i].image[j].file;

			slash = strrchr(file, '/');
			listed |= !strcmp(slash ? slash + 1 : file, name);
			nr++;
		}
	}
	return listed && nr > 1;
}

int chain_bundle_alone(struct chain *chain, const struct reach_file *file,
		       bool write)
{
	struct reach_file description;
	struct bundle bundle;
	bool part = false;

	if (!has_description(file->path) ||
	    reach_named(&chain->reach, file->path, BUNDLE_FILE, false,
			&description))
		return 0;
	if (!read_bundle(chain, description.fd, &bundle)) {
		part = is_one_of(&bundle, file->path);
		bundle_free(&bundle);
	}
	reach_close(&description);
	if (!part)
		return 0;
	return chain_alone(chain, write,
			   out_text("Piece of a disk, open its description: %s",
				    BUNDLE_FILE));
}

const struct chain_kind chain_bundle = {
	.format	= "parallels",
	.claims	= bundle_claims,
	.takes	= bundle_takes,
	.open	= bundle_open,
};
