/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The contract of a format.
 *
 * A format is a set of pure functions over bytes already in memory. It does no
 * I/O, keeps no state but the immutable geometry its open() filled, and knows
 * nothing of bios, files or locks. The kernel target, the tool, the crash test
 * and the fuzzers link the same objects.
 *
 * Steps
 * -----
 * Every function that needs bytes of the image is a step. The caller fills a
 * struct vdisk_step with the views it has; the function returns
 *
 *	0		done, the results are filled in
 *	-EAGAIN		step->need says what is missing: get it and call again
 *	-EUCLEAN	the image is wrong: step->why is a constant phrase (no
 *			full stop, at most 50 characters), step->value the
 *			offending number
 *
 * and nothing else. A step never asks again for a view it was given, and ends
 * within VDISK_MAX_STEPS calls. A view may be longer than what was needed, and
 * callers may offer views before they are asked for. A need for bytes never
 * crosses a multiple of VDISK_BLOCK in the file, so a cache of such blocks
 * answers every need with one of them, and never passes step->file_len. No
 * function keeps a pointer into a view after it returns. Nothing here sleeps:
 * every function may be called under RCU or a spinlock.
 *
 * Units
 * -----
 * *_sec and sector counts are 512-byte sectors of the guest's disk; *_off and
 * *_len are bytes of the image file. A unit is what the format allocates at a
 * time: a VHD block, a VMDK grain, a Parallels or QED cluster.
 *
 * Writing
 * -------
 * map() tells where bytes are. Where it does not answer DATA, a writer asks
 * alloc() for a plan: metadata updates, each in one of three phases.
 *
 *	BEFORE	durable before any guest byte of this write goes out. Costs a
 *		flush, so it is made rare. Ops that follow each other in one
 *		sector go out in one write: a crash leaves all of them or none.
 *	DATA	metadata that nothing points to yet, written together with the
 *		guest's bytes and the fill around them, in any order.
 *	PUBLISH	what makes DATA reachable: only after DATA is durable. Any
 *		subset, torn at sectors, may survive a crash.
 *
 * A caller that performs the phases in that order, with a flush between them,
 * keeps the promise that after a crash flushed data is there, other data is
 * old or new, and the worst damage is a leaked unit. PUBLISH may wait for the
 * next flush the guest asks for, provided lookups see it at once.
 *
 * A plan changes nothing by itself and may be dropped: reserve space, run the
 * plan, or give the space back. Two plans for the same unit must not be in
 * flight together; nor two that each make a new table (NEED_TABLE) in one
 * image. Plans for different units may.
 */
#ifndef _VDISK_FORMAT_H
#define _VDISK_FORMAT_H

#include "env.h"

#define VDISK_SECTOR 512u	/* bytes, in all formats, whatever the medium */
#define VDISK_SHIFT 9
#define VDISK_BLOCK 4096u	/* a need never crosses a multiple of this */
#define VDISK_MAX_VIEWS 4
#define VDISK_MAX_STEPS 8	/* calls until a step must have ended */
#define VDISK_MAX_OPS 16
#define VDISK_TAIL_MAX 512
#define VDISK_GEOM_PRIV 24
#define VDISK_RANDOM 32		/* bytes for new ids; see vdisk_step.random */

/* Bytes of the image file, lent for the time of one call. */
struct vdisk_view {
	u64 off;
	u32 len;
	const u8 *data;
};

enum vdisk_need_kind {
	VDISK_NEED_BYTES,	/* a view of [off, off + len) */
	VDISK_NEED_UNIT,	/* free space for up to count units: step->unit */
	VDISK_NEED_TABLE,	/* free space for len bytes of tables: step->table */
};

/*
 * Free space is answered in step->unit or step->table: an offset congruent to
 * @base modulo @align, at or above geom->data_off. For UNIT, @len is the length
 * of one unit and the caller may grant fewer units than @count, at least one;
 * granted units lie one behind the other.
 */
struct vdisk_need {
	enum vdisk_need_kind kind;
	u32 len;
	u32 count;
	u64 off;
	u64 align;
	u64 base;
};

struct vdisk_space {
	u64 off;
	u32 count;		/* units granted; 0 = nothing was granted yet */
};

