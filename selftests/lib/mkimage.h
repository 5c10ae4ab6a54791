/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Empty images for tests, written byte by byte from the specifications and not
 * by the code under test.
 *
 *	FORMAT KEY=VALUE...
 *
 * Numbers may end in k, M or G. All formats: size= (bytes of the disk, no
 * default).
 *
 *	vhd	type=dynamic|differencing|fixed  block=2M  creator="win "
 *		entries=  bat= (bytes)  gap= (bytes before the footer)
 *		trailer=1  id=  parent_id= (32 hex digits)  parent=NAME
 *	qed	cluster=64k  table=4  header=1  backing=NAME  raw=0  features=
 *		autoclear=0
 *	parallels version=2  cluster=1M  data_off= (sectors)  entries=
 *		in_use=0  flags=0  ext=0 (1: a dirty bitmap)
 *	vmdk	grain=64k  gtes=512  redundant=1  zeroed=0  tables=1 (0: the
 *		directory is empty)  version=  cid=  parent_cid=  parent=NAME
 *		unclean=0  packed=0 (1: compressed, without tables)
 *		footer=0 (1: the directory is at the end, as in a stream)
 *	cowd	grain=512  tables=0  unclean=0
 *	raw
 */
#ifndef _VDISK_MKIMAGE_H
#define _VDISK_MKIMAGE_H

#include "../../userspace/store.h"

/* NULL, or what is wrong. The store should be empty. */
const char *mkimage(struct vdisk_store *store, const char *format,
		    char *const *keys, size_t nr);

/* The same from one line, words between blanks. */
const char *mkimage_line(struct vdisk_store *store, const char *line);

#endif /* _VDISK_MKIMAGE_H */
