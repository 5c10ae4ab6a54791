// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Mending Parallels. What a wrong header field can be derived from is tried:
 * the data offset may always be as low as the BAT allows; a format extension
 * that cannot be read is of no use to anybody, and the disk does not need it;
 * an in-use mark that means nothing becomes the one that asks for a check.
 */
#include "parallels.h"
#include "repair.h"

enum {
	TRY_DATA_OFF,
	TRY_IN_USE,
	TRY_EXTENSION,
	TRY_NO_MORE,
};

static void set_field(struct vdisk_mend *mend, u32 at, u32 width, u64 value,
		      const char *done)
{
	vdisk_plan_set(&mend->plan, VDISK_BEFORE, at, width, false, 1, value, 0);
	mend->done = done;
}

/*
 * A cluster size that the data offset does not fit may itself be what is
 * wrong; then every cluster would be found in a wrong place. So only an offset
 * that cannot be one whatever the cluster size is replaced.
 */
static int try_data_off(const struct vdisk_params *params,
			struct vdisk_step *step,
			const struct parallels_header_disk *h,
			struct vdisk_mend *mend)
{
	bool v2 = !memcmp(h->magic, PARALLELS_MAGIC_V2, sizeof(h->magic));
	u64 off = le32_of(h->data_off), tracks = le32_of(h->tracks);
	u64 least = vdisk_div_up(PARALLELS_HEADER_LEN +
				 le32_of(h->nb_bat_entries) * 4ull,
				 VDISK_SECTOR);

	if (!tracks || (off >= least && off * VDISK_SECTOR <= params->file_len))
		return vdisk_mend_nothing(step, off);
	if (v2)
		least = vdisk_align(least, tracks, 0);
	if (least >> 32)
		return vdisk_mend_nothing(step, off);
	set_field(mend, offsetof(struct parallels_header_disk, data_off), 4,
		  least, "data offset set to the end of the BAT");
	return 0;
}

/* Not if it says that what it holds must be kept, whoever understands it. */
static int try_extension(const struct vdisk_params *params,
			 struct vdisk_step *step, u64 ext_sec,
			 struct vdisk_mend *mend)
{
	struct vdisk_geom geom;
	int r;

	r = vdisk_parallels_format.open(params, step, &geom);
	if (r == -EAGAIN)
		return r;
	if (!ext_sec || (!r && (!geom.why_ro ||
				memcmp(geom.why_ro, PARALLELS_EXT_DAMAGED,
				       sizeof(PARALLELS_EXT_DAMAGED)))))
		return vdisk_mend_nothing(step, ext_sec);
	set_field(mend, offsetof(struct parallels_header_disk, ext_off), 8, 0,
		  "extension dropped");
	return 0;
}

static int parallels_head(const struct vdisk_params *params,
			  struct vdisk_step *step, u32 n,
			  struct vdisk_mend *mend)
{
	const struct parallels_header_disk *h;
	u32 in_use;

	*mend = (struct vdisk_mend){ 0 };
	if (n >= TRY_NO_MORE || params->file_len < PARALLELS_HEADER_LEN)
		return 0;
	h = (const void *)vdisk_want(step, 0, PARALLELS_HEADER_LEN);
	if (!h)
		return -EAGAIN;
	if (n == TRY_DATA_OFF)
		return try_data_off(params, step, h, mend);
	in_use = le32_of(h->in_use);
	if (n == TRY_IN_USE) {
		if (in_use == PARALLELS_IN_USE || in_use == PARALLELS_CLOSED ||
		    in_use == PARALLELS_CLOSED_OLD)
			return vdisk_mend_nothing(step, in_use);
		set_field(mend, offsetof(struct parallels_header_disk, in_use),
			  4, PARALLELS_IN_USE, "mark set to in use");
		return 0;
	}
	return try_extension(params, step, le64_of(h->ext_off), mend);
}

static int parallels_point(const struct vdisk_geom *geom,
			   struct vdisk_step *step,
			   const struct vdisk_range *range, u64 to,
			   struct vdisk_plan *plan)
{
	const struct parallels_header_disk *h;
	u64 unit = VDISK_SECTOR;

	*plan = (struct vdisk_plan){ 0 };
	h = (const void *)vdisk_want(step, 0, PARALLELS_HEADER_LEN);
	if (!h)
		return -EAGAIN;
	if (!memcmp(h->magic, PARALLELS_MAGIC_V2, sizeof(h->magic)))
		unit = geom->unit_len;
	if (to >= unit << 32)
		return vdisk_bad(step, "BAT entries cannot say so large an offset",
				 to);
	vdisk_plan_set(plan, VDISK_PUBLISH, PARALLELS_HEADER_LEN +
		       vdisk_div(range->sector, geom->unit_sec) *
		       PARALLELS_ENTRY_LEN, PARALLELS_ENTRY_LEN, false, 1,
		       vdisk_div(to, unit), 0);
	return 0;
}

