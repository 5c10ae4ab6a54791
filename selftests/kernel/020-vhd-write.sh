#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G disk=2G timeout=900
#
# Writing VHDs: whatever a guest does to the device, qemu-img finds in the image
# what a raw disk would hold after the same.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img fio mkfs.ext4 python3
need_disk 2G disk
need_disk 2G log
scratch_fs ext4 "$disk" dir

# sequence NAME COUNT [KEY=VALUE...]: the same writes on the device and on a
# file; then both must be the same disk.
sequence()
{
	local name=$1 count=$2 image=$dir/$1.vhd raw=$dir/$1.raw size seed=${#1}

	shift 2
	t "$name: attach" attach "$dm-$name" "$image"
	size=$(blockdev --getsize64 "/dev/mapper/$dm-$name")
	eq "$name: the size is qemu-img's" $((size / 512)) "$(sectors "$image")"
	truncate -s "$size" "$raw"
	t "$name: write" rio write "/dev/mapper/$dm-$name" "$seed" "$count" also="$raw" "$@"
	# Reading gigabytes of holes takes long; the image below is the same disk.
	[ "$size" -gt $((128 << 20)) ] ||
		t "$name: what is read at once is what was written" \
			cmp "/dev/mapper/$dm-$name" "$raw"
	t "$name: detach" "$vdisk" detach "$dm-$name"
	same_disk "$name: the same disk as a raw file" "$image" "$raw"
	# What dm_remove undid is done; what the tool's checks see is at rest.
	case $name in
	fixed) t "fixed: check finds nothing" "$vdisk" check "$image" ;;
	*) at_rest "$name" "$image" ;;
	esac
	rm "$image" "$raw"
}

qemu-img create -q -f vpc "$dir/sparse.vhd" 4G
sequence sparse 200 spots=24
qemu-img create -q -f vpc -o force_size=on "$dir/odd.vhd" $(((100 << 20) + 7 * 512))
sequence odd 120 spots=12 max=64k
qemu-img create -q -f vpc -o force_size=on "$dir/tiny.vhd" 512
sequence tiny 20
qemu-img create -q -f vpc -o subformat=fixed "$dir/fixed.vhd" 40M
sequence fixed 60

# Other tools make other blocks. The last block is one in part; the kernel then
# has pages of 512-byte pieces, which it writes back one by one: few, short ones.
vhd_py make "$dir/4k.vhd" size=$(((4 << 20) + 512)) block=4096
sequence 4k 150 max=64k
vhd_py make "$dir/512k.vhd" size=$(((24 << 20) - 512)) block=$((512 << 10))
sequence 512k 100 max=128k
vhd_py make "$dir/16m.vhd" size=$((40 << 20)) block=$((16 << 20))
sequence 16m 80 max=256k
vhd_py make "$dir/256m.vhd" size=$((260 << 20)) block=$((256 << 20))
sequence 256m 40 max=64k spots=4
# Blocks that are there, most of whose bits are not.
vhd_py make "$dir/bits.vhd" size=$((16 << 20)) block=$((512 << 10)) \
	blocks=1,2,7,30,31 sectors=3 raw="$dir/bits.raw"
sequence bits 150 max=64k

# A file system, and all that it and its users write: recorded above the device
# and done again on a plain file.
qemu-img create -q -f vpc "$dir/fs.vhd" 4G
t "fs: attach" attach "$dm-fs" "$dir/fs.vhd"
size=$(blockdev --getsize64 "/dev/mapper/$dm-fs")
t "fs: record" dm_create "$dm-log" \
	"0 $((size / 512)) log-writes /dev/mapper/$dm-fs $log"
t "fs: mkfs" mkfs.ext4 -q -E nodiscard "/dev/mapper/$dm-log"
scratch mnt
mount "/dev/mapper/$dm-log" "$mnt"
defer umount -q "$mnt"
scratch tree
make_tree "$tree" 1200 5
cp -a "$tree" "$mnt/tree"
t "fs: random writes are verified" fio --name=rw --filename="$mnt/fio" --size=16M \
	--rw=randwrite --bsrange=512-1M --bs_unaligned=0 --blockalign=512 \
	--io_size=12M --fsync=24 --verify=crc32c --verify_fatal=1 --do_verify=1 \
	--ioengine=psync --direct=1 --minimal --output="$dir/fio.out"
eq "fs: the tree reads back" "$(tree_sha "$mnt/tree")" "$(tree_sha "$tree")"
t "fs: umount" umount "$mnt"
t "fs: stop recording" dm_remove "$dm-log"
t "fs: detach" "$vdisk" detach "$dm-fs"
truncate -s "$size" "$dir/fs.raw"
t "fs: do it again on a file" logwrites replay "$log" "$dir/fs.raw"
same_disk "fs: the same disk as that file" "$dir/fs.vhd" "$dir/fs.raw"
at_rest "fs" "$dir/fs.vhd"
t "fs: e2fsck finds nothing" e2fsck -fn "$dir/fs.raw"
mount -o ro,loop "$dir/fs.raw" "$mnt"
eq "fs: the tree is in it" "$(tree_sha "$mnt/tree")" "$(tree_sha "$tree")"
umount "$mnt"

ktap_end
