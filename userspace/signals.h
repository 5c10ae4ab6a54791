/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals, one way for all verbs. Those that would end the program, but for KILL
 * and for those that tell of a fault in it, are one set: what makes files removes
 * them and dies of the signal; what changes an image in place stops where that
 * does no harm; while a device is suspended all of them wait.
 */
#ifndef _VDISK_SIGNALS_H
#define _VDISK_SIGNALS_H

#include <signal.h>
#include "../formats/env.h"

/*
 * Before anything is opened: descriptors 0 to 2 are there, so that no file gets
 * one of them and with it what is said; a pipe that closes and a limit on the
 * length of files are errors of that write; USR1 asks for the progress.
 */
void signals_start(void);

/* What would end the program calls @handler; what is ignored, as by nohup, stays so. */
void signals_catch(void (*handler)(int sig));

/* All signals wait until signals_let(). */
void signals_hold(sigset_t *old);
void signals_let(const sigset_t *old);

/* Does one wait that would end the program? */
bool signals_wait(void);

#endif /* _VDISK_SIGNALS_H */
