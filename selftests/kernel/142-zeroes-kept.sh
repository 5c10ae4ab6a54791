#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=300
#
# Zeroes of two kinds. Of those that a program wants to keep the space for (fallocate
# -z, which sends REQ_NOUNMAP) the image keeps every unit; those that may give it back
# (fallocate -p) free it. Either way zeroes are read.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img fallocate mkfs.ext4
need_disk 1G disk
device=/dev/mapper/$dm
scratch_fs ext4 "$disk" dir
image=$dir/image

# Sectors of the image that have a place of their own.
units()
{
	"$vdisk" map "$image" --json | awk '
		/"depth": 0,.*"data": true/ {
			sub(/.*"length": /, "")
			sum += $1 / 512
		}
		END { print sum + 0 }'
}

# zeroes_of NAME: 8 MiB are in the image; zero them one way, then the other.
zeroes_of()
{
	local before

	attach "$dm" "${@:2}" "$image" >/dev/null
	dd if=/dev/urandom of="$device" bs=1M count=8 oflag=direct status=none
	"$vdisk" detach "$dm"
	before=$(units)
	t "$1: something is there" [ "$before" -ge 16384 ]
	attach "$dm" "${@:2}" "$image" >/dev/null
	t "$1: zero, keep" fallocate -z -o 0 -l 8M "$device"
	t "$1: reads zero" cmp -n 8M "$device" /dev/zero
	"$vdisk" detach "$dm"
	eq "$1: every unit is kept" "$(units)" "$before"
	t "$1: check" "$vdisk" check "$image"
	attach "$dm" "${@:2}" "$image" >/dev/null
	t "$1: zero, free" fallocate -p -o 0 -l 8M "$device"
	t "$1: reads zero" cmp -n 8M "$device" /dev/zero
	"$vdisk" detach "$dm"
	eq "$1: no unit is kept" "$(units)" 0
	t "$1: check" "$vdisk" check "$image"
}

for format in qed parallels vmdk vpc; do
	case $format in
	vpc) qemu-img create -q -f vpc -o force_size=on "$image" 32M ;;
	*) qemu-img create -q -f "$format" "$image" 32M ;;
	esac
	zeroes_of "$format"
done

# In a chain: an entry says zero, or bytes do.
truncate -s 32M "$dir/base.raw"
dd if=/dev/urandom of="$dir/base.raw" bs=1M count=16 conv=notrunc status=none
qemu-img create -q -f qed -o "backing_file=base.raw,backing_fmt=raw" "$image"
zeroes_of "qed over raw"
ktap_end
