// SPDX-License-Identifier: GPL-2.0-or-later
/* Signals, one way for all verbs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "progress.h"
#include "signals.h"

/* Besides those of timers and of users, from SIGRTMIN on. */
static const int deadly[] = {
	SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR2,
	SIGXCPU, SIGIO, SIGPWR, SIGSTKFLT,
};

#define NR_DEADLY (sizeof(deadly) / sizeof(deadly[0]))

/* Opened for what it is not used for: whoever uses it sees an error. */
static void guard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static void ask(int sig)
{
	progress_ask();
}

static void catch_one(int sig, const struct sigaction *action)
{
	struct sigaction was;

	if (!sigaction(sig, NULL, &was) && was.sa_handler != SIG_IGN)
		sigaction(sig, action, NULL);
}

void signals_start(void)
{
	struct sigaction action = { .sa_handler = ask, .sa_flags = SA_RESTART };

	guard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	catch_one(SIGUSR1, &action);
}

void signals_catch(void (*handler)(int sig))
{
	struct sigaction action = {
		.sa_handler = handler, .sa_flags = SA_RESTART,
	};
	size_t i;
	int sig;

	sigfillset(&action.sa_mask);
	for (i = 0; i < NR_DEADLY; i++)
		catch_one(deadly[i], &action);
	for (sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		catch_one(sig, &action);
}

void signals_hold(sigset_t *old)
{
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, old);
}

bool signals_wait(void)
{
	sigset_t set;
	size_t i;

	if (sigpending(&set))
		return false;
	for (i = 0; i < NR_DEADLY; i++)
		if (sigismember(&set, deadly[i]) == 1)
			return true;
	return false;
}

void signals_let(const sigset_t *old)
{
	sigprocmask(SIG_SETMASK, old, NULL);
}
