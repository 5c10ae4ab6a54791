#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G disk=1G,logical=4096 timeout=900
#
# The table line: what it prints loads again, and each way of getting it wrong
# is refused in words of its own, with nothing left behind.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img python3
need_disk 2G disk
need_disk 1G,logical=4096 disk4k
scratch_fs ext4 "$disk" dir
qemu-img create -q -f vpc -o force_size=on "$dir/a.vhd" 8M
qemu-img create -q -f vpc "$dir/chs.vhd" 20M
qemu-img create -q -f vpc -o subformat=fixed,force_size=on "$dir/fixed.vhd" 8M
vhd_py make "$dir/child.vhd" size=$((8 << 20)) parent=zero
truncate -s 8M "$dir/raw"
n=16384

# ---------------------------------------------------------------------------
# Lines that load, print, and load again.

# again NAME LINE: LINE makes a device; what that prints makes it again, by
# reload and after remove, and prints the same.
again()
{
	local name=$1 table

	t "$name: load" dm_create "$dm" "$2"
	table=$(dmsetup table "$dm")
	eq "$name: it prints what it was given" "$table" "${3:-$2}"
	t "$name: load what it printed" dmsetup load "$dm" --table "$table"
	t "$name: and go on with that" dmsetup resume "$dm"
	eq "$name: it prints the same" "$(dmsetup table "$dm")" "$table"
	t "$name: remove" dm_remove "$dm"
	t "$name: load what it printed, from nothing" dm_create "$dm" "$table"
	eq "$name: it prints the same again" "$(dmsetup table "$dm")" "$table"
	dm_gone "$dm"
}

again dynamic "$(vhd_line rw "$dir/a.vhd")"
again "read-only" "$(vhd_line ro "$dir/a.vhd")"
again fixed "$(vhd_line rw "$dir/fixed.vhd")"
again "the format's other name" "$(line rw $n "1 $n vpc 1 $dir/a.vhd")" \
	"$(line rw $n "1 $n vhd 1 $dir/a.vhd")"
again "all options" "$(line rw $n "1 $n vhd 1 $dir/a.vhd" -- buffered commit=250)"
again "options that are the default" \
	"$(line rw $n "1 $n vhd 1 $dir/a.vhd" -- commit=5000)" \
	"$(vhd_line rw "$dir/a.vhd")"
# 20M is 600 * 4 * 17 sectors by geometry, which is less.
chs=$(sectors "$dir/chs.vhd")
again "size by geometry" "$(line rw "$chs" "1 $chs vhd 2 $dir/chs.vhd size=chs")"
again "size by the current size" \
	"$(line rw $n "1 $n vhd 2 $dir/a.vhd size=current")"
again "raw, a part of a file" "$(line rw 4096 "1 4096 raw 2 $dir/raw offset=63")"
again "extents of one file" "$(line rw 4096 "2 1024 raw 2 $dir/raw offset=4096 3072 raw 1 $dir/raw")"
again "zero and error" "$(line ro 24 "3 8 zero 0 8 error 0 8 raw 1 $dir/raw")"
again "layers" "$(line rw $n "1 8 raw 1 $dir/raw" "1 $n zero 0" "1 $n vhd 1 $dir/child.vhd")"
again "an image on a block device" "$(line ro 2048 "1 2048 raw 1 $disk4k")"

# Names that need quotes, or look as if they did.
for name in 'a b' $'  \\t\tab "quote'\''s" #;&$\\ü ' 'fd:x'; do
	cp "$dir/a.vhd" "$dir/$name"
	again "name <$(printf %q "$name")>" "$(vhd_line rw "$dir/$name")"
	t "name <$(printf %q "$name")>: by the tool" eval \
		"$(printf '%q table %q | dmsetup create %q' "$vdisk" "$dir/$name" "$dm")"
	eq "name <$(printf %q "$name")>: the tool's line is ours" \
		"$(dmsetup table "$dm")" "$(vhd_line rw "$dir/$name")"
	dm_remove "$dm"
done

