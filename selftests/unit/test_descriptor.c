// SPDX-License-Identifier: GPL-2.0
/* VMDK descriptors: what real programs write, and what nobody should. */
#define _GNU_SOURCE
#include "test.h"
#include "../../userspace/descriptor.c"
#include "tool.h"

#define HEAD "# Disk DescriptorFile\nversion=1\nCID=12abcdef\n"

/* A text and how it comes out: "!why", or "cid parent n*sectors: extents". */
static const struct {
	const char *name, *text, *want;
} rows[] = {
	{ "plain", HEAD "parentCID=ffffffff\nRW 8 FLAT \"a\" 0\n",
	  "12abcdef ffffffff 8: rw8flat(a)0" },
	{ "CRLF and blanks",
	  "# Disk DescriptorFile\r\nversion = 1 \r\n\tCID = 1a \r\n"
	  "parentCID=ffffffff\r\n\r\n  RW\t8  SPARSE  \"a b.vmdk\"  \r\n",
	  "0000001a ffffffff 8: rw8sparse(a b.vmdk)0" },
	{ "any case",
	  "# disk descriptorfile\nVERSION=2\ncid=1A\nPARENTCID=1B\n"
	  "rw 8 flat \"A\" 5\n",
	  "0000001a 0000001b 8: rw8flat(A)5" },
	{ "no line end at the end", HEAD "RW 8 ZERO",
	  "12abcdef ffffffff 8: rw8zero(-)0" },
	{ "all accesses",
	  HEAD "RW 1 ZERO\nRDONLY 2 FLAT \"f\" 3\nNOACCESS 4 FLAT \"g\" 0\n",
	  "12abcdef ffffffff 7: rw1zero(-)0 ro2flat(f)3 na4flat(g)0" },
	{ "all types",
	  HEAD "RW 1 VMFS \"v\"\nRW 2 VMFS \"v\" 7\nRW 3 VMFSSPARSE \"s\"\n"
	  "RW 4 SESPARSE \"e\"\n",
	  "12abcdef ffffffff 10: rw1vmfs(v)0 rw2vmfs(v)7 rw3vmfssparse(s)0 "
	  "rw4sesparse(e)0" },
	{ "what follows the offset", HEAD "RW 8 FLAT \"a\" 0 uuid dev\n",
	  "12abcdef ffffffff 8: rw8flat(a)0" },
	{ "CID after parentCID, in a comment, in a name",
	  "version=1\n#CID=1\nparentCID=22\nCID=33\nRW 8 FLAT \"CID=4\" 0\n",
	  "00000033 00000022 8: rw8flat(CID=4)0" },
	{ "the first CID counts", HEAD "CID=99\n", "12abcdef ffffffff 0:" },
	{ "unknown keys", HEAD "encoding=\"UTF-8\"\nddb.uuid = \"x y\"\nfoo=\n",
	  "12abcdef ffffffff 0:" },
	{ "keys that begin like others", HEAD "CIDx=5\nRWx=3\n",
	  "12abcdef ffffffff 0:" },
	{ "the largest disk", HEAD "RW 18014398509481984 ZERO\n",
	  "12abcdef ffffffff 18014398509481984: rw18014398509481984zero(-)0" },

	{ "empty", "", "!Descriptor says no version" },
	{ "no version", "# Disk DescriptorFile\nCID=1\n",
	  "!Descriptor says no version" },
	{ "no CID", "version=1\nparentCID=1\n", "!Descriptor says no CID" },
	{ "version 4", "version=4\nCID=1\n",
	  "!Descriptor line 1: Descriptor version is not 1 to 3" },
	{ "version 0", "version=0\nCID=1\n",
	  "!Descriptor line 1: Descriptor version is not 1 to 3" },
	{ "CID of nine digits", "version=1\nCID=123456789\n",
	  "!Descriptor line 2: CID is not up to 8 hex digits" },
	{ "CID of none", "version=1\nCID=\n",
	  "!Descriptor line 2: CID is not up to 8 hex digits" },
	{ "CID that is none", "version=1\nCID=0x12\n",
	  "!Descriptor line 2: CID is not up to 8 hex digits" },
	{ "parentCID that is none", "version=1\nparentCID=-1\n",
	  "!Descriptor line 2: parentCID is not up to 8 hex digits" },
	{ "neither", HEAD "RWRW 8 FLAT\n",
	  "!Descriptor line 4: Neither a key nor an extent" },
	{ "no length", HEAD "RW\n", "!Descriptor line 4: Extent has no length" },
	{ "length 0", HEAD "RW 0 ZERO\n",
	  "!Descriptor line 4: Extent has no length" },
	{ "length in hex", HEAD "RW 0x8 ZERO\n",
	  "!Descriptor line 4: Extent has no length" },
	{ "negative length", HEAD "RW -8 ZERO\n",
	  "!Descriptor line 4: Extent has no length" },
	{ "length of 65 bits", HEAD "RW 18446744073709551616 ZERO\n",
	  "!Descriptor line 4: Extent has no length" },
	{ "too long", HEAD "RW 18014398509481985 ZERO\n",
	  "!Descriptor line 4: Extents are too long" },
	{ "too long together",
	  HEAD "RW 18014398509481984 ZERO\nRW 1 ZERO\n",
	  "!Descriptor line 5: Extents are too long" },
	{ "over 64 bits together",
	  HEAD "RW 8 ZERO\nRW 18446744073709551615 ZERO\n",
	  "!Descriptor line 5: Extents are too long" },
	{ "no type", HEAD "RW 8\n",
	  "!Descriptor line 4: Extent type cannot be used: " },
	{ "a raw device", HEAD "RW 8 VMFSRDM \"a\"\n",
	  "!Descriptor line 4: Extent type cannot be used: VMFSRDM" },
	{ "no file", HEAD "RW 8 SPARSE\n",
	  "!Descriptor line 4: Extent names no file" },
	{ "no name", HEAD "RW 8 SPARSE \"\"\n",
	  "!Descriptor line 4: Extent names no file" },
	{ "no closing quote", HEAD "RW 8 SPARSE \"a\nb\"\n",
	  "!Descriptor line 4: Extent names no file" },
	{ "no quotes", HEAD "RW 8 SPARSE a.vmdk\n",
	  "!Descriptor line 4: Extent names no file" },
	{ "no offset", HEAD "RW 8 FLAT \"a\"\n",
	  "!Descriptor line 4: Extent has no offset" },
	{ "a byte-order mark", "\xef\xbb\xbf" HEAD "RW 8 FLAT \"a\" 0\n",
	  "12abcdef ffffffff 8: rw8flat(a)0" },
	{ "an encoding", HEAD "encoding=\"windows-1252\"\nRW 8 FLAT \"caf\xe9\" 0\n",
	  "12abcdef ffffffff 8: rw8flat(caf\xc3\xa9)0" },
	{ "an encoding that is said behind the names",
	  HEAD "RW 8 FLAT \"\xd0\xe9\" 0\nENCODING = \"GBK\"\n",
	  "12abcdef ffffffff 8: rw8flat(\xe8\x99\x9a)0" },
	{ "a character whose second byte is a backslash's",
	  HEAD "encoding=\"Shift_JIS\"\nRW 8 FLAT \"\x95\x5c\" 0\n",
	  "12abcdef ffffffff 8: rw8flat(\xe8\xa1\xa8)0" },
	{ "an encoding that nobody knows",
	  HEAD "encoding=\"Klingon\"\nRW 8 FLAT \"\xe9\" 0\n",
	  "12abcdef ffffffff 8: rw8flat(\xe9)0" },
	{ "bytes that are none of the encoding",
	  HEAD "encoding=\"GBK\"\nRW 8 FLAT \"\xff\" 0\n",
	  "12abcdef ffffffff 8: rw8flat(\xff)0" },
	{ "encrypted by ESXi", HEAD "keyID=00112233\n",
	  "!Descriptor line 4: Disk is encrypted: keyID" },
	{ "its keys", HEAD "encryptionKeys = \"vmware:key/list/(x)\"\n",
	  "!Descriptor line 4: Disk is encrypted: encryptionKeys" },
	{ "encrypted by Workstation", HEAD "ENCRYPTION.KEYSAFE=\"vmware:key\"\n",
	  "!Descriptor line 4: Disk is encrypted: ENCRYPTION.KEYSAFE" },
	{ "its data", HEAD "encryption.data = \"xx\"\n",
	  "!Descriptor line 4: Disk is encrypted: encryption.data" },
	{ "an I/O filter that encrypts",
	  HEAD "ddb.iofilters = \"VMW_spm_1.0.0,VMW_vmwarevmcrypt_1.0.0\"\n",
	  "!Descriptor line 4: Disk is encrypted: "
	  "VMW_spm_1.0.0,VMW_vmwarevmcrypt_1.0.0" },
	{ "no key", HEAD "keyID=\nencryptionKeys=\"\"\nddb.iofilters=\"\"\n"
	  "#keyID=1\n", "12abcdef ffffffff 0:" },
	{ "an offset that is none", HEAD "RW 8 VMFS \"a\" x\n",
	  "!Descriptor line 4: Extent has no offset" },
	{ "an offset too far", HEAD "RW 8 FLAT \"a\" 18014398509481985\n",
	  "!Descriptor line 4: Extent has no offset" },
};

