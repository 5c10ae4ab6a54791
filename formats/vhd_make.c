// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A new VHD.
 *
 *	fixed		the disk, footer
 *	dynamic		copy of the footer, header, BAT, footer
 *	differencing	copy of the footer, header, locator, BAT, footer
 *
 * Programs disagree whether geometry or a number of bytes is the size, and let
 * the name of the creator decide. So where geometry can say the size it does;
 * where it cannot, it is the largest there is, which all take for "look at the
 * bytes". Only Virtual PC does not.
 *
 * From: size_sec, unit_len, fixed, rounded, time, id, and the parent's.
 */
#include "make.h"
#include "vhd.h"

enum {
	EPOCH = 946684800,		/* 2000-01-01 in seconds since 1970 */
	W2RU = 0x57327275,		/* relative path, UTF-16LE */
	W2KU = 0x57326b75,		/* absolute path, UTF-16LE */
	LOCATOR_LEN = 4096,		/* bytes kept for the parent's path */
	NAME_UNITS = 256,		/* UTF-16 units in the header's name */
};

static_assert(LOCATOR_LEN <= VDISK_PIECE_MAX, "VHD locator is one piece");

#define BY_US 0x7664736b	/* "vdsk" */
#define WINDOWS 0x5769326b	/* "Wi2k", the file system's rules for names */

/*-----------------------------------------------------------------
 * Geometry, as the specification computes it
 */

static u64 chs_sectors(const struct vhd_chs *g)
{
	return (u64)g->cylinders * g->heads * g->sectors;
}

static const struct vhd_chs most_chs = { 65535, 16, 255 };

static struct vhd_chs chs_of(u64 sectors)
{
	struct vhd_chs g = { 0, 16, 255 };
	u64 tracks;

	if (sectors >= chs_sectors(&most_chs))
		return most_chs;
	tracks = vdisk_div(sectors, g.sectors);
	if (sectors < 65535ull * 16 * 63) {
		g.sectors = 17;
		tracks = vdisk_div(sectors, 17);
		g.heads = (u32)vdisk_max(vdisk_div_up(tracks, 1024), 4);
		if (tracks >= g.heads * 1024ull || g.heads > 16) {
			g.sectors = 31;
			g.heads = 16;
			tracks = vdisk_div(sectors, 31);
		}
		if (tracks >= g.heads * 1024ull) {
			g.sectors = 63;
			g.heads = 16;
			tracks = vdisk_div(sectors, 63);
		}
	}
	g.cylinders = (u32)vdisk_div(tracks, g.heads);
	return g;
}

/*
 * The shortest disk of at least @sectors whose geometry says its size. Geometry
 * leaves out at most a cylinder, so this ends after as many steps.
 */
static u64 round_up(u64 sectors)
{
	u64 try = sectors;
	struct vhd_chs g;

	if (sectors > chs_sectors(&most_chs))
		return sectors;
	do {
		g = chs_of(try++);
	} while (chs_sectors(&g) < sectors);
	return chs_sectors(&g);
}

struct vhd_chs vhd_geometry(u64 sectors)
{
	struct vhd_chs g = chs_of(sectors);

	return chs_sectors(&g) == sectors ? g : most_chs;
}

/*-----------------------------------------------------------------
 * The parent's name
 */

/* The next character of [*p, end), which is moved on; 0 = malformed. */
static u32 next_char(const char **p, const char *end)
{
	static const u32 least[] = { 0, 0x80, 0x800, 0x10000 };
	const u8 *b = (const u8 *)*p;
	u32 c = *b, more, i;

	more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 :
	       c >> 3 == 30 ? 3 : 4;
	if (more > 3 || (u64)(end - *p) <= more)
		return 0;
	if (more)
		c &= 0x3fu >> more;
	for (i = 1; i <= more; i++) {
		if (b[i] >> 6 != 2)
			return 0;
		c = c << 6 | (b[i] & 0x3f);
	}
	*p += more + 1;
	if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return c;
}

static u32 put_unit(u8 *to, u32 at, u32 unit, bool big)
{
	if (to)
		vdisk_store(to + 2 * (u64)at, unit, 2, big);
	return at + 1;
}

/*
 * [p, end) as UTF-16 to @to, if not NULL, with Windows' separators: its units,
 * or 0 if it cannot be said so.
 */
