// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading on where a disk cannot be read. */
#include <stdlib.h>

#include "out.h"
#include "progress.h"
#include "salvage.h"

#define TELL_MOST 1000		/* a ruined table would fill the terminal */

u64 salvage_length(struct chain *chain, u64 sector, u64 most)
{
	struct vdisk_disk *disk = chain->disk;
	size_t i;

	/* Which layer's entry it was is not told: the shortest unit is safe. */
	for (i = 0; i < disk->nr; i++) {
		struct vdisk_layer *layer = &disk->layer[i];
		const struct vdisk_part *part;
		const struct vdisk_geom *geom;
		u64 at;

		if (sector >= layer->size_sec)
			continue;
		part = vdisk_layer_part(layer, sector);
		geom = &part->image->geom;
		at = sector - part->first_sec;
		most = vdisk_min(most, part->sectors - at);
		if (!(geom->flags & VDISK_GEOM_NO_ALLOC) &&
		    !(part->image->format->flags & VDISK_FORMAT_NO_FILE))
			most = vdisk_min(most, geom->unit_sec -
					 at % geom->unit_sec);
	}
	return most;
}

static void tell(struct salvage *s, const struct chain *chain)
{
	if (!s->sectors)
		return;
	progress_clear();
	if (s->ranges++ < TELL_MOST)
		out_error(chain->image, "Lost: %llu bytes at %llu: %s",
			  (unsigned long long)(s->sectors * VDISK_SECTOR),
			  (unsigned long long)(s->start_sec * VDISK_SECTOR),
			  s->why);
	s->lost_sec += s->sectors;
	s->sectors = 0;
	free(s->why);
	s->why = NULL;
}

void salvage_lose(struct salvage *s, struct chain *chain, u64 sector,
		  u64 sectors)
{
	if (s->sectors && sector != s->start_sec + s->sectors)
		tell(s, chain);
	if (!s->sectors) {
		s->start_sec = sector;
		s->why = out_text("%s", chain->fault.text);
	}
	s->sectors += sectors;
}

/* Sectors of one run, of which some cannot be read. */
static void read_run(struct salvage *s, struct chain *chain, u64 sector,
		     u8 *buf, const struct vdisk_hit *hit)
{
	/* What is compressed, or by declaration not there, is lost as a whole. */
	u64 step = hit->kind == VDISK_DATA ? 1 : hit->sectors, i;

	for (i = 0; i < hit->sectors; i += step) {
		if (!vdisk_disk_read(chain->disk, sector + i,
				     buf + i * VDISK_SECTOR, step))
			continue;
		memset(buf + i * VDISK_SECTOR, 0, step * VDISK_SECTOR);
		salvage_lose(s, chain, sector + i, step);
	}
}

void salvage_read(struct salvage *s, struct chain *chain, u64 sector, u8 *buf,
		  u64 sectors)
{
	struct vdisk_hit hit;

	if (!vdisk_disk_read(chain->disk, sector, buf, sectors))
		return;
	for (; sectors; sectors -= hit.sectors) {
		if (vdisk_disk_map(chain->disk, sector, sectors, &hit)) {
			hit.sectors = salvage_length(chain, sector, sectors);
			memset(buf, 0, hit.sectors * VDISK_SECTOR);
			salvage_lose(s, chain, sector, hit.sectors);
		} else if (vdisk_disk_read(chain->disk, sector, buf,
					   hit.sectors)) {
			read_run(s, chain, sector, buf, &hit);
		}
		sector += hit.sectors;
		buf += hit.sectors * VDISK_SECTOR;
	}
}

bool salvage_end(struct salvage *s, const struct chain *chain)
{
	tell(s, chain);
	if (!s->ranges)
		return true;
	out_error(chain->image, "Lost in all: %llu bytes in %llu ranges, which "
		  "read zero in the copy",
		  (unsigned long long)(s->lost_sec * VDISK_SECTOR),
		  (unsigned long long)s->ranges);
	return false;
}
