// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is it the header? One wrong number there makes a hundred sound entries look
 * wrong, or leads to a place where there are none. Then another value of that
 * one field makes all of them agree, and that is looked for: each single bit
 * first, then each single byte, on a trial.
 *
 * What is found counts only if it is the one best: as many units as by any other
 * value, none of them on another, nothing much that nobody owns.
 */
#include <stdio.h>
#include <string.h>

#include "out.h"
#include "repair.h"

struct search {
	const struct vdisk_format *format;
	struct vdisk_store *store;
	const struct vdisk_image_opts *opts;
	u32 flags;		/* of the geometry, that the image had */
	u64 size_sec;		/* of the disk, if it opens */
	u64 units;
	bool opens;

	struct own_report best;
	const struct vdisk_field *field;
	u64 was, value;
	bool tie;
	bool cuts;		/* the disk would lose something: no value at all */
};

static bool stop(void *arg, const char *what)
{
	return false;
}

struct behind {
	struct vdisk_store *store;
	bool data;		/* or it cannot be read */
};

static void note_data(void *arg, u64 from, u64 to)
{
	struct behind *behind = arg;
	u8 buf[VDISK_BLOCK];
	size_t n, i;

	for (; from < to && !behind->data; from += n) {
		n = vdisk_min(to - from, sizeof(buf));
		if (vdisk_store_read(behind->store, from, buf, n))
			behind->data = true;
		for (i = 0; i < n && !behind->data; i++)
			behind->data = buf[i];
	}
}

/*
 * Would a disk of this length end before something that it holds? That is an
 * entry behind its end, or bytes that nobody owns then, as some tables are only
 * read as far as the disk goes.
 */
static bool cuts_data(const struct search *s, struct vdisk_store *trial)
{
	struct behind behind = { .store = trial };
	struct own_options own = { .gap = note_data, .arg = &behind };
	struct vdisk_fault fault;
	struct vdisk_image *image;
	struct vdisk_range range;
	struct own_report rep;
	u64 cursor = 0, last;
	int r;

	if (vdisk_image_open(&image, s->format, trial, s->opts, &fault))
		return true;
	do {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r || range.kind != VDISK_RANGE_UNIT || !range.len)
			continue;
		last = range.sector + vdisk_div(range.len - 1,
						image->geom.unit_len) *
				      image->geom.unit_sec;
		behind.data |= last >= image->geom.size_sec;
	} while (!r && range.len && !behind.data);
	behind.data |= r || own_check(image, &own, &rep);
	vdisk_image_drop(image);
	return behind.data;
}

/* What the image is with what the trial says: true if all agrees. */
static bool look(const struct search *s, struct vdisk_store *trial, bool size,
		 struct own_report *rep)
{
	struct own_options own = { .say = stop };
	struct vdisk_fault fault;
	struct vdisk_image *image;
	u64 faults = 1;
	bool good;

	if (vdisk_image_open(&image, s->format, trial, s->opts, &fault))
		return false;
	image->geom.flags |= s->flags & VDISK_GEOM_PARENT;
	/* Not yet open at all, its length is not known; else it is. */
	good = !(image->geom.flags & VDISK_GEOM_RDONLY) &&
	       (!s->opens || size || image->geom.size_sec == s->size_sec);
	good = good && !own_check(image, &own, rep) &&
	       !repair_count_copies(image, &faults) && !faults;
	vdisk_image_drop(image);
	return good && rep->units && rep->units >= s->units &&
	       (!size || rep->units > s->units) &&
	       rep->leaks <= vdisk_max(rep->units / 100,
				       vdisk_min(4, rep->units / 2));
}

/* 1: the first is better; 0: none is. */
static int compare(const struct own_report *a, const struct own_report *b)
{
	if (a->units != b->units)
		return a->units > b->units ? 1 : -1;
	if (a->leaks != b->leaks)
		return a->leaks < b->leaks ? 1 : -1;
	if (a->others != b->others)
		return a->others > b->others ? 1 : -1;
	return 0;
}

