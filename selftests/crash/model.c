// SPDX-License-Identifier: GPL-2.0
/* What a guest may find on its disk after a crash. */
#include <err.h>
#include <stdlib.h>

#include "model.h"

#define WORDS (512 / 8)

static void *zalloc(size_t nr, size_t size)
{
	void *p = calloc(nr, size);

	if (!p)
		err(2, "calloc");
	return p;
}

struct model *model_new(u64 size_sec)
{
	struct model *m = zalloc(1, sizeof(*m));

	m->size_sec = size_sec;
	m->now = zalloc(size_sec, sizeof(*m->now));
	m->durable = zalloc(size_sec, sizeof(*m->durable));
	m->head = zalloc(size_sec, sizeof(*m->head));
	m->touched = zalloc(size_sec, sizeof(*m->touched));
	return m;
}

void model_free(struct model *m)
{
	free(m->now);
	free(m->durable);
	free(m->head);
	free(m->touched);
	free(m->write);
	free(m);
}

void model_write(struct model *m, u64 sector, u64 sectors, u32 value)
{
	for (; sectors--; sector++) {
		if (m->nr == m->room) {
			m->room = m->room * 2 + 1024;
			m->write = reallocarray(m->write, m->room,
						sizeof(*m->write));
			if (!m->write)
				err(2, "reallocarray");
		}
		if (!m->head[sector])
			m->touched[m->nr_touched++] = sector;
		m->write[m->nr++] = (struct model_write){
			value, m->head[sector],
		};
		m->head[sector] = (u32)m->nr;
		m->now[sector] = value;
	}
}

void model_flushed(struct model *m)
{
	u64 sector;

	while (m->nr_touched) {
		sector = m->touched[--m->nr_touched];
		m->durable[sector] = m->now[sector];
		m->head[sector] = 0;
	}
	m->nr = 0;
}

bool model_allows(const struct model *m, u64 sector, u32 value)
{
	u32 i;

	if (m->durable[sector] == value)
		return true;
	for (i = m->head[sector]; i; i = m->write[i - 1].next)
		if (m->write[i - 1].value == value)
			return true;
	return false;
}

static u64 word(u64 first, u32 i)
{
	return (first + i) * 0x9e3779b97f4a7c15ull;
}

void pattern_make(u8 *buf, u64 sector, u32 value)
{
	u64 first = (u64)value << 32 | (u32)sector, w;
	u32 i;

	if (!value) {
		memset(buf, 0, 512);
		return;
	}
	memcpy(buf, &first, 8);
	for (i = 1; i < WORDS; i++) {
		w = word(first, i);
		memcpy(buf + 8 * i, &w, 8);
	}
}

bool pattern_read(const u8 *buf, u64 sector, u32 *value)
{
	static const u8 zero[512];
	u64 first, w;
	u32 i;

	memcpy(&first, buf, 8);
	*value = (u32)(first >> 32);
	if (!first)
		return !memcmp(buf, zero, 512);
	if (!*value || (u32)first != (u32)sector)
		return false;
	for (i = 1; i < WORDS; i++) {
		memcpy(&w, buf + 8 * i, 8);
		if (w != word(first, i))
			return false;
	}
	return true;
}
