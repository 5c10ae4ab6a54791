// SPDX-License-Identifier: GPL-2.0
/*
 * The fuzzer for compilers without one: it changes seeds blindly.
 *
 *	fuzz [--seconds N] [--seed N] [--add IMAGE]...
 *	fuzz FILE...		run these inputs, as a fuzzer saved them
 *	fuzz --seeds DIR	write the seeds there
 *
 * The input at hand is in fuzz-crash when the harness or a sanitizer stops it.
 */
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../crash/model.h"
#include "../../formats/probe.h"
#include "fuzz.h"

enum { MAX_SEEDS = 64, MAX_INPUT = 70000 };

static struct fuzz_seed seeds[MAX_SEEDS];
static size_t nr_seeds;
static u8 input[MAX_INPUT];
static size_t input_len;

void __sanitizer_set_death_callback(void (*callback)(void))
	__attribute__((weak));

/* Only what a signal handler may do. */
static void save_input(void)
{
	static const char said[] = "fuzz: the input is in fuzz-crash\n";
	int fd = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC, 0666);
	ssize_t n;

	if (fd < 0)
		return;
	n = write(fd, input, input_len);
	n += write(2, said, sizeof(said) - 1);
	close(fd);
	(void)n;
}

static void on_abort(int sig)
{
	save_input();
	signal(sig, SIG_DFL);
	raise(sig);
}

static u64 number(const char *text)
{
	char *end;
	u64 v = strtoull(text, &end, 0);

	if (end == text || *end)
		errx(2, "not a number: %s", text);
	return v;
}

static size_t read_file(const char *path, u8 *buf, size_t room)
{
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		err(2, "%s", path);
	n = fread(buf, 1, room, f);
	fclose(f);
	return n;
}

/* An image of some program, opened as what it looks like. */
static void add_image(const char *path)
{
	static u8 image[MAX_INPUT];
	size_t n = read_file(path, image, sizeof(image) - FUZZ_HEAD_LEN);
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	const struct vdisk_format *format = NULL;
	u8 i;

	if (vdisk_probe(image, (u32)vdisk_min(n, VDISK_BLOCK),
			image + n - vdisk_min(n, VDISK_SECTOR),
			(u32)vdisk_min(n, VDISK_SECTOR), claim))
		format = claim[0].format;
	for (i = 0; format && vdisk_formats[i] != format; i++)
		;
	if (format && nr_seeds < MAX_SEEDS)
		seeds[nr_seeds++] = fuzz_seed_of(image, n, i, FUZZ_WRITE, path);
}

static void write_seeds(const char *dir)
{
	char path[512];
	size_t i;
	FILE *f;

	for (i = 0; i < nr_seeds; i++) {
		snprintf(path, sizeof(path), "%s/seed-%02zu", dir, i);
		f = fopen(path, "w");
		if (!f || fwrite(seeds[i].data, 1, seeds[i].size, f) !=
			  seeds[i].size || fclose(f))
			err(2, "%s", path);
	}
}

/* Where things are: the heads, the ends, anywhere. */
static size_t place(struct rng *rng)
{
	switch (rng_below(rng, 8)) {
	case 0:
		return rng_below(rng, FUZZ_HEAD_LEN);
	case 1:
	case 2:
	case 3:
		return FUZZ_HEAD_LEN + rng_below(rng, 128);
	case 4:
		return FUZZ_HEAD_LEN + rng_below(rng, 2048);
	case 5:
		return input_len - 1 - rng_below(rng, vdisk_min(512, input_len));
	default:
		return rng_below(rng, input_len);
	}
}

static u64 odd_number(struct rng *rng)
{
	static const u64 odd[] = {
		0, 1, 2, 7, 8, 9, 63, 127, 128, 255, 256, 511, 512, 513, 4095,
		4096, 65535, 65536, 0x7fffffff, 0x80000000, 0xfffffffe,
		0xffffffff, 1ull << 32, 1ull << 40, (1ull << 63) - 1,
		1ull << 63, ~0ull - 1, ~0ull,
	};

	if (rng_one_in(rng, 3))
		return 1ull << rng_below(rng, 64);
	return odd[rng_below(rng, sizeof(odd) / sizeof(odd[0]))];
}

static void mutate_once(struct rng *rng)
{
	size_t at = place(rng), from, n;
	u32 width = 1u << rng_below(rng, 4);

	if (at >= input_len)
		at = input_len - 1;
	switch (rng_below(rng, 6)) {
	case 0:
		input[at] ^= (u8)(1 << rng_below(rng, 8));
		break;
	case 1:
		input[at] = (u8)rng_next(rng);
		break;
	case 2:
	case 3:
		/* Fields are aligned, nearly always. */
		at -= (at - FUZZ_HEAD_LEN) % width;
		if (at + width <= input_len)
			vdisk_store(input + at, odd_number(rng), width,
				    rng_one_in(rng, 2));
		break;
	case 4:
		from = rng_below(rng, input_len);
		n = 1 + rng_below(rng, 64);
		n = vdisk_min(n, input_len - vdisk_max(at, from));
		memmove(input + at, input + from, n);
		break;
	default:
		if (rng_one_in(rng, 4))
			input_len -= rng_below(rng, input_len / 2);
		else if (rng_one_in(rng, 4))
			input_len -= rng_below(rng, vdisk_min(input_len, 513));
	}
}

static u64 fuzz_for(u64 seconds, u64 seed)
{
	struct rng rng = { .state = seed };
	clock_t end = clock() + (clock_t)seconds * CLOCKS_PER_SEC;
	const struct fuzz_seed *s;
	u64 runs = 0;
	u32 i, n;

	do {
		s = &seeds[rng_below(&rng, nr_seeds)];
		memcpy(input, s->data, s->size);
		input_len = s->size;
		vdisk_store(input + offsetof(struct fuzz_head, seed),
			    rng_next(&rng), 4, false);
		n = (u32)rng_below(&rng, 6);
		for (i = 0; i < n && input_len > FUZZ_HEAD_LEN; i++)
			mutate_once(&rng);
		if (!rng_one_in(&rng, 8))
			fuzz_fix(input, input_len);
		LLVMFuzzerTestOneInput(input, input_len);
		runs++;
	} while (clock() < end);
	return runs;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "seeds", required_argument, NULL, 'S' },
		{ "add", required_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	const char *dir = NULL;
	u64 seconds = 10, seed = 1, runs;
	int o;

	nr_seeds = fuzz_seeds(seeds, MAX_SEEDS);
	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (o == 't')
			seconds = number(optarg);
		else if (o == 's')
			seed = number(optarg);
		else if (o == 'S')
			dir = optarg;
		else if (o == 'a')
			add_image(optarg);
		else
			errx(2, "usage: fuzz [--seconds N] [--seed N] [--add IMAGE]... [--seeds DIR | FILE...]");
	}
	if (dir) {
		write_seeds(dir);
		return 0;
	}
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(save_input);
	signal(SIGABRT, on_abort);
	if (optind < argc) {
		for (; optind < argc; optind++) {
			input_len = read_file(argv[optind], input, MAX_INPUT);
			LLVMFuzzerTestOneInput(input, input_len);
		}
		return 0;
	}
	runs = fuzz_for(seconds, seed);
	printf("TAP version 13\nok 1 fuzz: %llu inputs from %zu seeds\n1..1\n",
	       (unsigned long long)runs, nr_seeds);
	return 0;
}
