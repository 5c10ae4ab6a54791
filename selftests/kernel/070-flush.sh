#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900
#
# What a guest has flushed is in the image file at that moment, and its tables
# are whole: whoever copies the file then, without a word to the device, has it.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir

size=$((64 << 20))
image=$dir/disk.vhd
raw=$dir/want.raw
qemu-img create -q -f vpc -o force_size=on "$image" "$size"
truncate -s "$size" "$raw"

# As it is on the disk: not by way of a page cache that may know more. Room for
# blocks to come counts as lost (3) until the device rests.
snapshot()
{
	local status=0

	rm -f "$dir/copy.vhd"
	dd if="$image" of="$dir/copy.vhd" bs=1M iflag=direct conv=sparse status=none &&
		truncate -r "$image" "$dir/copy.vhd" || return
	"$vdisk" check "$dir/copy.vhd" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || return "$status"
	qemu-img compare -f vpc -F raw "$dir/copy.vhd" "$raw"
}

# Flushes that the disk below got so far.
disk_flushes()
{
	awk '{ print $16 }' "/sys/class/block/${disk#/dev/}/stat"
}

# The timer must not do the work of the flush.
t "attach" attach "$dm" -o commit=3600000 "$image"
device=/dev/mapper/$dm

for round in 1 2 3; do
	rio write "$raw" "$round" 40 max=128k how=buffered
	before=$(disk_flushes)
	t "round $round: write and fdatasync" rio write "$device" "$round" 40 max=128k
	t "round $round: the disk below was flushed" \
		test "$(disk_flushes)" -gt "$before"
	t "round $round: what was flushed is in the image" snapshot
done

# Direct writes, each with FUA: no flush follows.
for round in 4 5; do
	rio write "$raw" "$round" 15 max=64k how=buffered
	t "round $round: FUA writes" rio write "$device" "$round" 15 max=64k \
		how=direct flush=0 dsync=1
	t "round $round: what FUA wrote is in the image" snapshot
done

# The same to blocks that are there and settled, where no table changes.
rio write "$raw" 6 15 size=2M max=64k how=buffered
rio write "$raw" 7 15 size=2M max=64k how=buffered
rio write "$device" 6 15 size=2M max=64k
before=$(disk_flushes)
t "FUA in place" rio write "$device" 7 15 size=2M max=64k how=direct flush=0 dsync=1
t "FUA in place: the image has it" snapshot

# A flush with nothing to flush still answers.
t "an idle flush" rio write "$device" 8 0

# Direct writes that nobody flushed, then suspend: it brings all to rest.
rio write "$raw" 9 40 max=128k how=buffered
t "unflushed writes" rio write "$device" 9 40 max=128k how=direct flush=0
t "suspend" dmsetup suspend "$dm"
t "suspended: all is in the image" snapshot
at_rest "suspended" "$image" --force-share
t "resume" dmsetup resume "$dm"
t "resumed: the same disk" cmp "$device" "$raw"
rio write "$raw" 10 20 max=128k how=buffered
t "resumed: write" rio write "$device" 10 20 max=128k
t "resumed: what was flushed is in the image" snapshot

t "detach" "$vdisk" detach "$dm"
same_disk "the same disk as a raw file" "$image" "$raw"
at_rest "detached" "$image"

# The commit timer: nobody flushes, the tables reach the image all the same.
commits()
{
	dmsetup status "$dm" | awk '{ print $10 }'
}

committed()
{
	local k

	for ((k = 0; k < 200; k++)); do
		if [ "$(commits)" -gt 0 ]; then
			snapshot && return
		fi
		sleep 0.1
	done
	echo "$(commits) commits"
	return 1
}

rm "$image" "$raw"
qemu-img create -q -f vpc -o force_size=on "$image" "$size"
truncate -s "$size" "$raw"
t "timer: attach" attach "$dm" -o commit=100 "$image"
rio write "$raw" 11 20 max=64k how=buffered
rio write "$device" 11 20 max=64k how=direct flush=0
t "timer: what nobody flushed gets into the image" committed
t "detach" "$vdisk" detach "$dm"
same_disk "the same disk as a raw file" "$image" "$raw"
at_rest "detached" "$image"

ktap_end
