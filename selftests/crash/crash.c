// SPDX-License-Identifier: GPL-2.0
/* crash: the images to crash, the options, the verdict in KTAP. */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "crash.h"

#define DEFAULT_STATES 10000

#define KIB_SEC(n) ((n) * 2)

static const struct crash_config configs[] = {
	{ .format = "vhd", .name = "dynamic-4k", .weight = 3,
	  .image = "vhd size=300k block=4k", .unit_sec = 8 },
	{ .format = "vhd", .name = "dynamic-64k-chs", .weight = 3,
	  .image = "vhd size=1000k block=64k gap=3584", .unit_sec = 128 },
	{ .format = "vhd", .name = "dynamic-2m", .weight = 1,
	  .image = "vhd size=9M block=2M", .unit_sec = 4096,
	  .window_sec = KIB_SEC(128) },
	{ .format = "vhd", .name = "differencing-4k", .weight = 3,
	  .image = "vhd size=300k block=4k type=differencing",
	  .parent = "raw size=200k", .unit_sec = 8 },
	{ .format = "vhd", .name = "differencing-2m", .weight = 2,
	  .image = "vhd size=9M block=2M type=differencing",
	  .parent = "vhd size=9M block=64k", .unit_sec = 4096,
	  .window_sec = KIB_SEC(128) },
	{ .format = "qed", .name = "4k-table-1", .weight = 3,
	  .image = "qed size=7M cluster=4k table=1", .unit_sec = 8,
	  .window_sec = KIB_SEC(160) },
	{ .format = "qed", .name = "64k", .weight = 2,
	  .image = "qed size=2M cluster=64k table=2", .unit_sec = 128,
	  .window_sec = KIB_SEC(320) },
	{ .format = "qed", .name = "4k-backing", .weight = 3,
	  .image = "qed size=400k cluster=4k table=1 backing=parent",
	  .parent = "raw size=300k", .unit_sec = 8 },
	{ .format = "qed", .name = "4k-device", .weight = 2,
	  .image = "qed size=400k cluster=4k table=2", .unit_sec = 8,
	  .device_len = 2 << 20 },
	{ .format = "parallels", .name = "v2-4k", .weight = 3,
	  .image = "parallels size=300k cluster=4k", .unit_sec = 8 },
	{ .format = "parallels", .name = "v1-63", .weight = 3,
	  .image = "parallels size=500k version=1 cluster=32256 data_off=0",
	  .unit_sec = 63 },
	{ .format = "parallels", .name = "v2-1m", .weight = 1,
	  .image = "parallels size=9M", .unit_sec = 2048,
	  .window_sec = KIB_SEC(128) },
	{ .format = "parallels", .name = "v2-overlay", .weight = 2,
	  .image = "parallels size=300k cluster=4k ext=1",
	  .parent = "parallels size=200k cluster=8k", .unit_sec = 8 },
	{ .format = "parallels", .name = "v1-device", .weight = 2,
	  .image = "parallels size=300k version=1 cluster=3584",
	  .unit_sec = 7, .device_len = 1 << 20 },
	{ .format = "vmdk", .name = "4k", .weight = 3,
	  .image = "vmdk size=300k grain=4k", .unit_sec = 8 },
	{ .format = "vmdk", .name = "64k-no-tables", .weight = 3,
	  .image = "vmdk size=9M grain=64k gtes=16 tables=0 zeroed=1",
	  .unit_sec = 128, .window_sec = KIB_SEC(320) },
	{ .format = "vmdk", .name = "4k-child", .weight = 3,
	  .image = "vmdk size=300k grain=4k redundant=0 zeroed=1 parent=p parent_cid=1",
	  .parent = "vmdk size=200k grain=8k", .unit_sec = 8 },
	{ .format = "vmdk", .name = "4k-packed", .weight = 2,
	  .image = "vmdk size=500k grain=4k gtes=32 packed=1 zeroed=1",
	  .unit_sec = 8 },
	{ .format = "vmdk", .name = "64k-stream", .weight = 1,
	  .image = "vmdk size=1M packed=1 footer=1", .unit_sec = 128 },
	{ .format = "cowd", .name = "512", .weight = 2,
	  .image = "cowd size=5M grain=512", .unit_sec = 1,
	  .window_sec = KIB_SEC(64) },
	{ .format = "vhd", .name = "resize-4k", .weight = 3,
	  .image = "vhd size=300k block=4k", .unit_sec = 8,
	  .window_sec = KIB_SEC(96), .most_sec = KIB_SEC(4096) },
	{ .format = "vhd", .name = "resize-child", .weight = 2,
	  .image = "vhd size=300k block=4k type=differencing",
	  .parent = "raw size=500k", .unit_sec = 8,
	  .window_sec = KIB_SEC(128), .most_sec = KIB_SEC(2048) },
	{ .format = "qed", .name = "resize-4k", .weight = 2,
	  .image = "qed size=1500k cluster=4k table=1", .unit_sec = 8,
	  .window_sec = KIB_SEC(96), .most_sec = KIB_SEC(8192) },
	{ .format = "qed", .name = "resize-child", .weight = 2,
	  .image = "qed size=300k cluster=4k table=1 backing=parent",
	  .parent = "raw size=500k", .unit_sec = 8,
	  .window_sec = KIB_SEC(128), .most_sec = KIB_SEC(2048) },
	{ .format = "parallels", .name = "resize-v2", .weight = 3,
	  .image = "parallels size=300k cluster=4k", .unit_sec = 8,
	  .window_sec = KIB_SEC(96), .most_sec = KIB_SEC(16384) },
	{ .format = "parallels", .name = "resize-v1", .weight = 2,
	  .image = "parallels size=500k version=1 cluster=3584 data_off=0",
	  .unit_sec = 7, .window_sec = KIB_SEC(96),
	  .most_sec = KIB_SEC(8192) },
	{ .format = "parallels", .name = "resize-overlay", .weight = 1,
	  .image = "parallels size=300k cluster=4k ext=1",
	  .parent = "parallels size=500k cluster=8k", .unit_sec = 8,
	  .window_sec = KIB_SEC(128), .most_sec = KIB_SEC(8192) },
	{ .format = "vmdk", .name = "resize-4k", .weight = 3,
	  .image = "vmdk size=300k grain=4k gtes=16", .unit_sec = 8,
	  .window_sec = KIB_SEC(96), .most_sec = KIB_SEC(4096) },
	{ .format = "vmdk", .name = "resize-child", .weight = 2,
	  .image = "vmdk size=300k grain=4k gtes=32 redundant=0 zeroed=1 parent=p parent_cid=1",
	  .parent = "vmdk size=500k grain=8k", .unit_sec = 8,
	  .window_sec = KIB_SEC(128), .most_sec = KIB_SEC(2048) },
	{ .format = "vmdk", .name = "resize-packed", .weight = 1,
	  .image = "vmdk size=300k grain=4k gtes=32 packed=1 zeroed=1",
	  .unit_sec = 8, .window_sec = KIB_SEC(96),
	  .most_sec = KIB_SEC(2048) },
	{ .format = "cowd", .name = "resize-512", .weight = 2,
	  .image = "cowd size=200M grain=512", .unit_sec = 1,
	  .window_sec = KIB_SEC(64), .most_sec = KIB_SEC(600 << 10) },
	{ .format = "cowd", .name = "4k-child", .weight = 2,
	  .image = "cowd size=300k grain=4k", .parent = "raw size=200k",
	  .unit_sec = 8 },
};

