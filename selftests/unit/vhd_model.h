/* SPDX-License-Identifier: GPL-2.0 */
/* VHD: random work against a model, and noise. */
#ifndef _SELFTESTS_VHD_MODEL_H
#define _SELFTESTS_VHD_MODEL_H

#include "vhd_plan.h"

static u32 spec(const struct model *m, u64 sector)
{
	u64 off = data_of(&m->img, sector);

	return off ? vdisk_le32(m->img.mem + off) : below(m, sector);
}

enum { MAX_TORN = 200 };

/* PUBLISH, torn at sectors: any of them may be all that survives. */
static void crash(struct model *m, const struct vdisk_plan *plan, u64 from,
		  u64 to, u64 first, u64 n, u32 stamp)
{
	static struct part torn[MAX_TORN];
	const struct vdisk_op *op;
	u32 parts = 0, tries, t, i;
	u64 at, end;
	bool take;

	for (i = 0; i < plan->nr; i++) {
		op = &plan->op[i];
		if (op->phase != VDISK_PUBLISH)
			continue;
		at = op->off;
		end = op->off + (u64)op->count * op->width;
		if (op->kind == VDISK_OP_BITS) {
			at = op->off + op->value / 8;
			end = op->off + (op->value + op->count - 1) / 8 + 1;
		} else if (op->kind != VDISK_OP_SET) {
			breach("PUBLISH does what the test cannot tear");
		}
		for (at &= ~511ull; at < end && parts < MAX_TORN; at += 512)
			torn[parts++] = (struct part){ op, at, { 0 } };
	}
	for (i = 0; i < parts; i++)
		memcpy(torn[i].old, m->img.mem + torn[i].at, 512);
	tries = parts < 5 ? 1u << parts : 2 * parts + 9;
	for (t = 0; t < tries && !steps_broken; t++) {
		for (i = 0; i < parts; i++) {
			if (parts < 5)
				take = t >> i & 1;
			else if (t < 2 * parts)	/* only one, or all but one */
				take = (i == t / 2) ^ (t & 1);
			else
				take = steps_random() & 1;
			if (take)
				apply(&m->img, &m->geom, torn[i].op, torn[i].at);
		}
		check_range(m, from, to, first, n, stamp);
		for (i = parts; i--; )
			memcpy(m->img.mem + torn[i].at, torn[i].old, 512);
	}
}

static void finish(struct model *m, const struct vdisk_plan *plan, u64 sector,
		   u32 stamp)
{
	u64 unit = m->geom.unit_sec, i;
	u64 from = sector > unit ? sector - unit : 0;
	u64 to = vdisk_min(sector + plan->sectors + unit, m->geom.size_sec);

	crash(m, plan, from, to, sector, plan->sectors, stamp);
	apply_all(&m->img, &m->geom, plan, VDISK_PUBLISH);
	for (i = 0; i < plan->sectors; i++)
		m->now[sector + i] = stamp;
	check_range(m, from, to, 0, 0, 0);
	if (!plan->freed_len)
		return;
	memset(m->img.mem + plan->freed_off, 0xEE,
	       vdisk_min(plan->freed_len, 1 << 20));
	if (m->img.nr_free < MAX_FREE)
		m->img.free[m->img.nr_free++] = plan->freed_off;
}

/* The footer at the end must be good whatever is going on. */
static void footer_check(struct model *m)
{
	struct vdisk_params params = { .file_len = m->img.len, .write = true };
	struct vdisk_step step;
	struct vdisk_geom geom;

	if (STEP(&m->img, &step, vhd_open(&params, &step, &geom)) ||
	    geom.flags & (VDISK_GEOM_RDONLY | VDISK_GEOM_SCAN) ||
	    geom.data_end != m->img.data_end)
		breach("the footer is not where the data ends");
}

static void room_for(struct model *m, u64 units)
{
	struct vdisk_plan plan;
	struct vdisk_step step;
	u64 end = m->img.next + units * m->geom.unit_len;

	if (end <= m->img.data_end)
		return;
	end = vdisk_align(end, m->geom.unit_align, m->geom.unit_base);
	if (STEP(&m->img, &step, vhd_grow(&m->geom, &step, end, &plan)))
		breach("an image cannot grow");
	apply_all(&m->img, &m->geom, &plan, VDISK_BEFORE);
	m->img.data_end = end;
}

