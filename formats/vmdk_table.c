// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The grain directory and grain tables of VMDK, hosted (KDMV) and ESX (COWD).
 *
 * A directory entry is the sector of a grain table, a table entry the sector
 * of a grain or, in a compressed extent, of a record that holds one. Hosted
 * extents may have all of it twice; both sets of tables name the same grains.
 *
 * Every reader goes through the first directory, so it alone says what is
 * there, and the redundant set is only ever written. After a crash the two may
 * differ by entries that no flush had promised. Where the redundant set lacks a
 * whole table, its directory entry is pointed at the first set's: a copy would
 * not fit a plan, and readers that compare the two find them equal.
 */
#include "vmdk.h"

/* Where the entry of a grain is, and what it says. */
struct place {
	u64 gd;		/* entry of the directory */
	u64 gt_off;	/* bytes; 0 = no table */
	u64 rgt_off;	/* bytes; 0 = no redundant table */
	u32 gt;		/* entry of the table */
	u32 left;	/* entries from it on: to the table's or the disk's end */
	u32 entry;
	enum vdisk_kind kind;
};

static u64 limit_of(const struct vdisk_step *step)
{
	return vdisk_min(step->data_end, step->file_len);
}

static bool is_packed(const struct vdisk_geom *geom)
{
	return geom->priv[VMDK_FLAGS] & VMDK_COMPRESSED;
}

static u64 table_len(const struct vdisk_geom *geom)
{
	return geom->priv[VMDK_GTES] * VMDK_ENTRY_LEN;
}

static u64 nr_grains(const struct vdisk_geom *geom)
{
	return (geom->priv[VMDK_CAPACITY] + geom->unit_sec - 1) >>
	       geom->priv[VMDK_GRAIN_SHIFT];
}

int vdisk_vmdk_set_size(struct vdisk_step *step, u64 size_sec, u64 capacity,
			u64 grain_sec, u64 gtes, struct vdisk_geom *geom)
{
	u64 gdes;

	if (!capacity)
		return vdisk_bad(step, "The disk is empty", 0);
	if (capacity >= VMDK_MAX_SECTORS)
		return vdisk_bad(step, "VMDK capacity is too large", capacity);
	if (size_sec > capacity)
		return vdisk_bad(step, "Image is smaller than the extent",
				 capacity);
	gdes = vdisk_div_up(capacity, gtes * grain_sec);
	if (gdes > VMDK_MAX_GDES)
		return vdisk_bad(step, "Grain directory is too large", gdes);

	geom->size_sec = size_sec ? size_sec : capacity;
	geom->unit_sec = grain_sec;
	geom->unit_len = grain_sec * VDISK_SECTOR;
	geom->unit_align = geom->unit_len;
	geom->priv[VMDK_CAPACITY] = capacity;
	geom->priv[VMDK_GRAIN_SHIFT] = (u64)__builtin_ctzll(grain_sec);
	geom->priv[VMDK_GTES] = gtes;
	geom->priv[VMDK_GTES_SHIFT] = vdisk_pow2(gtes) ?
		(u64)__builtin_ctzll(gtes) : VMDK_NO_SHIFT;
	geom->priv[VMDK_GDES] = gdes;
	return 0;
}

const void *vdisk_vmdk_header(const struct vdisk_params *params,
			      struct vdisk_step *step, u32 len,
			      const char *too_short, int *r)
{
	const void *header;

	if (params->file_len < len) {
		*r = vdisk_bad(step, too_short, params->file_len);
		return NULL;
	}
	header = vdisk_want(step, 0, len);
	*r = header ? 0 : -EAGAIN;
	return header;
}

void vdisk_vmdk_set_end(const struct vdisk_params *params, u64 end,
			bool unclean, struct vdisk_geom *geom)
{
	geom->data_end = end;
	geom->alloc_off = vdisk_align(vdisk_max(end, geom->data_off),
				      geom->unit_align, 0);
	geom->flags |= VDISK_GEOM_MARK;
	if (params->device)
		geom->flags |= VDISK_GEOM_SCAN;
	if (unclean)
		geom->flags |= VDISK_GEOM_DIRTY;
}

