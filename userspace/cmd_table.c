// SPDX-License-Identifier: GPL-2.0-or-later
/* vdisk table: the line that makes the image a mapped device. */
#include <stdio.h>
#include <stdlib.h>

#include "chain.h"
#include "out.h"

int cmd_table(const struct verb_options *opt)
{
	unsigned int flags = CHAIN_LOCK | CHAIN_LEND |
			     (opt->read_only ? 0 : CHAIN_WRITE);
	struct chain chain;
	char *table = NULL;

	if (!chain_open(&chain, opt->args[0], opt, flags))
		return VERB_FAILED;
	/* Two owners of a sector make any write a write to somebody else. */
	if (opt->read_only || chain_check(&chain))
		table = chain_table(&chain, opt, false);
	if (table)
		printf("0 %llu vdisk %s\n",
		       (unsigned long long)chain.disk->size_sec, table);
	free(table);
	chain_close(&chain);
	return table ? VERB_OK : VERB_FAILED;
}
