// SPDX-License-Identifier: GPL-2.0
/* mkimage FORMAT OUT size=BYTES [KEY=VALUE]...: an empty image for a test. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>

#include "mkimage.h"

int main(int argc, char **argv)
{
	struct vdisk_store *store;
	const char *wrong;
	int fd, r;

	if (argc < 4)
		errx(2, "usage: mkimage FORMAT OUT size=BYTES [KEY=VALUE]...");
	fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0666);
	if (fd < 0)
		err(1, "%s", argv[2]);
	r = vdisk_store_file(fd, &store);
	if (r) {
		errno = -r;
		err(1, "%s", argv[2]);
	}
	wrong = mkimage(store, argv[1], argv + 3, (size_t)argc - 3);
	vdisk_store_close(store);
	if (wrong)
		errx(1, "%s: %s", argv[2], wrong);
	return 0;
}
