// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vdisk convert: what an image holds as a new image of any format, or into a
 * block device or an image that is there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain.h"
#include "make.h"
#include "out.h"
#include "rechain.h"
#include "salvage.h"

#define SPARSE 4096u			/* if the user says nothing */
#define THREADS 4u			/* the same */
#define SPARSE_MOST (64u << 20)		/* is read at once */

/* As many as may run at once, within reason. */
static unsigned int default_threads(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (unsigned int)vdisk_min((u64)CPU_COUNT(&set), THREADS);
}

static bool set_sparse(struct make *make, const struct verb_options *opt)
{
	make->sparse = opt->sparse_given ? opt->sparse : SPARSE;
	if (make->sparse % VDISK_SECTOR == 0 && make->sparse <= SPARSE_MOST)
		return true;
	out_error(NULL, "Option --sparse-size is a multiple of 512 up to 64M, "
		  "not: %llu", (unsigned long long)make->sparse);
	return false;
}

/* A compressed image is a sub-format; there is one only. */
static bool set_compress(struct make *make)
{
	const char *text = make_text(make, "subformat");

	if (make->kind->format != &vdisk_vmdk_format) {
		out_error(NULL, "Only vmdk images can be compressed, not: %s",
			  make->kind->format->name);
		return false;
	}
	if (!make_given(make, "subformat"))
		return make_set(make, "subformat=streamOptimized");
	if (!strcmp(text, "streamOptimized"))
		return true;
	out_error(NULL, "Images of the sub-format %s are not compressed", text);
	return false;
}

static bool set_options(struct make *make, const struct verb_options *opt)
{
	unsigned int i;

	if (opt->no_create && (opt->nr_make || opt->compress || opt->force)) {
		out_error(NULL, "Option --no-create makes no image: not with "
			  "--options, --compress or --force");
		return false;
	}
	for (i = 0; i < opt->nr_make; i++)
		if (!make_set(make, opt->make[i]))
			return false;
	if (!set_sparse(make, opt) || (opt->compress && !set_compress(make)))
		return false;
	/* The copy holds everything by itself. */
	if (!make_text(make, "backing_file"))
		return true;
	out_error(NULL, "Option backing_file is not for convert");
	return false;
}

/*-----------------------------------------------------------------
 * Into what is there
 */

static bool refuse(const char *subject, const char *why)
{
	out_error(subject, "%s", why);
	return false;
}

/* The same file, or the same device by another name. */
static bool is_source(const struct chain *from, const char *output)
{
	struct stat st;
	unsigned int i;

	if (stat(output, &st))
		return false;
	if (S_ISBLK(st.st_mode)) {
		st.st_dev = st.st_rdev;
		st.st_ino = 0;
	}
	for (i = 0; i < from->reach.nr_seen; i++)
		if (from->reach.seen[i].dev == st.st_dev &&
		    from->reach.seen[i].ino == st.st_ino)
			return true;
	return false;
}

/*
 * A device that is mounted, swapped to, or below another one is not to be had
 * for oneself; -1 after saying so. Of a file: 0, nothing to close.
 */
static int claim_device(const struct chain *to)
{
	const struct chain_part *part = &to->layer[0].part[0];
	int fd;

	if (!part->store || !part->store->device)
		return 0;
	fd = open(part->path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		refuse(to->image, errno == EBUSY ? "Device is in use" :
		       strerror(errno));
	return fd;
}

static bool fits(const struct chain *from, const struct chain *to)
{
	if (to->disk->size_sec >= from->disk->size_sec)
		return true;
	out_error(to->image, "Output is shorter than the disk: %llu of %llu bytes",
		  (unsigned long long)(to->disk->size_sec * VDISK_SECTOR),
		  (unsigned long long)(from->disk->size_sec * VDISK_SECTOR));
	return false;
}

static bool write_into(struct make *make, struct chain *from, struct chain *to)
{
	int fd = claim_device(to);
	bool good;

	if (fd < 0)
		return false;
	good = fits(from, to) && chain_check(to);
	if (good && make->dry)
		printf("Would write %llu bytes into %s\n",
		       (unsigned long long)(from->disk->size_sec * VDISK_SECTOR),
		       out_name(to->image));
	else
		good = good && rechain_stamp(to, NULL) &&
		       make_copy_into(make, from, to);
	if (fd)
		close(fd);
	return good;
}

static bool convert_into(struct make *make, struct chain *from,
			 const struct verb_options *opt)
{
	struct verb_options with = {
		.format = make->kind->format, .allow = opt->allow,
		.nr_allow = opt->nr_allow, .no_create = true,
	};
	struct chain to;
	bool good;

	if (is_source(from, make->image))
		return refuse(make->image, "The copy would be of this file");
	if (!chain_open(&to, make->image, &with, CHAIN_LOCK | CHAIN_WRITE))
		return false;
	good = write_into(make, from, &to);
	chain_close(&to);
	return good;
}

/*-----------------------------------------------------------------*/

/* A raw copy called like another format was hardly meant to be raw. */
static void warn_of_name(const char *output)
{
	static const char *const endings[][2] = {
		{ ".vhd", "vhd" }, { ".vpc", "vhd" }, { ".vmdk", "vmdk" },
		{ ".hds", "parallels" }, { ".hdd", "parallels" },
		{ ".qed", "qed" },
	};
	const char *dot = strrchr(output, '.');
	size_t i;

	for (i = 0; dot && i < sizeof(endings) / sizeof(endings[0]); i++)
		if (!strcasecmp(dot, endings[i][0]))
			out_warn(output, "Is a raw image, whatever its name "
				 "(-O %s for that format)", endings[i][1]);
}

static bool convert_new(struct make *make, struct chain *from)
{
	bool good;

	make->size_sec = from->disk->size_sec;
	make->sources = &from->reach;
	good = make_image(make) && make_copy(make, from) && make_commit(make);
	make->sources = NULL;
	if (good && make->dry)
		make_tell(make);
	return good;
}

static bool convert(struct make *make, const struct verb_options *opt)
{
	struct salvage salvage = { 0 };
	struct chain from;
	bool good;

	if (!chain_open(&from, opt->args[0], opt, CHAIN_LOCK))
		return false;
	make->salvage = opt->salvage ? &salvage : NULL;
	good = opt->no_create ? convert_into(make, &from, opt)
			      : convert_new(make, &from);
	make->salvage = NULL;
	good &= salvage_end(&salvage, &from);
	if (good && !opt->out_format)
		warn_of_name(make->image);
	chain_close(&from);
	return good;
}

int cmd_convert(const struct verb_options *opt)
{
	const struct make_kind *kind;
	struct make make;
	int r = VERB_USAGE;

	kind = make_kind_find(opt->out_format ? opt->out_format : "raw");
	if (!kind)
		return r;
	if (opt->make_help) {
		make_show_options(kind);
		return VERB_OK;
	}
	make_begin(&make, opt->args[1], kind);
	make.force = opt->force;
	make.dry = opt->dry_run;
	make.threads = opt->threads ? opt->threads : default_threads();
	if (set_options(&make, opt))
		r = convert(&make, opt) ? VERB_OK : VERB_FAILED;
	make_end(&make);
	return r;
}
