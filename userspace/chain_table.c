// SPDX-License-Identifier: GPL-2.0-or-later
/* A chain as a table line, and whether it is fit to be written. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "chain.h"
#include "out.h"
#include "own.h"

/*
 * The kernel cuts a line where its own isspace() says, which in its Latin-1
 * table means byte 0xa0, too: half of many a UTF-8 character.
 */
static void put_path(FILE *to, const char *path)
{
	for (; *path; path++) {
		if (strchr(" \t\n\v\f\r\\#\xa0", *path))
			fprintf(to, "\\%03o", (unsigned char)*path);
		else
			putc(*path, to);
	}
}

static void put_part(FILE *to, const struct chain_part *part,
		     const struct verb_options *opt, bool by_fd)
{
	bool size = opt->size_name && !strcmp(part->format->name, "vhd");

	fprintf(to, " %llu %s ", (unsigned long long)part->sectors,
		part->format->name);
	if (!part->path) {
		fputs("0", to);
		return;
	}
	fprintf(to, "%d ", 1 + size + !!part->offset_sec);
	if (by_fd)
		fprintf(to, "fd:%d", part->fd);
	else
		put_path(to, part->path);
	if (part->offset_sec)
		fprintf(to, " offset=%llu",
			(unsigned long long)part->offset_sec);
	if (size)
		fprintf(to, " size=%s", opt->size_name);
}

/*
 * A VMDK's content id changes before the first write, so that children see it.
 * The kernel does it; it parses no text, so it is told where, and what.
 */
static void put_stamp(FILE *to, const struct chain_layer *layer, bool by_fd)
{
	const struct descriptor *desc = layer->desc;
	const u32 mask = desc->cid_len < 8 ? (1u << 4 * desc->cid_len) - 1 : ~0u;
	u32 cid;

	do {
		if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
			cid = desc->cid + 1;
		cid &= mask;
	} while (cid == desc->cid || cid >= DESCRIPTOR_LONG_CID);
	fprintf(to, " stamp=%llu:%0*x:",
		(unsigned long long)(layer->text_off + desc->cid_at),
		(int)desc->cid_len, cid);
	if (by_fd)
		fprintf(to, "fd:%d", layer->text_fd >= 0 ? layer->text_fd :
						  layer->part[0].fd);
	else
		put_path(to, layer->path);
}

static bool one_line(const char *path)
{
	if (!strchr(path, '\n'))
		return true;
	out_error(path, "A table cannot name a file with a line end in its name");
	return false;
}

char *chain_table(const struct chain *chain, const struct verb_options *opt,
		  bool by_fd)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);
	unsigned int i, j;
	const char *path;
	bool stamp, good = true;
	unsigned int k, n;

	if (!to)
		return NULL;
	fprintf(to, "%s %u", chain->flags & CHAIN_WRITE ? "rw" : "ro",
		chain->nr);
	for (i = chain->nr; i--;) {
		fprintf(to, " %u", chain->layer[i].nr);
		for (j = 0; j < chain->layer[i].nr; j++) {
			path = chain->layer[i].part[j].path;
			good &= by_fd || !path || one_line(path);
			put_part(to, &chain->layer[i].part[j], opt, by_fd);
		}
	}
	stamp = chain->flags & CHAIN_WRITE && chain->layer[0].desc;
	n = opt->commit_given + opt->buffered + stamp;
	for (k = 0; k < VERB_SPACE; k++)
		n += !!opt->space[k];
	if (n)
		fprintf(to, " %u", n);
	if (opt->commit_given)
		fprintf(to, " commit=%u", opt->commit_ms);
	if (opt->buffered)
		fputs(" buffered", to);
	for (k = 0; k < VERB_SPACE; k++)
		if (opt->space[k])
			fprintf(to, " %s=%s", verb_space[k], opt->space[k]);
	if (stamp)
		put_stamp(to, &chain->layer[0], by_fd);
	good &= !stamp || by_fd || one_line(chain->layer[0].path);
	fclose(to);
	if (good)
		return text;
	free(text);
	return NULL;
}

/* More tables than this take longer to look at than a user waits. */
#define LOOK_MOST (64u << 20)

static bool tell_first(void *arg, const char *what)
{
	out_error(arg, "%s (see vdisk check)", what);
	return false;
}

static bool is_first(void *arg, const char *what)
{
	return false;
}

static bool look(const struct chain *chain,
		 bool (*say)(void *arg, const char *what))
{
	const struct chain_layer *top = &chain->layer[0];
	struct own_options opt = { .table_limit = LOOK_MOST, .say = say };
	struct own_report rep;
	unsigned int i;

	for (i = 0; i < top->nr; i++) {
		/* Of an image of one file the user knows the name he gave. */
		opt.arg = top->nr > 1 ? top->part[i].path : (char *)chain->image;
		if (own_check(top->part[i].image, &opt, &rep) < 0) {
			if (say == tell_first)
				out_error(opt.arg, "%s", chain->fault.text);
			return false;
		}
		if (rep.bad || rep.overlaps)
			return false;
	}
	return true;
}

bool chain_check(const struct chain *chain)
{
	return chain->flags & CHAIN_CHECKED || look(chain, tell_first);
}

bool chain_is_sound(const struct chain *chain)
{
	return look(chain, is_first);
}
