// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk attach: open, lock, hand the open files to the kernel. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain.h"
#include "dmctl.h"
#include "holders.h"
#include "out.h"

/*
 * VDISK-<format>-<id>, by the image's own id or by where its file is. Copies of
 * an image share the id, and dm wants each uuid once: a second one gets the
 * device's name added.
 */
static char *uuid_of(const struct chain *chain, const char *name)
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
	uuid = out_text("VDISK-%s-%s", top->format, id);
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

static bool attach(const struct chain *chain, const char *name,
		   const struct verb_options *opt)
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
		return false;
	dev.uuid = uuid = uuid_of(chain, name);
	r = dmctl_create(&dev, reason, sizeof(reason));
	free(uuid);
	free(table);
	return r ? say_refused(name, r, reason) : true;
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
	char *path = out_text("/dev/mapper/%s", name);
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

int cmd_attach(const struct verb_options *opt)
{
	unsigned int flags = CHAIN_LOCK | (opt->read_only ? 0 : CHAIN_WRITE);
	const char *name = opt->args[0], *image = opt->args[1];
	struct chain chain;
	bool good;

	if (opt->partitions && opt->no_partitions) {
		out_error(name, "Partitions are wanted and not wanted");
		return VERB_USAGE;
	}
	if (!dmctl_ready(name) || !chain_open(&chain, image, opt, flags))
		return VERB_FAILED;
	good = (opt->read_only || chain_check(&chain)) &&
	       attach(&chain, name, opt);
	/* The kernel has taken the open files, and the locks with them. */
	chain_close(&chain);
	if (good && opt->partitions) {
		good = add_partitions(name, opt->read_only);
		if (!good)
			holders_remove(name, false);
	}
	if (good)
		printf("/dev/mapper/%s\n", name);
	return good ? VERB_OK : VERB_FAILED;
}
