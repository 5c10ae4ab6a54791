#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# VMDK descriptors by hand: extents of all kinds laid end to end, texts as found
# in the wild, names that must not be followed.
. "$(dirname "$0")/lib.sh"

mkdir -p "$tmp/img/sub" "$tmp/other"
cd "$tmp/img" || exit
python3 - <<'END'
import random
rnd = random.Random(21)
for name in "abc":
    with open(name + ".raw", "wb") as f:
        f.write(rnd.randbytes(1 << 20))
END
cp a.raw ../other/o.raw

# text LINE...: d.vmdk with these lines behind the usual ones
text()
{
	{
		printf '# Disk DescriptorFile\nversion=1\nCID=12345678\n'
		printf 'parentCID=ffffffff\ncreateType="custom"\n'
		printf '%s\n' "$@"
	} >d.vmdk
}

# The table without the stamp, whose digits are random.
table()
{
	"$vdisk" table "$@" | sed 's/ 1 stamp=[0-9]*:[0-9a-f]*:[^ ]*$//'
}

# part RAW SKIP COUNT (sectors) appends to want.raw; no RAW: zeroes
part()
{
	dd if="${1:-/dev/zero}" bs=512 skip="$2" count="$3" status=none >>want.raw
}

text 'RW 100 FLAT "a.raw" 0' 'RW 2000 FLAT "b.raw" 48' 'RW 7 VMFS "c.raw"'
: >want.raw; part a.raw 0 100; part b.raw 48 2000; part c.raw 0 7
reads "flat extents" want.raw d.vmdk
eq "flat extents: the table" "$(table d.vmdk)" \
	"0 2107 vdisk rw 1 3 100 raw 1 $PWD/a.raw 2000 raw 2 $PWD/b.raw offset=48 7 raw 1 $PWD/c.raw"
text 'RW 10 FLAT "a.raw" 0' 'RW 20 ZERO' 'RDONLY 30 FLAT "b.raw" 5' 'RW 40 FLAT "c.raw" 9'
: >want.raw; part a.raw 0 10; part '' 0 20; part b.raw 5 30; part c.raw 9 40
reads "ZERO and RDONLY keep their places" want.raw d.vmdk
refused "ZERO is not for writing" "Extent can only be read \(see --read-only\): 2$" \
	"$vdisk" table d.vmdk
eq "ZERO in the table" "$("$vdisk" table --read-only d.vmdk)" \
	"0 100 vdisk ro 1 4 10 raw 1 $PWD/a.raw 20 zero 0 30 raw 2 $PWD/b.raw offset=5 40 raw 2 $PWD/c.raw offset=9"
text 'RW 10 FLAT "a.raw" 0' 'NOACCESS 20 FLAT "gone" 0'
refused "NOACCESS gives no bytes" "Extent gives no access at sector: 10$" \
	"$vdisk" convert d.vmdk out.raw
eq "NOACCESS in the table" "$("$vdisk" table --read-only d.vmdk)" \
	"0 30 vdisk ro 1 2 10 raw 1 $PWD/a.raw 20 error 0"

# Sparse ones, of a split that is not 2 GiB.
qemu-img convert -f raw -O vmdk -o subformat=monolithicSparse a.raw sa.vmdk
qemu-img convert -f raw -O vmdk -o subformat=streamOptimized b.raw sb.vmdk
text 'RW 2048 SPARSE "sa.vmdk"' 'RW 1031 SPARSE "sb.vmdk"' 'RW 3 FLAT "c.raw" 1'
: >want.raw; part a.raw 0 2048; part b.raw 0 1031; part c.raw 1 3
reads "sparse, compressed and flat extents in one disk" want.raw d.vmdk
status "check looks at all of them" 0 "$vdisk" check d.vmdk
text 'RW 2049 SPARSE "sa.vmdk"'
refused "an extent longer than its file" "^vdisk: d.vmdk: sa.vmdk: .*: 20(48|49)$" "$vdisk" table d.vmdk
text 'RW 2049 FLAT "a.raw" 0'
refused "a flat extent longer than its file" \
	"^vdisk: d.vmdk: a.raw: File is too short for the extent: 2049$" "$vdisk" table d.vmdk
text 'RW 100 FLAT "a.raw" 1949'
refused "a flat extent past the end of its file" "File is too short for the extent: 100$" \
	"$vdisk" table d.vmdk
text 'RW 8 SPARSE "a.raw"'
refused "a sparse extent that is none" "^vdisk: d.vmdk: a.raw: " "$vdisk" table d.vmdk

# The text as others write it.
printf '# disk DescriptorFile\r\nversion=1 \r\nencoding="UTF-8"\r\ncid=1 \r\nPARENTCID = FFFFFFFF\r\n\r\n  rw\t8  flat "a.raw" 0 \r\n' >d.vmdk
eq "CRLF and blanks" "$(table d.vmdk)" "0 8 vdisk rw 1 1 8 raw 1 $PWD/a.raw"
eq "CRLF and blanks: probe" "$("$vdisk" probe d.vmdk)" vmdk
python3 - <<'END'
import struct
# A header without a capacity: the text inside describes other files.
text = b'''# Disk DescriptorFile
version=1
CID=1
parentCID=ffffffff
createType="vmfs"
RW 16 FLAT "a.raw" 3
'''
h = struct.pack("<IIIQQQQIQQQB4sH", 0x564d444b, 1, 3, 0, 128, 1, 2, 512, 0, 0, 8,
                0, b"\n \r\n", 0)
