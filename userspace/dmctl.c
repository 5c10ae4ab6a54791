// SPDX-License-Identifier: GPL-2.0-or-later
/* Mapped devices, by libdevmapper. */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dmctl.h"
#include "out.h"

/* libdevmapper's own lines would be a second and third account of one error. */
static void say_nothing(int level, const char *file, int line, int dm_errno,
			const char *fmt, ...)
{
}

bool dmctl_has_udev(void)
{
	return !access("/run/udev/control", F_OK);
}

static struct dm_task *new_task(int type, const char *name)
{
	static bool ready;
	struct dm_task *task;

	if (!ready) {
		dm_log_with_errno_init(say_nothing);
		if (!dmctl_has_udev())
			dm_udev_set_sync_support(0);
		ready = true;
	}
	task = dm_task_create(type);
	if (task && name && !dm_task_set_name(task, name)) {
		dm_task_destroy(task);
		task = NULL;
	}
	return task;
}

static int run(struct dm_task *task)
{
	int err;

	if (!task)
		return geteuid() ? -EPERM : -ENODEV;
	errno = 0;
	if (dm_task_run(task))
		return 0;
	err = dm_task_get_errno(task);
	if (err)
		return -err;
	/* It did not come to an ioctl: no right to, or no device-mapper. */
	return geteuid() ? -EPERM : errno ? -errno : -ENODEV;
}

/* For what makes udev work: wait until it has. */
static int run_and_settle(struct dm_task *task, u16 flags)
{
	u32 cookie = 0;
	int r;

	if (!task)
		return run(task);
	if (!dm_task_set_cookie(task, &cookie, flags))
		return -EIO;
	r = run(task);
	dm_udev_wait(cookie);
	dm_task_update_nodes();
	return r;
}

static void drop(struct dm_task *task)
{
	if (task)
		dm_task_destroy(task);
}

/* What this tool says to the target, it says since then. */
static bool speaks_to(const u32 version[3])
{
	return version[0] == DMCTL_MAJOR && version[1] >= DMCTL_MINOR;
}

/* 1 = registered, 0 = not, -EPROTO = another age's */
static int has_target(u32 version[3])
{
	struct dm_task *task = new_task(DM_DEVICE_LIST_VERSIONS, NULL);
	struct dm_versions *v;
	int r = run(task);

	if (!r) {
		v = dm_task_get_versions(task);
		for (;; v = (struct dm_versions *)((char *)v + v->next)) {
			if (!strcmp(v->name, DMCTL_TARGET)) {
				memcpy(version, v->version, sizeof(v->version));
				r = speaks_to(version) ? 1 : -EPROTO;
			}
			if (!v->next)
				break;
		}
	}
	drop(task);
	return r;
}

