#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M disk=512M smp=2 memory=1500M timeout=300
#
# What the device says of itself: sizes that a partitioner and mkfs align to, pages
# that must not change while they are written, and whether it can be polled.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_cmd qemu-img mkfs.ext4 sfdisk jq dumpe2fs fio
need_disk 512M disk
need_disk 512M other
device=/dev/mapper/$dm

queue()
{
	cat "/sys/block/$(basename "$(readlink -f "$device")")/queue/$1"
}

scratch_fs ext4 "$disk" dir

sizes()
{
	local name=$1 line=$2 unit=$3

	dm_create "$dm" "$line"
	eq "$name: physical blocks" "$(queue physical_block_size)" 4096
	eq "$name: the least that is done well" "$(queue minimum_io_size)" 4096
	eq "$name: the best is a unit" "$(queue optimal_io_size)" "$unit"
}

qemu-img create -q -f vpc -o force_size=on "$dir/a.vhd" 64M
sizes vhd "0 131072 vdisk rw 1 1 131072 vhd 1 $dir/a.vhd" 2097152
echo "size=20MiB" | sfdisk -q --no-reread -w never -W never "$device"
eq "vhd: a partition begins with a unit" \
	"$(($(sfdisk -J "$device" | jq '.partitiontable.partitions[0].start') % 4096))" 0
mkfs.ext4 -q -F "$device"
eq "vhd: mkfs knows of units" "$(dumpe2fs -h "$device" 2>/dev/null |
	awk -F': *' '$1 == "Block size" { b = $2 } $1 == "RAID stripe width" { w = $2 }
		END { print b * w }')" 2097152
eq "vhd: pages may change" "$(queue stable_writes)" 0
eq "vhd: a file is not polled" "$(queue io_poll)" 0
dm_remove "$dm"
qemu-img create -q -f qed "$dir/a.qed" 64M
sizes qed "0 131072 vdisk rw 1 1 131072 qed 1 $dir/a.qed" 65536
dm_remove "$dm"
truncate -s 64M "$dir/raw"
dm_create "$dm" "0 131072 vdisk rw 1 1 131072 raw 1 $dir/raw"
eq "raw: physical blocks" "$(queue physical_block_size)" 4096
dm_remove "$dm"

# A disk whose file systems are told so, as one is that sums up what it writes.
echo 1 >"/sys/block/${other#/dev/}/queue/stable_writes"
scratch_fs ext4 "$other" sums
truncate -s 64M "$sums/raw"
dm_create "$dm" "0 131072 vdisk rw 1 1 131072 raw 1 $sums/raw"
eq "sums below: pages may not change" "$(queue stable_writes)" 1
dm_remove "$dm"
dm_create "$dm" "0 131072 vdisk rw 1 1 131072 raw 1 $sums/raw 1 buffered"
eq "sums below, but copied first: they may" "$(queue stable_writes)" 0
dm_remove "$dm"
umount "$sums"
echo 0 >"/sys/block/${other#/dev/}/queue/stable_writes"

# A table block that is not at hand is a worker's to read: nobody polls for that.
polled()
{
	local null=/sys/kernel/config/nullb/n0

	modprobe null_blk nr_devices=0 2>/dev/null && mkdir -p "$null" 2>/dev/null || {
		skip "polled" "no null_blk"
		return
	}
	defer rmdir "$null"
	defer eval "echo 0 >$null/power"
	echo 1 >"$null/memory_backed"
	echo 256 >"$null/size"
	echo 512 >"$null/blocksize"
	if ! echo 2 >"$null/poll_queues" 2>/dev/null; then
		skip "polled" "null_blk without queues that are polled"
		return
	fi
	echo 1 >"$null/power"
	udevadm settle
	qemu-img create -q -f qed "$dir/p.qed" 1G
	dd if="$dir/p.qed" of=/dev/n0 bs=64k conv=notrunc status=none
	dm_create "$dm" "0 2097152 vdisk rw 1 1 2097152 qed 1 /dev/n0"
	dd if=/dev/urandom of="$device" bs=1M count=2 seek=500 oflag=direct status=none
	dmsetup suspend "$dm"
	dmsetup resume "$dm"
	if [ "$(queue io_poll)" -eq 0 ]; then
		skip "polled" "this kernel polls only for bios that must not wait"
		dm_remove "$dm"
		return
	fi
	t "polled: a read whose table is not at hand" timeout 60 fio --name=c \
		--filename="$device" --rw=read --bs=4k --offset=500M --size=64k --direct=1 \
		--ioengine=io_uring --hipri --iodepth=1 --allow_file_create=0 --output=/dev/null
	t "polled: and one whose table is" timeout 60 fio --name=w \
		--filename="$device" --rw=read --bs=4k --offset=500M --size=64k --direct=1 \
		--ioengine=io_uring --hipri --iodepth=1 --allow_file_create=0 --output=/dev/null
	dm_remove "$dm"
}

polled
ktap_end