struct vdisk_step {
	/* in */
	struct vdisk_view view[VDISK_MAX_VIEWS];
	u32 nr_views;
	/*
	 * Optional: append a view that holds the byte at @off, if the caller has
	 * one at hand, and say whether. It saves a call: the need comes without.
	 */
	bool (*show)(struct vdisk_step *step, u64 off);
	u64 file_len;		/* bytes of the file or device now */
	u64 data_end;		/* units end at or below this; first geom->data_end,
				 * later what grow() made of it
				 */
	struct vdisk_space unit;
	struct vdisk_space table;
	const u8 *random;	/* mark(): VDISK_RANDOM fresh random bytes */
	/* out */
	struct vdisk_need need;
	const char *why;
	u64 value;
	bool sum;		/* -EUCLEAN: @value is a checksum, and wrong: */
	u64 right;		/* it should be this */
	bool full;		/* -EUCLEAN: no damage, but no entry can say more */
};

/* What the caller knows of an image before it is opened. */
enum vdisk_size_rule {
	VDISK_SIZE_AUTO,	/* by the creator of the image */
	VDISK_SIZE_CURRENT,	/* VHD: the current_size field */
	VDISK_SIZE_CHS,		/* VHD: cylinders * heads * sectors */
};

struct vdisk_params {
	u64 file_len;		/* bytes of the file or device */
	u64 start_off;		/* raw: byte where the disk starts in the file */
	u64 size_sec;		/* raw, zero, error: length; others: 0, or what the
				 * descriptor says, checked against the header
				 */
	enum vdisk_size_rule size_rule;
	bool write;		/* opened for writing */
	bool device;		/* a block device: the image may end before it */
	bool lenient;		/* only the geometry is looked at: tell what can be
				 * told of a damaged header (GEOM_RDONLY says why)
				 */
};

enum vdisk_geom_flags {
	VDISK_GEOM_PARENT = 1 << 0,	/* holes belong to a parent that must exist */
	VDISK_GEOM_DIRTY = 1 << 1,	/* found marked as not closed */
	VDISK_GEOM_RDONLY = 1 << 2,	/* must not be written: why_ro says why */
	VDISK_GEOM_MARK = 1 << 3,	/* mark() before the first change */
	VDISK_GEOM_SCAN = 1 << 4,	/* alloc_off is not known: walk() for it */
	VDISK_GEOM_PACKED = 1 << 5,	/* units are compressed on the way in */
	VDISK_GEOM_NO_ALLOC = 1 << 6,	/* every sector has its place: raw */
	VDISK_GEOM_NO_TAIL = 1 << 7,	/* @tail need not be found: a device's end is
					 * not the image's
					 */
	VDISK_GEOM_STAMP = 1 << 8,	/* mark(true), then mark(false), once and
					 * durably before the first write, in place
					 * or not: something says that the contents
					 * are as they were
					 */
};

/* An opened image. Immutable; copied freely; holds no pointers into views. */
struct vdisk_geom {
	u64 size_sec;		/* the virtual disk */
	u64 unit_sec;		/* guest sectors in a unit; any number > 0 */
	u64 unit_len;		/* bytes a unit takes in the file */
	u64 unit_align;		/* where units may start: base + n * align */
	u64 unit_base;
	u64 data_off;		/* no unit or new table below this byte */
	u64 data_end;		/* no unit ends above this byte at open */
	u64 alloc_off;		/* appending starts here unless GEOM_SCAN */
	u32 tail_len;		/* bytes of @tail that stay behind all units */
	u32 flags;
	const char *why_ro;	/* constant phrase, with GEOM_RDONLY */
	u64 ro_value;		/* the number that belongs to it */
	u8 id[16];		/* the image's own id as stored, or zeroes */
	u8 parent_id[16];	/* the parent's, with GEOM_PARENT */
	u8 tail[VDISK_TAIL_MAX];	/* VHD: the footer */
	u64 priv[VDISK_GEOM_PRIV];	/* the format's own numbers */
};

enum vdisk_kind {
	VDISK_DATA,		/* at off in the file */
	VDISK_ZERO,		/* reads zero, whatever a parent holds */
	VDISK_PARENT,		/* not here: the next layer down, or zero */
	VDISK_DEFLATE,		/* in the compressed unit at off */
	VDISK_ERROR,		/* EIO by declaration, not by corruption */
};