#define NR_CONFIGS (sizeof(configs) / sizeof(configs[0]))

static const struct {
	const char *name;
	u32 skip_flush;
} breaks[] = {
	{ "publish-first", 1u << VDISK_FLUSH_DATA },
	{ "no-mark-flush", 1u << VDISK_FLUSH_MARK },
	{ "no-before-flush", 1u << VDISK_FLUSH_BEFORE },
	{ "no-table-flush", 1u << VDISK_FLUSH_TABLES },
	{ "no-trim-flush", 1u << VDISK_FLUSH_TRIM },
};

static struct crash_options opts = {
	.seed = 1, .states = DEFAULT_STATES, .dir = "crash-failed",
};
static const char *break_name;

static bool wanted(const struct crash_config *c)
{
	return (!opts.format || !strcmp(opts.format, c->format)) &&
	       (!opts.name || !strcmp(opts.name, c->name)) &&
	       (!opts.unit || opts.unit == c->unit_sec * 512) &&
	       vdisk_format_find(c->format);
}

/* This configuration's part of the states its format gets. */
static u64 share(const struct crash_config *c)
{
	u64 all = 0;
	size_t i;

	for (i = 0; i < NR_CONFIGS; i++)
		if (wanted(&configs[i]) && !strcmp(configs[i].format, c->format))
			all += configs[i].weight;
	return vdisk_div_up(opts.states * c->weight, all);
}

