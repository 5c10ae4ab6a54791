/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of a disk that cannot be read: how long they are, what they are told as,
 * and how to read on behind them.
 */
#ifndef _VDISK_SALVAGE_H
#define _VDISK_SALVAGE_H

#include "chain.h"

struct salvage {
	u64 start_sec, sectors;	/* that were lost last, not told yet */
	char *why;		/* of these */
	u64 lost_sec;
	u64 ranges;		/* that are told */
};

/*
 * @chain's fault is of @sector: as many sectors from there on, up to @most, as the
 * same entry speaks of.
 */
u64 salvage_length(struct chain *chain, u64 sector, u64 most);

/* These cannot be read, for the reason of @chain's fault. */
void salvage_lose(struct salvage *s, struct chain *chain, u64 sector,
		  u64 sectors);

/* As vdisk_disk_read(); what cannot be read is zeroes, and lost. */
void salvage_read(struct salvage *s, struct chain *chain, u64 sector, u8 *buf,
		  u64 sectors);

/* All are told. False if anything was lost. */
bool salvage_end(struct salvage *s, const struct chain *chain);

#endif /* _VDISK_SALVAGE_H */
