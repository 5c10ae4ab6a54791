/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One harness for all formats: the bytes are an image, and whatever they are,
 * the format keeps its contract (formats/format.h).
 *
 * An input is a struct fuzz_head, then bytes of the image's start and, by a
 * flag, of its end. What lies between reads zero, so a short input may be a
 * long file.
 */
#ifndef _VDISK_FUZZ_H
#define _VDISK_FUZZ_H

#include "../../formats/format.h"

enum fuzz_flags {
	FUZZ_WRITE = 1 << 0,
	FUZZ_DEVICE = 1 << 1,
	FUZZ_LONG = 1 << 2,	/* the file is file_len bytes long */
	FUZZ_TAIL = 1 << 3,	/* the last 512 bytes belong to its end */
	FUZZ_PARENT = 1 << 4,	/* there is a layer below */
};

#define FUZZ_MAX_LEN (1ull << 44)

struct fuzz_head {
	u8 format;		/* of vdisk_formats[], modulo their number */
	u8 flags;
	u8 size_rule;
	u8 start;		/* raw: sectors before the disk */
	u8 seed[4];		/* of what the harness asks for */
	u8 file_len[8];		/* little endian */
};

#define FUZZ_HEAD_LEN sizeof(struct fuzz_head)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* Make VHD checksums right, so that what is behind them is reached. */
void fuzz_fix(u8 *data, size_t size);

/* Images of all formats, some of them written to, as inputs. */
struct fuzz_seed {
	u8 *data;
	size_t size;
	const char *name;
};

size_t fuzz_seeds(struct fuzz_seed *seeds, size_t room);

/* An image of @len bytes as an input; format as in struct fuzz_head. */
struct fuzz_seed fuzz_seed_of(const u8 *image, size_t len, u8 format,
			      u8 flags, const char *name);

#endif /* _VDISK_FUZZ_H */
