// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * QED: an L1 table of L2 tables of clusters, all entries being byte offsets.
 *
 * The length of the file is QEMU's allocator: a trailing part of a cluster is
 * nobody's, and QEMU overwrites it with the next one. Here the next cluster
 * goes behind it, since nothing says that the bytes are not wanted.
 *
 * A new L2 table is written empty with DATA; both its entries and the L1 entry
 * are published. Whichever of them survives a crash alone, the reader finds an
 * empty table or none.
 */
#include "qed.h"
#include "repair.h"

enum qed_priv {
	SHIFT,		/* log2 of sectors in a cluster */
	INDEX,		/* log2 of entries in a table */
	TABLE_LEN,	/* bytes of a table */
	L1_OFF,		/* bytes */
	FEATURES,	/* as found */
	COMPAT,
	AUTOCLEAR,
	NAME_OFF,	/* bytes; of the parent's name */
	NAME_LEN,
	NR_PRIV,
};

static_assert(NR_PRIV <= VDISK_GEOM_PRIV, "QED numbers fit the geometry");

#define PER_BLOCK (VDISK_BLOCK / QED_ENTRY_LEN)

static int qed_probe(const u8 *head, u32 head_len, const u8 *tail, u32 tail_len)
{
	struct qed_header_disk h;
	u32 cluster;

	if (head_len < sizeof(h))
		return 0;
	memcpy(&h, head, sizeof(h));
	if (memcmp(h.magic, "QED", 4))
		return 0;
	/* Four bytes say little; a header that makes sense says more. */
	cluster = le32_of(h.cluster_size);
	if (!vdisk_pow2(cluster) || cluster < QED_MIN_CLUSTER ||
	    !vdisk_pow2(le32_of(h.table_size)))
		return 30;
	return 90;
}

static int check_clusters(struct vdisk_step *step,
			  const struct qed_header_disk *h, u64 file_len)
{
	u32 cluster = le32_of(h->cluster_size);
	u32 table = le32_of(h->table_size);
	u32 header = le32_of(h->header_size);

	if (!vdisk_pow2(cluster))
		return vdisk_bad(step, "QED cluster size is not a power of two",
				 cluster);
	if (cluster < QED_MIN_CLUSTER || cluster > QED_MAX_CLUSTER)
		return vdisk_bad(step, "QED cluster size is not 4 KiB to 64 MiB",
				 cluster);
	if (!vdisk_pow2(table))
		return vdisk_bad(step, "QED table size is not a power of two",
				 table);
	if (table > QED_MAX_TABLE)
		return vdisk_bad(step, "QED table size is more than 16 clusters",
				 table);
	if (!header)
		return vdisk_bad(step, "QED header size is zero", header);
	if (header > 0xFFFFFFFFu / cluster)
		return vdisk_bad(step, "QED header size is 4 GiB or more",
				 header);
	if ((u64)header * cluster > file_len)
		return vdisk_bad(step, "QED header reaches past the file's end",
				 header);
	return 0;
}

/* The disk a pair of table levels can address, less than 2^63 bytes. */
static u64 most_bytes(u32 cluster, u32 table)
{
	u32 c = (u32)__builtin_ctz(cluster);
	u32 bits = 3 * c + 2 * ((u32)__builtin_ctz(table) - 3);

	return bits >= 63 ? QED_MAX_SIZE : 1ull << bits;
}

static int check_disk(const struct vdisk_params *params,
		      struct vdisk_step *step, const struct qed_header_disk *h)
{
	u64 bytes = le64_of(h->image_size);
	u64 most = most_bytes(le32_of(h->cluster_size), le32_of(h->table_size));

	if (bytes % VDISK_SECTOR)
		return vdisk_bad(step, "QED size is not a multiple of 512",
				 bytes);
	if (!bytes)
		return vdisk_bad(step, "The disk is empty", bytes);
	if (bytes > most)
		return vdisk_bad(step, "QED size is more than its tables hold",
				 bytes);
	if (params->size_sec && params->size_sec != bytes / VDISK_SECTOR)
		return vdisk_bad(step, "QED size differs from what was said",
				 bytes / VDISK_SECTOR);
	return 0;
}

