// SPDX-License-Identifier: GPL-2.0
/*
 * LD_PRELOAD: libdevmapper with devices on paper, for tests of the tool that need
 * no kernel. A device is a file in PAPER_DM, of five lines: its uuid, 1 if it is
 * suspended, 1 if it is read-only, the active table, the one loaded besides ("-"
 * if there is none). Tables name files by path, as the kernel's do.
 *
 * PAPER_FAIL=reload:2,resume:1  these fail, the second one and the first one, in
 * this process; PAPER_KILL=5 kills it behind the fifth thing that it asks for;
 * PAPER_COUNT=FILE tells there how many things were asked for. PAPER_RUN=COMMAND is
 * run before the first suspend, as by whoever uses the device.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <libdevmapper.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT 65536

struct dm_task {
	int type;
	char name[256], uuid[256];
	unsigned long long sectors;
	char *params;
	int read_only, err;
	struct device *dev;		/* as it was found */
	char answer[TEXT];
};

struct device {
	char uuid[256], active[TEXT], loaded[TEXT];
	int suspended, read_only;
};

static const char *const kinds[] = {
	[DM_DEVICE_CREATE] = "create", [DM_DEVICE_RELOAD] = "reload",
	[DM_DEVICE_REMOVE] = "remove", [DM_DEVICE_SUSPEND] = "suspend",
	[DM_DEVICE_RESUME] = "resume", [DM_DEVICE_CLEAR] = "clear",
};

static unsigned int asked, times[32];
static pid_t first;

__attribute__((constructor)) static void begin(void)
{
	first = getpid();
}

static char *path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", getenv("PAPER_DM"), name);
	return path;
}

static void line(FILE *f, char *to, size_t room)
{
	if (!fgets(to, (int)room, f))
		*to = 0;
	to[strcspn(to, "\n")] = 0;
}

static struct device *read_device(const char *name)
{
	FILE *f = fopen(path_of(name), "r");
	struct device *dev;
	char flag[16];

	if (!f)
		return NULL;
	dev = calloc(1, sizeof(*dev));
	line(f, dev->uuid, sizeof(dev->uuid));
	line(f, flag, sizeof(flag));
	dev->suspended = atoi(flag);
	line(f, flag, sizeof(flag));
	dev->read_only = atoi(flag);
	line(f, dev->active, TEXT);
	line(f, dev->loaded, TEXT);
	fclose(f);
	return dev;
}

static void write_device(const char *name, const struct device *dev)
{
	char temp[4096];
	FILE *f;

	snprintf(temp, sizeof(temp), "%s/.%s", getenv("PAPER_DM"), name);
	f = fopen(temp, "w");
	if (!f)
		abort();
	fprintf(f, "%s\n%d\n%d\n%s\n%s\n", dev->uuid, dev->suspended,
		dev->read_only, dev->active, dev->loaded);
	fclose(f);
	if (rename(temp, path_of(name)))
		abort();
}

/* "fd:7" becomes the path of that file. */
static void resolve(char *to, const char *params)
{
	char proc[32], path[4096];
	const char *at;
	ssize_t n;
	int fd;

	while ((at = strstr(params, "fd:"))) {
		to += sprintf(to, "%.*s", (int)(at - params), params);
		fd = atoi(at + 3);
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		n = readlink(proc, path, sizeof(path) - 1);
		path[n < 0 ? 0 : n] = 0;
		to += sprintf(to, "%s", path);
		params = at + 3 + strspn(at + 3, "0123456789");
	}
	strcpy(to, params);
}

/* Does this one fail? */
static int fails(int type)
{
	const char *list = getenv("PAPER_FAIL"), *at;
	char want[32];

	if (getpid() != first || !list || type >= 32 ||
	    type >= (int)(sizeof(kinds) / sizeof(kinds[0])) || !kinds[type])
		return 0;
	snprintf(want, sizeof(want), "%s:%u", kinds[type], ++times[type]);
	at = strstr(list, want);
	return at && strchr(",", at[strlen(want)]);
}

static void die_if_asked(void)
{
	const char *at = getenv("PAPER_KILL");

	asked++;
	if (at && getpid() == first && asked == (unsigned int)atoi(at))
		kill(getpid(), SIGKILL);
}

struct dm_task *dm_task_create(int type)
{
	struct dm_task *t = calloc(1, sizeof(*t));

	t->type = type;
	return t;
}

int dm_task_set_name(struct dm_task *t, const char *name)
{
	snprintf(t->name, sizeof(t->name), "%s", name);
	return 1;
}

int dm_task_set_uuid(struct dm_task *t, const char *uuid)
{
	snprintf(t->uuid, sizeof(t->uuid), "%s", uuid);
	return 1;
}

int dm_task_add_target(struct dm_task *t, uint64_t start, uint64_t size,
		       const char *type, const char *params)
{
	t->sectors = size;
	t->params = strdup(params);
	return 1;
}

void dm_task_destroy(struct dm_task *t)
{
	free(t->params);
	free(t->dev);
	free(t);
}

/* Without this library. */
static void use(void)
{
	static int done;
	const char *command = getenv("PAPER_RUN");
	char text[1024];

	if (!command || done || getpid() != first)
		return;
	done = 1;
	snprintf(text, sizeof(text), "unset LD_PRELOAD; %s", command);
	if (system(text))
		abort();
}