static char *show(const struct descriptor *d)
{
	static const char *const access[] = { "rw", "ro", "na" };
	static const char *const type[] = {
		"flat", "vmfs", "zero", "sparse", "vmfssparse", "sesparse",
	};
	char *all, *text = out_text("%08x %08x %llu:", d->cid, d->parent_cid,
				    (unsigned long long)d->sectors);
	u32 i;

	for (i = 0; i < d->nr_extents; i++) {
		const struct descriptor_extent *e = &d->extent[i];

		all = out_text("%s %s%llu%s(%s)%llu", text, access[e->access],
			       (unsigned long long)e->sectors, type[e->type],
			       e->file ? e->file : "-",
			       (unsigned long long)e->offset_sec);
		free(text);
		text = all;
	}
	return text;
}

/* In memory of its very length, so that a byte too far is seen. */
static char *parse(struct descriptor *d, const char *text, size_t len)
{
	char *copy = out_alloc(len, 1), *what;

	memcpy(copy, text, len);
	what = descriptor_parse(d, copy, len, false);
	free(copy);
	return what;
}

static void test_rows(void)
{
	struct descriptor d;
	char *what, *got;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		what = parse(&d, rows[i].text, strlen(rows[i].text));
		got = what ? out_text("!%s", what) : show(&d);
		T_STR(got, rows[i].want, rows[i].name);
		free(got);
		free(what);
		descriptor_free(&d);
	}
}

