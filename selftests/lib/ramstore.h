/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A store in memory that remembers what was written since the last flush, so
 * that a test can make of it every state a crash may leave behind.
 */
#ifndef _VDISK_RAMSTORE_H
#define _VDISK_RAMSTORE_H

#include "../../userspace/store.h"

/* One write, or one change of length (data == NULL). */
struct ram_event {
	u64 off;		/* length: what it became */
	u64 len;
	u8 *data;
};

struct ram_store {
	struct vdisk_store store;
	u8 *bytes;		/* as the writer sees them; zero past the end */
	u64 room;

	/* With @record: what survives any crash, and what need not. */
	bool record;
	u8 *base;
	u64 base_len;
	struct ram_event *event;
	size_t nr_events;
	size_t room_events;

	/* Called before a flush takes effect. Optional. */
	int (*on_flush)(void *arg);
	void *arg;

	u64 nr_flushes;
	u64 nr_writes;
	/* Fail the n-th write or flush from now on with this errno; 0 = never. */
	u64 fail_write;
	u64 fail_flush;
	int fail_errno;
};

/* Empty, of at most @room bytes. Never NULL: exits without memory. */
struct ram_store *ram_store_new(u64 room);

/* Make it a device of @len bytes, all of them @old. */
void ram_store_device(struct ram_store *ram, u64 len, u8 old);

/* What was written so far is durable; record from now on. */
void ram_store_record(struct ram_store *ram);

/* Become what @from is; recording and events are not copied. */
void ram_store_copy(struct ram_store *ram, const struct ram_store *from);

/* Apply sectors of an event; which: bit i of @keep, NULL = all. */
void ram_store_apply(struct ram_store *ram, const struct ram_event *event,
		     const u8 *keep);

/* Undo ram_store_apply() of any of @from's events: become its base again. */
void ram_store_undo(struct ram_store *ram, const struct ram_store *from);

/* The bytes to a file; exits on error. */
void ram_store_save(const struct ram_store *ram, const char *path);

#endif /* _VDISK_RAMSTORE_H */
