#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900
#
# Damaged images that may be used all the same, and images that are in use. What
# the kernel refuses is in 340-faults.sh.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img qemu-io python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir
good=$dir/good.vhd
bad=$dir/bad.vhd
mb=$((1 << 20))
n=32768

# Blocks 0, 4 and 7; block 0 lies at sector 4, each is 4097 sectors long.
qemu-img create -q -f vpc -o force_size=on "$good" 16M
qemu-io -f vpc -c 'write -P 1 0 1k' -c 'write -P 2 8M 2M' -c 'write -P 3 15M 1k' \
	"$good" >/dev/null
qemu-img convert -f vpc -O raw "$good" "$dir/good.raw"
length=$(stat -c %s "$good")
t "a device to load tables into" dmsetup create "$dm" --notable
defer dm_gone "$dm"

set_fields()
{
	vhd_py set "$bad" "$@"
}

# ---------------------------------------------------------------------------
# One bad BAT entry: found when it is used, and only that range is lost.

read_at()
{
	dd if="/dev/mapper/$dm-x" iflag=direct bs=64k skip="$1" count="$2" status=none
}

# sectors [from, from + count) of 64 KiB on the device are what they should be
right()
{
	cmp <(read_at "$1" "$2") <(dd if="$dir/good.raw" bs=64k skip="$1" count="$2" status=none)
}

no_data()
{
	"$@" >/dev/null
}

# the first and the last part of block 2
lost()
{
	! no_data read_at 64 1 2>/dev/null && ! no_data read_at 95 1 2>/dev/null
}

one_block_lost()
{
	local entry=$1 words=$2 said

	cp "$good" "$bad"
	set_fields "bat.2=$entry"
	# Of such lines there are no more than ten in five seconds.
	sleep 5
	t "entry $entry: it is attached" dm_create "$dm-x" "0 $n vdisk rw 1 1 $n vhd 1 $bad"
	if capture said lost; then
		pass "entry $entry: its block cannot be read"
	else
		fail "entry $entry: its block cannot be read"
	fi
	eq "entry $entry: one line names it" "$(grep -o "$bad: .*" <<<"$said" | sort -u)" \
		"$bad: $words: $((entry))"
	t "entry $entry: what is before it is right" right 0 64
	t "entry $entry: what is behind it is right" right 96 160
	fails "entry $entry: a read across its edge" no_data read_at 63 2
	fails "entry $entry: its block cannot be written" \
		dd if=/dev/zero of="/dev/mapper/$dm-x" oflag=direct bs=64k seek=64 count=1
	t "entry $entry: others can" rio write "/dev/mapper/$dm-x" 3 6 base=10M size=6M max=64k
	t "entry $entry: and new ones" rio write "/dev/mapper/$dm-x" 4 6 base=2M size=2M max=64k
	dm_remove "$dm-x"
	cp "$dir/good.raw" "$dir/want.raw"
	rio write "$dir/want.raw" 3 6 base=10M size=6M max=64k how=buffered
	rio write "$dir/want.raw" 4 6 base=2M size=2M max=64k how=buffered
	set_fields "bat.2=0xffffffff"
	same_disk "entry $entry: they are in the image" "$bad" "$dir/want.raw"
}

one_block_lost 2 "BAT entry points into the headers"
one_block_lost $((length / 512 - 4096)) "BAT entry points past the data area"

# Cut in the last block: that block is lost, no other.
cp "$good" "$bad"
truncate -s $((length - 4096)) "$bad"
t "cut in the last block: for reading" dm_create "$dm-x" "0 $n vdisk ro 1 1 $n vhd 1 $bad"
fails "cut in the last block: it cannot be read" no_data read_at 240 1
t "cut in the last block: the others are right" right 0 224
dm_remove "$dm-x"

# Two entries, one block: the kernel cannot know, and must not suffer. The tool
# knows.
cp "$good" "$bad"
set_fields bat.2=4
before=$(sha "$bad")
says "two entries, one block: not by the tool" 'overlaps another' \
	"$vdisk" attach "$dm-x" "$bad"
t "two entries, one block: by hand, for reading" \
	dm_create "$dm-x" "0 $n vdisk ro 1 1 $n vhd 1 $bad"
t "two entries, one block: both read it" cmp <(read_at 64 32) <(read_at 0 32)
dm_remove "$dm-x"
eq "two entries, one block: the file was left alone" "$(sha "$bad")" "$before"

