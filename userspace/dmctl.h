/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapped devices, by libdevmapper. Functions return 0 or a negative errno. With
 * udev running they return when its rules have run; without it libdevmapper
 * makes the nodes in /dev/mapper itself.
 */
#ifndef _VDISK_DMCTL_H
#define _VDISK_DMCTL_H

#include "../formats/env.h"

#define DMCTL_TARGET "vdisk"
/* How uuids begin of what is as good as this machine's disks. */
#define DMCTL_TRUSTED "VDISK-trusted-"
/* The version of the target that knows all that this tool may ask of it. */
#define DMCTL_MAJOR 1
#define DMCTL_MINOR 1
#define DMCTL_NAME_MAX 128
#define DMCTL_UUID_MAX 129

struct dmctl_device {
	char name[DMCTL_NAME_MAX];
	char uuid[DMCTL_UUID_MAX];
	u32 major, minor;
	u64 size_sec;
	bool read_only;
	bool suspended;
	bool deferred;		/* will be removed when it is closed */
	int open_count;
	char *params;		/* what the vdisk target was loaded with; NULL
				 * if the device is none of ours
				 */
};

/*
 * Is the target registered, in a version that this tool can speak to? Tries to
 * load the module; says itself what is missing for the device @name.
 */
bool dmctl_ready(const char *name);

/* Why no device can be called @name, a phrase; or NULL. */
const char *dmctl_name_fault(const char *name);

/* The name, of a path in /dev/mapper too. */
const char *dmctl_name(const char *path);

/* Its path in /dev/mapper, to free: what is unusual is written as \xNN there. */
char *dmctl_path(const char *name);

struct dmctl_new {
	const char *name, *uuid;
	u64 size_sec;
	const char *params;
	bool read_only;
	bool no_partitions;	/* udev's rule for partitions passes it by */
};

/*
 * Create the device with one vdisk target. When the kernel refuses the table
 * and its log can be read, @reason says why, else it is "".
 */
int dmctl_create(const struct dmctl_new *dev, char *reason, size_t reason_len);

/*
 * Remove the device; -EBUSY while it is in use. @deferred: then it goes when it
 * is closed.
 */
int dmctl_remove(const char *name, bool deferred);

/* No I/O from here on, and the target has none on its way. */
int dmctl_suspend(const char *name);

/* I/O again, by the table that was loaded since, if any. */
int dmctl_resume(const char *name);

/* A table that was loaded since is forgotten. */
int dmctl_clear(const char *name);

/* After fork(): what libdevmapper has open is not this process's. */
void dmctl_forget(void);

/* A table for the suspended device; @reason as dmctl_create() gives it. */
int dmctl_reload(const char *name, u64 size_sec, const char *params,
		 char *reason, size_t reason_len);

/* Does a device of this uuid exist? */
bool dmctl_uuid_taken(const char *uuid);

/* -ENXIO if there is no such device. Free @dev->params. */
int dmctl_get(const char *name, struct dmctl_device *dev);

/* The same of a device with a vdisk target, or its path; says what is wrong itself. */
int dmctl_get_ours(const char *path, struct dmctl_device *dev);

/* The status line of the vdisk target, to free; -ENOTTY if it has none. */
int dmctl_status(const char *name, char **text);

/* Why the device writes nothing any more, as its status says it; NULL if it does. */
char *dmctl_failure(const char *name);

/* Is there a udev that makes nodes and waits to be waited for? */
bool dmctl_has_udev(void);

/* All devices with a vdisk target; an array to free, with each params. */
int dmctl_list(struct dmctl_device **devs, unsigned int *nr);

#endif /* _VDISK_DMCTL_H */
