// SPDX-License-Identifier: GPL-2.0-or-later
/* What a file is, by its ends: see formats/probe.h. */
#include <stdlib.h>
#include <unistd.h>

#include "chain_in.h"
#include "out.h"

const struct chain_kind *const chain_kinds[] = {
	&chain_vhd, &chain_vmdk, &chain_qed, &chain_bundle, NULL,
};

/* The number of claims, or a negative errno. */
static int read_claims(const struct reach_file *file,
		       struct vdisk_claim claim[VDISK_MAX_CLAIMS])
{
	u8 head[VDISK_BLOCK], tail[VDISK_PROBE_TAIL + VDISK_SECTOR];
	struct vdisk_store *store;
	u32 head_len, tail_len;
	u64 len;
	int r, fd = dup(file->fd);	/* the store closes what it is given */

	if (fd < 0)
		return -errno;
	r = vdisk_store_file(fd, &store);
	if (r) {
		close(fd);
		return r;
	}
	len = store->length;
	head_len = (u32)vdisk_min(len, sizeof(head));
	tail_len = (u32)vdisk_min(len, VDISK_PROBE_TAIL +
				       len % VDISK_SECTOR);
	r = vdisk_store_read(store, 0, head, head_len);
	if (!r)
		r = vdisk_store_read(store, len - tail_len, tail, tail_len);
	vdisk_store_close(store);
	return r ? r : (int)vdisk_probe(head, head_len, tail, tail_len, claim);
}

static char *disagree(const struct vdisk_claim *a, const struct vdisk_claim *b,
		      const char *option)
{
	return out_text("Begins as %s, %s %s: a guest may have written one of "
			"them%s%s%s", a->name, b->tail ? "ends as" : "and as",
			b->name, option ? " (see " : "", option ? option : "",
			option ? ")" : "");
}

/* It is nothing that can be opened. */
static char *unknown(const struct vdisk_claim *claim, const char *option)
{
	switch (claim ? claim->kind : VDISK_CLAIM_IMAGE) {
	case VDISK_CLAIM_OTHER:
		return out_text("%s images are not read here (see qemu-img "
				"convert)", claim->name);
	case VDISK_CLAIM_CRYPT:
		return out_text("Encrypted as a whole: %s (%s raw attaches it, "
				"cryptsetup opens the device)", claim->name,
				option ? option : "rebase -u -F");
	case VDISK_CLAIM_ARCHIVE:
		return out_text("Not an image but packed files, unpack them: "
				"%s", claim->name);
	case VDISK_CLAIM_LIST:
		return out_text("Not an image but a text that names some: %s",
				claim->name);
	case VDISK_CLAIM_IMAGE:
	case VDISK_CLAIM_TEXT:
		break;
	}
	return out_text("Unknown format (%s raw if it is raw)",
			option ? option : "rebase -u -F");
}

/* Of the kinds that open files of @format, or of any if that is NULL. */
static const struct chain_kind *find_kind(const struct reach_file *file,
					  const struct vdisk_claim *claim,
					  u32 nr,
					  const struct vdisk_format *format)
{
	const struct chain_kind *kind;
	u32 i, j;

	for (i = 0; chain_kinds[i]; i++) {
		kind = chain_kinds[i];
		if (format && strcmp(kind->format, format->name))
			continue;
		if (kind->claims && kind->claims(file))
			return kind;
		for (j = 0; kind->takes && j < nr; j++)
			if (!claim[j].tail && kind->takes(&claim[j]))
				return kind;
	}
	return NULL;
}

void chain_probe(struct chain_probe *probe, const struct reach_file *file,
		 const struct vdisk_format *format, const char *option)
{
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	u32 nr = 0, other = 0;
	int r;

	*probe = (struct chain_probe){ .format = format };
	if (!file->directory) {
		r = read_claims(file, claim);
		if (r < 0) {
			probe->why = out_text("%s", strerror(-r));
			return;
		}
		nr = (u32)r;
		other = vdisk_probe_other(claim, nr);
	}
	if (!format && other) {
		probe->why = disagree(&claim[0], &claim[other], option);
		return;
	}
	probe->kind = find_kind(file, claim, nr, format);
	if (probe->kind || format)
		return;
	if (file->directory)
		probe->why = out_text("%s", strerror(EISDIR));
	else if (nr && claim[0].kind == VDISK_CLAIM_IMAGE)
		probe->format = claim[0].format;
	else
		probe->why = unknown(nr ? &claim[0] : NULL, option);
}

bool chain_claimed(const struct reach_file *file,
		   const struct vdisk_format *format)
{
	struct vdisk_claim claim[VDISK_MAX_CLAIMS];
	int i, nr = read_claims(file, claim);

	for (i = 0; i < nr; i++)
		if (claim[i].format == format)
			return true;
	return false;
}

const char *chain_probe_name(const struct reach_file *file, char **why)
{
	struct chain_probe probe;

	chain_probe(&probe, file, NULL, "-f");
	*why = probe.why;
	if (probe.why)
		return NULL;
	return probe.kind ? probe.kind->format : probe.format->name;
}
