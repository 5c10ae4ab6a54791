// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A new QED image: a header, and an L1 table of zeroes behind it.
 *
 * From: size_sec, unit_len, table_units, parent, raw_parent.
 */
#include "make.h"
#include "qed.h"

/* The disk that two levels of tables can address, less than 2^63 bytes. */
static u64 most_sectors(u64 cluster, u64 table_units)
{
	u64 entries = cluster * table_units / QED_ENTRY_LEN, most;

	if (vdisk_mul(entries, entries, &most) ||
	    vdisk_mul(most, cluster, &most) || most > QED_MAX_SIZE)
		most = QED_MAX_SIZE;
	return most / VDISK_SECTOR;
}

static int qed_layout(const struct vdisk_recipe *recipe,
		      struct vdisk_layout *layout)
{
	u64 cluster = recipe->unit_len, table = recipe->table_units;
	u32 name = recipe->parent_len;

	*layout = (struct vdisk_layout){ .size_sec = recipe->size_sec };
	if (!vdisk_pow2(cluster))
		return vdisk_unmakable(layout,
				       "Cluster size is not a power of two",
				       cluster);
	if (cluster < QED_MIN_CLUSTER || cluster > QED_MAX_CLUSTER)
		return vdisk_unmakable(layout,
				       "Cluster size is not 4 KiB to 64 MiB",
				       cluster);
	if (!vdisk_pow2(table) || table > QED_MAX_TABLE)
		return vdisk_unmakable(layout,
				       "Table size is not 1, 2, 4, 8 or 16",
				       table);
	if (!recipe->size_sec)
		return vdisk_unmakable(layout, "The disk is empty", 0);
	if (recipe->size_sec > most_sectors(cluster, table))
		return vdisk_unmakable(layout,
				       "Disk is longer than the tables, bytes",
				       most_sectors(cluster, table) *
				       VDISK_SECTOR);
	if (recipe->parent && (!name || name > QED_MAX_NAME))
		return vdisk_unmakable(layout,
				       "Parent's name is not 1 to 1023 bytes",
				       name);
	layout->table_off = cluster;
	layout->file_len = cluster + table * cluster;
	return 0;
}

static bool qed_piece(const struct vdisk_recipe *recipe,
		      const struct vdisk_layout *layout, u32 i,
		      struct vdisk_piece *piece)
{
	struct qed_header_disk h = {
		.magic = "QED",
		.cluster_size = to_le32(recipe->unit_len),
		.table_size = to_le32(recipe->table_units),
		.header_size = to_le32(1),
		.l1_table_offset = to_le64(layout->table_off),
		.image_size = to_le64(layout->size_sec * VDISK_SECTOR),
	};
	u64 features = QED_BACKING_FILE;

	if (i)
		return false;
	piece->off = 0;
	piece->len = sizeof(h);
	if (recipe->parent) {
		if (recipe->raw_parent)
			features |= QED_NO_PROBE;
		h.features = to_le64(features);
		h.backing_filename_offset = to_le32(sizeof(h));
		h.backing_filename_size = to_le32(recipe->parent_len);
		memcpy(piece->data + sizeof(h), recipe->parent,
		       recipe->parent_len);
		piece->len += recipe->parent_len;
	}
	memcpy(piece->data, &h, sizeof(h));
	return true;
}

const struct vdisk_maker vdisk_qed_maker = {
	.format	= &vdisk_qed_format,
	.layout	= qed_layout,
	.piece	= qed_piece,
};
