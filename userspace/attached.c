// SPDX-License-Identifier: GPL-2.0-or-later
/* The disk of an attached device, opened for reading beside the kernel. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "attached.h"
#include "line.h"
#include "out.h"

bool attached_find(const char *name, struct dmctl_device *dev)
{
	if (dmctl_name(name) != name)
		name = dmctl_name(name);
	else if (!access(name, F_OK))
		return false;
	if (!*name || strchr(name, '/') || strlen(name) >= DMCTL_NAME_MAX ||
	    dmctl_get(name, dev))
		return false;
	return dev->params;
}

/* A suspended device has nothing uncommitted, and would let a flush wait. */
static void commit(const struct dmctl_device *dev)
{
	char *path;
	int fd;

	if (dev->suspended || dev->read_only)
		return;
	path = dmctl_path(dev->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		out_warn(dev->name, "Cannot flush the device: %s",
			 strerror(errno));
	if (fd >= 0)
		close(fd);
	free(path);
}

static int open_store(const char *path, struct vdisk_store **store)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : vdisk_store_file(fd, store);

	if (fd >= 0 && r)
		close(fd);
	return r;
}

static int add_extent(struct attached *at, const struct line_extent *ext)
{
	const struct vdisk_format *format = vdisk_format_find(ext->format);
	struct attached_file *file = &at->file[at->nr];
	struct vdisk_image_opts opts = { .size_rule = ext->size_rule };
	struct vdisk_image *image;
	int r;

	if (!format)
		return vdisk_fault_set(&at->fault, -EINVAL,
				       "Unknown format in the table line", 0);
	*file = (struct attached_file){ 0 };
	if (ext->path) {
		r = open_store(ext->path, &file->store);
		if (r) {
			snprintf(at->fault.text, sizeof(at->fault.text), "%s",
				 strerror(-r));
			return r;
		}
		file->path = out_text("%s", ext->path);
	}
	at->nr++;
	/* The others' headers tell their length. */
	if (!ext->path || format == &vdisk_raw_format) {
		opts.size_sec = ext->sectors;
		opts.start_off = ext->offset_sec * VDISK_SECTOR;
	}
	r = vdisk_image_open(&image, format, file->store, &opts, &at->fault);
	if (r)
		return r;
	r = vdisk_disk_add(at->disk, image, ext->sectors);
	if (r)
		vdisk_image_drop(image);
	else
		file->image = image;
	return r;
}

static bool add_layers(struct attached *at, const struct line *line,
		       const char *name)
{
	const struct line_extent *ext;
	unsigned int i, j;

	for (i = 0; i < line->nr; i++) {
		if (vdisk_disk_push(at->disk)) {
			out_error(name, "%s", at->fault.text);
			return false;
		}
		for (j = 0; j < line->layer[i].nr; j++) {
			ext = &line->layer[i].extent[j];
			at->file = out_grow(at->file, at->nr + 1,
					    sizeof(*at->file));
			if (!add_extent(at, ext))
				continue;
			out_error(ext->path ? ext->path : name, "%s",
				  at->fault.text);
			return false;
		}
	}
	return true;
}

bool attached_open(struct attached *at, const struct dmctl_device *dev)
{
	struct line line;
	bool good = false;

	*at = (struct attached){ 0 };
	if (!line_parse(&line, dev->params)) {
		out_error(dev->name, "Unknown table line: %s",
			  out_name(dev->params));
	} else {
		commit(dev);
		if (vdisk_disk_new(&at->disk, &at->fault))
			out_error(dev->name, "%s", at->fault.text);
		else
			good = add_layers(at, &line, dev->name);
	}
	line_free(&line);
	if (!good)
		attached_close(at);
	return good;
}

void attached_close(struct attached *at)
{
	vdisk_disk_drop(at->disk);
	while (at->nr) {
		vdisk_store_close(at->file[--at->nr].store);
		free(at->file[at->nr].path);
	}
	free(at->file);
	*at = (struct attached){ 0 };
}
