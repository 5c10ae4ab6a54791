#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Damaged VHD files, one fault each: the tool refuses them in one line that
# names the value, and leaves the file as it was.
. "$(dirname "$0")/lib.sh"

good=$tmp/good.vhd
qemu-img create -q -f vpc -o force_size=on "$good" 64M
qemu-io -f vpc -c 'write -P 1 0 1k' -c 'write -P 2 8M 1k' \
	-c 'write -P 3 63M 1k' "$good" >/dev/null
length=$(stat -c %s "$good")
bad=$tmp/bad.vhd

# fault DESCRIPTION REGEX COMMAND...: COMMAND damages $bad; a table for writing
# is refused in the words of REGEX.
fault()
{
	local description=$1 regex=$2 before

	shift 2
	cp "$good" "$bad"
	"$@" || echo "# $* failed"
	before=$(sha "$bad")
	refused "$description" "^vdisk: $bad: $regex\$" "$vdisk" table "$bad"
	eq "$description: the file was left alone" "$(sha "$bad")" "$before"
}

# the same, but only writing is refused: check finds the fault, reading works
flaw()
{
	fault "$@"
	status "$1: check finds it" 2 "$vdisk" check "$bad"
	t "$1: may be read" "$vdisk" table --read-only "$bad"
}

set_fields()
{
	"$here/vhd.py" set "$bad" "$@"
}

fault "empty" "Unknown format .*" truncate -s 0 "$bad"
fault "100 bytes" "Unknown format .*" truncate -s 100 "$bad"
fault "cut to the header" "BAT reaches past the end of the file: 32" \
	truncate -s 1536 "$bad"
fault "cut in the header" "VHD header offset is outside the file: 512" \
	truncate -s 1024 "$bad"
fault "cut in the last block" \
	"BAT entry points past the data area: 8198.*" \
	truncate -s $((length - 4096)) "$bad"
fault "no cookie anywhere" "Unknown format .*" \
	set_fields both.cookie=conectic
fault "the copy damaged" "Copy of the VHD footer is damaged.*" \
	set_fields nosum copy.uuid=x
fault "footer and copy differ" "VHD footer and its copy differ.*" \
	set_fields copy.uuid=x
fault "version 2" "Unknown VHD version: 131072" set_fields both.version=0x20000
fault "disk type 0" "Unknown VHD disk type: 0" set_fields both.disk_type=0
fault "disk type 6" "Unknown VHD disk type: 6" set_fields both.disk_type=6
fault "saved state" "Image belongs to a saved machine state.*" \
	set_fields both.saved_state=1
fault "size 0" "The disk is empty: 0" set_fields both.current_size=0
fault "size of 2041 GiB" "VHD is larger than 2040 GiB: 2191507062784" \
	set_fields both.current_size=$((2041 << 30))
fault "size of all ones" "VHD is larger than 2040 GiB: 18446744073709551615" \
	set_fields both.current_size=0xffffffffffffffff
fault "header offset past the end" \
	"VHD header offset is outside the file: 1099511627776" \
	set_fields both.data_offset=$((1 << 40))
fault "no dynamic header" "VHD dynamic header not found: 512" \
	set_fields header.cookie=cxspars_
fault "header checksum" "VHD header checksum is wrong: sum 0x[0-9a-f]{8}, of the bytes 0x[0-9a-f]{8} \\(see vdisk check --repair\\)" \
	set_fields nosum header.data_offset=5
fault "header version" "Unknown VHD header version: 131072" \
	set_fields header.version=0x20000
fault "block size 0" "VHD block size is not a power of two: 0" \
	set_fields header.block_size=0
fault "block size 3" "VHD block size is not a power of two: 3" \
	set_fields header.block_size=3
fault "block size 512" "VHD block size is not 4 KiB to 256 MiB: 512" \
	set_fields header.block_size=512
fault "block size 2 GiB" "VHD block size is not 4 KiB to 256 MiB: 2147483648" \
	set_fields header.block_size=0x80000000
fault "4294967295 BAT entries" \
	"BAT reaches past the end of the file: 4294967295" \
	set_fields header.max_table_entries=0xffffffff