/* The map of changed blocks as a feature, behind its section's head. */
struct bitmap_disk {
	__le64 size;		/* sectors of the disk */
	u8 id[16];
	__le32 granularity;	/* sectors a bit */
	__le32 l1_size;		/* entries that follow, 8 bytes each */
} __packed;

static_assert(sizeof(struct bitmap_disk) == 32,
	      "Parallels bitmap starts with 32 bytes");

/*
 * Where the entries of the first map of changed blocks are, and how many, as
 * far as the extension's first block tells of it.
 */
static int find_bitmap(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 ext, u64 *l1_off, u64 *entries)
{
	u32 at = offsetof(struct parallels_ext_disk, first), size;
	const struct parallels_feature_disk *f;
	const struct bitmap_disk *b;
	const u8 *p;
	u32 len;

	*entries = 0;
	len = VDISK_BLOCK - (u32)(ext & (VDISK_BLOCK - 1));
	len = (u32)vdisk_min(len, geom->unit_len);
	if (ext > step->file_len || len > step->file_len - ext)
		return 0;
	p = vdisk_want(step, ext, len);
	if (!p)
		return -EAGAIN;
	if (vdisk_le64(p) != PARALLELS_EXT_MAGIC)
		return 0;
	while (at + sizeof(*f) + sizeof(*b) <= len) {
		f = (const void *)(p + at);
		b = (const void *)(p + at + sizeof(*f));
		size = le32_of(f->data_size);
		at += (u32)sizeof(*f);
		if (le64_of(f->magic) == PARALLELS_DIRTY_BITMAP) {
			if (size < sizeof(*b))
				return 0;
			*l1_off = ext + at + sizeof(*b);
			*entries = vdisk_min(le32_of(b->l1_size),
					     (size - sizeof(*b)) / 8);
			return 0;
		}
		if (!le64_of(f->magic) || size > len)
			return 0;
		at += (u32)vdisk_align(size, 8, 0);
	}
	return 0;
}

/* The clusters that hold the map's bits: no BAT entry names them. */
static int parallels_more(const struct vdisk_geom *geom,
			  struct vdisk_step *step, u64 *cursor,
			  struct vdisk_range *range)
{
	u64 ext, l1_off = 0, entries, sector, i;
	const u8 *p = vdisk_want(step, 0, PARALLELS_HEADER_LEN);
	u32 n;
	int r;

	*range = (struct vdisk_range){ .kind = VDISK_RANGE_META };
	if (!p)
		return -EAGAIN;
	ext = vdisk_le64(p + offsetof(struct parallels_header_disk, ext_off));
	if (!ext || ext >= step->file_len / VDISK_SECTOR) {
		*cursor = ~0ull;
		return 0;
	}
	r = find_bitmap(geom, step, ext * VDISK_SECTOR, &l1_off, &entries);
	if (r == -EAGAIN)
		return r;
	if (*cursor >= entries || l1_off > step->file_len ||
	    entries * 8 > step->file_len - l1_off) {
		*cursor = ~0ull;
		return 0;
	}
	l1_off += *cursor * 8;
	n = (u32)vdisk_min(entries - *cursor,
			   (VDISK_BLOCK - (l1_off & (VDISK_BLOCK - 1))) / 8);
	/* An entry may lie on the edge of two blocks; clusters are aligned. */
	if (!n) {
		++*cursor;
		return 0;
	}
	p = vdisk_want(step, l1_off, n * 8);
	if (!p)
		return -EAGAIN;
	for (i = 0; i < n && !range->len; i++) {
		sector = vdisk_le64(p + i * 8);
		if (sector < 2 || sector >= step->file_len / VDISK_SECTOR)
			continue;
		range->off = sector * VDISK_SECTOR;
		range->len = vdisk_min(geom->unit_len,
				       step->file_len - range->off);
	}
	*cursor += i;
	if (*cursor == entries)
		*cursor = ~0ull;
	return 0;
}

#define PARALLELS_FIELD(name, field, size) \
	{ name, offsetof(struct parallels_header_disk, field), \
	  sizeof(((struct parallels_header_disk *)0)->field), false, size, \
	  false }

static const struct vdisk_field fields[] = {
	PARALLELS_FIELD("tracks", tracks, false),
	PARALLELS_FIELD("data_off", data_off, false),
	PARALLELS_FIELD("bat_entries", nb_bat_entries, true),
	PARALLELS_FIELD("nb_sectors", nb_sectors, true),
};

const struct vdisk_repair vdisk_parallels_repair = {
	.format		= &vdisk_parallels_format,
	.fields		= fields,
	.nr_fields	= sizeof(fields) / sizeof(fields[0]),
	.head		= parallels_head,
	.more		= parallels_more,
	.point		= parallels_point,
};
