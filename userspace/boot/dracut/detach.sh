#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# dracut, at shutdown, when the old root is unmounted and before device-mapper is
# taken down: the images, then the file systems they lie on. dracut has moved the old
# /run to /oldsys. Returns 1 to be run once more.

vdisk_shut()
{
	_left=0
	for _host in /oldsys/run/initramfs/vdisk/*; do
		[ -d "$_host" ] || continue
		_name=${_host##*/}
		# udev is gone, and nobody would answer who waits for it.
		if DM_DISABLE_UDEV=1 dmsetup info "$_name" >/dev/null 2>&1; then
			_text=$(DM_DISABLE_UDEV=1 vdisk detach "$_name" 2>&1) || {
				_left=1
				[ -z "$1" ] || warn "vdisk: ${_text#vdisk: }"
				continue
			}
		fi
		umount "$_host" && rmdir "$_host" || _left=1
	done
	return "$_left"
}

vdisk_shut "$1"