fault "too few BAT entries" "BAT is too short for the disk: 31" \
	set_fields header.max_table_entries=31
fault "BAT offset odd" "BAT offset is not a data sector: 1537" \
	set_fields header.table_offset=1537
fault "BAT in the footer's copy" "BAT offset is not a data sector: 0" \
	set_fields header.table_offset=0
fault "BAT over the header" "BAT overlaps the VHD header: 1024" \
	set_fields header.table_offset=1024
fault "BAT past the end" "BAT reaches past the end of the file: 32" \
	set_fields header.table_offset=$((1 << 40))

flaw "BAT entry 0" "BAT entry points into the headers: 0 .*" \
	set_fields bat.2=0
flaw "BAT entry in the header" "BAT entry points into the headers: 2 .*" \
	set_fields bat.2=2
flaw "BAT entry in the BAT" "BAT entry points into the headers: 3 .*" \
	set_fields bat.2=3
flaw "BAT entry past the end" \
	"BAT entry points past the data area: 4294967294 .*" \
	set_fields bat.2=0xfffffffe
flaw "BAT entry at the footer" \
	"BAT entry points past the data area: [0-9]+ .*" \
	set_fields bat.2=$((length / 512 - 1))
flaw "block over the footer" \
	"BAT entry points past the data area: [0-9]+ .*" \
	set_fields bat.2=$((length / 512 - 4097))
# 0 lies at 5 (byte 2560), 4 behind it, 31 last
flaw "two entries, one block" \
	"Unit of sector 16384 overlaps another at offset 2560 .*" \
	set_fields bat.4=5
flaw "blocks half over each other" \
	"Unit of sector 24576 overlaps another at offset 4608 .*" \
	set_fields bat.6=9

# blktap says behind the BAT that it encrypted the blocks. No key, no disk.
encrypt()
{
	set_fields 'both.creator=tap\0'
	printf 'tdbatmap%*s\1' 21 '' | tr ' ' '\0' |
		dd of="$bad" bs=512 seek=4 conv=notrunc status=none
}
fault "encrypted by blktap" "VHD blocks are encrypted: 1" encrypt
for verb in "info" "map" "check" "table --read-only" "convert -O raw"; do
	out=
	[ "$verb" != "convert -O raw" ] || out=$tmp/out.raw
	# shellcheck disable=SC2086
	refused "encrypted by blktap: $verb" "^vdisk: $bad: VHD blocks are encrypted: 1$" \
		"$vdisk" $verb "$bad" $out
done
eq "encrypted by blktap: no copy is left" "$(ls "$tmp/out.raw" 2>/dev/null)" ""
set_fields 'both.creator=win '
t "the same bytes of another creator" "$vdisk" table "$bad"

cp "$good" "$bad"
set_fields nosum both.uuid=x
refused "both footers damaged" "VHD footer and its copy are damaged: sum 0x[0-9a-f]{8}, of the bytes 0x[0-9a-f]{8} \\(see vdisk check --repair\\)$" \
	"$vdisk" table -f vhd "$bad"
eq "both footers damaged: info tells what they say" \
	"$("$vdisk" info -f vhd "$bad" | sed -n 's/^virtual size: .*(\(.*\) bytes)/\1/p; s/^read-only: //p')" \
	"$("$vdisk" info --json "$good" | jq '."virtual-size"')"$'\n'"VHD footer and its copy are damaged"
cp "$good" "$tmp/header.vhd"
"$here/vhd.py" set "$tmp/header.vhd" nosum header.data_offset=5
eq "damaged header: info tells what the footer says" \
	"$("$vdisk" info "$tmp/header.vhd" | sed -n 's/^file format: //p; s/^read-only: //p')" \
	vhd$'\n'"VHD header checksum is wrong"
sums=$("$vdisk" table -f vhd "$bad" 2>&1 | grep -o '0x[0-9a-f]*')
eq "both footers damaged: the sums" "$sums" "$(python3 - "$bad" "$here" <<'END'
import struct, sys
sys.path.insert(0, sys.argv[2])
import vhd
f = open(sys.argv[1], "rb").read()[:512]
print("0x%08x\n0x%08x" % (struct.unpack_from(">I", f, 64)[0], vhd.checksum(f, 64)))
END
)"

