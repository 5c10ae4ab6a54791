// SPDX-License-Identifier: GPL-2.0
/*
 * The table line, both directions:
 *
 *	<mode> <#layers> <layer>... [<#options> <option>...]
 *	layer:  <#extents> <extent>...
 *	extent: <sectors> <format> <#args> [<backing> [<key>=<value>...]]
 *	option: buffered | commit=<ms> | stamp=<byte>:<hex digits>:<backing> |
 *		prealloc_size=<sectors> | prealloc_mode=truncate|falloc |
 *		enospc=error|queue
 */
#include "vdisk.h"

#include <linux/ctype.h>
#include <linux/slab.h>
#include <linux/string.h>

#define COMMIT_MS 5000
#define COMMIT_MS_MAX (3600 * 1000)
#define PREALLOC_SEC_MAX (1ull << 31)	/* 1 TiB */

static const char *const size_rules[] = {
	[VDISK_SIZE_AUTO] = "auto",
	[VDISK_SIZE_CURRENT] = "current",
	[VDISK_SIZE_CHS] = "chs",
};

static int parse_u64(const char *s, u64 *n)
{
	/* kstrtou64() takes a sign, and a line end behind. */
	if (!s || !isdigit(*s) || strchr(s, '\n'))
		return -EINVAL;
	return kstrtou64(s, 10, n);
}

/*
 * A byte of a name may be written \ooo, in octal, as in /proc/mounts: dmsetup
 * doubles backslashes, so a quoted blank would not come through it.
 */
static char *parse_name(const char *arg)
{
	char *name = kstrdup(arg, GFP_KERNEL), *in = name, *out = name;
	unsigned int c;

	for (; in && *in; in++, out++) {
		*out = *in;
		if (*in == '\\' && sscanf(in + 1, "%3o", &c) == 1 && c &&
		    c < 256 && strspn(in + 1, "01234567") >= 3) {
			*out = (char)c;
			in += 3;
		}
	}
	if (out)
		*out = 0;
	return name;
}

static int parse_count(struct dm_arg_set *as, unsigned int most,
		       unsigned int *n)
{
	u64 v;

	if (!as->argc || parse_u64(dm_shift_arg(as), &v) || !v || v > most)
		return -EINVAL;
	*n = (unsigned int)v;
	return 0;
}

static int parse_key(struct vdisk_extent_args *ext, const char *arg,
		     char **error)
{
	u64 v;
	int i;

	*error = "Unknown extent argument";
	if (!strncmp(arg, "offset=", 7) && ext->format == &vdisk_raw_format) {
		*error = "Invalid extent offset";
		if (parse_u64(arg + 7, &v) || v > LLONG_MAX / VDISK_SECTOR)
			return -EINVAL;
		ext->start_sec = v;
		return 0;
	}
	if (!strncmp(arg, "size=", 5) && ext->format == &vdisk_vhd_format) {
		*error = "Invalid size rule";
		i = match_string(size_rules, ARRAY_SIZE(size_rules), arg + 5);
		if (i < 0)
			return -EINVAL;
		ext->size_rule = i;
		return 0;
	}
	return -EINVAL;
}

static int parse_extent(struct vdisk_extent_args *ext, struct dm_arg_set *as,
			char **error)
{
	u64 n;
	int r;

	*error = "Invalid extent length";
	if (!as->argc || parse_u64(dm_shift_arg(as), &ext->sectors) ||
	    !ext->sectors || ext->sectors > LLONG_MAX / VDISK_SECTOR)
		return -EINVAL;
	*error = "Unknown format";
	if (!as->argc)
		return -EINVAL;
	ext->format = vdisk_format_find(dm_shift_arg(as));
	if (!ext->format)
		return -EINVAL;
	*error = "Invalid number of extent arguments";
	if (!as->argc || parse_u64(dm_shift_arg(as), &n) || n > as->argc)
		return -EINVAL;
	if (ext->format->flags & VDISK_FORMAT_NO_FILE)
		return n ? -EINVAL : 0;
	if (!n)
		return -EINVAL;
	*error = "Cannot allocate table";
	ext->backing = parse_name(dm_shift_arg(as));
	if (!ext->backing)
		return -ENOMEM;
	while (--n) {
		r = parse_key(ext, dm_shift_arg(as), error);
		if (r)
			return r;
	}
	return 0;
}