with open("inside.vmdk", "wb") as f:
    f.write(h.ljust(512, b"\0") + text.ljust(1024, b"\0"))
with open("itself.vmdk", "wb") as f:
    f.write(h.ljust(512, b"\0") +
            text.replace(b"a.raw", b"itself.vmdk").ljust(1024, b"\0"))
END
: >want.raw; part a.raw 3 16
reads "a text inside a header without capacity" want.raw inside.vmdk
refused "a text that lists its own file" "itself.vmdk is in the chain twice$" \
	"$vdisk" table itself.vmdk

# The content id changes before the first write: the line says where and what.
# stamped DESCRIPTION IMAGE DIGITS: the stamp replaces this id in this file
stamped()
{
	local at new file

	IFS=: read -r at new file < <("$vdisk" table "$2" | sed -n 's/.* 1 stamp=//p')
	eq "$1: the id's place" \
		"$(dd if="$file" bs=1 skip="${at:-0}" count=${#3} status=none)" "$3"
	eq "$1: a new id of the same length" \
		"${#new} $([ "$new" = "$3" ] || echo new)" "${#3} new"
}
text 'RW 8 FLAT "a.raw" 0'
stamped "an external text" d.vmdk 12345678
stamped "a text in a header without capacity" inside.vmdk 1
id=$(tr -c "[:print:]" "\n" <sa.vmdk | sed -n 's/^CID=//p')
stamped "a text in a sparse extent" sa.vmdk "$id"
eq "a table for reading stamps nothing" \
	"$("$vdisk" table --read-only d.vmdk | grep -c stamp)" 0
eq "a parent is not stamped" "$(qemu-img create -q -f vmdk -b sa.vmdk -F vmdk kid.vmdk
	"$vdisk" table kid.vmdk | grep -o 'stamp=.*:' | wc -l)" 1

# A thousand extents, in one device.
mkdir many
for i in $(seq 0 999); do
	printf '%512d' "$i" >many/$i
	echo "RW 1 FLAT \"many/$i\" 0"
done >lines
text "$(cat lines)"
for i in $(seq 0 999); do printf '%512d' "$i"; done >want.raw
reads "1000 extents" want.raw d.vmdk
t "1000 extents: a table" "$vdisk" table d.vmdk

# What is wrong with the text is told by its line.
text 'RW 8 FLAT "a.raw"'
refused "no offset" "^vdisk: d.vmdk: Descriptor line 6: Extent has no offset$" "$vdisk" table d.vmdk
text 'RW 8 VMFSRAW "/dev/sda"'
refused "a device" "Descriptor line 6: Extent type cannot be used: VMFSRAW$" "$vdisk" table d.vmdk
text $'RW 8 \e[31mFLAT "a.raw" 0'
refused "a type is printed without control characters" 'cannot be used: \\x1b\[31mFLAT$' \
	"$vdisk" table d.vmdk
text
refused "no extents" "Descriptor lists no extents$" "$vdisk" table d.vmdk
{ text; head -c 1048577 /dev/zero | tr '\0' '\n'; } >>d.vmdk
refused "longer than 1 MiB" "Descriptor is longer than 1 MiB: " "$vdisk" table d.vmdk

# Names.
ln -s ../other/o.raw link.raw
ln -s ../other dirlink
ln -s a.raw inlink.raw
for name in /etc/passwd "$tmp/other/o.raw"; do
	text "RW 1 FLAT \"$name\" 0"
	refused "refused: $name" "^vdisk: d.vmdk: $name is an absolute path \(see --allow-path\)$" \
		"$vdisk" table d.vmdk
done
for name in ../other/o.raw sub/../a.raw link.raw dirlink/o.raw; do
	text "RW 1 FLAT \"$name\" 0"
	refused "refused: $name" "^vdisk: d.vmdk: $name leads out of $PWD \(see --allow-path\)$" \
		"$vdisk" table d.vmdk
done
for name in nbd://host/disk json:{} fat:.; do
	text "RW 1 FLAT \"$name\" 0"
	refused "refused: $name" "is not the name of a file$" "$vdisk" table d.vmdk
done
mkfifo fifo
for name in fifo sub .; do
	text "RW 1 FLAT \"$name\" 0"
	refused "refused: $name" ": Not a regular file$" timeout 10 "$vdisk" table d.vmdk
done
text 'RW 1 FLAT "inlink.raw" 0'
t "a link that stays is followed" "$vdisk" table d.vmdk
text "RW 1 FLAT \"$tmp/other/o.raw\" 0"
t "--allow-path" "$vdisk" table --allow-path ../other d.vmdk

