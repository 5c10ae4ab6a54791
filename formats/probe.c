// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Signatures at both ends of a file: who claims it. */
#include "probe.h"
#include "vhd.h"

/* Of files that are not read here, so that they can be called by their names. */
static const struct signature {
	const char *name;
	enum vdisk_claim_kind kind;
	bool tail;		/* in the last 512 bytes */
	u16 at;
	u8 len;
	u8 bytes[12];
} signatures[] = {
	{ "qcow2", VDISK_CLAIM_OTHER, false, 0, 4, "QFI\xfb" },
	{ "vdi", VDISK_CLAIM_OTHER, false, 64, 4, "\x7f\x10\xda\xbe" },
	{ "vhdx", VDISK_CLAIM_OTHER, false, 0, 8, "vhdxfile" },
	{ "ewf", VDISK_CLAIM_OTHER, false, 0, 8, "EVF\t\r\n\xff\0" },
	{ "wim", VDISK_CLAIM_OTHER, false, 0, 8, "MSWIM\0\0\0" },
	{ "simg", VDISK_CLAIM_OTHER, false, 0, 4, "\x3a\xff\x26\xed" },
	{ "dmg", VDISK_CLAIM_OTHER, true, 0, 8, "koly\0\0\0\4" },
	{ "luks", VDISK_CLAIM_CRYPT, false, 0, 6, "LUKS\xba\xbe" },
	{ "tar", VDISK_CLAIM_ARCHIVE, false, 257, 5, "ustar" },
	{ "zip", VDISK_CLAIM_ARCHIVE, false, 0, 4, "PK\3\4" },
	{ "zip", VDISK_CLAIM_ARCHIVE, false, 0, 4, "PK\5\6" },
	{ "7z", VDISK_CLAIM_ARCHIVE, false, 0, 6, "7z\xbc\xaf\x27\x1c" },
	{ "rar", VDISK_CLAIM_ARCHIVE, false, 0, 6, "Rar!\x1a\7" },
	{ "cab", VDISK_CLAIM_ARCHIVE, false, 0, 8, "MSCF\0\0\0\0" },
	{ "gzip", VDISK_CLAIM_ARCHIVE, false, 0, 3, "\x1f\x8b\x08" },
	{ "bzip2", VDISK_CLAIM_ARCHIVE, false, 4, 6, "1AY&SY" },
	{ "xz", VDISK_CLAIM_ARCHIVE, false, 0, 6, "\3757zXZ\0" },
	{ "lzip", VDISK_CLAIM_ARCHIVE, false, 0, 5, "LZIP\1" },
	{ "lzop", VDISK_CLAIM_ARCHIVE, false, 0, 9, "\x89LZO\0\r\n\x1a\n" },
	{ "lz4", VDISK_CLAIM_ARCHIVE, false, 0, 4, "\x04\x22\x4d\x18" },
	{ "zstd", VDISK_CLAIM_ARCHIVE, false, 0, 4, "\x28\xb5\x2f\xfd" },
	{ "compress", VDISK_CLAIM_ARCHIVE, false, 0, 3, "\x1f\x9d\x90" },
};

#define NR_SIGNATURES (sizeof(signatures) / sizeof(signatures[0]))

/*-----------------------------------------------------------------
 * Texts
 */

struct text {
	const u8 *p, *end;
	u32 step;		/* bytes of a character: UTF-16 has 2 */
};

