// SPDX-License-Identifier: GPL-2.0-or-later
/* XML as a tree of elements; the reading of characters is expat's. */
#define _GNU_SOURCE
#include <ctype.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "xml.h"

struct parse {
	XML_Parser parser;
	struct xml *xml;
	struct xml_node *open;		/* the element that is being read */
	struct xml_node **hook;		/* where the next one goes */
	unsigned int depth;
	const char *why;
};

static void stop(struct parse *p, const char *why)
{
	p->why = why;
	XML_StopParser(p->parser, XML_FALSE);
}

static void on_start(void *data, const char *name, const char **attributes)
{
	struct parse *p = data;
	struct xml_node *node;
	const size_t len = strlen(name);

	if (p->depth == XML_MAX_DEPTH) {
		stop(p, "Elements are more than 256 deep");
		return;
	}
	p->depth++;
	node = out_alloc(1, sizeof(*node) + len + 1);
	memcpy(node->name, name, len);
	node->made_before = p->xml->made;
	p->xml->made = node;
	node->parent = p->open;
	node->text_at = p->xml->text_len;
	*p->hook = node;
	p->hook = &node->child;
	p->open = node;
}

static void on_end(void *data, const char *name)
{
	struct parse *p = data;
	struct xml_node *node = p->open;

	p->depth--;
	node->text_len = p->xml->text_len - node->text_at;
	p->hook = &node->next;
	p->open = node->parent;
}

static void on_text(void *data, const char *text, int len)
{
	struct xml *xml = ((struct parse *)data)->xml;
	const size_t end = xml->text_len + (size_t)len;

	if (end > xml->text_room) {
		xml->text_room = 2 * end;
		xml->text = out_grow(xml->text, xml->text_room, 1);
	}
	memcpy(xml->text + xml->text_len, text, (size_t)len);
	xml->text_len = end;
}

/* Before anything of it is read. */
static void on_doctype(void *data, const char *name, const char *system,
		       const char *public, int internal)
{
	stop(data, "Has a document type definition");
}

const char *xml_parse(struct xml *xml, const char *text, size_t len)
{
	struct parse p = { .xml = xml, .hook = &xml->root };

	*xml = (struct xml){ .root = NULL };
	p.parser = XML_ParserCreate(NULL);
	if (!p.parser)
		return strerror(ENOMEM);
	XML_SetUserData(p.parser, &p);
	XML_SetElementHandler(p.parser, on_start, on_end);
	XML_SetCharacterDataHandler(p.parser, on_text);
	XML_SetStartDoctypeDeclHandler(p.parser, on_doctype);
	if (XML_Parse(p.parser, text, (int)len, 1) != XML_STATUS_OK && !p.why)
		p.why = "No well-formed XML";
	XML_ParserFree(p.parser);
	return p.why;
}

void xml_free(struct xml *xml)
{
	struct xml_node *node;

	while ((node = xml->made)) {
		xml->made = node->made_before;
		free(node);
	}
	free(xml->text);
	*xml = (struct xml){ .root = NULL };
}

static const struct xml_node *find(const struct xml_node *node,
				   const char *name)
{
	while (node && strcmp(node->name, name))
		node = node->next;
	return node;
}

const struct xml_node *xml_child(const struct xml_node *node, const char *name)
{
	return node ? find(node->child, name) : NULL;
}

const struct xml_node *xml_next(const struct xml_node *node)
{
	return find(node->next, node->name);
}

char *xml_text(const struct xml *xml, const struct xml_node *node)
{
	size_t at = node->text_at, end = at + node->text_len;

	while (at < end && isspace((unsigned char)xml->text[at]))
		at++;
	while (end > at && isspace((unsigned char)xml->text[end - 1]))
		end--;
	return out_text("%.*s", (int)(end - at), at < end ? xml->text + at : "");
}

void xml_put(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (*text == '&')
			fputs("&amp;", to);
		else if (*text == '<')
			fputs("&lt;", to);
		else if (*text == '>')
			fputs("&gt;", to);
		else
			putc(*text, to);
	}
}
