// SPDX-License-Identifier: GPL-2.0-or-later
/* Finding what is wrong with an open image, and putting it right. */
#include <stdio.h>
#include <stdlib.h>

#include "out.h"
#include "progress.h"
#include "repair.h"

#define MOST_WAITING 8192u
#define LOOK_LEN (256u * 1024)

/* A repair says nothing before it is done, or sure not to be. */
void repair_say(struct repair *repair, const char *fault, const char *done)
{
	if (done)
		repair->mended++;
	else
		repair->faults++;
	if (!repair->write) {
		progress_clear();
		repair->say(repair->arg, fault, done);
		return;
	}
	repair->told = out_grow(repair->told, repair->nr_told + 2,
				sizeof(*repair->told));
	repair->told[repair->nr_told++] =
		out_text("%s%s%s", repair->part ? out_name(repair->part) : "",
			 repair->part ? ": " : "", fault);
	repair->told[repair->nr_told++] = done ? out_text("%s", done) : NULL;
}

void repair_tell(struct repair *repair)
{
	unsigned int i;

	progress_clear();
	for (i = 0; i < repair->nr_told; i += 2) {
		repair->say(repair->arg, repair->told[i], repair->told[i + 1]);
		free(repair->told[i]);
		free(repair->told[i + 1]);
	}
	free(repair->told);
	repair->told = NULL;
	repair->nr_told = 0;
}

void repair_note(struct repair *repair, const char *fault, const char *done)
{
	/* A power of two is full: double it. */
	if (!(repair->nr_waiting & (repair->nr_waiting - 1)))
		repair->waiting = out_grow(repair->waiting,
					   2 * repair->nr_waiting + 2,
					   sizeof(*repair->waiting));
	repair->waiting[repair->nr_waiting++] = out_text("%s", fault);
	repair->waiting[repair->nr_waiting++] = out_text("%s", done);
}

static void end_waiting(struct repair *repair, bool done)
{
	unsigned int i;

	for (i = 0; i < repair->nr_waiting; i += 2) {
		if (done)
			repair_say(repair, repair->waiting[i],
				   repair->waiting[i + 1]);
		free(repair->waiting[i]);
		free(repair->waiting[i + 1]);
	}
	free(repair->waiting);
	repair->waiting = NULL;
	repair->nr_waiting = 0;
}

int repair_commit(struct repair *repair, struct vdisk_image *image)
{
	int r = vdisk_image_commit(image);

	end_waiting(repair, !r);
	return r;
}

/* A few may always be changed. */
#define LEAST_TOUCHED 4

u64 repair_most(const struct repair *repair)
{
	return vdisk_max(LEAST_TOUCHED, repair->units / 100);
}

int repair_touch(struct repair *repair, u64 n)
{
	if (repair->touched + n > repair_most(repair))
		return -ECANCELED;
	repair->touched += n;
	return 0;
}

static bool say_fault(void *arg, const char *what)
{
	repair_say(arg, what, NULL);
	return true;
}

static void say_value(struct repair *repair, const char *what, u64 value,
		      const char *done)
{
	struct vdisk_fault fault;

	vdisk_fault_set(&fault, 0, what, value);
	if (done)
		repair_note(repair, fault.text, done);
	else
		repair_say(repair, fault.text, NULL);
}

/*-----------------------------------------------------------------
 * What is there twice
 */

static int next_copy(struct vdisk_image *image, u64 *cursor, bool taken,
		     struct vdisk_mend *mend)
{
	const struct vdisk_repair *ops = vdisk_repair_find(image->format);
	struct vdisk_drive d;
	int r;

	vdisk_drive_start(&d, image);
	do {
		r = ops->copies(&image->geom, &d.step, cursor, taken, mend);
	} while (vdisk_drive_again(&d, image, &r));
	return r;
}

/* Is a part of the bytes somebody's? Asks the tables as they are by now. */
static int is_owned(struct vdisk_image *image, u64 off, u64 len, bool *taken)
{
	struct vdisk_range range;
	u64 cursor = 0;
	int r;

	*taken = false;
	do {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r == -EUCLEAN)
			range.len = 1;
		else if (r)
			return r;
		else if (range.len && range.off < off + len &&
			 off < range.off + range.len)
			*taken = true;
	} while (range.len && !*taken);
	return 0;
}

