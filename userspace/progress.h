/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far long work has come: a bar on stderr if that is a terminal, and if the
 * work takes longer than a moment; nothing in a pipe or a file.
 */
#ifndef _VDISK_PROGRESS_H
#define _VDISK_PROGRESS_H

#include "../formats/env.h"

/* @done of @all; may be called as often as is convenient. */
void progress_show(const char *what, u64 done, u64 all);

/* 1: show it also where there is no terminal; -1: never; 0: see above. */
void progress_wish(int wish);

/* While a device is suspended, nobody might take what a terminal is told. */
void progress_hold(bool hold);

/* Take the bar away: something else is to be printed, or it is over. */
void progress_clear(void);

/* For a signal's handler: tell on stderr how far it is, terminal or not. */
void progress_ask(void);

#endif /* _VDISK_PROGRESS_H */
