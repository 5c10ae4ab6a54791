#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=64M disk=32M,logical=4096
#
# The module loads and its target is there; and the machine that the other
# tests rely on is as they expect it.
. "$(dirname "$0")/../lib/kernel-test.sh"

target_is_registered()
{
	dmsetup targets | awk '$1 == "vdisk" { found = 1 } END { exit !found }'
}

need_module
t "the target is registered" target_is_registered
t "the version is a triple" \
	eval 'dmsetup targets | grep -Eq "^vdisk +v[0-9]+\.[0-9]+\.[0-9]+$"'
says "an empty line of arguments is refused" . \
	dmsetup create "$dm-bad" --table "0 8 vdisk"
fails "nothing was left by the refusal" dmsetup info "$dm-bad"

need_disk 64M disk
need_disk 32M,logical=4096 disk4k
eq "a disk has the size asked for" "$(blockdev --getsize64 "$disk")" $((64 << 20))
eq "a 4096-byte disk is one" "$(blockdev --getss "$disk4k")" 4096
t "disks read as zero" cmp -n $((1 << 20)) "$disk" /dev/zero
t "a device-mapper device is made" dm_create "$dm" "0 2048 linear $disk 0"
t "udev has made its link" test -L "/dev/mapper/$dm"
t "and its data base knows it" \
	eval "udevadm info -q property /dev/mapper/$dm | grep -q DM_NAME=$dm"
t "a device-mapper device is removed" dm_remove "$dm"

ktap_end