static void vhd_write(struct model *m, u64 sector, u64 n, u32 stamp)
{
	struct vdisk_extent e = { 0 };
	struct vdisk_plan plan;
	struct vdisk_step step;
	struct vdisk_ask ask;
	u64 i;

	for (; n && !steps_broken; sector += e.sectors, n -= e.sectors) {
		if (STEP(&m->img, &step, vhd_map(&m->geom, &step, sector, n,
						 &e))) {
			breach("a good image cannot be read");
			return;
		}
		for (i = 0; e.kind == VDISK_DATA && i < e.sectors; i++) {
			vdisk_store(m->img.mem + e.off + i * 512, stamp, 4, false);
			m->now[sector + i] = stamp;
		}
		if (e.kind == VDISK_DATA)
			continue;
		ask = (struct vdisk_ask){ .sector = sector, .sectors = e.sectors };
		room_for(m, 2);
		if (STEP(&m->img, &step, vhd_alloc(&m->geom, &step, &ask, &plan)) ||
		    !plan.sectors || plan.sectors > e.sectors ||
		    ops_of(&plan, VDISK_BEFORE)) {
			breach("a good image cannot be written");
			return;
		}
		if (m->img.granted_free)
			m->img.nr_free--;
		apply_all(&m->img, &m->geom, &plan, VDISK_IN_DATA);
		write_data(m, &plan, sector, stamp);
		footer_check(m);
		finish(m, &plan, sector, stamp);
		e.sectors = plan.sectors;
	}
}

static void zeroes(struct model *m, u64 sector, u64 n)
{
	struct vdisk_extent e = { 0 };
	struct vdisk_step step;

	for (; n && !steps_broken; sector += e.sectors, n -= e.sectors) {
		if (STEP(&m->img, &step, vhd_map(&m->geom, &step, sector, n,
						 &e))) {
			breach("a good image cannot be read");
			return;
		}
		if (e.kind != VDISK_ZERO)
			vhd_write(m, sector, e.sectors, 0);
	}
}

static void discards(struct model *m, u64 sector, u64 n, bool unmap)
{
	struct vdisk_plan plan = { 0 };
	struct vdisk_step step;

	for (; n && !steps_broken; sector += plan.sectors, n -= plan.sectors) {
		if (STEP(&m->img, &step, vhd_discard(&m->geom, &step, sector, n,
						     unmap, &plan)) ||
		    !plan.sectors || plan.sectors > n) {
			breach("a good image cannot be discarded");
			return;
		}
		if (plan.nr)
			finish(m, &plan, sector, 0);
		else if (!unmap)
			zeroes(m, sector, plan.sectors);
	}
}

/* No two owners of a byte, and as many blocks as the BAT has entries. */
static void owners(struct model *m, u64 *last)
{
	struct vdisk_range r[1024];
	struct vdisk_step step;
	u64 cursor = 0, n = 0, i, k, units = 0;
	u64 entries = vdisk_be32(m->img.mem + HEADER_AT + 28);

	for (; n < ARRAY(r) && !steps_broken; n++) {
		if (STEP(&m->img, &step, vhd_walk(&m->geom, &step, &cursor,
						  &r[n])))
			breach("a good image cannot be walked");
		if (!r[n].len)
			break;
	}
	*last = m->geom.data_off;
	for (i = 0; i < n; i++) {
		if (r[i].kind != VDISK_RANGE_UNIT)
			continue;
		*last = vdisk_max(*last, r[i].off + r[i].len);
		for (k = 0; k < r[i].len / m->geom.unit_len; k++, units++)
			if (vdisk_be32(m->img.mem + bat_at + 4 * k +
				       r[i].sector / m->geom.unit_sec * 4) *
			    512ull != r[i].off + k * m->geom.unit_len)
				breach("a walk tells a block where it is not");
	}
	qsort(r, n, sizeof(*r), by_off);
	for (i = 1; i < n; i++)
		if (r[i - 1].off + r[i - 1].len > r[i].off)
			breach("two owners of the same bytes");
	for (i = 0; i < entries; i++)
		units -= vdisk_be32(m->img.mem + bat_at + i * 4) != VHD_FREE;
	if (units)
		breach("a walk misses blocks");
}

static void run(struct model *m, u32 times)
{
	struct vdisk_plan plan;
	struct vdisk_step step;
	u64 s, n, last = 0;
	u32 what;

	if (open_it(&m->img, &step, &m->geom)) {
		breach(step.why);
		return;
	}
	m->stride = m->geom.unit_sec > 4096 ? 997 : m->geom.unit_sec > 64 ? 31 : 1;
	m->now = malloc(m->geom.size_sec * sizeof(*m->now));
	for (s = 0; s < m->geom.size_sec; s++)
		m->now[s] = below(m, s);
	while (times-- && !steps_broken) {
		m->img.lend = steps_random() % NR_LEND;
		s = random_sector(m, 0);
		n = random_length(m, s);
		what = steps_random() % 8;
		if (what < 5)
			vhd_write(m, s, n, ++m->serial);
		else
			discards(m, s, n, what & 1);
	}
	owners(m, &last);
	/* Detached: the file ends where its data does. */
	if (STEP(&m->img, &step, vhd_trim(&m->geom, &step, last, &plan)))
		breach("an image cannot be trimmed");
	apply_all(&m->img, &m->geom, &plan, VDISK_BEFORE);
	apply_all(&m->img, &m->geom, &plan, VDISK_PUBLISH);
	m->img.data_end = last;
	footer_check(m);
	if (m->img.len != last + 512)
		breach("a trimmed image has another length");
	for (what = 0; what < NR_LEND && !steps_broken; what++) {
		m->img.lend = what;
		check_range(m, 0, m->geom.size_sec, 0, 0, 0);
	}
	for (s = 0; s < m->geom.size_sec && !steps_broken; s++)
		if (m->spec(m, s) != m->now[s])
			breach("the specification reads otherwise");
	free(m->now);
}

