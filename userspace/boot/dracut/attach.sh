#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# dracut: attach the images that are wanted. What is wrong with one is told once, and
# the emergency shell opens; a device that is not there yet may still come, unless
# this is the `last` time.

command -v emergency_shell >/dev/null || . /lib/dracut-lib.sh
# shellcheck source=../vdisktab.sh
. /lib/vdisk/vdisktab.sh
# shellcheck source=../host.sh
. /lib/vdisk/host.sh

vdisk_find()
{
	case $1 in
	/dev/*) [ ! -b "$1" ] || echo "$1" ;;
	*) findfs "$1" 2>/dev/null ;;
	esac
}

[ ! -e /run/vdisk.done ] || exit 0
# What lets go of the images at shutdown is this initramfs.
need_shutdown
modprobe -q dm-mod
vdisk_list >/run/vdisk.list
while read -r word <&3; do
	until vdisk_attach "$word"; do
		case $vdisk_why in
		*"did not appear") [ "${1:-}" = last ] || exit 1 ;;
		esac
		echo "vdisk: $vdisk_why" >/dev/kmsg
		emergency_shell -n vdisk "vdisk: $vdisk_why"
	done
done 3</run/vdisk.list
: >/run/vdisk.done