static int check_l1(struct vdisk_step *step, const struct qed_header_disk *h,
		    u64 file_len)
{
	u32 cluster = le32_of(h->cluster_size);
	u64 off = le64_of(h->l1_table_offset);
	u64 len = (u64)le32_of(h->table_size) * cluster;

	if (off % cluster)
		return vdisk_bad(step, "L1 table is not cluster aligned", off);
	if (off < (u64)le32_of(h->header_size) * cluster)
		return vdisk_bad(step, "L1 table lies in the header", off);
	if (off > file_len || len > file_len - off)
		return vdisk_bad(step, "L1 table reaches past the file's end",
				 off);
	return 0;
}

static int check_features(struct vdisk_step *step,
			  const struct qed_header_disk *h)
{
	u64 features = le64_of(h->features);
	u32 off = le32_of(h->backing_filename_offset);
	u32 len = le32_of(h->backing_filename_size);
	u32 room = le32_of(h->header_size) * le32_of(h->cluster_size);

	if (features & ~(u64)QED_KNOWN)
		return vdisk_bad(step, "QED image has unknown features",
				 features & ~(u64)QED_KNOWN);
	/* Without the bit, what the two fields say may be an old name's rest. */
	if (!(features & QED_BACKING_FILE))
		return 0;
	if (!len || len > QED_MAX_NAME)
		return vdisk_bad(step, "Backing file name is not 1 to 1023 bytes",
				 len);
	if (off < QED_HEADER_LEN || off > room || len > room - off)
		return vdisk_bad(step, "Backing file name is outside the header",
				 off);
	return 0;
}

static void set_geometry(const struct vdisk_params *params,
			 const struct qed_header_disk *h,
			 struct vdisk_geom *geom)
{
	u64 cluster = le32_of(h->cluster_size);
	u64 table_len = le32_of(h->table_size) * cluster;
	u64 features = le64_of(h->features);

	*geom = (struct vdisk_geom){
		.size_sec = le64_of(h->image_size) / VDISK_SECTOR,
		.unit_sec = cluster / VDISK_SECTOR,
		.unit_len = cluster,
		.unit_align = cluster,
		.data_off = le32_of(h->header_size) * cluster,
		.data_end = params->file_len & ~(cluster - 1),
		.alloc_off = vdisk_align(params->file_len, cluster, 0),
		.flags = VDISK_GEOM_MARK,
		.priv = {
			[SHIFT] = (u64)__builtin_ctzll(cluster) - VDISK_SHIFT,
			[INDEX] = (u64)__builtin_ctzll(table_len) - 3,
			[TABLE_LEN] = table_len,
			[L1_OFF] = le64_of(h->l1_table_offset),
			[FEATURES] = features,
			[COMPAT] = le64_of(h->compat_features),
			[AUTOCLEAR] = le64_of(h->autoclear_features),
		},
	};
	if (params->device) {
		geom->flags |= VDISK_GEOM_SCAN;
		geom->alloc_off = geom->data_off;
	}
	if (features & QED_NEED_CHECK)
		geom->flags |= VDISK_GEOM_DIRTY;
	/* They end with any write, also one that changes no table. */
	if (geom->priv[AUTOCLEAR])
		geom->flags |= VDISK_GEOM_STAMP;
	if (features & QED_BACKING_FILE) {
		geom->flags |= VDISK_GEOM_PARENT;
		geom->priv[NAME_OFF] = le32_of(h->backing_filename_offset);
		geom->priv[NAME_LEN] = le32_of(h->backing_filename_size);
	}
}

static int qed_open(const struct vdisk_params *params, struct vdisk_step *step,
		    struct vdisk_geom *geom)
{
	struct qed_header_disk h;
	int r;

	if (params->file_len < sizeof(h))
		return vdisk_bad(step, "File is shorter than a QED header",
				 params->file_len);
	if (params->file_len >> 63)
		return vdisk_bad(step, "File is 2^63 bytes or longer",
				 params->file_len);
	r = vdisk_copy(step, 0, &h, sizeof(h));
	if (r)
		return r;
	if (memcmp(h.magic, "QED", 4))
		return vdisk_bad(step, "No QED header found",
				 vdisk_be32(h.magic));
	r = check_clusters(step, &h, params->file_len);
	if (!r)
		r = check_features(step, &h);
	if (!r)
		r = check_disk(params, step, &h);
	if (!r)
		r = check_l1(step, &h, params->file_len);
	if (!r)
		set_geometry(params, &h, geom);
	return r;
}

