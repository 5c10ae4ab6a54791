// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Extents without tables: raw bytes of a file, zeroes, and errors. */
#include "format.h"

enum { RAW_START, RAW_ROOM };	/* geom->priv: first byte, bytes */

static int raw_open(const struct vdisk_params *params, struct vdisk_step *step,
		    struct vdisk_geom *geom)
{
	u64 room, size;

	if (params->start_off % VDISK_SECTOR)
		return vdisk_bad(step, "Offset is not a multiple of 512",
				 params->start_off);
	if (params->start_off > params->file_len)
		return vdisk_bad(step, "Offset is past the end of the file",
				 params->start_off);
	room = params->file_len - params->start_off;
	/* A last sector that the file holds in part reads zero behind it. */
	size = params->size_sec ? params->size_sec : vdisk_div_up(room, VDISK_SECTOR);
	if (!size)
		return vdisk_bad(step, "The disk is empty", room);
	if (size > vdisk_div_up(room, VDISK_SECTOR))
		return vdisk_bad(step, "File is too short for the extent", size);

	*geom = (struct vdisk_geom){
		.size_sec = size,
		.unit_sec = 1,
		.unit_len = VDISK_SECTOR,
		.unit_align = VDISK_SECTOR,
		.data_off = params->start_off,
		.data_end = params->file_len,
		.flags = VDISK_GEOM_NO_ALLOC,
	};
	geom->priv[RAW_START] = params->start_off;
	geom->priv[RAW_ROOM] = size * VDISK_SECTOR;
	if (params->file_len % VDISK_SECTOR && size > room / VDISK_SECTOR) {
		geom->flags |= VDISK_GEOM_RDONLY;
		geom->why_ro = "File length is not a multiple of 512";
		geom->ro_value = params->file_len;
	}
	return 0;
}

static int raw_map(const struct vdisk_geom *geom, struct vdisk_step *step,
		   u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	extent->kind = VDISK_DATA;
	extent->sectors = sectors;
	extent->off = geom->priv[RAW_START] + sector * VDISK_SECTOR;
	return 0;
}

static int raw_walk(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_range *range)
{
	*range = (struct vdisk_range){
		.kind = VDISK_RANGE_UNIT,
		.off = geom->priv[RAW_START],
		.len = *cursor ? 0 : geom->priv[RAW_ROOM],
	};
	*cursor = 1;
	return 0;
}

const struct vdisk_format vdisk_raw_format = {
	.name	= "raw",
	.flags	= VDISK_FORMAT_NO_PROBE,
	.open	= raw_open,
	.map	= raw_map,
	.walk	= raw_walk,
};

static int none_open(const struct vdisk_params *params,
		     struct vdisk_step *step, struct vdisk_geom *geom)
{
	if (!params->size_sec)
		return vdisk_bad(step, "The disk is empty", 0);
	*geom = (struct vdisk_geom){
		.size_sec = params->size_sec,
		.unit_sec = 1,
		.unit_len = VDISK_SECTOR,
		.unit_align = VDISK_SECTOR,
		.flags = VDISK_GEOM_RDONLY,
		.why_ro = "Extent has no file to write to",
	};
	return 0;
}

static int zero_map(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	extent->kind = VDISK_ZERO;
	extent->sectors = sectors;
	return 0;
}

static int error_map(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	extent->kind = VDISK_ERROR;
	extent->sectors = sectors;
	return 0;
}

static int none_walk(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 *cursor, struct vdisk_range *range)
{
	*range = (struct vdisk_range){ .kind = VDISK_RANGE_UNIT };
	return 0;
}

const struct vdisk_format vdisk_zero_format = {
	.name	= "zero",
	.flags	= VDISK_FORMAT_NO_FILE | VDISK_FORMAT_NO_PROBE,
	.open	= none_open,
	.map	= zero_map,
	.walk	= none_walk,
};

const struct vdisk_format vdisk_error_format = {
	.name	= "error",
	.flags	= VDISK_FORMAT_NO_FILE | VDISK_FORMAT_NO_PROBE,
	.open	= none_open,
	.map	= error_map,
	.walk	= none_walk,
};