static int mend_copy(struct vdisk_image *image, const struct vdisk_mend *mend)
{
	int r;

	memcpy(image->geom.tail, mend->tail, image->geom.tail_len);
	r = vdisk_plan_before(image, &mend->plan, VDISK_FLUSH_BEFORE);
	return r ? r : vdisk_plan_publish(image, &mend->plan);
}

struct places {
	struct vdisk_run *run;
	size_t nr;
};

static int by_off(const void *a, const void *b)
{
	const struct vdisk_run *p = a, *q = b;

	return p->off < q->off ? -1 : p->off > q->off;
}

/* Where all tables are, in the order of the file. */
static int list_tables(struct vdisk_image *image, struct places *tables)
{
	struct vdisk_range range;
	u64 cursor = 0;
	int r;

	do {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r == -EUCLEAN)
			range.len = 1;
		else if (r)
			return r;
		else if (range.len && range.kind == VDISK_RANGE_TABLE) {
			if (!(tables->nr & (tables->nr - 1)))
				tables->run = out_grow(tables->run,
						       2 * tables->nr + 1,
						       sizeof(*tables->run));
			tables->run[tables->nr++] = (struct vdisk_run){
				range.off, range.len,
			};
		}
	} while (range.len);
	if (tables->nr)
		qsort(tables->run, tables->nr, sizeof(*tables->run), by_off);
	return 0;
}

static bool meets(const struct places *p, u64 off, u64 end)
{
	size_t lo = 0, hi = p->nr, at;

	/* The first that ends behind @off: tables do not lie on each other. */
	while (lo < hi) {
		at = (lo + hi) / 2;
		if (p->run[at].off + p->run[at].len <= off)
			lo = at + 1;
		else
			hi = at;
	}
	return lo < p->nr && p->run[lo].off < end;
}

/*
 * By the first set no unit lies on a table: that was looked for. But is a table
 * of it where the other set has a unit? Then it may be the wrong one of the two.
 */
static int tables_are_free(struct vdisk_image *image, bool *yes)
{
	const struct vdisk_repair *ops = vdisk_repair_find(image->format);
	struct vdisk_geom geom = image->geom, other;
	struct places tables = { 0 };
	struct vdisk_range range;
	u64 cursor = 0;
	int r;

	*yes = true;
	if (!ops->other || !ops->other(&geom, &other))
		return 0;
	r = list_tables(image, &tables);
	image->geom = other;
	while (!r && *yes) {
		r = vdisk_image_walk(image, &cursor, &range);
		if (r == -EUCLEAN) {
			r = 0;
			continue;
		}
		if (r || !range.len)
			break;
		if (range.kind == VDISK_RANGE_UNIT &&
		    meets(&tables, range.off, range.off + range.len))
			*yes = false;
	}
	image->geom = geom;
	free(tables.run);
	return r;
}

/*
 * Entries of the other set that name something sound, and would be changed to
 * what the first says: before anything is moved, as they follow that.
 */
static int touch_losses(struct repair *repair, struct vdisk_image *image)
{
	const struct vdisk_repair *ops = vdisk_repair_find(image->format);
	struct vdisk_mend mend;
	u64 cursor = 0;
	int r = 0;

	while (ops->copies && cursor != ~0ull && !r) {
		r = next_copy(image, &cursor, false, &mend);
		if (!r && mend.what && mend.loses)
			r = repair_touch(repair, 1);
	}
	return r;
}

/* All of them: told, or mended. */
static int do_copies(struct repair *repair, struct vdisk_image *image,
		     bool write)
{
	const struct vdisk_repair *ops = vdisk_repair_find(image->format);
	u64 cursor = 0, at;
	struct vdisk_mend mend;
	bool taken;
	int r;

	if (!ops || !ops->copies)
		return 0;
	while (cursor != ~0ull) {
		at = cursor;
		taken = false;
		r = next_copy(image, &cursor, false, &mend);
		if (!r && mend.what && mend.claim_len)
			r = is_owned(image, mend.claim_off, mend.claim_len,
				     &taken);
		if (!r && taken) {
			cursor = at;
			r = next_copy(image, &cursor, true, &mend);
		}
		if (!r && mend.what && write) {
			repair->doubtful |= mend.table;
			r = mend_copy(image, &mend);
		}
		if (r)
			return r;
		if (mend.what && (write || !mend.told))
			say_value(repair, mend.what, mend.value,
				  write ? mend.done : NULL);
	}
	return write ? repair_commit(repair, image) : 0;
}

