#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Differencing VHD files: sectors from the child or from what it stands on, the
# parent found by its names, and only where it may be.
. "$(dirname "$0")/lib.sh"

mkdir -p "$tmp/img/sub" "$tmp/other"
cd "$tmp/img" || exit
size=$((9 << 20))
child=$tmp/img/child.vhd

# A base, and a child with every third sector of some blocks.
"$here/vhd.py" make base.vhd size=$size blocks=0,1,3 seed=1 raw="$tmp/0.raw"
make_child()
{
	cp "$tmp/0.raw" "$tmp/1.raw"
	"$here/vhd.py" make "$child" size=$size blocks=1,2 sectors=3 seed=2 \
		raw="$tmp/1.raw" parent=base.vhd "$@"
}

make_child w2ru='.\base.vhd'
reads "relative locator" "$tmp/1.raw" "$child"
status "check of a child" 0 "$vdisk" check "$child"
eq "the table has both, the base first" "$("$vdisk" table "$child")" \
	"0 $((size / 512)) vdisk rw 2 1 $((size / 512)) vhd 1 $tmp/img/base.vhd 1 $((size / 512)) vhd 1 $child"
make_child w2ku='C:\vm\base.vhd'
reads "absolute locator, the file beside the child" "$tmp/1.raw" "$child"
make_child name='C:\vm\base.vhd'
reads "the header's name" "$tmp/1.raw" "$child"
make_child w2ru='.\gone.vhd' name='base.vhd'
reads "the locator leads nowhere, the name does" "$tmp/1.raw" "$child"
cp base.vhd 'bäse ☃.vhd'
make_child w2ru='.\bäse ☃.vhd'
reads "a name that is not ASCII" "$tmp/1.raw" "$child"
t "its blanks and its byte 0xa0 are quoted in the table" \
	eval "'$vdisk' table '$child' | grep -qF 'bäse\\040☃.vhd'"
cp base.vhd à.vhd
make_child w2ru='à.vhd'
t "the byte 0xa0 is quoted in the table" \
	eval "LC_ALL=C '$vdisk' table '$child' | LC_ALL=C grep -qaF $'/img/\xc3\\\\240.vhd'"
mkdir -p deep/er
cp base.vhd deep/er/base.vhd
make_child w2ru='.\deep\er\base.vhd'
reads "a parent in a directory beneath" "$tmp/1.raw" "$child"

# map tells depth and file
make_child w2ru='.\base.vhd'
eq "map: depth and files" "$("$vdisk" map --json "$child" | python3 -c 'import json, sys
seen = []
for e in json.load(sys.stdin):
    k = "%d %s" % (e["depth"], e.get("filename", "-").rsplit("/")[-1])
    if e["data"] and k not in seen:
        seen.append(k)
print(", ".join(seen))')" "1 base.vhd, 0 child.vhd"

# Sizes that differ.
"$here/vhd.py" make small.vhd size=$((5 << 20)) blocks=0,2 seed=5 raw="$tmp/s.raw"
cp "$tmp/s.raw" "$tmp/2.raw"
"$here/vhd.py" make longer.vhd size=$size blocks=4 seed=6 raw="$tmp/2.raw" \
	parent=small.vhd w2ru='.\small.vhd'
reads "past the end of a shorter parent it is zero" "$tmp/2.raw" longer.vhd
cp "$tmp/0.raw" "$tmp/3.raw"
truncate -s $((5 << 20)) "$tmp/3.raw"
"$here/vhd.py" make shorter.vhd size=$((5 << 20)) blocks=0 sectors=2 seed=7 \
	raw="$tmp/3.raw" parent=base.vhd w2ru='.\base.vhd'
reads "the end of a longer parent is not seen" "$tmp/3.raw" shorter.vhd
cp "$tmp/0.raw" "$tmp/4.raw"
"$here/vhd.py" make blocks.vhd size=$size block=524288 blocks=0,7,17 sectors=5 \
	seed=8 raw="$tmp/4.raw" parent=base.vhd w2ru='.\base.vhd'
reads "blocks of another size than the parent's" "$tmp/4.raw" blocks.vhd

# A fixed parent, and blktap's raw one.
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$tmp/0.raw" fixed.vhd
cp "$tmp/0.raw" "$tmp/5.raw"
"$here/vhd.py" make onfixed.vhd size=$size blocks=2 sectors=7 seed=9 \
	raw="$tmp/5.raw" parent=fixed.vhd w2ru='.\fixed.vhd'
reads "a fixed parent" "$tmp/5.raw" onfixed.vhd
cp "$tmp/0.raw" raw.img
cp "$tmp/0.raw" "$tmp/6.raw"
"$here/vhd.py" make onraw.vhd size=$size blocks=2 sectors=7 seed=9 \
	raw="$tmp/6.raw" parent=zero w2ru='.\raw.img'
"$here/vhd.py" set onraw.vhd 'both.creator=tap\0'
reads "a raw parent" "$tmp/6.raw" onraw.vhd
"$here/vhd.py" set onraw.vhd 'both.creator=win '
refused "only blktap means a raw parent by an id of zeroes" \
	"Parent: ./raw.img: No VHD footer found: $size$" "$vdisk" table onraw.vhd
"$here/vhd.py" set onraw.vhd 'both.creator=tap\0'
tail -c 512 fixed.vhd | dd of=raw.img bs=512 seek=$((size / 512 - 1)) conv=notrunc status=none
refused "a footer in the last sector of a raw parent" \
	"Parent: ./raw.img: Raw by its child, a VHD by itself$" "$vdisk" table onraw.vhd

