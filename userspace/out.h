/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tool says: errors, names, sizes, JSON. And memory that is there or
 * ends the program, as no verb has a use for half a list.
 */
#ifndef _VDISK_OUT_H
#define _VDISK_OUT_H

#include <json-c/json.h>
#include "../formats/env.h"

#define out_printf(fmt, args) __attribute__((format(printf, fmt, args)))

/* One line on stderr: `vdisk: SUBJECT: what`. @subject may be NULL. */
void out_error(const char *subject, const char *fmt, ...) out_printf(2, 3);
/* The same with "warning: " before what is said. */
void out_warn(const char *subject, const char *fmt, ...) out_printf(2, 3);
/* Lines on how things go, for --verbose and --debug: the same shape. */
enum out_level { OUT_VERBOSE = 1, OUT_DEBUG };
void out_tell(enum out_level level);
void out_note(enum out_level level, const char *subject, const char *fmt, ...)
	out_printf(3, 4);
/* Until it is called with false, lines wait: nobody could take them. */
void out_hold(bool hold);

/*
 * @name fit to be printed: control characters, what would turn a terminal's
 * text around and bytes that are no UTF-8 become \xNN. Good until the function
 * was called OUT_NAMES times more.
 */
#define OUT_NAMES 8
const char *out_name(const char *name);

/* @bytes as people read it, "1.5 GiB"; good as long as an out_name(). */
const char *out_size(u64 bytes);

/* 16 bytes in hex without dashes; @text has room for 33. */
void out_id(const u8 *id, char *text);

/* Members of a JSON object. JSON quotes controls; what is no UTF-8 is \xNN. */
void out_json_text(struct json_object *obj, const char *key, const char *text);
void out_json_num(struct json_object *obj, const char *key, u64 num);
void out_json_bool(struct json_object *obj, const char *key, bool yes);
/* Prints @obj and drops it. */
void out_json(struct json_object *obj);

/* Has all of stdout gone out? False after telling why. */
bool out_flush(void);

/* Memory; these do not return without it. */
void *out_alloc(size_t count, size_t size);
void *out_grow(void *old, size_t count, size_t size);
char *out_text(const char *fmt, ...) out_printf(1, 2);

#endif /* _VDISK_OUT_H */