/* A run of guest sectors of one kind. */
struct vdisk_extent {
	enum vdisk_kind kind;
	u32 len;		/* DEFLATE: bytes that hold the unit, at most */
	u64 sectors;		/* how long the run is, > 0 */
	u64 off;
	u64 skip_sec;		/* DEFLATE: sectors of the unit before the run */
};

enum vdisk_phase {
	VDISK_BEFORE,
	VDISK_IN_DATA,
	VDISK_PUBLISH,
};

enum vdisk_op_kind {
	VDISK_OP_SET,		/* count integers of width bytes from off on, the
				 * i-th being value + i * step
				 */
	VDISK_OP_BITS,		/* count bits from bit value on of the bitmap at
				 * off, most significant first, become step & 1
				 */
	VDISK_OP_ZERO,		/* value bytes at off become zero */
	VDISK_OP_TAIL,		/* geom->tail goes to off */
	VDISK_OP_LENGTH,	/* the file is off bytes long, grown or cut; on a
				 * device: a check that it is not longer
				 */
};

/* One update. Fixed size, no pointers: print it, compare it, replay it. */
struct vdisk_op {
	u8 phase;		/* enum vdisk_phase */
	u8 kind;		/* enum vdisk_op_kind */
	u8 width;		/* SET: 1 to 8 */
	bool big;		/* SET: big endian */
	u32 count;
	u64 off;
	u64 value;
	u64 step;
};

/*
 * An allocating write. Guest sector @first_sec of the first unit made lies at
 * @first_off, the others behind it without a gap, @made_sec sectors in all (the
 * last may reach past the disk's end). The guest's own sectors are the first
 * @sectors of those asked for, at @data_off. What lies between is fill.
 *
 * @freed_off, @freed_len: bytes of the file that nothing refers to once PUBLISH
 * is durable: of a discard, or of a compressed unit that was written anew.
 */
enum vdisk_fill {
	VDISK_FILL_NONE,	/* the rest of the unit is not read from here */
	VDISK_FILL_ZERO,	/* the rest must be zero in the file */
	VDISK_FILL_PARENT,	/* the rest must be what the layers below hold, or
				 * zero where there is none
				 */
};

struct vdisk_plan {
	u32 nr;
	enum vdisk_fill fill;
	u64 sectors;		/* of the request, from its start: > 0 */
	u64 data_off;
	u64 first_sec;
	u64 made_sec;
	u64 first_off;
	u64 freed_off;
	u64 freed_len;
	struct vdisk_op op[VDISK_MAX_OPS];
};

/*
 * What to write. @packed_len: with GEOM_PACKED, bytes of the compressed unit
 * (the caller has read, merged and deflated it); else 0.
 */
struct vdisk_ask {
	u64 sector;
	u64 sectors;
	u32 packed_len;
};

enum vdisk_range_kind {
	VDISK_RANGE_META,	/* header, descriptor, locator, footer */
	VDISK_RANGE_TABLE,
	VDISK_RANGE_UNIT,
};

/* A part of the file with an owner. */
struct vdisk_range {
	enum vdisk_range_kind kind;
	u64 off;
	u64 len;		/* 0 = the walk is over */
	u64 sector;		/* UNIT: first guest sector it holds */
};

/* One line of what `vdisk info` tells of an image. */
enum vdisk_fact_kind {
	VDISK_FACT_NUM,
	VDISK_FACT_TEXT,
	VDISK_FACT_BOOL,
	VDISK_FACT_ID,		/* 16 bytes in text[] */
};

struct vdisk_fact {
	const char *name;	/* lower case, '-' between words */
	enum vdisk_fact_kind kind;
	u64 num;
	char text[64];		/* NUL ended, unless an ID; not escaped */
};

/* A fact that is a word of geom->priv; BOOL: if it has one of @bits, or any. */
struct vdisk_fact_row {
	const char *name;
	enum vdisk_fact_kind kind;
	u32 from;
	u64 bits;
};

enum vdisk_format_flags {
	VDISK_FORMAT_NO_FILE = 1 << 0,	/* zero, error: an extent without a file */
	VDISK_FORMAT_NO_PROBE = 1 << 1,	/* only ever by name: raw */
};

