// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMDK: a text that lists extents, in a file of its own or inside the first
 * sectors of a sparse extent.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "../formats/vmdk.h"
#include "chain_in.h"
#include "out.h"

static int read_text(struct chain *chain, int fd, u64 off, u64 len,
		     struct descriptor **desc)
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
	*desc = out_alloc(1, sizeof(**desc));
	what = descriptor_parse(*desc, text, (size_t)n);
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

	r = reach_named(&chain->reach, from, e->file, write, &file);
	if (!r) {
		r = reach_claim(&chain->reach, &file);
		if (r)
			reach_close(&file);
	}
	if (r)
		return chain_fail_reach(chain, r);
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
	layer->text_off = off;
	layer->text_fd = file->fd;
	free(file->path);
	*file = (struct reach_file){ .fd = -1 };
	r = chain_lock(chain, layer->text_fd, write);
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
	if (off && len && (off > VMDK_MAX_SECTORS || len > VMDK_MAX_SECTORS))
		r = chain_fail(chain, -EINVAL,
			       out_text("Descriptor is outside the file: %llu",
					(unsigned long long)off));
	else if (off && len)
		r = read_text(chain, file->fd, off * VDISK_SECTOR,
			      len * VDISK_SECTOR, &desc);
	if (r) {
		reach_close(file);
		return r;
	}
	off *= VDISK_SECTOR;
	if (desc && !le64_of(h.capacity))
		return add_extents(chain, file, off, desc, write);
	layer = chain_new_layer(chain, file->path, "vmdk");
	layer->desc = desc;
	layer->text_off = off;
	r = chain_add_part(chain, file, vdisk_format_find("vmdk"), &opts);
	if (r)
		chain_drop_layer(chain);
	return r;
}

/* An extent of ESX by itself, without the text that belongs to it. */
static int open_extent(struct chain *chain, struct reach_file *file,
		       const char *format, bool write)
{
	struct vdisk_image_opts opts = { .write = write };
	int r;

	chain_new_layer(chain, file->path, "vmdk");
	r = chain_add_part(chain, file, vdisk_format_find(format), &opts);
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
	r = read_text(chain, file->fd, 0, len < 0 ? 0 : (u64)len, &desc);
	if (!r)
		return add_extents(chain, file, 0, desc, write);
	reach_close(file);
	return r;
}

/*-----------------------------------------------------------------*/

static void vmdk_spell(const char *hint, struct chain_names *names)
{
	char *name = out_text("%s", hint), *p;

	/* Windows' way of writing it. */
	if (!strchr(name, '/'))
		for (p = name; *p; p++)
			*p = *p == '\\' ? '/' : *p;
	if (*name && name[1] == ':')
		memmove(name, name + 2, strlen(name) - 1);
	names->name[names->nr++] = name;
	p = strrchr(name, '/');
	if (p && p[1])
		names->name[names->nr++] = out_text("%s", p + 1);
}

static int vmdk_names(struct chain *chain, const struct chain_layer *layer,
		      struct chain_names *names)
{
	const struct descriptor *desc = layer->desc;

	if (!desc || desc->parent_cid == DESCRIPTOR_NO_PARENT)
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
