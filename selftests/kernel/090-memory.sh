#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=300
#
# Tables larger than the memory that they may have, and memory that is taken
# away while they are used: what is read stays right.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir

limit=/sys/module/dm_vdisk/parameters/table_cache_mb
was=$(cat "$limit")
restore()
{
	echo "$was" >"$limit"
}
defer restore

# Kilobytes of table blocks at hand, of all devices.
blocks()
{
	echo 1 >/sys/kernel/slab/dm_vdisk_block/shrink
	cut -d ' ' -f 1 /sys/kernel/slab/dm_vdisk_block/objects
}

# Freed after a grace period, so: soon.
few_blocks()
{
	local k

	for ((k = 0; k < 300; k++)); do
		[ "$(blocks)" -gt "$1" ] || return 0
		sleep 0.1
	done
	echo "$(blocks) blocks, wanted $1 at most"
	return 1
}

# 100 GiB of 2 MiB blocks have 200 KiB of BAT; bitmaps take a block each.
qemu-img create -q -f vpc -o force_size=on "$dir/big.vhd" 100G
echo 1 >"$limit"
t "attach" attach "$dm" "$dir/big.vhd"
t "random I/O with 1 MiB for tables" rio check "/dev/mapper/$dm" 31 1500 \
	max=16k how=direct loop=100
t "about as much memory is used" few_blocks 320
t "random I/O with caches dropped all the time" rio check "/dev/mapper/$dm" 32 60 \
	base=40G max=64k how=mixed loop=4
echo 0 >"$limit"
# Two blocks are needed for a sector, and each pushes the other out; what is
# dirty stays, so it has to be clean to show.
t "random I/O with no memory for tables" rio check "/dev/mapper/$dm" 33 150 \
	base=60G max=16k how=direct loop=5
echo 64 >"$limit"
t "random I/O with plenty" rio check "/dev/mapper/$dm" 34 150 base=80G max=16k how=direct
t "detach" "$vdisk" detach "$dm"
t "nothing is left of the tables" few_blocks 0
at_rest "100 GiB" "$dir/big.vhd"

# The same places from the other side.
t "attach again" attach "$dm" --read-only "$dir/big.vhd"
readback()
{
	local k at

	for at in 0 40 60 80; do
		k=$((at << 14))
		# For qemu-img, count is where to end.
		qemu-img dd -U -f vpc -O raw bs=64k skip="$k" count=$((k + 16)) \
			"if=$dir/big.vhd" "of=$dir/qemu" || return
		dd if="/dev/mapper/$dm" bs=64k skip="$k" count=16 status=none |
			cmp - "$dir/qemu" || return
	done
}
t "qemu reads the same" readback
"$vdisk" detach "$dm"

ktap_end