static void save(const struct run *run)
{
	const struct crash_config *c = run->config;
	char path[512];
	FILE *f;

	mkdir(opts.dir, 0777);
	snprintf(path, sizeof(path), "%s/%s-%s.image", opts.dir, c->format,
		 c->name);
	ram_store_save(run->work, path);
	if (run->parent) {
		snprintf(path, sizeof(path), "%s/%s-%s.parent", opts.dir,
			 c->format, c->name);
		ram_store_save(run->parent, path);
	}
	snprintf(path, sizeof(path), "%s/%s-%s.txt", opts.dir, c->format,
		 c->name);
	f = fopen(path, "w");
	if (!f)
		err(2, "%s", path);
	fprintf(f, "%s\ncrash --format %s --config %s --seed %llu --state %llu%s%s\n",
		run->why, c->format, c->name, (unsigned long long)run->seed,
		(unsigned long long)run->state, break_name ? " --break=" : "",
		break_name ? break_name : "");
	fclose(f);
}

/* Runs until there were states enough. */
static bool test_config(const struct crash_config *c, int point)
{
	u64 states = share(c), done = 0, runs = 0;
	bool good = true;
	struct run run;

	while (good && done < states) {
		run = (struct run){
			.config = c, .opts = &opts,
			.seed = opts.seed + runs * 1000003,
			.last_state = vdisk_min(states - done,
						100 + states / 16),
		};
		if (opts.state)
			run.last_state = opts.state;
		good = crash_run(&run);
		if (!good) {
			printf("# %s\n# crash --format %s --config %s --seed %llu --state %llu%s%s\n",
			       run.why, c->format, c->name,
			       (unsigned long long)run.seed,
			       (unsigned long long)run.state,
			       break_name ? " --break=" : "",
			       break_name ? break_name : "");
			save(&run);
		}
		done += run.state;
		runs++;
		crash_end(&run);
		if (opts.state)
			break;
	}
	printf("%s %d crash %s %s: %llu states of %llu runs\n",
	       good ? "ok" : "not ok", point, c->format, c->name,
	       (unsigned long long)done, (unsigned long long)runs);
	fflush(stdout);
	return good;
}

static u64 number(const char *text)
{
	char *end;
	u64 v = strtoull(text, &end, 0);

	if (end == text || *end)
		errx(2, "not a number: %s", text);
	return v;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "format", required_argument, NULL, 'f' },
		{ "config", required_argument, NULL, 'c' },
		{ "unit", required_argument, NULL, 'u' },
		{ "states", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "state", required_argument, NULL, 'S' },
		{ "break", required_argument, NULL, 'b' },
		{ "dir", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	size_t i;
	int o;

	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (o) {
		case 'f':
			opts.format = optarg;
			break;
		case 'c':
			opts.name = optarg;
			break;
		case 'u':
			opts.unit = number(optarg);
			break;
		case 'n':
			opts.states = number(optarg);
			break;
		case 's':
			opts.seed = number(optarg);
			break;
		case 'S':
			opts.state = number(optarg);
			break;
		case 'd':
			opts.dir = optarg;
			break;
		case 'b':
			break_name = optarg;
			for (i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++)
				if (!strcmp(breaks[i].name, optarg))
					opts.skip_flush = breaks[i].skip_flush;
			if (!opts.skip_flush)
				errx(2, "no such break: %s", optarg);
			break;
		default:
			errx(2, "usage: crash [--format NAME] [--config NAME] [--unit BYTES] [--states N] [--seed N] [--state N] [--break=NAME] [--dir DIR]");
		}
	}
	if (optind < argc)
		errx(2, "what is %s", argv[optind]);
}

int main(int argc, char **argv)
{
	bool good = true;
	int point = 0;
	size_t i;

	parse(argc, argv);
	printf("TAP version 13\n");
	for (i = 0; i < NR_CONFIGS; i++)
		if (wanted(&configs[i]))
			good &= test_config(&configs[i], ++point);
	printf("1..%d\n", point);
	return !good || !point;
}