/*-----------------------------------------------------------------
 * Entries that name nothing
 */

/*
 * What the file has of the unit stays: the file is made as long as the entry
 * says. Other units may turn out to lie there, too; then they are told apart.
 */
static int lengthen(struct vdisk_image *image, const struct vdisk_range *range)
{
	u64 end = range->off + image->geom.unit_len;
	struct vdisk_plan plan = { 0 };
	struct vdisk_drive d;
	int r;

	vdisk_drive_start(&d, image);
	do {
		r = image->format->grow(&image->geom, &d.step, end, &plan);
	} while (vdisk_drive_again(&d, image, &r));
	if (!r)
		r = vdisk_plan_before(image, &plan, VDISK_FLUSH_BEFORE);
	if (!r) {
		image->data_end = end;
		image->alloc_off = vdisk_max(image->alloc_off, end);
	}
	return r;
}

/*
 * Would the entry be sound if the file were as long as it says? @at: the cursor
 * that leads to it.
 */
static bool fits_longer(struct vdisk_image *image,
			const struct vdisk_range *range, u64 at)
{
	u64 was = image->store->length, was_end = image->data_end;
	u64 end = range->off + image->geom.unit_len;
	struct vdisk_range again;
	int r;

	image->store->length = end + image->geom.tail_len;
	image->data_end = end;
	r = vdisk_image_walk(image, &at, &again);
	image->store->length = was;
	image->data_end = was_end;
	return !r && again.kind == VDISK_RANGE_UNIT && again.off == range->off;
}

/*
 * Was the file cut in the middle of the unit? A part of it is there then, and is
 * nobody else's. With a good footer at its end no file was cut.
 */
static int is_cut(struct vdisk_image *image, const struct vdisk_range *range,
		  u64 at, bool *yes)
{
	const struct vdisk_geom *geom = &image->geom;
	u64 end = geom->tail_len ? image->data_end : image->store->length;
	bool taken = true;
	int r = 0;

	*yes = range->off < end && geom->unit_len > end - range->off &&
	       !image->store->device && !(geom->flags & VDISK_GEOM_PACKED) &&
	       (!geom->tail_len || geom->flags & VDISK_GEOM_SCAN) &&
	       fits_longer(image, range, at);
	if (*yes) {
		r = is_owned(image, range->off, end - range->off, &taken);
		*yes = !r && !taken;
	}
	return r;
}

/*
 * A damaged record may be somebody's only copy; it is cleared if it is another
 * entry's, and of no use to this one.
 */
static int may_clear(struct vdisk_image *image, const struct vdisk_range *range,
		     bool *yes)
{
	*yes = true;
	if (!(image->geom.flags & VDISK_GEOM_PACKED) ||
	    range->off < image->geom.data_off || range->off >= image->data_end)
		return 0;
	return is_owned(image, range->off, 1, yes);
}

static int do_entry(struct repair *repair, struct vdisk_image *image,
		    const struct vdisk_range *range, u64 at, bool clear)
{
	struct vdisk_fault fault = *image->fault;
	const char *done = "the file made longer, zeroes added";
	bool yes;
	int r;

	if (range->kind != VDISK_RANGE_UNIT)
		return 0;
	if (clear)
		r = may_clear(image, range, &yes);
	else
		r = is_cut(image, range, at, &yes);
	if (r || !yes)
		return r;
	r = repair_touch(repair, 1);
	if (r)
		return r;
	if (!clear) {
		r = lengthen(image, range);
	} else {
		r = repair_point(image, range, 0);
		done = "entry cleared";
	}
	if (!r)
		repair_note(repair, fault.text, done);
	/* No room for it, or no way to say so: it stays as it is. */
	return r == -EUCLEAN || r == -ENOSPC || r == -EFBIG ? 0 : r;
}

static int do_entries(struct repair *repair, struct vdisk_image *image,
		      bool clear)
{
	struct vdisk_range range;
	u64 cursor = 0, at;
	int r;

	do {
		at = cursor;
		r = vdisk_image_walk(image, &cursor, &range);
		if (r == -EUCLEAN) {
			r = do_entry(repair, image, &range, at, clear);
			if (!r && repair->nr_waiting >= MOST_WAITING)
				r = repair_commit(repair, image);
			range.len = 1;	/* it is not over */
		}
		if (r)
			return r;
	} while (range.len);
	return repair_commit(repair, image);
}

