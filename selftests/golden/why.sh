#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the tool tells of an image: why a sector is what it is, the map, and the
# chain of parents. What it says is looked up in the files, and compared with
# qemu-img where that can be trusted.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
handmade=$here/../lib/handmade.py

# Every format, with layers and pieces.
for name in vhd-bits vhd-diff-blocks p1-63 p2-126 bundle-split vmdk-zero vmdk-missing stream-zlib \
	cowd-child sesparse-child extents qed-4k-2 qed-qed; do
	image=$("$handmade" make "$name" "$tmp/$name")
	t "why: $name" "$here/why.py" "$vdisk" "$image" "$tmp/$name/expected"
done

qemu-img create -q -f vpc d.vhd 10M
qemu-io -f vpc -c 'write -P 3 3M 64k' d.vhd >/dev/null
eq "why: as it is printed" "$("$vdisk" why d.vhd 6200)" "layer 0: vhd $tmp/d.vhd
  sector 6200, in unit 1
  BAT entry at byte 1540: 0x00000004
  bitmap at byte 2311: 0xff
  data at byte 1079808, for 1992 sectors"
eq "why: nothing is there" "$("$vdisk" why d.vhd 0 | tail -n 1)" "  reads zero, for 4096 sectors"
refused "why: past the end" '^vdisk: d.vhd: Sector is not a number below 20536: 20536$' \
	"$vdisk" why d.vhd 20536
for sector in '' 0x10 10x 99999999999999999999; do
	refused "why: sector '$sector'" "Sector is not a number below 20536: $sector$" \
		"$vdisk" why d.vhd "$sector"
done
cp d.vhd bad.vhd
"$here/vhd.py" set bad.vhd bat.1=0x7fffffff
"$vdisk" why bad.vhd 6200 >.out 2>.err
eq "why: a wrong entry is shown, and is an error" "$? $(sed 1d .out | head -n 3)
$(cat .err)" "1   sector 6200, in unit 1
  BAT entry at byte 1540: 0x7fffffff
  corrupt: $(sed "s|^vdisk: $tmp/bad.vhd: ||" .err)
$(grep -E "^vdisk: $tmp/bad.vhd: [A-Z].*: [0-9]+$" .err)"
t "why: and in JSON" eval "('$vdisk' why --json bad.vhd 6200 2>/dev/null || true) | jq -e '.layers[0].kind == \"corrupt\"'"
refused "why: no such device, and no such file" '^vdisk: gone: No such file or directory$' \
	"$vdisk" why gone 0

# The map is qemu-img's, in qemu-img's words. Ours names the file as well.
for format in vpc vmdk qed parallels raw; do
	rm -f m.*
	qemu-img create -q -f $format m.img 12M
	qemu-io -f $format -c 'write -P 1 1M 64k' -c 'write -P 2 5M 3k' m.img >/dev/null
	if [ "$format" = qed ] || [ "$format" = vmdk ]; then
		mv m.img m.base
		qemu-img create -q -f $format -b m.base -F $format m.img
		qemu-io -f $format -c 'write -P 3 9M 4k' m.img >/dev/null
	fi
	eq "map: $format" \
		"$("$vdisk" map --json -f $format m.img | jq -c '.[] | del(.filename)')" \
		"$(qemu-img map --output=json -f $format m.img |
			jq -c '.[] | del(.compressed) | del(.filename)')"
done
# What is stored as it is has the holes of its file, below a child as well.
for make in 'vpc subformat=fixed' 'vmdk subformat=monolithicFlat' 'vmdk subformat=twoGbMaxExtentFlat' raw; do
	rm -f m.* m-*
	# shellcheck disable=SC2086
	set -- $make
	qemu-img create -q -f "$1" ${2:+-o $2} m.vmdk 12M
	qemu-io -f "$1" -c 'write -P 1 1M 64k' -c 'write -P 2 5M 4k' -c 'write -P 3 12582400 512' \
		m.vmdk >/dev/null
	image=m.vmdk format=$1
	if [ "$1" = raw ]; then
		qemu-img create -q -f qed -b m.vmdk -F raw m.qed
		qemu-io -f qed -c 'write -P 3 9M 64k' m.qed >/dev/null
		image=m.qed format=qed
	fi
	eq "map: holes of $make" \
		"$("$vdisk" map --json -f "$format" $image | jq -c '.[] | del(.filename)')" \
		"$(qemu-img map --output=json -f "$format" $image | jq -c '.[] | del(.filename)')"
	eq "map: holes of $make, as text" "$("$vdisk" map -f "$format" $image | sed "s|$tmp/||")" \
		"$(qemu-img map -f "$format" $image)"
done
image=$("$handmade" make stream-deflate "$tmp/packed")
eq "map: the names are those of qemu's MapEntry, and error" \
	"$("$vdisk" map --json "$image" | jq -r '[.[] | keys[]] | unique |
		. - ["start","length","depth","present","zero","data","compressed","offset","filename","error"] | length')" 0

# The chain
qemu-img create -q -f qed c0 10M
qemu-img create -q -f qed -b c0 -F qed c1
qemu-img create -q -f qed -b c1 -F qed c2
keys='[.[] | [.format, ."virtual-size", ."cluster-size", ."actual-size", ."dirty-flag", ."backing-filename"]]'
eq "info --backing-chain is qemu-img's" "$("$vdisk" info --json --backing-chain c2 | jq -c "$keys")" \
	"$(qemu-img info --output=json --backing-chain c2 | jq -c "$keys")"
eq "info --backing-chain: files" \
	"$("$vdisk" info --backing-chain c2 | grep -E '^(image|backing file):' | sed "s|$tmp/||" | tr '\n' ' ')" \
	"image: c2 backing file: c1 image: c1 backing file: c0 image: c0 "
eq "info: full-backing-filename" \
	"$("$vdisk" info --json --backing-chain c2 | jq -r '.[] | ."full-backing-filename" // "-"' | tr '\n' ' ')" \
	"$tmp/c1 $tmp/c0 - "
rm c0
t "info alone does not look for parents" "$vdisk" info c2
refused "info --backing-chain does" 'c0: No such file' "$vdisk" info --backing-chain c2

ktap_end
