// SPDX-License-Identifier: GPL-2.0
/*
 * The flip ring: every bit of an image's headers and first tables is flipped, one
 * at a time, in memory, and the image is opened, looked at, read, repaired, read,
 * repaired again and put back.
 *
 *	flip [--every N] [--bit BYTE.BIT] <LINES of images.py
 *
 * What is demanded of each flip:
 *
 *	Each of these ends in a right answer or in a phrase with a value.
 *	What read as before the flip still does so after the repair.
 *	What a repair did a second one does not find again.
 *	Putting back leaves the file as it was, to the bit and in length.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../userspace/out.h"
#include "../../userspace/repair.h"
#include "../../userspace/undo.h"

#define MOST_RANGES 16

struct range {
	u64 off, len;
};

struct subject {
	char name[64];
	const struct vdisk_format *format;
	char file[512];
	u64 said;
	struct range range[MOST_RANGES];
	unsigned int nr;

	struct vdisk_store *store;
	u8 *disk;		/* what it reads */
	u64 sectors;
	u64 unit_sec;
};

/* What is read of an image: of each unit, whether and what. */
struct content {
	u8 *disk;
	bool *read;
	u64 sectors;		/* 0: does not open */
	u64 good;		/* units that read as the sound image's */
};

struct tally {
	u64 flips, opened, whole, repaired, refused, undone;
	unsigned int wrong;
	char why[300];
};

static void nothing(void *arg, const char *fault, const char *done)
{
}

static void wrong(struct tally *t, u64 off, u32 bit, const char *what,
		  const char *detail)
{
	if (!t->wrong++)
		snprintf(t->why, sizeof(t->why), "byte %llu bit %u: %s: %s",
			 (unsigned long long)off, bit, what, detail);
}

static struct vdisk_image_opts opts_of(const struct subject *s)
{
	return (struct vdisk_image_opts){ .size_sec = s->said };
}

static void free_content(struct content *c)
{
	free(c->disk);
	free(c->read);
}

static void read_units(const struct subject *s, struct vdisk_image *image,
		       struct vdisk_disk *disk, struct content *c)
{
	u64 sector, n, i = 0;

	for (sector = 0; sector < c->sectors; sector += n, i++) {
		n = vdisk_min(s->unit_sec, c->sectors - sector);
		c->read[i] = !vdisk_disk_read(disk, sector,
					      c->disk + sector * VDISK_SECTOR,
					      n);
		if (sector + n > s->sectors)
			continue;
		c->good += c->read[i] && s->disk &&
			   !memcmp(c->disk + sector * VDISK_SECTOR,
				   s->disk + sector * VDISK_SECTOR,
				   n * VDISK_SECTOR);
	}
}

/* As far as the sound image goes; what is longer by a flip is not read. */
static void read_all(const struct subject *s, struct vdisk_store *store,
		     u64 most, struct content *c, struct vdisk_fault *fault)
{
	struct vdisk_image_opts opts = opts_of(s);
	struct vdisk_image *image;
	struct vdisk_disk *disk;

	*c = (struct content){ 0 };
	*fault->text = 0;
	if (vdisk_image_open(&image, s->format, store, &opts, fault))
		return;
	c->sectors = vdisk_min(image->geom.size_sec, most);
	c->disk = out_alloc(c->sectors + 1, VDISK_SECTOR);
	c->read = out_alloc(c->sectors + 1, 1);
	if (vdisk_disk_new(&disk, fault) || vdisk_disk_push(disk) ||
	    vdisk_disk_add(disk, image, 0))
		exit(2);
	read_units(s, image, disk, c);
	vdisk_disk_drop(disk);
}

/* Each unit that read right reads so still. */
static bool keeps(const struct subject *s, const struct content *before,
		  const struct content *after)
{
	u64 sector, n, i = 0, at;

	for (sector = 0; sector < before->sectors; sector += n, i++) {
		n = vdisk_min(s->unit_sec, before->sectors - sector);
		at = sector * VDISK_SECTOR;
		if (sector + n > s->sectors || !before->read[i] ||
		    memcmp(before->disk + at, s->disk + at, n * VDISK_SECTOR))
			continue;
		if (sector + n > after->sectors || !after->read[i] ||
		    memcmp(after->disk + at, s->disk + at, n * VDISK_SECTOR))
			return false;
	}
	return true;
}

/* Like check [--repair]: 0 and what is left, or 1 with the fault set. */
static int check(const struct subject *s, struct vdisk_store *trial, bool write,
		 struct repair *repair, struct vdisk_fault *fault)
{
	struct vdisk_image_opts opts = opts_of(s);
	struct vdisk_image *image;
	int r;

