// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * New sparse extents of VMDK: hosted ("KDMV"), streams, and COWD of ESX. The
 * text that makes a disk of extents is not made here; who has it may have it
 * put into the file.
 *
 * From: size_sec, unit_len, zeroed (hosted only), text and text_len; COWD keeps
 * the parent's name.
 */
#include "make.h"
#include "vmdk.h"

enum {
	TEXT_SEC = 1,		/* sector of the text */
	TEXT_ROOM = 20,		/* sectors kept for it */
	GT_SECTORS = VMDK_MAX_GTES * VMDK_ENTRY_LEN / VDISK_SECTOR,
	STREAM_OVERHEAD = 128,	/* sectors before the first record, as others
				 * have it
				 */
	COWD_GT_SECTORS = COWD_GTES * VMDK_ENTRY_LEN / VDISK_SECTOR,
	COWD_NAME = 1024,	/* bytes for the parent's name, with a zero */
};

#define ENTRY_LIMIT (1ull << 32)	/* sectors that an entry can name */

static u64 dir_sectors(u64 entries)
{
	return vdisk_div_up(entries * VMDK_ENTRY_LEN, VDISK_SECTOR);
}

static int check_common(const struct vdisk_recipe *recipe,
			struct vdisk_layout *layout)
{
	u64 grain = recipe->unit_len;

	*layout = (struct vdisk_layout){ .size_sec = recipe->size_sec };
	if (!recipe->size_sec)
		return vdisk_unmakable(layout, "The disk is empty", 0);
	if (!vdisk_pow2(grain) || grain < VDISK_SECTOR)
		return vdisk_unmakable(layout,
				       "Grain size is not a power of two",
				       grain);
	if (recipe->text_len > TEXT_ROOM * VDISK_SECTOR)
		return vdisk_unmakable(layout,
				       "Descriptor is longer than 10240 bytes",
				       recipe->text_len);
	return 0;
}

/* Grain tables, and the limits of what two levels address. */
static int check_hosted(const struct vdisk_recipe *recipe,
			struct vdisk_layout *layout, u64 most_grain)
{
	u64 grain = recipe->unit_len / VDISK_SECTOR;
	int r = check_common(recipe, layout);

	if (r)
		return r;
	if (grain < VMDK_MIN_GRAIN || grain > most_grain)
		return vdisk_unmakable(layout,
				       most_grain == VMDK_MAX_GRAIN ?
				       "Grain size is not 4 KiB to 1 GiB" :
				       "Grain size is not 4 KiB to 1 MiB",
				       recipe->unit_len);
	layout->table_nr = vdisk_div_up(recipe->size_sec,
					grain * VMDK_MAX_GTES);
	if (layout->table_nr > VMDK_MAX_GDES)
		return vdisk_unmakable(layout,
				       "Disk is too long for a VMDK, sectors",
				       recipe->size_sec);
	return 0;
}

static struct vmdk_header_disk header(const struct vdisk_recipe *recipe,
				      const struct vdisk_layout *layout)
{
	bool text = recipe->text_len;

	return (struct vmdk_header_disk){
		.magic = to_le32(VMDK_MAGIC),
		.capacity = to_le64(layout->size_sec),
		.grain_size = to_le64(recipe->unit_len / VDISK_SECTOR),
		.desc_offset = to_le64(text ? TEXT_SEC : 0),
		.desc_size = to_le64(text ? TEXT_ROOM : 0),
		.num_gtes = to_le32(VMDK_MAX_GTES),
		.overhead = to_le64(layout->data_off / VDISK_SECTOR),
		.newline = { '\n', ' ', '\r', '\n' },
	};
}

static void put_bytes(struct vdisk_piece *piece, u64 off, const void *bytes,
		      u32 len)
{
	piece->off = off;
	piece->len = len;
	memcpy(piece->data, bytes, len);
}

/* The @i-th piece of the text. */
static bool put_text(const struct vdisk_recipe *recipe, u32 i,
		     struct vdisk_piece *piece)
{
	u32 at = i * VDISK_PIECE_MAX;

	if (i > TEXT_ROOM || at >= recipe->text_len)
		return false;
	put_bytes(piece, TEXT_SEC * VDISK_SECTOR + at, recipe->text + at,
		  (u32)vdisk_min(recipe->text_len - at, VDISK_PIECE_MAX));
	return true;
}

/*-----------------------------------------------------------------
 * Hosted sparse: two directories, each with all its tables behind it
 */

