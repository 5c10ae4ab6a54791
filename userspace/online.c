// SPDX-License-Identifier: GPL-2.0-or-later
/* Changing an image while it is attached. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attached.h"
#include "bundle.h"
#include "chain.h"
#include "line.h"
#include "lock.h"
#include "online.h"
#include "out.h"
#include "progress.h"
#include "signals.h"

/* The text of the option @key in a table line, up to a blank; or NULL. */
static char *option_of(const char *params, const char *key)
{
	const char *at = params, *found = NULL;

	/* Options come last: a path may look like one. */
	while ((at = strstr(at, key))) {
		at += strlen(key);
		found = at;
	}
	return found ? out_text("%.*s", (int)strcspn(found, " "), found) : NULL;
}

/* The directory of a bundle whose layers lie in it, or NULL. */
static char *bundle_of(const char *path)
{
	char *dir = out_text("%s", path), *text = NULL;

	*(strrchr(dir, '/') ? strrchr(dir, '/') : dir) = 0;
	text = out_text("%s/" BUNDLE_FILE, dir);
	if (access(text, F_OK)) {
		free(dir);
		dir = NULL;
	}
	free(text);
	return dir;
}

/*
 * What a user would call it. The file whose text is stamped is a descriptor,
 * with an image inside or not; one of a bundle is changed with its bundle.
 */
static char *image_of(const struct line *line, const char *params)
{
	const struct line_extent *ext = line_image(line);
	char *stamp = option_of(params, " stamp="), *path = NULL;

	if (stamp && strchr(stamp, ':'))
		path = strchr(strchr(stamp, ':') + 1, ':');
	if (path) {
		path = out_text("%s", path + 1);
		line_unescape(path);
	} else if (ext) {
		if (!strcmp(ext->format, "parallels"))
			path = bundle_of(ext->path);
		if (!path)
			path = out_text("%s", ext->path);
	}
	free(stamp);
	return path;
}

static void allow(struct online *on, const char *path)
{
	on->opt.allow = out_grow(on->opt.allow, on->opt.nr_allow + 1,
				 sizeof(*on->opt.allow));
	on->opt.allow[on->opt.nr_allow++] = out_text("%s", path);
}

/* What the device has, and what the user names. */
static void allow_files(struct online *on, const struct line *line)
{
	const char **given = on->opt.allow;
	unsigned int nr = on->opt.nr_allow, i, j;

	on->opt.allow = NULL;
	on->opt.nr_allow = 0;
	for (i = 0; i < nr; i++)
		allow(on, given[i]);
	for (i = 0; i < line->nr; i++)
		for (j = 0; j < line->layer[i].nr; j++)
			if (line->layer[i].extent[j].path)
				allow(on, line->layer[i].extent[j].path);
	on->allow = on->opt.allow;
}

/* The new table has the options of the old one. */
static void keep_options(struct online *on, const struct line *line)
{
	const struct line_extent *ext = line_image(line);
	struct verb_options *opt = &on->opt;
	char *text = option_of(on->dev.params, " commit="), *key;
	unsigned int k;

	opt->device_locks = true;
	opt->commit_given = text;
	if (text)
		opt->commit_ms = (unsigned int)strtoul(text, NULL, 10);
	free(text);
	text = option_of(on->dev.params, " buffered");
	opt->buffered = text;
	free(text);
	on->size_name = option_of(on->dev.params, " size=");
	opt->size_name = on->size_name;
	if (ext)
		opt->size_rule = ext->size_rule;
	for (k = 0; k < VERB_SPACE; k++) {
		key = out_text(" %s=", verb_space[k]);
		opt->space[k] = option_of(on->dev.params, key);
		free(key);
	}
	/* It is what the device takes it for; an extent has a descriptor. */
	opt->format = NULL;
	if (ext && !strcmp(ext->path, on->image))
		opt->format = vdisk_format_find(ext->format);
	on->format = opt->format;
}

