// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Parallels expandable images, v1 and v2: a header, a BAT behind it, clusters
 * of any number of sectors. An entry counts sectors in v1, clusters in v2.
 *
 * The header knows of no parent; a bundle's XML does. Who stacks layers sets
 * VDISK_GEOM_PARENT in the geometry, so that no hole is made where the parent
 * would show.
 *
 * The format extension (a map of changed blocks) lies in clusters that no BAT
 * entry names, and our writes would make it lie. So marking the image dirty
 * drops it. Its clusters are a leak from then on.
 */
#include "parallels.h"

enum parallels_priv {
	V2,
	ENTRY_LEN,	/* bytes of the file that 1 in an entry means */
	ENTRIES,
	DATA_SEC,	/* data_off as found */
	LIMIT,		/* bytes: no entry can name what lies there */
	IN_USE,		/* as found, the next three too */
	FLAGS,
	EXT_OFF,	/* bytes */
	HEADS,
	CYLINDERS,
	NR_PRIV,
};

static_assert(NR_PRIV <= VDISK_GEOM_PRIV, "Parallels numbers fit the geometry");

static int parallels_probe(const u8 *head, u32 head_len, const u8 *tail,
			   u32 tail_len)
{
	struct parallels_header_disk h;

	if (head_len < sizeof(h))
		return 0;
	memcpy(&h, head, sizeof(h));
	if (memcmp(h.magic, PARALLELS_MAGIC_V1, sizeof(h.magic)) &&
	    memcmp(h.magic, PARALLELS_MAGIC_V2, sizeof(h.magic)))
		return 0;
	return le32_of(h.version) == PARALLELS_VERSION ? 90 : 30;
}

static u64 bat_off(u64 i)
{
	return PARALLELS_HEADER_LEN + i * PARALLELS_ENTRY_LEN;
}

static u64 disk_sectors(const struct parallels_header_disk *h, bool v2)
{
	u64 sectors = le64_of(h->nb_sectors);

	return v2 ? sectors : (u32)sectors;
}

static int check_header(struct vdisk_step *step,
			const struct parallels_header_disk *h, u64 file_len)
{
	bool v2 = !memcmp(h->magic, PARALLELS_MAGIC_V2, sizeof(h->magic));
	u32 tracks = le32_of(h->tracks);
	u32 entries = le32_of(h->nb_bat_entries);
	u32 flags = le32_of(h->flags);
	u64 sectors;

	if (!v2 && memcmp(h->magic, PARALLELS_MAGIC_V1, sizeof(h->magic)))
		return vdisk_bad(step, "No Parallels header found",
				 vdisk_be32(h->magic));
	if (le32_of(h->version) != PARALLELS_VERSION)
		return vdisk_bad(step, "Unknown Parallels version",
				 le32_of(h->version));
	if (!tracks)
		return vdisk_bad(step, "Parallels cluster size is zero", tracks);
	if (tracks > PARALLELS_MAX_CLUSTER)
		return vdisk_bad(step, "Parallels cluster size is too large",
				 tracks);
	if (flags & PARALLELS_CONVERTING)
		return vdisk_bad(step, "Conversion of the image was not finished",
				 flags);
	if (entries > PARALLELS_MAX_ENTRIES)
		return vdisk_bad(step, "BAT has too many entries", entries);
	if (PARALLELS_HEADER_LEN + entries * 4ull > file_len)
		return vdisk_bad(step, "BAT reaches past the end of the file",
				 entries);
	sectors = disk_sectors(h, v2);
	if (!sectors)
		return vdisk_bad(step, "The disk is empty", sectors);
	if (vdisk_div_up(sectors, tracks) > entries)
		return vdisk_bad(step, "BAT is too short for the disk", entries);
	return 0;
}

