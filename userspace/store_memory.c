// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A file in memory, for what is only tried: sectors by their number, those of
 * one byte repeated as that byte, those of zeroes not at all.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "../formats/format.h"
#include "out.h"
#include "store.h"

struct sector {
	struct sector *next;	/* in the bucket */
	u64 nr;
	u8 *data;		/* NULL: all are @fill */
	u8 fill;
};

struct memory_store {
	struct vdisk_store store;
	struct sector **bucket;
	size_t nr_buckets, nr;
	unsigned int users;	/* that will close it */
};

static struct memory_store *of(struct vdisk_store *store)
{
	return (struct memory_store *)store;
}

static struct sector **find(struct memory_store *m, u64 nr)
{
	struct sector **at = &m->bucket[nr % m->nr_buckets];

	while (*at && (*at)->nr != nr)
		at = &(*at)->next;
	return at;
}

static void grow(struct memory_store *m)
{
	struct sector **old = m->bucket, *s, **to;
	size_t i, nr = m->nr_buckets;

	m->nr_buckets = 4 * nr;
	m->bucket = out_alloc(m->nr_buckets, sizeof(*m->bucket));
	for (i = 0; i < nr; i++) {
		while ((s = old[i])) {
			old[i] = s->next;
			to = &m->bucket[s->nr % m->nr_buckets];
			s->next = *to;
			*to = s;
		}
	}
	free(old);
}

static void drop(struct memory_store *m, struct sector **at)
{
	struct sector *s = *at;

	*at = s->next;
	free(s->data);
	free(s);
	m->nr--;
}

static bool is_one_byte(const u8 *p)
{
	return !memcmp(p, p + 1, VDISK_SECTOR - 1);
}

static void get(struct memory_store *m, u64 nr, u8 *data)
{
	const struct sector *s = *find(m, nr);

	if (s && s->data)
		memcpy(data, s->data, VDISK_SECTOR);
	else
		memset(data, s ? s->fill : 0, VDISK_SECTOR);
}

static void put(struct memory_store *m, u64 nr, const u8 *data)
{
	struct sector **at = find(m, nr), *s = *at;

	if (is_one_byte(data) && !*data) {
		if (s)
			drop(m, at);
		return;
	}
	if (!s) {
		if (m->nr > m->nr_buckets) {
			grow(m);
			at = find(m, nr);
		}
		s = *at = out_alloc(1, sizeof(*s));
		s->nr = nr;
		m->nr++;
	}
	s->fill = *data;
	if (is_one_byte(data)) {
		free(s->data);
		s->data = NULL;
		return;
	}
	if (!s->data)
		s->data = out_alloc(1, VDISK_SECTOR);
	memcpy(s->data, data, VDISK_SECTOR);
}

static int memory_read(struct vdisk_store *store, u64 off, void *buf, size_t len)
{
	u8 data[VDISK_SECTOR], *to = buf;
	size_t in, n;

	for (; len; off += n, to += n, len -= n) {
		in = off % VDISK_SECTOR;
		n = vdisk_min(len, VDISK_SECTOR - in);
		get(of(store), off / VDISK_SECTOR, data);
		memcpy(to, data + in, n);
	}
	return 0;
}

static int memory_write(struct vdisk_store *store, u64 off, const void *buf,
			size_t len)
{
	const u8 *from = buf;
	u8 data[VDISK_SECTOR];
	size_t in, n;

	store->length = vdisk_max(store->length, off + len);
	for (; len; off += n, from += n, len -= n) {
		in = off % VDISK_SECTOR;
		n = vdisk_min(len, VDISK_SECTOR - in);
		if (n < VDISK_SECTOR)
			get(of(store), off / VDISK_SECTOR, data);
		memcpy(data + in, from, n);
		put(of(store), off / VDISK_SECTOR, data);
	}
	return 0;
}

static int memory_flush(struct vdisk_store *store)
{
	return 0;
}

static int memory_set_length(struct vdisk_store *store, u64 len)
{
	static const u8 zeroes[VDISK_SECTOR];
	struct memory_store *m = of(store);
	size_t i, in = len % VDISK_SECTOR;
	struct sector **at;

	for (i = 0; len < store->length && i < m->nr_buckets; i++) {
		for (at = &m->bucket[i]; *at;) {
			if ((*at)->nr >= vdisk_div_up(len, VDISK_SECTOR))
				drop(m, at);
			else
				at = &(*at)->next;
		}
	}
	if (len < store->length && in)
		memory_write(store, len, zeroes, VDISK_SECTOR - in);
	store->length = len;
	return 0;
}

static void memory_close(struct vdisk_store *store)
{
	struct memory_store *m = of(store);
	size_t i;

	if (--m->users)
		return;
	for (i = 0; i < m->nr_buckets; i++)
		while (m->bucket[i])
			drop(m, &m->bucket[i]);
	free(m->bucket);
	free(m);
}

static const struct vdisk_store_ops memory_ops = {
	.read		= memory_read,
	.write		= memory_write,
	.flush		= memory_flush,
	.set_length	= memory_set_length,
	.close		= memory_close,
};

struct vdisk_store *vdisk_store_memory(void)
{
	struct memory_store *m = out_alloc(1, sizeof(*m));

	m->store.ops = &memory_ops;
	m->users = 1;
	m->nr_buckets = 1024;
	m->bucket = out_alloc(m->nr_buckets, sizeof(*m->bucket));
	return &m->store;
}

struct vdisk_store *vdisk_store_memory_share(struct vdisk_store *store)
{
	of(store)->users++;
	return store;
}
