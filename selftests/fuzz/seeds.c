// SPDX-License-Identifier: GPL-2.0
/* Images to start from, and what keeps a changed one worth reading. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../userspace/disk.h"
#include "../crash/model.h"
#include "../lib/mkimage.h"
#include "../lib/ramstore.h"
#include "fuzz.h"

#define ROOM (64ull << 20)
#define MAX_SEED 65536

/* Small ones: a fuzzer changes bytes blindly. Fields: the line, writes, flags. */
static const struct {
	const char *line;
	u32 writes;
	u8 flags;
} made[] = {
	{ "vhd size=64k block=4k", 4, FUZZ_WRITE },
	{ "vhd size=256k block=16k", 0, FUZZ_WRITE | FUZZ_TAIL },
	{ "vhd size=8M block=2M", 0, FUZZ_WRITE },
	{ "vhd size=64k block=4k type=differencing parent=p.vhd", 4,
	  FUZZ_WRITE | FUZZ_PARENT },
	{ "vhd size=16k type=fixed", 0, FUZZ_WRITE },
	{ "qed size=64k cluster=4k table=1", 4, FUZZ_WRITE },
	{ "qed size=4M cluster=4k table=2 header=2", 3, FUZZ_WRITE },
	{ "qed size=64k cluster=4k table=1 backing=p raw=1", 3,
	  FUZZ_WRITE | FUZZ_PARENT },
	{ "qed size=4G cluster=64k table=4", 0, FUZZ_WRITE | FUZZ_LONG },
	{ "parallels size=64k cluster=4k", 4, FUZZ_WRITE },
	{ "parallels size=64k version=1 cluster=3584 data_off=0", 4, FUZZ_WRITE },
	{ "parallels size=64k cluster=4k ext=1", 2, FUZZ_WRITE },
	{ "parallels size=8M", 0, FUZZ_WRITE | FUZZ_DEVICE | FUZZ_LONG },
	{ "vmdk size=64k grain=4k", 4, FUZZ_WRITE },
	{ "vmdk size=1M grain=4k gtes=16 tables=0 zeroed=1", 4, FUZZ_WRITE },
	{ "vmdk size=64k grain=4k packed=1", 4, FUZZ_WRITE },
	{ "vmdk size=64k grain=4k packed=1 footer=1", 0, FUZZ_WRITE },
	{ "cowd size=32k", 4, FUZZ_WRITE },
	{ "cowd size=256k grain=4k tables=1", 2, FUZZ_WRITE | FUZZ_PARENT },
	{ "raw size=5000", 0, 0 },
};

static u8 number_of(const struct vdisk_format *format)
{
	u8 i = 0;

	while (vdisk_formats[i] && vdisk_formats[i] != format)
		i++;
	return i;
}

/* Some runs here and there, one of them cleared again. */
static void write_some(struct ram_store *ram, const struct vdisk_format *format,
		       u32 writes)
{
	struct vdisk_image_opts opts = { .write = true };
	struct vdisk_fault fault = { "" };
	struct vdisk_image *image;
	struct vdisk_disk *disk;
	u8 buf[8192];
	u64 sector;
	u32 i;
	int r;

	memset(buf, 0x5a, sizeof(buf));
	r = vdisk_disk_new(&disk, &fault);
	if (!r)
		r = vdisk_image_open(&image, format, &ram->store, &opts, &fault);
	if (!r)
		r = vdisk_disk_push(disk);
	if (!r)
		r = vdisk_disk_add(disk, image, 0);
	for (i = 0; i < writes && !r; i++) {
		sector = disk->size_sec / writes * i;
		r = vdisk_disk_write(disk, sector, buf,
				     vdisk_min(16, disk->size_sec - sector));
	}
	if (!r)
		r = vdisk_disk_zero(disk, 0, 8);
	if (!r)
		r = vdisk_disk_close(disk);
	if (r)
		errx(2, "seed of %s: %s", format->name, fault.text);
}

struct fuzz_seed fuzz_seed_of(const u8 *image, size_t len, u8 format, u8 flags,
			      const char *name)
{
	struct fuzz_seed seed = { .name = name };
	struct fuzz_head h = { .format = format, .flags = flags };

	vdisk_store(h.file_len, 1ull << 36, 8, false);
	if (len > MAX_SEED)
		len = MAX_SEED;
	seed.size = FUZZ_HEAD_LEN + len;
	seed.data = malloc(seed.size);
	if (!seed.data)
		err(2, "malloc");
	memcpy(seed.data, &h, FUZZ_HEAD_LEN);
	memcpy(seed.data + FUZZ_HEAD_LEN, image, len);
	return seed;
}

size_t fuzz_seeds(struct fuzz_seed *seeds, size_t room)
{
	const struct vdisk_format *format;
	struct ram_store *ram;
	const char *wrong;
	char name[32];
	size_t i, nr = 0;

	for (i = 0; i < sizeof(made) / sizeof(made[0]) && nr < room; i++) {
		snprintf(name, sizeof(name), "%.*s",
			 (int)strcspn(made[i].line, " "), made[i].line);
		format = vdisk_format_find(name);
		if (!format)
			continue;
		ram = ram_store_new(ROOM);
		wrong = mkimage_line(&ram->store, made[i].line);
		if (wrong)
			errx(2, "%s: %s", made[i].line, wrong);
		if (made[i].writes)
			write_some(ram, format, made[i].writes);
		seeds[nr++] = fuzz_seed_of(ram->bytes, ram->store.length,
					   number_of(format), made[i].flags,
					   made[i].line);
		vdisk_store_close(&ram->store);
	}
	return nr;
}

static void fix_sum(u8 *p, u32 len, u32 at)
{
	u32 i, sum = 0;

	vdisk_store(p + at, 0, 4, true);
	for (i = 0; i < len; i++)
		sum += p[i];
	vdisk_store(p + at, ~sum, 4, true);
}

void fuzz_fix(u8 *data, size_t size)
{
	static const u8 cookie[8] = { 'c', 'o', 'n', 'e', 'c', 't', 'i', 'x' };
	size_t len;
	u64 header;
	u8 *image;

	if (size < FUZZ_HEAD_LEN + 512)
		return;
	image = data + FUZZ_HEAD_LEN;
	len = size - FUZZ_HEAD_LEN;
	if (memcmp(image, cookie, 8) && memcmp(image + len - 512, cookie, 8))
		return;
	header = vdisk_be64(image + 16);
	if (!memcmp(image, cookie, 8))
		fix_sum(image, 512, 64);
	if (header < len && len - header >= 1024 &&
	    !memcmp(image + header, "cxsparse", 8))
		fix_sum(image + header, 1024, 36);
	if (!memcmp(image + len - 512, cookie, 8))
		fix_sum(image + len - 512, 512, 64);
}
