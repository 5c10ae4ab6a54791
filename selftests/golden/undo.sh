#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A repair destroys nothing: one wrong number in a header that makes a hundred
# entries look wrong is what is put right, and where nothing explains them nothing
# is changed. Undo files put the image back to the bit.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_cmd python3
cd "$tmp" || exit

# set_le FILE OFFSET WIDTH EXPRESSION: the number there, as v in EXPRESSION.
set_le()
{
	python3 - "$@" <<'END'
import sys
name, off, width, expr = sys.argv[1:]
big = width.endswith("b")
width = int(width.rstrip("b"))
order = "big" if big else "little"
with open(name, "r+b") as f:
    f.seek(int(off))
    v = int.from_bytes(f.read(width), order)
    f.seek(int(off))
    f.write((eval(expr) % (1 << 8 * width)).to_bytes(width, order))
END
}

# 3 MiB of noise in a disk of 24 MiB, here and there.
python3 - <<'END'
import random
rnd = random.Random(1)
disk = bytearray(24 << 20)
for mib in range(0, 24, 2):
    at = (mib << 20) + 65536 * rnd.randrange(28)
    disk[at:at + 262144] = rnd.randbytes(262144)
open("x.raw", "wb").write(disk)
END

# A piece of a disk of ESX is read by itself if its format is said.
reads_right()
{
	rm -f copy.raw
	case $1 in
	esx-*) set -- -f cowd "$1" ;;
	esac
	"$vdisk" convert "$@" copy.raw && cmp copy.raw x.raw
}

# wrong NAME IMAGE OFFSET WIDTH EXPRESSION: afterwards it reads what it did.
wrong()
{
	local name=$1 file=$2.wrong was code=0 said

	shift
	cp "$1" "$file"
	rm -f "$file.vdisk-undo"
	set_le "$file" "$2" "$3" "$4"
	was=$(sha "$file")
	said=$("$vdisk" check --repair --dry-run "$file" 2>&1)
	eq "$name: --dry-run changes nothing" "$(sha "$file")" "$was"
	said=$("$vdisk" check --repair "$file" 2>&1) || code=$?
	eq "$name: repaired" "$code" 0 || echo "$said" | sed -n 's/^/# /; 1,9p'
	status "$name: reads what it did" 0 reads_right "$file"
	if [ -e "$file.vdisk-undo" ]; then
		"$vdisk" check --undo "$file.vdisk-undo" "$file" >undo.log 2>&1
		eq "$name: put back to the bit" "$(sha "$file")" "$was"
	fi
}

while read -r name format options; do
	"$vdisk" convert -f raw -O "$format" -o "$options" x.raw "$name" ||
		fail "$name is made"
done <<'END'
image.qed qed cluster_size=4k
image.vhd vhd block_size=64k
image.vmdk vmdk grain_size=4k
image.parallels parallels cluster_size=64k
esx.vmdk vmdk subformat=vmfsSparse,grain_size=4k
END

wrong "QED L1 elsewhere" image.qed 40 8 'v ^ 0x8000'
wrong "QED L1 far away" image.qed 40 8 'v ^ 0x40000000'
wrong "QED header of more clusters" image.qed 12 4 'v ^ 4'
wrong "QED clusters of another size" image.qed 4 4 'v ^ 0x4000'
wrong "QED tables of another size" image.qed 8 4 'v ^ 1'
wrong "VMDK overHead" image.vmdk 64 8 'v ^ 0x400'
wrong "VMDK overHead 0" image.vmdk 64 8 '0'
wrong "VMDK gdOffset" image.vmdk 56 8 'v ^ 0x40'
wrong "VMDK gdOffset of a byte" image.vmdk 56 8 'v ^ 0x6a'
wrong "VMDK rgdOffset" image.vmdk 48 8 'v ^ 0x400'
wrong "VMDK numGTEsPerGT" image.vmdk 44 4 'v ^ 0x100'
wrong "VMDK grainSize" image.vmdk 20 8 'v ^ 0x10'
wrong "VMDK descriptorSize" image.vmdk 36 8 'v ^ 0x100'
wrong "Parallels cluster size" image.parallels 28 4 'v ^ 0x100'
wrong "Parallels data offset" image.parallels 48 4 'v ^ 0x100'
wrong "VHD BAT elsewhere" image.vhd $((512 + 16)) 8b 'v ^ 0x200'
wrong "VHD BAT far away" image.vhd $((512 + 16)) 8b 'v ^ 0x10000'
wrong "VHD block size" image.vhd $((512 + 32)) 4b 'v ^ 0x20000'
esx=$(sed -n 's/.* VMFSSPARSE "\(.*\)"/\1/p' esx.vmdk)
wrong "COWD gdOffset" "$esx" 20 4 'v ^ 0x10'
wrong "COWD gdOffset far away" "$esx" 20 4 'v ^ 0x400'
wrong "COWD numGDEntries" "$esx" 24 4 'v ^ 0x1000000'
wrong "COWD grainSize" "$esx" 16 4 'v ^ 1'