const char *vdisk_vmdk_record_fault(const struct vdisk_geom *geom, u64 grain,
				    const u8 *head, u64 room)
{
	u64 lba = vdisk_le64(head);
	u32 size = vdisk_le32(head + 8);

	if (lba != grain << geom->priv[VMDK_GRAIN_SHIFT])
		return "Compressed grain is of another sector";
	if (!size)
		return "Compressed grain has no data";
	if (size > 2 * geom->unit_sec * VDISK_SECTOR)
		return "Compressed grain is too long";
	if (size + (u64)VMDK_GRAIN_HEAD > room)
		return "Compressed grain is cut off";
	return NULL;
}

/* Bytes that a sound record takes in the file, with its padding. */
static u64 record_len(const u8 *head, u64 room)
{
	u64 len = vdisk_le32(head + 8) + (u64)VMDK_GRAIN_HEAD;

	return vdisk_min(vdisk_align(len, VDISK_SECTOR, 0), room);
}

static enum vdisk_kind kind_of(const struct vdisk_geom *geom, u32 entry)
{
	if (!entry)
		return VDISK_PARENT;
	if (entry == 1 && geom->priv[VMDK_FLAGS] & VMDK_ZEROED)
		return VDISK_ZERO;
	return is_packed(geom) ? VDISK_DEFLATE : VDISK_DATA;
}

static void split(const struct vdisk_geom *geom, u64 grain, struct place *p)
{
	u64 gtes = geom->priv[VMDK_GTES], shift = geom->priv[VMDK_GTES_SHIFT];

	p->gd = shift < VMDK_NO_SHIFT ? grain >> shift : vdisk_div(grain, gtes);
	p->gt = (u32)(grain - p->gd * gtes);
	p->left = (u32)vdisk_min(gtes - p->gt, nr_grains(geom) - grain);
}

