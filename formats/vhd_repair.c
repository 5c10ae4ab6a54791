// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Mending VHD. The footer is there twice, so either is written anew from the
 * other; where both are good and differ the trailing one counts, as it does for
 * every reader but QEMU. A checksum alone may be wrong: tools for editing
 * headers forget it. With all other fields in order, and every block where it
 * should be, it is computed again.
 */
#include "repair.h"
#include "vhd.h"

enum {
	TRY_COPY,		/* at 0, from the trailer */
	TRY_HEADER_SUM,
	TRY_FOOTER_SUM,
	TRY_COPY_SUM,
	TRY_NO_MORE,
};

static u32 footer_sum(const struct vhd_footer_disk *f)
{
	return vhd_checksum(f, sizeof(*f),
			    offsetof(struct vhd_footer_disk, checksum));
}

static bool has_cookie(const struct vhd_footer_disk *f)
{
	return !memcmp(f->cookie, "conectix", sizeof(f->cookie));
}

static bool is_good(const struct vhd_footer_disk *f)
{
	return has_cookie(f) && footer_sum(f) == be32_of(f->checksum);
}

/* Bytes of the footer that a file so long can end with, or 0. */
static u32 trailer_len(u64 file_len)
{
	u32 odd = file_len % VDISK_SECTOR;

	if (odd == VHD_OLD_FOOTER_LEN)
		return VHD_OLD_FOOTER_LEN;
	return odd || file_len < VHD_FOOTER_LEN ? 0 : VHD_FOOTER_LEN;
}

static int read_trailer(struct vdisk_step *step, u64 file_len,
			struct vhd_footer_disk *f)
{
	u32 len = trailer_len(file_len);

	memset(f, 0, sizeof(*f));
	return len ? vdisk_copy(step, file_len - len, f, len) : 0;
}

static void write_footer(struct vdisk_mend *mend,
			 const struct vhd_footer_disk *f, u64 off,
			 const char *done)
{
	memcpy(mend->tail, f, sizeof(*f));
	vdisk_plan_tail(&mend->plan, VDISK_BEFORE, off);
	mend->done = done;
}

static int try_copy(struct vdisk_step *step, u64 file_len,
		    struct vdisk_mend *mend)
{
	struct vhd_footer_disk f;
	int r;

	r = read_trailer(step, file_len, &f);
	if (r)
		return r;
	/* The first sectors of a fixed disk are the guest's. */
	if (!is_good(&f) || be32_of(f.disk_type) == VHD_FIXED)
		return vdisk_mend_nothing(step, file_len);
	write_footer(mend, &f, 0, "copy written from the footer at the end");
	return 0;
}

static int try_header_sum(struct vdisk_step *step, u64 file_len,
			  struct vdisk_mend *mend)
{
	u32 at = offsetof(struct vhd_header_disk, checksum);
	struct vhd_footer_disk f;
	struct vhd_header_disk h;
	u64 off;
	int r;

	r = read_trailer(step, file_len, &f);
	if (!r && !is_good(&f))
		r = vdisk_copy(step, 0, &f, sizeof(f));
	if (r)
		return r;
	off = be64_of(f.data_offset);
	if (!is_good(&f) || off % VDISK_SECTOR || off > file_len ||
	    file_len - off < sizeof(h))
		return vdisk_mend_nothing(step, off);
	r = vdisk_copy(step, off, &h, sizeof(h));
	if (r)
		return r;
	if (memcmp(h.cookie, "cxsparse", sizeof(h.cookie)))
		return vdisk_mend_nothing(step, off);
	vdisk_plan_set(&mend->plan, VDISK_BEFORE, off + at, 4, true, 1,
		       vhd_checksum(&h, sizeof(h), at), 0);
	mend->done = "checksum of the header computed again";
	return 0;
}

/* Neither footer is good, but the one at @off is but for its checksum. */
static int try_footer_sum(struct vdisk_step *step, u64 file_len, bool copy,
			  struct vdisk_mend *mend)
{
	u32 at = offsetof(struct vhd_footer_disk, checksum);
	struct vhd_footer_disk f, other;
	bool fixed;
	int r;

