// SPDX-License-Identifier: GPL-2.0
/* For libFuzzer only: checksums stay right, or nothing behind them is met. */
#include "fuzz.h"

size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size,
			       unsigned int seed);

size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size,
			       unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 8)
		fuzz_fix(data, size);
	return size;
}