/*-----------------------------------------------------------------*/

/* All faults, as things are; @data: compressed units are read, too. */
static int look(struct repair *repair, struct vdisk_image *image,
		struct own_report *rep, bool data)
{
	struct own_options opt = {
		.say = say_fault, .arg = repair, .progress = "checking",
	};
	int r;

	r = own_check(image, &opt, rep);
	if (r >= 0)
		r = do_copies(repair, image, false);
	if (!r && data)
		r = repair_read_packed(repair, image);
	return r;
}

static void say_nothing(void *arg, const char *fault, const char *done)
{
}

/* How many faults of tables there are, without a word. */
static int count(struct vdisk_image *image, struct own_report *rep, u64 *faults)
{
	struct repair silent = { .say = say_nothing };
	int r = look(&silent, image, rep, false);

	*faults = silent.faults;
	return r;
}

int repair_count_copies(struct vdisk_image *image, u64 *faults)
{
	struct repair silent = { .say = say_nothing };
	int r = do_copies(&silent, image, false);

	*faults = silent.faults;
	return r;
}

/* Can all that is compressed be read? It does not change, but is long to do. */
static int count_damaged(struct vdisk_image *image, u64 *faults)
{
	struct repair silent = { .say = say_nothing };
	int r = repair_read_packed(&silent, image);

	*faults = silent.faults;
	return r;
}

/* From here on the image may be written, though it was opened for reading. */
static int arm(struct vdisk_image *image)
{
	const struct vdisk_geom *geom = &image->geom;
	struct own_options opt = { 0 };
	struct own_report rep;
	int r;

	image->opts.write = true;
	image->zero_off = image->store->device ? ~0ull : image->store->length;
	image->alloc_off = geom->alloc_off;
	if (!(geom->flags & VDISK_GEOM_SCAN))
		return 0;
	r = own_check(image, &opt, &rep);
	image->alloc_off = vdisk_min(rep.end_off, geom->data_end);
	return r;
}

/*-----------------------------------------------------------------
 * What is lost
 */

struct lost {
	struct vdisk_image *image;
	u64 units, most;	/* that hold something */
	u8 *buf;
	int r;
};

static bool is_zero(const u8 *buf, u64 len)
{
	return !len || (!*buf && !memcmp(buf, buf + 1, len - 1));
}

static void count_lost(void *arg, u64 from, u64 to)
{
	struct lost *lost = arg;
	u64 unit = lost->image->geom.unit_len, end, n;
	bool zero;

	for (; to - from >= unit && lost->units <= lost->most; from = end) {
		end = from + unit;
		for (zero = true; zero && from < end && !lost->r; from += n) {
			n = vdisk_min(end - from, LOOK_LEN);
			lost->r = vdisk_store_read(lost->image->store, from,
						   lost->buf, n);
			zero = is_zero(lost->buf, n);
		}
		lost->units += !zero;
	}
}

/*
 * A writer that died leaves space lost, and so does what was put right here. In
 * an image that was closed it is what a wrong table or header hides.
 */
static int may_give_back(struct repair *repair, struct vdisk_image *image,
			 bool *yes)
{
	struct lost lost = { .image = image, .most = repair_most(repair) };
	struct own_options opt = { .gap = count_lost, .arg = &lost };
	struct own_report rep;
	int r;

	*yes = !repair->leaks_kept;
	if (!*yes || repair->round)
		return 0;
	lost.buf = out_alloc(1, LOOK_LEN);
	r = own_check(image, &opt, &rep);
	free(lost.buf);
	if (!r && lost.r)
		r = vdisk_fault_set(image->fault, lost.r,
				    "Read failed at byte", image->geom.data_off);
	if (r || lost.units <= lost.most)
		return r;
	repair->doubtful = true;
	if (!(image->geom.flags & VDISK_GEOM_DIRTY)) {
		repair->leaks_kept = true;
		*yes = false;
	}
	return 0;
}

