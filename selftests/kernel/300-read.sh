#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=3G timeout=600 long
#
# Every sub-format, made by qemu-img or by hand with declared content, reads
# what it holds: all of it, and at random places.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/images.sh
. "$(dirname "$0")/lib/images.sh"

need_module
need_tool
need_cmd qemu-img qemu-io python3
need_disk 3G disk
scratch_fs ext4 "$disk" dir

qemu_made "$dir"
handmade make-all "$dir"
mapfile -t all < <(find "$dir" -name top -printf '%h\n' | sort)
each_attached "attach" "${all[@]}" -- -r
each_reads "reads what it was made of" 300 "${all[@]}"
each_detached "${all[@]}"

# An extent that gives nothing away, between two that do.
printf '%s\n' '# Disk DescriptorFile' version=1 CID=1 parentCID=ffffffff \
	'createType="custom"' 'RW 100 FLAT "a" 0' 'NOACCESS 50 ZERO' \
	'RW 100 FLAT "b" 0' >"$dir/noaccess.vmdk"
head -c 51200 /dev/urandom >"$dir/a"
head -c 51200 /dev/urandom >"$dir/b"
t "NOACCESS: attach" attach "$dm-noaccess" -r "$dir/noaccess.vmdk"
device=/dev/mapper/$dm-noaccess
# Directly: a page of the cache holds sectors of both kinds.
dd if="$device" of="$dir/got" bs=50k count=1 iflag=direct status=none
t "NOACCESS: what is before it" cmp "$dir/got" "$dir/a"
dd if="$device" of="$dir/got" bs=50k skip=76800 count=1 \
	iflag=direct,skip_bytes status=none
t "NOACCESS: what is behind it" cmp "$dir/got" "$dir/b"
says "NOACCESS: its first sector" 'Input/output error' \
	dd if="$device" of=/dev/null bs=512 skip=100 count=1 iflag=direct
says "NOACCESS: its last sector" 'Input/output error' \
	dd if="$device" of=/dev/null bs=512 skip=149 count=1 iflag=direct
t "NOACCESS: detach" "$vdisk" detach "$dm-noaccess"

ktap_end
