// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk convert: any image as a raw file, holes kept. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "chain.h"
#include "out.h"

#define CHUNK (1u << 20)
#define GRAIN 4096u		/* zeroes shorter than this are written */

/* Half a copy is worse than none, however it came about. */
static const char *unfinished;

static void give_up(int sig)
{
	if (unfinished)
		unlink(unfinished);
	signal(sig, SIG_DFL);
	raise(sig);
}

static bool is_zero(const u8 *p, size_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

static int write_all(int fd, const u8 *p, size_t len, u64 off)
{
	ssize_t n;

	while (len) {
		n = pwrite(fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		off += (u64)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Everything but grains of zeroes. */
static int write_sparse(int fd, const u8 *p, size_t len, u64 off)
{
	size_t at = 0, end;
	int r = 0;

	while (!r && at < len) {
		end = at + vdisk_min(GRAIN, len - at);
		if (is_zero(p + at, end - at)) {
			at = end;
			continue;
		}
		while (end < len && !is_zero(p + end, vdisk_min(GRAIN, len - end)))
			end += vdisk_min(GRAIN, len - end);
		r = write_all(fd, p + at, end - at, off + at);
		at = end;
	}
	return r;
}

/* The subject of the error line, or NULL. */
static const char *copy(struct chain *chain, int fd, const char *to)
{
	const u64 size = chain->disk->size_sec;
	u8 *buf = out_alloc(1, CHUNK);
	const char *wrong = NULL;
	struct vdisk_hit hit;
	u64 sector, n;
	int r = 0;

	if (ftruncate(fd, (off_t)(size * VDISK_SECTOR))) {
		r = -errno;
		wrong = to;
	}
	for (sector = 0; !wrong && sector < size; sector += n) {
		n = vdisk_min(CHUNK / VDISK_SECTOR, size - sector);
		r = vdisk_disk_map(chain->disk, sector, size - sector, &hit);
		if (!r && hit.kind == VDISK_ZERO) {
			n = hit.sectors;
			continue;
		}
		if (!r)
			r = vdisk_disk_read(chain->disk, sector, buf, n);
		if (r) {
			wrong = chain->image;
			break;
		}
		r = write_sparse(fd, buf, n * VDISK_SECTOR,
				 sector * VDISK_SECTOR);
		if (r)
			wrong = to;
	}
	if (!wrong && (fsync(fd) || close(fd))) {
		r = -errno;
		wrong = to;
	}
	free(buf);
	if (wrong)
		out_error(wrong, "%s", wrong == chain->image ?
			  chain->fault.text : strerror(-r));
	return wrong;
}

int cmd_convert(const struct verb_options *opt)
{
	const char *to = opt->args[1];
	struct chain chain;
	int fd, r = VERB_FAILED;

	if (opt->out_format && strcmp(opt->out_format, "raw")) {
		out_error(NULL, "Cannot write the format %s",
			  out_name(opt->out_format));
		return VERB_USAGE;
	}
	if (!chain_open(&chain, opt->args[0], opt, CHAIN_LOCK))
		return VERB_FAILED;
	signal(SIGINT, give_up);
	signal(SIGTERM, give_up);
	signal(SIGHUP, give_up);
	fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0) {
		out_error(to, "%s", strerror(errno));
	} else {
		unfinished = to;
		if (!copy(&chain, fd, to))
			r = VERB_OK;
		else
			unlink(to);
		unfinished = NULL;
	}
	chain_close(&chain);
	return r;
}
