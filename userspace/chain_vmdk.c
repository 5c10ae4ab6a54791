// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMDK: a text that lists extents, in a file of its own or inside the first
 * sectors of a sparse extent.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../formats/vmdk.h"
#include "chain_in.h"
#include "out.h"
#include "repair.h"

/*
 * Where a text that has ended goes on with something else, or @len. A disk may
 * begin so whose guest wrote the text.
 */
static size_t stray(const char *text, size_t len)
{
	const u8 *b = (const u8 *)text;
	size_t step = len >= 2 && (b[0] ^ b[1]) == 1 && b[0] >= 0xfe ? 2 : 1;
	size_t i;

	for (i = 0; i + step <= len && (b[i] || b[i + step - 1]); i += step)
		;
	while (i < len && !b[i])
		i++;
	return i;
}

static int read_text(struct chain *chain, int fd, u64 off, u64 len,
		     bool informs, struct descriptor **desc)
{
	char *text, *what;
	ssize_t n;

	*desc = NULL;
	if (len > DESCRIPTOR_MAX_LEN)
		return chain_fail(chain, -EFBIG,
				  out_text("Descriptor is longer than 1 MiB: "
					   "%llu", (unsigned long long)len));
	text = out_alloc(len, 1);
	n = pread(fd, text, len, (off_t)off);
	if (n < 0) {
		free(text);
		return chain_fail(chain, -errno,
				  out_text("%s", strerror(errno)));
	}
	/* Extents of a split disk keep room for a text they do not have. */
	if (!n || !*text) {
		free(text);
		return 0;
	}
	if (!off && stray(text, (size_t)n) < (size_t)n) {
		what = out_text("Descriptor is followed by other data: at %zu",
				stray(text, (size_t)n));
		free(text);
		return chain_fail(chain, -EINVAL, what);
	}
	*desc = out_alloc(1, sizeof(**desc));
	what = descriptor_parse(*desc, text, (size_t)n, informs);
	free(text);
	if (!what)
		return 0;
	descriptor_free(*desc);
	free(*desc);
	*desc = NULL;
	return chain_fail(chain, -EINVAL, what);
}

/* The format of a sparse extent that begins so, or NULL. */
static const char *sparse_name(const u8 *head, size_t len)
{
	if (len < VMDK_HEADER_LEN)
		return NULL;
	if (vdisk_le32(head) == VMDK_MAGIC)
		return "vmdk";
	if (vdisk_le32(head) == COWD_MAGIC)
		return "cowd";
	return vdisk_le64(head) == SESPARSE_MAGIC ? "sesparse" : NULL;
}

static const char *sparse_name_of(const struct reach_file *file)
{
	u8 head[VMDK_HEADER_LEN];
	ssize_t len = pread(file->fd, head, sizeof(head), 0);

	return sparse_name(head, len < 0 ? 0 : (size_t)len);
}

static bool vmdk_takes(const struct vdisk_claim *claim)
{
	return claim->format == &vdisk_vmdk_format ||
	       claim->format == &vdisk_cowd_format ||
	       claim->format == &vdisk_sesparse_format;
}

/* SPARSE is said of two kinds, and the file knows which. */
static const struct vdisk_format *sparse_format(const struct reach_file *file)
{
	const char *name = sparse_name_of(file);

	return vdisk_format_find(name && !strcmp(name, "cowd") ? name : "vmdk");
}

/* The part of the newest layer that is a piece of @file, from @i on; or NULL. */
static const struct chain_part *same_file(const struct chain *chain,
					  const struct reach_file *file,
					  unsigned int *i)
{
	const struct chain_layer *layer = &chain->layer[chain->nr - 1];
	struct stat st, is;

	if (fstat(file->fd, &st))
		return NULL;
	for (; *i < layer->nr; ++*i) {
		const struct chain_part *part = &layer->part[*i];

		if (part->format == &vdisk_raw_format &&
		    !fstat(part->fd, &is) && st.st_dev == is.st_dev &&
		    st.st_ino == is.st_ino)
			return part;
	}
	return NULL;
}

/*
 * Pieces of one file may lie anywhere in the disk. Written, no byte may be in
 * two of them. Further pieces share the open file, and so its locks.
 */