static void test_texts(void)
{
	static const char text[] = HEAD "createType=\"monolithicFlat\"\n"
		"parentFileNameHint=\"C:\\a b.vmdk\"\0RW 8 ZERO\n";
	struct descriptor d;

	T_STR(parse(&d, text, sizeof(text) - 1), NULL, "up to a zero byte");
	T_EQ(d.nr_extents, 0, "what follows a zero byte is not seen");
	T_STR(d.create_type, "monolithicFlat", "createType");
	T_STR(d.parent_hint, "C:\\a b.vmdk", "parentFileNameHint");
	T_EQ(d.cid_at, strlen(HEAD) - 9, "where the CID stands");
	T_EQ(d.cid_len, 8, "how long it is");
	descriptor_free(&d);
}

/* What must not be written, and what the text says of parents. */
static void test_reasons(void)
{
	static const char tracked[] =
		"Changes of this VMDK are tracked elsewhere";
	static const struct {
		const char *name, *text, *why, *uuid;
		bool parent, no_cid;
	} r[] = {
		{ "an ordinary text", HEAD, NULL, NULL, false, false },
		{ "version 3", "version=3\nCID=1\n", tracked, NULL, false,
		  false },
		{ "a tracking file", HEAD "changetrackpath = \"a-ctk.vmdk\"\n",
		  tracked, NULL, false, false },
		{ "no tracking file", HEAD "changeTrackPath=\"\"\n", NULL, NULL,
		  false, false },
		{ "a filter", HEAD "ddb.iofilters=\"vmwarelwd\"\n",
		  "A filter must see what is written to this VMDK", NULL, false,
		  false },
		{ "a parent's UUID", HEAD "ddb.uuid.parent=\"a0000000-0000\"\n",
		  NULL, "a0000000-0000", false, false },
		{ "no parent's UUID", HEAD "ddb.uuid.parent=\"00000000-0000\"\n",
		  NULL, NULL, false, false },
		{ "a parent's CID", HEAD "parentCID=0\n", NULL, NULL, true,
		  false },
		{ "a parent's name alone",
		  HEAD "parentCID=ffffffff\nparentFileNameHint=\"b\"\n", NULL,
		  NULL, true, false },
		{ "an empty name", HEAD "parentFileNameHint=\"\"\n", NULL, NULL,
		  false, false },
		{ "a CID that means none", "version=1\nCID=ffffffff\n", NULL,
		  NULL, false, true },
		{ "a CID that is elsewhere", "version=1\nCID=FFFFFFFE\n", NULL,
		  NULL, false, true },
		{ "a CID of zero", "version=1\nCID=0\n", NULL, NULL, false,
		  false },
	};
	struct descriptor d;
	unsigned int i;

	for (i = 0; i < sizeof(r) / sizeof(r[0]); i++) {
		T_STR(parse(&d, r[i].text, strlen(r[i].text)), NULL, r[i].name);
		T_STR(d.why_ro, r[i].why, "why it is not written");
		T_STR(d.uuid_parent, r[i].uuid, "the parent's UUID");
		T_EQ(descriptor_has_parent(&d), r[i].parent, "a parent");
		T_EQ(descriptor_no_cid(&d), r[i].no_cid, "a CID");
		descriptor_free(&d);
	}
}

