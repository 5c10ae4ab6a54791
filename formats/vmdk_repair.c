// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Mending VMDK, hosted and of ESX.
 *
 * Where a hosted extent has its tables twice, either set is written anew from
 * the other. The first set is what every reader goes by, so it counts wherever
 * it makes sense; what only the redundant set names is adopted if it is
 * nobody's. If the header's offset of a set is lost, the extent goes on with
 * the other alone.
 *
 * point() changes the first set only: the redundant one follows by copies().
 * So no write goes to a redundant table before it is known to lie on nothing.
 */
#include "repair.h"
#include "vmdk.h"

enum {
	TRY_REDUNDANT,		/* the redundant directory is the only one */
	TRY_FIRST,		/* the first one is */
	TRY_TAIL,		/* a stream's end, once for each place */
	TRY_NO_MORE = TRY_TAIL + VMDK_TAIL_LEN / VDISK_SECTOR + 1,
};

static void set_header(struct vdisk_mend *mend, u32 at, u32 width, u64 value)
{
	vdisk_plan_set(&mend->plan, VDISK_BEFORE, at, width, false, 1, value, 0);
}

static int try_one_directory(struct vdisk_step *step,
			     const struct vmdk_header_disk *h, bool redundant,
			     struct vdisk_mend *mend)
{
	u64 rgd = le64_of(h->rgd_offset);
	u32 flags = le32_of(h->flags);

	if (!(flags & VMDK_REDUNDANT) || !rgd || rgd == VMDK_IN_FOOTER)
		return vdisk_mend_nothing(step, rgd);
	if (redundant)
		set_header(mend, offsetof(struct vmdk_header_disk, gd_offset),
			   8, rgd);
	set_header(mend, offsetof(struct vmdk_header_disk, rgd_offset), 8, 0);
	set_header(mend, offsetof(struct vmdk_header_disk, flags), 4,
		   flags & ~(u32)VMDK_REDUNDANT);
	mend->done = redundant ? "redundant directory made the only one"
			       : "redundant directory dropped";
	return 0;
}

/* Sectors of a directory, or 0 if the header makes no sense. */
static u64 directory_sectors(const struct vmdk_header_disk *h)
{
	u64 grain = le64_of(h->grain_size), capacity = le64_of(h->capacity);
	u64 gtes = le32_of(h->num_gtes), gdes;

	if (!gtes || gtes > VMDK_MAX_GTES || !grain || grain > VMDK_MAX_GRAIN ||
	    capacity >= VMDK_MAX_SECTORS)
		return 0;
	gdes = vdisk_div_up(capacity, gtes * grain);
	return gdes > VMDK_MAX_GDES ? 0 :
	       vdisk_div_up(gdes * VMDK_ENTRY_LEN, VDISK_SECTOR);
}

/*
 * A stream whose end is cut off or damaged, @lost sectors of it being there:
 * the directory and its marker are what is left to go by.
 */
static int try_tail(struct vdisk_step *step, const struct vmdk_header_disk *h,
		    u64 file_len, u32 lost, struct vdisk_mend *mend)
{
	u64 end = file_len & ~(u64)(VDISK_SECTOR - 1), sectors, gd;
	struct vmdk_header_disk f = *h;
	const u8 *m;

	sectors = directory_sectors(h);
	if (!(le32_of(h->flags) & VMDK_MARKERS) || !sectors ||
	    le64_of(h->gd_offset) != VMDK_IN_FOOTER ||
	    end < (sectors + lost + 2) * VDISK_SECTOR)
		return vdisk_mend_nothing(step, file_len);
	end -= (u64)lost * VDISK_SECTOR;
	gd = end - sectors * VDISK_SECTOR;
	m = vdisk_want(step, gd - VDISK_SECTOR, VMDK_MARKER_LEN);
	if (!m)
		return -EAGAIN;
	if (vdisk_le64(m) != sectors || vdisk_le32(m + 8) ||
	    vdisk_le32(m + VMDK_GRAIN_HEAD) != VMDK_MARK_GD)
		return vdisk_mend_nothing(step, gd);
	vdisk_store((u8 *)&f.gd_offset, gd / VDISK_SECTOR, 8, false);
	vdisk_store((u8 *)&f.rgd_offset, 0, 8, false);
	memcpy(mend->tail, &f, sizeof(f));
	vdisk_plan_zero(&mend->plan, VDISK_BEFORE, end, VMDK_TAIL_LEN);
	vdisk_plan_set(&mend->plan, VDISK_BEFORE, end, 8, false, 1, 1, 0);
	vdisk_plan_set(&mend->plan, VDISK_BEFORE, end + VMDK_GRAIN_HEAD, 4,
		       false, 1, VMDK_MARK_FOOTER, 0);
	vdisk_plan_tail(&mend->plan, VDISK_BEFORE, end + VDISK_SECTOR);
	mend->done = "footer written anew from the header";
	return 0;
}

