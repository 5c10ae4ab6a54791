#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900 long
#
# Every sub-format that `vdisk create` makes, from its first byte on: attached
# while it is empty, filled through the device, and read by qemu-img, or by the
# tool where that cannot: what it holds is what was written. golden/create.sh is
# the other half: what the files say of themselves.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/images.sh
. "$(dirname "$0")/lib/images.sh"

need_module
need_tool
need_cmd qemu-img python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir

# Noise and zeroes; two pieces of them go to the beginning and across 2 GiB, or
# to the end where that is nearer: a split image has two extents.
make_content "$dir/content" 2051 created
# What a child leaves to its parent.
make_content "$dir/base.raw" 6144 parent
for format in vhd vmdk qed; do
	"$vdisk" convert -f raw -O "$format" "$dir/base.raw" "$dir/base.$format"
done

# piece_at BYTES: where the second piece begins
piece_at()
{
	local at=$(((2 << 30) - (512 << 10))) last=$(($1 - $(stat -c %s "$dir/content")))

	echo $(((at < last ? at : last) / 4096 * 4096))
}

# fill FILE BYTES: both pieces
fill()
{
	dd if="$dir/content" of="$1" bs=64k oflag=direct conv=notrunc,nocreat status=none &&
		dd if="$dir/content" of="$1" bs=64k oflag=direct,seek_bytes \
			seek="$(piece_at "$2")" conv=notrunc,nocreat,fsync status=none
}

# same MODEL IMAGE FORMAT: qemu-img passes over what both call a hole
same()
{
	qemu-img compare -f raw -F "$3" "$1" "$2" >"$1.said" || { cat "$1.said"; return 1; }
}

created()
{
	local where=$1 name=${1##*/} format qemu size file options image bytes
	local given=() known=()

	read -r format qemu size file options <"$where/what"
	image=$where/$file
	[ -z "$options" ] || given=(-o "$options")
	[ "$format" != raw ] || known=(-f raw)
	if [[ $options = *backing_file* ]]; then
		ln "$dir"/base.* "$where" && cp "$dir/base.raw" "$where/model" || return
	fi
	"$vdisk" create -f "$format" "${given[@]}" "$image" "$size" &&
		"$vdisk" attach "$dm-$name" "${known[@]}" "$image" >"$where/device" &&
		bytes=$(blockdev --getsize64 "$(cat "$where/device")") &&
		truncate -s "$bytes" "$where/model" &&
		fill "$where/model" "$bytes" &&
		fill "$(cat "$where/device")" "$bytes" &&
		cmp -n 8M "$(cat "$where/device")" "$where/model" &&
		"$vdisk" detach "$dm-$name" &&
		"$vdisk" check "${known[@]}" "$image" >"$where/check" ||
		{ cat "$where/check"; return 1; }
	if [ "$qemu" = - ]; then
		"$vdisk" convert "$image" "$where/got" && same "$where/model" "$where/got" raw
	else
		same "$where/model" "$image" "$qemu" || return
		case $qemu in
		vmdk | qed) checked qemu-img check -q -f "$qemu" "$image" ;;
		esac
	fi
}

wheres=()
while read -r name what; do
	mkdir "$dir/$name"
	echo "$what" >"$dir/$name/what"
	wheres+=("$dir/$name")
	defer dm_gone "$dm-$name"
done <<'END_OF_TABLE'
raw raw raw 4M x.img
vhd vhd vpc 4M x.vhd
vhd-chs vhd vpc 4M x.vhd force_size=off
vhd-4k vhd vpc 4M x.vhd block_size=4k
vhd-256m vhd vpc 300M x.vhd block_size=256M
vhd-fixed vhd vpc 4M x.vhd subformat=fixed
vhd-child vhd - 4M x.vhd backing_file=base.vhd
vmdk vmdk vmdk 4M x.vmdk
vmdk-4k vmdk vmdk 4M x.vmdk grain_size=4k
vmdk-1m vmdk vmdk 4M x.vmdk grain_size=1M
vmdk-zeroed vmdk vmdk 4M x.vmdk zeroed_grain=on
vmdk-flat vmdk vmdk 4M x.vmdk subformat=monolithicFlat
vmdk-split vmdk vmdk 2052M x.vmdk subformat=twoGbMaxExtentSparse
vmdk-split-flat vmdk vmdk 2052M x.vmdk subformat=twoGbMaxExtentFlat
vmdk-stream vmdk vmdk 4M x.vmdk subformat=streamOptimized
vmdk-vmfs vmdk vmdk 4M x.vmdk subformat=vmfs
vmdk-cowd vmdk vmdk 4M x.vmdk subformat=vmfsSparse
vmdk-cowd-64k vmdk vmdk 4M x.vmdk subformat=vmfsSparse,grain_size=64k
vmdk-child vmdk vmdk 4M x.vmdk backing_file=base.vmdk
vmdk-split-child vmdk vmdk 2052M x.vmdk backing_file=base.vmdk,subformat=twoGbMaxExtentSparse
vmdk-stream-child vmdk vmdk 4M x.vmdk backing_file=base.vmdk,subformat=streamOptimized
vmdk-cowd-child vmdk vmdk 4M x.vmdk backing_file=base.vmdk,subformat=vmfsSparse
parallels parallels parallels 4M x.hds
parallels-63k parallels parallels 4M x.hds cluster_size=64512
parallels-1 parallels parallels 4M x.hds version=1
parallels-1-63 parallels parallels 4M x.hds version=1,cluster_size=32256
bundle parallels - 4M x.hdd bundle=on
bundle-1 parallels - 4M x.hdd bundle=on,version=1,cluster_size=64k
qed qed qed 4M x.qed
qed-4k qed qed 4M x.qed cluster_size=4k,table_size=16
qed-1 qed - 4M x.qed table_size=1
qed-child qed qed 4M x.qed backing_file=base.qed,backing_fmt=qed
qed-raw qed qed 4M x.qed backing_file=base.raw,backing_fmt=raw
END_OF_TABLE
before=$(sha256sum "$dir"/base.*)
each_at_once "filled from empty" created "${wheres[@]}"
eq "no parent has changed" "$(sha256sum "$dir"/base.*)" "$before"

ktap_end