bool online_find(struct online *on, const char *name,
		 const struct verb_options *opt, bool *ok)
{
	struct line line;

	*on = (struct online){ .opt = *opt };
	*ok = false;
	if (!attached_find(name, &on->dev))
		return false;
	if (!line_parse(&line, on->dev.params)) {
		out_error(name, "Unknown table line: %s",
			  out_name(on->dev.params));
	} else if (on->dev.read_only || !line.write) {
		out_error(name, "Device is attached for reading only");
	} else if (on->dev.suspended) {
		out_error(name, "Device is suspended");
	} else {
		on->image = image_of(&line, on->dev.params);
		allow_files(on, &line);
		*ok = on->image;
		if (on->image)
			keep_options(on, &line);
		else
			out_error(name, "Device has no file");
	}
	line_free(&line);
	return true;
}

void online_end(struct online *on)
{
	unsigned int i;

	for (i = 0; on->allow && i < on->opt.nr_allow; i++)
		free((char *)on->allow[i]);
	for (i = 0; i < VERB_SPACE; i++)
		free((char *)on->opt.space[i]);
	free(on->allow);
	free(on->size_name);
	free(on->image);
	free(on->dev.params);
}

/*
 * A file system on the device is frozen, and with it whoever wants a page of it:
 * this program, if it lies there, or the reader of what it says.
 */
static void stand_alone(bool yes)
{
	if (yes)
		mlockall(MCL_CURRENT | MCL_FUTURE);
	out_hold(yes);
	progress_hold(yes);
	if (!yes)
		munlockall();
}

/*
 * The kernel gets these very open files; the ones it has, and their locks, will
 * be gone when it goes on. Until then both are locked.
 */
static void lock_files(const struct chain *chain)
{
	const struct chain_layer *layer;
	unsigned int i, j;
	int r = 0;

	for (i = 0; i < chain->nr && !r; i++) {
		layer = &chain->layer[i];
		if (layer->text_fd >= 0)
			r = lock_take(layer->text_fd, !i);
		for (j = 0; j < layer->nr && !r; j++)
			if (layer->part[j].path)
				r = lock_take(layer->part[j].fd, !i);
	}
	if (r)
		out_warn(chain->image, "Cannot be locked: %s", strerror(-r));
}

static bool load(struct online *on, const struct chain *chain)
{
	char *table = chain_table(chain, &on->opt, true), reason[256] = "";
	int r;

	if (!table)
		return false;
	lock_files(chain);
	out_note(OUT_VERBOSE, on->dev.name, "0 %llu vdisk %s",
		 (unsigned long long)chain->disk->size_sec, out_name(table));
	r = dmctl_reload(on->dev.name, chain->disk->size_sec, table, reason,
			 sizeof(reason));
	free(table);
	if (r)
		out_error(on->dev.name, "The kernel refuses: %s",
			  *reason ? out_name(reason) : strerror(-r));
	return !r;
}

/* A table for @image is loaded. */
static bool load_image(struct online *on, const char *image)
{
	struct chain chain;
	bool good = false;

	if (chain_open(&chain, image, &on->opt, CHAIN_WRITE)) {
		good = load(on, &chain);
		chain_close(&chain);
	}
	return good;
}

/*-----------------------------------------------------------------
 * The guard
 */

/*
 * The program is gone, whatever it was at: what it has written is as after a power
 * cut, which every verb sees to, so the image opens, and the device goes on with it.
 */
static void rescue(struct online *on)
{
	struct dmctl_device dev;
	int r = dmctl_get(on->dev.name, &dev);

	if (r || !dev.suspended)
		return;
	out_warn(on->dev.name, "Who suspended it was killed, it goes on with %s",
		 out_name(on->image));
	if (load_image(on, on->image))
		r = dmctl_resume(on->dev.name);
	else
		r = -EIO;
	if (r)
		out_error(on->dev.name, "Stays suspended: %s", strerror(-r));
}

/* Has nothing open that the program could want to be closed. */
static void be_guard(struct online *on, int fd)
{
	char c = 'r';

	setsid();
	dmctl_forget();
	if (fd > 3)
		close_range(3, (unsigned int)fd - 1, 0);
	close_range((unsigned int)fd + 1, ~0u, 0);
	stand_alone(true);
	if (write(fd, &c, 1) == 1 && read(fd, &c, 1) != 1)
		rescue(on);
	stand_alone(false);
	_exit(0);
}