static int vmdk_head(const struct vdisk_params *params, struct vdisk_step *step,
		     u32 n, struct vdisk_mend *mend)
{
	const struct vmdk_header_disk *h;

	*mend = (struct vdisk_mend){ 0 };
	if (n >= TRY_NO_MORE || params->file_len < VMDK_HEADER_LEN)
		return 0;
	h = (const void *)vdisk_want(step, 0, VMDK_HEADER_LEN);
	if (!h)
		return -EAGAIN;
	if (le32_of(h->magic) != VMDK_MAGIC)
		return vdisk_mend_nothing(step, le32_of(h->magic));
	if (n < TRY_TAIL)
		return try_one_directory(step, h, n == TRY_REDUNDANT, mend);
	return try_tail(step, h, params->file_len, n - TRY_TAIL, mend);
}

/*-----------------------------------------------------------------
 * Two sets of tables
 */

struct pair {
	u64 gd, gt;		/* where the comparison is */
	u64 at, copy_at;	/* bytes: the two entries in question */
	u32 first, copy;	/* what they say */
};

static u64 cursor_of(u64 gd, u64 gt)
{
	return gd << 16 | gt;
}

static void set_entry(struct vdisk_mend *mend, u64 at, u32 value,
		      const char *done)
{
	vdisk_plan_set(&mend->plan, VDISK_PUBLISH, at, VMDK_ENTRY_LEN, false, 1,
		       value, 0);
	mend->done = done;
}

static int read_pair(struct vdisk_step *step, u64 at, u64 copy_at,
		     struct pair *p)
{
	const u8 *e = vdisk_want(step, at, VMDK_ENTRY_LEN);
	const u8 *c = e ? vdisk_want(step, copy_at, VMDK_ENTRY_LEN) : NULL;

	if (!c)
		return -EAGAIN;
	p->at = at;
	p->copy_at = copy_at;
	p->first = vdisk_le32(e);
	p->copy = vdisk_le32(c);
	return 0;
}

/* Whichever of two entries of the directories names a table is put in both. */
static void mend_gde(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct pair *p, struct vdisk_mend *mend)
{
	const char *bad, *copy_bad;

	bad = p->first ? vdisk_vmdk_table_fault(geom, step, p->first) : NULL;
	copy_bad = p->copy ? vdisk_vmdk_table_fault(geom, step, p->copy) : NULL;
	mend->what = bad ? bad : copy_bad ? copy_bad :
		     "Grain directory and its copy differ";
	mend->value = bad ? p->first : p->copy;
	mend->told = bad || copy_bad;
	mend->table = true;
	if (p->first && !bad)
		set_entry(mend, p->copy_at, p->first,
			  "redundant entry names the first table too");
	else if (p->copy && !copy_bad)
		set_entry(mend, p->at, p->copy,
			  "entry taken from the redundant directory");
	else if (!p->first)
		set_entry(mend, p->copy_at, 0, "redundant entry cleared");
	else
		mend->what = NULL;	/* that is for walk() to tell */
}

