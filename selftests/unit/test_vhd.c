// SPDX-License-Identifier: GPL-2.0
/* VHD: footers, sizes, refusals, bitmaps, and what plans do to an image. */
#include "test.h"
#include "../../formats/vhd.c"
#include "steps.h"
#include "phrases.h"
#include "vhd_open.h"
#include "vhd_map.h"
#include "vhd_plan.h"
#include "vhd_model.h"

int main(void)
{
	test_refusals();
	test_footers();
	test_encrypted();
	test_probe();
	test_sizes();
	test_geometry();
	test_entries();
	test_free_runs();
	test_bitmaps();
	test_alloc();
	test_discard();
	test_grow();
	test_walk();
	test_batmap();
	test_models();
	test_noise();
	phrases_check("vhd.c", 30);
	return T_DONE();
}