static bool is_blank(u8 c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The characters themselves, behind a byte-order mark. */
static void start_text(struct text *t, const u8 *head, u32 len)
{
	*t = (struct text){ .p = head, .end = head + len, .step = 1 };
	if (len >= 3 && !memcmp(head, "\xef\xbb\xbf", 3)) {
		t->p += 3;
	} else if (len >= 2 && (!memcmp(head, "\xff\xfe", 2) ||
				!memcmp(head, "\xfe\xff", 2))) {
		t->p += 2 + (head[0] == 0xfe);
		t->step = 2;
	}
}

static bool more(const struct text *t)
{
	return t->p < t->end;
}

static void skip_blanks(struct text *t)
{
	while (more(t) && is_blank(*t->p))
		t->p += t->step;
}

static u8 lower(u8 c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Does @word, in lower case, come next, and then one of @then, or the end? */
static bool word_next(struct text *t, const char *word, const char *then)
{
	const char *c;

	for (; *word; word++) {
		if (!more(t) || lower(*t->p) != (u8)*word)
			return false;
		t->p += t->step;
	}
	skip_blanks(t);
	if (!more(t))
		return *then == '\n';
	for (c = then; *c; c++)
		if (*t->p == (u8)*c)
			return true;
	return false;
}

bool vdisk_probe_vmdk_text(const u8 *head, u32 len)
{
	struct text t;

	for (start_text(&t, head, len); more(&t); t.p += t.step) {
		skip_blanks(&t);
		if (!more(&t) || *t.p == '\n')
			continue;
		if (*t.p != '#')
			return word_next(&t, "version", "=");
		t.p += t.step;
		skip_blanks(&t);
		if (word_next(&t, "disk descriptorfile", "\n"))
			return true;
		while (more(&t) && *t.p != '\n')
			t.p += t.step;
	}
	return false;
}

/* An element of that name in what begins like XML. */
static bool has_element(const u8 *head, u32 len, const char *name, u32 name_len)
{
	struct text t;

	start_text(&t, head, len);
	while (more(&t) && (is_blank(*t.p) || *t.p == '\n'))
		t.p += t.step;
	if (!more(&t) || *t.p != '<' || t.step != 1)
		return false;
	for (; (u64)(t.end - t.p) > name_len; t.p++)
		if (*t.p == '<' && !memcmp(t.p + 1, name, name_len))
			return true;
	return false;
}

/*-----------------------------------------------------------------*/

struct claims {
	struct vdisk_claim *claim;
	u32 nr;
};

static void add(struct claims *c, enum vdisk_claim_kind kind, const char *name,
		const struct vdisk_format *format, bool tail)
{
	if (c->nr < VDISK_MAX_CLAIMS)
		c->claim[c->nr++] = (struct vdisk_claim){
			.kind = kind, .name = name, .format = format,
			.tail = tail,
		};
}

static void add_formats(struct claims *c, const u8 *bytes, u32 len, bool tail)
{
	static const u8 none[1];
	const struct vdisk_format *f;
	u32 i;

	for (i = 0; vdisk_formats[i]; i++) {
		f = vdisk_formats[i];
		if (f->probe && f->probe(tail ? none : bytes, tail ? 0 : len,
					 tail ? bytes : none, tail ? len : 0))
			add(c, VDISK_CLAIM_IMAGE, f->name, f, tail);
	}
}

static void add_signatures(struct claims *c, const u8 *bytes, u32 len,
			   bool tail)
{
	u32 i;

	for (i = 0; i < NR_SIGNATURES; i++) {
		const struct signature *s = &signatures[i];

		if (s->tail == tail && len >= (u32)s->at + s->len &&
		    !memcmp(bytes + s->at, s->bytes, s->len))
			add(c, s->kind, s->name, NULL, tail);
	}
}

static void add_texts(struct claims *c, const u8 *head, u32 len)
{
	if (vdisk_probe_vmdk_text(head, len))
		add(c, VDISK_CLAIM_TEXT, "vmdk", &vdisk_vmdk_format, false);
	if (has_element(head, len, "Parallels_disk_image", 20))
		add(c, VDISK_CLAIM_TEXT, "parallels", &vdisk_parallels_format,
		    false);
	if (has_element(head, len, "Envelope", 8) ||
	    has_element(head, len, "ovf:Envelope", 12))
		add(c, VDISK_CLAIM_LIST, "ovf", NULL, false);
}

/*
 * Both ends are a VHD's. A dynamic disk has the same footer at both; where one
 * of them is the guest's data they differ in what the disk is made of.
 */
static void tell_vhds(struct claims *c, const u8 *head, const u8 *tail)
{
	static const char *const names[] = {
		[VHD_FIXED] = "fixed vhd", [VHD_DYNAMIC] = "dynamic vhd",
		[VHD_DIFFERENCING] = "differencing vhd",
	};
	const struct vhd_footer_disk *a = (const void *)head;
	const struct vhd_footer_disk *b = (const void *)tail;
	u32 types[2] = { be32_of(a->disk_type), be32_of(b->disk_type) }, i;

	if (types[0] == types[1] &&
	    be64_of(a->data_offset) == be64_of(b->data_offset))
		return;
	for (i = 0; i < c->nr; i++) {
		u32 type = types[c->claim[i].tail];

		if (c->claim[i].format == &vdisk_vhd_format &&
		    type >= VHD_FIXED && type <= VHD_DIFFERENCING)
			c->claim[i].name = names[type];
	}
	/* Of one type, with tables at two places: still two disks. */
	if (types[0] == types[1] && c->nr < VDISK_MAX_CLAIMS)
		c->claim[c->nr - 1].name = "another vhd";
}

static bool good_footer(const u8 *bytes)
{
	return vdisk_vhd_format.probe(bytes, VHD_FOOTER_LEN, bytes, 0) > 10;
}

/*
 * The footer of a VHD that is not where it should be, or not called so: its
 * checksum is right for the cookie that it should have. Such a file is no whole
 * VHD, but its first sectors may be a guest's all the same.
 */
static bool has_lost_footer(const u8 *tail, u32 len)
{
	struct vhd_footer_disk f;
	u32 off, n;

	for (off = 0; off < len; off += VHD_FOOTER_LEN) {
		n = (u32)vdisk_min(len - off, VHD_FOOTER_LEN);
		if (n < VHD_OLD_FOOTER_LEN)
			break;
		memset(&f, 0, sizeof(f));
		memcpy(&f, tail + off, n);
		memcpy(f.cookie, "conectix", sizeof(f.cookie));
		if (good_footer((const u8 *)&f))
			return true;
	}
	return false;
}

static bool ends_as_vhd(const struct claims *c)
{
	u32 i;

	for (i = 0; i < c->nr; i++)
		if (c->claim[i].tail &&
		    c->claim[i].format == &vdisk_vhd_format)
			return true;
	return false;
}

u32 vdisk_probe(const u8 *head, u32 head_len, const u8 *tail, u32 tail_len,
		struct vdisk_claim claim[VDISK_MAX_CLAIMS])
{
	const u8 *last = tail + tail_len - vdisk_min(tail_len, VDISK_SECTOR);
	u32 end_len = (u32)vdisk_min(tail_len, VDISK_SECTOR +
				     tail_len % VDISK_SECTOR);
	const u8 *end = tail + tail_len - end_len;
	struct claims c = { .claim = claim };

	add_formats(&c, head, head_len, false);
	add_texts(&c, head, head_len);
	add_signatures(&c, head, head_len, false);
	add_formats(&c, end, end_len, true);
	add_signatures(&c, last, (u32)vdisk_min(tail_len, VDISK_SECTOR), true);
	if (!ends_as_vhd(&c) && has_lost_footer(tail, tail_len))
		add(&c, VDISK_CLAIM_IMAGE, vdisk_vhd_format.name,
		    &vdisk_vhd_format, true);
	if (head_len >= VHD_FOOTER_LEN && end_len == VHD_FOOTER_LEN &&
	    good_footer(head) && good_footer(end))
		tell_vhds(&c, head, end);
	return c.nr;
}

u32 vdisk_probe_other(const struct vdisk_claim *claim, u32 nr)
{
	u32 i;

	for (i = 1; i < nr; i++)
		if (claim[i].kind != claim[0].kind ||
		    claim[i].format != claim[0].format ||
		    claim[i].name != claim[0].name)
			return i;
	return 0;
}
