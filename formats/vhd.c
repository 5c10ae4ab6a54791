// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * VHD: fixed, dynamic and differencing.
 *
 * A block is a bitmap, one bit a sector, and behind it the data. The BAT holds
 * the sector where the block's bitmap starts. In a dynamic disk a clear bit
 * reads zero, in a differencing disk it reads the parent, sector by sector.
 *
 * The footer must stay the last thing in the file, where the next block wants
 * to go: grow() makes the new footer durable before anything overwrites the
 * old one. A new block of a dynamic disk has all bits set from the start, its
 * unwritten sectors being zero in the file; a new block of a differencing disk
 * starts with a zero bitmap, and its bits are published with the BAT entry.
 */
#include "format.h"
#include "vhd.h"

enum vhd_priv {
	TYPE,
	BAT_OFF,	/* bytes */
	BAT_ENTRIES,
	BAT_LEN,	/* bytes, to the end of its last sector */
	BLOCK_SHIFT,	/* log2 of sectors in a block */
	BITMAP_LEN,	/* bytes, whole sectors */
	HEADER_OFF,	/* bytes */
	CURRENT_SEC,	/* size by current_size */
	CHS_SEC,	/* size by geometry */
	CREATOR,
	CREATOR_VERSION,
	SIZE_BY_CHS,
	NO_TRAILER,	/* only the copy at 0 was good */
	ENCRYPTED,	/* by blktap: never opened */
	NR_PRIV,
};

static_assert(NR_PRIV <= VDISK_GEOM_PRIV, "VHD numbers fit the geometry");

static bool footer_good(struct vhd_footer_disk *f)
{
	u32 want = be32_of(f->checksum);
	u32 at = offsetof(struct vhd_footer_disk, checksum);
	u8 hidden = f->hidden;
	bool good;

	if (memcmp(f->cookie, "conectix", 8))
		return false;
	if (vhd_checksum(f, sizeof(*f), at) == want)
		return true;
	/* Early blktap hid disks without a new checksum. */
	if (be32_of(f->creator_app) != VHD_BY_BLKTAP || !hidden)
		return false;
	f->hidden = 0;
	good = vhd_checksum(f, sizeof(*f), at) == want;
	f->hidden = hidden;
	return good;
}

/* Bytes of the footer at the end of a file this long; 0 = none can be there. */
static u32 trailer_len(u64 file_len)
{
	u32 odd = file_len % VDISK_SECTOR;

	if (odd == VHD_OLD_FOOTER_LEN)
		return VHD_OLD_FOOTER_LEN;
	return odd || file_len < VHD_FOOTER_LEN ? 0 : VHD_FOOTER_LEN;
}

static int vhd_probe(const u8 *head, u32 head_len, const u8 *tail, u32 tail_len)
{
	struct vhd_footer_disk f;
	u32 len = trailer_len(tail_len);
	bool cookie = false;

	if (len) {
		memset(&f, 0, sizeof(f));
		memcpy(&f, tail + tail_len - len, len);
		if (footer_good(&f))
			return 100;
		cookie = !memcmp(f.cookie, "conectix", 8);
	}
	if (head_len >= sizeof(f)) {
		memcpy(&f, head, sizeof(f));
		if (footer_good(&f))
			return 60;
		cookie |= !memcmp(f.cookie, "conectix", 8);
	}
	/* Damaged: open() says how. */
	return cookie ? 10 : 0;
}

static int bad_footer(struct vdisk_step *step, const struct vhd_footer_disk *f)
{
	return vdisk_bad_sum(step, "VHD footer and its copy are damaged",
			     be32_of(f->checksum),
			     vhd_checksum(f, sizeof(*f),
					  offsetof(struct vhd_footer_disk,
						   checksum)));
}

/*
 * The trailing footer decides: the first sectors of a fixed disk are the
 * guest's to forge. The copy counts only where there is no good trailer.
 */
static int find_footer(const struct vdisk_params *params,
		       struct vdisk_step *step, struct vhd_footer_disk *f,
		       struct vdisk_geom *geom)
{
	u32 len = trailer_len(params->file_len);
	struct vhd_footer_disk copy;
	bool trailer = false;
	int r;

	if (params->file_len < VHD_FOOTER_LEN)
		return vdisk_bad(step, "File is shorter than a VHD footer",
				 params->file_len);
	memset(f, 0, sizeof(*f));
	if (len) {
		r = vdisk_copy(step, params->file_len - len, f, len);
		if (r)
			return r;
		trailer = footer_good(f);
	}
	if (trailer && be32_of(f->disk_type) == VHD_FIXED)
		return 0;