/* A file that shrank under us has no more bytes than it has. */
static u64 end_of(const struct vdisk_step *step)
{
	return vdisk_min(step->data_end, step->file_len);
}

static bool overlap(u64 a, u64 a_len, u64 b, u64 b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int check_l2(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 off)
{
	u64 len = geom->priv[TABLE_LEN];

	if (off & (geom->unit_len - 1))
		return vdisk_bad(step, "L2 table is not cluster aligned", off);
	if (off < geom->data_off)
		return vdisk_bad(step, "L2 table lies in the header", off);
	if (off > end_of(step) || len > end_of(step) - off)
		return vdisk_bad(step, "L2 table reaches past the file's end",
				 off);
	if (overlap(off, len, geom->priv[L1_OFF], len))
		return vdisk_bad(step, "L2 table overlaps the L1 table", off);
	return 0;
}

static int check_data(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 l2_off, u64 off)
{
	u64 len = geom->unit_len, table_len = geom->priv[TABLE_LEN];

	if (off & (len - 1))
		return vdisk_bad(step, "Cluster is not cluster aligned", off);
	if (off < geom->data_off)
		return vdisk_bad(step, "Cluster lies in the header", off);
	if (off > end_of(step) || len > end_of(step) - off)
		return vdisk_bad(step, "Cluster reaches past the file's end",
				 off);
	if (overlap(off, len, geom->priv[L1_OFF], table_len) ||
	    overlap(off, len, l2_off, table_len))
		return vdisk_bad(step, "Cluster overlaps a table", off);
	return 0;
}

/* How many clusters fit from @off on, where a sound one is. */
static u64 room_for(const struct vdisk_geom *geom,
		    const struct vdisk_step *step, u64 l2_off, u64 off)
{
	u64 end = end_of(step);

	if (geom->priv[L1_OFF] > off)
		end = vdisk_min(end, geom->priv[L1_OFF]);
	if (l2_off > off)
		end = vdisk_min(end, l2_off);
	return (end - off) >> (geom->priv[SHIFT] + VDISK_SHIFT);
}

/* Neighbours on the disk that fare alike, and the table that says so. */
struct run {
	enum vdisk_kind kind;
	u64 clusters;
	u64 off;	/* DATA: of the first one */
	u64 l1_off;	/* of the L1 entry, of the first */
	u64 l2_off;	/* of the L2 table; 0 = it is missing */
	u64 index;	/* of the first in its L2 table */
};

/* Missing L2 tables from an L1 entry on, as far as L1 is at hand. */
static u64 missing_tables(const struct vdisk_step *step, u64 l1_off, u64 most)
{
	const u8 *p;
	u64 n;
	u32 len;

	len = vdisk_have(step, l1_off, (u32)most * QED_ENTRY_LEN, &p);
	for (n = 1; n < len / QED_ENTRY_LEN; n++)
		if (vdisk_le64(p + n * QED_ENTRY_LEN) != QED_ABSENT)
			break;
	return n;
}

/* Entries of one L2 table from run->index on, at most @most of them. */
static int read_l2(const struct vdisk_geom *geom, struct vdisk_step *step,
		   u64 most, struct run *run)
{
	u64 at = run->l2_off + run->index * QED_ENTRY_LEN, want, n, add = 0;
	const u8 *p;
	u32 len;
	int r;

	p = vdisk_want(step, at, QED_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	want = vdisk_le64(p);
	run->clusters = 1;
	run->kind = want == QED_ABSENT ? VDISK_PARENT :
		    want == QED_ZERO ? VDISK_ZERO : VDISK_DATA;
	if (run->kind == VDISK_DATA) {
		run->off = want;
		r = check_data(geom, step, run->l2_off, want);
		if (r)
			return r;
	}
	if (most == 1)
		return 0;

	if (run->kind == VDISK_DATA) {
		add = geom->unit_len;
		/* A neighbour that is wrong is told when it is first. */
		most = vdisk_min(most, room_for(geom, step, run->l2_off, want));
	}
	len = vdisk_have(step, at, (u32)most * QED_ENTRY_LEN, &p);
	for (n = 1; n < len / QED_ENTRY_LEN; n++) {
		want += add;
		if (vdisk_le64(p + n * QED_ENTRY_LEN) != want)
			break;
	}
	run->clusters = n;
	return 0;
}

/*
 * What the cluster at @cluster is, and at most @most - 1 after it. A run ends
 * where its L2 table does, unless that is missing.
 */
static int find_run(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 cluster, u64 most, struct run *run)
{
	const u32 bits = (u32)geom->priv[INDEX];
	u64 entries = 1ull << bits, tables;
	const u8 *p;
	int r;

	*run = (struct run){
		.kind = VDISK_PARENT,
		.l1_off = geom->priv[L1_OFF] +
			  (cluster >> bits) * QED_ENTRY_LEN,
		.index = cluster & (entries - 1),
	};
	p = vdisk_want(step, run->l1_off, QED_ENTRY_LEN);
	if (!p)
		return -EAGAIN;
	run->l2_off = vdisk_le64(p);
	if (run->l2_off != QED_ABSENT) {
		r = check_l2(geom, step, run->l2_off);
		if (r)
			return r;
		return read_l2(geom, step, vdisk_min(most, entries - run->index),
			       run);
	}
	tables = ((run->index + most - 1) >> bits) + 1;
	tables = missing_tables(step, run->l1_off, tables);
	run->clusters = vdisk_min(most, (tables << bits) - run->index);
	return 0;
}

static int qed_map(const struct vdisk_geom *geom, struct vdisk_step *step,
		   u64 sector, u64 sectors, struct vdisk_extent *extent)
{
	const u32 shift = (u32)geom->priv[SHIFT];
	u64 in = sector & (geom->unit_sec - 1);
	struct run run;
	int r;

	r = find_run(geom, step, sector >> shift,
		     ((in + sectors - 1) >> shift) + 1, &run);
	if (r)
		return r;
	extent->kind = run.kind;
	extent->sectors = vdisk_min(sectors, (run.clusters << shift) - in);
	extent->off = run.off + in * VDISK_SECTOR;
	return 0;
}

/*
 * One plan covers what one L2 table says, and makes that table if need be. The
 * entries of a new table are published with it: none of them is reachable
 * before.
 */
static int qed_alloc(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_ask *ask, struct vdisk_plan *plan)
{
	const u32 shift = (u32)geom->priv[SHIFT];
	u64 in = ask->sector & (geom->unit_sec - 1), n, l2_off;
	u32 table_len = (u32)geom->priv[TABLE_LEN];
	struct run run;
	int r;

	r = find_run(geom, step, ask->sector >> shift,
		     ((in + ask->sectors - 1) >> shift) + 1, &run);
	if (r)
		return r;
	n = run.clusters;
	l2_off = run.l2_off;
	*plan = (struct vdisk_plan){ .fill = VDISK_FILL_NONE };
	if (run.kind == VDISK_DATA) {
		/* Someone was faster: the place is there. */
		plan->data_off = run.off + in * VDISK_SECTOR;
		plan->sectors = vdisk_min(ask->sectors, (n << shift) - in);
		return 0;
	}

	if (!l2_off) {
		n = vdisk_min(n, (1ull << geom->priv[INDEX]) - run.index);
		if (!vdisk_want_table(step, table_len, geom->unit_align, 0))
			return -EAGAIN;
		l2_off = step->table.off;
		vdisk_plan_zero(plan, VDISK_IN_DATA, l2_off, table_len);
	}
	if (!vdisk_want_unit(step, geom, (u32)geom->unit_len, (u32)n))
		return -EAGAIN;
	n = vdisk_min(n, step->unit.count);
	vdisk_plan_set(plan, VDISK_PUBLISH, l2_off + run.index * QED_ENTRY_LEN,
		       QED_ENTRY_LEN, false, (u32)n, step->unit.off,
		       geom->unit_len);
	if (!run.l2_off)
		vdisk_plan_set(plan, VDISK_PUBLISH, run.l1_off, QED_ENTRY_LEN,
			       false, 1, l2_off, 0);

	plan->fill = run.kind == VDISK_ZERO ? VDISK_FILL_ZERO
					    : VDISK_FILL_PARENT;
	plan->first_sec = ask->sector - in;
	plan->made_sec = n << shift;
	plan->first_off = step->unit.off;
	plan->data_off = plan->first_off + in * VDISK_SECTOR;
	plan->sectors = vdisk_min(ask->sectors, plan->made_sec - in);
	return 0;
}

/*
 * Whole clusters become holes where nothing can show through them, else zero
 * clusters. Parts of a cluster, and holes over a parent that have no L2 table
 * yet, must be written.
 */
static int qed_discard(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 sector, u64 sectors, bool unmap,
		       struct vdisk_plan *plan)
{
	const u32 shift = (u32)geom->priv[SHIFT];
	u64 in = sector & (geom->unit_sec - 1), end = sector + sectors, n;
	bool hole = unmap && !(geom->flags & VDISK_GEOM_PARENT);
	struct run run;
	int r;

	/* The disk's last cluster is whole when its last sector is in it. */
	if (end == geom->size_sec)
		end += -end & (geom->unit_sec - 1);
	*plan = (struct vdisk_plan){
		.sectors = vdisk_min(sectors, geom->unit_sec - in),
	};
	n = (end - sector) >> shift;
	if (in || !n)
		return 0;

	r = find_run(geom, step, sector >> shift, n, &run);
	if (r)
		return r;
	n = run.clusters;
	plan->sectors = vdisk_min(sectors, n << shift);
	if (!run.l2_off || run.kind == (hole ? VDISK_PARENT : VDISK_ZERO))
		return 0;
	vdisk_plan_set(plan, VDISK_PUBLISH,
		       run.l2_off + run.index * QED_ENTRY_LEN, QED_ENTRY_LEN,
		       false, (u32)n, hole ? QED_ABSENT : QED_ZERO, 0);
	if (run.kind == VDISK_DATA) {
		plan->freed_off = run.off;
		plan->freed_len = n * geom->unit_len;
	}
	return 0;
}

/*
 * QEMU leaves the mark out over a parent, and sets it without a flush. Here it
 * is set always and durably: that a stray L2 entry is not found is dearer than
 * one flush in a dirty period.
 */
static int qed_mark(const struct vdisk_geom *geom, struct vdisk_step *step,
		    bool dirty, struct vdisk_plan *plan)
{
	u64 features = geom->priv[FEATURES] & ~(u64)QED_NEED_CHECK;

	*plan = (struct vdisk_plan){ 0 };
	if (dirty)
		features |= QED_NEED_CHECK;
	vdisk_plan_set(plan, VDISK_BEFORE,
		       offsetof(struct qed_header_disk, features), 8, false, 1,
		       features, 0);
	/* No autoclear bit is known: what they promise ends with our write. */
	if (dirty && geom->priv[AUTOCLEAR])
		vdisk_plan_set(plan, VDISK_BEFORE,
			       offsetof(struct qed_header_disk,
					autoclear_features),
			       8, false, 1, 0, 0);
	return 0;
}

static int qed_grow(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 new_end, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	if (new_end >> 63)
		return vdisk_full(step, "QED file is full at 2^63 bytes",
				  new_end);
	vdisk_plan_length(plan, VDISK_BEFORE, new_end);
	return 0;
}

static int qed_trim(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 end, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	end = vdisk_align(vdisk_max(end, geom->data_off), geom->unit_align, 0);
	vdisk_plan_length(plan, VDISK_PUBLISH, end);
	return 0;
}

/*
 * The walk tells each table in blocks, and after each block what its entries
 * own: so an empty block is a step forward that the caller sees, however many
 * of them follow each other. The header comes last.
 */
struct place {
	u64 l1;		/* entry of L1 */
	u64 l2;		/* entry of its L2 table, if in_l2 */
	bool in_l2;
	bool told;	/* the block that holds the entry was told */
	bool over;	/* the header was told */
};

static struct place place_of(u64 cursor)
{
	return (struct place){
		.l1 = cursor >> 31,
		.l2 = cursor >> 3 & 0xFFFFFFF,
		.in_l2 = cursor & 4,
		.told = cursor & 2,
		.over = cursor & 1,
	};
}

static u64 cursor_of(const struct place *p)
{
	return p->l1 << 31 | p->l2 << 3 | (u64)p->in_l2 << 2 |
	       (u64)p->told << 1 | p->over;
}

static void next_l1(struct place *p)
{
	p->in_l2 = false;
	p->l2 = 0;
	p->l1++;
	p->told = p->l1 % PER_BLOCK;
}

static void next_l2(const struct vdisk_geom *geom, struct place *p)
{
	p->l2++;
	p->told = p->l2 % PER_BLOCK;
	if (p->l2 >> geom->priv[INDEX])
		next_l1(p);
}

/* The entries from @i on in their block of the table at @off. */
static const u8 *rest_of_block(struct vdisk_step *step, u64 off, u64 i)
{
	return vdisk_want(step, off + i * QED_ENTRY_LEN,
			  (u32)(PER_BLOCK - i % PER_BLOCK) * QED_ENTRY_LEN);
}

static int tell_block(struct place *p, u64 off, u64 i,
		      struct vdisk_range *range)
{
	p->told = true;
	range->kind = VDISK_RANGE_TABLE;
	range->off = off + i * QED_ENTRY_LEN;
	range->len = VDISK_BLOCK;
	return 0;
}

/* Whose the wrong entry is. */
static void tell_l2(const struct vdisk_geom *geom, const struct place *p,
		    u64 off, struct vdisk_range *range)
{
	range->kind = VDISK_RANGE_TABLE;
	range->off = off;
	range->sector = p->l1 << geom->priv[INDEX] << geom->priv[SHIFT];
}

/* These two return 0 without a range when the walk goes on elsewhere. */
static int walk_l1(const struct vdisk_geom *geom, struct vdisk_step *step,
		   struct place *p, struct vdisk_range *range)
{
	u64 l1_off = geom->priv[L1_OFF], l2_off;
	const u8 *e;
	int r;

	if (!p->told)
		return tell_block(p, l1_off, p->l1, range);
	e = rest_of_block(step, l1_off, p->l1);
	if (!e)
		return -EAGAIN;
	do {
		l2_off = vdisk_le64(e);
		if (l2_off != QED_ABSENT) {
			r = check_l2(geom, step, l2_off);
			if (r) {
				tell_l2(geom, p, l2_off, range);
				next_l1(p);
				return r;
			}
			p->in_l2 = true;
			p->told = false;
			return 0;
		}
		e += QED_ENTRY_LEN;
		next_l1(p);
	} while (p->told);
	return 0;
}

static int walk_l2(const struct vdisk_geom *geom, struct vdisk_step *step,
		   struct place *p, struct vdisk_range *range)
{
	struct run run = { 0 };
	u64 l2_off, off;
	const u8 *e;
	int r;

	e = rest_of_block(step, geom->priv[L1_OFF], p->l1);
	if (!e)
		return -EAGAIN;
	/* Checked when the walk came here, but that was another step. */
	l2_off = vdisk_le64(e);
	if (l2_off == QED_ABSENT) {
		next_l1(p);
		return 0;
	}
	r = check_l2(geom, step, l2_off);
	if (r) {
		tell_l2(geom, p, l2_off, range);
		next_l1(p);
		return r;
	}
	if (!p->told)
		return tell_block(p, l2_off, p->l2, range);
	e = rest_of_block(step, l2_off, p->l2);
	if (!e)
		return -EAGAIN;
	do {
		off = vdisk_le64(e);
		if (off != QED_ABSENT && off != QED_ZERO)
			break;
		e += QED_ENTRY_LEN;
		next_l2(geom, p);
	} while (p->told && p->in_l2);
	if (!p->told || !p->in_l2)
		return 0;

	run.l2_off = l2_off;
	run.index = p->l2;
	r = read_l2(geom, step, PER_BLOCK - p->l2 % PER_BLOCK, &run);
	range->kind = VDISK_RANGE_UNIT;
	range->off = off;
	range->len = r ? 0 : run.clusters * geom->unit_len;
	range->sector = (p->l1 << geom->priv[INDEX] | p->l2)
			<< geom->priv[SHIFT];
	while (run.clusters--)
		next_l2(geom, p);
	return r;
}

/* Up to the end of the block, or to an entry that is wrong. */
void vdisk_qed_many(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_many *many)
{
	u64 l1_off = geom->priv[L1_OFF], table_len = geom->priv[TABLE_LEN];
	u64 mask = geom->unit_len - 1, end = end_of(step), l2_off, off;
	struct place p = place_of(*cursor);
	const u8 *e;
	u32 n;

	many->nr = 0;
	if (!p.in_l2 || !p.told ||
	    vdisk_have(step, l1_off + p.l1 * QED_ENTRY_LEN, QED_ENTRY_LEN,
		       &e) < QED_ENTRY_LEN)
		return;
	l2_off = vdisk_le64(e);
	n = (u32)(PER_BLOCK - p.l2 % PER_BLOCK) * QED_ENTRY_LEN;
	if (l2_off == QED_ABSENT || check_l2(geom, step, l2_off) ||
	    vdisk_have(step, l2_off + p.l2 * QED_ENTRY_LEN, n, &e) < n)
		return;
	end = end < geom->unit_len ? 0 : end - geom->unit_len;
	for (; n; n -= QED_ENTRY_LEN, e += QED_ENTRY_LEN) {
		off = vdisk_le64(e);
		if (off > QED_ZERO) {
			if (off & mask || off < geom->data_off || off > end ||
			    off - l1_off < table_len || off - l2_off < table_len)
				break;
			many->off[many->nr++] = off;
		}
		next_l2(geom, &p);
	}
	*cursor = cursor_of(&p);
}

static int qed_walk(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_range *range)
{
	struct place p = place_of(*cursor);
	int r = 0;

	*range = (struct vdisk_range){ .kind = VDISK_RANGE_META };
	while (!r && !range->len && !(p.l1 >> geom->priv[INDEX]))
		r = p.in_l2 ? walk_l2(geom, step, &p, range)
			    : walk_l1(geom, step, &p, range);
	if (r == -EAGAIN)
		return r;
	if (!r && !range->len && !p.over) {
		range->len = geom->data_off;
		p.over = true;
	}
	*cursor = cursor_of(&p);
	return r;
}

static bool qed_fact(const struct vdisk_geom *geom, u32 i,
		     struct vdisk_fact *fact)
{
	static const struct vdisk_fact_row rows[] = {
		{ "table-size", VDISK_FACT_NUM, TABLE_LEN, 0 },
		{ "l1-offset", VDISK_FACT_NUM, L1_OFF, 0 },
		{ "backing-file", VDISK_FACT_BOOL, FEATURES, QED_BACKING_FILE },
		{ "backing-is-raw", VDISK_FACT_BOOL, FEATURES, QED_NO_PROBE },
		{ "backing-name-offset", VDISK_FACT_NUM, NAME_OFF, 0 },
		{ "backing-name-length", VDISK_FACT_NUM, NAME_LEN, 0 },
		{ "need-check", VDISK_FACT_BOOL, FEATURES, QED_NEED_CHECK },
		{ "compat-features", VDISK_FACT_NUM, COMPAT, 0 },
		{ "autoclear-features", VDISK_FACT_NUM, AUTOCLEAR, 0 },
	};

	*fact = (struct vdisk_fact){ .kind = VDISK_FACT_NUM };
	if (i == 0) {
		fact->name = "cluster-size";
		fact->num = geom->unit_len;
		return true;
	}
	return vdisk_fact_of(geom, rows, sizeof(rows) / sizeof(rows[0]), i - 1,
			     fact);
}

const struct vdisk_format vdisk_qed_format = {
	.name		= "qed",
	.probe		= qed_probe,
	.open		= qed_open,
	.map		= qed_map,
	.alloc		= qed_alloc,
	.discard	= qed_discard,
	.mark		= qed_mark,
	.grow		= qed_grow,
	.trim		= qed_trim,
	.walk		= qed_walk,
	.fact		= qed_fact,
};