	*repair = (struct repair){ .write = write, .say = nothing };
	*fault->text = 0;
	repair_heads(repair, NULL, s->format, trial, &opts);
	r = vdisk_image_open(&image, s->format, trial, &opts, fault);
	if (!r) {
		r = repair_image(repair, image);
		vdisk_image_drop(image);
	}
	repair_tell(repair);
	return r;
}

static int open_again(void *arg, struct undo_file *file)
{
	file->store = arg;
	return 0;
}

static bool is_flipped(const struct subject *s, struct vdisk_store *store,
		       u64 off, u32 bit)
{
	u8 was[VDISK_BLOCK], now[VDISK_BLOCK];
	u64 at, n;

	if (store->length != s->store->length)
		return false;
	for (at = 0; at < store->length; at += n) {
		n = vdisk_min(store->length - at, VDISK_BLOCK);
		if (vdisk_store_read(s->store, at, was, n) ||
		    vdisk_store_read(store, at, now, n))
			return false;
		if (off >= at && off < at + n)
			was[off - at] ^= (u8)(1 << bit);
		if (memcmp(was, now, n))
			return false;
	}
	return true;
}

/* Commit the repair with an undo file; the file's bytes to *@undo. */
static int commit(struct vdisk_store *trial, char **undo, size_t *len)
{
	struct undo_file file = { .path = "image", .inode = 7, .store = trial };
	FILE *f = open_memstream(undo, len);
	int r;

	if (!f)
		exit(2);
	r = undo_write(f, 7, &file, 1);
	fclose(f);
	return r ? r : repair_trial_apply(trial);
}

static void put_back(const struct subject *s, struct vdisk_store *flipped,
		     char *undo, size_t len, u64 off, u32 bit, struct tally *t)
{
	struct vdisk_fault fault;
	FILE *f = fmemopen(undo, len, "r");

	if (!f)
		exit(2);
	*fault.text = 0;
	if (undo_apply(f, 7, open_again, flipped, &fault))
		wrong(t, off, bit, "not put back", fault.text);
	else if (!is_flipped(s, flipped, off, bit))
		wrong(t, off, bit, "put back", "but not as it was");
	else
		t->undone++;
	fclose(f);
}

static void repair_it(const struct subject *s, struct vdisk_store *flipped,
		      u64 off, u32 bit, const struct content *before,
		      struct tally *t)
{
	struct vdisk_store *trial = repair_trial_new(flipped);
	struct vdisk_fault fault;
	struct content after;
	struct repair repair;
	char *undo = NULL;
	size_t len;
	int r;

	r = check(s, trial, true, &repair, &fault);
	if (r && !*fault.text)
		wrong(t, off, bit, "a repair that fails", "says nothing");
	if (r || !repair_trial_changes(trial)) {
		t->refused += r || repair.faults;
		vdisk_store_close(trial);
		return;
	}
	t->repaired++;
	if (commit(trial, &undo, &len))
		wrong(t, off, bit, "not committed", "");
	vdisk_store_close(trial);
	read_all(s, flipped, s->sectors, &after, &fault);
	if (!keeps(s, before, &after))
		wrong(t, off, bit, "what was read before reads otherwise",
		      fault.text);
	free_content(&after);

	trial = repair_trial_new(flipped);
	r = check(s, trial, true, &repair, &fault);
	if (r || repair_trial_changes(trial))
		wrong(t, off, bit, "a second repair", r ? fault.text :
		      "finds something");
	vdisk_store_close(trial);
	put_back(s, flipped, undo, len, off, bit, t);
	free(undo);
}

static void flip(const struct subject *s, u64 off, u32 bit, struct tally *t)
{
	struct vdisk_store *flipped = repair_trial_new(s->store), *trial;
	struct vdisk_fault fault;
	struct content before;
	struct repair repair;
	u8 byte;
	int r;

	t->flips++;
	if (vdisk_store_read(s->store, off, &byte, 1))
		exit(2);
	byte ^= (u8)(1 << bit);
	if (vdisk_store_write(flipped, off, &byte, 1))
		exit(2);
	read_all(s, flipped, s->sectors, &before, &fault);
	if (!before.sectors && !*fault.text)
		wrong(t, off, bit, "an image that does not open", "says nothing");
	t->opened += !!before.sectors;
	t->whole += before.sectors == s->sectors &&
		    before.good == vdisk_div_up(s->sectors, s->unit_sec);
	trial = repair_trial_new(flipped);
	r = check(s, trial, false, &repair, &fault);
	if (r && !*fault.text)
		wrong(t, off, bit, "a check that fails", "says nothing");
	vdisk_store_close(trial);
	if (!is_flipped(s, flipped, off, bit))
		wrong(t, off, bit, "a check", "changes the image");
	repair_it(s, flipped, off, bit, &before, t);
	free_content(&before);
	vdisk_store_close(flipped);
}

