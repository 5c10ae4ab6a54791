// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk attach: open, lock, hand the open files to the kernel. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bundle.h"
#include "chain.h"
#include "dmctl.h"
#include "holders.h"
#include "out.h"

/*
 * VDISK-<format>-<id>, by the image's own id or by where its file is. Copies of
 * an image share the id, and dm wants each uuid once: a second one gets the
 * device's name added. Udev's rules find no better place than the uuid to read
 * off whether what is within is to be trusted: partitions have it in theirs.
 */
static char *uuid_of(const struct chain *chain, const char *name, bool trusted)
{
	const struct chain_layer *top = &chain->layer[0];
	const struct vdisk_image *image = top->part[0].image;
	static const u8 none[16];
	struct stat st = { 0 };
	char id[40], *uuid, *longer;

	if (memcmp(image->geom.id, none, sizeof(none))) {
		out_id(image->geom.id, id);
	} else {
		stat(top->path, &st);
		snprintf(id, sizeof(id), "%llx-%llx",
			 (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino);
	}
	uuid = out_text("%s%s-%s", trusted ? DMCTL_TRUSTED : "VDISK-",
			top->format, id);
	if (!dmctl_uuid_taken(uuid))
		return uuid;
	longer = out_text("%s-%.60s", uuid, name);
	free(uuid);
	return longer;
}

static bool say_refused(const char *name, int r, const char *reason)
{
	struct dmctl_device dev;

	if (*reason)
		out_error(name, "The kernel refuses: %s", out_name(reason));
	else if (r == -EBUSY && !dmctl_get(name, &dev))
		out_error(name, "A device of this name exists");
	else
		out_error(name, "The kernel refuses: %s", strerror(-r));
	return false;
}

/*-----------------------------------------------------------------
 * A name for the device
 */

#define LEGAL "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.@"
#define NAME_MOST 100		/* a number comes behind it */

/* The last word of a path, without slashes behind it. */
static char *last_word(const char *path)
{
	size_t n = strlen(path), from;

	while (n && path[n - 1] == '/')
		n--;
	for (from = n; from && path[from - 1] != '/';)
		from--;
	return out_text("%.*s", (int)(n - from), path + from);
}

/* What a user calls the image: a bundle by its directory. */
static char *called(const char *image)
{
	char *real = realpath(image, NULL), *word = last_word(image), *slash;

	if (real && !strcmp(word, BUNDLE_FILE)) {
		slash = strrchr(real, '/');
		*slash = 0;
	}
	if (real && (!strcmp(word, BUNDLE_FILE) || !strcmp(word, ".") ||
		     !strcmp(word, ".."))) {
		free(word);
		word = last_word(real);
	}
	free(real);
	return word;
}

/*
 * Of the file's name, without its ending: what udev and the kernel would have to
 * write in another way becomes '_'.
 */
static char *name_of(const char *image)
{
	char *word = called(image), *dot = strrchr(word, '.'), *name, *p, *to;

	if (dot && dot > word)
		*dot = 0;
	for (p = to = word; *p; p++) {
		if (strchr(LEGAL, *p))
			*to++ = *p;
		else if (to == word || to[-1] != '_')
			*to++ = '_';
	}
	*to = 0;
	if (*word == '-' || *word == '.')
		*word = '_';
	name = out_text("%.*s", NAME_MOST, *word ? word : "vdisk");
	free(word);
	return name;
}

/* The first of name, name-1, name-2, ... from *@nr on that nobody has. */
static char *free_name(const char *base, unsigned int *nr)
{
	struct dmctl_device dev;
	char *name;

	for (;; ++*nr) {
		name = *nr ? out_text("%s-%u", base, *nr) : out_text("%s", base);
		out_note(OUT_DEBUG, NULL, "Trying the name %s", name);
		/* The node of device-mapper itself lies there, too. */
		if (strcmp(name, "control")) {
			if (dmctl_get(name, &dev))
				return name;
			free(dev.params);
		}
		free(name);
	}
}

/*-----------------------------------------------------------------*/

/* 0, or -EBUSY: the name is taken; said why unless @quiet says not of that. */
static int attach(const struct chain *chain, const char *name,
		  const struct verb_options *opt, bool quiet)
{
	char *table = chain_table(chain, opt, true), *uuid;
	struct dmctl_new dev = {
		.name = name, .size_sec = chain->disk->size_sec,
		.params = table, .read_only = opt->read_only,
		.no_partitions = opt->no_partitions,
	};
	char reason[256];
	int r;

	if (!table)
		return -EINVAL;
	dev.uuid = uuid = uuid_of(chain, name, opt->trusted);
	out_note(OUT_VERBOSE, name, "%s: 0 %llu vdisk %s", uuid,
		 (unsigned long long)dev.size_sec, out_name(table));
	r = opt->dry_run ? 0 : dmctl_create(&dev, reason, sizeof(reason));
	free(uuid);
	free(table);
	if (r && !(quiet && r == -EBUSY && !*reason))
		say_refused(name, r, reason);
	return r;
}

/* The name of the device it became, to free, or NULL. */
static char *attach_as(const struct chain *chain, const char *name,
		       const struct verb_options *opt)
{
	char *base, *tried;
	unsigned int nr = 0;
	int r;

	if (name)
		return attach(chain, name, opt, false) ? NULL
						       : out_text("%s", name);
	base = name_of(chain->image);
	do {
		tried = free_name(base, &nr);
		/* Somebody may have been faster. */
		r = attach(chain, tried, opt, nr++ < 1000);
		if (r) {
			free(tried);
			tried = NULL;
		}
	} while (r == -EBUSY && nr <= 1000);
	free(base);
	return tried;
}

/* What is not ours to do twice: kpartx knows all kinds of partition tables. */
static int run_kpartx(const char *path, bool read_only)
{
	const char *argv[] = {
		/* Without udev nobody would answer who waits. */
		"kpartx", "-a", dmctl_has_udev() ? "-s" : "-n", path,
		read_only ? "-r" : NULL, NULL,
	};
	int status = -1, null;
	pid_t pid = fork();

	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool add_partitions(const char *name, bool read_only)
{
	char *path = dmctl_path(name);
	int r = run_kpartx(path, read_only);

	free(path);
	if (!r)
		return true;
	if (r == 127)
		out_error(name, "Partitions: kpartx is not installed");
	else
		out_error(name, "Partitions: kpartx failed: %d", r);
	return false;
}

/* Who asked for a device and was not told its path has none. */
static bool tell_path(const char *name, bool made)
{
	char *path = dmctl_path(name);

	printf("%s\n", path);
	free(path);
	if (!made || out_flush())
		return true;
	holders_remove(name, false);
	out_error(name, "Is detached again, as its path could not be told");
	/* Which has been said. */
	__fpurge(stdout);
	clearerr(stdout);
	return false;
}

/* Partitions, too; without them there is no device. */
static bool finish(const char *name, const struct verb_options *opt)
{
	if (opt->partitions && !opt->dry_run &&
	    !add_partitions(name, opt->read_only)) {
		holders_remove(name, false);
		return false;
	}
	return tell_path(name, !opt->dry_run);
}

int cmd_attach(const struct verb_options *opt)
{
	const char *fault;
	unsigned int flags = CHAIN_LOCK | CHAIN_LEND |
			     (opt->read_only ? 0 : CHAIN_WRITE);
	const char *given = opt->nr_args > 1 ? opt->args[0] : NULL;
	const char *image = opt->args[opt->nr_args - 1];
	struct chain chain;
	char *name = NULL;
	bool good;

	if (opt->partitions && opt->no_partitions) {
		out_error(given ? given : image,
			  "Partitions are wanted and not wanted");
		return VERB_USAGE;
	}
	fault = given ? dmctl_name_fault(given) : NULL;
	if (fault) {
		out_error(NULL, "%s: '%s'", fault, out_name(given));
		return VERB_FAILED;
	}
	if (!dmctl_ready(given ? given : image) ||
	    !chain_open(&chain, image, opt, flags))
		return VERB_FAILED;
	if (opt->read_only || chain_check(&chain))
		name = attach_as(&chain, given, opt);
	/* The kernel has taken the open files, and the locks with them. */
	chain_close(&chain);
	good = name && finish(name, opt);
	free(name);
	return good ? VERB_OK : VERB_FAILED;
}