/* One line for all; settling cuts them off. */
static int finish(struct repair *repair, struct vdisk_image *image, u64 leaks)
{
	bool dirty = image->geom.flags & VDISK_GEOM_DIRTY;
	struct own_report rep;
	bool give = false;
	u64 faults;
	int r;

	r = leaks ? may_give_back(repair, image, &give) : 0;
	if (r)
		return r;
	leaks = give ? leaks : 0;
	r = leaks ? repair_leaks(repair, image) : 0;
	if (!r && leaks)
		r = do_copies(repair, image, true);
	if (!leaks)
		image->alloc_off = image->data_end;
	if (r || (!dirty && !image->marked && !leaks))
		return r;
	/* Marked as a writer would: what becomes of a stream is all in there. */
	r = dirty ? vdisk_image_change(image) : 0;
	image->changed = true;
	if (!r)
		r = vdisk_image_settle(image);
	if (r)
		return r;
	if (dirty)
		repair_say(repair, "Image was not closed", "mark cleared");
	image->geom.flags &= ~(u32)VDISK_GEOM_DIRTY;
	image->geom.data_end = image->data_end;
	r = count(image, &rep, &faults);
	if (!r && rep.leaks < leaks) {
		say_value(repair, "Leaked clusters", leaks - rep.leaks,
			  "given back");
		repair->mended_leaks++;
		r = repair_commit(repair, image);
		repair->leaks_mended += leaks - rep.leaks;
	}
	return r;
}

/* Only what lies on nothing, by either set, may be written. */
static int mend_tables(struct repair *repair, struct vdisk_image *image)
{
	bool free;
	int r;

	r = tables_are_free(image, &free);
	if (r || !free)
		return r;
	r = do_copies(repair, image, true);
	if (!r)
		r = do_entries(repair, image, true);
	if (!r)
		r = repair_overlaps(repair, image);
	if (!r)
		r = do_copies(repair, image, true);
	return r;
}

static int mend(struct repair *repair, struct vdisk_image *image)
{
	struct own_report rep;
	u64 faults;
	int r;

	/* Free is what a repair says is free, after it, not what a walk says now. */
	image->scanned = true;
	r = arm(image);
	if (!r && !repair->round)
		r = touch_losses(repair, image);
	if (!r)
		r = do_entries(repair, image, false);
	if (!r)
		r = repair_overlaps(repair, image);
	if (!r)
		r = count(image, &rep, &faults);
	if (!r && !rep.overlaps && faults) {
		/* Only now is it known that no table lies on anything. */
		r = mend_tables(repair, image);
		if (!r)
			r = count(image, &rep, &faults);
	}
	if (!r && !faults)
		r = count_damaged(image, &faults);
	if (!r && !faults)
		r = finish(repair, image, rep.leaks);
	repair->left = !r && faults;
	end_waiting(repair, false);
	return r;
}

/*-----------------------------------------------------------------
 * Trials
 */

/* What was read of the image is forgotten; whoever points at it still may. */
int repair_reopen(struct vdisk_image *image)
{
	struct vdisk_image_opts opts = image->opts;
	struct vdisk_image *fresh, old;
	int r;

	opts.write = false;
	r = vdisk_image_open(&fresh, image->format, image->store, &opts,
			     image->fault);
	if (r)
		return r;
	/* Who knows of a parent, where the image does not, has said so. */
	fresh->geom.flags |= image->geom.flags & VDISK_GEOM_PARENT;
	old = *image;
	*image = *fresh;
	*fresh = old;
	vdisk_image_drop(fresh);
	return 0;
}

#define MOST_ROUNDS 6

/*
 * A round may change what the next one finds: an extension is dropped, and its
 * clusters are lost. So the image is opened anew until a round finds nothing.
 */
static int rounds(struct repair *repair, const struct vdisk_image *on,
		  struct vdisk_store *trial)
{
	struct vdisk_image *image;
	size_t before;
	int r = 0;

	for (repair->round = 0; repair->round < MOST_ROUNDS; repair->round++) {
		before = repair_trial_changes(trial);
		r = vdisk_image_open(&image, on->format, trial, &on->opts,
				     on->fault);
		if (r)
			break;
		image->geom.flags |= on->geom.flags & VDISK_GEOM_PARENT;
		if (!(image->geom.flags & VDISK_GEOM_RDONLY))
			r = mend(repair, image);
		vdisk_image_drop(image);
		if (r || repair_trial_changes(trial) == before)
			break;
	}
	return r;
}

