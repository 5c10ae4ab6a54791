/* SPDX-License-Identifier: GPL-2.0 */
/* What files of the tool need of its out.c, which would need json-c. */
#ifndef _SELFTESTS_TOOL_H
#define _SELFTESTS_TOOL_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../userspace/out.h"

void *out_alloc(size_t count, size_t size)
{
	void *mem = calloc(count ? count : 1, size);

	if (!mem)
		abort();
	return mem;
}

void *out_grow(void *old, size_t count, size_t size)
{
	void *mem = reallocarray(old, count, size);

	if (!mem)
		abort();
	return mem;
}

char *out_text(const char *fmt, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	text = out_alloc((size_t)n + 1, 1);
	va_start(args, fmt);
	vsnprintf(text, (size_t)n + 1, fmt, args);
	va_end(args);
	return text;
}

const char *out_name(const char *name)
{
	return name;
}

#endif /* _SELFTESTS_TOOL_H */
