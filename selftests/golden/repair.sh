#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# `vdisk check --repair`, before the images with one fault each of faults.py:
# each fault is found with a sentence; what can be repaired is clean afterwards
# and holds what it held, what cannot be is left alone to the byte. See
# repair.py. Then what a repair must refuse. VDISK_LONG=1: all images.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

part=some cut=25
[ -z "${VDISK_LONG:-}" ] || part=all cut=1000

verdicts "every image was tried" \
	"$here/repair.py" run "$vdisk" "$tmp" "$part"
echo "# $ktap_sum images were repaired"

# A repair that a power failure cuts off, at each flush and between them.
need_cmd "${CC:-cc}"
"${CC:-cc}" -shared -fPIC -O1 -o "$tmp/writes.so" "$here/../lib/writes.c" -ldl
verdicts "every repair was cut off" \
	"$here/repair.py" crash "$vdisk" "$tmp" "$tmp/writes.so" "$cut"
echo "# $ktap_sum states of cut-off repairs were repaired"

# What is in use is not repaired; nor is it with -U, which would not look.
image=$tmp/image.qed
qemu-img create -q -f qed "$image" 10M
qemu-io -f qed -c "write -P 7 0 128k" "$image" >/dev/null
printf '\x02' | dd of="$image" bs=1 seek=16 conv=notrunc status=none
was=$(sha "$image")
{
	exec 8<"$image"
	python3 -c 'import fcntl, os, struct, sys
lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0)
fcntl.fcntl(8, 37, lock)
lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 201, 1, 0)
fcntl.fcntl(8, 37, lock)'
	refused "an image that another program has open is refused" \
		"Image is in use" "$vdisk" check --repair "$image"
	exec 8<&-
}
refused "a repair does not share" "takes the image for itself" \
	"$vdisk" check --repair -U "$image"
eq "a refused repair changes nothing" "$(sha "$image")" "$was"

status "an image not closed is found" 2 "$vdisk" check "$image"
eq "the repair says that it cleared the mark" \
	"$("$vdisk" check --repair "$image" | grep -c \
		"^REPAIRED Image was not closed: mark cleared$")" 1
status "it is clean then" 0 "$vdisk" check "$image"
status "for QEMU, too" 0 qemu-img check -q "$image"

printf '\x02' | dd of="$image" bs=1 seek=16 conv=notrunc status=none
rm "$image.vdisk-undo"
eq "JSON counts as QEMU's does" "$("$vdisk" check --repair --json "$image" |
	python3 -c 'import json, sys
d = json.load(sys.stdin)
print(d["corruptions"], d["corruptions-fixed"], d["leaks"], d["leaks-fixed"],
      len(d["errors"]), len(d["repaired"]))')" "0 1 0 0 0 1"

ktap_end