static int claim_piece(struct chain *chain, struct reach_file *file,
		       const struct descriptor_extent *e, bool write)
{
	const struct chain_layer *layer = &chain->layer[chain->nr - 1];
	const struct chain_part *part, *first;
	unsigned int i = 0;

	first = same_file(chain, file, &i);
	if (!first)
		return reach_claim(&chain->reach, file) ?
			chain_fail_reach(chain, -ELOOP) : 0;
	for (part = first; part; i++) {
		part = same_file(chain, file, &i);
		/* Files of one name from several directories were one here. */
		if (part && (part->moved || chain->moved) &&
		    strcmp(layer->desc->extent[i].file, e->file))
			return chain_fail(chain, -EINVAL,
					  out_text("%s: Another name leads to "
						   "the same file",
						   out_name(e->file)));
		if (part && write && e->offset_sec < part->offset_sec + part->sectors &&
		    part->offset_sec < e->offset_sec + e->sectors)
			return chain_fail(chain, -EINVAL,
					  out_text("Two extents have sector "
						   "%llu of %s",
						   (unsigned long long)vdisk_max(
							e->offset_sec,
							part->offset_sec),
						   out_name(e->file)));
	}
	close(file->fd);
	file->fd = dup(first->fd);
	return file->fd < 0 ? chain_fail(chain, -errno,
					 out_text("%s", strerror(errno))) : 0;
}

static int claim(struct chain *chain, struct reach_file *file,
		 const struct descriptor_extent *e, bool write)
{
	int r;

	if (e->type == DESCRIPTOR_FLAT || e->type == DESCRIPTOR_VMFS)
		return claim_piece(chain, file, e, write);
	r = reach_claim(&chain->reach, file);
	return r ? chain_fail_reach(chain, r) : 0;
}

static int add_extent(struct chain *chain, const char *from,
		      const struct descriptor_extent *e, bool write)
{
	struct vdisk_image_opts opts = {
		.write = write, .size_sec = e->sectors,
	};
	const struct vdisk_format *format = NULL;
	struct reach_file file;
	int r;

	if (e->access == DESCRIPTOR_NOACCESS)
		return chain_add_hole(chain, "error", e->sectors);
	if (e->type == DESCRIPTOR_ZERO)
		return chain_add_hole(chain, "zero", e->sectors);

	r = chain_find(chain, from, e->file, write, &file);
	if (r)
		return r;
	r = claim(chain, &file, e, write);
	if (r) {
		reach_close(&file);
		return r;
	}
	switch (e->type) {
	case DESCRIPTOR_FLAT:
	case DESCRIPTOR_VMFS:
		format = vdisk_format_find("raw");
		opts.start_off = e->offset_sec * VDISK_SECTOR;
		break;
	case DESCRIPTOR_SPARSE:
		format = sparse_format(&file);
		break;
	case DESCRIPTOR_VMFSSPARSE:
		format = vdisk_format_find("cowd");
		break;
	case DESCRIPTOR_SESPARSE:
		format = vdisk_format_find("sesparse");
		break;
	case DESCRIPTOR_ZERO:
		break;
	}
	r = chain_add_part(chain, &file, format, &opts);
	return r ? chain_fail_in(chain, r, e->file) : 0;
}

/* What the text says of the whole disk: may it be opened so? */
static int check_text(struct chain *chain, const struct descriptor *desc,
		      bool write)
{
	if (desc->why_ro && write)
		return chain_fail(chain, -EROFS,
				  out_text("%s (see --read-only)",
					   desc->why_ro));
	if (!desc->uuid_parent || descriptor_has_parent(desc))
		return 0;
	return chain_alone(chain, write,
			   out_text("Parent is known by its UUID only, "
				    "vdisk rebase -u names it: %s",
				    out_name(desc->uuid_parent)));
}

/* The extents of the text at @off in @file, which is used up as @desc is. */
static int add_extents(struct chain *chain, struct reach_file *file, u64 off,
		       struct descriptor *desc, bool write)
{
	struct chain_layer *layer = chain_new_layer(chain, file->path, "vmdk");
	const char *path = layer->path;
	const struct descriptor_extent *e;
	u32 i;
	int r;

	layer->desc = desc;
	layer->why_ro = desc->why_ro;
	layer->text_off = off;
	layer->text_fd = file->fd;
	free(file->path);
	*file = (struct reach_file){ .fd = -1 };
	r = chain_lock(chain, layer->text_fd, write);
	if (!r)
		r = check_text(chain, desc, write);
	if (!r && !desc->nr_extents)
		r = chain_fail(chain, -EINVAL,
			       out_text("Descriptor lists no extents"));
	for (i = 0; !r && i < desc->nr_extents; i++) {
		e = &desc->extent[i];
		if (write && (e->access != DESCRIPTOR_RW ||
			      e->type == DESCRIPTOR_ZERO))
			r = chain_fail(chain, -EROFS,
				       out_text("Extent can only be read "
						"(see --read-only): %u", i + 1));
		else
			r = add_extent(chain, path, e, write);
	}
	if (r)
		chain_drop_layer(chain);
	return r;
}

