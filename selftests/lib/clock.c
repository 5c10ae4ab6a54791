// SPDX-License-Identifier: GPL-2.0
/* LD_PRELOAD: time flies. Who looks at the clock finds that a second has gone. */
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
	static time_t now = 1000;

	*t = (struct timespec){ .tv_sec = now++ };
	return 0;
}