/* Where the data starts, in sectors. */
static int check_start(struct vdisk_step *step,
		       const struct parallels_header_disk *h, u64 file_len,
		       u64 *start)
{
	bool v2 = !memcmp(h->magic, PARALLELS_MAGIC_V2, sizeof(h->magic));
	u64 off = le32_of(h->data_off);
	u64 least = vdisk_div_up(PARALLELS_HEADER_LEN +
				 le32_of(h->nb_bat_entries) * 4ull,
				 VDISK_SECTOR);

	*start = off ? off : least;
	if (v2 && !off)
		return vdisk_bad(step, "Data offset is zero", off);
	if (v2 && *start != vdisk_align(off, le32_of(h->tracks), 0))
		return vdisk_bad(step, "Data offset is not a whole cluster", off);
	if (*start < least)
		return vdisk_bad(step, "Data offset lies in the BAT", off);
	if (off * VDISK_SECTOR > file_len)
		return vdisk_bad(step, "Data offset is past the end of the file",
				 off);
	return 0;
}

/* Bundles round the size of a layer up to a cluster, or do not. */
static int check_said(const struct vdisk_params *params,
		      struct vdisk_step *step, u64 sectors, u64 tracks,
		      u64 *size_sec)
{
	*size_sec = sectors;
	if (!params->size_sec || params->size_sec == sectors)
		return 0;
	if (vdisk_align(params->size_sec, tracks, 0) != sectors)
		return vdisk_bad(step, "Size differs from the descriptor's",
				 sectors);
	*size_sec = params->size_sec;
	return 0;
}

static void read_only(struct vdisk_geom *geom, const char *why)
{
	geom->flags |= VDISK_GEOM_RDONLY;
	geom->why_ro = why;
}

/*
 * A feature that must be understood and is not forbids to write. The map of
 * changed blocks is understood: it may be dropped, and is.
 */
static int check_features(struct vdisk_step *step, struct vdisk_geom *geom)
{
	u64 at = offsetof(struct parallels_ext_disk, first), off, size;
	u32 views = VDISK_MAX_VIEWS - 2, blocks;	/* views that are left */
	struct parallels_feature_disk f;
	struct parallels_ext_disk ext;
	int r;

	r = vdisk_copy(step, geom->priv[EXT_OFF], &ext, sizeof(ext));
	if (r)
		return r;
	if (le64_of(ext.magic) != PARALLELS_EXT_MAGIC) {
		/* Nothing is there that a cluster could lie on. */
		geom->priv[EXT_OFF] = 0;
		read_only(geom, PARALLELS_EXT_DAMAGED);
		return 0;
	}
	f = ext.first;
	while (le64_of(f.magic)) {
		if (le64_of(f.flags) & PARALLELS_NECESSARY &&
		    le64_of(f.magic) != PARALLELS_DIRTY_BITMAP) {
			read_only(geom, "Format extension has unknown features");
			return 0;
		}
		size = vdisk_align(le32_of(f.data_size), 8, 0);
		if (geom->unit_len - at < 2 * sizeof(f) + size) {
			read_only(geom, PARALLELS_EXT_DAMAGED);
			return 0;
		}
		at += sizeof(f) + size;
		off = geom->priv[EXT_OFF] + at;
		blocks = off % VDISK_BLOCK + sizeof(f) > VDISK_BLOCK ? 2 : 1;
		if (blocks > views) {
			read_only(geom, "Format extension has many features");
			return 0;
		}
		views -= blocks;
		r = vdisk_copy(step, off, &f, sizeof(f));
		if (r)
			return r;
	}
	return 0;
}

static int check_extension(const struct vdisk_params *params,
			   struct vdisk_step *step, u64 ext_sec,
			   struct vdisk_geom *geom)
{
	u64 off, end;

	if (!ext_sec)
		return 0;
	if (vdisk_mul(ext_sec, VDISK_SECTOR, &off) ||
	    vdisk_add(off, geom->unit_len, &end) || end > params->file_len)
		return vdisk_bad(step, "Extension reaches past the file's end",
				 ext_sec);
	if (off < bat_off(geom->priv[ENTRIES]))
		return vdisk_bad(step, "Extension lies in the BAT", ext_sec);
	geom->priv[EXT_OFF] = off;
	/* A map of changed blocks knows nothing of a write in place. */
	geom->flags |= VDISK_GEOM_STAMP;
	/* Reading needs none of it: a damaged one only forbids to write. */
	return check_features(step, geom);
}

