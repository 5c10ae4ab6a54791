#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=256M disk=256M timeout=180
#
# Fields of a header that change together go out in one write: whichever write is
# the last before a power cut, they say the same.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img python3
need_disk 256M disk
need_disk 256M log
device=/dev/mapper/$dm
scratch work
logwrites=$(dirname "$0")/lib/logwrites.py

# QED: an image in use (bit 1 of byte 16) has no autoclear bits left (bytes 32 to 39).
agrees()
{
	local used auto

	used=$(od -An -tu1 -j16 -N1 "$1")
	auto=$(od -An -tx8 -j32 -N8 "$1")
	if [ $((used & 2)) -ne 0 ] && [ "$auto" != ' 0000000000000000' ]; then
		echo "in use, and autoclear bits are $auto"
		return 1
	fi
}
export -f agrees

dm_create "$dm-log" "0 $((128 << 11)) log-writes $disk $log"
qemu-img create -q -f qed "$work/image" 64M
printf '\0\0\0\0\0\0\0\020' | dd of="$work/image" bs=1 seek=32 conv=notrunc status=none
dd if="$work/image" of="/dev/mapper/$dm-log" bs=64k conv=fsync status=none
dmsetup message "$dm-log" 0 mark start
t "attach" attach "$dm" -f qed "/dev/mapper/$dm-log"
t "a write to a new place" dd if=/dev/urandom of="$device" bs=64k count=2 oflag=direct \
	conv=fsync status=none
t "detach" "$vdisk" detach "$dm"
dmsetup message "$dm-log" 0 mark end
dm_remove "$dm-log"
truncate -s 128M "$work/state"
t "after each write the header agrees with itself" \
	"$logwrites" each "$log" "$work/state" start end bash -c 'agrees "$@"' state "$work/state"
eq "the bits are gone" "$(od -An -tx8 -j32 -N8 "$disk")" ' 0000000000000000'
t "check" "$vdisk" check -f qed "$disk"
ktap_end
