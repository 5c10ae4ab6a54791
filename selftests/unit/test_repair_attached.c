// SPDX-License-Identifier: GPL-2.0
/* Files below devices, whatever their tables call them. */
#define _GNU_SOURCE
#include "test.h"
#include "../../userspace/repair_attached.c"
#include <fcntl.h>
#include <unistd.h>

static const char *params[3];
static unsigned int nr_params;

int dmctl_list(struct dmctl_device **devs, unsigned int *nr)
{
	if (!nr_params)
		return -EACCES;
	*devs = calloc(nr_params, sizeof(**devs));
	for (*nr = 0; *nr < nr_params; ++*nr) {
		snprintf((*devs)[*nr].name, DMCTL_NAME_MAX, "dev%u", *nr);
		(*devs)[*nr].params = strdup(params[*nr]);
	}
	return 0;
}

/* One layer, of the extents that @text names between blanks. */
bool line_parse(struct line *line, const char *text)
{
	static struct line_extent extent[4];
	static struct line_layer layer = { .extent = extent };
	static char copy[256];
	char *p = copy, *path;

	snprintf(copy, sizeof(copy), "%s", text);
	layer.nr = 0;
	while ((path = strsep(&p, " ")))
		extent[layer.nr++].path = *path ? path : NULL;
	*line = (struct line){ .layer = &layer, .nr = 1 };
	return true;
}

void line_free(struct line *line)
{
}

int main(void)
{
	char dir[] = "/tmp/attached.XXXXXX", name[16] = "", path[64], link[64];
	int fd;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/image", dir);
	snprintf(link, sizeof(link), "%s/link", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || symlink(path, link))
		return 1;

	T_OK(!repair_attached(fd, name, sizeof(name)), "nobody may ask");
	params[0] = "/dev/null";
	nr_params = 1;
	T_OK(!repair_attached(fd, name, sizeof(name)), "another file");
	params[1] = " /no/such/file ";
	nr_params = 2;
	T_OK(!repair_attached(fd, name, sizeof(name)), "files that are gone");
	params[2] = path;
	nr_params = 3;
	T_OK(repair_attached(fd, name, sizeof(name)), "the file");
	T_STR(name, "dev2", "and the device");
	params[1] = link;
	T_OK(repair_attached(fd, name, sizeof(name)), "by a link");
	T_STR(name, "dev1", "the first device");
	unlink(link);
	T_OK(repair_attached(fd, name, sizeof(name)), "the link is gone");
	unlink(path);
	T_OK(!repair_attached(fd, name, sizeof(name)), "its name is gone");
	rmdir(dir);
	return T_DONE();
}