static void try_value(struct search *s, const struct vdisk_field *f, u64 was,
		      u64 value)
{
	struct vdisk_store *trial;
	struct own_report rep;
	u8 bytes[8];
	int better;
	bool text;

	/* How long a disk is cannot be guessed; that it is too long can be. */
	if (f->size && !s->opens && value > was)
		return;
	trial = repair_trial_new(s->store);
	vdisk_store(bytes, value, f->width, f->big);
	/* No entry knows of the text that names the parent. */
	text = !strncmp(f->name, "descriptor", 10);
	if (!vdisk_store_write(trial, f->off, bytes, f->width) &&
	    !(text && vmdk_lost_text(trial)) &&
	    look(s, trial, f->size, &rep)) {
		better = s->field ? compare(&rep, &s->best) : 1;
		s->tie = better > 0 ? false : s->tie || !better;
		if (better > 0) {
			s->best = rep;
			s->cuts = f->size && value < was &&
				  cuts_data(s, trial);
			s->field = f;
			s->was = was;
			s->value = value;
		}
	}
	vdisk_store_close(trial);
}

static void try_bits(struct search *s, const struct vdisk_field *f, u64 was)
{
	u32 bit;

	for (bit = 0; bit < f->width * 8u; bit++)
		try_value(s, f, was, was ^ 1ull << bit);
}

static void try_bytes(struct search *s, const struct vdisk_field *f, u64 was)
{
	u32 i, byte;

	for (i = 0; i < f->width && !f->size && !f->opened; i++)
		for (byte = 0; byte < 256; byte++)
			if ((was >> 8 * i & 0xff) != byte)
				try_value(s, f, was,
					  (was & ~(0xffull << 8 * i)) |
					  (u64)byte << 8 * i);
}

static void try_fields(struct search *s,
		       void (*try)(struct search *s,
				   const struct vdisk_field *f, u64 was))
{
	const struct vdisk_repair *ops = vdisk_repair_find(s->format);
	const struct vdisk_field *f = ops->fields;
	u8 bytes[8];
	u64 was;
	u32 i;

	for (; f < ops->fields + ops->nr_fields; f++) {
		if ((f->opened && !s->opens) ||
		    f->off + f->width > s->store->length ||
		    vdisk_store_read(s->store, f->off, bytes, f->width))
			continue;
		for (was = 0, i = 0; i < f->width; i++)
			was |= (u64)bytes[f->big ? f->width - 1 - i : i] <<
			       8 * i;
		try(s, f, was);
	}
}

/* A table may be wrong, and the other set of them right. */
static bool try_plans(struct search *s, struct vdisk_mend *mend)
{
	const struct vdisk_repair *ops = vdisk_repair_find(s->format);
	struct vdisk_store *trial;
	struct own_report rep;
	struct vdisk_fault fault;
	bool good = false;
	u32 n;
	int r;

	for (n = 0; ops->head && s->opens && !good; n++) {
		r = repair_next_head(s->format, s->store, s->opts, n, mend);
		if (r == -EUCLEAN)
			continue;
		if (r || !mend->done)
			break;
		trial = repair_trial_new(s->store);
		good = !repair_run_mend(trial, mend, &fault) &&
		       look(s, trial, false, &rep) && rep.units > s->units;
		vdisk_store_close(trial);
	}
	return good;
}

bool repair_doubt(const struct vdisk_format *format, struct vdisk_store *store,
		  const struct vdisk_image_opts *opts, u32 flags, bool opens,
		  u64 units, struct vdisk_mend *mend, char text[120])
{
	struct search s = {
		.format = format, .store = store, .opts = opts, .flags = flags,
		.opens = opens, .units = units,
	};
	struct vdisk_image *image;
	struct vdisk_fault fault;

	if (opens && !vdisk_image_open(&image, format, store, opts, &fault)) {
		s.size_sec = image->geom.size_sec;
		vdisk_image_drop(image);
	}
	try_fields(&s, try_bits);
	if (!s.field)
		try_fields(&s, try_bytes);
	*text = 0;
	if (!s.field && try_plans(&s, mend)) {
		snprintf(text, 120, "%s", mend->done);
		return true;
	}
	if (!s.field || s.cuts)
		return false;
	snprintf(text, 120, "%s set from %llu to %llu, where the entries agree",
		 s.field->name, (unsigned long long)s.was,
		 (unsigned long long)s.value);
	if (s.tie) {
		snprintf(text, 120, "%s may be it: now %llu, and %llu or another "
			 "value would fit", s.field->name,
			 (unsigned long long)s.was,
			 (unsigned long long)s.value);
		return false;
	}
	*mend = (struct vdisk_mend){ .done = text };
	vdisk_plan_set(&mend->plan, VDISK_BEFORE, s.field->off, s.field->width,
		       s.field->big, 1, s.value, 0);
	return true;
}