static int parse_layer(struct vdisk_layer_args *layer, struct dm_arg_set *as,
		       char **error)
{
	unsigned int i, n;
	int r;

	*error = "Invalid number of extents";
	r = parse_count(as, VDISK_MAX_EXTENTS, &n);
	if (r)
		return r;
	*error = "Cannot allocate table";
	layer->extent = kvcalloc(n, sizeof(*layer->extent), GFP_KERNEL);
	if (!layer->extent)
		return -ENOMEM;
	layer->nr = n;
	for (i = 0; i < n; i++) {
		r = parse_extent(&layer->extent[i], as, error);
		if (r)
			return r;
	}
	return 0;
}

static int parse_stamp(struct vdisk_stamp_args *stamp, const char *arg,
		       char **error)
{
	int end = 0;
	u64 off;

	*error = "Invalid stamp";
	if (stamp->backing || *arg == '-' ||
	    sscanf(arg, "%llu:%8[0123456789abcdefABCDEF]:%n", &off,
		   stamp->text, &end) != 2 ||
	    !end || !arg[end] || off > LLONG_MAX - VDISK_STAMP_MAX)
		return -EINVAL;
	*error = "Cannot allocate table";
	stamp->off = off;
	stamp->backing = parse_name(arg + end);
	return stamp->backing ? 0 : -ENOMEM;
}

/* What becomes of writes that need more of the file than there is. */
static int parse_space(struct vdisk_args *args, const char *arg, char **error)
{
	const char *value = strchr(arg, '=');
	u64 v;

	*error = "Unknown option";
	if (!value++)
		return -EINVAL;
	if (!strncmp(arg, "prealloc_size=", 14)) {
		*error = "Invalid prealloc size";
		if (parse_u64(value, &v) || !v || v > PREALLOC_SEC_MAX)
			return -EINVAL;
		args->prealloc_sec = v;
		return 0;
	}
	if (!strncmp(arg, "prealloc_mode=", 14)) {
		*error = "Invalid prealloc mode";
		args->falloc = !strcmp(value, "falloc");
		return args->falloc || !strcmp(value, "truncate") ? 0 : -EINVAL;
	}
	if (!strncmp(arg, "enospc=", 7)) {
		*error = "Invalid enospc mode";
		args->queue = !strcmp(value, "queue");
		return args->queue || !strcmp(value, "error") ? 0 : -EINVAL;
	}
	return -EINVAL;
}

static int parse_option(struct vdisk_args *args, const char *arg, char **error)
{
	u64 v;

	if (!strcmp(arg, "buffered")) {
		args->buffered = true;
		return 0;
	}
	if (!strncmp(arg, "stamp=", 6))
		return parse_stamp(&args->stamp, arg + 6, error);
	if (!strncmp(arg, "commit=", 7)) {
		*error = "Invalid commit interval";
		if (parse_u64(arg + 7, &v) || !v || v > COMMIT_MS_MAX)
			return -EINVAL;
		args->commit_ms = (unsigned int)v;
		return 0;
	}
	return parse_space(args, arg, error);
}

static int parse_options(struct vdisk_args *args, struct dm_arg_set *as,
			 char **error)
{
	u64 n;
	int r;

	if (!as->argc)
		return 0;
	*error = "Invalid number of options";
	if (parse_u64(dm_shift_arg(as), &n) || n != as->argc)
		return -EINVAL;
	while (as->argc) {
		r = parse_option(args, dm_shift_arg(as), error);
		if (r)
			return r;
	}
	return 0;
}