	r = vdisk_copy(step, 0, &copy, sizeof(copy));
	if (r)
		return r;
	if (!footer_good(&copy)) {
		bool cookie = !memcmp(copy.cookie, "conectix", 8);

		if (!trailer && !cookie && memcmp(f->cookie, "conectix", 8))
			return vdisk_bad(step, "No VHD footer found",
					 params->file_len);
		if (!trailer && !params->lenient)
			return bad_footer(step, cookie ? &copy : f);
		if (!trailer && cookie)
			*f = copy;
		geom->flags |= VDISK_GEOM_RDONLY;
		geom->why_ro = trailer ? "Copy of the VHD footer is damaged" :
			       "VHD footer and its copy are damaged";
		return 0;
	}
	if (!trailer) {
		*f = copy;
		geom->priv[NO_TRAILER] = 1;
	} else if (memcmp(f, &copy, sizeof(copy))) {
		geom->flags |= VDISK_GEOM_RDONLY;
		geom->why_ro = "VHD footer and its copy differ";
	}
	return 0;
}

static int check_footer(struct vdisk_step *step,
			const struct vhd_footer_disk *f, struct vdisk_geom *geom)
{
	u32 type = be32_of(f->disk_type);

	if (be32_of(f->version) >> 16 != 1)
		return vdisk_bad(step, "Unknown VHD version",
				 be32_of(f->version));
	if (type < VHD_FIXED || type > VHD_DIFFERENCING)
		return vdisk_bad(step, "Unknown VHD disk type", type);
	if (type == VHD_FIXED && geom->priv[NO_TRAILER])
		return vdisk_bad(step, "Fixed VHD without a trailing footer", 0);
	if (f->saved_state) {
		geom->flags |= VDISK_GEOM_RDONLY;
		geom->why_ro = "Image belongs to a saved machine state";
	}
	geom->priv[TYPE] = type;
	geom->priv[CREATOR] = be32_of(f->creator_app);
	geom->priv[CREATOR_VERSION] = be32_of(f->creator_version);
	memcpy(geom->id, f->unique_id, sizeof(geom->id));
	memcpy(geom->tail, f, sizeof(*f));
	geom->tail_len = sizeof(*f);
	return 0;
}

/* Which field tells the size depends on who made the image. */
static bool size_is_chs(const struct vdisk_params *params,
			const struct vdisk_geom *geom)
{
	const u64 most = 65535ull * 16 * 255;
	u64 chs = geom->priv[CHS_SEC], current = geom->priv[CURRENT_SEC];

	if (params->size_rule != VDISK_SIZE_AUTO)
		return params->size_rule == VDISK_SIZE_CHS;
	if (!chs || chs == most || chs > current)
		return false;
	switch (geom->priv[CREATOR]) {
	case VHD_BY_VIRTUAL_PC:
	case VHD_BY_VIRTUAL_SERVER:
		return true;
	case VHD_BY_QEMU:
		return geom->priv[TYPE] != VHD_FIXED ||
		       params->file_len != (current + 1) * VDISK_SECTOR;
	}
	return false;
}

static int set_size(const struct vdisk_params *params, struct vdisk_step *step,
		    const struct vhd_footer_disk *f, struct vdisk_geom *geom)
{
	u64 bytes = be64_of(f->current_size);

	geom->priv[CURRENT_SEC] = bytes >> VDISK_SHIFT;
	geom->priv[CHS_SEC] = (u64)be16_of(f->cylinders) * f->heads * f->sectors;
	geom->priv[SIZE_BY_CHS] = size_is_chs(params, geom);
	geom->size_sec = geom->priv[geom->priv[SIZE_BY_CHS] ? CHS_SEC : CURRENT_SEC];
	if (!geom->size_sec)
		return vdisk_bad(step, "The disk is empty", bytes);
	/* Whoever makes larger fixed ones (Azure: 32 TiB) needs no table. */
	if (geom->size_sec > VHD_MAX_SECTORS && geom->priv[TYPE] != VHD_FIXED)
		return vdisk_bad(step, "VHD is larger than 2040 GiB", bytes);
	return 0;
}

static int open_fixed(const struct vdisk_params *params,
		      struct vdisk_step *step, struct vdisk_geom *geom)
{
	u64 room = params->file_len - trailer_len(params->file_len);

