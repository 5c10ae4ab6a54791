// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * VMDK hosted sparse extents: "KDMV", versions 1 to 3, streamOptimized too.
 *
 * A stream ends with its grain directory and a footer that says where that is.
 * To be written it must stop being a stream: mark() puts the directory's place
 * into the header, durably, before anything can overwrite the footer, which is
 * where the next record goes. The image is then what other tools make of a
 * compressed disk, good for every reader that seeks. An importer that reads
 * from front to back finds no footer any more, so it reports a broken file and
 * does not take the old records for the disk; give it a fresh conversion.
 *
 * Version 3 marks disks whose changes are tracked in a file beside them. A
 * write that the tracker does not see would spoil the next incremental backup,
 * so such a disk is only read. Streams have that version for other reasons.
 */
#include "vmdk.h"

enum {
	RGD_IN_HEADER = VMDK_OWN,	/* sector, for a header without footer */
	UNCLEAN,			/* the byte as found */
	OVERHEAD,			/* bytes */
	NR_PRIV,
};

static_assert(NR_PRIV <= VDISK_GEOM_PRIV, "VMDK numbers fit the geometry");

static int vmdk_probe(const u8 *head, u32 head_len, const u8 *tail,
		      u32 tail_len)
{
	u32 version;

	if (head_len < VMDK_HEADER_LEN || vdisk_le32(head) != VMDK_MAGIC)
		return 0;
	version = vdisk_le32(head + 4);
	return version >= 1 && version <= 3 ? 90 : 50;
}

static int check_flags(struct vdisk_step *step,
		       const struct vmdk_header_disk *h)
{
	static const u8 newline[4] = { '\n', ' ', '\r', '\n' };
	u32 flags = le32_of(h->flags);
	u32 method = le16_of(h->compression);

	if (flags & VMDK_UNKNOWN)
		return vdisk_bad(step, "Unknown incompatible VMDK feature",
				 flags);
	if (flags & VMDK_NEWLINES && memcmp(h->newline, newline, 4))
		return vdisk_bad(step, "Line ends were changed by a transfer",
				 vdisk_le32(h->newline));
	if (method > 1)
		return vdisk_bad(step, "Unknown VMDK compression method",
				 method);
	if (!(flags & VMDK_COMPRESSED) != !method)
		return vdisk_bad(step, "VMDK compression flag and method differ",
				 method);
	if (!(flags & VMDK_COMPRESSED) != !(flags & VMDK_MARKERS))
		return vdisk_bad(step, "VMDK compression needs markers, and they it",
				 flags);
	return 0;
}

static int check_header(struct vdisk_step *step,
			const struct vmdk_header_disk *h)
{
	u64 grain = le64_of(h->grain_size);
	u32 version = le32_of(h->version);
	u32 gtes = le32_of(h->num_gtes);
	int r;

	if (le32_of(h->magic) != VMDK_MAGIC)
		return vdisk_bad(step, "VMDK header not found",
				 le32_of(h->magic));
	if (version < 1 || version > 3)
		return vdisk_bad(step, "Unknown VMDK version", version);
	r = check_flags(step, h);
	if (r)
		return r;
	if (!le64_of(h->capacity) && le64_of(h->desc_offset))
		return vdisk_bad(step, "Extents are in the embedded descriptor",
				 le64_of(h->desc_offset));
	if (!vdisk_pow2(grain))
		return vdisk_bad(step, "Grain size is not a power of two",
				 grain);
	if (grain < VMDK_MIN_GRAIN || grain > VMDK_MAX_GRAIN)
		return vdisk_bad(step, "Grain size is not 4 KiB to 1 GiB",
				 grain);
	if (le32_of(h->flags) & VMDK_COMPRESSED && grain > VMDK_MAX_PACKED)
		return vdisk_bad(step, "Compressed grain size is over 1 MiB",
				 grain);
	if (!gtes || gtes > VMDK_MAX_GTES)
		return vdisk_bad(step, "Grain table has not 1 to 512 entries",
				 gtes);
	return 0;
}

