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
 * New texts of a layer, to be freed; NULL after saying why. Each is read again
 * and means what it shall, or it is none.
 *
 * The last extent has @sectors. A content id (@key is CID or PARENT_CID). The
 * parent's name, or none if it is "". One more extent behind the last one, like
 * it; and the last one's name.
 */
char *desc_text_extent(const struct chain_layer *layer, const char *text,
		       u64 sectors);
char *desc_text_cid(const struct chain_layer *layer, const char *text,
		    enum descriptor_key key, u32 cid);
char *desc_text_parent(const struct chain_layer *layer, const char *text,
		       const char *name);
char *desc_text_more(const struct chain_layer *layer, const char *text,
		     u64 sectors, const char *name);
char *desc_text_name(const struct chain_layer *layer, const char *text);

/*
 * Put @text in the place of the layer's, durably. False after saying why: then
 * the text is what it was. Nothing else of the file may be on its way. A text in a
 * file of its own that has hard links may only be changed where it is: that can be
 * asked before.
 */
bool desc_text_may_write(const struct chain_layer *layer, const char *text);
bool desc_text_write(const struct chain_layer *layer, const char *text);

#endif /* _VDISK_DESC_TEXT_H */
