/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The crash ring: long random workloads on an image in memory; at every flush
 * the states a crash may leave are made of the writes since the last one, and
 * each is opened again and compared with the model.
 */
#ifndef _VDISK_CRASH_H
#define _VDISK_CRASH_H

#include "../../userspace/disk.h"
#include "../lib/ramstore.h"
#include "model.h"

struct crash_config {
	const char *format;
	const char *name;
	const char *image;	/* for mkimage_line() */
	const char *parent;	/* the same; NULL = none */
	u64 device_len;		/* the image is on a device this long */
	u64 unit_sec;		/* requests are up to a few units */
	u64 window_sec;		/* where the guest works: both ends, the middle */
	u64 most_sec;		/* the disk is resized, up to this; 0 = never */
	u32 weight;		/* of the states to make */
};

struct crash_options {
	const char *format;
	const char *name;
	u64 unit;		/* bytes; 0 = all */
	u64 seed;
	u64 states;		/* per format */
	u64 state;		/* only this one; 0 = all */
	u32 skip_flush;
	const char *dir;	/* failing states go there */
};

enum { MAX_WINDOWS = 3 };

struct window {
	u64 sector;
	u64 sectors;
};

/* One image and its workload. */
struct run {
	const struct crash_config *config;
	const struct crash_options *opts;
	struct rng rng;
	u64 seed;

	struct ram_store *ram;		/* the image, with its record */
	struct ram_store *parent;
	struct ram_store *work;		/* becomes each crash state */
	struct ram_store *again;	/* is written to after the crash */
	struct vdisk_disk *disk;
	struct vdisk_image *image;	/* the top one */
	struct vdisk_fault fault;

	struct model *model;
	struct window window[MAX_WINDOWS];
	size_t nr_windows;
	u32 *seen;			/* what a state was found to hold */
	u8 *buf;			/* what the guest writes, buf_sec sectors */
	u8 *look;			/* what is read to be compared, as long */
	u64 buf_sec;

	u64 resize_sec;			/* the size may be this already; 0 = no */
	u64 clip_sec;			/* of the disk that is looked at */

	bool faults;			/* writes and flushes fail at times */
	u64 one_in;			/* how many epochs states are made of */
	u64 state;			/* how many were made so far */
	u64 last_state;			/* stop there */
	char why[256];			/* of the first violation; "" = none */
};

/* Open @top, with the parent beneath; 0 or -errno, with run->fault. */
int crash_open(struct run *run, struct ram_store *top, bool write,
	       struct vdisk_disk **disk);

/* A phrase into run->why, if there is none yet; -EILSEQ. */
int crash_fail(struct run *run, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * The flush hook: make states of the events there are and check them. Not 0
 * when one violates the promise, or enough were made.
 */
int crash_states(void *arg);

/* The part of the @i-th window that the disk looked at has. */
struct window crash_window(const struct run *run, size_t i);

/* resize.c: another size for run->disk, and for what is expected of it. */
int crash_resize(struct run *run);

/* Where the guest works from now on. */
void crash_set_windows(struct run *run, u64 size_sec);

/* The windows of @disk against the model; @seen gets the values. */
int crash_compare(struct run *run, struct vdisk_disk *disk, bool exact);

/* One workload from @seed on; true = no violation. run->state moves on. */
bool crash_run(struct run *run);
void crash_end(struct run *run);

#endif /* _VDISK_CRASH_H */