static void test_models(void)
{
	static const struct shape shapes[] = {
		{ "4 KiB", VHD_DYNAMIC, 4096, 2003, 0, 0, 400, 0 },
		{ "4 KiB over a parent", VHD_DIFFERENCING, 4096, 2003, 300, 0,
		  400, 0 },
		{ "8 KiB, a gap before the footer", VHD_DYNAMIC, 8192, 3001, 0,
		  7 * 512, 300, 0 },
		{ "64 KiB", VHD_DYNAMIC, 65536, 20001, 0, 0, 200, 0 },
		{ "64 KiB over a parent, BAT over a border", VHD_DIFFERENCING,
		  65536, 40001, 900, 0, 200, 3072 },
		{ "512 KiB over a parent", VHD_DIFFERENCING, 512 << 10, 30001, 0,
		  0, 100, 8192 },
		{ "2 MiB", VHD_DYNAMIC, 2 << 20, 50001, 0, 512, 60, 0 },
		{ "2 MiB over a parent", VHD_DIFFERENCING, 2 << 20, 50001, 0, 0,
		  100, 0 },
		{ "32 MiB", VHD_DYNAMIC, 32 << 20, 150001, 0, 0, 4, 0 },
		{ "64 MiB over a parent", VHD_DIFFERENCING, 64 << 20, 200001, 0,
		  0, 8, 0 },
	};
	u32 i, trailer;

	for (i = 0; i < ARRAY(shapes); i++) {
		struct model m = {
			.fmt = &vdisk_vhd_format, .spec = spec,
			.parent = shapes[i].type == VHD_DIFFERENCING,
		};

		trailer = i % 3 == 2 ? 511 : 512;
		build(&m.img, &shapes[i], trailer);
		run(&m, shapes[i].times);
		kept(t_name("model: %s", shapes[i].name));
		image_free(&m.img);
	}
}

/* Footers and headers with odd values and good checksums, BATs of noise. */
static void test_noise(void)
{
	static const u8 odd[] = { 0, 1, 2, 3, 4, 0x10, 0x7F, 0x80, 0xF0, 0xFF };
	struct vdisk_step step;
	struct vdisk_geom geom;
	struct vdisk_extent e;
	struct shape s;
	struct tally t;
	struct image img;
	u32 i, n, opened = 0, shut = 0, trailer;

	for (i = 0; i < 4000 && !steps_broken; i++) {
		s = i % 8 == 7 ? fixed : i % 2 ? differencing : small;
		trailer = i % 16 < 12 ? 512 : i % 16 < 14 ? 511 : 0;
		build(&img, &s, trailer);
		img.noise = true;
		for (n = steps_random() % 3; n; n--)
			foot[8 + steps_random() % 78] =
				odd[steps_random() % ARRAY(odd)];
		if (s.type != VHD_FIXED) {
			for (n = steps_random() % 3; n; n--)
				img.mem[HEADER_AT + 8 + steps_random() % 48] =
					odd[steps_random() % ARRAY(odd)];
			for (n = steps_random() % 9; n; n--)
				img.mem[HEADER_AT + 576 + steps_random() % 192] =
					odd[steps_random() % ARRAY(odd)];
			for (n = steps_random() % 30; n; n--)
				img.mem[bat_at + steps_random() % 160] =
					odd[steps_random() % ARRAY(odd)];
			for (n = steps_random() % 8; n; n--)
				put(&img, bat_at + steps_random() % 40 * 4,
				    steps_random() % 600, 4);
		}
		seal(&img, trailer);
		img.lend = steps_random() % NR_LEND;
		if (open_it(&img, &step, &geom)) {
			shut++;
			image_free(&img);
			continue;
		}
		opened++;
		if (geom.flags & VDISK_GEOM_NO_ALLOC) {
			STEP(&img, &step, vhd_map(&geom, &step, 0, 1, &e));
			walk(&img, &geom, &t);
		} else {
			noise_steps(&vdisk_vhd_format, &img, &geom);
		}
		image_free(&img);
	}
	T_OK(opened > 500 && shut > 500, "noise opens, or is refused");
	kept("steps stand noise");
}

#endif /* _SELFTESTS_VHD_MODEL_H */
