#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G disk=1G,logical=4096 timeout=900
#
# Wherever the image lies, the same writes make the same disk: in a file of any
# file system, on disks of 512- and of 4096-byte sectors, on a block device
# without a file system, beside the page cache or through it.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img fio mkfs.ext4 mkfs.xfs mkfs.btrfs python3
need_disk 2G disk
need_disk 1G,logical=4096 disk4k
scratch work
scratch tree
make_tree "$tree" 60 3
# mke2fs takes over access times, and its own reading must not change them.
find "$tree" -exec touch -a -d '1 hour' {} +

# mke2fs writes the same for the same words, and its -d copies a tree without
# a mount, whose block allocation is nobody's promise. A device tells it of stripes,
# a raw file does not: they are given.
make_fs()
{
	E2FSPROGS_FAKE_TIME=1700000000 mkfs.ext4 -q -F -d "$tree" \
		-U 6d6b0000-0000-4000-8000-000000000001 \
		-E nodiscard,stride=1,stripe_width=512,hash_seed=6d6b0000-0000-4000-8000-000000000002 "$1" 24M
}

disk_size=$((40 << 20))
ops=(7 50 base=24M size=16M max=256k)
truncate -s "$disk_size" "$work/want.raw"
make_fs "$work/want.raw"
rio write "$work/want.raw" "${ops[@]}" how=buffered
qemu-img create -q -f vpc -o force_size=on "$work/empty.vhd" "$disk_size"

# place NAME IMAGE [OPTION...]: the cycle, on an image that is there and empty.
# IMAGE is a file or a device; options are the tool's.
place()
{
	local name=$1 image=$2 device=/dev/mapper/$dm-$1 mnt

	shift 2
	t "$name: attach" attach "$dm-$name" "$@" "$image"
	t "$name: mkfs and a tree" make_fs "$device"
	t "$name: write" rio write "$device" "${ops[@]}"
	eq "$name: the same disk as a raw file, before detach" \
		"$(cmp "$device" "$work/want.raw" 2>&1)" ""
	scratch mnt
	mount -o ro "$device" "$mnt"
	t "$name: the tree reads back" diff -r -x lost+found "$tree" "$mnt"
	umount "$mnt"
	t "$name: detach" "$vdisk" detach "$dm-$name"
	same_disk "$name: the same disk as a raw file" "$image" "$work/want.raw"
	at_rest "$name" "$image"
	t "$name: verified random writes" verified "$name" "$image" "$@"
}

# A second time on the same image, now that its blocks are there: whatever was
# written is read back from what was detached.
verified()
{
	local name=$1 image=$2

	shift 2
	attach "$dm-$name-2" "$@" "$image" || return
	fio --name=v --filename="/dev/mapper/$dm-$name-2" --offset=24M --size=16M \
		--io_size=2M --rw=randwrite --bsrange=512-1M --blockalign=512 \
		--bs_unaligned=0 --fsync=8 --verify=crc32c --do_verify=1 \
		--verify_fatal=1 --ioengine=libaio --iodepth=8 --direct=1 \
		--output="$work/fio.out" || { cat "$work/fio.out"; return 1; }
	"$vdisk" detach "$dm-$name-2" && "$vdisk" check "$image"
}

in_file()
{
	local name=$1 fs_type=$2 device=$3 dir

	shift 3
	scratch_fs "$fs_type" "$device" dir
	cp "$work/empty.vhd" "$dir/disk.vhd"
	place "$name" "$dir/disk.vhd" "$@"
	umount "$dir"
}

on_device()
{
	local name=$1 device=$2

	shift 2
	# Nothing says that a device was zero before an image came to it.
	(yes || true) | dd of="$device" bs=1M count=64 iflag=fullblock oflag=direct status=none
	dd if="$work/empty.vhd" of="$device" bs=4k conv=fsync status=none
	place "$name" "$device" "$@"
}

in_file ext4 ext4 "$disk"
in_file xfs xfs "$disk"
in_file btrfs btrfs "$disk"
in_file ext4-buffered ext4 "$disk" -o buffered
in_file ext4-4k ext4 "$disk4k"
on_device device "$disk"
if [ -n "${VDISK_LONG:-}" ]; then
	in_file xfs-4k xfs "$disk4k"
	on_device device-buffered "$disk" -o buffered
fi
on_device device-4k "$disk4k"

# Over a loop device, whose sectors are what its file lets them be.
truncate -s 64M "$work/loop"
loop=$(losetup -f --show "$work/loop")
defer losetup -d "$loop"
on_device loop "$loop"

ktap_end
