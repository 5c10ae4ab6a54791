#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900
#
# Damaged images, one fault each, by table lines that no tool has looked at: the
# kernel itself refuses them in the same words, or gives an error for the units
# concerned and reads all others right. It writes to none of them.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_cmd python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir
export PYTHONDONTWRITEBYTECODE=1
faults=$test_lib/../golden/faults.py
defer dm_gone "$dm"

verdicts "every fault was tried" "$faults" kernel "$dir" "$dm"

# An allocating write where no entry can say the place of a block.
write_full()
{
	dd if=/dev/urandom of="/dev/mapper/$dm" bs=4096 count=1 oflag=direct
}
t "a full VHD is made" "$faults" full "$dir/full.vhd"
t "a full VHD may be written" dm_create "$dm" "0 65536 vdisk rw 1 1 65536 vhd 1 $dir/full.vhd"
# Its end is as far as an entry can point. But what lies between is nobody's.
t "also where it has no block" write_full
t "it is removed" dm_remove "$dm"

ktap_end
