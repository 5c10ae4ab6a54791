// SPDX-License-Identifier: GPL-2.0
/* A bar on a terminal, after a moment; in a pipe never anything. */
#define _GNU_SOURCE
#include "test.h"
#include "../../userspace/progress.c"
#include <fcntl.h>
#include <stdlib.h>

/* Show half of the work for so long, then take the bar away: what was said. */
static const char *said_to(int in, int out, int ms)
{
	static char text[65536];
	const struct timespec tick = { .tv_nsec = 10000000 };
	int old = dup(STDERR_FILENO);
	size_t len = 0;
	ssize_t n;

	memset(&state, 0, sizeof(state));
	dup2(out, STDERR_FILENO);
	for (; ms > 0; ms -= 10) {
		progress_show("checking", 1, 2);
		nanosleep(&tick, NULL);
	}
	progress_clear();
	progress_clear();
	dup2(old, STDERR_FILENO);
	close(old);
	fcntl(in, F_SETFL, O_NONBLOCK);
	while ((n = read(in, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	return text;
}

int main(void)
{
	int pty = posix_openpt(O_RDWR | O_NOCTTY), tty = -1, pair[2];
	const char *text;

	if (pty >= 0 && !grantpt(pty) && !unlockpt(pty))
		tty = open(ptsname(pty), O_RDWR | O_NOCTTY);
	if (tty < 0 || pipe(pair)) {
		T_SKIP("a bar on a terminal", "no terminal to be had");
		return T_DONE();
	}
	text = said_to(pty, tty, 900);
	T_OK(strstr(text, "checking   [####################  "),
	     "half a bar on a terminal");
	T_OK(strstr(text, "]  50%"), "and how much it is");
	T_OK(strlen(text) > 3 && !strcmp(text + strlen(text) - 3, "\033[K"),
	     "it is taken away");
	text = said_to(pty, tty, 50);
	T_STR(text, "", "nothing for what takes a moment");
	text = said_to(pair[0], pair[1], 900);
	T_STR(text, "", "nothing in a pipe");
	return T_DONE();
}
