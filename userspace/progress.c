// SPDX-License-Identifier: GPL-2.0-or-later
/* How far long work has come. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

#define WIDTH 40
#define FIRST_MS 500	/* what is over before it shows no bar */
#define EACH_MS 100

static volatile sig_atomic_t asked;

static struct {
	u64 began, next;	/* ms; 0 = not yet */
	bool shown, held;
	int terminal;		/* 0 = not known, 1 yes, -1 no */
	bool wished;		/* from the start, whatever stderr is */
} state;

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static int percent(u64 done, u64 all)
{
	return (int)((double)vdisk_min(done, all) / (double)all * 100);
}

void progress_ask(void)
{
	asked = 1;
}

void progress_wish(int wish)
{
	if (wish)
		state.terminal = wish;
	state.wished = wish > 0;
}

void progress_show(const char *what, u64 done, u64 all)
{
	u64 now;
	int n;

	if (asked && !state.held && all) {
		asked = 0;
		progress_clear();
		fprintf(stderr, "vdisk: %s: %d%%\n", what, percent(done, all));
	}
	if (!state.terminal)
		state.terminal = isatty(STDERR_FILENO) ? 1 : -1;
	if (state.terminal < 0 || state.held || !all)
		return;
	now = now_ms();
	if (!state.began) {
		state.began = now;
		state.next = now + (state.wished ? 0 : FIRST_MS);
	}
	if (now < state.next)
		return;
	state.next = now + EACH_MS;
	state.shown = true;
	done = vdisk_min(done, all);
	n = (int)((double)done / (double)all * WIDTH);
	fprintf(stderr, "\r%-10s [%.*s%*s] %3d%%", what, n,
		"########################################", WIDTH - n, "",
		percent(done, all));
	fflush(stderr);
}

void progress_hold(bool hold)
{
	state.held = hold;
}

void progress_clear(void)
{
	if (state.shown)
		fprintf(stderr, "\r\033[K");
	state.shown = false;
}