/*
 * Without its text a child would read zeroes where its parent has data, and a
 * write to the parent would not be seen.
 */
static int check_lost(struct chain *chain, const struct reach_file *file,
		      const struct vmdk_header_disk *h, bool write)
{
	bool said = chain->opt->format && !chain->nr;
	struct vdisk_store *store;
	u64 sector, length;
	int r, fd = dup(file->fd);	/* the store closes what it is given */

	r = fd < 0 ? -errno : vdisk_store_file(fd, &store);
	if (r) {
		if (fd >= 0)
			close(fd);
		return chain_fail(chain, r, out_text("%s", strerror(-r)));
	}
	sector = vmdk_lost_text(store);
	length = store->length / VDISK_SECTOR;
	vdisk_store_close(store);
	/* An offset behind the file is refused by the format, or mended. */
	if (!sector || (said && !write) || le64_of(h->desc_offset) >= length)
		return 0;
	return chain_fail(chain, write ? -EROFS : -EINVAL,
			  out_text("descriptorOffset %llu and descriptorSize "
				   "%llu miss the descriptor at sector %llu "
				   "(see %s)",
				   (unsigned long long)le64_of(h->desc_offset),
				   (unsigned long long)le64_of(h->desc_size),
				   (unsigned long long)sector,
				   said ? "--read-only" :
				   write ? "-f with --read-only" : "-f"));
}

/*
 * A sparse extent with a text inside. Without a capacity the text describes
 * other files; else its extent lines are what they were when the file was
 * exported, and the header counts.
 */
static int open_hosted(struct chain *chain, struct reach_file *file, bool write)
{
	struct vdisk_image_opts opts = { .write = write };
	struct vmdk_header_disk h;
	struct descriptor *desc = NULL;
	struct chain_layer *layer;
	u64 off, len;
	int r = 0;

	if (pread(file->fd, &h, sizeof(h), 0) != sizeof(h))
		memset(&h, 0, sizeof(h));
	off = le64_of(h.desc_offset);
	len = le64_of(h.desc_size);
	r = check_lost(chain, file, &h, write);
	if (r)
		;
	else if (off && len && (off > VMDK_MAX_SECTORS || len > VMDK_MAX_SECTORS))
		r = chain_fail(chain, -EINVAL,
			       out_text("Descriptor is outside the file: %llu",
					(unsigned long long)off));
	else if (off && len)
		r = read_text(chain, file->fd, off * VDISK_SECTOR,
			      len * VDISK_SECTOR, le64_of(h.capacity), &desc);
	if (r) {
		reach_close(file);
		return r;
	}
	off *= VDISK_SECTOR;
	if (desc && !le64_of(h.capacity))
		return add_extents(chain, file, off, desc, write);
	layer = chain_new_layer(chain, file->path, "vmdk");
	layer->desc = desc;
	layer->why_ro = desc ? desc->why_ro : NULL;
	layer->text_off = off;
	r = desc ? check_text(chain, desc, write) :
		   chain_vmdk_alone(chain, file, &vdisk_vmdk_format, write);
	if (r)
		reach_close(file);
	else
		r = chain_add_part(chain, file, &vdisk_vmdk_format, &opts);
	if (r)
		chain_drop_layer(chain);
	return r;
}

/* The name of the text that by its own name should list the file; or NULL. */
static char *lister(const char *path)
{
	const char *end = strrchr(path, '-');
	char *name;

	if (!end || strchr(end, '/'))
		return NULL;
	name = out_text("%.*s.vmdk", (int)(end - path), path);
	if (!access(name, F_OK))
		return name;
	free(name);
	return NULL;
}

/*
 * A COWD header has the parent's name, or the disk's geometry, three integers,
 * of which the upper bytes are zero.
 */