static void start_guard(struct online *on)
{
	int fd[2];
	char c;

	on->guard = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return;
	fflush(stdout);
	on->guard_pid = fork();
	if (!on->guard_pid) {
		close(fd[0]);
		be_guard(on, fd[1]);
	}
	close(fd[1]);
	on->guard = fd[0];
	if (on->guard_pid > 0 && read(on->guard, &c, 1) == 1)
		return;
	/* There is no memory for one: it is as before there were any. */
	close(on->guard);
	on->guard = -1;
}

static void end_guard(struct online *on)
{
	char c = 'd';

	if (on->guard < 0)
		return;
	if (write(on->guard, &c, 1) == 1)
		while (waitpid((pid_t)on->guard_pid, NULL, 0) < 0 &&
		       errno == EINTR)
			;
	close(on->guard);
	on->guard = -1;
}

/*-----------------------------------------------------------------
 * Suspended
 */

static double seconds(clockid_t clock, const struct timespec *since)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)(now.tv_sec - since->tv_sec) +
	       (double)(now.tv_nsec - since->tv_nsec) / 1e9;
}

bool online_suspend(struct online *on)
{
	char *failure;
	int r;

	signals_hold(&on->signals);
	start_guard(on);
	stand_alone(true);
	clock_gettime(CLOCK_MONOTONIC, &on->since);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &on->cpu);
	r = dmctl_suspend(on->dev.name);
	if (r) {
		end_guard(on);
		stand_alone(false);
		out_error(on->dev.name, "Cannot be suspended: %s", strerror(-r));
		signals_let(&on->signals);
		return false;
	}
	/* What it had acknowledged is in the files, or those must not change. */
	failure = dmctl_failure(on->dev.name);
	if (failure) {
		online_resume(on);
		out_error(on->dev.name, "Device has failed: %s (see vdisk status)",
			  failure);
		free(failure);
	}
	return !failure;
}

/* It goes on, or it cannot be helped. */
static void leave(struct online *on, bool good)
{
	double wall = seconds(CLOCK_MONOTONIC, &on->since);
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID, &on->cpu);

	end_guard(on);
	stand_alone(false);
	if (!good)
		out_error(on->dev.name, "Stays suspended: load a table for %s",
			  out_name(on->image));
	else
		out_note(OUT_VERBOSE, on->dev.name, "Was suspended for %.3f s, "
			 "%.3f s of them at work", wall, cpu);
	signals_let(&on->signals);
}

/*
 * With the table that was loaded, or the one it had. If that cannot be, with a new
 * one for its image, and false: a table that cannot be used may have taken the old
 * one's place.
 */
static bool go_on(struct online *on, bool loaded, bool true_still)
{
	int r = loaded || true_still ? dmctl_resume(on->dev.name) : -ESTALE;
	bool good = !r;

	if (r) {
		if (r != -ESTALE)
			out_error(on->dev.name, "Cannot be resumed: %s",
				  strerror(-r));
		dmctl_clear(on->dev.name);
		on->opt.format = on->format;
		good = load_image(on, on->image) && !dmctl_resume(on->dev.name);
	}
	leave(on, good);
	return !r;
}

bool online_resume(struct online *on)
{
	return go_on(on, false, true);
}

unsigned int online_look(const struct online *on)
{
	struct chain chain;
	bool good;

	if (!chain_open(&chain, on->image, &on->opt, 0))
		return 0;
	good = chain_is_sound(&chain);
	chain_close(&chain);
	return good ? CHAIN_CHECKED : 0;
}

bool online_take(struct online *on, struct chain *held)
{
	bool good;

	if (!online_suspend(on))
		return false;
	if (!chain_open(held, on->image, &on->opt, CHAIN_WRITE)) {
		online_resume(on);
		return false;
	}
	good = load(on, held);
	if (!good)
		dmctl_clear(on->dev.name);
	/* The table that was loaded takes the old one's place by this. */
	good = go_on(on, good, true) && good;
	if (!good)
		chain_close(held);
	return good;
}

bool online_replace(struct online *on, const char *image, bool true_still)
{
	bool loaded = load_image(on, image), good;

	if (!loaded)
		dmctl_clear(on->dev.name);
	good = go_on(on, loaded, true_still) && loaded;
	if (!good && strcmp(image, on->image))
		out_error(on->dev.name, "Does not go on with %s",
			  out_name(image));
	return good;
}
