// SPDX-License-Identifier: GPL-2.0
/* Module of many faults, for the test of the test runner; never for use. */
#include <linux/module.h>

static char *fault = "";
module_param(fault, charp, 0);

static int __init red_init(void)
{
	if (!strcmp(fault, "warn"))
		WARN_ON(1);
	/* A module that holds itself cannot be unloaded. */
	if (!strcmp(fault, "hold"))
		__module_get(THIS_MODULE);
	return 0;
}

static void __exit red_exit(void)
{
}

module_init(red_init);
module_exit(red_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("faults for the test of the test runner");