/*-----------------------------------------------------------------*/

static bool parse(char *line, struct subject *s)
{
	char *word = strtok(line, " \n");
	unsigned int i;

	*s = (struct subject){ 0 };
	for (i = 0; word; word = strtok(NULL, " \n"), i++) {
		if (i == 0)
			snprintf(s->name, sizeof(s->name), "%s", word);
		else if (i == 1)
			s->format = vdisk_format_find(word);
		else if (i == 2)
			snprintf(s->file, sizeof(s->file), "%s", word);
		else if (i == 4)
			s->said = strtoull(word, NULL, 10);
		else if (i > 4 && s->nr < MOST_RANGES)
			s->nr += sscanf(word, "%llu:%llu",
					(unsigned long long *)&s->range[s->nr].off,
					(unsigned long long *)&s->range[s->nr].len) == 2;
	}
	return s->format && s->nr;
}

static bool read_sound(struct subject *s)
{
	struct vdisk_image_opts opts = opts_of(s);
	struct vdisk_store *file, *trial;
	int fd = open(s->file, O_RDONLY);
	struct vdisk_fault fault;
	struct vdisk_image *image;
	struct content c;
	struct repair repair;
	u8 *bytes;
	int r;

	if (fd < 0 || vdisk_store_file(fd, &file))
		return false;
	/* In memory from now on: a trial over nothing. */
	bytes = out_alloc(1, file->length);
	s->store = repair_trial_new(file);
	if (vdisk_store_read(file, 0, bytes, file->length) ||
	    vdisk_store_write(s->store, 0, bytes, file->length))
		return false;
	free(bytes);
	if (vdisk_image_open(&image, s->format, s->store, &opts, &fault))
		return false;
	s->unit_sec = image->geom.flags & VDISK_GEOM_NO_ALLOC ? 64 :
		      image->geom.unit_sec;
	s->sectors = image->geom.size_sec;
	vdisk_image_drop(image);
	read_all(s, s->store, s->sectors, &c, &fault);
	s->disk = c.disk;
	free(c.read);
	trial = repair_trial_new(s->store);
	r = check(s, trial, true, &repair, &fault);
	vdisk_store_close(trial);
	return !r && !repair.faults && !repair.mended && !repair.rep.leaks;
}

static void all_flips(struct subject *s, u64 every, struct tally *t)
{
	u64 at, bits = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		for (at = 0; at < s->range[i].len * 8; at++, bits++)
			if (bits % every == 0 &&
			    s->range[i].off + at / 8 < s->store->length)
				flip(s, s->range[i].off + at / 8, at % 8, t);
}

int main(int argc, char **argv)
{
	u64 every = argc > 2 && !strcmp(argv[1], "--every") ?
		    strtoull(argv[2], NULL, 10) : 1;
	const char *one = argc > 2 && !strcmp(argv[1], "--bit") ? argv[2] : NULL;
	unsigned int point = 0, failed = 0;
	struct subject s;
	struct tally t;
	char line[2048];
	u64 off;
	u32 bit;

	printf("TAP version 13\n");
	while (fgets(line, sizeof(line), stdin)) {
		t = (struct tally){ 0 };
		if (!parse(line, &s) || !read_sound(&s))
			wrong(&t, 0, 0, "no sound image", s.name);
		else if (one && sscanf(one, "%llu.%u",
				       (unsigned long long *)&off, &bit) == 2)
			flip(&s, off, bit, &t);
		else
			all_flips(&s, every ? every : 1, &t);
		printf("%sok %u %s: %llu flips, %llu opened, %llu read as before, %llu repaired, %llu left, %llu put back\n",
		       t.wrong ? "not " : "", ++point, s.name,
		       (unsigned long long)t.flips, (unsigned long long)t.opened,
		       (unsigned long long)t.whole,
		       (unsigned long long)t.repaired,
		       (unsigned long long)t.refused,
		       (unsigned long long)t.undone);
		if (t.wrong)
			printf("# %u wrong, the first: %s\n", t.wrong, t.why);
		fflush(stdout);
		failed += !!t.wrong;
	}
	printf("1..%u\n", point);
	return failed || !point;
}
