#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900
#
# VHD through the device: what qemu-img made is read right, what the device
# writes is what a raw disk would hold.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img fio mkfs.ext4
need_disk 2G disk
scratch_fs ext4 "$disk" dir

# A file system with many files, as a raw image and as VHDs of it.
make_source()
{
	local tree

	scratch tree
	make_tree "$tree" 2100 1 40000
	truncate -s 80M "$dir/source.raw"
	mkfs.ext4 -q -F -d "$tree" "$dir/source.raw"
	tree_sha "$tree" >"$dir/source.sums"
	qemu-img convert -O vpc "$dir/source.raw" "$dir/dynamic.vhd"
	qemu-img convert -O vpc -o subformat=fixed "$dir/source.raw" "$dir/fixed.vhd"
}

mounted_sums()
{
	local mnt

	scratch mnt
	mount -o ro "/dev/mapper/$1" "$mnt"
	tree_sha "$mnt" | grep -v lost+found || true
	umount "$mnt"
}

read_back()
{
	local kind=$1

	t "$kind: attached by vdisk table | dmsetup create" \
		eval "$vdisk table $dir/$kind.vhd | dmsetup create $dm-$kind"
	defer dm_gone "$dm-$kind"
	qemu-img convert -f vpc -O raw "$dir/$kind.vhd" "$dir/$kind.raw"
	eq "$kind: the whole device is what qemu-img reads" \
		"$(sha "/dev/mapper/$dm-$kind")" "$(sha "$dir/$kind.raw")"
	eq "$kind: every file is right" "$(mounted_sums "$dm-$kind")" \
		"$(cat "$dir/source.sums")"
	dm_remove "$dm-$kind"
	rm "$dir/$kind.raw"
}

make_source
read_back dynamic
read_back fixed

ktap_end
