/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding what is wrong with an image, and putting it right.
 *
 * The order is what makes a repair safe to be interrupted: headers first, each
 * tried in memory before; then units that lie on something get a place of their
 * own, then tables that are there twice are made equal, then entries that name
 * nothing are cleared. Only when nothing is wrong any more what nobody owns is
 * given back, and last the mark is taken away that the image was not closed.
 * Each of these leaves an image that is no worse than before it. Data is copied
 * before an entry names the copy, with a flush between; see disk.h.
 *
 * All of this is done to a trial, round by round until nothing is found, and the
 * image opened anew for each. If it went too far the trial is dropped, and the
 * header is doubted instead. What is left of it is done to the file in the same
 * order with the same flushes, after an undo file was made: see undo.h.
 */
#ifndef _VDISK_MENDING_H
#define _VDISK_MENDING_H

#include "../formats/repair.h"
#include "own.h"

struct repair {
	bool write;		/* or only look; what is written is a trial's */
	/* A fault, and what was done about it, or NULL. */
	void (*say)(void *arg, const char *fault, const char *done);
	void *arg;
	const char *part;	/* the file, if it is one of several, or NULL */

	/* Sums over all files of the image. */
	struct own_report rep;	/* as things are at the end */
	u64 faults;		/* that are left */
	u64 mended;
	u64 mended_leaks;	/* those among them that gave back space */
	u64 leaks_mended;	/* clusters */
	const char *why_ro;	/* must not be written */
	bool dirty;		/* marked as not closed at the end */

	/* Done, but not committed yet: what and how, by turns. */
	char **waiting;
	unsigned int nr_waiting;

	/* Committed, and to be said when the files have it: the same. */
	char **told;
	unsigned int nr_told;

	/*
	 * How much is at stake. Units that were cleared, moved or given back
	 * although something is in them, and of how many.
	 */
	u64 touched;
	u64 packed;		/* moved into space that was lost */
	u64 units;
	bool doubtful;		/* what was done speaks against the header */
	bool left;		/* there are faults after it */
	bool leaks_kept;	/* more were found than can be so */
	unsigned int round;
};

/*
 * Before an image of @format is opened from the trial @store: mend headers that
 * keep it from being opened, or from being written. @part: the file, if it is one
 * of several, or NULL. Never fails: what cannot be mended is for the open to tell.
 */
void repair_heads(struct repair *repair, const char *part,
		  const struct vdisk_format *format, struct vdisk_store *store,
		  const struct vdisk_image_opts *opts);

/*
 * The rest; @image was opened for reading from a trial, and is opened anew, in
 * its place, after what was written. 0, or -errno with its fault set.
 */
int repair_image(struct repair *repair, struct vdisk_image *image);

/* Say what was done, now that it is. */
void repair_tell(struct repair *repair);

/* Is the open file below a device of ours? @name: of the device. */
bool repair_attached(int fd, char *name, size_t room);

/*-----------------------------------------------------------------
 * Between repair*.c
 */

/* What was done, or (@done NULL) what is wrong. */
void repair_say(struct repair *repair, const char *fault, const char *done);

/* What is done, to be said when a commit has made it durable. */
void repair_note(struct repair *repair, const char *fault, const char *done);
int repair_commit(struct repair *repair, struct vdisk_image *image);

/*
 * @n units more are touched: 0, or -ECANCELED if that is more than a repair may
 * do. A number that makes most entries wrong is more likely wrong itself.
 */
int repair_touch(struct repair *repair, u64 n);
u64 repair_most(const struct repair *repair);

/* Open @image anew, in its place. */
int repair_reopen(struct vdisk_image *image);

/* Faults of what is there twice, without a word. */
int repair_count_copies(struct vdisk_image *image, u64 *faults);

/*
 * The sector of a VMDK's own descriptor that its header does not lead to, or not
 * to all of it; 0 = there is none.
 */
u64 vmdk_lost_text(struct vdisk_store *store);

/*
 * A header field with another value, under which all entries agree. @opens: they
 * do not now, but open() does. @units: at least so many are then sound. True:
 * *@mend writes it, and @text says it.
 */
bool repair_doubt(const struct vdisk_format *format, struct vdisk_store *store,
		  const struct vdisk_image_opts *opts, u32 flags, bool opens,
		  u64 units, struct vdisk_mend *mend, char text[120]);

/* Step of the format, driven: the @n-th plan to try on the headers. */
int repair_next_head(const struct vdisk_format *format,
		     struct vdisk_store *store,
		     const struct vdisk_image_opts *opts, u32 n,
		     struct vdisk_mend *mend);

/* Do @mend to @store; an image is only needed to hold the two together. */
int repair_run_mend(struct vdisk_store *store, const struct vdisk_mend *mend,
		    struct vdisk_fault *fault);

/*-----------------------------------------------------------------
 * Trials: repair_store.c
 */

enum repair_event_kind {
	REPAIR_WRITE,
	REPAIR_FLUSH,
	REPAIR_LENGTH,		/* @off bytes long */
};

struct repair_event {
	enum repair_event_kind kind;
	u64 off, len, at;
};

/* A store that shows what is written to it, and writes nothing. */
struct vdisk_store *repair_trial_new(struct vdisk_store *below);
/* Closing it closes what is below. */
void repair_trial_keep(struct vdisk_store *store);
/* Do to what is below what was done to @store, in the same order. */
int repair_trial_apply(struct vdisk_store *store);

struct vdisk_store *repair_trial_below(struct vdisk_store *store);
/* How often something was changed. */
size_t repair_trial_changes(struct vdisk_store *store);
/* The shortest length it had. */
u64 repair_trial_least(struct vdisk_store *store);
/* All that was done to it, in order; and the bytes of a write. */
size_t repair_trial_events(struct vdisk_store *store,
			   const struct repair_event **event);
int repair_trial_bytes(struct vdisk_store *store,
		       const struct repair_event *event, u64 from, void *buf,
		       size_t len);

/* Give units a place of their own, until none lies on another. */
int repair_overlaps(struct repair *repair, struct vdisk_image *image);

/* Give back what nobody owns, as far as it can be. */
int repair_leaks(struct repair *repair, struct vdisk_image *image);

/* Copy a unit to @to; its entry follows with the next commit. */
int repair_move(struct vdisk_image *image, const struct vdisk_range *unit,
		u64 to);

/* The entry of @unit names @to, or nothing, from the next commit on. */
int repair_point(struct vdisk_image *image, const struct vdisk_range *unit,
		 u64 to);

/* Read all compressed units; each that is damaged is a fault. */
int repair_read_packed(struct repair *repair, struct vdisk_image *image);

#endif /* _VDISK_MENDING_H */
