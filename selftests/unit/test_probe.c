// SPDX-License-Identifier: GPL-2.0
/*
 * Who claims a file by its ends. Each pair of a beginning and an end is tried:
 * in some format a guest can write the one, in some the other.
 */
#include "test.h"
#include "../../formats/probe.c"
#include "steps.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

enum {
	H_ZERO, H_PARALLELS_1, H_PARALLELS_2, H_QED, H_VMDK, H_COWD, H_SESPARSE,
	H_VHD, H_VHD_BAD, H_TEXT, H_XML, H_QCOW2, H_VDI, H_VHDX, H_LUKS, H_TAR,
	H_ZIP, H_GZIP, H_XZ, H_7Z, H_OVF, H_NOISE, NR_HEADS,
};

/* What each is called, and the format of ours that it is. */
static const struct {
	const char *name, *format;
} is[NR_HEADS] = {
	[H_PARALLELS_1] = { "parallels", "parallels" },
	[H_PARALLELS_2] = { "parallels", "parallels" },
	[H_QED] = { "qed", "qed" }, [H_VMDK] = { "vmdk", "vmdk" },
	[H_COWD] = { "cowd", "cowd" },
	[H_SESPARSE] = { "sesparse", "sesparse" },
	[H_VHD] = { "vhd", "vhd" }, [H_VHD_BAD] = { "vhd", "vhd" },
	[H_TEXT] = { "vmdk", "vmdk" }, [H_XML] = { "parallels", "parallels" },
	[H_QCOW2] = { "qcow2", NULL }, [H_VDI] = { "vdi", NULL },
	[H_VHDX] = { "vhdx", NULL }, [H_LUKS] = { "luks", NULL },
	[H_TAR] = { "tar", NULL }, [H_ZIP] = { "zip", NULL },
	[H_GZIP] = { "gzip", NULL }, [H_XZ] = { "xz", NULL },
	[H_7Z] = { "7z", NULL }, [H_OVF] = { "ovf", NULL },
};

static void footer_of(u8 *f, u32 type, u64 data_offset)
{
	memset(f, 0, 512);
	memcpy(f, "conectix", 8);
	vdisk_store(f + 12, 0x10000, 4, true);
	vdisk_store(f + 16, data_offset, 8, true);
	vdisk_store(f + 60, type, 4, true);
	vdisk_store(f + 64, vhd_checksum(f, 512, 64), 4, true);
}

static void head_of(u32 kind, u8 *h)
{
	u32 i;

	memset(h, 0, 4096);
	switch (kind) {
	case H_PARALLELS_1:
	case H_PARALLELS_2:
		memcpy(h, kind == H_PARALLELS_1 ? "WithoutFreeSpace"
						: "WithouFreSpacExt", 16);
		vdisk_store(h + 16, 2, 4, false);
		vdisk_store(h + 28, 2048, 4, false);
		vdisk_store(h + 32, 10, 4, false);
		vdisk_store(h + 36, 20480, 4, false);
		vdisk_store(h + 48, 2048, 4, false);
		break;
	case H_QED:
		memcpy(h, "QED", 4);
		vdisk_store(h + 4, 65536, 4, false);
		vdisk_store(h + 8, 4, 4, false);
		vdisk_store(h + 12, 1, 4, false);
		break;
	case H_VMDK:
		memcpy(h, "KDMV", 4);
		vdisk_store(h + 4, 1, 4, false);
		vdisk_store(h + 8, 3, 4, false);
		vdisk_store(h + 12, 20480, 8, false);
		vdisk_store(h + 20, 128, 8, false);
		vdisk_store(h + 44, 512, 4, false);
		break;
	case H_COWD:
		memcpy(h, "COWD", 4);
		vdisk_store(h + 4, 1, 4, false);
		break;
	case H_SESPARSE:
		vdisk_store(h, 0xCAFEBABE, 8, false);
		vdisk_store(h + 8, 0x200000001ull, 8, false);
		break;
	case H_VHD_BAD:
	case H_VHD:
		footer_of(h, 3, 512);
		h[100] = kind == H_VHD_BAD;
		break;
	case H_TEXT:
		strcpy((char *)h, "# Disk DescriptorFile\nversion=1\n");
		break;
	case H_XML:
		strcpy((char *)h, "<?xml version='1.0'?>\n<!-- a -->\n"
		       "<Parallels_disk_image Version=\"1.0\">");
		break;
	case H_OVF:
		strcpy((char *)h, "<?xml version='1.0'?>\n<Envelope x=\"\">");
		break;
	case H_QCOW2:
		memcpy(h, "QFI\xfb", 4);
		break;
	case H_VDI:
		vdisk_store(h + 64, 0xbeda107f, 4, false);
		break;
	case H_VHDX:
		memcpy(h, "vhdxfile", 8);
		break;
	case H_LUKS:
		memcpy(h, "LUKS\xba\xbe", 6);
		break;
	case H_TAR:
		memcpy(h + 257, "ustar", 5);
		break;
	case H_ZIP:
		memcpy(h, "PK\3\4", 4);
		break;
	case H_GZIP:
		memcpy(h, "\x1f\x8b\x08", 3);
		break;
	case H_XZ:
		memcpy(h, "\3757zXZ", 6);
		break;
	case H_7Z:
		memcpy(h, "7z\xbc\xaf\x27\x1c", 6);
		break;
	case H_NOISE:
		for (i = 0; i < 4096; i++)
			h[i] = (u8)steps_random();
	}
}

