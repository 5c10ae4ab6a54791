#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tool and the kernel's target work together within a major version, from the
# minor version on that the tool's table lines need. The kernel is made up.
. "$(dirname "$0")/lib.sh"
need_cmd "${CC:-gcc}"

# libdevmapper's answers, as a kernel with the target TARGET_VERSION would give them.
cat >"$tmp/fake.c" <<'END'
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dm_task;

int dm_task_run(struct dm_task *task)
{
	return 1;
}

struct dm_versions {
	uint32_t next, version[3];
	char name[8];
} *dm_task_get_versions(struct dm_task *task)
{
	static struct dm_versions v[2] = {
		{ sizeof(v[0]), { 9, 9, 9 }, "linear" }, { 0, { 0 }, "vdisk" },
	};

	sscanf(getenv("TARGET_VERSION"), "%u.%u.%u", &v[1].version[0],
	       &v[1].version[1], &v[1].version[2]);
	if (!v[1].version[0])
		v[0].next = 0;
	return v;
}
END
"${CC:-gcc}" -shared -fPIC -o "$tmp/fake.so" "$tmp/fake.c"

attach()
{
	TARGET_VERSION=$1 LD_PRELOAD=$tmp/fake.so "$vdisk" attach web "$tmp/none.vhd"
}

needs='this tool needs 1\.1 or a later 1\.x$'
for version in 1.0.7 2.0.0 2.5.0; do
	refused "target $version is refused, in one line" \
		"^vdisk: web: The kernel's target vdisk is version ${version//./\\.}, $needs" \
		attach "$version"
done
for version in 1.1.0 1.1.9 1.2.0 1.30.0; do
	refused "target $version will do: it is the image that is missing" \
		"none\.vhd.*No such file" attach "$version"
done
refused "no target at all" 'The kernel has no target vdisk \(modprobe dm-vdisk\)$' attach 0.0.0
ktap_end