	r = read_trailer(step, file_len, copy ? &other : &f);
	if (!r)
		r = vdisk_copy(step, 0, copy ? &f : &other, sizeof(f));
	if (r)
		return r;
	fixed = be32_of(f.disk_type) == VHD_FIXED;
	if (!has_cookie(&f) || is_good(&f) || is_good(&other))
		return vdisk_mend_nothing(step, be32_of(f.checksum));
	/* Of a fixed disk nothing but the length bears witness. */
	if (fixed && (copy || be64_of(f.current_size) + VHD_FOOTER_LEN !=
			      file_len))
		return vdisk_mend_nothing(step, be64_of(f.current_size));
	vdisk_plan_set(&mend->plan, VDISK_BEFORE,
		       (copy ? 0 : file_len - trailer_len(file_len)) + at, 4,
		       true, 1, footer_sum(&f), 0);
	mend->done = "checksum of the footer computed again";
	return 0;
}

static int vhd_head(const struct vdisk_params *params, struct vdisk_step *step,
		    u32 n, struct vdisk_mend *mend)
{
	u64 file_len = params->file_len;

	*mend = (struct vdisk_mend){ 0 };
	if (n >= TRY_NO_MORE || file_len < VHD_FOOTER_LEN)
		return 0;
	if (n == TRY_COPY)
		return try_copy(step, file_len, mend);
	if (n == TRY_HEADER_SUM)
		return try_header_sum(step, file_len, mend);
	return try_footer_sum(step, file_len, n == TRY_COPY_SUM, mend);
}

/* Readers other than QEMU look at the end first. */
static int vhd_copies(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 *cursor, bool taken, struct vdisk_mend *mend)
{
	struct vhd_footer_disk f;
	int r;

	*mend = (struct vdisk_mend){ 0 };
	r = read_trailer(step, step->file_len, &f);
	if (r)
		return r;
	*cursor = ~0ull;
	/* open() looked, and knows more of odd checksums than is known here. */
	if (geom->flags & VDISK_GEOM_NO_TAIL ||
	    (has_cookie(&f) && !memcmp(&f, geom->tail, sizeof(f))))
		return 0;
	mend->what = "VHD has no good footer at its end";
	mend->value = step->file_len;
	write_footer(mend, (const void *)geom->tail, step->data_end,
		     "footer written from the copy at 0");
	vdisk_plan_length(&mend->plan, VDISK_BEFORE,
			  step->data_end + VHD_FOOTER_LEN);
	return 0;
}

/* The BAT's place is in the header, whose place is in the footer. */
static int vhd_point(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_range *range, u64 to,
		     struct vdisk_plan *plan)
{
	const struct vhd_footer_disk *f = (const void *)geom->tail;
	u64 at = be64_of(f->data_offset) +
		 offsetof(struct vhd_header_disk, table_offset);
	const u8 *p = vdisk_want(step, at, 8);

	if (!p)
		return -EAGAIN;
	*plan = (struct vdisk_plan){ 0 };
	if (to >= (u64)VHD_FREE * VDISK_SECTOR)
		return vdisk_bad(step, "VHD file is full at 2 TiB", to);
	vdisk_plan_set(plan, VDISK_PUBLISH, vdisk_be64(p) +
		       vdisk_div(range->sector, geom->unit_sec) * 4, 4, true, 1,
		       to ? to / VDISK_SECTOR : VHD_FREE, 0);
	return 0;
}

/* Where nearly all files have it: the header follows the copy of the footer. */
#define VHD_FIELD(name, field, size) \
	{ name, VHD_FOOTER_LEN + offsetof(struct vhd_header_disk, field), \
	  sizeof(((struct vhd_header_disk *)0)->field), true, size, false }

static const struct vdisk_field fields[] = {
	VHD_FIELD("table_offset", table_offset, false),
	VHD_FIELD("block_size", block_size, false),
	VHD_FIELD("max_table_entries", max_table_entries, true),
	VHD_FIELD("checksum", checksum, false),
};

const struct vdisk_repair vdisk_vhd_repair = {
	.format		= &vdisk_vhd_format,
	.fields		= fields,
	.nr_fields	= sizeof(fields) / sizeof(fields[0]),
	.least_align	= VDISK_SECTOR,
	.head		= vhd_head,
	.copies		= vhd_copies,
	.point		= vhd_point,
};
