// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk detach: remove the device, or say who still uses it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "dmctl.h"
#include "out.h"
#include "verbs.h"

/* What /proc/self/mountinfo writes as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (*text == '\\' && text[1] && text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') << 6 |
				       (text[2] - '0') << 3 | (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

/* Where the device is mounted, or NULL. */
static char *mount_of(u32 major, u32 minor)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *found = NULL, *point;
	size_t room = 0;
	u32 a, b;
	int at;

	/* id parent major:minor root mount-point ... */
	while (f && !found && getline(&line, &room, f) > 0) {
		at = 0;
		if (sscanf(line, "%*u %*u %u:%u %*s %n", &a, &b, &at) != 2 ||
		    !at || a != major || b != minor)
			continue;
		point = line + at;
		point[strcspn(point, " \n")] = 0;
		unescape(point);
		found = out_text("%s", point);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* The first line of a file in /sys, "" if it is not there. */
static void read_line(const char *path, char *text, size_t len)
{
	FILE *f = fopen(path, "re");

	*text = 0;
	if (f && fgets(text, (int)len, f))
		text[strcspn(text, "\n")] = 0;
	if (f)
		fclose(f);
}

static bool swaps(const char *dev)
{
	FILE *f = fopen("/proc/swaps", "re");
	char *line = NULL, *path = out_text("/dev/%s", dev), *real;
	size_t room = 0;
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0) {
		line[strcspn(line, " \t\n")] = 0;
		real = *line == '/' ? realpath(line, NULL) : NULL;
		found = real && !strcmp(real, path);
		free(real);
	}
	free(line);
	free(path);
	if (f)
		fclose(f);
	return found;
}

/* A phrase about who uses the device, or one that stands on it; or NULL. */
static char *user_of(u32 major, u32 minor, unsigned int depth)
{
	char path[600], name[256], link[64], *what, *on;
	struct dirent *e;
	u32 a, b;
	DIR *dir;

	what = mount_of(major, minor);
	if (what) {
		on = out_text("is mounted on %s", out_name(what));
		free(what);
		return on;
	}
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major, minor);
	what = realpath(link, NULL);
	on = what && swaps(strrchr(what, '/') + 1) ?
		out_text("is used for swap") : NULL;
	free(what);
	if (on || depth > 8)
		return on;

	/* Partitions by kpartx, volumes, loop-free stacks of any kind. */
	snprintf(path, sizeof(path), "%s/holders", link);
	dir = opendir(path);
	while (dir && !on && (e = readdir(dir))) {
		if (*e->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "%s/holders/%s/dev", link,
			 e->d_name);
		read_line(path, name, sizeof(name));
		if (sscanf(name, "%u:%u", &a, &b) != 2)
			continue;
		what = user_of(a, b, depth + 1);
		snprintf(path, sizeof(path), "%s/holders/%s/dm/name", link,
			 e->d_name);
		read_line(path, name, sizeof(name));
		on = out_text("is used by %s%s%s",
			      out_name(*name ? name : e->d_name),
			      what ? ", which " : "", what ? what : "");
		free(what);
	}
	if (dir)
		closedir(dir);
	return on;
}

int cmd_detach(const struct verb_options *opt)
{
	const char *name = opt->args[0];
	struct dmctl_device dev;
	char *user;
	int r;

	r = dmctl_get(name, &dev);
	if (r) {
		out_error(name, "%s", r == -ENXIO ? "No such device" :
			  strerror(-r));
		return VERB_FAILED;
	}
	if (!dev.params) {
		out_error(name, "Not a device of the target %s", DMCTL_TARGET);
		return VERB_FAILED;
	}
	free(dev.params);
	user = user_of(dev.major, dev.minor, 0);
	if (!user) {
		r = dmctl_remove(name);
		/* Whoever came in between is found now. */
		if (r == -EBUSY)
			user = user_of(dev.major, dev.minor, 0);
	}
	if (user)
		out_error(name, "Device %s", user);
	else if (r == -EBUSY)
		out_error(name, "Device is held open by a program");
	else if (r)
		out_error(name, "%s", strerror(-r));
	r = user || r;
	free(user);
	return r ? VERB_FAILED : VERB_OK;
}
