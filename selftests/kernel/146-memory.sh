#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=200
#
# What memory is counted: table blocks that were changed have a second page, which
# the limit covers as well. And large buffers are used again: inflating many grains
# one after the other takes one of them, not one each.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img python3 mkfs.ext4
need_disk 1G disk
device=/dev/mapper/$dm
parameters=/sys/module/dm_vdisk/parameters
scratch_fs ext4 "$disk" dir
was=$(cat $parameters/table_cache_mb)
restore()
{
	echo "$was" >"$parameters/table_cache_mb"
}
defer restore

blocks()
{
	echo 1 >/sys/kernel/slab/dm_vdisk_block/shrink
	cut -d ' ' -f 1 /sys/kernel/slab/dm_vdisk_block/objects
}

# Freed after a grace period, so: soon.
few_blocks()
{
	local k

	for ((k = 0; k < 100; k++)); do
		[ "$(blocks)" -gt "$1" ] || return 0
		sleep 0.1
	done
	echo "$(blocks) blocks, wanted $1 at most"
	return 1
}

# ---- changed blocks: with two pages and 1.5 KiB each, 107 fit into 1 MiB

echo 1 >$parameters/table_cache_mb
qemu-img create -q -f qed "$dir/image" 64G
t "attach" attach "$dm" "$dir/image"
# A block of entries maps 32 MiB; what is dirty must stay until it is committed.
t "write far and wide" python3 - "$device" <<'END'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
for k in range(240):
    os.pwrite(fd, page, k << 25)
    if k % 24 == 23:
        os.fsync(fd)
for k in range(20):
    os.preadv(fd, [page], k << 25)
END
t "the second pages are counted" few_blocks 125
t "detach" "$vdisk" detach "$dm"
restore

# ---- workspaces: how many buffers of 200 KiB and more are asked for

tracing=/sys/kernel/tracing
[ -e $tracing/kprobe_events ] || mount -t tracefs none $tracing 2>/dev/null || true
probe=
for each in __kvmalloc_node_noprof kvmalloc_node_noprof __kvmalloc_node kvmalloc_node; do
	if [ -z "$probe" ] && grep -qw "$each" $tracing/available_filter_functions 2>/dev/null; then
		probe=$each
	fi
done
head -c 16M /dev/urandom >"$dir/raw"
"$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized "$dir/raw" "$dir/stream" >/dev/null
t "attach a stream" attach "$dm" -r "$dir/stream"
if [ -z "$probe" ]; then
	skip "buffers are used again" "this kernel has no kvmalloc() to be traced"
else
	unprobe()
	{
		echo 0 >$tracing/events/vdisk_test/enable
		echo >$tracing/kprobe_events
	}
	echo "p:vdisk_test/large $probe size=%di:u64" >$tracing/kprobe_events
	echo 'size > 200000' >$tracing/events/vdisk_test/large/filter
	echo >$tracing/trace
	echo 1 >$tracing/events/vdisk_test/enable
	defer unprobe
	t "read" cmp -n 16M "$device" "$dir/raw"
	large=$(grep -c 'large:' $tracing/trace || true)
	echo "# $large large buffers for 256 grains"
	t "buffers are used again" [ "$large" -le 32 ]
fi
t "detach" "$vdisk" detach "$dm"
ktap_end