static char *named_in_cowd(const struct reach_file *file)
{
	static const u8 none[8];
	struct cowd_header_disk h;
	size_t len;

	if (pread(file->fd, &h, sizeof(h), 0) != sizeof(h))
		return NULL;
	len = strnlen((char *)h.origin, sizeof(h.origin));
	if (!len || len == sizeof(h.origin) || h.origin[0] < ' ' ||
	    (len < 4 && memcmp(h.origin + 4, none, sizeof(none))))
		return NULL;
	return out_text("%s", (char *)h.origin);
}

/* "disk-s002.vmdk", as programs call the pieces of a split disk. */
static bool is_called_piece(const char *path)
{
	const char *p = strrchr(path, '-');

	if (!p || strchr(p, '/') || (p[1] | 0x20) != 's')
		return false;
	return strspn(p + 2, "0123456789") == 3 && p[5] == '.';
}

/*
 * Where something says that an extent is a part of a disk, or on top of a parent,
 * it is not what the disk reads, and who wrote it would do so without a new
 * content id, so that no child sees it.
 */
int chain_vmdk_alone(struct chain *chain, const struct reach_file *file,
		     const struct vdisk_format *format, bool write)
{
	char *name, *parent, *what = NULL;
	bool cowd = format == &vdisk_cowd_format;

	if (chain->flags & CHAIN_PIECE ||
	    (!cowd && format != &vdisk_sesparse_format &&
	     format != &vdisk_vmdk_format))
		return 0;
	name = lister(file->path);
	parent = cowd ? named_in_cowd(file) : NULL;
	if (name)
		what = out_text("Piece of a disk, open its descriptor: %s",
				out_name(strrchr(name, '/') + 1));
	else if (parent)
		what = out_text("Piece of a disk without its descriptor, its "
				"parent is %s", out_name(parent));
	else if (is_called_piece(file->path))
		what = out_text("Piece of a disk without its descriptor");
	free(parent);
	free(name);
	return what ? chain_alone(chain, write, what) : 0;
}

/* An extent of ESX by itself, without the text that belongs to it. */
static int open_extent(struct chain *chain, struct reach_file *file,
		       const char *name, bool write)
{
	const struct vdisk_format *format = vdisk_format_find(name);
	struct vdisk_image_opts opts = { .write = write };
	int r;

	chain_new_layer(chain, file->path, "vmdk");
	r = chain_vmdk_alone(chain, file, format, write);
	if (r)
		reach_close(file);
	else
		r = chain_add_part(chain, file, format, &opts);
	if (r)
		chain_drop_layer(chain);
	return r;
}

static int vmdk_open(struct chain *chain, struct reach_file *file, bool write)
{
	const char *name = sparse_name_of(file);
	struct descriptor *desc;
	off_t len;
	int r;

	if (name)
		return strcmp(name, "vmdk") ?
			open_extent(chain, file, name, write) :
			open_hosted(chain, file, write);
	len = lseek(file->fd, 0, SEEK_END);
	r = read_text(chain, file->fd, 0, len < 0 ? 0 : (u64)len, false, &desc);
	if (!r)
		return add_extents(chain, file, 0, desc, write);
	reach_close(file);
	return r;
}

/*-----------------------------------------------------------------*/

static void vmdk_spell(const char *hint, struct chain_names *names)
{
	chain_spell(names, hint, true);
}

static int vmdk_names(struct chain *chain, const struct chain_layer *layer,
		      struct chain_names *names)
{
	const struct descriptor *desc = layer->desc;

	if (!desc || !descriptor_has_parent(desc))
		return 0;
	if (desc->parent_hint)
		vmdk_spell(desc->parent_hint, names);
	return 1;
}

static int vmdk_parent(struct chain *chain, struct reach_file *file,
		       unsigned int child)
{
	const u32 want = chain->layer[child].desc->parent_cid;
	const struct descriptor *desc;
	int r;

	r = chain_add_file(chain, file, vdisk_format_find("vmdk"), false);
	if (r)
		return r;
	desc = chain_newest(chain)->desc;
	if (!desc)
		return chain_fail(chain, -EINVAL,
				  out_text("Image has no descriptor"));
	if (desc->cid == want || want == DESCRIPTOR_LONG_CID)
		return 0;
	return chain_fail(chain, -ESTALE,
			  out_text("Image has the CID %08x instead of %08x",
				   desc->cid, want));
}

const struct chain_kind chain_vmdk = {
	.format	= "vmdk",
	.takes	= vmdk_takes,
	.open	= vmdk_open,
	.names	= vmdk_names,
	.parent	= vmdk_parent,
	.spell	= vmdk_spell,
};
