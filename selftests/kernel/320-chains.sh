#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900
#
# Many layers, many extents, and one base below several devices.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/images.sh
. "$(dirname "$0")/lib/images.sh"

need_module
need_tool
need_cmd qemu-img python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir

handmade chain qed 64 "$dir/qed64" >"$dir/log"
handmade chain vhd 32 "$dir/vhd32" >"$dir/log"
handmade split "$dir/split" >"$dir/log"
handmade flat 1000 "$dir/flat1000" >"$dir/log"
all=("$dir/qed64" "$dir/vhd32" "$dir/split" "$dir/flat1000")
before=$(parent_sums "${all[@]}")
eq "the chains have what they say" "$(wc -l <<<"$before")" $((63 + 31 + 4))
each_attached "attach to read" "${all[@]}" -- -r
each_reads "reads what it was made of" 300 "${all[@]}"
each_detached "${all[@]}"
each_attached "attach to write" "${all[@]}" --
each_writes "reads what was written" 60 "${all[@]}" max=131072
each_detached "${all[@]}"
for where in "${all[@]}"; do
	name=${where##*/}
	t "$name: check" "$vdisk" check "$(top "$where")"
	t "$name: convert" "$vdisk" convert "$(top "$where")" "$where/got"
	t "$name: convert reads what was written" cmp "$where/got" "$where/expected"
done
eq "no parent has changed" "$(parent_sums "${all[@]}")" "$before"

# One more than there may be.
handmade chain qed 65 "$dir/qed65" >"$dir/log"
says "65 layers: refused" '64' "$vdisk" attach "$dm-qed65" "$(top "$dir/qed65")"

# One base, four children at once: each has its own writes, and not the others'.
mkdir "$dir/shared"
make_content "$dir/shared/base.raw" 5001 shared
children=()
for k in 1 2 3 4; do
	children+=("$dir/child$k")
	mkdir "$dir/child$k"
	qemu-img create -q -f qed -b base.raw -F raw "$dir/shared/child$k.qed" 3M
	echo "$dir/shared/child$k.qed" >"$dir/child$k/top"
	cp "$dir/shared/base.raw" "$dir/child$k/expected"
	truncate -s 3M "$dir/child$k/expected"
done
before=$(sha "$dir/shared/base.raw")
each_attached "attach" "${children[@]}" --
writers=()
for where in "${children[@]}"; do
	images_py write 1 40 "$where=/dev/mapper/$dm-${where##*/}" max=131072 >"$where/said" &
	writers+=($!)
done
wait "${writers[@]}"
eq "shared base: all written at the same time" "$(cat "$dir"/child*/said | grep -c ' ok$')" 4
each_reads "has no other's writes" 100 "${children[@]}"
says "shared base: it cannot be written meanwhile" 'is attached|in use' \
	"$vdisk" attach -f raw "$dm-base" "$dir/shared/base.raw"
t "shared base: it can be read" attach "$dm-base" -r -f raw "$dir/shared/base.raw"
t "shared base: detach" "$vdisk" detach "$dm-base"
each_detached "${children[@]}"
eq "shared base: it has not changed" "$(sha "$dir/shared/base.raw")" "$before"

ktap_end