static u64 set_sectors(const struct vdisk_layout *layout)
{
	return dir_sectors(layout->table_nr) + layout->table_nr * GT_SECTORS;
}

static int vmdk_layout(const struct vdisk_recipe *recipe,
		       struct vdisk_layout *layout)
{
	u64 grain = recipe->unit_len / VDISK_SECTOR, first, data;
	int r = check_hosted(recipe, layout, VMDK_MAX_GRAIN);

	if (r)
		return r;
	/* Sector 1 is no directory: an entry of 1 is special. */
	first = TEXT_SEC + (recipe->text_len ? TEXT_ROOM : 1);
	data = vdisk_align(first + 2 * set_sectors(layout), grain, 0);
	if (data + vdisk_align(recipe->size_sec, grain, 0) > ENTRY_LIMIT)
		return vdisk_unmakable(layout,
				       "Disk and tables exceed 2 TiB, sectors",
				       recipe->size_sec);
	layout->table_off = first * VDISK_SECTOR;
	layout->data_off = data * VDISK_SECTOR;
	layout->file_len = layout->data_off;
	return 0;
}

/* The directory at sector @sector. */
static void put_dir(const struct vdisk_layout *layout, u64 sector,
		    struct vdisk_piece *piece)
{
	piece->off = sector * VDISK_SECTOR;
	piece->len = 0;
	piece->width = VMDK_ENTRY_LEN;
	piece->big = false;
	piece->count = layout->table_nr;
	piece->value = sector + dir_sectors(layout->table_nr);
	piece->step = GT_SECTORS;
}

static bool vmdk_piece(const struct vdisk_recipe *recipe,
		       const struct vdisk_layout *layout, u32 i,
		       struct vdisk_piece *piece)
{
	u64 rgd = layout->table_off / VDISK_SECTOR;
	u64 gd = rgd + set_sectors(layout);
	struct vmdk_header_disk h;

	if (!i) {
		h = header(recipe, layout);
		h.version = to_le32(recipe->zeroed ? 2 : 1);
		h.flags = to_le32(VMDK_NEWLINES | VMDK_REDUNDANT |
				  (recipe->zeroed ? VMDK_ZEROED : 0));
		h.rgd_offset = to_le64(rgd);
		h.gd_offset = to_le64(gd);
		put_bytes(piece, 0, &h, sizeof(h));
		return true;
	}
	if (i <= 2) {
		put_dir(layout, i == 1 ? rgd : gd, piece);
		return true;
	}
	return put_text(recipe, i - 3, piece);
}

const struct vdisk_maker vdisk_vmdk_maker = {
	.format	= &vdisk_vmdk_format,
	.layout	= vmdk_layout,
	.piece	= vmdk_piece,
};

/*-----------------------------------------------------------------
 * Streams: the header says that the footer says where the directory is
 */

static int stream_layout(const struct vdisk_recipe *recipe,
			 struct vdisk_layout *layout)
{
	int r = check_hosted(recipe, layout, VMDK_MAX_PACKED);
	u64 end;

	if (r)
		return r;
	layout->data_off = STREAM_OVERHEAD * VDISK_SECTOR;
	layout->table_off = layout->data_off + VDISK_SECTOR;
	end = layout->table_off +
	      dir_sectors(layout->table_nr) * VDISK_SECTOR;
	layout->file_len = end + VMDK_TAIL_LEN;
	return 0;
}

static struct vmdk_header_disk stream_header(const struct vdisk_recipe *recipe,
					     const struct vdisk_layout *layout,
					     u64 gd)
{
	struct vmdk_header_disk h = header(recipe, layout);

	h.version = to_le32(3);
	h.flags = to_le32(VMDK_NEWLINES | VMDK_COMPRESSED | VMDK_MARKERS);
	h.gd_offset = to_le64(gd);
	h.compression = to_le16(1);
	return h;
}

void vdisk_stream_record(u64 first_sec, u32 packed_len, u8 *head)
{
	struct vmdk_marker_disk m = {
		.value = to_le64(first_sec), .size = to_le32(packed_len),
	};

	memcpy(head, &m, VMDK_GRAIN_HEAD);
}

void vdisk_stream_marker(u64 sectors, u32 type, u8 *sector)
{
	struct vmdk_marker_disk m = {
		.value = to_le64(sectors), .type = to_le32(type),
	};

	memset(sector, 0, VDISK_SECTOR);
	memcpy(sector, &m, sizeof(m));
}

