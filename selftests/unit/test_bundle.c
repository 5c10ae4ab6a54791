// SPDX-License-Identifier: GPL-2.0
/* DiskDescriptor.xml: what a hostile one must not do, and how one is written. */
#define _GNU_SOURCE
#include "test.h"
#include "../../userspace/xml.c"
#include "../../userspace/bundle.c"
#include "tool.h"

#define A "{5FBAABE3-6958-40ff-92a7-860e329aab41}"
#define ROOT(more) "<Parallels_disk_image>" more "</Parallels_disk_image>"
#define IMAGE(file) "<Image><GUID>" A "</GUID><Type>Compressed</Type>" \
	"<File>" file "</File></Image>"
#define DISK(file) "<Disk_Parameters><Disk_size>8</Disk_size>" \
	"</Disk_Parameters><StorageData><Storage><Start>0</Start>" \
	"<End>8</End>" IMAGE(file) "</Storage></StorageData>"
#define DOC(file) ROOT(DISK(file) "<Snapshots/>")

/* A text and what comes of it: the name of the file, or "!why". */
static const struct {
	const char *name, *text, *want;
} rows[] = {
	{ "plain", DOC("a"), "a" },
	{ "blanks around", DOC(" \t\r\n a b \n"), "a b" },
	{ "what XML knows by itself", DOC("a&amp;&lt;&#98;&#x63;"), "a&<bc" },
	{ "a section of text", DOC("a<![CDATA[<&]]>b"), "a<&b" },
	{ "a comment in the midst", DOC("a<!-- <File>x</File> -->b"), "ab" },
	{ "elements in the midst", DOC("a<b>c<d/></b>e"), "ace" },
	{ "attributes", DOC("<x y='z'>a</x>"), "a" },
	{ "UTF-8", DOC("\xc3\xa9"), "\xc3\xa9" },
	{ "another encoding", "<?xml version='1.0' encoding='ISO-8859-1'?>"
	  DOC("\xe9"), "\xc3\xa9" },
	{ "an instruction", "<?xml version='1.0'?><?run me?>" DOC("a"), "a" },
	{ "the like outside", ROOT("<x>" DISK("b") "</x>" DISK("a")), "a" },
	{ "an empty name", DOC(""), "" },

	{ "nothing", "", "!No well-formed XML" },
	{ "no element", "<?xml version='1.0'?>", "!No well-formed XML" },
	{ "two roots", DOC("a") DOC("a"), "!No well-formed XML" },
	{ "no end", "<Parallels_disk_image>", "!No well-formed XML" },
	{ "a wrong end", ROOT("<a></b>"), "!No well-formed XML" },
	{ "no UTF-8", DOC("\xe9"), "!No well-formed XML" },
	{ "a control", DOC("\x01"), "!No well-formed XML" },
	{ "zero, in other words", DOC("&#0;"), "!No well-formed XML" },
	{ "an encoding nobody knows", "<?xml version='1.0' encoding='x'?>"
	  DOC("a"), "!No well-formed XML" },
	{ "an entity from nowhere", DOC("&e;"), "!No well-formed XML" },
	{ "another root", "<x/>", "!Not a description of a Parallels disk" },

	{ "an entity", "<!DOCTYPE x [<!ENTITY e 'a'>]>" DOC("&e;"),
	  "!Has a document type definition" },
	{ "a bomb", "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'>"
	  "<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
	  "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>"
	  "<!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>"
	  "<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;'>"
	  "]>" DOC("&e;&e;&e;&e;&e;"), "!Has a document type definition" },
	{ "an entity in itself", "<!DOCTYPE x [<!ENTITY e '&e;'>]>" DOC("&e;"),
	  "!Has a document type definition" },
	{ "a file", "<!DOCTYPE x [<!ENTITY e SYSTEM '/etc/passwd'>]>"
	  DOC("&e;"), "!Has a document type definition" },
	{ "a parameter", "<!DOCTYPE x [<!ENTITY % e SYSTEM 'file:///x'> %e;]>"
	  DOC("a"), "!Has a document type definition" },
	{ "a definition elsewhere", "<!DOCTYPE x SYSTEM 'http://127.0.0.1/x'>"
	  DOC("a"), "!Has a document type definition" },
	{ "a definition of a name only", "<!DOCTYPE x>" DOC("a"),
	  "!Has a document type definition" },
	{ "a definition that does not end", "<!DOCTYPE x [",
	  "!Has a document type definition" },
};