struct vdisk_format {
	const char *name;
	const char *alias;	/* a second name, or NULL */
	u32 flags;

	/*
	 * How surely the bytes are of this format: 0 not at all, 100 surely. @head
	 * is the file's beginning, @tail its last bytes (512 if there are as many,
	 * and the odd bytes of a length that is no multiple of 512 with them, so
	 * up to 1023). probe.h asks about one end at a time. Optional.
	 */
	int (*probe)(const u8 *head, u32 head_len, const u8 *tail, u32 tail_len);

	/* Step. Check the header and fill the geometry. Required. */
	int (*open)(const struct vdisk_params *params, struct vdisk_step *step,
		    struct vdisk_geom *geom);

	/*
	 * Step. Where @sectors guest sectors from @sector on are: the first run,
	 * as long as the views at hand prove. The caller keeps the range inside
	 * geom->size_sec. The hot path: no division but by unit_sec. Required.
	 */
	int (*map)(const struct vdisk_geom *geom, struct vdisk_step *step,
		   u64 sector, u64 sectors, struct vdisk_extent *extent);

	/*
	 * Step. A plan that gives the sectors from ask->sector on a place to be
	 * written; it may cover fewer than asked. Called where map() did not say
	 * DATA; if there is a place all the same, the plan is empty and data_off
	 * is it. Optional: without it the image is only written in place.
	 */
	int (*alloc)(const struct vdisk_geom *geom, struct vdisk_step *step,
		     const struct vdisk_ask *ask, struct vdisk_plan *plan);

	/*
	 * Step. A plan after which the first plan->sectors of the range read zero
	 * and whole units among them are free: only PUBLISH ops and freed_*.
	 * @unmap: no layer lies below, so a hole is as good as a zero. plan->nr ==
	 * 0 says that for the first plan->sectors the format has no way, or nothing
	 * to do: a caller that has not looked writes zeroes. Called where map()
	 * said something else than ZERO. Optional.
	 */
	int (*discard)(const struct vdisk_geom *geom, struct vdisk_step *step,
		       u64 sector, u64 sectors, bool unmap,
		       struct vdisk_plan *plan);

	/*
	 * Step. BEFORE ops that say "in use" (@dirty) or that all is well. An
	 * image is marked dirty before the first plan of a dirty period runs, and
	 * clean after the last one's PUBLISH is durable. Optional.
	 */
	int (*mark)(const struct vdisk_geom *geom, struct vdisk_step *step,
		    bool dirty, struct vdisk_plan *plan);

	/*
	 * Step. BEFORE ops after which units may lie anywhere below @new_end, which
	 * becomes step->data_end. The file is then new_end + tail_len long (a
	 * device: at least). Required with alloc.
	 */
	int (*grow)(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 new_end, struct vdisk_plan *plan);

	/*
	 * Step. The reverse, when no unit or table lies above @end: ops that are
	 * BEFORE (to be made durable) and then PUBLISH. Optional.
	 */
	int (*trim)(const struct vdisk_geom *geom, struct vdisk_step *step, u64 end,
		    struct vdisk_plan *plan);

	/*
	 * Step. Enumerates what the image owns. *@cursor is 0 at first and opaque
	 * after; every call gives one range, in no order. Units that follow each
	 * other in the disk and in the file may be one range, unless they are
	 * compressed; the last may be shorter than unit_len. A bad entry is -EUCLEAN,
	 * with *@cursor moved past it: the walk may go on. *@range then says whose
	 * it is: UNIT or TABLE, @sector the first it speaks of, @off what it says,
	 * @len 0; META if it is no entry. Required.
	 */
	int (*walk)(const struct vdisk_geom *geom, struct vdisk_step *step,
		    u64 *cursor, struct vdisk_range *range);

	/*
	 * Where in the record of a compressed unit the stream lies: @bytes is what
	 * map() pointed at, @len what was read of it. Returns 0 or -EUCLEAN with
	 * step->why. Required if map() answers DEFLATE.
	 */
	int (*unpack)(const struct vdisk_geom *geom, struct vdisk_step *step,
		      u64 sector, const u8 *bytes, u32 len, u32 *stream_off,
		      u32 *stream_len);