# 32 of them.
mkdir chain
"$here/vhd.py" make chain/0.vhd size=$size blocks=0,2 seed=100 raw="$tmp/c.raw"
for i in $(seq 1 31); do
	"$here/vhd.py" make chain/$i.vhd size=$size block=65536 \
		blocks=$((i * 4)),$((i * 4 + 3)) sectors=$((i % 5 + 1)) \
		seed=$((100 + i)) raw="$tmp/c.raw" parent=chain/$((i - 1)).vhd \
		w2ru=".\\$((i - 1)).vhd"
done
reads "a chain of 32" "$tmp/c.raw" chain/31.vhd
for i in $(seq 32 64); do
	"$here/vhd.py" make chain/$i.vhd size=$size seed=$((100 + i)) \
		parent=chain/$((i - 1)).vhd w2ru=".\\$((i - 1)).vhd"
done
t "a chain of 64" "$vdisk" table chain/63.vhd
refused "a chain of 65" "Parent: more than 64 layers$" "$vdisk" table chain/64.vhd

# The wrong parent, no parent, the child itself, a circle.
make_child w2ru='.\small.vhd'
refused "a parent of another id" \
	"child.vhd: Parent: small.vhd: Image has the id [0-9a-f]{32} instead of [0-9a-f]{32}$" \
	"$vdisk" table "$child"
make_child w2ru='.\gone.vhd'
refused "a parent that is gone" \
	"child.vhd: Parent: ./gone.vhd: No such file or directory$" \
	"$vdisk" table "$child"
t "info needs no parent" "$vdisk" info "$child"
status "check needs no parent" 0 "$vdisk" check "$child"
make_child
refused "no name at all" "Parent: no name is given$" "$vdisk" table "$child"
make_child w2ru='.\child.vhd'
id=$(python3 -c 'import hashlib
print("".join("\\x%02x" % b for b in hashlib.md5(b"id 2").digest()))')
"$here/vhd.py" set "$child" "header.parent_uuid=$id"
refused "its own parent" "Parent: .*child.vhd is in the chain twice$" \
	"$vdisk" table "$child"
"$here/vhd.py" make loop1.vhd size=$size seed=21 parent=zero w2ru='.\loop2.vhd'
"$here/vhd.py" make loop2.vhd size=$size seed=22 parent=loop1.vhd w2ru='.\loop1.vhd'
id=$(python3 -c 'import hashlib
print("".join("\\x%02x" % b for b in hashlib.md5(b"id 22").digest()))')
"$here/vhd.py" set loop1.vhd "header.parent_uuid=$id"
refused "a circle of two" "Parent: .*loop1.vhd is in the chain twice$" \
	"$vdisk" table loop1.vhd

# What a name must not reach. The file is there, of the right id, and readable.
cp base.vhd "$tmp/other/base2.vhd"
ln -s ../other/base2.vhd link.vhd
ln -s ../other dirlink
for name in '..\other\base2.vhd' '.\sub\..\..\other\base2.vhd' \
	'.\link.vhd' '.\dirlink\base2.vhd' '.\sub\..\base.vhd'; do
	make_child w2ru="$name"
	case $name in *'\..\base.vhd') cp base.vhd "$tmp/kept"; rm base.vhd ;; esac
	refused "refused: $name" "Parent: .* leads out of $tmp/img \(see --allow-path\)$" \
		"$vdisk" table "$child"
done
cp "$tmp/kept" base.vhd
make_child w2ku="$tmp/other/base2.vhd"
refused "refused: an absolute name" \
	"Parent: $tmp/other/base2.vhd is an absolute path \(see --allow-path\)$" \
	"$vdisk" table "$child"
reads "--allow-path with a directory" "$tmp/1.raw" "$child" --allow-path "$tmp/other"
reads "--allow-path with a file" "$tmp/1.raw" "$child" --allow-path ../other/base2.vhd
refused "--allow-path with another file" "is an absolute path" \
	"$vdisk" table --allow-path "$tmp/0.raw" "$child"
make_child w2ru='..\other\base2.vhd'
reads "--allow-path with .. in the name" "$tmp/1.raw" "$child" --allow-path "$tmp/other"
make_child w2ru='.\link.vhd'
refused "a link out is refused beside --allow-path" "leads out of" \
	"$vdisk" table --allow-path "$tmp/other" "$child"
refused "--allow-path of what is not there allows nothing" \
	"leads out of $tmp/img \(see --allow-path\)$" \
	"$vdisk" table --allow-path /nowhere "$child"
for name in 'nbd://host/disk' 'json:{}'; do
	make_child w2ru="$name"
	refused "refused: $name" "Parent: .* is not the name of a file$" \
		"$vdisk" table "$child"
done
mkfifo pipe.vhd
mkdir dir.vhd
for name in pipe.vhd dir.vhd; do
	make_child w2ru="$name"
	refused "refused: $name" "Parent: $name: Not a regular file$" \
		timeout 10 "$vdisk" table "$child"
done
make_child w2ru=$'evil\e[31m\nname.vhd'
refused "a name is printed without its control characters" \
	'Parent: evil\\x1b\[31m\\x0aname.vhd: No such file' "$vdisk" table "$child"
python3 - "$child" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    d = f.read()
    f.seek(d.index("evil".encode("utf-16-le")))
    f.write(b"\x00\xdc\x00\xd8")
END
refused "UTF-16 out of order is no name" "Parent: no name is given$" \
	"$vdisk" table "$child"

ktap_end
