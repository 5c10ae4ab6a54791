// SPDX-License-Identifier: GPL-2.0-or-later
/* Who uses a block device: mounts, swap, and devices that stand on it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "holders.h"
#include "line.h"
#include "out.h"

#define DEPTH_MOST 8	/* of devices on devices */
#define TRIES_MOST 20
#define TRY_USEC 100000

/* Append "@text@more" to the phrase in *@to, after @between if it has begun. */
static void add(char **to, const char *between, const char *text,
		const char *more)
{
	char *longer = out_text("%s%s%s%s", *to ? *to : "", *to ? between : "",
				text, more);

	free(*to);
	*to = longer;
}

static bool is_device(const char *path, u32 major, u32 minor)
{
	struct stat st;

	return *path == '/' && !stat(path, &st) && S_ISBLK(st.st_mode) &&
	       st.st_rdev == makedev(major, minor);
}

/*
 * Of a line "id parent major:minor root mount-point options... - type source
 * options": where @major:@minor is mounted, or NULL. A file system that has
 * several devices has a number of its own, and names one of them as source.
 */
static char *mount_point(char *line, u32 major, u32 minor)
{
	char *source, *point;
	u32 a, b;
	int at = 0;

	if (sscanf(line, "%*u %*u %u:%u %*s %n", &a, &b, &at) != 2 || !at)
		return NULL;
	point = line + at;
	source = strstr(point, " - ");
	if (!source)
		return NULL;
	source += 3;
	source += strcspn(source, " ");
	source += strspn(source, " ");
	source[strcspn(source, " \n")] = 0;
	line_unescape(source);
	point[strcspn(point, " ")] = 0;
	line_unescape(point);
	if (a ? a == major && b == minor : is_device(source, major, minor))
		return point;
	return NULL;
}

static void add_mounts(char **what, u32 major, u32 minor)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *point;
	size_t room = 0;
	bool first = true;

	while (f && getline(&line, &room, f) > 0) {
		point = mount_point(line, major, minor);
		if (!point)
			continue;
		add(what, " and ", first ? "is mounted on " : "",
		    out_name(point));
		first = false;
	}
	free(line);
	if (f)
		fclose(f);
}

static void add_swap(char **what, u32 major, u32 minor)
{
	FILE *f = fopen("/proc/swaps", "re");
	char *line = NULL;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		line[strcspn(line, " \t\n")] = 0;
		line_unescape(line);
		if (is_device(line, major, minor))
			add(what, " and ", "is used for swap", "");
	}
	free(line);
	if (f)
		fclose(f);
}

/* A device that stands on another one, as /sys tells. */
struct holder {
	char name[DMCTL_NAME_MAX];	/* dm's, or the kernel's */
	char uuid[DMCTL_UUID_MAX];	/* dm's, or "" */
	u32 major, minor;
	bool mapped;			/* it is dm's */
};

/* The first line of a file in /sys, "" if it is not there. */
static bool read_line(const char *dir, const char *file, char *text, int len)
{
	char *path = out_text("%s/%s", dir, file);
	FILE *f = fopen(path, "re");

	*text = 0;
	if (f && fgets(text, len, f))
		text[strcspn(text, "\n")] = 0;
	if (f)
		fclose(f);
	free(path);
	return *text;
}

static bool read_holder(const char *dir, const char *entry, struct holder *h)
{
	char *path = out_text("%s/%s", dir, entry), numbers[32];
	bool good;

	*h = (struct holder){ 0 };
	good = read_line(path, "dev", numbers, sizeof(numbers)) &&
	       sscanf(numbers, "%u:%u", &h->major, &h->minor) == 2;
	h->mapped = read_line(path, "dm/name", h->name, sizeof(h->name));
	if (!h->mapped)
		snprintf(h->name, sizeof(h->name), "%.127s", entry);
	read_line(path, "dm/uuid", h->uuid, sizeof(h->uuid));
	free(path);
	return good;
}

/* An array of *@nr to free. */
static struct holder *holders(u32 major, u32 minor, unsigned int *nr)
{
	char *path = out_text("/sys/dev/block/%u:%u/holders", major, minor);
	DIR *dir = opendir(path);
	struct holder *list = NULL, h;
	struct dirent *e;

	*nr = 0;
	while (dir && (e = readdir(dir))) {
		if (*e->d_name == '.' || !read_holder(path, e->d_name, &h))
			continue;
		list = out_grow(list, *nr + 1, sizeof(*list));
		list[(*nr)++] = h;
	}
	if (dir)
		closedir(dir);
	free(path);
	return list;
}

/* kpartx calls its devices part<number>-<uuid of the disk>. */
static bool is_partition(const struct holder *h, const char *uuid)
{
	int at = 0;

	return *uuid && sscanf(h->uuid, "part%*u-%n", &at) == 0 && at &&
	       !strcmp(h->uuid + at, uuid);
}

static bool held_open(const struct holder *h)
{
	struct dmctl_device dev;

	if (!h->mapped || dmctl_get(h->name, &dev))
		return false;
	free(dev.params);
	return dev.open_count;
}

/* @uuid: of the device, "" if its partitions count like all that holds it. */
static char *users(u32 major, u32 minor, const char *uuid, bool open,
		   unsigned int depth)
{
	char *what = NULL, *on;
	struct holder *list;
	unsigned int nr = 0, i;

	add_mounts(&what, major, minor);
	add_swap(&what, major, minor);
	if (depth == DEPTH_MOST)
		return what;
	list = holders(major, minor, &nr);
	for (i = 0; i < nr; i++) {
		on = users(list[i].major, list[i].minor, "", open, depth + 1);
		if (!on && is_partition(&list[i], uuid)) {
			if (!open || !held_open(&list[i]))
				continue;
			on = out_text("is held open by a program");
		}
		add(&what, ", and ", "is used by ", out_name(list[i].name));
		if (on)
			add(&what, ", which ", on, "");
		free(on);
	}
	free(list);
	return what;
}

char *holders_of(const struct dmctl_device *dev, bool open)
{
	return users(dev->major, dev->minor, dev->uuid, open, 0);
}

/* Those of @list that are no partitions count as use. */
static bool in_use(const struct dmctl_device *dev, const struct holder *list,
		   unsigned int nr)
{
	unsigned int i;

	/* Each holder has the device open once. */
	if (dev->open_count > (int)nr)
		return true;
	for (i = 0; i < nr; i++)
		if (!is_partition(&list[i], dev->uuid) || held_open(&list[i]))
			return true;
	return false;
}

static int try_remove(const char *name, bool deferred)
{
	struct dmctl_device dev;
	struct holder *list;
	unsigned int nr = 0, i;
	int r = dmctl_get(name, &dev);

	if (r)
		return r;
	free(dev.params);
	list = holders(dev.major, dev.minor, &nr);
	if (!deferred && in_use(&dev, list, nr))
		r = -EBUSY;
	for (i = 0; !r && i < nr; i++) {
		if (!is_partition(&list[i], dev.uuid))
			continue;
		r = dmctl_remove(list[i].name, deferred);
		if (r == -ENXIO)
			r = 0;		/* somebody else was faster */
	}
	free(list);
	return r ? r : dmctl_remove(name, deferred);
}

int holders_remove(const char *name, bool deferred)
{
	unsigned int tries = TRIES_MOST;
	int r = try_remove(name, deferred);

	/* udev may look into the device, or make one of a partition, just now. */
	while (r == -EBUSY && --tries) {
		usleep(TRY_USEC);
		r = try_remove(name, deferred);
	}
	return r;
}
