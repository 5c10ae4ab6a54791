#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G disk=2G timeout=2400 long
#
# Power cuts below the image: dm-log-writes records what its backing device is
# told while a guest writes, discards and flushes. Whatever was on the device at
# a flush, or some time after it, the image opens, check finds nothing worse than
# a leak, and what the guest had flushed is there.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"
# shellcheck source=lib/small.sh
. "$(dirname "$0")/lib/small.sh"

need_module
need_tool
need_cmd qemu-img python3 mkfs.ext4
need_disk 1G disk
need_disk 2G log
scratch work

ops=300 states=12
seed=${VDISK_SEED:-1}
export vdisk work

# What the image on a device, or in a file, holds. Leaks are allowed.
image_disk()
{
	rm -f "$work/state.raw"
	checked "$1" "$2" -U && "$vdisk" convert -U -f "$1" "$2" "$work/state.raw"
}

# The same of an image in a file system, which first has to recover.
file_disk()
{
	local status=0

	cp --sparse=always "$work/state" "$work/mounted"
	mount -o loop "$work/mounted" "$work/mnt" || return
	image_disk "$1" "$work/mnt/disk" || status=$?
	umount "$work/mnt"
	rm "$work/mounted"
	return "$status"
}
export -f checked image_disk file_disk

# recorded NAME IMAGE FORMAT: a guest on the image, on top of the record
recorded()
{
	rm -f "$work/journal"
	t "$1: attach" attach "$dm" -f "$3" -o commit=300 "$2"
	dmsetup message "$dm-log" 0 mark start
	t "$1: write and flush" stamps write "/dev/mapper/$dm" \
		"$work/journal" "$seed" "$ops" max=200 mark="$dm-log"
	t "$1: detach" "$vdisk" detach "$dm"
}

start_record()
{
	# What was there before is not in the record.
	blkdiscard -f "$disk" 2>/dev/null
	dm_create "$dm-log" "0 $((256 << 11)) log-writes $disk $log"
}

# states NAME COUNT TORN DISK FUNCTION FORMAT: so many flushes of the record
states()
{
	t "$1: $2 flushes, and after them" "$vhd_lib/logwrites.py" states "$log" \
		"$4" "$work/journal" "$seed" "$2" "$3" "$work/state.raw" \
		bash -c "$5" state "$6" "$4"
}

on_device()
{
	local format=$1 name="$1 on a device" loop

	make_image "$format" "$work/empty"
	start_record
	dd if="$work/empty" of="/dev/mapper/$dm-log" bs=64k conv=fsync status=none
	recorded "$name" "/dev/mapper/$dm-log" "$format"
	dm_remove "$dm-log"
	truncate -s 256M "$work/state"
	loop=$(losetup -f --show "$work/state")
	states "$name" "$states" 512 "$loop" 'image_disk "$@"' "$format"
	losetup -d "$loop"
	rm "$work/state" "$work/empty"
}

in_file()
{
	local format=$1 name="$1 in a file"

	start_record
	mkfs.ext4 -q -F -E nodiscard "/dev/mapper/$dm-log"
	mount -o discard "/dev/mapper/$dm-log" "$work/mnt"
	make_image "$format" "$work/mnt/disk"
	sync -f "$work/mnt/disk"
	recorded "$name" "$work/mnt/disk" "$format"
	umount "$work/mnt"
	dm_remove "$dm-log"
	truncate -s 256M "$work/state"
	# A file system counts on its blocks being written whole.
	states "$name" $((states / 4)) 4096 "$work/state" 'file_disk "$@"' "$format"
	rm "$work/state"
}

mkdir "$work/mnt"
defer umount -q "$work/mnt"
for format in "${small_formats[@]}"; do
	on_device "$format"
	in_file "$format"
done

ktap_end