static void load_module(void)
{
	static const char *const paths[] = {
		"/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe",
	};
	pid_t pid = fork();
	unsigned int i;
	int status;

	if (!pid) {
		for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
			execl(paths[i], "modprobe", "-q", "dm-vdisk", NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

bool dmctl_ready(const char *name)
{
	u32 version[3] = { 0 };
	int r = has_target(version);

	if (!r) {
		load_module();
		r = has_target(version);
	}
	if (!r)
		out_error(name, "The kernel has no target %s "
			  "(modprobe dm-vdisk)", DMCTL_TARGET);
	else if (r == -EPROTO)
		out_error(name, "The kernel's target %s is version %u.%u.%u, "
			  "this tool needs %u.%u or a later %u.x",
			  DMCTL_TARGET, version[0], version[1], version[2],
			  DMCTL_MAJOR, DMCTL_MINOR, DMCTL_MAJOR);
	else if (r < 0)
		out_error(name, "Device-mapper: %s", strerror(-r));
	return r > 0;
}

/* As libdevmapper and udev write it: what is unusual is \xNN, if it is not yet. */
static char *as_written(const char *name)
{
	char *text = out_alloc(strlen(name) + 1, 4), *to = text;

	for (; *name; name++)
		if (isalnum((unsigned char)*name) || strchr("#+-.:=@_", *name) ||
		    (*name == '\\' && name[1] == 'x'))
			*to++ = *name;
		else
			to += sprintf(to, "\\x%02x", (unsigned char)*name);
	*to = 0;
	return text;
}

const char *dmctl_name_fault(const char *name)
{
	char *written = as_written(name);
	size_t len = strlen(written);

	free(written);
	if (!*name)
		return "Name of the device is empty";
	if (strchr(name, '/'))
		return "Name of the device has a slash";
	if (!strcmp(name, "control") || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return "Name of the device is taken in /dev/mapper";
	return len < DMCTL_NAME_MAX ? NULL :
	       "Name of the device is longer than 127 bytes";
}

const char *dmctl_name(const char *path)
{
	static const char dir[] = "/dev/mapper/";
	const size_t len = strlen(dir);

	return strncmp(path, dir, len) || !path[len] ? path : path + len;
}

char *dmctl_path(const char *name)
{
	char *written = as_written(name);
	char *path = out_text("/dev/mapper/%s", written);

	free(written);
	return path;
}

/* The end of the kernel's log, from where new lines are read. */
static int open_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && lseek(fd, 0, SEEK_END) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * device-mapper logs a target's complaint as
 * "device-mapper: table: 254:3: vdisk: What is wrong (-EINVAL)".
 */
static void read_reason(int log, const struct dm_info *info, char *reason,
			size_t len)
{
	char line[1024], mark[64], *at, *end;
	ssize_t n;

	snprintf(mark, sizeof(mark), "table: %u:%u: " DMCTL_TARGET ": ",
		 info->major, info->minor);
	for (;;) {
		n = read(log, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE)
			continue;	/* the log was overrun: go on behind */
		if (n <= 0)
			return;
		line[n] = 0;
		at = strstr(line, mark);
		if (!at)
			continue;
		at += strlen(mark);
		at[strcspn(at, "\n")] = 0;
		end = strrchr(at, '(');
		if (end && end > at && end[1] == '-')
			end[-1] = 0;
		snprintf(reason, len, "%s", at);
	}
}

static int load(const char *name, u64 size_sec, const char *params,
		bool read_only)
{
	struct dm_task *task = new_task(DM_DEVICE_RELOAD, name);
	int r = -ENOMEM;

	if (task && dm_task_add_target(task, 0, size_sec, DMCTL_TARGET, params) &&
	    (!read_only || dm_task_set_ro(task)))
		r = run(task);
	drop(task);
	return r;
}

/* Links of what a guest wrote never take those of another device. */
static u16 priority_flag(const char *uuid)
{
	return strncmp(uuid, DMCTL_TRUSTED, strlen(DMCTL_TRUSTED)) ?
	       DM_UDEV_LOW_PRIORITY_FLAG : 0;
}

int dmctl_create(const struct dmctl_new *dev, char *reason, size_t reason_len)
{
	struct dm_task *task = new_task(DM_DEVICE_CREATE, dev->name);
	struct dm_info info = { 0 };
	int log = open_log(), r;

	*reason = 0;
	r = task && dm_task_set_uuid(task, dev->uuid) ? run(task) : -EINVAL;
	if (!r)
		dm_task_get_info(task, &info);
	drop(task);
	if (!r) {
		r = load(dev->name, dev->size_sec, dev->params, dev->read_only);
		if (!r) {
			task = new_task(DM_DEVICE_RESUME, dev->name);
			r = run_and_settle(task, priority_flag(dev->uuid) |
					   (dev->no_partitions ?
					    DM_SUBSYSTEM_UDEV_FLAG0 : 0));
			drop(task);
		}
		if (r && log >= 0)
			read_reason(log, &info, reason, reason_len);
		if (r)
			dmctl_remove(dev->name, false);
	}
	if (log >= 0)
		close(log);
	return r;
}

int dmctl_suspend(const char *name)
{
	struct dm_task *task = new_task(DM_DEVICE_SUSPEND, name);
	int r = run(task);

	drop(task);
	return r;
}

int dmctl_resume(const char *name)
{
	struct dm_task *task = new_task(DM_DEVICE_RESUME, name);
	struct dmctl_device dev;
	u16 flags = 0;
	int r;

	if (!dmctl_get(name, &dev))
		flags = priority_flag(dev.uuid);
	free(dev.params);
	r = run_and_settle(task, flags);
	drop(task);
	return r;
}

int dmctl_clear(const char *name)
{
	struct dm_task *task = new_task(DM_DEVICE_CLEAR, name);
	int r = run(task);

	drop(task);
	return r;
}

void dmctl_forget(void)
{
	dm_lib_release();
}

int dmctl_reload(const char *name, u64 size_sec, const char *params,
		 char *reason, size_t reason_len)
{
	struct dm_task *task = new_task(DM_DEVICE_INFO, name);
	struct dm_info info = { 0 };
	int log = open_log(), r;

	*reason = 0;
	if (task && !run(task))
		dm_task_get_info(task, &info);
	drop(task);
	r = load(name, size_sec, params, false);
	if (r && log >= 0)
		read_reason(log, &info, reason, reason_len);
	if (log >= 0)
		close(log);
	return r;
}

int dmctl_remove(const char *name, bool deferred)
{
	struct dm_task *task = new_task(DM_DEVICE_REMOVE, name);
	int r = -EINVAL;

	if (task && (!deferred || dm_task_deferred_remove(task)))
		r = run_and_settle(task, 0);
	drop(task);
	return r;
}

bool dmctl_uuid_taken(const char *uuid)
{
	struct dm_task *task = new_task(DM_DEVICE_INFO, NULL);
	struct dm_info info = { 0 };
	bool taken;

	taken = task && dm_task_set_uuid(task, uuid) && !run(task) &&
		dm_task_get_info(task, &info) && info.exists;
	drop(task);
	return taken;
}

int dmctl_get(const char *name, struct dmctl_device *dev)
{
	struct dm_task *task = new_task(DM_DEVICE_TABLE, name);
	struct dm_info info = { 0 };
	char *type = NULL, *params = NULL;
	const char *uuid;
	u64 start, len = 0;
	int r = run(task);

	*dev = (struct dmctl_device){ 0 };
	if (!r && !(dm_task_get_info(task, &info) && info.exists))
		r = -ENXIO;
	if (!r) {
		snprintf(dev->name, sizeof(dev->name), "%s", name);
		dev->major = info.major;
		dev->minor = info.minor;
		dev->read_only = info.read_only;
		dev->suspended = info.suspended;
		dev->deferred = info.deferred_remove;
		dev->open_count = info.open_count;
		uuid = dm_task_get_uuid(task);
		snprintf(dev->uuid, sizeof(dev->uuid), "%s", uuid ? uuid : "");
		dm_get_next_target(task, NULL, &start, &len, &type, &params);
		dev->size_sec = len;
		if (type && !strcmp(type, DMCTL_TARGET))
			dev->params = out_text("%s", params);
	}
	drop(task);
	return r;
}

int dmctl_get_ours(const char *path, struct dmctl_device *dev)
{
	const char *name = dmctl_name(path);
	int r = dmctl_get(name, dev);

	if (r) {
		out_error(name, "%s", r == -ENXIO ? "No such device" :
			  strerror(-r));
	} else if (!dev->params) {
		out_error(name, "Not a device of the target %s", DMCTL_TARGET);
		r = -ENOTTY;
	}
	return r;
}

char *dmctl_failure(const char *name)
{
	char *text = NULL, *health = NULL, *end;

	if (dmctl_status(name, &text))
		return NULL;
	/* "ro flush-failed 1 ...", or "rw ok 1 ..." */
	end = strchr(text, ' ');
	end = end ? strchr(end + 1, ' ') : NULL;
	if (end) {
		*end = 0;
		health = strchr(text, ' ') + 1;
		if (strlen(health) < 7 || strcmp(end - 7, "-failed"))
			health = NULL;
	}
	if (health)
		health = out_text("%s", health);
	free(text);
	return health;
}

int dmctl_status(const char *name, char **text)
{
	struct dm_task *task = new_task(DM_DEVICE_STATUS, name);
	char *type = NULL, *status = NULL;
	u64 start, len;
	int r;

	/* Asking is no reason to commit. */
	if (task)
		dm_task_no_flush(task);
	r = run(task);
	if (!r)
		dm_get_next_target(task, NULL, &start, &len, &type, &status);
	if (!r && (!type || strcmp(type, DMCTL_TARGET)))
		r = -ENOTTY;
	if (!r)
		*text = out_text("%s", status ? status : "");
	drop(task);
	return r;
}

int dmctl_list(struct dmctl_device **devs, unsigned int *nr)
{
	struct dm_task *task = new_task(DM_DEVICE_LIST, NULL);
	struct dmctl_device dev;
	struct dm_names *n;
	int r = run(task);

	*devs = NULL;
	*nr = 0;
	n = r ? NULL : dm_task_get_names(task);
	/* A device that has gone since is none that is there. */
	for (; n && n->dev; n = (struct dm_names *)((char *)n + n->next)) {
		if (!dmctl_get(n->name, &dev) && dev.params) {
			*devs = out_grow(*devs, *nr + 1, sizeof(**devs));
			(*devs)[(*nr)++] = dev;
		}
		if (!n->next)
			break;
	}
	drop(task);
	return r;
}
