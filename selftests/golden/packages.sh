#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the Debian packages ask before they are removed: is an image attached?
. "$(dirname "$0")/lib.sh"

debian=$(cd "$here/../../debian" && pwd)
[ -d "$debian" ] || skip_all "no debian/ in this tree"
mkdir -p "$tmp/sys/block"/dm-{0,1,2}/dm
n=0
for each in LVM-x:other VDISK-trusted-vhd-1:root part1-VDISK-trusted-vhd-1:root1; do
	echo "${each%%:*}" >"$tmp/sys/block/dm-$n/dm/uuid"
	echo "${each##*:}" >"$tmp/sys/block/dm-$n/dm/name"
	n=$((n + 1))
done

# prerm PACKAGE WHAT: its words and status
prerm()
{
	sed "s,/sys/,$tmp/sys/," "$debian/$1.prerm" >"$tmp/prerm"
	DPKG_MAINTSCRIPT_PACKAGE=$1 sh "$tmp/prerm" "$2" 2>&1
	echo $?
}

for each in vdisk-tools dm-vdisk-dkms; do
	eq "$each: is not removed while an image is attached" "$(prerm "$each" remove)" \
		"$each: Not removed, images are attached (vdisk detach): root
1"
	eq "$each: is upgraded" "$(prerm "$each" upgrade)" 0
done
rm -r "$tmp/sys/block/dm-1"
eq "other devices are nobody's business" "$(prerm vdisk-tools remove)" 0
rm -r "$tmp/sys/block"
eq "nor is a machine without any" "$(prerm vdisk-tools remove)" 0
ktap_end