	if (geom->size_sec * VDISK_SECTOR > room)
		return vdisk_bad(step, "Fixed VHD is larger than its file",
				 geom->size_sec * VDISK_SECTOR);
	geom->unit_sec = 1;
	geom->unit_len = VDISK_SECTOR;
	geom->unit_align = VDISK_SECTOR;
	geom->data_end = room;
	geom->alloc_off = room;
	geom->flags |= VDISK_GEOM_NO_ALLOC;
	return 0;
}

static int check_header(const struct vdisk_params *params,
			struct vdisk_step *step, const struct vhd_header_disk *h,
			u64 header_off)
{
	u32 sum_at = offsetof(struct vhd_header_disk, checksum);
	u64 bat = be64_of(h->table_offset);
	u64 bat_len = be32_of(h->max_table_entries) * 4ull;
	u32 block = be32_of(h->block_size);

	if (memcmp(h->cookie, "cxsparse", 8))
		return vdisk_bad(step, "VHD dynamic header not found",
				 header_off);
	if (vhd_checksum(h, sizeof(*h), sum_at) != be32_of(h->checksum))
		return vdisk_bad_sum(step, "VHD header checksum is wrong",
				     be32_of(h->checksum),
				     vhd_checksum(h, sizeof(*h), sum_at));
	if (be32_of(h->version) >> 16 != 1)
		return vdisk_bad(step, "Unknown VHD header version",
				 be32_of(h->version));
	if (!vdisk_pow2(block))
		return vdisk_bad(step, "VHD block size is not a power of two",
				 block);
	if (block < VHD_MIN_BLOCK || block > VHD_MAX_BLOCK)
		return vdisk_bad(step, "VHD block size is not 4 KiB to 256 MiB",
				 block);
	if (bat % VDISK_SECTOR || bat < VHD_FOOTER_LEN)
		return vdisk_bad(step, "BAT offset is not a data sector", bat);
	if (bat > params->file_len || bat_len > params->file_len - bat)
		return vdisk_bad(step, "BAT reaches past the end of the file",
				 bat_len / 4);
	if (bat < header_off + VHD_HEADER_LEN && header_off < bat + bat_len)
		return vdisk_bad(step, "BAT overlaps the VHD header", bat);
	return 0;
}

/* Nothing but the creator says that blktap's map may be behind the BAT: or 0. */
static u64 batmap_off(const struct vdisk_geom *geom, u64 file_len)
{
	u64 off = vdisk_align(geom->priv[BAT_OFF] + geom->priv[BAT_ENTRIES] * 4,
			      VDISK_SECTOR, 0);

	if (geom->priv[CREATOR] != VHD_BY_BLKTAP || off > file_len ||
	    file_len - off < VDISK_SECTOR)
		return 0;
	return off;
}

/* The map's header also says whether blktap encrypted the blocks. */
static int check_batmap(const struct vdisk_params *params,
			struct vdisk_step *step, struct vdisk_geom *geom)
{
	u64 off = batmap_off(geom, params->file_len);
	struct vhd_batmap_disk map;

	if (!off)
		return 0;
	/* Footer, copy, header and this are all the views that there are. */
	if (geom->priv[HEADER_OFF] % VDISK_BLOCK > VDISK_BLOCK - VHD_HEADER_LEN)
		return vdisk_bad(step, "VHD header of blktap crosses a block",
				 geom->priv[HEADER_OFF]);
	if (vdisk_copy(step, off, &map, sizeof(map)))
		return -EAGAIN;
	if (!memcmp(map.cookie, "tdbatmap", sizeof(map.cookie)) &&
	    map.key == VHD_KEY_HASHED) {
		geom->priv[ENCRYPTED] = 1;
		return vdisk_bad(step, "VHD blocks are encrypted", map.key);
	}
	return 0;
}

/*
 * Where blocks may be looked for and put: behind the header and the BAT, unless
 * there is room for a block in front of either. The specification lets both lie
 * anywhere, and some writers put the BAT behind the blocks.
 */
static u64 first_block(const struct vdisk_geom *geom)
{
	u64 header = geom->priv[HEADER_OFF], bat = geom->priv[BAT_OFF];
	u64 off = VHD_FOOTER_LEN;
	u32 i;

	for (i = 0; i < 2; i++) {
		if (header >= off && header - off < geom->unit_len)
			off = header + VHD_HEADER_LEN;
		if (bat >= off && bat - off < geom->unit_len)
			off = bat + geom->priv[BAT_LEN];
	}
	return off;
}

static int open_sparse(const struct vdisk_params *params,
		       struct vdisk_step *step, u64 header_off,
		       struct vdisk_geom *geom)
{
	struct vhd_header_disk h;
	u64 bat, entries;
	u32 block;
	int r;