/* Who claims it, on the heap and to the byte: ASan sees one too many. */
static u32 probe(const u8 *head, u32 head_len, const u8 *tail, u32 tail_len,
		 struct vdisk_claim *claim)
{
	u8 *h = malloc(head_len + !head_len), *t = malloc(tail_len + !tail_len);
	u32 nr;

	memcpy(h, head, head_len);
	memcpy(t, tail, tail_len);
	nr = vdisk_probe(h, head_len, t, tail_len, claim);
	free(h);
	free(t);
	return nr;
}

static const char *format_name(const struct vdisk_claim *claim)
{
	return claim->format ? claim->format->name : NULL;
}

/* Every beginning, with an end that says nothing. */
static void test_heads(void)
{
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	u8 head[4096], tail[512] = { 0 };
	u32 i, nr;

	for (i = 0; i < NR_HEADS; i++) {
		head_of(i, head);
		nr = probe(head, sizeof(head), tail, sizeof(tail), claim);
		T_EQ(nr, !!is[i].name, t_name("head %u: one claim", i));
		if (!nr)
			continue;
		T_STR(claim[0].name, is[i].name, t_name("head %u: name", i));
		T_STR(format_name(&claim[0]), is[i].format,
		      t_name("head %u: format", i));
		T_OK(!claim[0].tail, "it is the beginning that says so");
		T_EQ(vdisk_probe_other(claim, nr), 0, "nobody else");
	}
}

/*
 * Every beginning, and a footer at the end: a guest of a fixed VHD has the
 * former, one of any other image may have the latter.
 */
static void test_pairs(void)
{
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	u8 head[4096], tail[512];
	u32 i, type, nr, other;
	bool agree;

	for (i = 0; i < NR_HEADS * 3; i++) {
		type = VHD_FIXED + i % 3;
		head_of(i / 3, head);
		footer_of(tail, type, type == VHD_FIXED ? VHD_NO_OFFSET : 512);
		nr = probe(head, sizeof(head), tail, sizeof(tail), claim);
		other = vdisk_probe_other(claim, nr);
		agree = !is[i / 3].name || i / 3 == H_VHD_BAD ||
			(i / 3 == H_VHD && type == VHD_DYNAMIC);
		T_EQ(!other, agree, t_name("head %u, footer of type %u: agree",
					   i / 3, type));
		if (agree) {
			T_STR(format_name(&claim[0]), "vhd", "a VHD");
			continue;
		}
		T_OK(claim[other].tail, "the end says something else");
		T_OK(strcmp(claim[0].name, claim[other].name), "both are named");
		if (i / 3 != H_VHD)
			T_STR(claim[0].name, is[i / 3].name, "the first");
	}
	/* A footer with a wrong sum, too, is no guest's to decide about. */
	head_of(H_QED, head);
	footer_of(tail, VHD_FIXED, VHD_NO_OFFSET);
	tail[100] ^= 1;
	nr = probe(head, sizeof(head), tail, sizeof(tail), claim);
	T_EQ(vdisk_probe_other(claim, nr), 1, "a damaged footer is a claim");
	/* Two dynamic disks: tables at two places. */
	head_of(H_VHD, head);
	footer_of(tail, VHD_DYNAMIC, 1 << 20);
	nr = probe(head, sizeof(head), tail, sizeof(tail), claim);
	T_EQ(vdisk_probe_other(claim, nr), 1, "footers of two headers");
}

/* Two signatures that fit into one beginning. */
static void test_two_heads(void)
{
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	u8 head[4096], more[4096], tail[512] = { 0 };
	u32 i, nr;

	for (i = 0; i < NR_HEADS; i++) {
		if (!is[i].name || i == H_VDI || i == H_TAR)
			continue;
		head_of(i, head);
		head_of(H_TAR, more);
		memcpy(head + 257, more + 257, 5);
		nr = probe(head, sizeof(head), tail, sizeof(tail), claim);
		T_OK(vdisk_probe_other(claim, nr),
		     t_name("head %u and a tar's", i));
	}
	head_of(H_TEXT, head);
	head_of(H_VDI, more);
	memcpy(head + 64, more + 64, 4);
	nr = probe(head, sizeof(head), tail, sizeof(tail), claim);
	T_OK(vdisk_probe_other(claim, nr), "a text and a VDI");
}