# Names of another system: the file beside the text.
for name in "$tmp/gone/a.raw" /vmfs/volumes/5f0/vm/a.raw 'D:\vm\a.raw' 'd:/vm/a.raw' \
	'\\server\share\a.raw' 'E:\a.raw'; do
	text "RW 8 FLAT \"$name\" 0"
	eq "the file beside the text: $name" "$(table d.vmdk)" \
		"0 8 vdisk rw 1 1 8 raw 1 $PWD/a.raw"
done
text "RW 8 FLAT \"$tmp/other/a.raw\" 0"
cp a.raw ../other/a.raw
refused "a file that is there and not allowed is no file that was moved" \
	"$tmp/other/a.raw is an absolute path \(see --allow-path\)$" "$vdisk" table d.vmdk
rm ../other/a.raw
text 'RW 8 FLAT "/x/1/a.raw" 0' 'RW 8 FLAT "/x/2/a.raw" 0'
refused "two files of one name that were moved" \
	"^vdisk: d.vmdk: /x/2/a.raw: Another name leads to the same file$" "$vdisk" table -r d.vmdk
text 'RW 8 FLAT "a.raw" 0' 'RW 8 FLAT "/x/2/a.raw" 8'
refused "nor is one of them the other" "Another name leads to the same file$" "$vdisk" table -r d.vmdk
text 'RW 8 FLAT "/x/1/a.raw" 0' 'RW 8 FLAT "/x/1/a.raw" 8'
t "two ranges of a file that was moved" "$vdisk" table d.vmdk
cp c.raw sub/c.raw
text 'RW 8 FLAT "sub\c.raw" 0'
eq "Windows' separator" "$(table d.vmdk)" "0 8 vdisk rw 1 1 8 raw 1 $PWD/sub/c.raw"
cp b.raw 'sub\c.raw'
eq "a name that has a backslash is that" "$(table d.vmdk)" \
	"0 8 vdisk rw 1 1 8 raw 1 $PWD/sub\\134c.raw"
rm 'sub\c.raw'
text 'RW 8 FLAT "D:\vm\..\a.raw" 0'
t "the last part of a name is one of this directory" "$vdisk" table d.vmdk
text 'RW 8 FLAT "D:\vm\.." 0'
refused "nor is that a directory" "^vdisk: d.vmdk: " "$vdisk" table d.vmdk

# One file in several extents: where each byte has one place, or is only read.
text 'RW 8 FLAT "b.raw" 0' 'RW 100 FLAT "a.raw" 0' 'RW 8 FLAT "b.raw" 8' 'RW 50 FLAT "inlink.raw" 100'
: >want.raw; part b.raw 0 8; part a.raw 0 100; part b.raw 8 8; part a.raw 100 50
reads "ranges of one file" want.raw d.vmdk
eq "ranges of one file: the table" "$(table d.vmdk)" \
	"0 166 vdisk rw 1 4 8 raw 1 $PWD/b.raw 100 raw 1 $PWD/a.raw 8 raw 2 $PWD/b.raw offset=8 50 raw 2 $PWD/a.raw offset=100"
status "ranges of one file: check" 0 "$vdisk" check d.vmdk
refused "a file with two ranges does not grow" "Last extent shares its file with another$" \
	"$vdisk" resize d.vmdk +1M
text 'RW 10 FLAT "a.raw" 5' 'RW 1 FLAT "b.raw" 0' 'RW 6 FLAT "inlink.raw" 0'
refused "ranges that overlap are not written" \
	"^vdisk: d.vmdk: Two extents have sector 5 of inlink.raw$" "$vdisk" table d.vmdk
: >want.raw; part a.raw 5 10; part b.raw 0 1; part a.raw 0 6
reads "ranges that overlap are read" want.raw d.vmdk
t "ranges that overlap: a table for reading" "$vdisk" table --read-only d.vmdk
cp sa.vmdk sub/sa.vmdk
text 'RW 8 FLAT "sa.vmdk" 0' 'RW 2048 SPARSE "sa.vmdk"'
refused "a sparse extent is no range" "sa.vmdk is in the chain twice$" "$vdisk" table -r d.vmdk
text 'RW 1 FLAT "d.vmdk" 0'
refused "the text as its extent" "d.vmdk is in the chain twice$" "$vdisk" table d.vmdk

# A split child on a split parent.
qemu-img convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse a.raw p.vmdk
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse -b p.vmdk -F vmdk c.vmdk
qemu-io -f vmdk -c 'write -P 6 100k 70k' c.vmdk >/dev/null
same_as_qemu "a split child of a split parent" vmdk c.vmdk
sed -i 's/parentCID=.*/parentCID=fffffffe/' c.vmdk
t "a parent of a long CID is not compared" "$vdisk" table c.vmdk
sed -i '/^parentFileNameHint/d' c.vmdk
refused "a parent without a name" "^vdisk: c.vmdk: Parent: no name is given$" "$vdisk" table c.vmdk

ktap_end
