// SPDX-License-Identifier: GPL-2.0-or-later
/* Whom a file belongs to, and who else may use it. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attrs.h"
#include "out.h"

/* Of what the file holds, not of whom it belongs to. */
static bool is_of_bytes(const char *name)
{
	return !strcmp(name, "security.ima") || !strcmp(name, "security.evm") ||
	       !strcmp(name, "security.capability");
}

static int copy_value(int from, int to, const char *name)
{
	ssize_t len = fgetxattr(from, name, NULL, 0);
	char *value;
	int r = 0;

	if (len < 0)
		return errno == ENODATA ? 0 : -errno;
	value = out_alloc((size_t)len, 1);
	len = fgetxattr(from, name, value, (size_t)len);
	if (len < 0 || fsetxattr(to, name, value, (size_t)len, 0))
		r = -errno;
	free(value);
	return r;
}

static int copy_values(int from, int to)
{
	ssize_t len = flistxattr(from, NULL, 0), at;
	char *list;
	int r = 0;

	if (len <= 0)
		return len && errno != EOPNOTSUPP && errno != ENOSYS ? -errno : 0;
	list = out_alloc((size_t)len + 1, 1);
	len = flistxattr(from, list, (size_t)len);
	if (len < 0)
		r = -errno;
	for (at = 0; !r && at < len; at += (ssize_t)strlen(list + at) + 1)
		if (!is_of_bytes(list + at))
			r = copy_value(from, to, list + at);
	free(list);
	return r;
}

int attrs_copy(int from, int to)
{
	struct stat st;

	if (fstat(from, &st) ||
	    (fchown(to, st.st_uid, st.st_gid) && errno != EPERM) ||
	    fchmod(to, st.st_mode & 0777))
		return -errno;
	return copy_values(from, to);
}
