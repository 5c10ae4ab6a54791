#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G disk=128M disk=128M,logical=4096 timeout=900 long
#
# What users of losetup, cryptsetup and qemu-nbd do with devices: names that are
# found by themselves, who has a file, a disk restored to a block device. And the
# lines of Documentation/coming-from.rst.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img qemu-io jq kpartx losetup sfdisk
need_disk 1G disk
need_disk 128M small
need_disk 128M,logical=4096 big
scratch_fs ext4 "$disk" imgdir
lines=$(realpath "$(dirname "$0")/../lib/coming-from")
cd "$imgdir"

# The names of the devices that are listed.
listed()
{
	"$vdisk" list --noheadings "$@" | cut -d ' ' -f 1 | sort | tr '\n' ' '
}

#
# Names
#
qemu-img create -q -f vpc -o force_size=on "$dm.vhd" 64M
mkdir there
for ((k = 1; k < 4; k++)); do
	"$vdisk" create -f vhd "there/$dm.$k" 8M
done
cp there/"$dm.1" there/"$dm.vhd"
defer dm_gone "$dm"
eq "attach: called like the file" "$("$vdisk" attach "$dm.vhd")" "/dev/mapper/$dm"
defer dm_gone "$dm-1"
eq "attach: the next one" "$("$vdisk" attach --show "there/$dm.vhd")" "/dev/mapper/$dm-1"
defer dm_gone "$dm-2"
eq "attach --dry-run: the name it would have" "$("$vdisk" attach --dry-run "there/$dm.2")" "/dev/mapper/$dm-2"
eq "attach: and the next" "$("$vdisk" attach "there/$dm.2")" "/dev/mapper/$dm-2"
one "attach: the image is taken, whatever the name" "Image is attached: $dm " "$vdisk" attach "$dm.vhd"
eq "list: all of them" "$(listed | tr ' ' '\n' | grep -c "^$dm")" 3
eq "list FILE" "$(listed "there/$dm.2")" "$dm-2 "
ln -s "$dm.vhd" link
ln "$dm.vhd" hard
eq "list FILE: by a link" "$(listed link)" "$dm "
eq "list FILE: by another name" "$(listed hard)" "$dm "
eq "list FILE: nobody has it" "$("$vdisk" list "there/$dm.3")" ""
eq "list FILE: JSON" "$("$vdisk" list --json hard | jq -r '.[].name')" "$dm"
one "list FILE: not there" '^vdisk: gone: No such file' "$vdisk" list gone
eq "list: headings" "$("$vdisk" list | sed -n '1s/ .*//p')" NAME
for name in "$dm" "$dm-1" "$dm-2"; do
	"$vdisk" detach "$name"
done
eq "list: nothing, without headings" "$("$vdisk" list | grep -c NAME)" 0

# What cannot be in a name, or means something there.
while IFS='|' read -r file want; do
	cp "there/$dm.3" "there/$file"
	got=$("$vdisk" attach "there/$file" 2>&1)
	eq "attach: the name of '$file'" "$got" "/dev/mapper/$want"
	t "  there is a node" test -b "/dev/mapper/$want"
	"$vdisk" detach "$want"
done <<END
a b	c.vhd|a_b_c
über.vhd|_ber
.hidden|_hidden
-r.vhd|_r
control|control-1
x#y:z=1.vhd|x_y_z_1
two.parts.vhd|two.parts
$(printf 'n%.0s' {1..200}).vhd|$(printf 'n%.0s' {1..100})
END
"$vdisk" create -f parallels -o bundle=on "$dm-b.hdd" 8M
eq "attach: a bundle" "$("$vdisk" attach "$dm-b.hdd/")" "/dev/mapper/$dm-b"
eq "list FILE: a piece of it" "$(listed "$(find "$dm-b.hdd" -name '*.hds')")" "$dm-b "
"$vdisk" detach "$dm-b"
eq "attach: a bundle by its description" "$("$vdisk" attach "$dm-b.hdd/DiskDescriptor.xml")" "/dev/mapper/$dm-b"
"$vdisk" detach "$dm-b"
eq "attach: a bundle one is in" "$(cd "$dm-b.hdd" && "$vdisk" attach .)" "/dev/mapper/$dm-b"
"$vdisk" detach "$dm-b"
"$vdisk" create -q -f qed base.qed 8M
"$vdisk" snapshot base.qed "$dm-c.qed"
"$vdisk" attach "$dm-c.qed" >/dev/null
eq "list FILE: a parent" "$(listed base.qed)" "$dm-c "
t "snapshot --dry-run of a device" eval "'$vdisk' snapshot --dry-run '$dm-c' '$imgdir/new.qed' | grep -q '^Would make '"
t "resize --dry-run of a device" eval "'$vdisk' resize --dry-run '$dm-c' 16M | grep -q '16777216 bytes instead of 8388608'"
t "commit --dry-run of a device" eval "'$vdisk' commit --dry-run '$dm-c' | grep -q '^Would put 0 bytes'"
t "rebase --dry-run of a device" eval "'$vdisk' rebase --dry-run -b '' '$dm-c' | grep -q '^Would copy 0 bytes'"
eq "  nothing has changed" \
	"$(listed base.qed)$(blockdev --getsize64 "/dev/mapper/$dm-c") $("$vdisk" status --json "$dm-c" | jq .layers) $(find . -name new.qed)" \
	"$dm-c 8388608 2 "
