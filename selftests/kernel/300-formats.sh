#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=3G timeout=2400
#
# Every sub-format, made by qemu-img or by hand with declared content: what it
# holds is read, all of it and at random places; what a device then writes is
# what a raw disk would hold, for the device and in the file.
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
mapfile -t fixed < <(handmade_with ro | sed "s|^|$dir/|" | sort)
mapfile -t all < <(find "$dir" -name top -printf '%h\n' | sort)
mapfile -t written < <(printf '%s\n' "${all[@]}" | grep -vxFf <(printf '%s\n' "${fixed[@]}"))
eq "none is missing" "${#fixed[@]} ${#written[@]}" "5 59"
before=$(parent_sums "${all[@]}")
each_attached "attach" "${fixed[@]}" -- -r
each_attached "attach" "${written[@]}" --
# In make check-long, 2,000 reads of each.
each_reads "reads what it was made of" $((${VDISK_LONG:-0} ? 2000 : 100)) "${all[@]}"
each_writes "reads what was written" $((${VDISK_LONG:-0} ? 120 : 30)) "${written[@]}"
each_detached "${all[@]}"
each_examined "${written[@]}"
eq "no parent has changed" "$(parent_sums "${all[@]}")" "$before"

# A raw image: nothing says that it is one, so its format is named.
mkdir "$dir/raw"
cp "$dir/content" "$dir/raw/expected"
cp "$dir/content" "$dir/raw/disk"
echo "$dir/raw/disk" >"$dir/raw/top"
each_attached "attach" "$dir/raw" -- -f raw
each_reads "reads what it was made of" 100 "$dir/raw"
each_writes "reads what was written" 30 "$dir/raw"
each_detached "$dir/raw"
t "raw: the file holds what was written" cmp "$dir/raw/disk" "$dir/raw/expected"

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