static void test_ends(void)
{
	static const struct {
		const char *name;
		u32 head, head_len, tail, tail_len;
		const char *format;
	} rows[] = {
		{ "no bytes", H_ZERO, 0, 0, 0, NULL },
		{ "half a copy", H_VHD, 511, 0, 512, NULL },
		{ "a footer only", H_ZERO, 4096, 512, 512, "vhd" },
		{ "a footer of 511 bytes", H_ZERO, 4096, 511, 1023, "vhd" },
		{ "511 bytes in all", H_ZERO, 511, 511, 511, "vhd" },
		{ "a footer before odd bytes", H_ZERO, 4096, 512, 612, "vhd" },
		{ "a damaged copy, a good footer", H_VHD_BAD, 4096, 512, 512,
		  "vhd" },
	};
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	u8 whole[512], head[4096], tail[1024];
	u32 i, nr;

	footer_of(whole, VHD_FIXED, VHD_NO_OFFSET);
	for (i = 0; i < ARRAY(rows); i++) {
		head_of(rows[i].head, head);
		memset(tail, 0, sizeof(tail));
		if (rows[i].tail_len == 612)
			memcpy(tail, whole, 512);
		else
			memcpy(tail + rows[i].tail_len - rows[i].tail, whole,
			       rows[i].tail);
		nr = probe(head, rows[i].head_len, tail, rows[i].tail_len,
			   claim);
		T_STR(nr ? format_name(&claim[0]) : NULL, rows[i].format,
		      rows[i].name);
		T_EQ(vdisk_probe_other(claim, nr), 0, "of one mind");
	}
	memset(tail, 0, sizeof(tail));
	memcpy(tail, "koly\0\0\0\4", 8);
	head_of(H_ZERO, head);
	nr = probe(head, sizeof(head), tail, 512, claim);
	T_STR(nr ? claim[0].name : NULL, "dmg", "a trailer of another kind");
	/* Short beginnings of every kind. */
	for (i = 0; i < 300 * NR_HEADS; i++) {
		head_of(i % NR_HEADS, head);
		probe(head, i / NR_HEADS, head, i / NR_HEADS, claim);
	}
	T_OK(true, "short heads are read to their end only");
}

/* A footer that is damaged in its cookie, or was the end once. */
static void test_lost_footers(void)
{
	static const struct {
		u32 more;
		u8 cookie;	/* what is changed in it */
		bool is;
	} rows[] = {
		{ 0, 1, true }, { 0, 0x80, true }, { 1, 0, true },
		{ 512, 0, true }, { 512, 1, true }, { 600, 0, true },
		{ 4096, 0, true }, { 4097, 0, true }, { 4607, 0, true },
		{ 4608, 0, false },
	};
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	u8 head[4096], file[32768];
	u32 i, j, nr, other, len, tail;

	for (i = 0; i < ARRAY(rows); i++) {
		for (j = 0; j < 8; j++) {
			memset(file, 0, sizeof(file));
			footer_of(file + 8192, VHD_FIXED, VHD_NO_OFFSET);
			file[8192 + j] ^= rows[i].cookie;
			len = 8192 + 512 + rows[i].more;
			tail = VDISK_PROBE_TAIL + len % 512;
			head_of(H_QED, head);
			nr = probe(head, sizeof(head), file + len - tail, tail,
				   claim);
			other = vdisk_probe_other(claim, nr);
			T_EQ(!!other, rows[i].is, t_name("row %u, byte %u", i,
							 j));
			T_OK(!other || claim[other].format == &vdisk_vhd_format,
			     "the other is a VHD");
			/* Nothing of it is right with a wrong sum. */
			file[8192 + 200] ^= 1;
			nr = probe(head, sizeof(head), file + len - tail, tail,
				   claim);
			T_EQ(nr, 1 + (!rows[i].more && !rows[i].cookie),
			     "no footer");
		}
	}
}

#define HEAD "# Disk DescriptorFile\nversion=1\nCID=12abcdef\n"

static void test_texts(void)
{
	static const struct {
		const char *text;
		u32 len;
		bool is;
	} p[] = {
#define T(text, is) { text, sizeof(text) - 1, is }
		T(HEAD, true), T("version=1\n", true),
		T("\n \n# a comment\nversion=1", true),
		T("#  disk DESCRIPTORFILE  \r\n", true),
		T("# Disk DescriptorFile", true),
		T("Version = 3\n", true),
		T("\xef\xbb\xbf" HEAD, true),
		T("\xff\xfe#\0 \0d\0i\0s\0k\0 \0d\0e\0s\0c\0r\0i\0p\0t\0o\0"
		  "r\0f\0i\0l\0e\0\r\0\n\0", true),
		T("\xfe\xff\0v\0e\0r\0s\0i\0o\0n\0=", true),
		T("", false), T("\n\n", false), T("# a comment\n", false),
		T("CID=1\n", false), T("versions=1\n", false),
		T("version 1\n", false), T("x\nversion=1\n", false),
		T("# Disk DescriptorFiles\n", false), T("\xff\xfe", false),
		T("\x7f" "ELF", false),
	};
	u32 i;

	for (i = 0; i < ARRAY(p); i++) {
		u8 *text = malloc(p[i].len + !p[i].len);

		memcpy(text, p[i].text, p[i].len);
		T_EQ(vdisk_probe_vmdk_text(text, p[i].len), p[i].is,
		     t_name("text %u", i));
		free(text);
	}
}

int main(void)
{
	test_heads();
	test_pairs();
	test_two_heads();
	test_ends();
	test_lost_footers();
	test_texts();
	return T_DONE();
}
