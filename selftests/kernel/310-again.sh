#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=3G timeout=1800 long
#
# Every sub-format that can be written, written, attached again and written
# over, with units given back on the way: the same disk as a raw one.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/images.sh
. "$(dirname "$0")/lib/images.sh"

need_module
need_tool
need_cmd qemu-img qemu-io python3 blkdiscard
need_disk 3G disk
scratch_fs ext4 "$disk" dir

qemu_made "$dir"
handmade make-all "$dir" rw
mapfile -t all < <(find "$dir" -name top -printf '%h\n' | sort)
before=$(parent_sums "${all[@]}")
each_attached "attach" "${all[@]}" --
each_writes "reads what was written" 20 "${all[@]}"
each_detached "${all[@]}"

each_attached "attach again" "${all[@]}" --
each_writes "reads what was written after a discard" 15 "${all[@]}" discard=1
each_detached "${all[@]}"
each_examined "${all[@]}"
eq "no parent has changed" "$(parent_sums "${all[@]}")" "$before"

ktap_end
