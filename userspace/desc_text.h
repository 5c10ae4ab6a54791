/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing the text that describes a VMDK disk: a crash leaves the old text or
 * the new one.
 */
#ifndef _VDISK_DESC_TEXT_H
#define _VDISK_DESC_TEXT_H

#include "chain.h"

/* The text of a layer that has one, to be freed; NULL after saying why. */
char *desc_text_read(const struct chain_layer *layer);

/*
 * New texts, to be freed: the last extent has @sectors; @key, which is no key
 * of the disk database, is @value, or is no more if that is NULL.
 */
char *desc_text_extent(const char *text, u64 sectors);
char *desc_text_key(const char *text, const char *key, const char *value);

/* One more extent behind the last one, like it. And the last one's name. */
char *desc_text_more(const char *text, u64 sectors, const char *name);
char *desc_text_name(const char *text);

/*
 * Put @text in the place of the layer's, durably. False after saying why: then
 * the text is what it was. Nothing else of the file may be on its way. A text in a
 * file of its own that has hard links may only be changed where it is: that can be
 * asked before.
 */
bool desc_text_may_write(const struct chain_layer *layer, const char *text);
bool desc_text_write(const struct chain_layer *layer, const char *text);

#endif /* _VDISK_DESC_TEXT_H */