static int set_geometry(const struct vdisk_params *params,
			struct vdisk_step *step,
			const struct parallels_header_disk *h,
			struct vdisk_geom *geom)
{
	bool v2 = !memcmp(h->magic, PARALLELS_MAGIC_V2, sizeof(h->magic));
	u64 tracks = le32_of(h->tracks), start;
	u64 flags = le32_of(h->flags), in_use = le32_of(h->in_use);
	int r;

	*geom = (struct vdisk_geom){
		.unit_sec = tracks,
		.unit_len = tracks * VDISK_SECTOR,
		.unit_align = tracks * VDISK_SECTOR,
		.flags = VDISK_GEOM_MARK,
		.priv = {
			[V2] = v2,
			[ENTRY_LEN] = (v2 ? tracks : 1) * VDISK_SECTOR,
			[ENTRIES] = le32_of(h->nb_bat_entries),
			[DATA_SEC] = le32_of(h->data_off),
			[IN_USE] = in_use,
			[FLAGS] = flags,
			[HEADS] = le32_of(h->heads),
			[CYLINDERS] = le32_of(h->cylinders),
		},
	};
	r = check_start(step, h, params->file_len, &start);
	if (!r)
		r = check_said(params, step, disk_sectors(h, v2), tracks,
			       &geom->size_sec);
	if (r)
		return r;

	geom->priv[LIMIT] = geom->priv[ENTRY_LEN] << 32;
	geom->data_off = start * VDISK_SECTOR;
	geom->unit_base = v2 ? 0 : geom->data_off;
	geom->data_end = vdisk_min(params->file_len, geom->priv[LIMIT]);
	geom->alloc_off = vdisk_align(params->file_len, geom->unit_align,
				      geom->data_off);
	if (params->device) {
		geom->flags |= VDISK_GEOM_SCAN;
		geom->alloc_off = geom->data_off;
	}
	if (in_use == PARALLELS_IN_USE)
		geom->flags |= VDISK_GEOM_DIRTY;
	else if (in_use != PARALLELS_CLOSED && in_use != PARALLELS_CLOSED_OLD)
		read_only(geom, "In-use mark of the image is unknown");
	if (flags & ~(u64)PARALLELS_EMPTY)
		read_only(geom, "Image has unknown flags");
	/* "Empty" is untrue after a write, in place or not. */
	if (flags & PARALLELS_EMPTY)
		geom->flags |= VDISK_GEOM_STAMP;
	return 0;
}

static int parallels_open(const struct vdisk_params *params,
			  struct vdisk_step *step, struct vdisk_geom *geom)
{
	struct parallels_header_disk h;
	int r;

	if (params->file_len < sizeof(h))
		return vdisk_bad(step, "File is shorter than a Parallels header",
				 params->file_len);
	if (params->file_len >> 63)
		return vdisk_bad(step, "File is 2^63 bytes or longer",
				 params->file_len);
	r = vdisk_copy(step, 0, &h, sizeof(h));
	if (!r)
		r = check_header(step, &h, params->file_len);
	if (!r)
		r = set_geometry(params, step, &h, geom);
	if (!r)
		r = check_extension(params, step, le64_of(h.ext_off), geom);
	return r;
}

/*
 * Where the cluster of entry @e lies, checked. QEMU up to 7.2 misplaces v1
 * clusters when the header gives no data offset, so that they need not be a
 * whole number of clusters away from it: only overlap is an error. The data
 * offset itself is a matter of who adds clusters; no reader needs it.
 */
static int check_entry(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u32 e, u64 *off)
{
	u64 end = vdisk_min(step->data_end, step->file_len);
	u64 ext = geom->priv[EXT_OFF];

	*off = e * geom->priv[ENTRY_LEN];
	if (*off < bat_off(geom->priv[ENTRIES]))
		return vdisk_bad(step, "BAT entry points into the headers", e);
	if (*off > end || geom->unit_len > end - *off)
		return vdisk_bad(step, "BAT entry points past the file's end", e);
	if (ext && *off < ext + geom->unit_len && ext < *off + geom->unit_len)
		return vdisk_bad(step, "BAT entry points into the extension", e);
	return 0;
}

