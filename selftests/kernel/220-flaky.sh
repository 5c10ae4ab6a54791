#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=1800 long
#
# The disk below fails: reads, writes of data, writes of tables, flushes. The
# guest is told; a device whose tables or flushes are in doubt writes no more and
# says why; what was flushed before is there when the disk is well again.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"
# shellcheck source=lib/small.sh
. "$(dirname "$0")/lib/small.sh"

need_module
need_tool
need_cmd qemu-img python3 jq mkfs.ext4 e2fsck
need_disk 1G disk
scratch work

length=$((256 << 11))
under=/dev/mapper/$dm-under
device=/dev/mapper/$dm

# What the disk below is from now on; what is in flight meanwhile waits.
under_is()
{
	dmsetup suspend --noflush --nolockfs "$dm-under" &&
		dmsetup load "$dm-under" --table "$1" &&
		dmsetup resume "$dm-under"
}

well="0 $length linear $disk 0"
all_writes="0 $length flakey $disk 0 0 3600 1 error_writes"
everything="0 $length error"
# Every target of a table is told of a flush: one that fails is enough.
flushes="0 $((length - 8)) linear $disk 0
$((length - 8)) 8 flakey $disk $((length - 8)) 0 3600 1 error_writes"

from_sector()
{
	echo "0 $1 linear $disk 0
$1 $((length - $1)) error"
}

up_to_sector()
{
	echo "0 $1 error
$1 $((length - $1)) linear $disk $1"
}

# The first 4 KiB behind all that the image has now, in sectors. The page cache
# of the disk below knows nothing of what the image was told meanwhile. A VHD ends
# with the footer, at the disk's end: it is its blocks that count, and the last may
# be written in part.
end_of_image()
{
	blockdev --flushbufs "$under"
	case $1 in
	vhd)
		"$vdisk" map --json -f vhd "$under" |
			jq '[.[] | select(.offset) | .offset + .length] | max + 65536'
		;;
	*) "$vdisk" check -U -f "$1" "$under" | sed -n 's/^Image end offset: //p' ;;
	esac | awk '{ print int(($1 + 4095) / 4096) * 8 }'
}

writes()
{
	stamps write "$device" "$work/journal" "$@"
}

# Some errors are what is wanted.
with_errors()
{
	local said

	said=$(writes "$@" errors=1) || return
	echo "$said"
	[ "$said" != "0 errors" ]
}

health()
{
	dmsetup status "$dm" | cut -d ' ' -f 5
}

events()
{
	dmsetup info -c --noheadings -o events "$dm" | tr -d ' '
}

fresh_image()
{
	rm -f "$work/journal"
	make_image "$1" "$work/empty"
	blkdiscard -f "$disk" 2>/dev/null
	dd if="$work/empty" of="$under" bs=64k conv=fsync status=none
	rm "$work/empty"
}

begin()
{
	fresh_image "$2"
	t "$1: attach" attach "$dm" -f "$2" -o commit=3600000 "$under"
	t "$1: write" writes 1 40 size=$((size / 2))
}

# finish NAME FORMAT IMAGE HEALTH: the disk is well again
finish()
{
	eq "$1: the health is" "$(health)" "$4"
	t "$1: detach" dmsetup remove --retry "$dm"
	t "$1: check finds nothing worse than a leak" checked "$2" "$3"
	t "$1: what was flushed is there" holds "$2" "$3"
}

# A device that writes no more says so, and reads.
stopped()
{
	eq "$1: the health is" "$(health)" "$2"
	t "$1: an event tells" test "$(events)" -gt "$3"
	under_is "$well"
	fails "$1: nothing is written" dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct
	fails "$1: a flush fails" dd if="$device" of="$device" bs=4k count=0 conv=fsync,notrunc
	t "$1: it reads" dd if="$device" of=/dev/null bs=1M iflag=direct
}

# Marked images are refused until somebody has looked; VHD has no mark.
refused_or_not()
{
	if [ "$2" = vhd ]; then
		t "$1: attach again" attach "$dm" -f "$2" "$under"
		dm_remove "$dm"
	else
		says "$1: attach again" "not closed" "$vdisk" attach -f "$2" "$dm" "$under"
		dm_gone "$dm"
	fi
}

dm_create "$dm-under" "$well"
for format in "${small_formats[@]}"; do
	name="$format, data"
	begin "$name" "$format"
	under_is "$(from_sector "$(end_of_image "$format")")"
	t "$name: new units are errors" with_errors 2 60
	under_is "$well"
	t "$name: writing goes on" writes 3 60
	finish "$name" "$format" "$under" ok
	t "$name: attach again" attach "$dm" -f "$format" "$under"
	dm_remove "$dm"

	name="$format, tables"
	begin "$name" "$format"
	before=$(events)
	under_is "$(up_to_sector "$(end_of_image "$format")")"
	t "$name: flushes are errors" with_errors 2 60
	stopped "$name" table-write-failed "$before"
	finish "$name" "$format" "$under" table-write-failed
	refused_or_not "$name" "$format"

	name="$format, flushes"
	begin "$name" "$format"
	before=$(events)
	under_is "$flushes"
	t "$name: flushes are errors" with_errors 2 60
	stopped "$name" flush-failed "$before"
	finish "$name" "$format" "$under" flush-failed
	refused_or_not "$name" "$format"

	# Cold caches: the tables themselves cannot be read.
	name="$format, reads"
	begin "$name" "$format"
	dm_remove "$dm"
	t "$name: attach again" attach "$dm" -f "$format" "$under"
	under_is "$everything"
	fails "$name: an error" dd if="$device" of="$work/raw" bs=1M iflag=direct
	under_is "$well"
	t "$name: no error any more" dd if="$device" of="$work/raw" bs=1M iflag=direct
	t "$name: it reads what was written" stamps verify \
		"$work/journal" "$work/raw"
	finish "$name" "$format" "$under" ok

	# A file system between, which has its own idea of what to do.
	name="$format, in a file"
	mkfs.ext4 -q -F "$under"
	mkdir -p "$work/mnt"
	mount "$under" "$work/mnt"
	defer umount -q "$work/mnt"
	make_image "$format" "$work/mnt/image"
	rm -f "$work/journal"
	sync -f "$work/mnt"
	t "$name: attach" attach "$dm" -f "$format" "$work/mnt/image"
	t "$name: write" writes 1 40 size=$((size / 2))
	under_is "$all_writes"
	t "$name: writes are errors" with_errors 2 60
	eq "$name: the health is" "$(health)" flush-failed
	t "$name: detach" dmsetup remove --retry "$dm"
	umount "$work/mnt"
	under_is "$well"
	e2fsck -fp "$under" >"$work/fsck" || [ $? -le 1 ] || cat "$work/fsck"
	mount "$under" "$work/mnt"
	t "$name: check finds nothing worse than a leak" checked "$format" "$work/mnt/image"
	t "$name: what was flushed is there" holds "$format" "$work/mnt/image"
	umount "$work/mnt"
done

ktap_end