"$vdisk" detach "$dm-c"

#
# A disk onto a device: all of it, and zeroes where it reads zero.
#
python3 - <<'END'
import random
rnd = random.Random(3)
with open("in.raw", "wb") as f:
    f.truncate((40 << 20) + 512)
    for at in (0, 9 << 20, (9 << 20) + 70144, 33 << 20, (40 << 20) - 512):
        f.seek(at)
        f.write(rnd.randbytes(1024))
END
"$vdisk" convert -f raw -O vhd in.raw in.vhd
"$vdisk" convert -f raw -O qed -o cluster_size=4k in.raw in.qed
size=$(stat -c %s in.raw)
head -c 128M /dev/zero | tr '\0' '\245' >old
truncate -s 128M loop.img
loop=$(losetup -f --show loop.img)
defer losetup -d "$loop"
# restored DEVICE: from images of large and of small units.
restored()
{
	local device=$1 image room

	room=$(blockdev --getsize64 "$device")
	for image in in.vhd in.qed; do
		head -c "$room" old >"$device"
		t "convert -n $image to ${device##*/}" "$vdisk" convert -n "$image" "$device"
		blockdev --flushbufs "$device"
		t "  it is all there" cmp -n "$size" in.raw "$device"
		t "  behind it is what was there" cmp -i "$size:$size" -n $((room - size)) old "$device"
	done
}
restored "$small"
restored "$big"
restored "$loop"
head -c 1M old >"$loop"
"$vdisk" convert -n -S 0 in.vhd "$loop"
t "convert -n -S 0" cmp -n "$size" in.raw "$loop"
head -c 128M old >"$loop"
sync "$loop"
"$vdisk" convert -n in.vhd "$loop"
t "zeroes give the place back where a device can" test "$(($(stat -c %b loop.img) * 512))" -lt $((100 << 20))
t "convert from a device" "$vdisk" convert -f raw -O qed "$loop" from.qed
dm_create "$dm-lv" "0 262144 linear $small 0"
restored "/dev/mapper/$dm-lv"
dm_create "$dm-odd" "0 100000 linear $loop 3"
restored "/dev/mapper/$dm-odd"
dm_create "$dm-short" "0 2048 linear $loop 0"
one "a device that is in use" "^vdisk: $loop: Device " "$vdisk" convert -n in.vhd "$loop"
before=$(sha256sum <"/dev/mapper/$dm-short")
one "a device that is too short" \
	"^vdisk: /dev/mapper/$dm-short: Output is shorter than the disk: 1048576 of $size bytes$" \
	"$vdisk" convert -n in.vhd "/dev/mapper/$dm-short"
blockdev --flushbufs "/dev/mapper/$dm-short"
eq "  was not written" "$(sha256sum <"/dev/mapper/$dm-short")" "$before"
one "a device and no -n" 'Is a block device \(convert -n writes to it\)$' "$vdisk" convert in.vhd "/dev/mapper/$dm-lv"
one "and no --force" 'Is a block device \(convert -n writes to it\)$' \
	"$vdisk" convert --force in.vhd "/dev/mapper/$dm-lv"
one "a device to itself" 'The copy would be of this file$' \
	"$vdisk" convert -n -f raw "/dev/mapper/$dm-lv" "/dev/mapper/$dm-lv"
dm_remove "$dm-short"

# Errors of the device: no success, and said what is there.
dm_create "$dm-bad" "0 20000 linear $small 0
20000 80000 error"
status=0
"$vdisk" convert -n in.vhd "/dev/mapper/$dm-bad" >out 2>&1 || status=$?
eq "a device that fails" "$status $(grep -c 'Only a part of the copy is there$' out)" "1 1"
dm_remove "$dm-bad"

#
# Documentation/coming-from.rst
#
mkdir -p lines /dev/vg
cd lines
ln -sfn "/dev/mapper/$dm-lv" /dev/vg/lv
truncate -s 64M disk.img
echo 'start=2048, type=83' | sfdisk -q disk.img >/dev/null
qemu-img convert -f raw -O vpc -o force_size=on disk.img disk.vhd
"$lines" kernel right >lines || fail "the lines"
t "there are lines" test "$(wc -l <lines)" -gt 25
while read -r line; do
	t "$line" env PATH="$(dirname "$(realpath "$vdisk")"):$PATH" bash -euo pipefail -c "$line"
done <lines
rm -r /dev/vg
cd /
ktap_end