static u32 to_utf16(const char *p, const char *end, u8 *to, bool big)
{
	u32 c, at = 0;

	while (p < end) {
		c = next_char(&p, end);
		/* It would be read as a separator. */
		if (!c || c == '\\')
			return 0;
		if (c == '/')
			c = '\\';
		if (c < 0x10000) {
			at = put_unit(to, at, c, big);
			continue;
		}
		c -= 0x10000;
		at = put_unit(to, at, 0xd800 + (c >> 10), big);
		at = put_unit(to, at, 0xdc00 + (c & 0x3ff), big);
	}
	return at;
}

/* The last part of the parent's name. */
static const char *base_name(const struct vdisk_recipe *recipe)
{
	const char *p = recipe->parent + recipe->parent_len;

	while (p > recipe->parent && p[-1] != '/')
		p--;
	return p;
}

static const char *name_end(const struct vdisk_recipe *recipe)
{
	return recipe->parent + recipe->parent_len;
}

static bool is_absolute(const struct vdisk_recipe *recipe)
{
	return *recipe->parent == '/';
}

/* ".\" goes before a relative path. */
static u32 locator_units(const struct vdisk_recipe *recipe)
{
	u32 units = to_utf16(recipe->parent, name_end(recipe), NULL, false);

	return units + (is_absolute(recipe) ? 0 : 2);
}

static int check_parent(const struct vdisk_recipe *recipe,
			struct vdisk_layout *layout)
{
	const char *base = base_name(recipe);
	u32 units;

	if (!recipe->parent_len || base == name_end(recipe))
		return vdisk_unmakable(layout, "Parent's name is no file's",
				       recipe->parent_len);
	if (!to_utf16(recipe->parent, name_end(recipe), NULL, false))
		return vdisk_unmakable(layout,
				       "Parent's name cannot be told to Windows",
				       recipe->parent_len);
	units = to_utf16(base, name_end(recipe), NULL, true);
	if (units >= NAME_UNITS || 2 * locator_units(recipe) > LOCATOR_LEN)
		return vdisk_unmakable(layout, "Parent's name is too long",
				       recipe->parent_len);
	return 0;
}

/*-----------------------------------------------------------------
 * Layout
 */

/*
 * Every block must have a place whose sector an entry can name, even if each
 * starts where its data suits the medium.
 */
static bool blocks_fit(const struct vdisk_layout *layout, u64 block)
{
	u64 bitmap = vdisk_align(block / VDISK_SECTOR / 8, VDISK_SECTOR, 0);
	u64 place = vdisk_align(bitmap + block, VDISK_BLOCK, 0);

	return (layout->data_off + VDISK_BLOCK + layout->table_nr * place) /
		VDISK_SECTOR < VHD_FREE;
}

static int vhd_layout(const struct vdisk_recipe *recipe,
		      struct vdisk_layout *layout)
{
	u64 sectors = recipe->size_sec, block = recipe->unit_len;
	int r = 0;

	*layout = (struct vdisk_layout){ .size_sec = sectors };
	if (!sectors)
		return vdisk_unmakable(layout, "The disk is empty", 0);
	if (sectors > VHD_MAX_SECTORS && !recipe->fixed)
		return vdisk_unmakable(layout,
				       "VHD is larger than 2040 GiB, sectors",
				       sectors);
	if (sectors >= VHD_MAX_FIXED)
		return vdisk_unmakable(layout,
				       "Fixed VHD is too large, sectors",
				       sectors);
	if (recipe->rounded)
		sectors = layout->size_sec = round_up(sectors);
	layout->table_off = sectors * VDISK_SECTOR;
	if (!recipe->fixed) {
		if (!vdisk_pow2(block) || block < VHD_MIN_BLOCK ||
		    block > VHD_MAX_BLOCK)
			return vdisk_unmakable(layout,
				"Block size is not a power of 2, 4 KiB to 256 MiB",
				block);
		layout->table_off = VHD_FOOTER_LEN + VHD_HEADER_LEN;
		layout->table_nr = vdisk_div_up(sectors, block / VDISK_SECTOR);
		if (recipe->parent) {
			layout->table_off += LOCATOR_LEN;
			r = check_parent(recipe, layout);
		}
	}
	layout->data_off = vdisk_align(layout->table_off + layout->table_nr * 4,
				       VDISK_SECTOR, 0);
	layout->file_len = layout->data_off + VHD_FOOTER_LEN;
	if (!r && !recipe->fixed && !blocks_fit(layout, block))
		r = vdisk_unmakable(layout,
				    "Block size is too small for the disk",
				    block);
	return r;
}

static __be32 timestamp(u32 time)
{
	return to_be32(time > EPOCH ? time - EPOCH : 0);
}

