// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * VMDK redo logs of ESX: "COWD" (vmfsSparse), and disks of early hosted
 * products. One directory, tables made on demand, no entry for zeroes.
 *
 * ESX puts its next grain at freeSector without looking further. Other writers
 * leave the field alone, so it is not believed here; but it is set to the end
 * of the file's data before anything can be put there, and lowered when the
 * file is closed.
 */
#include "vmdk.h"

enum {
	FREE_SECTOR = VMDK_OWN,	/* as found */
	HEADER_FLAGS,
	GENERATION,
	UNCLEAN,
	NR_PRIV,
};

static_assert(NR_PRIV <= VDISK_GEOM_PRIV, "COWD numbers fit the geometry");

/* freeSector must be able to name the end of the last grain. */
#define COWD_MAX_END (0xffffffffull * VDISK_SECTOR)

static int cowd_probe(const u8 *head, u32 head_len, const u8 *tail,
		      u32 tail_len)
{
	if (head_len < 8 || vdisk_le32(head) != COWD_MAGIC)
		return 0;
	return vdisk_le32(head + 4) == 1 ? 90 : 50;
}

static int check_header(struct vdisk_step *step,
			const struct cowd_header_disk *h)
{
	u32 grain = le32_of(h->grain_size);

	if (le32_of(h->magic) != COWD_MAGIC)
		return vdisk_bad(step, "COWD header not found",
				 le32_of(h->magic));
	if (le32_of(h->version) != 1)
		return vdisk_bad(step, "Unknown COWD version",
				 le32_of(h->version));
	if (!vdisk_pow2(grain))
		return vdisk_bad(step, "COWD grain size is not a power of two",
				 grain);
	if (grain > COWD_MAX_GRAIN)
		return vdisk_bad(step, "COWD grain size is over 1 MiB", grain);
	return 0;
}

static int set_tables(const struct vdisk_params *params,
		      struct vdisk_step *step,
		      const struct cowd_header_disk *h, struct vdisk_geom *geom)
{
	u64 off = le32_of(h->gd_offset) * (u64)VDISK_SECTOR;
	u64 len = le32_of(h->num_gdes) * (u64)VMDK_ENTRY_LEN;

	if (le32_of(h->num_gdes) < geom->priv[VMDK_GDES])
		return vdisk_bad(step, "COWD directory is too short for the disk",
				 le32_of(h->num_gdes));
	if (off < COWD_HEADER_LEN)
		return vdisk_bad(step, "COWD directory lies in the header",
				 le32_of(h->gd_offset));
	if (off > params->file_len || len > params->file_len - off)
		return vdisk_bad(step, "COWD directory is outside the file",
				 le32_of(h->gd_offset));
	/*
	 * Where the directory follows the header, as it does in ESX's own, all
	 * else was added behind it. Elsewhere it has room before it.
	 */
	geom->data_off = COWD_HEADER_LEN;
	if (off == COWD_HEADER_LEN)
		geom->data_off = vdisk_align(off + len, VDISK_SECTOR, 0);
	geom->priv[VMDK_GD_OFF] = off;
	geom->priv[VMDK_GD_LEN] = vdisk_align(geom->priv[VMDK_GDES] *
					      VMDK_ENTRY_LEN, VDISK_SECTOR, 0);
	geom->priv[VMDK_TABLE_MIN] = COWD_HEADER_LEN;
	geom->priv[VMDK_META_LEN] = COWD_HEADER_LEN;
	geom->priv[VMDK_VERSION] = 1;
	geom->priv[FREE_SECTOR] = le32_of(h->free_sector);
	geom->priv[HEADER_FLAGS] = le32_of(h->flags);
	geom->priv[GENERATION] = le32_of(h->generation);
	geom->priv[UNCLEAN] = le32_of(h->unclean);
	return 0;
}

static int cowd_open(const struct vdisk_params *params, struct vdisk_step *step,
		     struct vdisk_geom *geom)
{
	const struct cowd_header_disk *h;
	int r;

