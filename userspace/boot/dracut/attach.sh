#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# dracut: wake a system that hibernated, if there is one; then attach the images that are
# wanted. What is wrong with one is told once, and the emergency shell opens; a device
# that is not there yet may still come, unless this is the `last` time.

command -v emergency_shell >/dev/null || . /lib/dracut-lib.sh
# shellcheck source=../vdisktab.sh
. /lib/vdisk/vdisktab.sh
# shellcheck source=../host.sh
. /lib/vdisk/host.sh
# shellcheck source=../asleep.sh
. /lib/vdisk/asleep.sh

vdisk_find()
{
	case $1 in
	/dev/*) [ ! -b "$1" ] || echo "$1" ;;
	*) findfs "$1" 2>/dev/null ;;
	esac
}

# An image with nofail is waited for no longer than half a minute.
waited_enough()
{
	read -r _now _ </proc/uptime
	[ -e /run/vdisk.since ] || echo "${_now%.*}" >/run/vdisk.since
	[ "${1:-}" = last ] || [ "${_now%.*}" -gt $(($(cat /run/vdisk.since) + 30)) ]
}

# Nobody else is to wake it when the host's file system was written to: systemd orders
# that before what it mounts by itself, and dracut's own rule comes with the device.
wake_no_more()
{
	for _unit in /run/systemd/generator*/*/systemd-hibernate-resume*.service; do
		[ -e "$_unit" ] || continue
		mkdir -p /run/systemd/system
		ln -sf /dev/null "/run/systemd/system/${_unit##*/}"
		_masked=1
	done
	[ -z "${_masked:-}" ] || systemctl daemon-reload
	rm -f /etc/udev/rules.d/99-resume.rules "$hookdir"/pre-mount/10-resume.sh
}

wake()
{
	[ ! -e /run/vdisk.awake ] || return 0
	_resume=$(getarg resume=)
	! getarg noresume || _resume=''
	vdisk_wake "$_resume" "$(getarg resume_offset=)" || {
		[ "${1:-}" = last ] || return
		vdisk_say "$vdisk_why"
	}
	vdisk_give_up
	printf '%s\n' "$_resume" >/run/vdisk.awake
	wake_no_more
}

[ ! -e /run/vdisk.done ] || exit 0
# What lets go of the images at shutdown is this initramfs.
need_shutdown
modprobe -q dm-mod
wake "${1:-}" || exit 1
vdisk_list >/run/vdisk.list
later=''
while read -r word <&3; do
	until vdisk_attach "$word"; do
		case $vdisk_why in
		*"did not appear")
			if vdisk_has nofail && ! waited_enough "${1:-}"; then
				later=1
				break
			fi
			vdisk_has nofail || [ "${1:-}" = last ] || exit 1 ;;
		esac
		if vdisk_has nofail; then
			vdisk_say "$vdisk_why (nofail)"
			break
		fi
		echo "vdisk: $vdisk_why" >/dev/kmsg
		emergency_shell -n vdisk "vdisk: $vdisk_why"
	done
done 3</run/vdisk.list
[ -z "$later" ] || exit 1
! vdisk_cannot_wake "$(cat /run/vdisk.awake)" || vdisk_say "$vdisk_why"
: >/run/vdisk.done