/* What was said of a trial that is dropped was never done. */
static void take_back(struct repair *repair, const struct repair *was)
{
	while (repair->nr_told > was->nr_told)
		free(repair->told[--repair->nr_told]);
	repair->mended = was->mended;
	repair->leaks_mended = was->leaks_mended;
	repair->mended_leaks = was->mended_leaks;
	repair->touched = repair->packed = 0;
	repair->doubtful = repair->leaks_kept = false;
}

static int try_rounds(struct repair *repair, const struct vdisk_image *on,
		      struct vdisk_store **trial)
{
	*trial = repair_trial_new(on->store);
	repair->touched = repair->packed = 0;
	repair->doubtful = repair->leaks_kept = false;
	return rounds(repair, on, *trial);
}

/*
 * The units in use, and how many of them are sound: so many have to be by any
 * other header, and more than that if no entry is wrong by this one.
 */
static int count_units(struct repair *repair, struct vdisk_image *image,
		       u64 *sound, u64 *least)
{
	struct own_report rep;
	u64 faults;
	int r = count(image, &rep, &faults);

	*sound = rep.units;
	*least = rep.units + !faults;
	repair->units = rep.units + rep.bad;
	return r;
}

/* Is so much of the image wrong that it is rather its header? */
static bool is_doubtful(const struct repair *repair, int r, u64 sound)
{
	return r == -ECANCELED || repair->doubtful || repair->left ||
	       repair->leaks_kept ||
	       (repair->touched >= 2 && 2 * repair->touched >= repair->units) ||
	       (repair->touched && !sound);
}

/* Why nothing is done, and what may be tried by hand. */
static void say_refused(struct repair *repair, const char *doubt)
{
	char *text;

	text = out_text("A repair would change more than %llu of %llu units: not done",
			(unsigned long long)repair_most(repair),
			(unsigned long long)repair->units);
	repair_say(repair, text, NULL);
	free(text);
	if (!*doubt)
		return;
	text = out_text("Header field %s", doubt);
	repair_say(repair, text, NULL);
	free(text);
}

/* Write the field that is likelier wrong, and what is left to do then. */
static int mend_field(struct repair *repair, struct vdisk_image *image,
		      const struct vdisk_mend *field, const char *text,
		      struct vdisk_store **trial)
{
	int r;

	r = repair_run_mend(image->store, field, image->fault);
	if (!r)
		r = repair_reopen(image);
	if (r)
		return r;
	repair_say(repair, "Most entries disagree with the header", text);
	vdisk_store_close(*trial);
	return try_rounds(repair, image, trial);
}

static int mend_image(struct repair *repair, struct vdisk_image *image)
{
	struct repair was = *repair;
	struct vdisk_store *trial;
	struct vdisk_mend field;
	char text[120] = "";
	u64 sound, least;
	int r;

	r = count_units(repair, image, &sound, &least);
	if (r)
		return r;
	r = try_rounds(repair, image, &trial);
	if (is_doubtful(repair, r, sound) &&
	    repair_doubt(image->format, image->store, &image->opts,
			 image->geom.flags, true, least, &field, text)) {
		take_back(repair, &was);
		r = mend_field(repair, image, &field, text, &trial);
		*text = 0;
	}
	if (r == -ECANCELED) {
		take_back(repair, &was);
		say_refused(repair, text);
		r = 0;
	} else if (!r) {
		r = repair_trial_apply(trial);
	}
	vdisk_store_close(trial);
	return r ? r : repair_reopen(image);
}

int repair_image(struct repair *repair, struct vdisk_image *image)
{
	const struct vdisk_geom *geom = &image->geom;
	bool read_only = geom->flags & VDISK_GEOM_RDONLY;
	struct own_report rep;
	int r = 0;

	if (repair->write && vdisk_repair_find(image->format) && !read_only)
		r = mend_image(repair, image);
	if (!r)
		r = look(repair, image, &rep, true);
	if (r)
		return r;
	progress_clear();
	repair->rep.units += rep.units;
	repair->rep.bad += rep.bad;
	repair->rep.overlaps += rep.overlaps;
	repair->rep.leaks += rep.leaks;
	repair->rep.end_off = vdisk_max(repair->rep.end_off, rep.end_off);
	if (geom->flags & VDISK_GEOM_DIRTY) {
		repair_say(repair, "Image was not closed", NULL);
		repair->dirty = true;
	}
	if (read_only && !repair->why_ro)
		repair->why_ro = geom->why_ro;
	return 0;
}