/* The directory entry @gd, and the offset of its table: 0 if there is none. */
static int find_table(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 dir_off, u64 gd, u64 *off)
{
	const char *fault;
	const u8 *p;
	u32 entry;

	p = vdisk_want(step, dir_off + gd * VMDK_ENTRY_LEN, VMDK_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	entry = vdisk_le32(p);
	*off = (u64)entry * VDISK_SECTOR;
	fault = entry ? vdisk_vmdk_table_fault(geom, step, entry) : NULL;
	return fault ? vdisk_bad(step, fault, entry) : 0;
}

/* Fills all of @p but the redundant table. */
static int find_grain(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 grain, struct place *p)
{
	const char *fault;
	const u8 *e;
	int r;

	*p = (struct place){ .kind = VDISK_PARENT };
	split(geom, grain, p);
	r = find_table(geom, step, geom->priv[VMDK_GD_OFF], p->gd, &p->gt_off);
	if (r || !p->gt_off)
		return r;
	e = vdisk_want(step, p->gt_off + (u64)p->gt * VMDK_ENTRY_LEN,
		       VMDK_ENTRY_LEN);
	if (!e)
		return -EAGAIN;
	p->entry = vdisk_le32(e);
	p->kind = kind_of(geom, p->entry);
	if (p->kind == VDISK_PARENT || p->kind == VDISK_ZERO)
		return 0;
	fault = vdisk_vmdk_grain_fault(geom, step, grain, p->entry);
	return fault ? vdisk_bad(step, fault, p->entry) : 0;
}

static int find_copy(const struct vdisk_geom *geom, struct vdisk_step *step,
		     struct place *p)
{
	u64 rgd_off = geom->priv[VMDK_RGD_OFF];

	if (!rgd_off || !p->gt_off)
		return 0;
	return find_table(geom, step, rgd_off, p->gd, &p->rgt_off);
}

/*
 * How many grains from @grain on, in one table and one view, go on like @first
 * does @done grains before: 0 too where a view is missing or an entry is bad,
 * which is for the caller of that sector to hear.
 */
static u64 same_in_view(const struct vdisk_geom *geom,
			const struct vdisk_step *step, const struct place *first,
			u64 done, u64 grain, u64 most)
{
	u64 off, entry = first->entry, n, i, whole, end;
	u32 gde, add = 0;
	struct place p;
	const u8 *e;

	split(geom, grain, &p);
	most = vdisk_min(most, p.left);
	off = geom->priv[VMDK_GD_OFF] + p.gd * VMDK_ENTRY_LEN;
	if (vdisk_have(step, off, VMDK_ENTRY_LEN, &e) < VMDK_ENTRY_LEN)
		return 0;
	gde = vdisk_le32(e);
	if (!gde)
		return first->kind == VDISK_PARENT ? most : 0;
	if (vdisk_vmdk_table_fault(geom, step, gde))
		return 0;
	off = (u64)gde * VDISK_SECTOR + (u64)p.gt * VMDK_ENTRY_LEN;
	n = vdisk_have(step, off, (u32)most * VMDK_ENTRY_LEN, &e) /
	    VMDK_ENTRY_LEN;
	whole = n;
	if (first->kind == VDISK_DATA) {
		add = (u32)geom->unit_sec;
		entry += done * add;
		end = vdisk_vmdk_room_end(geom, step, (u64)first->entry *
						      VDISK_SECTOR);
		off = vdisk_min(entry * VDISK_SECTOR, end);
		whole = (end - off) >> geom->priv[VMDK_GRAIN_SHIFT] >>
			VDISK_SHIFT;
	}
	if (entry >> 32)
		return 0;
	i = vdisk_count_up(e, n, (u32)entry, add, false);
	/* The disk's last grain may be short. */
	if (i > whole && vdisk_vmdk_grain_fault(geom, step, grain + whole,
						entry + whole * add))
		i = whole;
	return vdisk_min(i, whole + 1);
}

/* How long the run is that @first, the place of @grain, begins. */
static u64 run_of_grains(const struct vdisk_geom *geom,
			 const struct vdisk_step *step,
			 const struct place *first, u64 grain, u64 most)
{
	u64 n, more;

	for (n = 1; n < most; n += more) {
		more = same_in_view(geom, step, first, n, grain + n, most - n);
		if (!more)
			break;
	}
	return n;
}

int vdisk_vmdk_map(const struct vdisk_geom *geom, struct vdisk_step *step,
		   u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	const u32 shift = (u32)geom->priv[VMDK_GRAIN_SHIFT];
	u64 in = sector & (geom->unit_sec - 1), grain = sector >> shift, n = 1;
	struct place p;
	int r;

	r = find_grain(geom, step, grain, &p);
	if (r)
		return r;
	extent->kind = p.kind;
	extent->off = (u64)p.entry * VDISK_SECTOR;
	if (p.kind == VDISK_DEFLATE) {
		extent->skip_sec = in;
		extent->len = (u32)vdisk_min(geom->unit_len,
					     limit_of(step) - extent->off);
	} else {
		extent->off += in * VDISK_SECTOR;
		n = run_of_grains(geom, step, &p, grain,
				  ((in + sectors - 1) >> shift) + 1);
	}
	extent->sectors = vdisk_min(sectors, (n << shift) - in);
	return 0;
}

/* Both copies of @n entries from @p's on. */
static void set_entries(const struct vdisk_geom *geom, const struct place *p,
			u64 n, u64 value, u64 step, struct vdisk_plan *plan)
{
	u64 at = (u64)p->gt * VMDK_ENTRY_LEN;

	vdisk_plan_set(plan, VDISK_PUBLISH, p->gt_off + at, VMDK_ENTRY_LEN,
		       false, (u32)n, value, step);
	if (p->rgt_off && p->rgt_off != p->gt_off)
		vdisk_plan_set(plan, VDISK_PUBLISH, p->rgt_off + at,
			       VMDK_ENTRY_LEN, false, (u32)n, value, step);
}

static void set_table(u64 dir_off, u64 gd, u64 gt_off, struct vdisk_plan *plan)
{
	vdisk_plan_set(plan, VDISK_PUBLISH, dir_off + gd * VMDK_ENTRY_LEN,
		       VMDK_ENTRY_LEN, false, 1, gt_off / VDISK_SECTOR, 0);
}

/*
 * The tables of a new entry. A missing table is made in both sets: should only
 * the redundant one have it, an old crash left it there and nothing counts on
 * its entries.
 */
static int make_tables(const struct vdisk_geom *geom, struct vdisk_step *step,
		       struct place *p, struct vdisk_plan *plan)
{
	u64 rgd_off = geom->priv[VMDK_RGD_OFF];
	u64 one = vdisk_align(table_len(geom), VDISK_SECTOR, 0);
	u64 all = rgd_off ? 2 * one : one;

	if (p->gt_off) {
		if (rgd_off && !p->rgt_off)
			set_table(rgd_off, p->gd, p->gt_off, plan);
		return 0;
	}
	if (!vdisk_want_table(step, (u32)all, VDISK_BLOCK, 0))
		return -EAGAIN;
	p->gt_off = step->table.off;
	if (p->gt_off + all > VMDK_MAX_OFF)
		return vdisk_full(step, "VMDK file is full at 2 TiB", p->gt_off);
	vdisk_plan_zero(plan, VDISK_IN_DATA, p->gt_off, all);
	set_table(geom->priv[VMDK_GD_OFF], p->gd, p->gt_off, plan);
	if (rgd_off) {
		p->rgt_off = p->gt_off + one;
		set_table(rgd_off, p->gd, p->rgt_off, plan);
	}
	return 0;
}

/*
 * A compressed grain goes behind the others, whether it is the first for its
 * sectors or not: a record cannot be changed where it is.
 */
static int alloc_packed(const struct vdisk_geom *geom, struct vdisk_step *step,
			const struct vdisk_ask *ask, u64 grain, struct place *p,
			struct vdisk_plan *plan)
{
	u64 len = ask->packed_len + (u64)VMDK_GRAIN_HEAD, off, old, room;
	u64 space = vdisk_align(len, VDISK_SECTOR, 0);
	const u8 *head;
	int r;

	if (!ask->packed_len)
		return vdisk_bad(step, "Compressed grain has no data", 0);
	if (space > geom->unit_len)
		return vdisk_bad(step, "Compressed grain is too long",
				 ask->packed_len);
	if (p->kind == VDISK_DEFLATE) {
		old = (u64)p->entry * VDISK_SECTOR;
		room = limit_of(step) - old;
		head = vdisk_want(step, old, VMDK_GRAIN_HEAD);
		if (!head)
			return -EAGAIN;
		if (!vdisk_vmdk_record_fault(geom, grain, head, room)) {
			plan->freed_off = old;
			plan->freed_len = record_len(head, room);
		}
	}
	r = make_tables(geom, step, p, plan);
	if (r)
		return r;
	if (!vdisk_want_unit(step, geom, (u32)space, 1))
		return -EAGAIN;
	off = step->unit.off;
	if (off >= VMDK_MAX_OFF)
		return vdisk_full(step, "VMDK file is full at 2 TiB", off);

	vdisk_plan_set(plan, VDISK_IN_DATA, off, 8, false, 1,
		       plan->first_sec, 0);
	vdisk_plan_set(plan, VDISK_IN_DATA, off + 8, 4, false, 1,
		       ask->packed_len, 0);
	if (space > len)
		vdisk_plan_zero(plan, VDISK_IN_DATA, off + len, space - len);
	set_entries(geom, p, 1, off / VDISK_SECTOR, 0, plan);
	plan->fill = VDISK_FILL_NONE;
	plan->made_sec = geom->unit_sec;
	plan->first_off = off;
	plan->data_off = off + VMDK_GRAIN_HEAD;
	return 0;
}

static int alloc_grains(const struct vdisk_geom *geom, struct vdisk_step *step,
			u64 grain, u64 most, struct place *p,
			struct vdisk_plan *plan)
{
	u64 n, off;
	int r;

	n = run_of_grains(geom, step, p, grain, vdisk_min(most, p->left));
	r = make_tables(geom, step, p, plan);
	if (r)
		return r;
	if (!vdisk_want_unit(step, geom, (u32)geom->unit_len, (u32)n))
		return -EAGAIN;
	n = vdisk_min(n, step->unit.count);
	off = step->unit.off;
	if (off + (n - 1) * geom->unit_len >= VMDK_MAX_OFF)
		return vdisk_full(step, "VMDK file is full at 2 TiB", off);

	set_entries(geom, p, n, off / VDISK_SECTOR, geom->unit_sec, plan);
	plan->fill = p->kind == VDISK_ZERO ? VDISK_FILL_ZERO
					   : VDISK_FILL_PARENT;
	plan->made_sec = n * geom->unit_sec;
	plan->first_off = off;
	return 0;
}

int vdisk_vmdk_alloc(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_ask *ask, struct vdisk_plan *plan)
{
	const u32 shift = (u32)geom->priv[VMDK_GRAIN_SHIFT];
	u64 in = ask->sector & (geom->unit_sec - 1);
	u64 grain = ask->sector >> shift;
	struct place p;
	int r;

	r = find_grain(geom, step, grain, &p);
	if (!r)
		r = find_copy(geom, step, &p);
	if (r)
		return r;
	*plan = (struct vdisk_plan){
		.sectors = vdisk_min(ask->sectors, geom->unit_sec - in),
		.first_sec = grain << shift,
		.first_off = (u64)p.entry * VDISK_SECTOR,
	};
	if (is_packed(geom))
		return alloc_packed(geom, step, ask, grain, &p, plan);
	/* A grain that is there already needs no plan. */
	if (p.kind != VDISK_DATA) {
		r = alloc_grains(geom, step, grain,
				 ((in + ask->sectors - 1) >> shift) + 1, &p,
				 plan);
		plan->sectors = vdisk_min(ask->sectors, plan->made_sec - in);
	}
	plan->data_off = plan->first_off + in * VDISK_SECTOR;
	return r;
}

/*
 * The bytes that entry @i of a discard gives back join those before it, or are
 * the first: false if they lie elsewhere and are for the next plan.
 */
static bool join_freed(u64 off, u64 len, struct vdisk_plan *plan)
{
	if (!plan->freed_len)
		plan->freed_off = off;
	else if (plan->freed_off + plan->freed_len != off)
		return false;
	plan->freed_len += len;
	return true;
}

/* How many of @n entries one plan can clear, and what that gives back. */
static u64 free_grains(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 grain, u64 n, const u8 *e, struct vdisk_plan *plan)
{
	u64 i, off, len = geom->unit_len;
	enum vdisk_kind kind;
	u32 entry;

	for (i = 0; i < n; i++) {
		entry = vdisk_le32(e + i * VMDK_ENTRY_LEN);
		kind = kind_of(geom, entry);
		if (kind == VDISK_PARENT || kind == VDISK_ZERO)
			continue;
		/* The length of a record is known of the first one only. */
		if (kind == VDISK_DEFLATE && i)
			break;
		if (kind == VDISK_DEFLATE)
			continue;
		if (vdisk_vmdk_grain_fault(geom, step, grain + i, entry))
			break;
		off = (u64)entry * VDISK_SECTOR;
		if (!join_freed(off, vdisk_min(len, limit_of(step) - off), plan))
			break;
	}
	return i;
}

static int free_record(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 grain, u32 entry, struct vdisk_plan *plan)
{
	u64 off = (u64)entry * VDISK_SECTOR, room = limit_of(step) - off;
	const u8 *head = vdisk_want(step, off, VMDK_GRAIN_HEAD);

	if (!head)
		return -EAGAIN;
	if (!vdisk_vmdk_record_fault(geom, grain, head, room)) {
		plan->freed_off = off;
		plan->freed_len = record_len(head, room);
	}
	return 0;
}

/*
 * Whole grains become zeroes, which hide a parent, if the extent has such
 * entries; else holes, if it is said to have no parent. What is below an extent
 * is in its descriptor, not in its header: so only an unmap may count on it.
 */
int vdisk_vmdk_discard(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 sector, u64 sectors, bool unmap,
		       struct vdisk_plan *plan)
{
	const u32 shift = (u32)geom->priv[VMDK_GRAIN_SHIFT];
	u64 in = sector & (geom->unit_sec - 1), grain = sector >> shift, n;
	bool zeroed = geom->priv[VMDK_FLAGS] & VMDK_ZEROED;
	struct place p;
	const u8 *e;
	int r;

	*plan = (struct vdisk_plan){
		.sectors = vdisk_min(sectors, geom->unit_sec - in),
	};
	/* The disk's last grain is whole when its last sector is in it. */
	n = (sectors + (sector + sectors == geom->size_sec ?
			geom->unit_sec - 1 : 0)) >> shift;
	if (in || !n)
		return 0;
	plan->sectors = vdisk_min(sectors, n << shift);
	if (!zeroed && (!unmap || geom->flags & VDISK_GEOM_PARENT))
		return 0;

	r = find_grain(geom, step, grain, &p);
	if (!r)
		r = find_copy(geom, step, &p);
	if (r)
		return r;
	n = vdisk_min(n, p.left);
	plan->sectors = vdisk_min(sectors, n << shift);
	if (!p.gt_off)
		return 0;
	if (p.kind == VDISK_DEFLATE) {
		r = free_record(geom, step, grain, p.entry, plan);
		if (r)
			return r;
	}
	n = vdisk_have(step, p.gt_off + (u64)p.gt * VMDK_ENTRY_LEN,
		       (u32)n * VMDK_ENTRY_LEN, &e) / VMDK_ENTRY_LEN;
	n = free_grains(geom, step, grain, n, e, plan);
	plan->sectors = vdisk_min(sectors, n << shift);
	set_entries(geom, &p, n, zeroed, 0, plan);
	return 0;
}

/*
 * The walk tells each table in pieces that end where a VDISK_BLOCK does, and
 * after each piece what its entries own: so every step needs few views however
 * many empty pieces follow each other.
 */
enum walk_stage {
	WALK_HEADER,
	WALK_DESCRIPTOR,
	WALK_FOOTER,
	WALK_FIRST,	/* directory, its tables and the grains */
	WALK_COPY,	/* redundant directory and its tables */
	WALK_OVER,
};

struct spot {
	enum walk_stage stage;
	u64 gd;
	u32 gt;
	bool in_table;
	bool told;	/* the piece that holds the entry was told */
};

static struct spot spot_of(u64 cursor)
{
	return (struct spot){
		.stage = cursor & 7,
		.told = cursor & 8,
		.in_table = cursor & 16,
		.gt = cursor >> 5 & 0x1fff,
		.gd = cursor >> 18,
	};
}

static u64 cursor_of(const struct spot *s)
{
	return (u64)s->stage | (u64)s->told << 3 | (u64)s->in_table << 4 |
	       (u64)s->gt << 5 | s->gd << 18;
}

/* Bytes from entry @i of the table at @off to the end of its piece. */
static u32 piece_len(u64 off, u64 i, u64 entries)
{
	u64 at = off + i * VMDK_ENTRY_LEN;

	return (u32)vdisk_min(VDISK_BLOCK - (at & (VDISK_BLOCK - 1)),
			      (entries - i) * VMDK_ENTRY_LEN);
}

static bool starts_piece(u64 off, u64 i)
{
	return !i || !((off + i * VMDK_ENTRY_LEN) & (VDISK_BLOCK - 1));
}

static u64 dir_of(const struct vdisk_geom *geom, const struct spot *s)
{
	return geom->priv[s->stage == WALK_COPY ? VMDK_RGD_OFF : VMDK_GD_OFF];
}

static void next_gd(const struct vdisk_geom *geom, struct spot *s)
{
	s->gd++;
	s->gt = 0;
	s->in_table = false;
	s->told = !starts_piece(dir_of(geom, s), s->gd);
	if (s->gd < geom->priv[VMDK_GDES])
		return;
	s->stage = s->stage == WALK_FIRST && geom->priv[VMDK_RGD_OFF] ?
		   WALK_COPY : WALK_OVER;
	s->gd = 0;
	s->told = false;
}

/* A table owns the rest of its last sector too. */
static void tell_table(const struct vdisk_step *step, u64 off, u64 len,
		       struct vdisk_range *range)
{
	range->kind = VDISK_RANGE_TABLE;
	range->off = off;
	range->len = vdisk_min(vdisk_align(len, VDISK_SECTOR, 0),
			       step->file_len - off);
}

/*
 * Tell the piece that starts at entry @i. In a stream the table's marker
 * belongs to it; a table that was added later has none.
 */
static int tell_piece(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct spot *s, u64 off, u64 i, u64 entries,
		      struct vdisk_range *range)
{
	u64 sectors = vdisk_div_up(entries * VMDK_ENTRY_LEN, VDISK_SECTOR);
	u32 type = s->in_table ? VMDK_MARK_GT : VMDK_MARK_GD;
	const u8 *m;

	tell_table(step, off + i * VMDK_ENTRY_LEN, piece_len(off, i, entries),
		   range);
	if (!i && geom->priv[VMDK_FLAGS] & VMDK_MARKERS &&
	    off >= geom->data_off + VDISK_SECTOR) {
		m = vdisk_want(step, off - VDISK_SECTOR, VMDK_MARKER_LEN);
		if (!m)
			return -EAGAIN;
		if (vdisk_le64(m) == sectors && !vdisk_le32(m + 8) &&
		    vdisk_le32(m + VMDK_GRAIN_HEAD) == type) {
			range->off -= VDISK_SECTOR;
			range->len += VDISK_SECTOR;
		}
	}
	s->told = true;
	return 0;
}

/* A redundant table is told whole, unless it is the first set's. */
static int tell_copy(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 gd, u64 off, struct vdisk_range *range)
{
	u64 dir_off = geom->priv[VMDK_GD_OFF];
	const u8 *e;

	e = vdisk_want(step, dir_off + gd * VMDK_ENTRY_LEN,
		       piece_len(dir_off, gd, geom->priv[VMDK_GDES]));
	if (!e)
		return -EAGAIN;
	if ((u64)vdisk_le32(e) * VDISK_SECTOR != off)
		tell_table(step, off, table_len(geom), range);
	return 0;
}

/* This and walk_table() return 0 without a range when the walk goes on. */
static int walk_dir(const struct vdisk_geom *geom, struct vdisk_step *step,
		    struct spot *s, struct vdisk_range *range)
{
	u64 dir_off = dir_of(geom, s), gdes = geom->priv[VMDK_GDES];
	enum walk_stage stage = s->stage;
	const char *fault;
	const u8 *e;
	u32 entry;
	int r;

	if (!s->told)
		return tell_piece(geom, step, s, dir_off, s->gd, gdes, range);
	e = vdisk_want(step, dir_off + s->gd * VMDK_ENTRY_LEN,
		       piece_len(dir_off, s->gd, gdes));
	if (!e)
		return -EAGAIN;
	while (!vdisk_le32(e)) {
		e += VMDK_ENTRY_LEN;
		next_gd(geom, s);
		if (!s->told || s->stage != stage)
			return 0;
	}
	entry = vdisk_le32(e);
	fault = vdisk_vmdk_table_fault(geom, step, entry);
	if (!fault && stage == WALK_FIRST) {
		s->in_table = true;
		s->gt = 0;
		s->told = false;
		return 0;
	}
	if (fault) {
		range->kind = VDISK_RANGE_TABLE;
		range->off = (u64)entry * VDISK_SECTOR;
		range->sector = s->gd * geom->priv[VMDK_GTES] <<
				geom->priv[VMDK_GRAIN_SHIFT];
		next_gd(geom, s);
		return vdisk_bad(step, fault, entry);
	}
	r = tell_copy(geom, step, s->gd, (u64)entry * VDISK_SECTOR, range);
	if (!r)
		next_gd(geom, s);
	return r;
}

static int tell_grain(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 grain, const struct place *p,
		      struct vdisk_range *range)
{
	u64 off = (u64)p->entry * VDISK_SECTOR, room;
	const char *fault;
	const u8 *head;

	range->kind = VDISK_RANGE_UNIT;
	range->off = off;
	range->sector = grain << geom->priv[VMDK_GRAIN_SHIFT];
	fault = vdisk_vmdk_grain_fault(geom, step, grain, p->entry);
	if (fault)
		return vdisk_bad(step, fault, p->entry);
	room = limit_of(step) - off;
	if (p->kind == VDISK_DATA) {
		range->len = vdisk_min(geom->unit_len, room);
		return 0;
	}
	head = vdisk_want(step, off, VMDK_GRAIN_HEAD);
	if (!head)
		return -EAGAIN;
	fault = vdisk_vmdk_record_fault(geom, grain, head, room);
	if (fault)
		return vdisk_bad(step, fault, p->entry);
	range->len = record_len(head, room);
	return 0;
}

static int walk_table(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct spot *s, struct vdisk_range *range)
{
	u64 gtes = geom->priv[VMDK_GTES], grain, n, i, most, more;
	struct place p = { .gd = s->gd };
	const u8 *e;
	int r;

	/* Sound when the walk came here, but that was another step. */
	r = find_table(geom, step, geom->priv[VMDK_GD_OFF], s->gd, &p.gt_off);
	if (r == -EAGAIN)
		return r;
	if (r || !p.gt_off) {
		next_gd(geom, s);
		return r;
	}
	if (!s->told)
		return tell_piece(geom, step, s, p.gt_off, s->gt, gtes, range);
	n = piece_len(p.gt_off, s->gt, gtes);
	e = vdisk_want(step, p.gt_off + (u64)s->gt * VMDK_ENTRY_LEN, (u32)n);
	if (!e)
		return -EAGAIN;
	grain = s->gd * gtes + s->gt;
	n /= VMDK_ENTRY_LEN;
	for (i = vdisk_count_up(e, n, 0, 0, false); i < n; i++) {
		p.entry = vdisk_le32(e + i * VMDK_ENTRY_LEN);
		p.kind = kind_of(geom, p.entry);
		if (p.kind == VDISK_DATA || p.kind == VDISK_DEFLATE)
			break;
	}
	/* Entries behind the disk's last grain mean nothing. */
	if (i < n && grain + i < nr_grains(geom)) {
		r = tell_grain(geom, step, grain + i, &p, range);
		if (r == -EAGAIN)
			return r;
		most = vdisk_min(n, nr_grains(geom) - grain) - ++i;
		more = !r && p.kind == VDISK_DATA && most ?
		       same_in_view(geom, step, &p, 1, grain + i, most) : 0;
		if (more)
			range->len = vdisk_min((more + 1) * geom->unit_len,
					vdisk_vmdk_room_end(geom, step,
							    range->off) -
					range->off);
		n = i + more;
	}
	s->gt += (u32)n;
	s->told = !starts_piece(p.gt_off, s->gt);
	if (s->gt == gtes)
		next_gd(geom, s);
	return r;
}

static int walk_meta(const struct vdisk_geom *geom, struct vdisk_step *step,
		     struct spot *s, struct vdisk_range *range)
{
	range->kind = VDISK_RANGE_META;
	if (s->stage == WALK_HEADER) {
		range->len = geom->priv[VMDK_META_LEN];
	} else if (s->stage == WALK_DESCRIPTOR) {
		range->off = geom->priv[VMDK_DESC_OFF];
		range->len = geom->priv[VMDK_DESC_LEN];
	} else if (geom->priv[VMDK_FOOTER_OFF] &&
		   step->data_end == geom->priv[VMDK_FOOTER_OFF] &&
		   step->file_len > step->data_end) {
		range->off = geom->priv[VMDK_FOOTER_OFF];
		range->len = vdisk_min(VMDK_TAIL_LEN,
				       step->file_len - range->off);
	}
	s->stage++;
	return 0;
}

int vdisk_vmdk_walk(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_range *range)
{
	struct spot s = spot_of(*cursor);
	int r = 0;

	*range = (struct vdisk_range){ 0 };
	while (!r && !range->len && s.stage != WALK_OVER) {
		if (s.stage < WALK_FIRST)
			r = walk_meta(geom, step, &s, range);
		else if (s.in_table)
			r = walk_table(geom, step, &s, range);
		else
			r = walk_dir(geom, step, &s, range);
	}
	if (r == -EAGAIN)
		return r;
	*cursor = cursor_of(&s);
	return r;
}
