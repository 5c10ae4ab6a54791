/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deflating units of one length, by this thread or by several: what is begun
 * first is taken first, whoever is ready sooner. Memory is taken once.
 */
#ifndef _VDISK_PACK_H
#define _VDISK_PACK_H

#include "../formats/env.h"

#define PACK_MOST_THREADS 16

struct pack_job {
	u64 index;		/* the caller's */
	u8 *plain;		/* a whole unit */
	u8 *packed;		/* with room before it, see pack_new() */
	size_t len;		/* of what is packed */
	int r;			/* 0 or -errno */
	bool done;
};

struct pack;

/*
 * @len: of a unit; @head, @tail: bytes the caller wants before and behind what is
 * packed. @threads: 0 and 1 are none but the caller's. NULL without memory.
 */
struct pack *pack_new(unsigned int threads, size_t len, size_t head,
		      size_t tail);
void pack_free(struct pack *pack);

/* A job to be filled; NULL: take one that is done first. */
struct pack_job *pack_room(struct pack *pack);

/* The job of the last pack_room() is full. */
void pack_begin(struct pack *pack);

/*
 * The oldest one that was begun, waited for; NULL if there is none. It is good
 * until the next pack_room().
 */
struct pack_job *pack_take(struct pack *pack);

#endif /* _VDISK_PACK_H */
