/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What holds the bytes of an image: a file, a block device, or memory in a
 * test. The only place of the tool's reading and writing.
 *
 * Functions return 0 or -errno. One thread at a time uses a store.
 */
#ifndef _VDISK_STORE_H
#define _VDISK_STORE_H

#include "../formats/env.h"

struct vdisk_store;

struct vdisk_store_ops {
	/*
	 * All @len bytes from @off on; what lies past the end reads zero.
	 * Required.
	 */
	int (*read)(struct vdisk_store *store, u64 off, void *buf, size_t len);

	/*
	 * All @len bytes. A file grows as needed (the gap reads zero), a device
	 * answers -ENOSPC. Required to write.
	 */
	int (*write)(struct vdisk_store *store, u64 off, const void *buf,
		     size_t len);

	/* All writes and lengths so far are durable after it. Required to write. */
	int (*flush)(struct vdisk_store *store);

	/* Grow (new bytes read zero) or cut. Not for devices. Required to write. */
	int (*set_length)(struct vdisk_store *store, u64 len);

	/* Give the space of these bytes back; they read zero then. Optional. */
	int (*punch)(struct vdisk_store *store, u64 off, u64 len);

	/* These bytes read zero; @space: and have a place. Optional. */
	int (*zero)(struct vdisk_store *store, u64 off, u64 len, bool space);

	/*
	 * @len bytes from @off on, which read as @now and go on doing so: space
	 * for them, so that writing them later does not fail for want of it.
	 * Optional.
	 */
	int (*reserve)(struct vdisk_store *store, u64 off, const void *now,
		       size_t len);

	/* Free @store, which is not flushed by it. Required. */
	void (*close)(struct vdisk_store *store);
};

struct vdisk_store {
	const struct vdisk_store_ops *ops;
	u64 length;		/* bytes now; kept by the implementation */
	bool device;		/* of fixed length */
};

/*
 * A store over an open file or block device. The descriptor becomes the
 * store's if it succeeds.
 */
int vdisk_store_file(int fd, struct vdisk_store **store);

/* One in memory, empty; what is zero takes none. */
struct vdisk_store *vdisk_store_memory(void);
/* The same once more, which is closed by itself. */
struct vdisk_store *vdisk_store_memory_share(struct vdisk_store *store);

static inline int vdisk_store_read(struct vdisk_store *store, u64 off,
				   void *buf, size_t len)
{
	return store->ops->read(store, off, buf, len);
}

static inline int vdisk_store_write(struct vdisk_store *store, u64 off,
				    const void *buf, size_t len)
{
	return store->ops->write(store, off, buf, len);
}

static inline int vdisk_store_flush(struct vdisk_store *store)
{
	return store->ops->flush(store);
}

static inline int vdisk_store_reserve(struct vdisk_store *store, u64 off,
				      const void *now, size_t len)
{
	return store->ops->reserve ? store->ops->reserve(store, off, now, len)
				   : 0;
}

static inline void vdisk_store_close(struct vdisk_store *store)
{
	if (store)
		store->ops->close(store);
}

/* The file is @len bytes long after it; a device is at least that. */
int vdisk_store_set_length(struct vdisk_store *store, u64 len);

/* Best effort: -EOPNOTSUPP where the store cannot. */
int vdisk_store_punch(struct vdisk_store *store, u64 off, u64 len);

/* These bytes read zero; -EOPNOTSUPP where that needs them written. */
int vdisk_store_zero(struct vdisk_store *store, u64 off, u64 len, bool space);

#endif /* _VDISK_STORE_H */