# A fixed disk's first sectors are the guest's.
python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(3).randbytes(4 << 20))' >"$dir/in.raw"
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$dir/in.raw" "$dir/fixed.vhd"
vhd_py forge "$dir/fixed.vhd"
head -c $((4 * mb)) "$dir/fixed.vhd" >"$dir/in.raw"
t "forged: the fixed disk is attached" dm_create "$dm-x" "0 8192 vdisk rw 1 1 8192 vhd 1 $dir/fixed.vhd"
t "forged: it is the fixed disk still" cmp "/dev/mapper/$dm-x" "$dir/in.raw"
t "forged: write" rio write "/dev/mapper/$dm-x" 5 20 max=64k
rio write "$dir/in.raw" 5 20 max=64k how=buffered
dm_remove "$dm-x"
t "forged: written in place" cmp -n $((4 * mb)) "$dir/fixed.vhd" "$dir/in.raw"
eq "forged: it has not grown" "$(stat -c %s "$dir/fixed.vhd")" $((4 * mb + 512))

# ---------------------------------------------------------------------------
# One image, two devices.

busy="vdisk: File is in use by another vdisk device (-EBUSY)"
# is_busy TEXT: that line, once; a kernel without the errors' names says numbers
is_busy()
{
	sed 's/(-16)/(-EBUSY)/' <<<"$1" | grep -oF "$busy"
}

ln "$good" "$dir/hard.vhd"
ln -s good.vhd "$dir/soft.vhd"
mkdir "$dir/bind"
mount --bind "$dir" "$dir/bind"
defer umount -q "$dir/bind"

# second MODE1 MODE2 PATH...: with $good attached in MODE1, each path in MODE2
second()
{
	local first=$1 mode=$2 path said

	shift 2
	t "$first: attach" dm_create "$dm-x" "0 $n vdisk $first 1 1 $n vhd 1 $good"
	for path in "$@"; do
		capture said dmsetup load "$dm" --table \
			"0 $n vdisk $mode 1 1 $n vhd 1 $path" 2>/dev/null || true
		eq "$first, then $mode as ${path#"$dir/"}: refused" \
			"$(is_busy "$said")" "$busy"
	done
	dm_remove "$dm-x"
}

paths=("$good" "$dir/hard.vhd" "$dir/soft.vhd" "$dir/bind/good.vhd" "$dir/../${dir##*/}/good.vhd")
second rw rw "${paths[@]}"
second rw ro "${paths[@]:0:2}"
second ro rw "${paths[@]:0:2}"
t "ro: attach" dm_create "$dm-x" "0 $n vdisk ro 1 1 $n vhd 1 $good"
t "ro, then ro: allowed" dm_create "$dm-y" "0 $n vdisk ro 1 1 $n vhd 1 $dir/hard.vhd"
t "ro twice: both read" cmp "/dev/mapper/$dm-x" "/dev/mapper/$dm-y"
dm_remove "$dm-x"
capture said dmsetup load "$dm" --table "0 $n vdisk rw 1 1 $n vhd 1 $good" 2>/dev/null || true
eq "one reader left: rw is refused still" "$(is_busy "$said")" "$busy"
dm_remove "$dm-y"
t "none left: rw" dmsetup load "$dm" --table "0 $n vdisk rw 1 1 $n vhd 1 $good"
fails "a table that waits counts" dmsetup create "$dm-x" --table "0 $n vdisk ro 1 1 $n vhd 1 $good"
dmsetup clear "$dm"
t "one that was cleared does not" dm_create "$dm-x" "0 $n vdisk rw 1 1 $n vhd 1 $good"
t "a layer counts" eval "! dmsetup load $dm --table '0 $n vdisk ro 2 1 $n raw 1 $good 1 $n zero 0'"
dm_remove "$dm-x"

# A block device by another name.
truncate -s 32M "$dir/loop"
loop=$(losetup -f --show "$dir/loop")
defer losetup -d "$loop"
dd if="$good" of="$loop" bs=1M status=none
mknod "$dir/node" b "$(stat -c %Hr "$loop")" "$(stat -c %Lr "$loop")"
t "device: attach" dm_create "$dm-x" "0 $n vdisk rw 1 1 $n vhd 1 $loop"
fails "device: once more" dmsetup load "$dm" --table "0 $n vdisk rw 1 1 $n vhd 1 $loop"
fails "device: by another node" dmsetup load "$dm" --table "0 $n vdisk ro 1 1 $n vhd 1 $dir/node"
fails "device: nobody mounts it" mount "$loop" "$dir/bind"
dm_remove "$dm-x"

eq "the good image was left alone" \
	"$(qemu-img compare -f vpc -F raw "$good" "$dir/good.raw")" "Images are identical."
dm_remove "$dm"
umount "$dir/bind"

ktap_end