/* Of a text beside a header only what the header does not say counts. */
static void test_informs(void)
{
	static const char text[] = HEAD "RW 8192 SPARSE \"\"\n"
		"RW 0 SPARSE \"a\"\nRW 5 STRANGE x\nRDONLY\nnothing\n"
		"parentFileNameHint=\"p\"\n";
	static const char *const wrong[] = {
		"nothing at all\n", HEAD "keyID=1\n", "CID=1\nnothing\n",
	};
	struct descriptor d;
	char *what;
	unsigned int i;

	T_STR(descriptor_parse(&d, text, strlen(text), true), NULL,
	      "lines that inform are passed over");
	T_EQ(d.nr_extents, 2, "those that can be read are kept");
	T_EQ(d.extent[0].digits.at, strlen(HEAD) + 3, "with their places");
	T_STR(d.parent_hint, "p", "the parent is the text's to say");
	descriptor_free(&d);
	for (i = 0; i < 3; i++) {
		what = descriptor_parse(&d, wrong[i], strlen(wrong[i]), true);
		T_OK(what, t_name("wrong all the same: %u", i));
		free(what);
		descriptor_free(&d);
	}
}

static void test_utf16(void)
{
	static const char text[] = HEAD "RW 8 FLAT \"a\" 0\n";
	char wide[2 * sizeof(text)] = { (char)0xff, (char)0xfe };
	struct descriptor d, plain;
	unsigned int i;

	for (i = 0; i < sizeof(text) - 1; i++)
		wide[2 + 2 * i] = text[i];
	T_STR(parse(&d, wide, sizeof(wide)), NULL, "UTF-16, little endian");
	T_STR(d.why_ro, "Descriptor is UTF-16, which is only read", "read only");
	parse(&plain, text, strlen(text));
	d.why_ro = NULL;
	T_OK(descriptor_same(&d, &plain), "it means the same");
	descriptor_free(&plain);
	descriptor_free(&d);
	for (i = 0; i < sizeof(wide); i += 2) {
		char c = wide[i];

		wide[i] = wide[i + 1];
		wide[i + 1] = c;
	}
	T_STR(parse(&d, wide, sizeof(wide)), NULL, "UTF-16, big endian");
	T_EQ(d.sectors, 8, "its sectors");
	descriptor_free(&d);
}