	*geom = (struct vdisk_geom){ 0 };
	h = vdisk_vmdk_header(params, step, COWD_HEADER_LEN,
			      "File is shorter than a COWD header", &r);
	if (h)
		r = check_header(step, h);
	if (!r)
		r = vdisk_vmdk_set_size(step, params->size_sec,
					le32_of(h->capacity),
					le32_of(h->grain_size), COWD_GTES, geom);
	if (!r)
		r = set_tables(params, step, h, geom);
	if (!r)
		vdisk_vmdk_set_end(params,
				   vdisk_min(params->file_len, COWD_MAX_END),
				   geom->priv[UNCLEAN], geom);
	return r;
}

static void set_free(struct vdisk_plan *plan, u64 end)
{
	vdisk_plan_set(plan, VDISK_BEFORE,
		       offsetof(struct cowd_header_disk, free_sector), 4, false,
		       1, vdisk_div_up(end, VDISK_SECTOR), 0);
}

/* Room that is there already may be used without grow(). */
static int cowd_mark(const struct vdisk_geom *geom, struct vdisk_step *step,
		     bool dirty, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	vdisk_plan_set(plan, VDISK_BEFORE,
		       offsetof(struct cowd_header_disk, unclean), 4, false, 1,
		       dirty, 0);
	if (dirty)
		set_free(plan, step->data_end);
	return 0;
}

static int cowd_grow(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 new_end, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	if (new_end > COWD_MAX_END)
		return vdisk_full(step, "COWD file is full at 2 TiB", new_end);
	vdisk_plan_length(plan, VDISK_BEFORE, new_end);
	set_free(plan, new_end);
	return 0;
}

static int cowd_trim(const struct vdisk_geom *geom, struct vdisk_step *step,
		     u64 end, struct vdisk_plan *plan)
{
	*plan = (struct vdisk_plan){ 0 };
	end = vdisk_max(end, geom->data_off);
	set_free(plan, end);
	vdisk_plan_length(plan, VDISK_PUBLISH, end);
	return 0;
}

static bool cowd_fact(const struct vdisk_geom *geom, u32 i,
		      struct vdisk_fact *fact)
{
	static const struct vdisk_fact_row rows[] = {
		{ "version", VDISK_FACT_NUM, VMDK_VERSION, 0 },
		{ "flags", VDISK_FACT_NUM, HEADER_FLAGS, 0 },
		{ "capacity-sectors", VDISK_FACT_NUM, VMDK_CAPACITY, 0 },
		{ "table-entries", VDISK_FACT_NUM, VMDK_GTES, 0 },
		{ "tables", VDISK_FACT_NUM, VMDK_GDES, 0 },
		{ "directory-offset", VDISK_FACT_NUM, VMDK_GD_OFF, 0 },
		{ "free-sector", VDISK_FACT_NUM, FREE_SECTOR, 0 },
		{ "generation", VDISK_FACT_NUM, GENERATION, 0 },
		{ "unclean", VDISK_FACT_BOOL, UNCLEAN, 0 },
	};

	*fact = (struct vdisk_fact){ .kind = VDISK_FACT_NUM };
	if (!i) {
		fact->name = "grain-size";
		fact->num = geom->unit_len;
		return true;
	}
	return vdisk_fact_of(geom, rows, sizeof(rows) / sizeof(rows[0]), i - 1,
			     fact);
}

const struct vdisk_format vdisk_cowd_format = {
	.name		= "cowd",
	.probe		= cowd_probe,
	.open		= cowd_open,
	.map		= vdisk_vmdk_map,
	.alloc		= vdisk_vmdk_alloc,
	.discard	= vdisk_vmdk_discard,
	.mark		= cowd_mark,
	.grow		= cowd_grow,
	.trim		= cowd_trim,
	.walk		= vdisk_vmdk_walk,
	.fact		= cowd_fact,
};
