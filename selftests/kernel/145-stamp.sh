#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=256M disk=256M disk=256M timeout=180
#
# What a header says of the contents (the map of changed blocks in a Parallels
# extension, the flag "empty", QED's autoclear bits) is revoked before the first
# write, also of one that only overwrites what is there; and not by reading.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img qemu-io python3 mkfs.ext4
need_disk 256M disk
need_disk 256M log
need_disk 256M other
device=/dev/mapper/$dm
scratch work
logwrites=$(dirname "$0")/lib/logwrites.py

# poke FILE OFFSET HEX
poke()
{
	python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    f.write(bytes.fromhex(sys.argv[3]))' "$@"
}

# peek FILE OFFSET COUNT
peek()
{
	od -An -v -tx1 -j "$2" -N "$3" "$1" | tr -d ' \n'
}

# with_unit FORMAT FILE: an image whose first unit is there.
with_unit()
{
	rm -f "$2"
	qemu-img create -q -f "$1" "$2" 16M
	qemu-io -f "$1" -c 'write -P 1 0 64k' "$2" >/dev/null
}

promising()
{
	local sectors

	case $1 in
	extension)
		with_unit parallels "$2"
		sectors=$(($(stat -c %s "$2") / 512))
		truncate -s +1M "$2"
		poke "$2" $((sectors * 512)) 87eadc23ef4c23ab
		poke "$2" 44 76322e31
		poke "$2" 56 "$(printf %016x "$sectors" | fold -w 2 | tac | tr -d '\n')"
		;;
	empty)
		with_unit parallels "$2"
		poke "$2" 52 01000000
		;;
	autoclear)
		with_unit qed "$2"
		poke "$2" 32 0000000000000010
		;;
	esac
}

promise()
{
	case $1 in
	extension) peek "$2" 56 8 ;;
	empty) peek "$2" 52 4 ;;
	autoclear) peek "$2" 32 8 ;;
	esac
}

scratch_fs ext4 "$other" dir
for kind in extension empty autoclear; do
	image=$dir/$kind
	promising "$kind" "$image"
	before=$(promise "$kind" "$image")
	attach "$dm" "$image" >/dev/null
	t "$kind: read" cmp -n 65536 "$device" <(head -c 65536 /dev/zero | tr '\0' '\1')
	"$vdisk" detach "$dm"
	eq "$kind: reading changes nothing" "$(promise "$kind" "$image")" "$before"
	attach "$dm" "$image" >/dev/null
	t "$kind: write in place" dd if=/dev/urandom of="$device" bs=4k count=4 \
		oflag=direct status=none
	eq "$kind: nothing was allocated" "$(dmsetup status "$dm" | cut -d ' ' -f 9)" 0
	"$vdisk" detach "$dm"
	t "$kind: revoked" [ -z "$(promise "$kind" "$image" | tr -d 0)" ]
	status=0
	"$vdisk" check "$image" >/dev/null || status=$?
	t "$kind: closed, and a leak at most" grep -qx '[03]' <<<"$status"
done

# In which order: a guest's byte goes to the medium after the header has changed.
after_header()
{
	[ "$(od -An -tx1 -j "$2" -N1 "$1")" = ' 01' ] ||
		[ "$(od -An -tx8 -j32 -N8 "$1")" = ' 0000000000000000' ] ||
		{ echo "the guest has written, autoclear bits are there"; return 1; }
}
export -f after_header
dm_create "$dm-log" "0 $((128 << 11)) log-writes $disk $log"
promising autoclear "$work/image"
at=$("$vdisk" map --json "$work/image" | sed -n '1s/.*"offset": \([0-9]*\).*/\1/p')
dd if="$work/image" of="/dev/mapper/$dm-log" bs=64k conv=fsync status=none
dmsetup message "$dm-log" 0 mark start
attach "$dm" -f qed "/dev/mapper/$dm-log" >/dev/null
dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct conv=fsync status=none
"$vdisk" detach "$dm"
dmsetup message "$dm-log" 0 mark end
dm_remove "$dm-log"
truncate -s 128M "$work/state"
t "the header first" "$logwrites" each "$log" "$work/state" start end \
	bash -c 'after_header "$@"' state "$work/state" "$at"
eq "the guest's byte is there" "$(peek "$disk" "$at" 1)" 00
ktap_end