	/* The i-th fact; false past the last. Optional. */
	bool (*fact)(const struct vdisk_geom *geom, u32 i,
		     struct vdisk_fact *fact);
};

/* The formats this build knows, ended by NULL. */
extern const struct vdisk_format *const vdisk_formats[];

extern const struct vdisk_format vdisk_raw_format;
extern const struct vdisk_format vdisk_zero_format;
extern const struct vdisk_format vdisk_error_format;
extern const struct vdisk_format vdisk_vhd_format;
extern const struct vdisk_format vdisk_vmdk_format;
extern const struct vdisk_format vdisk_cowd_format;
extern const struct vdisk_format vdisk_sesparse_format;
extern const struct vdisk_format vdisk_parallels_format;
extern const struct vdisk_format vdisk_qed_format;

/* By name or alias, exactly; NULL if unknown. */
const struct vdisk_format *vdisk_format_find(const char *name);

/*
 * For formats. vdisk_want(): a pointer to [off, off + len) inside one view, or
 * NULL with the need set: return -EAGAIN then. vdisk_copy(): the same bytes to
 * @dst, from several views, any length up to 2 blocks; 0 or -EAGAIN.
 */
const u8 *vdisk_want(struct vdisk_step *step, u64 off, u32 len);
int vdisk_copy(struct vdisk_step *step, u64 off, void *dst, u32 len);

/* As much as a view at hand holds from @off on, up to @len: its length, or 0. */
u32 vdisk_have(const struct vdisk_step *step, u64 off, u32 len,
	       const u8 **data);

/* How many of @n entries of 4 bytes from @p on are @first, @first + @add, ... */
u64 vdisk_count_up(const u8 *p, u64 n, u32 first, u32 add, bool big);

/* For fact(): the i-th of @nr rows; false past the last. */
bool vdisk_fact_of(const struct vdisk_geom *geom,
		   const struct vdisk_fact_row *rows, u32 nr, u32 i,
		   struct vdisk_fact *fact);

/* Set why and value; returns -EUCLEAN. */
int vdisk_bad(struct vdisk_step *step, const char *why, u64 value);

/* The same, of a checksum that should be @right. */
int vdisk_bad_sum(struct vdisk_step *step, const char *why, u64 stored,
		  u64 right);

/* The same, and step->full: what it is asked for has no place in the format. */
int vdisk_full(struct vdisk_step *step, const char *why, u64 value);

/*
 * Ask for space: true if step->unit (->table) already answers, else the need
 * is set: return -EAGAIN then.
 */
bool vdisk_want_unit(struct vdisk_step *step, const struct vdisk_geom *geom,
		     u32 len, u32 count);
bool vdisk_want_table(struct vdisk_step *step, u32 len, u64 align, u64 base);

/* Append to a plan. A plan never overflows: formats state their maximum. */
void vdisk_plan_set(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off,
		    u32 width, bool big, u32 count, u64 value, u64 step);
void vdisk_plan_bits(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off,
		     u64 first, u32 count, bool value);
void vdisk_plan_zero(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off,
		     u64 len);
void vdisk_plan_tail(struct vdisk_plan *plan, enum vdisk_phase phase, u64 off);
void vdisk_plan_length(struct vdisk_plan *plan, enum vdisk_phase phase,
		       u64 off);

/*
 * For who runs plans. vdisk_op_range(): the bytes of the file that @op changes;
 * none for a LENGTH. vdisk_op_apply(): do it to @buf, which is the file from @off
 * on, as far as they overlap. vdisk_plan_together(): how many ops from the @i-th on
 * must go to the file in one write, since a crash must not separate them: those of
 * its phase that follow it and lie in the same sector.
 */
void vdisk_op_range(const struct vdisk_geom *geom, const struct vdisk_op *op,
		    u64 *off, u64 *len);
void vdisk_op_apply(const struct vdisk_geom *geom, const struct vdisk_op *op,
		    u64 off, u8 *buf, u64 len);
u32 vdisk_plan_together(const struct vdisk_geom *geom,
			const struct vdisk_plan *plan, u32 i);

#endif /* _VDISK_FORMAT_H */
