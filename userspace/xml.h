/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An XML document as a tree of elements and their text: what a description that
 * comes with an image needs, and no more. Attributes, comments and processing
 * instructions are passed over; a document type definition is refused, and with
 * it every entity but the five that XML has by itself.
 */
#ifndef _VDISK_XML_H
#define _VDISK_XML_H

#include <stddef.h>
#include <stdio.h>

#define XML_MAX_DEPTH 256

struct xml_node {
	struct xml_node *parent, *child, *next;
	struct xml_node *made_before;
	size_t text_at, text_len;	/* in the document's text */
	char name[];
};

struct xml {
	struct xml_node *root;
	struct xml_node *made;		/* all, the last one first */
	char *text;			/* of all elements, in their order */
	size_t text_len, text_room;
};

/* NULL, or a constant phrase that says what is wrong. xml_free() in any case. */
const char *xml_parse(struct xml *xml, const char *text, size_t len);
void xml_free(struct xml *xml);

/* The first child of that name, or NULL; so if @node is NULL. */
const struct xml_node *xml_child(const struct xml_node *node, const char *name);
/* The next one of @node's own name, or NULL. */
const struct xml_node *xml_next(const struct xml_node *node);

/* All text in @node, without blanks around it; to be freed. */
char *xml_text(const struct xml *xml, const struct xml_node *node);

/* Writes @text as the content of an element. */
void xml_put(FILE *to, const char *text);

#endif /* _VDISK_XML_H */