	if (header_off % VDISK_SECTOR || header_off < VHD_FOOTER_LEN ||
	    header_off > params->file_len ||
	    params->file_len - header_off < VHD_HEADER_LEN)
		return vdisk_bad(step, "VHD header offset is outside the file",
				 header_off);
	r = vdisk_copy(step, header_off, &h, sizeof(h));
	if (!r)
		r = check_header(params, step, &h, header_off);
	if (r)
		return r;

	bat = be64_of(h.table_offset);
	entries = be32_of(h.max_table_entries);
	block = be32_of(h.block_size);
	if (entries * (block / VDISK_SECTOR) < geom->size_sec)
		return vdisk_bad(step, "BAT is too short for the disk", entries);

	geom->unit_sec = block / VDISK_SECTOR;
	geom->priv[BAT_OFF] = bat;
	geom->priv[BAT_ENTRIES] = entries;
	geom->priv[BAT_LEN] = vdisk_align(entries * 4, VDISK_SECTOR, 0);
	geom->priv[BLOCK_SHIFT] = (u64)__builtin_ctzll(geom->unit_sec);
	geom->priv[HEADER_OFF] = header_off;
	geom->priv[BITMAP_LEN] = vdisk_align(geom->unit_sec / 8, VDISK_SECTOR, 0);
	geom->unit_len = geom->priv[BITMAP_LEN] + block;
	geom->data_off = first_block(geom);

	/* Data on 4 KiB boundaries suits every medium; the bitmap precedes it. */
	geom->unit_align = VDISK_BLOCK;
	geom->unit_base = -geom->priv[BITMAP_LEN] & (VDISK_BLOCK - 1);
	if (params->device)
		geom->flags |= VDISK_GEOM_NO_TAIL;
	if (geom->priv[NO_TRAILER]) {
		geom->data_end = params->file_len & ~(u64)(VDISK_SECTOR - 1);
		geom->flags |= VDISK_GEOM_SCAN;
	} else {
		geom->data_end = params->file_len - trailer_len(params->file_len);
	}
	geom->alloc_off = vdisk_align(vdisk_max(geom->data_end, geom->data_off),
				      geom->unit_align, geom->unit_base);
	if (geom->priv[TYPE] == VHD_DIFFERENCING) {
		geom->flags |= VDISK_GEOM_PARENT;
		memcpy(geom->parent_id, h.parent_unique_id,
		       sizeof(geom->parent_id));
	}
	return check_batmap(params, step, geom);
}

/* For who only looks: what the footer says, though the rest cannot be used. */
static int footer_alone(struct vdisk_step *step, struct vdisk_geom *geom)
{
	geom->flags |= VDISK_GEOM_RDONLY | VDISK_GEOM_NO_ALLOC;
	geom->why_ro = step->why;
	geom->ro_value = step->value;
	geom->unit_sec = 1;
	return 0;
}

static int vhd_open(const struct vdisk_params *params, struct vdisk_step *step,
		    struct vdisk_geom *geom)
{
	struct vhd_footer_disk f;
	int r;

	*geom = (struct vdisk_geom){ 0 };
	r = find_footer(params, step, &f, geom);
	if (!r)
		r = check_footer(step, &f, geom);
	if (!r)
		r = set_size(params, step, &f, geom);
	if (r)
		return r;
	if (geom->priv[TYPE] == VHD_FIXED)
		r = open_fixed(params, step, geom);
	else
		r = open_sparse(params, step, be64_of(f.data_offset), geom);
	if (r == -EUCLEAN && params->lenient && !geom->priv[ENCRYPTED])
		r = footer_alone(step, geom);
	if (!r && params->size_sec > geom->size_sec)
		r = vdisk_bad(step, "Image is smaller than the extent",
			      geom->size_sec);
	return r;
}