/* By what the entries of neighbours differ. */
static u32 step_of(const struct vdisk_geom *geom)
{
	return geom->priv[V2] ? 1 : (u32)geom->unit_sec;
}

/* How many clusters fit from @off on, where a sound one is. */
static u64 room_for(const struct vdisk_geom *geom,
		    const struct vdisk_step *step, u64 off)
{
	u64 end = vdisk_min(step->data_end, step->file_len);

	if (geom->priv[EXT_OFF] > off)
		end = vdisk_min(end, geom->priv[EXT_OFF]);
	return vdisk_div(end - off, geom->unit_len);
}

/* Neighbours on the disk that fare alike. */
struct run {
	bool here;
	u64 off;	/* of the first one, if it is here */
	u64 clusters;
};

/* What the cluster @i is, and at most @most - 1 after it. */
static int find_run(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 i, u64 most, struct run *run)
{
	const u8 *p;
	u32 e, len;
	int r;

	p = vdisk_want(step, bat_off(i), PARALLELS_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	*run = (struct run){ .clusters = 1 };
	e = vdisk_le32(p);
	if (e) {
		r = check_entry(geom, step, e, &run->off);
		if (r)
			return r;
		run->here = true;
	}
	if (most == 1)
		return 0;

	/* A neighbour that is wrong is told when it is first. */
	if (run->here)
		most = vdisk_min(most, room_for(geom, step, run->off));
	len = vdisk_have(step, bat_off(i), (u32)most * PARALLELS_ENTRY_LEN, &p);
	run->clusters = vdisk_count_up(p, len / PARALLELS_ENTRY_LEN, e,
				       run->here ? step_of(geom) : 0, false);
	return 0;
}

static int parallels_map(const struct vdisk_geom *geom, struct vdisk_step *step,
			 u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	u64 i = vdisk_div(sector, geom->unit_sec);
	u64 in = sector - i * geom->unit_sec;
	u64 most = geom->unit_sec - in >= sectors ? 1 :
		   vdisk_div_up(in + sectors, geom->unit_sec);
	struct run run;
	int r;

	r = find_run(geom, step, i, most, &run);
	if (r)
		return r;
	extent->kind = run.here ? VDISK_DATA : VDISK_PARENT;
	extent->sectors = vdisk_min(sectors, run.clusters * geom->unit_sec - in);
	extent->off = run.off + in * VDISK_SECTOR;
	return 0;
}

static int parallels_alloc(const struct vdisk_geom *geom,
			   struct vdisk_step *step, const struct vdisk_ask *ask,
			   struct vdisk_plan *plan)
{
	u64 i = vdisk_div(ask->sector, geom->unit_sec);
	u64 in = ask->sector - i * geom->unit_sec, n, off;
	struct run run;
	int r;

	r = find_run(geom, step, i,
		     vdisk_div_up(in + ask->sectors, geom->unit_sec), &run);
	if (r)
		return r;
	n = run.clusters;
	*plan = (struct vdisk_plan){ .fill = VDISK_FILL_NONE };
	if (run.here) {
		/* Someone was faster: the place is there. */
		plan->data_off = run.off + in * VDISK_SECTOR;
		plan->sectors = vdisk_min(ask->sectors,
					  n * geom->unit_sec - in);
		return 0;
	}

	if (!vdisk_want_unit(step, geom, (u32)geom->unit_len, (u32)n))
		return -EAGAIN;
	n = vdisk_min(n, step->unit.count);
	off = step->unit.off;
	if (off > geom->priv[LIMIT] ||
	    vdisk_div(geom->priv[LIMIT] - off, geom->unit_len) < n)
		return vdisk_full(step,
				  "BAT entries cannot say so large an offset",
				  off);
	vdisk_plan_set(plan, VDISK_PUBLISH, bat_off(i), PARALLELS_ENTRY_LEN,
		       false, (u32)n, vdisk_div(off, geom->priv[ENTRY_LEN]),
		       step_of(geom));

	plan->fill = VDISK_FILL_PARENT;
	plan->first_sec = ask->sector - in;
	plan->made_sec = n * geom->unit_sec;
	plan->first_off = off;
	plan->data_off = off + in * VDISK_SECTOR;
	plan->sectors = vdisk_min(ask->sectors, plan->made_sec - in);
	return 0;
}

/* No entry says zero: unless nothing is below there is no way but to write. */
static int parallels_discard(const struct vdisk_geom *geom,
			     struct vdisk_step *step, u64 sector, u64 sectors,
			     bool unmap, struct vdisk_plan *plan)
{
	u64 i = vdisk_div(sector, geom->unit_sec);
	u64 in = sector - i * geom->unit_sec, n;
	struct run run;
	int r;

	*plan = (struct vdisk_plan){ .sectors = sectors };
	if (!unmap || geom->flags & VDISK_GEOM_PARENT)
		return 0;
	/* The disk's last cluster is whole when its last sector is in it. */
	n = sector + sectors == geom->size_sec ?
	    vdisk_div_up(sectors, geom->unit_sec) :
	    vdisk_div(sectors, geom->unit_sec);
	if (in || !n) {
		plan->sectors = vdisk_min(sectors, geom->unit_sec - in);
		return 0;
	}

	r = find_run(geom, step, i, n, &run);
	if (r)
		return r;
	n = run.clusters;
	plan->sectors = vdisk_min(sectors, n * geom->unit_sec);
	if (!run.here)
		return 0;
	vdisk_plan_set(plan, VDISK_PUBLISH, bat_off(i), PARALLELS_ENTRY_LEN,
		       false, (u32)n, 0, 0);
	plan->freed_off = run.off;
	plan->freed_len = n * geom->unit_len;
	return 0;
}

/* The fields are in one sector: after a crash all of them are new, or none. */
static int parallels_mark(const struct vdisk_geom *geom,
			  struct vdisk_step *step, bool dirty,
			  struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	vdisk_plan_set(plan, VDISK_BEFORE,
		       offsetof(struct parallels_header_disk, in_use), 4, false,
		       1, dirty ? PARALLELS_IN_USE : PARALLELS_CLOSED_OLD, 0);
	if (dirty && geom->priv[FLAGS])
		vdisk_plan_set(plan, VDISK_BEFORE,
			       offsetof(struct parallels_header_disk, flags),
			       4, false, 1, 0, 0);
	if (dirty && geom->priv[EXT_OFF])
		vdisk_plan_set(plan, VDISK_BEFORE,
			       offsetof(struct parallels_header_disk, ext_off),
			       8, false, 1, 0, 0);
	return 0;
}

static int parallels_grow(const struct vdisk_geom *geom,
			  struct vdisk_step *step, u64 new_end,
			  struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	if (new_end > geom->priv[LIMIT] || new_end >> 63)
		return vdisk_full(step, "Parallels file is full", new_end);
	vdisk_plan_length(plan, VDISK_BEFORE, new_end);
	return 0;
}

/* What is cut off may be the extension, or a part that it points to. */
static int parallels_trim(const struct vdisk_geom *geom,
			  struct vdisk_step *step, u64 end,
			  struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	end = vdisk_align(end, geom->unit_align, geom->data_off);
	if (geom->priv[EXT_OFF])
		vdisk_plan_set(plan, VDISK_BEFORE,
			       offsetof(struct parallels_header_disk, ext_off),
			       8, false, 1, 0, 0);
	vdisk_plan_length(plan, VDISK_PUBLISH, end);
	return 0;
}

/*
 * The walk tells the BAT in blocks, and after each block what its entries own:
 * so an empty block is a step forward that the caller sees, however many of
 * them follow each other. Then come the header and the extension.
 *
 * The cursor is twice the entry, plus one when its block was told.
 */
static u64 next_block(const struct vdisk_geom *geom, u64 i)
{
	u64 end = vdisk_align(bat_off(i) + 1, VDISK_BLOCK, 0);

	return vdisk_min((end - PARALLELS_HEADER_LEN) / PARALLELS_ENTRY_LEN,
			 geom->priv[ENTRIES]);
}

static int walk_block(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 *cursor, struct vdisk_range *range)
{
	u64 i = *cursor / 2, end = next_block(geom, i);
	struct run run;
	const u8 *p;
	u32 e;
	int r;

	if (!(*cursor & 1)) {
		range->kind = VDISK_RANGE_TABLE;
		range->off = bat_off(i);
		range->len = bat_off(end) - bat_off(i);
		++*cursor;
		return 0;
	}
	p = vdisk_want(step, bat_off(i), (u32)(bat_off(end) - bat_off(i)));
	if (!p)
		return -EAGAIN;
	for (; i < end; i++, p += PARALLELS_ENTRY_LEN) {
		e = vdisk_le32(p);
		if (!e)
			continue;
		r = find_run(geom, step, i, end - i, &run);
		range->kind = VDISK_RANGE_UNIT;
		range->off = run.off;
		range->len = r ? 0 : run.clusters * geom->unit_len;
		range->sector = i * geom->unit_sec;
		i += run.clusters;
		*cursor = i * 2 + (i < end);
		return r;
	}
	*cursor = end * 2;
	return 0;
}

static int parallels_walk(const struct vdisk_geom *geom,
			  struct vdisk_step *step, u64 *cursor,
			  struct vdisk_range *range)
{
	u64 entries = geom->priv[ENTRIES];
	int r = 0;

	*range = (struct vdisk_range){ .kind = VDISK_RANGE_META };
	while (!r && !range->len && *cursor / 2 < entries)
		r = walk_block(geom, step, cursor, range);
	if (r || range->len)
		return r;
	if (*cursor == entries * 2) {
		range->len = PARALLELS_HEADER_LEN;
	} else if (*cursor == entries * 2 + 1 && geom->priv[EXT_OFF]) {
		/* The mark drops it, but no entry may point there until close. */
		range->off = geom->priv[EXT_OFF];
		range->len = geom->unit_len;
	}
	++*cursor;
	return 0;
}

static void text_of(struct vdisk_fact *fact, const char *text)
{
	u32 i;

	for (i = 0; text[i] && i < sizeof(fact->text) - 1; i++)
		fact->text[i] = text[i];
	fact->text[i] = 0;
}

static const char *in_use_name(u64 in_use)
{
	switch (in_use) {
	case PARALLELS_CLOSED_OLD:
		return "closed";
	case PARALLELS_CLOSED:
		return "closed with extension";
	case PARALLELS_IN_USE:
		return "in use";
	}
	return "unknown";
}

static bool parallels_fact(const struct vdisk_geom *geom, u32 i,
			   struct vdisk_fact *fact)
{
	static const struct vdisk_fact_row rows[] = {
		{ "data-sector", VDISK_FACT_NUM, DATA_SEC, 0 },
		{ "bat-entries", VDISK_FACT_NUM, ENTRIES, 0 },
		{ "extension-offset", VDISK_FACT_NUM, EXT_OFF, 0 },
		{ "flags", VDISK_FACT_NUM, FLAGS, 0 },
		{ "heads", VDISK_FACT_NUM, HEADS, 0 },
		{ "cylinders", VDISK_FACT_NUM, CYLINDERS, 0 },
	};

	*fact = (struct vdisk_fact){ .kind = VDISK_FACT_TEXT };
	switch (i) {
	case 0:
		fact->name = "subformat";
		text_of(fact, geom->priv[V2] ? "v2" : "v1");
		return true;
	case 1:
		fact->name = "in-use";
		text_of(fact, in_use_name(geom->priv[IN_USE]));
		return true;
	case 2:
		fact->name = "cluster-size";
		fact->kind = VDISK_FACT_NUM;
		fact->num = geom->unit_len;
		return true;
	}
	return vdisk_fact_of(geom, rows, sizeof(rows) / sizeof(rows[0]), i - 3,
			     fact);
}

const struct vdisk_format vdisk_parallels_format = {
	.name		= "parallels",
	.probe		= parallels_probe,
	.open		= parallels_open,
	.map		= parallels_map,
	.alloc		= parallels_alloc,
	.discard	= parallels_discard,
	.mark		= parallels_mark,
	.grow		= parallels_grow,
	.trim		= parallels_trim,
	.walk		= parallels_walk,
	.fact		= parallels_fact,
};
