#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: timeout=900
#
# The guest of power.sh: look at what the last boot left, then write to new
# images until the power goes. $VDISK_SHARE/plan says: images in a file system
# (0, 1), is the power going to be cut (0, 1), seed.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=../kernel/lib/vhd.sh
. "$test_lib/../kernel/lib/vhd.sh"
# shellcheck source=../kernel/lib/small.sh
. "$test_lib/../kernel/lib/small.sh"

need_module
need_tool
[ -n "${VDISK_SHARE:-}" ] || skip_all "for power.sh"
share=$VDISK_SHARE
read -r in_fs more seed <"$share/plan"
formats=("${small_formats[@]}")
scratch work

kept()
{
	local file

	for file in /sys/block/vd*/serial; do
		if [ "$(cat "$file")" = "kept$1" ]; then
			file=${file%/serial}
			echo "/dev/${file##*/}"
		fi
	done
}

looked_at()
{
	local format=$1 disk=$2 image=$2

	if [ "$(cat "$share/place.$format")" = 1 ]; then
		image=$work/$format/disk
		mount "$disk" "$work/$format" || true
	fi
	t "$format: check finds nothing worse than a leak" checked "$format" "$image"
	t "$format: attach" "$vdisk" attach -r -f "$format" "$dm-$format" "$image"
	t "$format: what was flushed is there" stamps verify \
		"$share/journal.$format" "/dev/mapper/$dm-$format"
	dm_gone "$dm-$format"
	[ "$image" = "$disk" ] || umount "$work/$format"
}

prepared()
{
	local format=$1 disk=$2 image=$2

	blkdiscard -f "$disk" 2>/dev/null
	if [ "$in_fs" = 1 ]; then
		mkfs.ext4 -q -F "$disk"
		mount "$disk" "$work/$format"
		image=$work/$format/disk
		make_image "$format" "$image"
		sync -f "$image"
	else
		make_image "$format" "$work/empty"
		dd if="$work/empty" of="$disk" bs=64k conv=fsync status=none
		rm "$work/empty"
	fi
	echo "$in_fs" >"$share/place.$format"
	rm -f "$share/journal.$format"
	"$vdisk" attach -f "$format" -o "commit=$((100 + seed % 3000))" "$dm-$format" "$image"
}

k=0
for format in "${formats[@]}"; do
	disks[k]=$(kept "$k")
	mkdir "$work/$format"
	[ ! -e "$share/place.$format" ] || looked_at "$format" "${disks[k]}"
	k=$((k + 1))
done
[ "$more" = 1 ] || ktap_end

for k in "${!formats[@]}"; do
	prepared "${formats[k]}" "${disks[k]}"
done
for format in "${formats[@]}"; do
	stamps write "/dev/mapper/$dm-$format" "$share/journal.$format" \
		"$seed" 1000000 max=200 flush=6 &
done
for format in "${formats[@]}"; do
	until [ -s "$share/journal.$format" ]; do
		sleep 0.1
	done
done
: >"$share/writing"
wait
fail "the power was not cut"
ktap_end
