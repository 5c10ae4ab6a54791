// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * VMDK space-efficient snapshots of ESX ("seSparse"), read only: a writer would
 * have to keep a journal, a bitmap of free grains and a map back from grains.
 *
 * A grain that the guest unmapped (entry kind 1) reads zero, as in ESX and
 * QEMU. Were it to read the parent, as one other reader has it, the entry would
 * not be needed: 0 says that.
 */
#include "vmdk.h"

enum sesparse_priv {
	CAPACITY,	/* sectors */
	GDES,		/* entries of the directory */
	TABLES,		/* grain tables there is room for */
	GRAINS,		/* grains there is room for */
	AREAS,		/* offset and length in bytes of each area */
	NR_PRIV = AREAS + 16,
};

static_assert(NR_PRIV <= VDISK_GEOM_PRIV, "seSparse numbers fit the geometry");

/* In the order of the header, as pairs from volatile_header on. */
enum area {
	AREA_VOLATILE,
	AREA_JOURNAL_HEADER,
	AREA_JOURNAL,
	AREA_DIRECTORY,
	AREA_TABLES,
	AREA_FREE,
	AREA_BACKMAP,
	AREA_GRAINS,
	NR_AREAS,
};

/* The top four bits of an entry. */
enum entry_kind {
	ENTRY_NONE,
	ENTRY_UNMAPPED,
	ENTRY_ZERO,
	ENTRY_GRAIN,
};

#define ENTRY_LEN 8u
#define GRAIN_LEN (SESPARSE_GRAIN * VDISK_SECTOR)
#define TABLE_LEN (SESPARSE_TABLE * VDISK_SECTOR)
#define ENTRIES (TABLE_LEN / ENTRY_LEN)	/* of a table */
#define TABLE_MARK 0x10000000u		/* upper half of a directory entry */

static u64 area_off(const struct vdisk_geom *geom, enum area a)
{
	return geom->priv[AREAS + 2 * a];
}

static u64 area_len(const struct vdisk_geom *geom, enum area a)
{
	return geom->priv[AREAS + 2 * a + 1];
}

static int sesparse_probe(const u8 *head, u32 head_len, const u8 *tail,
			  u32 tail_len)
{
	if (head_len < 16 || vdisk_le64(head) != SESPARSE_MAGIC)
		return 0;
	return vdisk_le64(head + 8) == SESPARSE_VERSION ? 90 : 50;
}

static int check_header(struct vdisk_step *step,
			const struct sesparse_header_disk *h)
{
	u32 i;

	if (le64_of(h->magic) != SESPARSE_MAGIC)
		return vdisk_bad(step, "No seSparse header found",
				 le64_of(h->magic));
	if (le64_of(h->version) != SESPARSE_VERSION)
		return vdisk_bad(step, "Unknown seSparse version",
				 le64_of(h->version));
	if (le64_of(h->grain_size) != SESPARSE_GRAIN)
		return vdisk_bad(step, "Size of seSparse grains is not 8 sectors",
				 le64_of(h->grain_size));
	if (le64_of(h->table_size) != SESPARSE_TABLE)
		return vdisk_bad(step, "Size of seSparse tables is not 64 sectors",
				 le64_of(h->table_size));
	if (le64_of(h->flags))
		return vdisk_bad(step, "Unknown seSparse flags",
				 le64_of(h->flags));
	for (i = 0; i < 4; i++)
		if (le64_of(h->reserved[i]))
			return vdisk_bad(step, "Unknown seSparse feature",
					 le64_of(h->reserved[i]));
	return 0;
}

/* The area of the grains may end behind the file: they are checked at use. */
static int set_areas(const struct vdisk_params *params, struct vdisk_step *step,
		     const struct sesparse_header_disk *h,
		     struct vdisk_geom *geom)
{
	const struct sesparse_area_disk *disk = &h->volatile_header;
	u64 room = params->file_len >> VDISK_SHIFT, off, len;
	u32 i;

