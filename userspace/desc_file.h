/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small file gets other bytes, all or none. */
#ifndef _VDISK_DESC_FILE_H
#define _VDISK_DESC_FILE_H

/*
 * The file at @path, which is open at @fd and maybe locked there, durably becomes
 * one that holds @text; owner, mode and all attributes stay, and @fd is the new
 * file. Returns 0 or -errno: -EMLINK if it has other hard links, which would stay
 * what they are, -ESTALE if another file is at @path.
 */
int desc_file_replace(const char *path, int fd, const char *text);

#endif /* _VDISK_DESC_FILE_H */