static bool overlap(u64 a, u64 a_len, u64 b, u64 b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* The copy of the footer, the header and the BAT are all that is always there. */
static bool in_headers(const struct vdisk_geom *geom, u64 off)
{
	u64 len = geom->unit_len;

	return off < VHD_FOOTER_LEN ||
	       overlap(off, len, geom->priv[HEADER_OFF], VHD_HEADER_LEN) ||
	       overlap(off, len, geom->priv[BAT_OFF], geom->priv[BAT_LEN]);
}

/* How many blocks fit from @off on, where a sound one is. */
static u64 blocks_fit(const struct vdisk_geom *geom,
		      const struct vdisk_step *step, u64 off)
{
	u64 end = step->data_end;

	if (geom->priv[HEADER_OFF] > off)
		end = vdisk_min(end, geom->priv[HEADER_OFF]);
	if (geom->priv[BAT_OFF] > off)
		end = vdisk_min(end, geom->priv[BAT_OFF]);
	return vdisk_div(end - off, geom->unit_len);
}

/* Where block @e's bitmap starts, checked; 0 with step->why if it is wrong. */
static u64 block_off(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u32 e)
{
	u64 off = (u64)e * VDISK_SECTOR;

	if (in_headers(geom, off))
		vdisk_bad(step, "BAT entry points into the headers", e);
	else if (step->data_end < geom->unit_len ||
		 off > step->data_end - geom->unit_len)
		vdisk_bad(step, "BAT entry points past the data area", e);
	else
		return off;
	return 0;
}

/* How many of the @n bits from bit @first on equal the first, MSB first. */
static u64 run_of_bits(const u8 *map, u64 first, u64 n, bool *set)
{
	u64 i = first, end = first + n;
	u8 same;

	*set = map[i >> 3] & (0x80 >> (i & 7));
	same = *set ? 0xff : 0;
	while (i < end) {
		if (!(i & 7) && map[i >> 3] == same)
			i += 8;
		else if (!(map[i >> 3] & (0x80 >> (i & 7))) == !*set)
			i++;
		else
			break;
	}
	return vdisk_min(i, end) - first;
}

/* Blocks without a place from @blk on, as far as the view of the BAT goes. */
static u64 free_blocks(const struct vdisk_geom *geom,
		       const struct vdisk_step *step, u64 blk, u64 most)
{
	const u8 *e;
	u32 len;

	most = vdisk_min(most, geom->priv[BAT_ENTRIES] - blk);
	if (most == 1)
		return 1;
	len = vdisk_have(step, geom->priv[BAT_OFF] + blk * 4,
			 (u32)vdisk_min(most * 4, VDISK_BLOCK), &e);
	return vdisk_count_up(e, len / 4, VHD_FREE, 0, true);
}

static int vhd_map(const struct vdisk_geom *geom, struct vdisk_step *step,
		   u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	const u32 shift = (u32)geom->priv[BLOCK_SHIFT];
	u64 in = sector & (geom->unit_sec - 1), n, off, byte;
	const u8 *p;
	bool set;
	u32 e;

	extent->kind = VDISK_DATA;
	if (geom->flags & VDISK_GEOM_NO_ALLOC) {
		extent->off = sector * VDISK_SECTOR;
		extent->sectors = sectors;
		return 0;
	}

	p = vdisk_want(step, geom->priv[BAT_OFF] + (sector >> shift) * 4, 4);
	if (!p)
		return -EAGAIN;
	e = vdisk_be32(p);
	if (e == VHD_FREE) {
		n = free_blocks(geom, step, sector >> shift,
				((in + sectors - 1) >> shift) + 1);
		extent->kind = geom->flags & VDISK_GEOM_PARENT ? VDISK_PARENT
							       : VDISK_ZERO;
		extent->sectors = vdisk_min(sectors, (n << shift) - in);
		return 0;
	}
	off = block_off(geom, step, e);
	if (!off)
		return -EUCLEAN;

	/* The bits of this run that lie in one VDISK_BLOCK of the file. */
	byte = off + in / 8;
	n = vdisk_min(sectors, geom->unit_sec - in);
	n = vdisk_min(n, (VDISK_BLOCK - (byte & (VDISK_BLOCK - 1))) * 8 - (in & 7));
	p = vdisk_want(step, byte, (u32)((n + (in & 7) + 7) / 8));
	if (!p)
		return -EAGAIN;
	extent->sectors = run_of_bits(p, in & 7, n, &set);
	extent->off = off + geom->priv[BITMAP_LEN] + in * VDISK_SECTOR;
	if (!set)
		extent->kind = geom->flags & VDISK_GEOM_PARENT ? VDISK_PARENT
							       : VDISK_ZERO;
	return 0;
}

/* A new block: its bitmap with DATA, its BAT entry (and bits) with PUBLISH. */
static int new_block(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 blk, u64 in, struct vdisk_plan *plan)
{
	u64 off, bitmap = geom->priv[BITMAP_LEN];
	u32 bits = (u32)geom->unit_sec / 8;	/* bytes of bitmap in use */

	if (!vdisk_want_unit(step, geom, (u32)geom->unit_len, 1))
		return -EAGAIN;
	off = step->unit.off;
	if (off >= (u64)VHD_FREE * VDISK_SECTOR)
		return vdisk_full(step, "VHD file is full at 2 TiB", off);

	if (geom->flags & VDISK_GEOM_PARENT) {
		vdisk_plan_zero(plan, VDISK_IN_DATA, off, bitmap);
		vdisk_plan_bits(plan, VDISK_PUBLISH, off, in,
				(u32)plan->sectors, true);
		plan->fill = VDISK_FILL_NONE;
	} else {
		vdisk_plan_set(plan, VDISK_IN_DATA, off, 1, true, bits, 0xff, 0);
		if (bits < bitmap)
			vdisk_plan_zero(plan, VDISK_IN_DATA, off + bits,
					bitmap - bits);
		plan->fill = VDISK_FILL_ZERO;
	}
	vdisk_plan_set(plan, VDISK_PUBLISH, geom->priv[BAT_OFF] + blk * 4, 4,
		       true, 1, off / VDISK_SECTOR, 0);
	plan->first_sec = blk * geom->unit_sec;
	plan->made_sec = geom->unit_sec;
	plan->first_off = off + bitmap;
	plan->data_off = plan->first_off + in * VDISK_SECTOR;
	return 0;
}

static int vhd_alloc(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_ask *ask, struct vdisk_plan *plan)
{
	u64 blk = ask->sector >> geom->priv[BLOCK_SHIFT];
	u64 in = ask->sector & (geom->unit_sec - 1), off;
	const u8 *p;
	u32 e;

	p = vdisk_want(step, geom->priv[BAT_OFF] + blk * 4, 4);
	if (!p)
		return -EAGAIN;
	*plan = (struct vdisk_plan){
		.sectors = vdisk_min(ask->sectors, geom->unit_sec - in),
	};
	e = vdisk_be32(p);
	if (e == VHD_FREE)
		return new_block(geom, step, blk, in, plan);

	/* The block is there, the sectors' bits are not. */
	off = block_off(geom, step, e);
	if (!off)
		return -EUCLEAN;
	plan->fill = VDISK_FILL_NONE;
	plan->data_off = off + geom->priv[BITMAP_LEN] + in * VDISK_SECTOR;
	vdisk_plan_bits(plan, VDISK_PUBLISH, off, in, (u32)plan->sectors, true);
	return 0;
}

/*
 * A whole block of a dynamic disk is given back. Parts of one keep their place:
 * other programs ignore the bitmap, so a clear bit over old bytes would show
 * them. blktap's batmap would have to be cleared first.
 */
static int vhd_discard(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 sector, u64 sectors, bool unmap,
		       struct vdisk_plan *plan)
{
	u64 blk = sector >> geom->priv[BLOCK_SHIFT];
	u64 in = sector & (geom->unit_sec - 1), off, end;
	const u8 *p;
	u32 e;

	*plan = (struct vdisk_plan){
		.sectors = vdisk_min(sectors, geom->unit_sec - in),
	};
	end = vdisk_min((blk + 1) * geom->unit_sec, geom->size_sec);
	if (in || sector + sectors < end ||
	    geom->flags & (VDISK_GEOM_PARENT | VDISK_GEOM_NO_ALLOC) ||
	    geom->priv[CREATOR] == VHD_BY_BLKTAP)
		return 0;
	p = vdisk_want(step, geom->priv[BAT_OFF] + blk * 4, 4);
	if (!p)
		return -EAGAIN;
	e = vdisk_be32(p);
	if (e == VHD_FREE)
		return 0;
	off = block_off(geom, step, e);
	if (!off)
		return -EUCLEAN;
	vdisk_plan_set(plan, VDISK_PUBLISH, geom->priv[BAT_OFF] + blk * 4, 4,
		       true, 1, VHD_FREE, 0);
	plan->freed_off = off;
	plan->freed_len = geom->unit_len;
	return 0;
}

static int vhd_grow(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 new_end, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	vdisk_plan_length(plan, VDISK_BEFORE, new_end + geom->tail_len);
	vdisk_plan_tail(plan, VDISK_BEFORE, new_end);
	return 0;
}

static int vhd_trim(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 end, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	vdisk_plan_tail(plan, VDISK_BEFORE, end);
	vdisk_plan_length(plan, VDISK_PUBLISH, end + geom->tail_len);
	return 0;
}

enum vhd_walk {			/* *cursor */
	WALK_COPY,
	WALK_HEADER,
	WALK_LOCATOR,		/* one each */
	WALK_FOOTER = WALK_LOCATOR + VHD_LOCATORS,
	WALK_BATMAP,		/* its header, and the bits */
	WALK_BLOCK = WALK_BATMAP + 2, /* two an entry: is its part of the BAT told? */
};

static int walk_locator(const struct vdisk_geom *geom, struct vdisk_step *step,
			u64 i, struct vdisk_range *range)
{
	u64 at = geom->priv[HEADER_OFF] +
		 offsetof(struct vhd_header_disk, locator);
	struct vhd_locator_disk l[VHD_LOCATORS];
	int r;

	/* All of them, so that those not in use ask once. */
	r = vdisk_copy(step, at, l, sizeof(l));
	if (r || !be32_of(l[i].code) || !be32_of(l[i].data_length))
		return r;
	range->off = be64_of(l[i].data_offset);
	range->len = be32_of(l[i].data_length);
	if (range->off > step->file_len ||
	    range->len > step->file_len - range->off) {
		range->len = 0;
		return vdisk_bad(step, "Parent locator is outside the file",
				 range->off);
	}
	return 0;
}

static int walk_batmap(const struct vdisk_geom *geom, struct vdisk_step *step,
		       bool bits, struct vdisk_range *range)
{
	u64 off = batmap_off(geom, step->file_len), len = VDISK_SECTOR;
	struct vhd_batmap_disk map;

	if (!off)
		return 0;
	if (vdisk_copy(step, off, &map, sizeof(map)))
		return -EAGAIN;
	if (memcmp(map.cookie, "tdbatmap", sizeof(map.cookie)))
		return 0;
	if (bits) {
		off = be64_of(map.batmap_off);
		len *= be32_of(map.batmap_sec);
	}
	if (off > step->file_len || len > step->file_len - off)
		return vdisk_bad(step, "VHD batmap is outside the file", off);
	range->off = off;
	range->len = len;
	return 0;
}

/*
 * The BAT is told in parts that end where a VDISK_BLOCK does, each before its
 * blocks: so every step needs one view, however many entries are empty.
 */
static bool walk_bat(const struct vdisk_geom *geom, u64 blk,
		     struct vdisk_range *range)
{
	u64 off = geom->priv[BAT_OFF] + blk * 4;
	u64 end = geom->priv[BAT_OFF] + geom->priv[BAT_LEN];

	if (blk && off & (VDISK_BLOCK - 1))
		return false;
	range->kind = VDISK_RANGE_TABLE;
	range->off = off;
	range->len = vdisk_min(end, (off | (VDISK_BLOCK - 1)) + 1) - off;
	return true;
}

/* How many of @n entries from @p on name blocks one behind the other. */
static u64 run_of_blocks(const struct vdisk_geom *geom,
			 const struct vdisk_step *step, const u8 *p, u64 n)
{
	u32 e = vdisk_be32(p), each = (u32)geom->unit_len / VDISK_SECTOR;

	n = vdisk_min(n, blocks_fit(geom, step, (u64)e * VDISK_SECTOR));
	/* The value of a free entry is nobody's place. */
	n = vdisk_min(n, vdisk_div_up(VHD_FREE - e, each));
	return vdisk_count_up(p, n, e, each, true);
}

static int walk_block(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 *cursor, struct vdisk_range *range)
{
	u64 blk = (*cursor - WALK_BLOCK) / 2, off, at, len, n, most;
	bool told = (*cursor - WALK_BLOCK) & 1;
	const u8 *p;
	u32 e;

	for (; blk < geom->priv[BAT_ENTRIES]; blk += most, told = false) {
		if (!told && walk_bat(geom, blk, range)) {
			*cursor = WALK_BLOCK + 2 * blk + 1;
			return 0;
		}
		/* All of the part, so that empty entries ask once. */
		at = geom->priv[BAT_OFF] + blk * 4;
		len = (geom->priv[BAT_ENTRIES] - blk) * 4;
		len = vdisk_min(len, VDISK_BLOCK - (at & (VDISK_BLOCK - 1)));
		p = vdisk_want(step, at, (u32)len);
		if (!p)
			return -EAGAIN;
		most = len / 4;
		n = vdisk_count_up(p, most, VHD_FREE, 0, true);
		if (n == most)
			continue;
		blk += n;
		p += n * 4;
		e = vdisk_be32(p);
		*cursor = WALK_BLOCK + 2 * (blk + 1);
		range->kind = VDISK_RANGE_UNIT;
		range->off = (u64)e * VDISK_SECTOR;
		range->sector = blk * geom->unit_sec;
		off = block_off(geom, step, e);
		if (!off)
			return -EUCLEAN;
		n = run_of_blocks(geom, step, p, most - n);
		range->len = n * geom->unit_len;
		*cursor = WALK_BLOCK + 2 * (blk + n);
		return 0;
	}
	*cursor = WALK_BLOCK + 2 * blk;
	return 0;
}

static int walk_fixed(const struct vdisk_geom *geom,
		      const struct vdisk_step *step, u64 *cursor,
		      struct vdisk_range *range)
{
	if (*cursor == 0)
		range->kind = VDISK_RANGE_UNIT;
	range->off = *cursor ? geom->data_end : 0;
	if (*cursor < 2)
		range->len = *cursor ? trailer_len(step->file_len)
				     : geom->size_sec * VDISK_SECTOR;
	++*cursor;
	return 0;
}

static int vhd_walk(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_range *range)
{
	int r;

	*range = (struct vdisk_range){ .kind = VDISK_RANGE_META };
	if (geom->flags & VDISK_GEOM_NO_ALLOC)
		return walk_fixed(geom, step, cursor, range);
	while (*cursor < WALK_BLOCK && !range->len) {
		r = 0;
		if (*cursor == WALK_COPY) {
			range->len = VHD_FOOTER_LEN;
		} else if (*cursor == WALK_HEADER) {
			range->off = geom->priv[HEADER_OFF];
			range->len = VHD_HEADER_LEN;
		} else if (*cursor < WALK_FOOTER) {
			r = walk_locator(geom, step, *cursor - WALK_LOCATOR,
					 range);
		} else if (*cursor >= WALK_BATMAP) {
			r = walk_batmap(geom, step, *cursor > WALK_BATMAP,
					range);
		} else if (!geom->priv[NO_TRAILER]) {
			range->off = step->data_end;
			range->len = vdisk_min(geom->tail_len,
					       step->file_len - step->data_end);
		}
		if (r == -EAGAIN)
			return r;
		++*cursor;
		if (r)
			return r;
	}
	return range->len ? 0 : walk_block(geom, step, cursor, range);
}

static void text_of(struct vdisk_fact *fact, const char *text)
{
	u32 i;

	for (i = 0; text[i] && i < sizeof(fact->text) - 1; i++)
		fact->text[i] = text[i];
	fact->text[i] = 0;
}

static bool vhd_fact(const struct vdisk_geom *geom, u32 i,
		     struct vdisk_fact *fact)
{
	static const char *const types[] = {
		[VHD_FIXED] = "fixed",
		[VHD_DYNAMIC] = "dynamic",
		[VHD_DIFFERENCING] = "differencing",
	};
	static const struct vdisk_fact_row rows[] = {
		{ "size-by-chs", VDISK_FACT_BOOL, SIZE_BY_CHS, 0 },
		{ "sectors-current", VDISK_FACT_NUM, CURRENT_SEC, 0 },
		{ "sectors-chs", VDISK_FACT_NUM, CHS_SEC, 0 },
		{ "creator-version", VDISK_FACT_NUM, CREATOR_VERSION, 0 },
		{ "trailing-footer-missing", VDISK_FACT_BOOL, NO_TRAILER, 0 },
		{ "bat-entries", VDISK_FACT_NUM, BAT_ENTRIES, 0 },
		{ "bat-offset", VDISK_FACT_NUM, BAT_OFF, 0 },
	};
	u32 c = (u32)geom->priv[CREATOR];

	*fact = (struct vdisk_fact){ .kind = VDISK_FACT_TEXT };
	switch (i) {
	case 0:
		fact->name = "subformat";
		text_of(fact, types[geom->priv[TYPE]]);
		return true;
	case 1:
		fact->name = "creator";
		vdisk_store((u8 *)fact->text, c, 4, true);
		return true;
	case 2:
		fact->name = "uuid";
		fact->kind = VDISK_FACT_ID;
		memcpy(fact->text, geom->id, sizeof(geom->id));
		return true;
	}
	/* The BAT is no fact of a fixed disk. */
	return vdisk_fact_of(geom, rows, sizeof(rows) / sizeof(rows[0]) -
			     (geom->flags & VDISK_GEOM_NO_ALLOC ? 2 : 0), i - 3,
			     fact);
}

const struct vdisk_format vdisk_vhd_format = {
	.name		= "vhd",
	.alias		= "vpc",
	.probe		= vhd_probe,
	.open		= vhd_open,
	.map		= vhd_map,
	.alloc		= vhd_alloc,
	.discard	= vhd_discard,
	.grow		= vhd_grow,
	.trim		= vhd_trim,
	.walk		= vhd_walk,
	.fact		= vhd_fact,
};