# Of a table: the first entry of the directory leads into the grains.
gd=$(python3 -c 'import struct
print(struct.unpack_from("<Q", open("image.vmdk", "rb").read(), 56)[0] * 512)')
wrong "VMDK table in a grain" image.vmdk "$gd" 4 'v ^ 0x400'

# Nothing explains it: half the file is not there.
for format in qed vhd vmdk parallels; do
	cp image.$format half.$format
	truncate -s $(($(stat -c %s half.$format) / 2)) half.$format
	was=$(sha half.$format)
	"$vdisk" check --repair half.$format >half.log 2>&1
	code=$?
	[ $code -eq 1 ] || [ $code -eq 2 ] && pass "half of $format is not repaired" ||
		fail "half of $format is not repaired" "$(tail -n 5 half.log)"
	eq "half of $format is left as it is" "$(sha half.$format)" "$was"
	status "half of $format: no undo file" 1 test -e half.$format.vdisk-undo
done

# Undo files.
cp image.qed q
set_le q 16 8 'v | 2'
was=$(sha q)
status "a dry run has the image's status" 2 "$vdisk" check --repair --dry-run q
eq "a dry run says what it would do" \
	"$("$vdisk" check --repair --dry-run q | sed -n 1p)" \
	"WOULD REPAIR Image was not closed: mark cleared"
status "repaired" 0 "$vdisk" check --repair q
eq "the undo file is beside it" "$(ls q.vdisk-undo)" q.vdisk-undo
now=$(sha q)
status "a second one finds nothing" 0 "$vdisk" check --repair q
eq "and changes nothing" "$(sha q)" "$now"

cp q other
refused "another image, the same to the bit" "Undo file is of the image with the inode" \
	"$vdisk" check --undo q.vdisk-undo other
eq "it is left alone" "$(sha other)" "$now"
set_le q 16 8 'v | 4'
refused "an image that was changed since" "Image was changed since, at byte: 0" \
	"$vdisk" check --undo q.vdisk-undo q
set_le q 16 8 'v & ~4'
truncate -s +4096 q
refused "an image that became longer since" "Image was changed since, its length is" \
	"$vdisk" check --undo q.vdisk-undo q
truncate -s -4096 q
eq "refusals change nothing" "$(sha q)" "$now"

set_le q 16 8 'v | 2'
refused "an undo file is not overwritten" "An undo file is there already" \
	"$vdisk" check --repair q
eq "nor is the image changed then" "$(sha q)" "$was"
status "a file of another name" 0 "$vdisk" check --repair --undo-file q2 q
status "put back by that" 0 "$vdisk" check --undo q2 q
eq "to the bit" "$(sha q)" "$was"
status "once more" 0 "$vdisk" check --undo q2 q
eq "it stays so" "$(sha q)" "$was"
status "and repaired again" 0 "$vdisk" check --repair --undo-file q2 q
set_le q 16 8 'v | 2'
rm -f q.vdisk-undo
status "without an undo file" 0 "$vdisk" check --repair --no-undo q
status "there is none" 1 test -e q.vdisk-undo

head -c 100 q2 >short
refused "an undo file that is cut off" "Undo file is " "$vdisk" check --undo short q
cp q2 damaged
set_le damaged 200 1 'v ^ 1'
refused "a damaged one" ": " "$vdisk" check --undo damaged q
refused "no undo file" "Not an undo file" "$vdisk" check --undo x.raw q
refused "one that is not there" "No such file" "$vdisk" check --undo gone q
refused "undo is no repair" "--undo puts back" "$vdisk" check --repair --undo q2 q
refused "a dry run of nothing" "are of --repair" "$vdisk" check --dry-run q
refused "with or without" "which of the two" \
	"$vdisk" check --repair --no-undo --undo-file q3 q
eq "none of these changes it" "$("$vdisk" check q >/dev/null; echo $?)" 0

# What is given back at the end comes back.
"$vdisk" create -f vhd -o block_size=64k v 1M >/dev/null
"$vdisk" convert -f raw -O vhd -o block_size=64k x.raw v --force
python3 - <<'END'
import struct
raw = bytearray(open("v", "rb").read())
bat = struct.unpack_from(">Q", raw, 528)[0]
last = max(range(384), key=lambda i: (lambda e: 0 if e == 0xffffffff else e)(
    struct.unpack_from(">I", raw, bat + 4 * i)[0]))
struct.pack_into(">I", raw, bat + 4 * last, 0xffffffff)
open("v", "wb").write(raw)
END
was=$(sha v)
status "a lost block is given back" 0 "$vdisk" check --repair v
status "put back" 0 "$vdisk" check --undo v.vdisk-undo v
eq "the block and the length are there again" "$(sha v)" "$was"

ktap_end