static void put_footer(const struct vdisk_recipe *recipe,
		       const struct vdisk_layout *layout, u64 off,
		       struct vdisk_piece *piece)
{
	struct vhd_chs g = vhd_geometry(layout->size_sec);
	struct vhd_footer_disk f = {
		.cookie = "conectix",
		.features = to_be32(2),
		.version = to_be32(0x10000),
		.data_offset = to_be64(recipe->fixed ? VHD_NO_OFFSET :
				       VHD_FOOTER_LEN),
		.timestamp = timestamp(recipe->time),
		.creator_app = to_be32(BY_US),
		.creator_version = to_be32(0x10000),
		.creator_os = to_be32(WINDOWS),
		.original_size = to_be64(layout->size_sec * VDISK_SECTOR),
		.current_size = to_be64(layout->size_sec * VDISK_SECTOR),
		.cylinders = to_be16(g.cylinders),
		.heads = (u8)g.heads,
		.sectors = (u8)g.sectors,
		.disk_type = to_be32(recipe->fixed ? VHD_FIXED :
				     recipe->parent ? VHD_DIFFERENCING :
				     VHD_DYNAMIC),
	};

	memcpy(f.unique_id, recipe->id, sizeof(f.unique_id));
	f.checksum = to_be32(vhd_checksum(&f, sizeof(f),
			     offsetof(struct vhd_footer_disk, checksum)));
	piece->off = off;
	piece->len = sizeof(f);
	memcpy(piece->data, &f, sizeof(f));
}

static void put_header(const struct vdisk_recipe *recipe,
		       const struct vdisk_layout *layout,
		       struct vdisk_piece *piece)
{
	struct vhd_header_disk h = {
		.cookie = "cxsparse",
		.data_offset = to_be64(VHD_NO_OFFSET),
		.table_offset = to_be64(layout->table_off),
		.version = to_be32(0x10000),
		.max_table_entries = to_be32(layout->table_nr),
		.block_size = to_be32(recipe->unit_len),
	};

	if (recipe->parent) {
		memcpy(h.parent_unique_id, recipe->parent_id,
		       sizeof(h.parent_unique_id));
		h.parent_timestamp = timestamp(recipe->parent_time);
		to_utf16(base_name(recipe), name_end(recipe), h.parent_name,
			 true);
		h.locator[0] = (struct vhd_locator_disk){
			.code = to_be32(is_absolute(recipe) ? W2KU : W2RU),
			.data_space = to_be32(LOCATOR_LEN),
			.data_length = to_be32(2 * locator_units(recipe)),
			.data_offset = to_be64(VHD_FOOTER_LEN + VHD_HEADER_LEN),
		};
	}
	h.checksum = to_be32(vhd_checksum(&h, sizeof(h),
			     offsetof(struct vhd_header_disk, checksum)));
	piece->off = VHD_FOOTER_LEN;
	piece->len = sizeof(h);
	memcpy(piece->data, &h, sizeof(h));
}

static void put_locator(const struct vdisk_recipe *recipe,
			struct vdisk_piece *piece)
{
	static const u8 here[4] = { '.', 0, '\\', 0 };
	u8 *to = piece->data;

	piece->off = VHD_FOOTER_LEN + VHD_HEADER_LEN;
	piece->len = 2 * locator_units(recipe);
	if (!is_absolute(recipe)) {
		memcpy(to, here, sizeof(here));
		to += sizeof(here);
	}
	to_utf16(recipe->parent, name_end(recipe), to, false);
}

static void put_bat(const struct vdisk_layout *layout,
		    struct vdisk_piece *piece)
{
	piece->off = layout->table_off;
	piece->len = 0;
	piece->width = 4;
	piece->big = true;
	piece->count = (layout->data_off - layout->table_off) / 4;
	piece->value = VHD_FREE;
	piece->step = 0;
}

static bool vhd_piece(const struct vdisk_recipe *recipe,
		      const struct vdisk_layout *layout, u32 i,
		      struct vdisk_piece *piece)
{
	/* A fixed disk has the last of them only. */
	if (recipe->fixed)
		i += 3;
	switch (i) {
	case 0:
		put_footer(recipe, layout, 0, piece);
		return true;
	case 1:
		put_header(recipe, layout, piece);
		return true;
	case 2:
		put_bat(layout, piece);
		return true;
	case 3:
		put_footer(recipe, layout, layout->data_off, piece);
		return true;
	case 4:
		if (!recipe->parent || recipe->fixed)
			return false;
		put_locator(recipe, piece);
		return true;
	}
	return false;
}

const struct vdisk_maker vdisk_vhd_maker = {
	.format	= &vdisk_vhd_format,
	.layout	= vhd_layout,
	.piece	= vhd_piece,
};
