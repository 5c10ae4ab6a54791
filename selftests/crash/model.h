/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a guest may find on its disk after a crash: per sector the value that
 * was flushed last, and every value written since.
 *
 * A value is a number; a sector that holds it is full of a pattern of it and of
 * the sector's own number. Value 0 is a sector of zeroes.
 */
#ifndef _VDISK_MODEL_H
#define _VDISK_MODEL_H

#include "../../formats/env.h"

struct model_write {
	u32 value;
	u32 next;		/* index + 1 of the one before; 0 = none */
};

struct model {
	u64 size_sec;
	u32 *now;
	u32 *durable;
	u32 *head;		/* index + 1 of the last write since the flush */
	struct model_write *write;
	size_t nr, room;
	u64 *touched;		/* sectors with a head */
	size_t nr_touched;
	u32 last;		/* value given out */
};

struct model *model_new(u64 size_sec);
void model_free(struct model *m);

/* The sectors are being written: they may have this value from now on. */
void model_write(struct model *m, u64 sector, u64 sectors, u32 value);

/* What is there now is durable. */
void model_flushed(struct model *m);

bool model_allows(const struct model *m, u64 sector, u32 value);

void pattern_make(u8 *buf, u64 sector, u32 value);

/* The value a sector holds; false if no value at all makes it so. */
bool pattern_read(const u8 *buf, u64 sector, u32 *value);

/* A small generator of random numbers: equal seeds, equal tests. */
struct rng {
	u64 state;
};

static inline u64 rng_next(struct rng *rng)
{
	u64 z = rng->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* 0 to @n - 1. */
static inline u64 rng_below(struct rng *rng, u64 n)
{
	return n ? rng_next(rng) % n : 0;
}

static inline bool rng_one_in(struct rng *rng, u64 n)
{
	return !rng_below(rng, n);
}

#endif /* _VDISK_MODEL_H */