static int change(struct dm_task *t, struct device *dev)
{
	switch (t->type) {
	case DM_DEVICE_RELOAD:
		dev->read_only = t->read_only;
		resolve(dev->loaded + sprintf(dev->loaded, "%llu ", t->sectors),
			t->params);
		break;
	case DM_DEVICE_SUSPEND:
		use();
		dev->suspended = 1;
		break;
	case DM_DEVICE_RESUME:
		if (strcmp(dev->loaded, "-"))
			strcpy(dev->active, dev->loaded);
		strcpy(dev->loaded, "-");
		dev->suspended = 0;
		break;
	case DM_DEVICE_CLEAR:
		strcpy(dev->loaded, "-");
		break;
	case DM_DEVICE_REMOVE:
		unlink(path_of(t->name));
		return 0;
	default:
		return 0;
	}
	write_device(t->name, dev);
	return 0;
}

/* By uuid, too. */
static void find(struct dm_task *t)
{
	DIR *dir;
	struct dirent *e;

	if (*t->name) {
		t->dev = read_device(t->name);
		return;
	}
	dir = opendir(getenv("PAPER_DM"));
	while (dir && (e = readdir(dir))) {
		if (*e->d_name == '.')
			continue;
		t->dev = read_device(e->d_name);
		if (t->dev && !strcmp(t->dev->uuid, t->uuid))
			break;
		free(t->dev);
		t->dev = NULL;
	}
	if (dir)
		closedir(dir);
}

int dm_task_run(struct dm_task *t)
{
	struct device new = { .active = "-", .loaded = "-" };

	if (t->type == DM_DEVICE_LIST || t->type == DM_DEVICE_LIST_VERSIONS)
		return 1;
	find(t);
	if (fails(t->type)) {
		t->err = EINVAL;
		/* As the kernel: the table has changed places by then. */
		if (t->type == DM_DEVICE_RESUME && t->dev &&
		    strcmp(t->dev->loaded, "-")) {
			strcpy(t->dev->active, t->dev->loaded);
			strcpy(t->dev->loaded, "-");
			write_device(t->name, t->dev);
		}
		return 0;
	}
	if (t->type == DM_DEVICE_CREATE) {
		strcpy(new.uuid, t->uuid);
		new.suspended = 1;
		write_device(t->name, &new);
		t->dev = read_device(t->name);
	} else if (!t->dev && t->type != DM_DEVICE_INFO) {
		t->err = ENXIO;
		return 0;
	} else if (t->dev) {
		change(t, t->dev);
	}
	die_if_asked();
	return 1;
}

int dm_task_get_errno(struct dm_task *t)
{
	return t->err;
}

int dm_task_get_info(struct dm_task *t, struct dm_info *info)
{
	memset(info, 0, sizeof(*info));
	info->exists = t->dev ? 1 : 0;
	info->suspended = t->dev && t->dev->suspended;
	info->read_only = t->dev && t->dev->read_only;
	info->major = 4095;	/* nobody has it */
	return 1;
}

const char *dm_task_get_uuid(const struct dm_task *t)
{
	return t->dev ? t->dev->uuid : "";
}

void *dm_get_next_target(struct dm_task *t, void *next, uint64_t *start,
			 uint64_t *length, char **type, char **params)
{
	static char vdisk[] = "vdisk", status[] = "rw ok 1 0 0 0 0 0 0 0";
	char *rest;

	*start = *length = 0;
	*type = *params = NULL;
	if (!t->dev || !strcmp(t->dev->active, "-"))
		return NULL;
	strcpy(t->answer, t->dev->active);
	*length = strtoull(t->answer, &rest, 10);
	*type = vdisk;
	*params = t->type == DM_DEVICE_STATUS ? status : rest + 1;
	return NULL;
}

struct dm_versions *dm_task_get_versions(struct dm_task *t)
{
	struct dm_versions *v = (void *)t->answer;

	v->next = 0;
	v->version[0] = 1;
	v->version[1] = 99;
	v->version[2] = 0;
	strcpy(v->name, "vdisk");
	return v;
}

struct dm_names *dm_task_get_names(struct dm_task *t)
{
	DIR *dir = opendir(getenv("PAPER_DM"));
	struct dm_names *n = (void *)t->answer, *last = NULL;
	struct dirent *e;

	n->dev = 0;
	while (dir && (e = readdir(dir))) {
		if (*e->d_name == '.')
			continue;
		if (last)
			last->next = (uint32_t)((char *)n - (char *)last);
		n->dev = 1;
		n->next = 0;
		strcpy(n->name, e->d_name);
		last = n;
		n = (void *)((char *)n + ((sizeof(*n) + strlen(e->d_name) + 8) & ~7ul));
	}
	if (dir)
		closedir(dir);
	return (void *)t->answer;
}

int dm_task_set_ro(struct dm_task *t)
{
	return t->read_only = 1;
}

int dm_task_deferred_remove(struct dm_task *t)
{
	return 1;
}

int dm_task_no_flush(struct dm_task *t)
{
	return 1;
}

int dm_task_set_cookie(struct dm_task *t, uint32_t *cookie, uint16_t flags)
{
	return 1;
}

int dm_udev_wait(uint32_t cookie)
{
	return 1;
}

void dm_task_update_nodes(void)
{
}

void dm_udev_set_sync_support(int yes)
{
}

void dm_log_with_errno_init(dm_log_with_errno_fn fn)
{
}

void dm_lib_release(void)
{
}

__attribute__((destructor)) static void tell(void)
{
	const char *to = getenv("PAPER_COUNT");
	FILE *file = to && getpid() == first ? fopen(to, "w") : NULL;

	if (!file)
		return;
	fprintf(file, "%u\n", asked);
	fclose(file);
}