# A fixed disk has no tables, and so no limit of them: Azure's are up to 32 TiB.
python3 - "$tmp/large.vhd" "$here" <<'END'
import sys
sys.path.insert(0, sys.argv[2])
import vhd
size = 15 << 40
with open(sys.argv[1], "wb") as f:
    f.write(b"first")
    f.seek(size - 4)
    f.write(b"last")
    f.write(bytes(vhd.new_footer(size, 2, 1, 2**64 - 1)))
END
eq "a fixed disk of 15 TiB" "$(table_size "$tmp/large.vhd")" $((15 << 40))
t "a fixed disk of 15 TiB: may be written" "$vdisk" table "$tmp/large.vhd"
status "a fixed disk of 15 TiB: check" 0 "$vdisk" check "$tmp/large.vhd"
t "a fixed disk of 15 TiB: resize" "$vdisk" resize "$tmp/large.vhd" +1G
eq "a fixed disk of 15 TiB: resized" "$(table_size "$tmp/large.vhd")" $(((15 << 40) + (1 << 30)))
rm "$tmp/large.vhd"
t "create: a fixed disk of 4 TiB" "$vdisk" create -f vhd -o subformat=fixed "$tmp/4t.vhd" 4T
eq "create: its size" "$(table_size "$tmp/4t.vhd")" $((4 << 40))
rm "$tmp/4t.vhd"

# Entries of 4 KiB blocks, more than fit one look; the overlap is far behind.
"$here/vhd.py" make "$tmp/many.vhd" size=$((16 << 20)) block=4096 \
	blocks="$(seq -s, 0 2 4095)" sectors=8
status "many blocks: check finds nothing" 0 "$vdisk" check "$tmp/many.vhd"
"$here/vhd.py" set "$tmp/many.vhd" bat.4093=$((41 + 9 * 1000))
status "many blocks, one twice: check finds it" 2 "$vdisk" check "$tmp/many.vhd"

# A lost block is a leak, and no reason to refuse.
cp "$good" "$bad"
set_fields bat.4=0xffffffff
status "a lost block: check says so" 3 "$vdisk" check "$bad"
t "a lost block: may be written" "$vdisk" table "$bad"
eq "a lost block: check counts it" \
	"$("$vdisk" check --json "$bad" | python3 -c 'import json, sys
d = json.load(sys.stdin); print(d["leaks"], d["corruptions"], d["allocated-clusters"])')" \
	"1 0 2"

# The first sectors of a fixed disk are the guest's: what it writes there must
# not make the disk another. See probe.sh for the other way round.
python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(3).randbytes(8 << 20))' >"$tmp/in.raw"
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$tmp/in.raw" \
	"$tmp/fixed.vhd"
"$here/vhd.py" forge "$tmp/fixed.vhd"
head -c $((8 << 20)) "$tmp/fixed.vhd" >"$tmp/forged.raw"
refused "a forged header in a fixed disk is no reason to guess" \
	"Begins as dynamic vhd, ends as fixed vhd: .*\(see -f\)$" "$vdisk" table "$tmp/fixed.vhd"
reads "a forged header in a fixed disk is data" "$tmp/forged.raw" "$tmp/fixed.vhd" -f vhd
t "a forged header does not make it dynamic" \
	eval "'$vdisk' info -f vhd '$tmp/fixed.vhd' | grep -q 'subformat: fixed'"
truncate -s -512 "$tmp/fixed.vhd"
"$here/vhd.py" forge "$tmp/fixed.vhd"
cp "$tmp/fixed.vhd" "$tmp/noend.vhd"
python3 - "$tmp/noend.vhd" "$here" <<'END'
import sys
sys.path.insert(0, sys.argv[2])
import vhd
with open(sys.argv[1], "r+b") as f:
    s = vhd.Struct(f, 0, 512, vhd.FOOTER)
    s.set("disk_type", "2", False)
    s.save()
END
refused "a fixed footer at 0 alone is none" \
	"Fixed VHD without a trailing footer: 0" "$vdisk" table "$tmp/noend.vhd"

ktap_end