static bool is_hole(const struct vdisk_geom *geom, u32 entry)
{
	return !entry ||
	       (entry == 1 && geom->priv[VMDK_FLAGS] & VMDK_ZEROED);
}

static void mend_gte(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 grain, bool taken, const struct pair *p,
		     struct vdisk_mend *mend)
{
	const char *bad = NULL, *copy_bad = NULL;

	if (!is_hole(geom, p->first))
		bad = vdisk_vmdk_grain_fault(geom, step, grain, p->first);
	if (!is_hole(geom, p->copy))
		copy_bad = vdisk_vmdk_grain_fault(geom, step, grain, p->copy);
	mend->what = bad ? bad : "Grain table and its copy differ";
	mend->value = bad ? p->first : p->copy;
	mend->told = bad;
	if (!taken && !is_hole(geom, p->copy) && !copy_bad &&
	    (bad || !p->first)) {
		mend->claim_off = (u64)p->copy * VDISK_SECTOR;
		mend->claim_len = geom->priv[VMDK_FLAGS] & VMDK_COMPRESSED ?
				  VDISK_SECTOR : geom->unit_len;
		set_entry(mend, p->at, p->copy,
			  "entry taken from the redundant table");
	} else if (!bad) {
		mend->loses = !is_hole(geom, p->copy) && !copy_bad && !taken;
		set_entry(mend, p->copy_at, p->first,
			  "redundant entry set to the first");
	} else {
		mend->what = NULL;
	}
}

/* Entries from @p->gt on, as far as both tables are in one block each. */
static int compare_tables(const struct vdisk_geom *geom,
			  struct vdisk_step *step, u64 gt_off, u64 rgt_off,
			  bool taken, struct pair *p, struct vdisk_mend *mend)
{
	u64 gtes = geom->priv[VMDK_GTES], at = p->gt * VMDK_ENTRY_LEN, n, i;
	u64 grain = p->gd * gtes + p->gt, grains;
	const u8 *e, *c;

	n = (gtes - p->gt) * VMDK_ENTRY_LEN;
	n = vdisk_min(n, VDISK_BLOCK - ((gt_off + at) & (VDISK_BLOCK - 1)));
	n = vdisk_min(n, VDISK_BLOCK - ((rgt_off + at) & (VDISK_BLOCK - 1)));
	e = vdisk_want(step, gt_off + at, (u32)n);
	c = e ? vdisk_want(step, rgt_off + at, (u32)n) : NULL;
	if (!c)
		return -EAGAIN;
	/* Entries behind the disk's last grain mean nothing. */
	grains = vdisk_div_up(geom->priv[VMDK_CAPACITY], geom->unit_sec);
	for (i = 0; i < n / VMDK_ENTRY_LEN && !mend->what; i++) {
		if (grain + i >= grains)
			break;
		p->at = gt_off + at + i * VMDK_ENTRY_LEN;
		p->copy_at = rgt_off + at + i * VMDK_ENTRY_LEN;
		p->first = vdisk_le32(e + i * VMDK_ENTRY_LEN);
		p->copy = vdisk_le32(c + i * VMDK_ENTRY_LEN);
		if (p->first == p->copy)
			continue;
		mend_gte(geom, step, grain + i, taken, p, mend);
		taken = false;
	}
	p->gt += mend->what ? i : n / VMDK_ENTRY_LEN;
	return 0;
}

static bool vmdk_other(const struct vdisk_geom *geom, struct vdisk_geom *other)
{
	*other = *geom;
	other->priv[VMDK_GD_OFF] = geom->priv[VMDK_RGD_OFF];
	other->priv[VMDK_GD_LEN] = geom->priv[VMDK_RGD_LEN];
	other->priv[VMDK_RGD_OFF] = geom->priv[VMDK_GD_OFF];
	other->priv[VMDK_RGD_LEN] = geom->priv[VMDK_GD_LEN];
	return geom->priv[VMDK_RGD_OFF];
}

