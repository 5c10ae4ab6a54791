#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=3G timeout=600 long
#
# Every sub-format that can be written: what a device wrote is what a raw disk
# would hold, as vdisk convert reads it and, where it can be trusted, qemu-img.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/images.sh
. "$(dirname "$0")/lib/images.sh"

need_module
need_tool
need_cmd qemu-img qemu-io python3 blkdiscard
need_disk 3G disk
scratch_fs ext4 "$disk" dir

# Leaks are no damage: they may be there where units were given back.
checked()
{
	local status=0

	"$@" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ]
}

examined()
{
	local where=$1 name=${1##*/} image qemu

	image=$(top "$where")
	qemu=$(qemu_format "$name")
	t "$name: convert" "$vdisk" convert "$image" "$dir/got"
	t "$name: convert reads what was written" cmp "$dir/got" "$where/expected"
	t "$name: check finds nothing worse than a leak" checked "$vdisk" check "$image"
	if [ -n "$qemu" ]; then
		rm "$dir/got"
		t "$name: qemu-img convert" \
			qemu-img convert -f "$qemu" -O raw "$image" "$dir/got"
		t "$name: qemu-img reads what was written" cmp "$dir/got" "$where/expected"
	fi
	case $qemu in
	vmdk | qed | parallels)
		t "$name: qemu-img check" checked qemu-img check -q -f "$qemu" "$image"
		;;
	esac
	rm -f "$dir/got"
}

qemu_made "$dir"
handmade make-all "$dir" rw
mapfile -t all < <(find "$dir" -name top -printf '%h\n' | sort)
before=$(parent_sums "${all[@]}")
each_attached "attach" "${all[@]}" --
each_writes "reads what was written" 40 "${all[@]}"
each_detached "${all[@]}"
for where in "${all[@]}"; do
	examined "$where"
done

# Again, over what is there now, with units given back on the way.
each_attached "attach again" "${all[@]}" --
each_writes "reads what was written after a discard" 15 "${all[@]}" discard=1
each_detached "${all[@]}"
for where in "${all[@]}"; do
	examined "$where"
done
eq "no parent has changed" "$(parent_sums "${all[@]}")" "$before"

ktap_end
