#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# VHD files of qemu-img, fixed and dynamic, sizes round and odd: the tool reads
# what qemu-img reads, and knows the same size.
. "$(dirname "$0")/lib.sh"

qemu_size()
{
	qemu-img info -f vpc --output=json "$1" |
		python3 -c 'import json, sys; print(json.load(sys.stdin)["virtual-size"])'
}

# Data in some places, zeroes and holes in others.
python3 - "$tmp/in.raw" <<'END'
import random, sys
rnd = random.Random(7)
with open(sys.argv[1], "wb") as f:
    f.truncate(37 * 1048576 + 512 * 3)
    for at in (0, 1 << 20, (2 << 20) - 512, 9 << 20, (37 << 20)):
        f.seek(at)
        f.write(rnd.randbytes(1536))
    f.seek(12 << 20)
    f.write(rnd.randbytes(5 << 20))
    f.write(bytes(1 << 20))
END

for options in subformat=dynamic subformat=dynamic,force_size=on \
	subformat=fixed subformat=fixed,force_size=on; do
	image=$tmp/image.vhd
	rm -f "$image"
	qemu-img convert -f raw -O vpc -o "$options" "$tmp/in.raw" "$image"
	before=$(sha "$image")
	eq "$options: the format is known" "$("$vdisk" probe "$image")" vhd
	eq "$options: the size is qemu's" "$(table_size "$image")" "$(qemu_size "$image")"
	same_as_qemu "$options: content" vpc "$image"
	status "$options: check finds nothing" 0 "$vdisk" check "$image"
	eq "$options: the file was left alone" "$(sha "$image")" "$before"
done

for size in 512 1000 1M 2M 2097664 100M 127G 128G 2040G; do
	image=$tmp/empty-$size.vhd
	qemu-img create -q -f vpc -o force_size=on "$image" "$size"
	eq "empty, $size: the size is qemu's" "$(table_size "$image")" "$(qemu_size "$image")"
	status "empty, $size: check finds nothing" 0 "$vdisk" check "$image"
	rm -f "$image"
done

# Where things lie, too.
image=$tmp/map.vhd
qemu-img create -q -f vpc "$image" 40M
qemu-io -f vpc -c 'write -P 1 1M 64k' -c 'write -P 2 3M 3k' \
	-c 'write -P 3 39M 1k' "$image" >/dev/null
fields='import json, sys
for e in json.load(sys.stdin):
    print([e.get(k) for k in ("start", "length", "depth", "present", "zero", "data", "offset")])'
eq "map is qemu-img's" \
	"$("$vdisk" map --json "$image" | python3 -c "$fields")" \
	"$(qemu-img map -f vpc --output=json "$image" | python3 -c "$fields")"

# Only the copy at 0 is left of the footer: an image that was not closed.
cp "$image" "$tmp/open.vhd"
truncate -s -512 "$tmp/open.vhd"
qemu-img convert -f vpc -O raw "$image" "$tmp/map.raw"
reads "without the trailing footer" "$tmp/map.raw" "$tmp/open.vhd"
# The 511-byte footer of before 2004.
cp "$image" "$tmp/old.vhd"
truncate -s -1 "$tmp/old.vhd"
reads "with a footer of 511 bytes" "$tmp/map.raw" "$tmp/old.vhd"
eq "the footer of 511 bytes is probed" "$("$vdisk" probe "$tmp/old.vhd")" vhd

# Blocks of other sizes, and clear bits that must read zero.
for block in 4096 65536 524288 4194304; do
	rm -f "$tmp/made.raw"
	"$here/vhd.py" make "$tmp/made.vhd" size=9437184 block=$block blocks=1,0 \
		sectors=3 raw="$tmp/made.raw"
	reads "blocks of $block bytes, every third sector" "$tmp/made.raw" "$tmp/made.vhd"
done
# Old bytes behind a clear bit are not the disk's.
python3 - "$tmp/made.vhd" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(-512 - 512, 2)
    f.write(b"old" * 100)
END
reads "bytes of clear bits read zero" "$tmp/made.raw" "$tmp/made.vhd"

ktap_end