/* On error what was parsed so far stays in @args: vdisk_table_free() it. */
int vdisk_table_parse(struct vdisk_args *args, unsigned int argc, char **argv,
		      char **error)
{
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	const char *mode = argc ? dm_shift_arg(&as) : "";
	unsigned int i, n;
	int r;

	args->commit_ms = COMMIT_MS;
	args->write = !strcmp(mode, "rw");
	if (!args->write && strcmp(mode, "ro")) {
		*error = "Mode is neither ro nor rw";
		return -EINVAL;
	}
	*error = "Invalid number of layers";
	r = parse_count(&as, VDISK_MAX_LAYERS, &n);
	if (r)
		return r;
	*error = "Cannot allocate table";
	args->layer = kcalloc(n, sizeof(*args->layer), GFP_KERNEL);
	if (!args->layer)
		return -ENOMEM;
	args->nr_layers = n;
	for (i = 0; i < n; i++) {
		r = parse_layer(&args->layer[i], &as, error);
		if (r)
			return r;
	}
	return parse_options(args, &as, error);
}

void vdisk_table_free(struct vdisk_args *args)
{
	unsigned int i, k;

	for (i = 0; i < args->nr_layers; i++) {
		for (k = 0; k < args->layer[i].nr; k++)
			kfree(args->layer[i].extent[k].backing);
		kvfree(args->layer[i].extent);
	}
	kfree(args->layer);
	kfree(args->stamp.backing);
	args->layer = NULL;
	args->nr_layers = 0;
}

/* DMEMIT for a name without blanks, or a # that dmsetup would cut off. */
static unsigned int emit_name(const char *name, char *result,
			      unsigned int maxlen, unsigned int sz)
{
	for (; *name; name++) {
		if (isspace(*name) || *name == '\\' || *name == '#')
			DMEMIT("\\%03o", (unsigned char)*name);
		else
			DMEMIT("%c", *name);
	}
	return sz;
}

static unsigned int emit_extent(const struct vdisk_image *image, char *result,
				unsigned int maxlen, unsigned int sz)
{
	const struct vdisk_extent_args *ext = image->args;
	unsigned int n = !!image->backing + !!ext->start_sec +
			 (ext->size_rule != VDISK_SIZE_AUTO);

	DMEMIT(" %llu %s %u", ext->sectors, ext->format->name, n);
	if (image->backing) {
		DMEMIT(" ");
		sz = emit_name(image->backing->path, result, maxlen, sz);
	}
	if (ext->start_sec)
		DMEMIT(" offset=%llu", ext->start_sec);
	if (ext->size_rule != VDISK_SIZE_AUTO)
		DMEMIT(" size=%s", size_rules[ext->size_rule]);
	return sz;
}

static unsigned int emit_space(const struct vdisk_args *args, char *result,
			       unsigned int maxlen, unsigned int sz)
{
	if (args->prealloc_sec)
		DMEMIT(" prealloc_size=%llu", args->prealloc_sec);
	if (args->falloc)
		DMEMIT(" prealloc_mode=falloc");
	if (args->queue)
		DMEMIT(" enospc=queue");
	return sz;
}

void vdisk_table_print(const struct vdisk *v, char *result, unsigned int maxlen)
{
	const struct vdisk_args *args = &v->args;
	unsigned int i, k, sz = 0;
	unsigned int n = args->buffered + (args->commit_ms != COMMIT_MS) +
			 !!args->prealloc_sec + args->falloc + args->queue +
			 !!v->stamp;

	DMEMIT("%s %u", args->write ? "rw" : "ro", v->nr_layers);
	for (i = 0; i < v->nr_layers; i++) {
		DMEMIT(" %u", v->layer[i].nr);
		for (k = 0; k < v->layer[i].nr; k++)
			sz = emit_extent(v->layer[i].image[k], result, maxlen,
					 sz);
	}
	if (n)
		DMEMIT(" %u", n);
	if (args->buffered)
		DMEMIT(" buffered");
	if (args->commit_ms != COMMIT_MS)
		DMEMIT(" commit=%u", args->commit_ms);
	sz = emit_space(args, result, maxlen, sz);
	if (v->stamp) {
		DMEMIT(" stamp=%llu:%s:", args->stamp.off, args->stamp.text);
		emit_name(v->stamp->path, result, maxlen, sz);
	}
}