	for (i = 0; i < NR_AREAS; i++) {
		off = le64_of(disk[i].offset);
		len = le64_of(disk[i].size);
		if (i == AREA_GRAINS)
			off = vdisk_min(off, room);
		else if (off > room || len > room - off)
			return vdisk_bad(step, "An seSparse area is outside the file",
					 off);
		if (!off && len)
			return vdisk_bad(step, "An seSparse area lies in the header",
					 i);
		len = vdisk_min(len, room - off);
		geom->priv[AREAS + 2 * i] = off * VDISK_SECTOR;
		geom->priv[AREAS + 2 * i + 1] = len * VDISK_SECTOR;
	}
	geom->priv[GDES] = area_len(geom, AREA_DIRECTORY) / ENTRY_LEN;
	geom->priv[TABLES] = area_len(geom, AREA_TABLES) / TABLE_LEN;
	geom->priv[GRAINS] = area_len(geom, AREA_GRAINS) / GRAIN_LEN;
	return 0;
}

static int set_size(const struct vdisk_params *params, struct vdisk_step *step,
		    u64 capacity, struct vdisk_geom *geom)
{
	u64 gdes;

	if (!capacity)
		return vdisk_bad(step, "The disk is empty", 0);
	gdes = vdisk_div_up(capacity, ENTRIES * SESPARSE_GRAIN);
	if (gdes > geom->priv[GDES])
		return vdisk_bad(step, "The seSparse directory is too short",
				 geom->priv[GDES]);
	if (params->size_sec > capacity)
		return vdisk_bad(step, "Image is smaller than the extent",
				 capacity);
	geom->priv[CAPACITY] = capacity;
	geom->priv[GDES] = gdes;
	geom->size_sec = params->size_sec ? params->size_sec : capacity;
	return 0;
}

static int check_volatile(struct vdisk_step *step,
			  const struct vdisk_geom *geom)
{
	const struct sesparse_volatile_disk *v;

	if (area_len(geom, AREA_VOLATILE) < SESPARSE_HEADER_LEN)
		return vdisk_bad(step, "No room for an seSparse volatile header", 0);
	v = (const void *)vdisk_want(step, area_off(geom, AREA_VOLATILE),
				     SESPARSE_HEADER_LEN);
	if (!v)
		return -EAGAIN;
	if (le64_of(v->magic) != SESPARSE_VOLATILE_MAGIC)
		return vdisk_bad(step, "No seSparse volatile header found",
				 le64_of(v->magic));
	if (le64_of(v->replay_journal))
		return vdisk_bad(step, "The seSparse journal must be replayed first",
				 le64_of(v->replay_journal));
	return 0;
}

static int sesparse_open(const struct vdisk_params *params,
			 struct vdisk_step *step, struct vdisk_geom *geom)
{
	const struct sesparse_header_disk *h;
	int r;

	*geom = (struct vdisk_geom){
		.unit_sec = SESPARSE_GRAIN,
		.unit_len = GRAIN_LEN,
		.unit_align = GRAIN_LEN,
		.data_end = params->file_len,
		.alloc_off = params->file_len,
		.flags = VDISK_GEOM_RDONLY,
		.why_ro = "An seSparse image cannot be written",
	};
	if (params->file_len < SESPARSE_HEADER_LEN)
		return vdisk_bad(step, "File is shorter than an seSparse header",
				 params->file_len);
	h = (const void *)vdisk_want(step, 0, SESPARSE_HEADER_LEN);
	if (!h)
		return -EAGAIN;
	r = check_header(step, h);
	if (!r)
		r = set_areas(params, step, h, geom);
	if (!r)
		r = set_size(params, step, le64_of(h->capacity), geom);
	if (!r)
		r = check_volatile(step, geom);
	if (r)
		return r;
	geom->data_off = area_off(geom, AREA_GRAINS);
	geom->unit_base = geom->data_off & (GRAIN_LEN - 1);
	return 0;
}

