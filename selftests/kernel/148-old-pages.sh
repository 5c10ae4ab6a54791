#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=256M timeout=180
#
# An image on a block device is written by bios, beside the page cache of that
# device, which has pages from when the image was attached. A program that reads it
# while the disk is suspended finds what was written, not those pages; above all a
# resize of the attached disk, which writes the tables anew.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img
need_disk 256M disk
device=/dev/mapper/$dm
scratch work
head -c 3M /dev/urandom >"$work/data"

for format in parallels qed; do
	qemu-img create -q -f "$format" "$work/image" 16M
	dd if="$work/image" of="$disk" bs=64k conv=fsync status=none
	attach "$dm" -f "$format" "$disk" >/dev/null
	# Whoever looks at the device has pages of it read in.
	dd if="$disk" of=/dev/null bs=64k count=64 status=none
	t "$format: write" dd if="$work/data" of="$device" bs=256k oflag=direct conv=fsync \
		status=none
	dmsetup suspend "$dm"
	"$vdisk" map -U -f "$format" --json "$disk" >"$work/map"
	dmsetup resume "$dm"
	t "$format: a reader sees the units" grep -q '"data": true' "$work/map"
	dd if="$disk" of=/dev/null bs=64k count=64 status=none
	t "$format: write again" dd if="$work/data" of="$device" bs=256k seek=16 \
		oflag=direct conv=fsync status=none
	t "$format: resize" "$vdisk" resize "$dm" 20M
	t "$format: what was there before" cmp -n 3M "$device" "$work/data"
	t "$format: and behind it" cmp -n 3M -i 4M:0 "$device" "$work/data"
	t "$format: detach" "$vdisk" detach "$dm"
	rm "$work/image"
done
ktap_end