/* In memory of its very length, so that a byte too far is seen. */
static char *parse(const char *text, size_t len)
{
	const size_t prefix = strlen(BUNDLE_FILE ": ");
	char *copy = out_alloc(len, 1), *what, *got;
	struct bundle b;

	memcpy(copy, text, len);
	what = bundle_parse(&b, copy, len);
	free(copy);
	if (!what)
		got = out_text("%s", b.storage[0].image[0].file);
	else if (!strncmp(what, BUNDLE_FILE ": ", prefix))
		got = out_text("!%s", what + prefix);
	else
		got = out_text("!%s", what);
	free(what);
	bundle_free(&b);
	return got;
}

static void expect(const char *text, size_t len, const char *want,
		   const char *name)
{
	char *got = parse(text, len);

	T_STR(got, want, name);
	free(got);
}

/* <a><a>...text...</a></a>, @depth deep in all. */
static void test_depth(void)
{
	static const char head[] = "<Parallels_disk_image>";
	static const char tail[] = DISK("f") "</Parallels_disk_image>";
	const unsigned int depths[] = { XML_MAX_DEPTH, XML_MAX_DEPTH + 1, 100000 };
	char *text = out_alloc(1 << 20, 1), *p;
	unsigned int i, j;

	for (i = 0; i < 3; i++) {
		p = stpcpy(text, head);
		for (j = 1; j < depths[i]; j++)
			p = stpcpy(p, j + 1 < depths[i] ? "<a>" : "<a/>");
		for (j = 2; j < depths[i]; j++)
			p = stpcpy(p, "</a>");
		p = stpcpy(p, tail);
		expect(text, (size_t)(p - text),
		       i ? "!Elements are more than 256 deep" : "f",
		       t_name("%u deep", depths[i]));
	}
	free(text);
}

static void test_long(void)
{
	char *text = out_alloc(BUNDLE_MAX_LEN + 1, 1);
	char *p = stpcpy(text, DOC("f"));

	memset(p, '\n', (size_t)(text + BUNDLE_MAX_LEN + 1 - p));
	expect(text, BUNDLE_MAX_LEN, "f", "1 MiB");
	expect(text, BUNDLE_MAX_LEN + 1, "!" BUNDLE_FILE
	       " is longer than 1 MiB: 1048577", "1 MiB and 1");
	free(text);
}

/* Cut anywhere, or with any byte another one: an answer, and no more. */
static void test_damage(void)
{
	static const char text[] = DOC("a&amp;<![CDATA[b]]>");
	static const u8 bytes[] = { 0, '<', '>', '&', '/', ']', '"', 0xff };
	char copy[sizeof(text)], *got;
	size_t i, j, bad = 0;

	for (i = 0; i < sizeof(text) - 1; i++) {
		got = parse(text, i);
		bad += strcmp(got, "!No well-formed XML") != 0;
		free(got);
	}
	T_EQ(bad, 0, "cut short anywhere");
	for (i = 0; i < sizeof(text) - 1; i++) {
		for (j = 0; j < sizeof(bytes); j++) {
			memcpy(copy, text, sizeof(text));
			copy[i] = (char)bytes[j];
			free(parse(copy, sizeof(text) - 1));
		}
	}
	T_OK(true, "any byte another one");
}

/* Back and forth. */
static void test_put(void)
{
	static const char name[] = "a & b < c > ]]> \" ' &amp; \xc3\xa9";
	char *text;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	fputs("<Parallels_disk_image>" "<Disk_Parameters><Disk_size>8"
	      "</Disk_size></Disk_Parameters><StorageData><Storage>"
	      "<Start>0</Start><End>8</End><Image><GUID>" A "</GUID>"
	      "<Type>Plain</Type><File>", to);
	xml_put(to, name);
	fputs("</File></Image></Storage></StorageData>"
	      "</Parallels_disk_image>", to);
	fclose(to);
	expect(text, len, name, "what is put comes back");
	free(text);
}

int main(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(rows[i].text, strlen(rows[i].text), rows[i].want,
		       rows[i].name);
	test_depth();
	test_long();
	test_damage();
	test_put();
	return T_DONE();
}