/* The offset of the table that directory entry @e names; 0 = none. */
static int table_of(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 e, u64 *off)
{
	*off = 0;
	if (!e)
		return 0;
	if (e >> 32 != TABLE_MARK)
		return vdisk_bad(step, "Wrong seSparse directory entry", e);
	if ((u32)e >= geom->priv[TABLES])
		return vdisk_bad(step, "Grain table is outside the seSparse area",
				 (u32)e);
	*off = area_off(geom, AREA_TABLES) + (u64)(u32)e * TABLE_LEN;
	return 0;
}

/* What table entry @e says of its grain; NULL or what is wrong with it. */
static const char *decode(const struct vdisk_geom *geom, u64 e,
			  enum vdisk_kind *kind, u64 *off)
{
	u64 grain = (e >> 48 & 0xfff) | (e & 0xffffffffffffull) << 12;

	*off = 0;
	switch (e >> 60) {
	case ENTRY_NONE:
		*kind = VDISK_PARENT;
		return e ? "Wrong seSparse table entry" : NULL;
	case ENTRY_UNMAPPED:
	case ENTRY_ZERO:
		*kind = VDISK_ZERO;
		return NULL;
	case ENTRY_GRAIN:
		*kind = VDISK_DATA;
		if (grain >= geom->priv[GRAINS])
			return "Grain is outside the seSparse area";
		*off = area_off(geom, AREA_GRAINS) + grain * GRAIN_LEN;
		return NULL;
	}
	return "Wrong seSparse table entry";
}

/* How many of @n entries go on like the first, which is @kind at @off. */
static u64 run_of_entries(const struct vdisk_geom *geom, const u8 *e, u64 n,
			  enum vdisk_kind kind, u64 off)
{
	enum vdisk_kind next;
	u64 i, at;

	for (i = 1; i < n; i++) {
		if (decode(geom, vdisk_le64(e + i * ENTRY_LEN), &next, &at))
			break;
		if (next != kind)
			break;
		if (kind == VDISK_DATA && at != off + i * GRAIN_LEN)
			break;
	}
	return i;
}

/* Grains of tables that are not there, from the one of @grain on. */
static u64 run_of_holes(const struct vdisk_geom *geom,
			const struct vdisk_step *step, u64 grain, u64 most)
{
	u64 gd = grain / ENTRIES, n = ENTRIES - grain % ENTRIES, i;
	u64 left = vdisk_min((n < most) ? (most - n + ENTRIES - 1) / ENTRIES : 0,
			     geom->priv[GDES] - gd - 1);
	const u8 *e;

	left = vdisk_have(step, area_off(geom, AREA_DIRECTORY) +
				(gd + 1) * ENTRY_LEN,
			  (u32)vdisk_min(left * ENTRY_LEN, VDISK_BLOCK), &e) /
	       ENTRY_LEN;
	for (i = 0; i < left && !vdisk_le64(e + i * ENTRY_LEN); i++)
		n += ENTRIES;
	return n;
}

