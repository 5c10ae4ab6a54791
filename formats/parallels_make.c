// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A new Parallels image: a header and a BAT of zeroes, up to a whole cluster,
 * which suits those who count clusters from the start of the file.
 *
 * From: size_sec, unit_len, version.
 */
#include "make.h"
#include "parallels.h"

/* An entry of v1 is a sector of the file: none of them may overflow. */
static u64 most_file_sectors(u32 version, u64 tracks)
{
	return version == 1 ? 1ull << 32 : tracks << 32;
}

static int check_cluster(const struct vdisk_recipe *recipe,
			 struct vdisk_layout *layout)
{
	u64 cluster = recipe->unit_len;

	if (recipe->version != 1 && recipe->version != 2)
		return vdisk_unmakable(layout, "Parallels version is not 1 or 2",
				       recipe->version);
	if (!cluster || cluster % VDISK_SECTOR)
		return vdisk_unmakable(layout,
				       "Cluster size is not a multiple of 512",
				       cluster);
	if (cluster / VDISK_SECTOR > PARALLELS_MAX_CLUSTER)
		return vdisk_unmakable(layout, "Cluster size is over 2 GiB",
				       cluster);
	return 0;
}

static int parallels_layout(const struct vdisk_recipe *recipe,
			    struct vdisk_layout *layout)
{
	u64 sectors = recipe->size_sec, tracks, entries, data_sec;
	int r;

	*layout = (struct vdisk_layout){ .size_sec = sectors };
	r = check_cluster(recipe, layout);
	if (r)
		return r;
	if (!sectors)
		return vdisk_unmakable(layout, "The disk is empty", 0);
	tracks = recipe->unit_len / VDISK_SECTOR;
	entries = vdisk_div_up(sectors, tracks);
	if (entries > PARALLELS_MAX_ENTRIES)
		return vdisk_unmakable(layout,
				       "Disk has too many clusters", entries);
	data_sec = vdisk_align(vdisk_div_up(PARALLELS_HEADER_LEN +
					    entries * PARALLELS_ENTRY_LEN,
					    VDISK_SECTOR), tracks, 0);
	if (data_sec + entries * tracks > most_file_sectors(recipe->version,
							     tracks))
		return vdisk_unmakable(layout,
				       "Disk is longer than 2 TiB, sectors",
				       sectors);
	layout->table_nr = entries;
	layout->file_len = data_sec * VDISK_SECTOR;
	return 0;
}

static bool parallels_piece(const struct vdisk_recipe *recipe,
			    const struct vdisk_layout *layout, u32 i,
			    struct vdisk_piece *piece)
{
	enum { HEADS = 16, TRACK = 32 };	/* of a hint that nobody needs */
	u64 cylinders = vdisk_min(layout->size_sec / (HEADS * TRACK),
				  0xffffffff);
	struct parallels_header_disk h = {
		.version = to_le32(PARALLELS_VERSION),
		.heads = to_le32(HEADS),
		.cylinders = to_le32(cylinders),
		.tracks = to_le32(recipe->unit_len / VDISK_SECTOR),
		.nb_bat_entries = to_le32(layout->table_nr),
		.nb_sectors = to_le64(layout->size_sec),
		.in_use = to_le32(PARALLELS_CLOSED_OLD),
		.data_off = to_le32(layout->file_len / VDISK_SECTOR),
	};

	if (i)
		return false;
	memcpy(h.magic, recipe->version == 1 ? PARALLELS_MAGIC_V1
					     : PARALLELS_MAGIC_V2,
	       sizeof(h.magic));
	piece->off = 0;
	piece->len = sizeof(h);
	memcpy(piece->data, &h, sizeof(h));
	return true;
}

const struct vdisk_maker vdisk_parallels_maker = {
	.format	= &vdisk_parallels_format,
	.layout	= parallels_layout,
	.piece	= parallels_piece,
};