/* Flags that say what tables and grains are. */
#define LAYOUT_FLAGS (VMDK_ZEROED | VMDK_COMPRESSED | VMDK_MARKERS | \
		      VMDK_UNKNOWN)

/*
 * The first byte where a footer differs from the header but may not, or 0. Only
 * what the tables and grains are by must be the same: a writer may call the header
 * version 1 and the footer 3, or know of line ends in one of them.
 */
static u32 footer_differs(const struct vmdk_header_disk *h,
			  const struct vmdk_header_disk *f)
{
	static const struct {
		u8 at, len;
	} same[] = {
		{ offsetof(struct vmdk_header_disk, capacity), 8 },
		{ offsetof(struct vmdk_header_disk, grain_size), 8 },
		{ offsetof(struct vmdk_header_disk, num_gtes), 4 },
		{ offsetof(struct vmdk_header_disk, compression), 2 },
	};
	const u8 *a = (const u8 *)h, *b = (const u8 *)f;
	u32 i;

	if (!le32_of(f->version) || le32_of(f->version) > 3)
		return offsetof(struct vmdk_header_disk, version);
	if ((le32_of(h->flags) ^ le32_of(f->flags)) & LAYOUT_FLAGS)
		return offsetof(struct vmdk_header_disk, flags);
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (memcmp(a + same[i].at, b + same[i].at, same[i].len))
			return same[i].at;
	return 0;
}

/*
 * The header that says where the directories are: *@real. The last sector may
 * be there in part: some writers end the file in the middle of its zeroes.
 */
static int find_footer(const struct vdisk_params *params,
		       struct vdisk_step *step,
		       const struct vmdk_header_disk *h,
		       const struct vmdk_header_disk **real,
		       struct vdisk_geom *geom)
{
	u64 end = vdisk_align(params->file_len, VDISK_SECTOR, 0), off;
	const struct vmdk_header_disk *f;
	const u8 *m;
	u32 len, i;

	*real = h;
	if (le64_of(h->gd_offset) != VMDK_IN_FOOTER)
		return 0;
	if (end < VMDK_HEADER_LEN + VMDK_TAIL_LEN)
		return vdisk_bad(step, "File is too short for a VMDK footer",
				 params->file_len);
	off = end - VMDK_TAIL_LEN;
	m = vdisk_want(step, off, VMDK_MARKER_LEN);
	if (!m)
		return -EAGAIN;
	if (vdisk_le64(m) != 1 || vdisk_le32(m + 8) ||
	    vdisk_le32(m + VMDK_GRAIN_HEAD) != VMDK_MARK_FOOTER)
		return vdisk_bad(step, "VMDK footer not found", off);
	f = (const void *)vdisk_want(step, off + VDISK_SECTOR, VMDK_HEADER_LEN);
	if (!f)
		return -EAGAIN;
	if (le32_of(f->magic) != VMDK_MAGIC)
		return vdisk_bad(step, "VMDK footer has no magic",
				 le32_of(f->magic));
	if (footer_differs(h, f))
		return vdisk_bad(step, "VMDK footer and header differ",
				 footer_differs(h, f));
	off += 2 * VDISK_SECTOR;
	len = (u32)vdisk_min(VMDK_MARKER_LEN, params->file_len - off);
	m = vdisk_want(step, off, len);
	if (!m)
		return -EAGAIN;
	for (i = 0; i < len; i++)
		if (m[i])
			return vdisk_bad(step, "VMDK stream has no end marker",
					 off);

	*real = f;
	geom->priv[VMDK_FOOTER_OFF] = end - VMDK_TAIL_LEN;
	geom->data_end = end - VMDK_TAIL_LEN;
	return 0;
}