# A name as long as one may be, in a path as long as one may be.
long=$dir
while [ ${#long} -lt 3800 ]; do
	long+=/$(printf 'x%.0s' {1..250})
done
mkdir -p "$long"
cp "$dir/a.vhd" "$long/disk.vhd"
again "a path of ${#long} bytes" "$(vhd_line rw "$long/disk.vhd")"

# A descriptor: the path is what is printed. It holds on to the file itself.
exec 7<>"$dir/a.vhd"
t "fd: load" dmsetup create "$dm" --table "$(line rw $n "1 $n vhd 1 fd:7")"
defer dm_gone "$dm"
exec 7<&-
eq "fd: it prints the path" "$(dmsetup table "$dm")" "$(vhd_line rw "$dir/a.vhd")"
t "fd: load what it printed" eval \
	"dmsetup table $dm | dmsetup load $dm && dmsetup suspend $dm && dmsetup resume $dm"
t "fd: write" rio write "/dev/mapper/$dm" 1 5
dm_remove "$dm"
t "fd: attach by the tool" attach "$dm" "$dir/a.vhd"
eq "fd: the tool's line" "$(dmsetup table "$dm")" "$(vhd_line rw "$dir/a.vhd")"
"$vdisk" detach "$dm"

# ---------------------------------------------------------------------------
# Reading only.

t "ro: load" dm_create "$dm" "$(vhd_line ro "$dir/a.vhd")"
before=$(sha "$dir/a.vhd")
fails "ro: a write is refused" \
	dd if=/dev/zero of="/dev/mapper/$dm" bs=4k count=1 oflag=direct
t "ro: a read is not" dd if="/dev/mapper/$dm" of=/dev/null bs=4k count=1 iflag=direct
dm_remove "$dm"
t "ro: the tool makes the device read-only as well" attach "$dm" -r "$dir/a.vhd"
eq "ro: blockdev says so" "$(blockdev --getro "/dev/mapper/$dm")" 1
fails "ro: it is not opened for writing" dd if=/dev/zero of="/dev/mapper/$dm" bs=4k count=1
"$vdisk" detach "$dm"
eq "ro: the image is as it was" "$(sha "$dir/a.vhd")" "$before"
t "rw: the tool" attach "$dm" "$dir/a.vhd"
eq "rw: blockdev says so" "$(blockdev --getro "/dev/mapper/$dm")" 0
"$vdisk" detach "$dm"

# ---------------------------------------------------------------------------
# Lines that do not load. Device-mapper puts the words into the kernel log.

# One program loads them all: a dmsetup for each takes long.
lines=()

# refused WORDS LINE...: each is refused in these words; "0 N vdisk" is put
# before it. mode= of the device, if it is not the line's.
refused()
{
	local words=$1 each

	shift
	for each in "$@"; do
		lines+=("$words"$'\t'"${mode:--}"$'\t'"0 $n vdisk $each")
	done
}

# Now: what the lines name may go afterwards.
load_lines()
{
	verdicts "all of them were loaded" \
		"$test_lib/../golden/faults.py" lines "$dm" < <(printf '%s\n' "${lines[@]}")
	lines=()
}

good="1 $n vhd 1 $dir/a.vhd"
many=$(printf '1 8 zero 0 %.0s' {1..65})
refused "Mode is neither ro nor rw" "wr 1 $good" "RO 1 $good" "1 $good"
refused "Invalid number of layers" "ro" "ro 0" "ro -1 $good" "ro 1x $good" "ro 65 $many" \
	"ro 18446744073709551617 $good"
refused "Invalid number of extents" "ro 1" "ro 1 0" "ro 2 $good" "ro 1 4097 8 zero 0" "ro 1 +1 $n zero 0"
refused "Invalid extent length" "ro 1 1" "ro 1 1 0 zero 0" "ro 1 1 -8 zero 0" \
	"ro 1 1 18014398509481984 zero 0" "ro 1 2 $n zero 0" "ro 1 1 8k zero 0"
refused "Unknown format" "ro 1 1 $n" "ro 1 1 $n VHD 1 $dir/a.vhd" "ro 1 1 $n vhdx 1 $dir/a.vhd"
refused "Invalid number of extent arguments" "ro 1 1 $n vhd" "ro 1 1 $n vhd 0" \
	"ro 1 1 $n vhd 2 $dir/a.vhd" "ro 1 1 $n vhd x $dir/a.vhd" "ro 1 1 $n zero 1 x" \
	"ro 1 1 $n vhd 18446744073709551615 $dir/a.vhd"
refused "Unknown extent argument" "ro 1 1 $n vhd 2 $dir/a.vhd x=1" "ro 1 1 $n vhd 2 $dir/a.vhd buffered"
refused "Invalid extent offset" "ro 1 1 8 raw 2 $dir/raw offset=" "ro 1 1 8 raw 2 $dir/raw offset=-1" \
	"ro 1 1 8 raw 2 $dir/raw offset=18014398509481984" "ro 1 1 8 raw 2 $dir/raw offset=1k"
refused "Invalid size rule" "ro 1 1 $n vhd 2 $dir/a.vhd size=" "ro 1 1 $n vhd 2 $dir/a.vhd size=big"
refused "Invalid number of options" "ro 1 $good 1" "ro 1 $good 0 buffered" "ro 1 $good 2 buffered" \
	"ro 1 $good buffered"
refused "Unknown option" "ro 1 $good 1 direct" "ro 1 $good 1 buffered=1"
refused "Invalid commit interval" "ro 1 $good 1 commit=0" "ro 1 $good 1 commit=3600001" \
	"ro 1 $good 1 commit=5s" "ro 1 $good 1 commit="
refused "Invalid stamp" "rw 1 $good 1 stamp=" "rw 1 $good 1 stamp=0:12345678:" \
	"rw 1 $good 1 stamp=0:123456789:$dir/raw" "rw 1 $good 1 stamp=-1:12345678:$dir/raw" \
	"rw 1 $good 1 stamp=0:1234567g:$dir/raw"
refused "A read-only device stamps nothing" "ro 1 $good 1 stamp=0:12345678:$dir/raw"
refused "Stamp is past the end of its file" "rw 1 $good 1 stamp=$(((8 << 20) - 7)):12345678:$dir/raw"

refused "Extents of the top layer do not fill the target" "ro 1 1 $((n - 1)) vhd 1 $dir/a.vhd" \
	"ro 1 2 $n vhd 1 $dir/a.vhd 1 zero 0" "ro 2 1 $n zero 0 1 8 zero 0"
refused "Layer is too long" "ro 1 2 18014398509481983 zero 0 8 zero 0"
refused "Image is smaller than the extent" "ro 1 1 $((n + 1)) vhd 1 $dir/a.vhd"
refused "Image needs its parent as a layer below" "ro 1 1 $n vhd 1 $dir/child.vhd"
refused "Extent has no file to write to" "rw 1 1 $n zero 0" "rw 1 1 $n error 0"
refused "Offset is past the end of the file" "ro 1 1 $n raw 2 $dir/raw offset=$((n + 1))"
refused "File is too short for the extent" "ro 1 1 $n raw 2 $dir/raw offset=1"
head -c 1000 /dev/zero >"$dir/odd"
t "a length in part of a sector may be read" \
	dm_create "$dm" "$(line ro 2 "1 2 raw 1 $dir/odd")"
dm_remove "$dm"
n=2 refused "File length is not a multiple of 512" "rw 1 1 2 raw 1 $dir/odd"
mode=ro refused "Device is read-only, the table says rw" "rw 1 $good"

mkfifo "$dir/fifo"
ln -s nowhere "$dir/dangling"
refused "Cannot open the backing" "ro 1 1 $n vhd 1 $dir/missing" "ro 1 1 $n vhd 1 $dir/dangling" \
	"rw 1 1 $n vhd 1 $dir" "ro 1 1 $n vhd 1 $dir/a.vhd/x"
refused "Backing is neither a file nor a block device" "ro 1 1 $n vhd 1 $dir" \
	"ro 1 1 $n vhd 1 /dev/null" "ro 1 1 $n vhd 1 $dir/fifo"
refused "Invalid descriptor" "ro 1 1 $n vhd 1 fd:" "ro 1 1 $n vhd 1 fd:x" "ro 1 1 $n vhd 1 fd:-1" \
	"ro 1 1 $n vhd 1 fd:99" "ro 1 1 $n vhd 1 fd:3x"
exec 7<"$dir/a.vhd"
refused "Descriptor is not open for writing" "rw 1 1 $n vhd 1 fd:7"
refused "The same file appears twice" "ro 2 $good $good" \
	"ro 2 1 8 raw 1 $dir/a.vhd $good" "ro 2 $good 1 8 raw 1 $dir/a.vhd"
refused "The same file appears read-only below" "rw 2 1 $n raw 1 $dir/raw 1 $n raw 1 $dir/raw"
refused "Device lookup failed" "rw 1 1 $n raw 1 $disk"
# A file of the kernel that only takes the old way of reading.
refused "File system cannot read or write in the kernel" "ro 1 1 $n raw 1 /proc/self/mem"
load_lines
exec 7<&-
# Longer than a path may be: step by step.
cd "$long"
mkdir "$(printf 'y%.0s' {1..250})"
cd y*
cp "$dir/a.vhd" disk.vhd
refused "Path of the backing is too long" "ro 1 1 $n vhd 1 disk.vhd"
load_lines
cd /
t "no file is left open" umount "$dir"

ktap_end
