/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KTAP for unit tests in C. A test includes this and the .c file under test,
 * scores points, usually in a loop over a table of cases, and ends main() with
 * `return T_DONE();`, which prints the plan: a test that dies has none.
 *
 *	T_OK(condition, name)
 *	T_EQ(got, want, name)		integers, shown both ways if they differ
 *	T_STR(got, want, name)		strings; NULL is equal to NULL only
 *	T_MEM(got, want, len, name)	bytes; shows the first that differs
 *	T_SKIP(name, reason)
 *
 * Each is true if the point was good. A name is any string, a row's own for
 * instance; t_name("%s, cluster %u", ...) makes one that lasts until the next.
 */
#ifndef _SELFTESTS_TEST_H
#define _SELFTESTS_TEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define T_EXIT_SKIP 4

#define T_OK(condition, name) \
	t_point(!!(condition), name, __FILE__, __LINE__, #condition)
#define T_EQ(got, want, name) \
	t_eq((uint64_t)(got), (uint64_t)(want), name, __FILE__, __LINE__, #got)
#define T_STR(got, want, name) \
	t_str(got, want, name, __FILE__, __LINE__, #got)
#define T_MEM(got, want, len, name) \
	t_mem(got, want, len, name, __FILE__, __LINE__, #got)
#define T_SKIP(name, reason) t_skip(name, reason)
#define T_DONE() t_done()

static unsigned int t_points, t_failed, t_skipped;

static inline bool t_point(bool good, const char *name, const char *file,
			   int line, const char *what)
{
	/* A crash must not take the points before it along. */
	if (!t_points++) {
		setvbuf(stdout, NULL, _IOLBF, 0);
		puts("TAP version 13");
	}
	printf("%s %u %s\n", good ? "ok" : "not ok", t_points, name);
	if (!good) {
		t_failed++;
		printf("#   %s:%d: %s\n", file, line, what);
	}
	return good;
}

static inline bool t_eq(uint64_t got, uint64_t want, const char *name,
			const char *file, int line, const char *what)
{
	if (t_point(got == want, name, file, line, what))
		return true;
	printf("#   got  %llu (%#llx)\n#   want %llu (%#llx)\n",
	       (unsigned long long)got, (unsigned long long)got,
	       (unsigned long long)want, (unsigned long long)want);
	return false;
}

static inline bool t_str(const char *got, const char *want, const char *name,
			 const char *file, int line, const char *what)
{
	bool good = got && want ? !strcmp(got, want) : got == want;

	if (t_point(good, name, file, line, what))
		return true;
	printf("#   got  %s\n#   want %s\n", got ? got : "(null)",
	       want ? want : "(null)");
	return false;
}

static inline bool t_mem(const void *got, const void *want, size_t len,
			 const char *name, const char *file, int line,
			 const char *what)
{
	const uint8_t *g = got, *w = want;
	size_t i = 0;

	while (i < len && g[i] == w[i])
		i++;
	if (t_point(i == len, name, file, line, what))
		return true;
	printf("#   byte %zu of %zu: got %#x, want %#x\n", i, len, g[i], w[i]);
	return false;
}

static inline void t_skip(const char *name, const char *reason)
{
	if (!t_points++)
		puts("TAP version 13");
	t_skipped++;
	printf("ok %u %s # SKIP %s\n", t_points, name, reason);
}

__attribute__((format(printf, 1, 2)))
static inline const char *t_name(const char *format, ...)
{
	static char name[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(name, sizeof(name), format, ap);
	va_end(ap);
	return name;
}

static inline int t_done(void)
{
	printf("1..%u\n", t_points);
	if (t_failed)
		return 1;
	return t_points && t_points == t_skipped ? T_EXIT_SKIP : 0;
}

#endif /* _SELFTESTS_TEST_H */