static bool overlap(u64 a, u64 a_len, u64 b, u64 b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* Descriptor and overhead; what they say is where the first grain may be. */
static int set_front(struct vdisk_step *step, const struct vmdk_header_disk *h,
		     struct vdisk_geom *geom)
{
	u64 room = geom->data_end >> VDISK_SHIFT, end = 1;
	u64 desc = le64_of(h->desc_offset), len = le64_of(h->desc_size);
	u64 overhead = le64_of(h->overhead);

	if (desc && len) {
		if (desc > room || len > room - desc)
			return vdisk_bad(step, "Descriptor is outside the file",
					 desc);
		end = desc + len;
		geom->priv[VMDK_DESC_OFF] = desc * VDISK_SECTOR;
		geom->priv[VMDK_DESC_LEN] = len * VDISK_SECTOR;
	}
	if (overhead > room)
		return vdisk_bad(step, "VMDK overhead is past the end of the file",
				 overhead);
	/* Readers of the descriptor stop at its text's end: so may its place. */
	if (desc && overhead > desc && end > overhead) {
		end = overhead;
		geom->priv[VMDK_DESC_LEN] = (end - desc) * VDISK_SECTOR;
	}
	/* Sector 1 is no table: some take the entry 1 for a table of zeroes. */
	geom->priv[VMDK_TABLE_MIN] = 2 * VDISK_SECTOR;
	geom->priv[OVERHEAD] = overhead * VDISK_SECTOR;
	geom->data_off = vdisk_max(end, overhead) * VDISK_SECTOR;
	geom->priv[VMDK_META_LEN] = VMDK_HEADER_LEN;
	return 0;
}

static int set_dir(struct vdisk_step *step, u64 sector, struct vdisk_geom *geom,
		   enum vmdk_priv which)
{
	u64 room = geom->data_end >> VDISK_SHIFT;
	u64 len = geom->priv[VMDK_GDES] * VMDK_ENTRY_LEN, off;

	if (sector > room || len > geom->data_end - sector * VDISK_SECTOR)
		return vdisk_bad(step, "Grain directory is outside the file",
				 sector);
	off = sector * VDISK_SECTOR;
	if (!off || overlap(off, len, geom->priv[VMDK_DESC_OFF],
			    geom->priv[VMDK_DESC_LEN]))
		return vdisk_bad(step, "Grain directory lies in the metadata",
				 sector);
	geom->priv[which] = off;
	return 0;
}

static int set_dirs(struct vdisk_step *step,
		    const struct vmdk_header_disk *real,
		    struct vdisk_geom *geom)
{
	u64 rgd = le64_of(real->rgd_offset);
	u64 len = geom->priv[VMDK_GDES] * VMDK_ENTRY_LEN;
	int r;

	geom->priv[RGD_IN_HEADER] = rgd;
	r = set_dir(step, le64_of(real->gd_offset), geom, VMDK_GD_OFF);
	/* Without the flag the field says nothing; some leave it 0 with it. */
	if (r || !(le32_of(real->flags) & VMDK_REDUNDANT) || !rgd)
		return r;
	r = set_dir(step, rgd, geom, VMDK_RGD_OFF);
	if (!r && overlap(geom->priv[VMDK_GD_OFF], len,
			  geom->priv[VMDK_RGD_OFF], len))
		r = vdisk_bad(step, "Grain directories overlap", rgd);
	return r;
}

/*
 * Most extents are made with all their tables, one behind the other behind the
 * directory: where its first entry says so, that is no place for a grain. But it
 * does not reach over where the grains are said to start; a directory behind that
 * came later, as a resize makes one, and grains may follow its first table.
 */
static int set_tables(struct vdisk_step *step, struct vdisk_geom *geom,
		      enum vmdk_priv which)
{
	u64 off = geom->priv[which], len, one, end;
	const u8 *p;

	if (!off)
		return 0;
	len = vdisk_align(geom->priv[VMDK_GDES] * VMDK_ENTRY_LEN, VDISK_SECTOR,
			  0);
	geom->priv[which + 1] = len;
	/* A stream's records say themselves what they are. */
	if (geom->priv[VMDK_FOOTER_OFF] || geom->priv[OVERHEAD] <= off)
		return 0;
	p = vdisk_want(step, off, VMDK_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	if ((u64)vdisk_le32(p) * VDISK_SECTOR != off + len)
		return 0;
	one = vdisk_align(geom->priv[VMDK_GTES] * VMDK_ENTRY_LEN, VDISK_SECTOR,
			  0);
	end = off + len + geom->priv[VMDK_GDES] * one;
	end = vdisk_min(end, geom->priv[OVERHEAD]);
	geom->priv[which + 1] = vdisk_max(len, end - off);
	return 0;
}

static void set_units(const struct vdisk_params *params,
		      const struct vmdk_header_disk *h, struct vdisk_geom *geom)
{
	u32 flags = le32_of(h->flags);

	if (flags & VMDK_COMPRESSED) {
		/* Data that does not shrink grows; twice is what readers take. */
		geom->unit_len = vdisk_align(VMDK_GRAIN_HEAD +
					     2 * geom->unit_len,
					     VDISK_SECTOR, 0);
		geom->unit_align = VDISK_SECTOR;
		geom->flags |= VDISK_GEOM_PACKED;
	} else if (le32_of(h->version) == 3) {
		geom->flags |= VDISK_GEOM_RDONLY;
		geom->why_ro = "Changes of this VMDK are tracked elsewhere";
	}
	vdisk_vmdk_set_end(params, vdisk_min(geom->data_end, VMDK_MAX_OFF),
			   h->unclean, geom);
	geom->priv[VMDK_FLAGS] = flags;
	geom->priv[VMDK_VERSION] = le32_of(h->version);
	geom->priv[UNCLEAN] = h->unclean;
}

static int vmdk_open(const struct vdisk_params *params, struct vdisk_step *step,
		     struct vdisk_geom *geom)
{
	const struct vmdk_header_disk *h, *real;
	int r;

	*geom = (struct vdisk_geom){ .data_end = params->file_len };
	h = vdisk_vmdk_header(params, step, VMDK_HEADER_LEN,
			      "File is shorter than a VMDK header", &r);
	if (h)
		r = check_header(step, h);
	if (!r)
		r = vdisk_vmdk_set_size(step, params->size_sec,
					le64_of(h->capacity),
					le64_of(h->grain_size),
					le32_of(h->num_gtes), geom);
	if (!r)
		r = find_footer(params, step, h, &real, geom);
	if (!r)
		r = set_front(step, h, geom);
	if (!r)
		r = set_dirs(step, real, geom);
	if (!r)
		r = set_tables(step, geom, VMDK_GD_OFF);
	if (!r)
		r = set_tables(step, geom, VMDK_RGD_OFF);
	if (!r)
		set_units(params, h, geom);
	return r;
}

static void set_header(struct vdisk_plan *plan, u32 at, u32 width, u64 value)
{
	vdisk_plan_set(plan, VDISK_BEFORE, at, width, false, 1, value, 0);
}

/*
 * The footer is overwritten by the first record behind it. Where only entries
 * were changed nothing did that, and the end of the period has to: or the file
 * would pass for the stream that it was.
 */
static int vmdk_mark(const struct vdisk_geom *geom, struct vdisk_step *step,
		     bool dirty, struct vdisk_plan *plan)
{
	u64 footer = geom->priv[VMDK_FOOTER_OFF];

	*plan = (struct vdisk_plan){ 0 };
	set_header(plan, offsetof(struct vmdk_header_disk, unclean), 1, dirty);
	if (footer && dirty) {
		set_header(plan, offsetof(struct vmdk_header_disk, gd_offset),
			   8, geom->priv[VMDK_GD_OFF] / VDISK_SECTOR);
		set_header(plan, offsetof(struct vmdk_header_disk, rgd_offset),
			   8, geom->priv[RGD_IN_HEADER]);
	}
	if (footer && !dirty && step->data_end == footer &&
	    step->file_len > footer)
		vdisk_plan_zero(plan, VDISK_BEFORE, footer,
				vdisk_min(VMDK_TAIL_LEN,
					  step->file_len - footer));
	return 0;
}

static int vmdk_grow(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 new_end, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	vdisk_plan_length(plan, VDISK_BEFORE, new_end);
	return 0;
}

/* Directories may lie behind all units. */
static int vmdk_trim(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 end, struct vdisk_plan *plan)
{
	u64 len = geom->priv[VMDK_GDES] * VMDK_ENTRY_LEN;

	*plan = (struct vdisk_plan){ 0 };
	end = vdisk_max(end, geom->data_off);
	end = vdisk_max(end, geom->priv[VMDK_GD_OFF] + len);
	if (geom->priv[VMDK_RGD_OFF])
		end = vdisk_max(end, geom->priv[VMDK_RGD_OFF] + len);
	vdisk_plan_length(plan, VDISK_PUBLISH, end);
	return 0;
}

/*
 * The stream is zlib's framing (RFC 1950) if its first two bytes, read as a
 * big-endian number, are a multiple of 31 and the low nibble of the first is 8;
 * else it is raw deflate. Documents say the latter, producers write the former.
 */
static int vmdk_unpack(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 sector, const u8 *bytes, u32 len, u32 *stream_off,
		       u32 *stream_len)
{
	const char *fault = "Compressed grain is cut off";

	if (len >= VMDK_GRAIN_HEAD)
		fault = vdisk_vmdk_record_fault(geom,
				sector >> geom->priv[VMDK_GRAIN_SHIFT], bytes,
				len);
	if (fault)
		return vdisk_bad(step, fault, sector);
	*stream_off = VMDK_GRAIN_HEAD;
	*stream_len = vdisk_le32(bytes + 8);
	return 0;
}

static bool vmdk_fact(const struct vdisk_geom *geom, u32 i,
		      struct vdisk_fact *fact)
{
	static const struct vdisk_fact_row rows[] = {
		{ "version", VDISK_FACT_NUM, VMDK_VERSION, 0 },
		{ "flags", VDISK_FACT_NUM, VMDK_FLAGS, 0 },
		{ "capacity-sectors", VDISK_FACT_NUM, VMDK_CAPACITY, 0 },
		{ "table-entries", VDISK_FACT_NUM, VMDK_GTES, 0 },
		{ "tables", VDISK_FACT_NUM, VMDK_GDES, 0 },
		{ "directory-offset", VDISK_FACT_NUM, VMDK_GD_OFF, 0 },
		{ "redundant-directory-offset", VDISK_FACT_NUM, VMDK_RGD_OFF,
		  0 },
		{ "overhead", VDISK_FACT_NUM, OVERHEAD, 0 },
		{ "descriptor-offset", VDISK_FACT_NUM, VMDK_DESC_OFF, 0 },
		{ "descriptor-length", VDISK_FACT_NUM, VMDK_DESC_LEN, 0 },
		{ "compressed", VDISK_FACT_BOOL, VMDK_FLAGS, VMDK_COMPRESSED },
		{ "zeroed-grains", VDISK_FACT_BOOL, VMDK_FLAGS, VMDK_ZEROED },
		{ "footer", VDISK_FACT_BOOL, VMDK_FOOTER_OFF, 0 },
		{ "unclean", VDISK_FACT_BOOL, UNCLEAN, 0 },
	};

	*fact = (struct vdisk_fact){ .kind = VDISK_FACT_NUM };
	if (!i) {
		fact->name = "grain-size";
		fact->num = geom->unit_sec * VDISK_SECTOR;
		return true;
	}
	return vdisk_fact_of(geom, rows, sizeof(rows) / sizeof(rows[0]), i - 1,
			     fact);
}

const struct vdisk_format vdisk_vmdk_format = {
	.name		= "vmdk",
	.probe		= vmdk_probe,
	.open		= vmdk_open,
	.map		= vdisk_vmdk_map,
	.alloc		= vdisk_vmdk_alloc,
	.discard	= vdisk_vmdk_discard,
	.mark		= vmdk_mark,
	.grow		= vmdk_grow,
	.trim		= vmdk_trim,
	.walk		= vdisk_vmdk_walk,
	.unpack		= vmdk_unpack,
	.fact		= vmdk_fact,
};