/* The first entry behind the block that holds entry @i of the table at @off. */
static u64 block_end(u64 off, u64 i)
{
	u64 at = off + i * VMDK_ENTRY_LEN;

	return i + (VDISK_BLOCK - (at & (VDISK_BLOCK - 1))) / VMDK_ENTRY_LEN;
}

static int vmdk_copies(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 *cursor, bool taken, struct vdisk_mend *mend)
{
	u64 rgd = geom->priv[VMDK_RGD_OFF], gtes = geom->priv[VMDK_GTES], at;
	struct pair p = { .gd = *cursor >> 16, .gt = *cursor & 0xffff };
	const char *bad;
	u64 limit;
	int r;

	*mend = (struct vdisk_mend){ 0 };
	/* Not more than a block of either directory in one step. */
	limit = vdisk_min(block_end(geom->priv[VMDK_GD_OFF], p.gd),
			  block_end(rgd, p.gd));
	limit = vdisk_min(limit, geom->priv[VMDK_GDES]);
	while (rgd && p.gd < limit && !mend->what) {
		at = p.gd * VMDK_ENTRY_LEN;
		r = read_pair(step, geom->priv[VMDK_GD_OFF] + at, rgd + at, &p);
		if (r)
			return r;
		bad = p.first && p.copy ?
		      vdisk_vmdk_table_fault(geom, step, p.first) : "";
		if (!bad)
			bad = vdisk_vmdk_table_fault(geom, step, p.copy);
		if (p.first == p.copy || bad) {
			if (p.first != p.copy)
				mend_gde(geom, step, &p, mend);
			p.gd++;
			p.gt = 0;
			continue;
		}
		r = compare_tables(geom, step, (u64)p.first * VDISK_SECTOR,
				   (u64)p.copy * VDISK_SECTOR, taken, &p, mend);
		if (r)
			return r;
		if (p.gt == gtes) {
			p.gd++;
			p.gt = 0;
		}
		break;
	}
	*cursor = cursor_of(p.gd, p.gt);
	if (!mend->what && (!rgd || p.gd == geom->priv[VMDK_GDES]))
		*cursor = ~0ull;
	return 0;
}

/*-----------------------------------------------------------------
 * ESX: where the next grain goes
 */

