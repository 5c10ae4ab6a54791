#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=256M disk=512M timeout=600 long
#
# A power cut after each single write that the module sends to a device, in the order
# in which it sends them: a mark, growth, the tables of an epoch, rest, a resize of the
# attached device, the cut of the file at its end. The image opens each time, check
# finds nothing worse than a leak, and what the guest had flushed is there.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"
# shellcheck source=lib/small.sh
. "$(dirname "$0")/lib/small.sh"

need_module
need_tool
need_cmd qemu-img python3
need_disk 256M disk
need_disk 512M log
scratch work
# The program for all formats, with more of each, is 215-every-write.sh.
read -ra formats <<<"${every_formats:-parallels}"
ops=${every_ops:-4}
seed=${VDISK_SEED:-1}
export vdisk work

image_disk()
{
	rm -f "$work/state.raw"
	checked "$1" "$2" -U && "$vdisk" convert -U -f "$1" "$2" "$work/state.raw"
}
export -f checked image_disk

guest()
{
	stamps write "/dev/mapper/$dm" "$work/journal" "$seed" "$ops" max=60 flush=4 \
		size="$size" mark="$dm-log" >/dev/null
}

# The mark goes away by itself when nothing has been written for two periods.
rest()
{
	sleep 1
}

for format in "${formats[@]}"; do
	make_image "$format" "$work/empty"
	rm -f "$work/journal"
	dm_create "$dm-log" "0 $((128 << 11)) log-writes $disk $log"
	dd if="$work/empty" of="/dev/mapper/$dm-log" bs=64k conv=fsync status=none
	attach "$dm" -f "$format" -o commit=100 "/dev/mapper/$dm-log" >/dev/null
	dmsetup message "$dm-log" 0 mark start
	t "$format: write" guest
	rest
	t "$format: write after a rest" guest
	"$vdisk" resize "$dm" $((size + (1 << 20))) >"$work/said" 2>&1 ||
		echo "# $format: $(tail -1 "$work/said")"
	t "$format: write after a resize" guest
	t "$format: detach" "$vdisk" detach "$dm"
	dm_remove "$dm-log"
	truncate -s 128M "$work/state"
	loop=$(losetup -f --show "$work/state")
	t "$format: after each write" "$vhd_lib/logwrites.py" states "$log" "$loop" \
		"$work/journal" "$seed" 0 512 "$work/state.raw" \
		bash -c 'image_disk "$@"' state "$format" "$loop"
	losetup -d "$loop"
	rm "$work/state" "$work/empty"
	blkdiscard -f "$disk" 2>/dev/null || true
done
ktap_end
