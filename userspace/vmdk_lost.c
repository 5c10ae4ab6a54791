// SPDX-License-Identifier: GPL-2.0-or-later
/* The descriptor inside a sparse extent, where the header does not lead to it. */
#include "../formats/probe.h"
#include "../formats/vmdk.h"
#include "repair.h"

#define MOST (1u << 20)		/* bytes, as long as a descriptor can be */

/* Grains, and what a guest writes, start behind this sector. */
static u64 metadata_end(const struct vmdk_header_disk *h, u64 length)
{
	u64 at[] = {
		le64_of(h->overhead), le64_of(h->gd_offset),
		le64_of(h->rgd_offset),
	};
	u64 end = vdisk_min(length, MOST) / VDISK_SECTOR;
	u32 i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (at[i] > 1)
			end = vdisk_min(end, at[i]);
	return end;
}

static bool is_text(struct vdisk_store *store, u64 sector)
{
	u8 bytes[VDISK_SECTOR];

	return !vdisk_store_read(store, sector * VDISK_SECTOR, bytes,
				 sizeof(bytes)) &&
	       vdisk_probe_vmdk_text(bytes, sizeof(bytes));
}

/* Is the text cut off at @sector? It ends with a NUL, or where it may. */
static bool goes_on(struct vdisk_store *store, u64 sector)
{
	u8 two[2];

	return !vdisk_store_read(store, sector * VDISK_SECTOR - 1, two,
				 sizeof(two)) && two[0] && two[1];
}

u64 vmdk_lost_text(struct vdisk_store *store)
{
	struct vmdk_header_disk h;
	u64 off, len, end, i;

	if (store->length < sizeof(h) ||
	    vdisk_store_read(store, 0, &h, sizeof(h)) ||
	    le32_of(h.magic) != VMDK_MAGIC)
		return 0;
	off = le64_of(h.desc_offset);
	len = le64_of(h.desc_size);
	end = metadata_end(&h, store->length);
	if (off && len && off < store->length / VDISK_SECTOR &&
	    is_text(store, off))
		return off < end && len < end - off &&
		       goes_on(store, off + len) ? off : 0;
	for (i = 1; i < end; i++)
		if (is_text(store, i))
			return i;
	return 0;
}