static int cowd_copies(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 *cursor, bool taken, struct vdisk_mend *mend)
{
	u64 gd = *cursor >> 16, gt = *cursor & 0xffff, off, n, i, end;
	u64 free_at = offsetof(struct cowd_header_disk, free_sector);
	const u8 *p;
	u32 free, e;

	*mend = (struct vdisk_mend){ 0 };
	p = vdisk_want(step, free_at, 4);
	if (!p)
		return -EAGAIN;
	free = vdisk_le32(p);
	if (gd == geom->priv[VMDK_GDES]) {
		*cursor = ~0ull;
		return 0;
	}
	p = vdisk_want(step, geom->priv[VMDK_GD_OFF] + gd * VMDK_ENTRY_LEN,
		       VMDK_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	off = (u64)vdisk_le32(p) * VDISK_SECTOR;
	if (!off || vdisk_vmdk_table_fault(geom, step, vdisk_le32(p))) {
		*cursor = cursor_of(gd + 1, 0);
		return 0;
	}
	/* The table itself, then its entries. */
	end = vdisk_le32(p) + COWD_GTES * VMDK_ENTRY_LEN / VDISK_SECTOR;
	off += gt * VMDK_ENTRY_LEN;
	n = vdisk_min((COWD_GTES - gt) * VMDK_ENTRY_LEN,
		      VDISK_BLOCK - (off & (VDISK_BLOCK - 1)));
	p = vdisk_want(step, off, (u32)n);
	if (!p)
		return -EAGAIN;
	for (i = 0; i < n / VMDK_ENTRY_LEN; i++) {
		e = vdisk_le32(p + i * VMDK_ENTRY_LEN);
		if (e && !vdisk_vmdk_grain_fault(geom, step,
						 gd * COWD_GTES + gt + i, e))
			end = vdisk_max(end, e + geom->unit_sec);
	}
	*cursor = gt + i < COWD_GTES ? cursor_of(gd, gt + i) :
				       cursor_of(gd + 1, 0);
	if (end <= free || free >= vdisk_div_up(step->file_len, VDISK_SECTOR))
		return 0;
	mend->what = "freeSector lies below what is in use";
	mend->value = free;
	mend->done = "freeSector set to the end of the file";
	vdisk_plan_set(&mend->plan, VDISK_BEFORE, free_at, 4, false, 1,
		       vdisk_div_up(step->file_len, VDISK_SECTOR), 0);
	*cursor = ~0ull;
	return 0;
}

/*-----------------------------------------------------------------*/

static int vmdk_point(const struct vdisk_geom *geom, struct vdisk_step *step,
		      const struct vdisk_range *range, u64 to,
		      struct vdisk_plan *plan)
{
	u64 grain = range->sector >> geom->priv[VMDK_GRAIN_SHIFT];
	u64 gd = vdisk_div(grain, geom->priv[VMDK_GTES]);
	const u8 *p;

	*plan = (struct vdisk_plan){ 0 };
	if (to >= VMDK_MAX_OFF)
		return vdisk_bad(step, "VMDK file is full at 2 TiB", to);
	p = vdisk_want(step, geom->priv[VMDK_GD_OFF] + gd * VMDK_ENTRY_LEN,
		       VMDK_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	vdisk_plan_set(plan, VDISK_PUBLISH, (u64)vdisk_le32(p) * VDISK_SECTOR +
		       (grain - gd * geom->priv[VMDK_GTES]) * VMDK_ENTRY_LEN,
		       VMDK_ENTRY_LEN, false, 1, to / VDISK_SECTOR, 0);
	return 0;
}

#define VMDK_FIELD(name, field, ...) \
	{ name, offsetof(struct vmdk_header_disk, field), \
	  sizeof(((struct vmdk_header_disk *)0)->field), false, __VA_ARGS__ }

static const struct vdisk_field vmdk_fields[] = {
	VMDK_FIELD("gdOffset", gd_offset, false, false),
	VMDK_FIELD("rgdOffset", rgd_offset, false, false),
	VMDK_FIELD("grainSize", grain_size, false, false),
	VMDK_FIELD("numGTEsPerGT", num_gtes, false, false),
	VMDK_FIELD("overHead", overhead, false, false),
	VMDK_FIELD("descriptorOffset", desc_offset, false, false),
	VMDK_FIELD("descriptorSize", desc_size, false, false),
	VMDK_FIELD("flags", flags, false, true),
	VMDK_FIELD("capacity", capacity, true, false),
};

#define COWD_FIELD(name, field, ...) \
	{ name, offsetof(struct cowd_header_disk, field), \
	  sizeof(((struct cowd_header_disk *)0)->field), false, __VA_ARGS__ }

static const struct vdisk_field cowd_fields[] = {
	COWD_FIELD("gdOffset", gd_offset, false, false),
	COWD_FIELD("grainSize", grain_size, false, false),
	COWD_FIELD("numGDEntries", num_gdes, false, false),
	COWD_FIELD("numSectors", capacity, true, false),
};

const struct vdisk_repair vdisk_vmdk_repair = {
	.format		= &vdisk_vmdk_format,
	.fields		= vmdk_fields,
	.nr_fields	= sizeof(vmdk_fields) / sizeof(vmdk_fields[0]),
	.other		= vmdk_other,
	.least_align	= VDISK_SECTOR,
	.head		= vmdk_head,
	.copies		= vmdk_copies,
	.point		= vmdk_point,
};

const struct vdisk_repair vdisk_cowd_repair = {
	.format		= &vdisk_cowd_format,
	.fields		= cowd_fields,
	.nr_fields	= sizeof(cowd_fields) / sizeof(cowd_fields[0]),
	.copies		= cowd_copies,
	.point		= vmdk_point,
};