/* Each thing that is compared, changed once. */
static void test_same(void)
{
	static const char *const texts[] = {
		HEAD "RW 8 FLAT \"a\" 0\n",
		HEAD "RW 9 FLAT \"a\" 0\n", HEAD "RW 8 FLAT \"b\" 0\n",
		HEAD "RW 8 FLAT \"a\" 1\n", HEAD "RDONLY 8 FLAT \"a\" 0\n",
		HEAD "RW 8 VMFS \"a\" 0\n",
		HEAD "RW 8 FLAT \"a\" 0\nRW 8 FLAT \"a\" 0\n",
		"version=1\nCID=1\nRW 8 FLAT \"a\" 0\n",
		HEAD "parentCID=1\nRW 8 FLAT \"a\" 0\n",
		HEAD "createType=\"x\"\nRW 8 FLAT \"a\" 0\n",
		HEAD "parentFileNameHint=\"x\"\nRW 8 FLAT \"a\" 0\n",
		HEAD "changeTrackPath=\"x\"\nRW 8 FLAT \"a\" 0\n",
		HEAD "ddb.uuid.parent=\"1\"\nRW 8 FLAT \"a\" 0\n",
	};
	struct descriptor a, b;
	unsigned int i;

	parse(&a, texts[0], strlen(texts[0]));
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		parse(&b, texts[i], strlen(texts[i]));
		T_EQ(descriptor_same(&a, &b), !i, t_name("same as %u", i));
		descriptor_free(&b);
	}
	descriptor_free(&a);
}

static void test_many(void)
{
	struct descriptor d;
	char *text = out_alloc(1, 2 << 20), *what;
	size_t len = 0;
	u32 i;

	len += sprintf(text, "%s", HEAD);
	for (i = 0; i < DESCRIPTOR_MAX_EXTENTS; i++)
		len += sprintf(text + len, "RW 1 ZERO\n");
	T_STR(parse(&d, text, len), NULL, "4096 extents");
	T_EQ(d.sectors, 4096, "4096 extents: sectors");
	descriptor_free(&d);
	len += sprintf(text + len, "RW 1 ZERO\n");
	what = parse(&d, text, len);
	T_STR(what, "Descriptor line 4100: More than 4096 extents",
	      "4097 extents");
	free(what);
	descriptor_free(&d);

	len = strlen(HEAD);
	memset(text + len, '\n', (2 << 20) - len);
	T_STR(parse(&d, text, DESCRIPTOR_MAX_LEN), NULL, "1 MiB");
	descriptor_free(&d);
	what = parse(&d, text, DESCRIPTOR_MAX_LEN + 1);
	T_STR(what, "Descriptor is longer than 1 MiB: 1048577", "1 MiB and 1");
	free(what);
	descriptor_free(&d);
	free(text);
}

int main(void)
{
	test_rows();
	test_texts();
	test_reasons();
	test_informs();
	test_utf16();
	test_same();
	test_many();
	return T_DONE();
}