void vdisk_stream_footer(const struct vdisk_recipe *recipe,
			 const struct vdisk_layout *layout, u64 gd_sec,
			 u8 *sector)
{
	struct vmdk_header_disk h = stream_header(recipe, layout, gd_sec);

	memcpy(sector, &h, sizeof(h));
}

/* A stream without a grain. Its directory is zero, and so is the end marker. */
static bool stream_piece(const struct vdisk_recipe *recipe,
			 const struct vdisk_layout *layout, u32 i,
			 struct vdisk_piece *piece)
{
	u64 end = layout->file_len - VMDK_TAIL_LEN;
	struct vmdk_header_disk h;

	switch (i) {
	case 0:
		h = stream_header(recipe, layout, VMDK_IN_FOOTER);
		put_bytes(piece, 0, &h, sizeof(h));
		return true;
	case 1:
		piece->off = layout->data_off;
		piece->len = VDISK_SECTOR;
		vdisk_stream_marker(dir_sectors(layout->table_nr),
				    VMDK_MARK_GD, piece->data);
		return true;
	case 2:
		piece->off = end;
		piece->len = VDISK_SECTOR;
		vdisk_stream_marker(1, VMDK_MARK_FOOTER, piece->data);
		return true;
	case 3:
		piece->off = end + VDISK_SECTOR;
		piece->len = VDISK_SECTOR;
		vdisk_stream_footer(recipe, layout,
				    layout->table_off / VDISK_SECTOR,
				    piece->data);
		return true;
	}
	return put_text(recipe, i - 4, piece);
}

const struct vdisk_maker vdisk_stream_maker = {
	.format	= &vdisk_vmdk_format,
	.layout	= stream_layout,
	.piece	= stream_piece,
};

/*-----------------------------------------------------------------
 * COWD: one directory, tables when they are needed
 */

static int cowd_layout(const struct vdisk_recipe *recipe,
		       struct vdisk_layout *layout)
{
	u64 grain = recipe->unit_len / VDISK_SECTOR, end;
	int r = check_common(recipe, layout);

	if (r)
		return r;
	if (grain > COWD_MAX_GRAIN)
		return vdisk_unmakable(layout, "Grain size is over 1 MiB",
				       recipe->unit_len);
	layout->table_nr = vdisk_div_up(recipe->size_sec, grain * COWD_GTES);
	layout->table_off = COWD_HEADER_LEN;
	layout->data_off = COWD_HEADER_LEN +
			   dir_sectors(layout->table_nr) * VDISK_SECTOR;
	layout->file_len = layout->data_off;
	end = layout->data_off / VDISK_SECTOR +
	      layout->table_nr * COWD_GT_SECTORS +
	      vdisk_align(recipe->size_sec, grain, 0);
	/* freeSector must be able to name the end. */
	if (end >= ENTRY_LIMIT)
		return vdisk_unmakable(layout,
				       "Disk and tables exceed 2 TiB, sectors",
				       recipe->size_sec);
	if (recipe->parent && recipe->parent_len >= COWD_NAME)
		return vdisk_unmakable(layout,
				       "Parent's name is over 1023 bytes",
				       recipe->parent_len);
	return 0;
}

static bool cowd_piece(const struct vdisk_recipe *recipe,
		       const struct vdisk_layout *layout, u32 i,
		       struct vdisk_piece *piece)
{
	enum { HEADS = 16, TRACK = 63 };	/* of a hint */
	struct cowd_header_disk h = {
		.magic = to_le32(COWD_MAGIC),
		.version = to_le32(1),
		.flags = to_le32(3),
		.capacity = to_le32(layout->size_sec),
		.grain_size = to_le32(recipe->unit_len / VDISK_SECTOR),
		.gd_offset = to_le32(layout->table_off / VDISK_SECTOR),
		.num_gdes = to_le32(layout->table_nr),
		.free_sector = to_le32(layout->file_len / VDISK_SECTOR),
		.generation = to_le32(1),
	};

	const __le32 chs[] = {
		to_le32(layout->size_sec / (HEADS * TRACK)), to_le32(HEADS),
		to_le32(TRACK),
	};

	if (i)
		return false;
	if (recipe->parent)
		memcpy(h.origin, recipe->parent, recipe->parent_len);
	else
		memcpy(h.origin, chs, sizeof(chs));
	put_bytes(piece, 0, &h, sizeof(h));
	return true;
}

const struct vdisk_maker vdisk_cowd_maker = {
	.format	= &vdisk_cowd_format,
	.layout	= cowd_layout,
	.piece	= cowd_piece,
};