static int sesparse_map(const struct vdisk_geom *geom, struct vdisk_step *step,
			u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	u64 in = sector % SESPARSE_GRAIN, grain = sector / SESPARSE_GRAIN;
	u64 most = (in + sectors - 1) / SESPARSE_GRAIN + 1, off, at, e;
	const char *fault;
	const u8 *p;
	u64 n;
	int r;

	p = vdisk_want(step, area_off(geom, AREA_DIRECTORY) +
			     grain / ENTRIES * ENTRY_LEN, ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	r = table_of(geom, step, vdisk_le64(p), &off);
	if (r)
		return r;
	if (!off) {
		n = run_of_holes(geom, step, grain, most);
		extent->kind = VDISK_PARENT;
		extent->sectors = vdisk_min(sectors, n * SESPARSE_GRAIN - in);
		return 0;
	}
	off += grain % ENTRIES * ENTRY_LEN;
	p = vdisk_want(step, off, ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	e = vdisk_le64(p);
	fault = decode(geom, e, &extent->kind, &at);
	if (fault)
		return vdisk_bad(step, fault, e);
	most = vdisk_min(most, ENTRIES - grain % ENTRIES);
	n = vdisk_have(step, off, (u32)most * ENTRY_LEN, &p) / ENTRY_LEN;
	n = run_of_entries(geom, p, n, extent->kind, at);
	extent->sectors = vdisk_min(sectors, n * SESPARSE_GRAIN - in);
	extent->off = at + in * VDISK_SECTOR;
	return 0;
}

/*
 * As in vmdk_table.c: tables are told in pieces that end where a VDISK_BLOCK
 * does, so that empty ones are steps too. The grain area itself is not told,
 * nor are tables that nothing names: what is free there its bitmap knows.
 */
struct spot {
	u64 area;	/* the header, then areas, then the tables */
	u64 gd;
	u32 gt;
	bool in_table;
	bool told;
	bool over;
};

enum {
	SPOT_HEADER = NR_AREAS,
	SPOT_TABLES,
};

static struct spot spot_of(u64 cursor)
{
	return (struct spot){
		.area = cursor & 15,
		.told = cursor & 16,
		.in_table = cursor & 32,
		.over = cursor & 64,
		.gt = cursor >> 7 & 0x1fff,
		.gd = cursor >> 20,
	};
}

static u64 cursor_of(const struct spot *s)
{
	return s->area | (u64)s->told << 4 | (u64)s->in_table << 5 |
	       (u64)s->over << 6 | (u64)s->gt << 7 | s->gd << 20;
}

static u32 piece_len(u64 off, u64 i, u64 entries)
{
	u64 at = off + i * ENTRY_LEN;

	return (u32)vdisk_min(VDISK_BLOCK - (at & (VDISK_BLOCK - 1)),
			      (entries - i) * ENTRY_LEN);
}

static bool starts_piece(u64 off, u64 i)
{
	return !i || !((off + i * ENTRY_LEN) & (VDISK_BLOCK - 1));
}

static void tell_piece(struct spot *s, u64 off, u64 i, u64 entries,
		       struct vdisk_range *range)
{
	range->kind = VDISK_RANGE_TABLE;
	range->off = off + i * ENTRY_LEN;
	range->len = piece_len(off, i, entries);
	s->told = true;
}

static void next_gd(const struct vdisk_geom *geom, struct spot *s)
{
	s->gd++;
	s->gt = 0;
	s->in_table = false;
	s->told = !starts_piece(area_off(geom, AREA_DIRECTORY), s->gd);
	s->over = s->gd >= geom->priv[GDES];
}

/* These return 0 without a range when the walk goes on. */
static int walk_dir(const struct vdisk_geom *geom, struct vdisk_step *step,
		    struct spot *s, struct vdisk_range *range)
{
	u64 dir = area_off(geom, AREA_DIRECTORY), off;
	const u8 *e;
	int r;

	if (!s->told) {
		tell_piece(s, dir, s->gd, geom->priv[GDES], range);
		return 0;
	}
	e = vdisk_want(step, dir + s->gd * ENTRY_LEN,
		       piece_len(dir, s->gd, geom->priv[GDES]));
	if (!e)
		return -EAGAIN;
	while (!vdisk_le64(e)) {
		e += ENTRY_LEN;
		next_gd(geom, s);
		if (!s->told || s->over)
			return 0;
	}
	r = table_of(geom, step, vdisk_le64(e), &off);
	if (r) {
		next_gd(geom, s);
		return r;
	}
	s->in_table = true;
	s->told = false;
	return 0;
}

static int walk_table(const struct vdisk_geom *geom, struct vdisk_step *step,
		      struct spot *s, struct vdisk_range *range)
{
	u64 last = (geom->priv[CAPACITY] - 1) / SESPARSE_GRAIN;
	enum vdisk_kind kind = VDISK_PARENT;
	const char *fault = NULL;
	u64 off, n, i, grain;
	const u8 *e;
	int r;

	e = vdisk_want(step, area_off(geom, AREA_DIRECTORY) + s->gd * ENTRY_LEN,
		       ENTRY_LEN);
	if (!e)
		return -EAGAIN;
	r = table_of(geom, step, vdisk_le64(e), &off);
	if (r || !off) {
		next_gd(geom, s);
		return r;
	}
	if (!s->told) {
		tell_piece(s, off, s->gt, ENTRIES, range);
		return 0;
	}
	n = piece_len(off, s->gt, ENTRIES);
	e = vdisk_want(step, off + s->gt * ENTRY_LEN, (u32)n);
	if (!e)
		return -EAGAIN;
	n /= ENTRY_LEN;
	grain = s->gd * ENTRIES + s->gt;
	/* Entries behind the disk's last grain mean nothing. */
	for (i = 0; i < n && grain + i <= last; i++) {
		fault = decode(geom, vdisk_le64(e + i * ENTRY_LEN), &kind,
			       &range->off);
		if (fault || kind == VDISK_DATA)
			break;
	}
	if (fault) {
		n = i + 1;
		r = vdisk_bad(step, fault, vdisk_le64(e + i * ENTRY_LEN));
	} else if (kind == VDISK_DATA) {
		n = i + 1;
		range->kind = VDISK_RANGE_UNIT;
		range->len = GRAIN_LEN;
		range->sector = (grain + i) * SESPARSE_GRAIN;
	}
	s->told = !starts_piece(off, s->gt + n);
	s->gt += (u32)n;
	if (s->gt == ENTRIES)
		next_gd(geom, s);
	return r;
}

static int walk_area(const struct vdisk_geom *geom, struct spot *s,
		     struct vdisk_range *range)
{
	u64 a = s->area++;

	range->kind = VDISK_RANGE_META;
	if (a == SPOT_HEADER) {
		range->len = SESPARSE_HEADER_LEN;
	} else if (a != AREA_DIRECTORY && a != AREA_TABLES &&
		   a != AREA_GRAINS) {
		range->off = area_off(geom, a);
		range->len = area_len(geom, a);
	}
	return 0;
}

static int sesparse_walk(const struct vdisk_geom *geom, struct vdisk_step *step,
			 u64 *cursor, struct vdisk_range *range)
{
	struct spot s = spot_of(*cursor);
	int r = 0;

	*range = (struct vdisk_range){ 0 };
	while (!r && !range->len && !s.over) {
		if (s.area < SPOT_TABLES)
			r = walk_area(geom, &s, range);
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

static bool sesparse_fact(const struct vdisk_geom *geom, u32 i,
			  struct vdisk_fact *fact)
{
	static const struct vdisk_fact_row rows[] = {
		{ "capacity-sectors", VDISK_FACT_NUM, CAPACITY, 0 },
		{ "tables", VDISK_FACT_NUM, TABLES, 0 },
		{ "grains", VDISK_FACT_NUM, GRAINS, 0 },
		{ "directory-offset", VDISK_FACT_NUM, AREAS + 2 * AREA_DIRECTORY,
		  0 },
		{ "tables-offset", VDISK_FACT_NUM, AREAS + 2 * AREA_TABLES, 0 },
		{ "grains-offset", VDISK_FACT_NUM, AREAS + 2 * AREA_GRAINS, 0 },
	};

	*fact = (struct vdisk_fact){ .name = NULL };
	return vdisk_fact_of(geom, rows, sizeof(rows) / sizeof(rows[0]), i, fact);
}

const struct vdisk_format vdisk_sesparse_format = {
	.name	= "sesparse",
	.probe	= sesparse_probe,
	.open	= sesparse_open,
	.map	= sesparse_map,
	.walk	= sesparse_walk,
	.fact	= sesparse_fact,
};
