#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900 long
#
# resize, snapshot, rebase and commit of an attached device: who writes meanwhile sees
# no error, and what was written is there afterwards, in whichever file it belongs.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd fio qemu-img qemu-io
need_disk 2G disk
scratch_fs ext4 "$disk" imgdir
cd "$imgdir"
defer cd /
MiB=$((1 << 20))

size()
{
	blockdev --getsize64 "/dev/mapper/$dm-$1"
}

# ends NAME: a sum of what the load wrote, and of the end that was made last
ends()
{
	{ head -c 24M "/dev/mapper/$dm-$1" && tail -c 4M "/dev/mapper/$dm-$1"; } |
		sha256sum
}

# From here on in a subshell for each image, which says where it went wrong.
must()
{
	local what=$1 output status=0

	shift
	output=$("$@" 2>&1) || status=$?
	[ "$status" -eq 0 ] || { echo "$what: $* ($status): $output"; exit 1; }
}

must_be()
{
	[ "$2" = "$3" ] || { echo "$1: $2, not $3"; exit 1; }
}

must_say()
{
	local what=$1 regex=$2 output status=0

	shift 2
	output=$("$@" 2>&1) || status=$?
	if [ "$status" -ne 1 ] || ! grep -Eq -- "$regex" <<<"$output"; then
		echo "$what: $* ($status): $output"
		exit 1
	fi
}

# load NAME: writes, and reads it all again, until NAME.stop is there
load()
{
	local name=$1

	until [ -e "$name.stop" ]; do
		fio --name=load --filename="/dev/mapper/$dm-$name" \
			--rw=randwrite --bs=4k-32k --size=12M --rate=2m,2m \
			--ioengine=libaio --iodepth=4 --direct=1 \
			--verify=crc32c --verify_fatal=1 \
			--output="$name.fio" || return
	done
}

loaded()
{
	local status=0

	wait "$1" || status=$?
	[ "$status" -eq 0 ] || { echo "load: $status: $(tail -n 20 "$2.fio")"; exit 1; }
}

# online NAME IMAGE CHILD PARENT OPTION...: PARENT is the child's one at last
online()
{
	local name=$1 image=$2 child=$3 parent=$4 dev=/dev/mapper/$dm-$1 fio layers=1

	must create "$vdisk" create "${@:5}" "$image" 64M
	if [ -n "$parent" ]; then
		must "create a parent" "$vdisk" create "${@:5}" "$parent" 300M
		layers=2
	fi
	must attach "$vdisk" attach "$dm-$name" "$image"
	load "$name" &
	fio=$!
	sleep 1
	must grow "$vdisk" resize "$dm-$name" 300M
	must_be "size" "$(size "$name")" $((300 * MiB))
	must snapshot "$vdisk" snapshot "$dev" "$child"
	must_be layers "$(dmsetup table "$dm-$name" | cut -d ' ' -f 5)" 2
	must "grow the child" "$vdisk" resize "$dm-$name" +32M
	must_be "size of the child" "$(size "$name")" $((332 * MiB))
	must rebase "$vdisk" rebase -b "$parent" "$dm-$name"
	must_be "layers then" "$(dmsetup table "$dm-$name" | cut -d ' ' -f 5)" "$layers"
	must "snapshot for a while" "$vdisk" snapshot "$dm-$name" "$child.more"
	must "grow it" "$vdisk" resize "$dm-$name" +4M
	sleep 1
	must commit "$vdisk" commit "$dm-$name"
	must_be "layers again" "$(dmsetup table "$dm-$name" | cut -d ' ' -f 5)" "$layers"
	must_be "the child is on top" "$(dmsetup table "$dm-$name" | grep -c "$child.more")" 0
	must "what was committed is not needed" rm "$child.more"
	touch "$name.stop"
	loaded "$fio" "$name"
	must "write the end" dd if=/dev/urandom of="$dev" bs=1M seek=330 count=6 \
		oflag=direct conv=notrunc status=none
	must_say "data would be lost" 'shrink' "$vdisk" resize "$dm-$name" 8M
	must_be "nothing is" "$(size "$name")" $((336 * MiB))
	ends "$name" >"$name.before"
	must_say "by its image" "Image is attached: $dm-$name" \
		"$vdisk" resize "$child" 1G
	must_say "and for qemu" 'lock' qemu-io -c 'read 0 512' "$child"
	must detach "$vdisk" detach "$dm-$name"
	must "check" "$vdisk" check "$child"
	must "attach again" "$vdisk" attach -r "$dm-$name" "$child"
	must_be "what was written" "$(ends "$name")" "$(cat "$name.before")"
	must "detach again" "$vdisk" detach "$dm-$name"
	echo ok
}

jobs=() names=()
while read -r name rest; do
	names+=("$name")
	defer dm_gone "$dm-$name"
	eval "online $name $rest" >"$name.said" 2>&1 &
	jobs+=($!)
done <<'TABLE'
vhd a.vhd b.vhd c.vhd -f vhd -o block_size=512k
qed a.qed b.qed "" -f qed
vmdk a.vmdk b.vmdk "" -f vmdk
flat f.vmdk g.vmdk "" -f vmdk -o subformat=monolithicFlat
parallels a.hds p.qed "" -f parallels
TABLE
wait "${jobs[@]}" || true
for name in "${names[@]}"; do
	eq "$name: grown, made a parent, rebased under load" "$(tail -n 3 "$name.said")" ok
done

# Whoever changes a device reads and writes nothing that lies on it meanwhile:
# with its file system frozen, that would be for ever.
"$vdisk" create -f vhd own.vhd 64M
attach "$dm" own.vhd >/dev/null
mkfs.ext4 -q "/dev/mapper/$dm"
scratch own
mount "/dev/mapper/$dm" "$own"
defer umount "$own"
cp "$vdisk" "$own/vdisk"
sync
echo 3 >/proc/sys/vm/drop_caches
t "a device with the tool on it" timeout 60 "$own/vdisk" resize "$dm" 128M
eq "is longer" "$(blockdev --getsize64 "/dev/mapper/$dm")" $((128 * MiB))
status=0
timeout 60 "$vdisk" snapshot "$dm" own.vhd >"$own/said" 2>&1 || status=$?
eq "what is wrong goes to a file on it" "$status $(cat "$own/said")" \
	"1 vdisk: own.vhd: File exists"
t "it is written" dd if=/dev/zero of="$own/more" bs=64k count=1 conv=fsync status=none

# A split image gets a further extent, which the device has at once.
"$vdisk" create -f vmdk -o subformat=twoGbMaxExtentSparse s.vmdk 2G
attach "$dm-split" s.vmdk >/dev/null
t "a split image grows" "$vdisk" resize "$dm-split" 2052M
head -c 4M /dev/urandom >noise
t "its new extent is written" dd if=noise of="/dev/mapper/$dm-split" bs=1M seek=2046 \
	oflag=direct conv=notrunc status=none
t "detach it" "$vdisk" detach "$dm-split"
eq "both extents have it" \
	"$(qemu-img convert -f vmdk -O raw s.vmdk s.raw && tail -c 6M s.raw | head -c 4M | sha256sum)" \
	"$(sha256sum <noise)"

# Who else has the parent open would see it change.
"$vdisk" create -f qed base.qed 16M
for k in 1 2; do
	"$vdisk" create -f qed -b base.qed "k$k.qed"
	attach "$dm-k$k" "k$k.qed" >/dev/null
done
head -c 1M /dev/urandom >noise
dd if=noise of="/dev/mapper/$dm-k1" bs=1M seek=3 oflag=direct conv=notrunc status=none
was=$(sha256sum <base.qed)
for k in 1 2; do
	one "commit beside another child ($k)" \
		'^vdisk: /.*/base.qed: Image is in use by another program$' \
		"$vdisk" commit "$dm-k$k"
done
eq "nothing is committed" "$(sha256sum <base.qed)" "$was"
t "the devices go on" dd if=noise of="/dev/mapper/$dm-k1" bs=1M seek=4 oflag=direct \
	conv=notrunc status=none
"$vdisk" detach "$dm-k2"
mkfifo hold
(exec 8<hold; qemu-io -r -f qed base.qed <&8 >/dev/null) &
reader=$!
exec 9>hold
echo 'read 0 512' >&9
sleep 2
one "commit beside a reader" 'base.qed: Image is in use by another program$' \
	"$vdisk" commit "$dm-k1"
exec 9>&-
wait "$reader"
t "nobody has it: commit" "$vdisk" commit "$dm-k1"
eq "the parent is what is attached" "$(dmsetup table "$dm-k1" | grep -o '[a-z0-9]*\.qed')" base.qed
t "it is written" dd if=noise of="/dev/mapper/$dm-k1" bs=1M seek=5 oflag=direct \
	conv=notrunc status=none
refused_to_qemu()
{
	! qemu-io -f qed -c 'read 0 512' base.qed
}
t "and locked" refused_to_qemu
"$vdisk" detach "$dm-k1"
t "check of it" "$vdisk" check base.qed
eq "the parent holds it all" "$(qemu-img convert -f qed -O raw base.qed b.raw &&
	tail -c +$(((3 << 20) + 1)) b.raw | head -c 3M | sha256sum)" \
	"$(cat noise noise noise | sha256sum)"
"$vdisk" create -f qed -b base.qed short.qed 8M
attach "$dm-k1" short.qed >/dev/null
one "a parent that is longer" 'base.qed: Parent is longer than the device, sectors: 32768$' \
	"$vdisk" commit "$dm-k1"
eq "the device goes on as it was" "$(blockdev --getsize64 "/dev/mapper/$dm-k1")" $((8 << 20))
t "and is written" dd if=noise of="/dev/mapper/$dm-k1" bs=1M oflag=direct conv=notrunc status=none
"$vdisk" detach "$dm-k1"
"$vdisk" create -f raw flat.raw 8M
"$vdisk" create -f qed -b flat.raw -F raw over.qed
attach "$dm-k1" over.qed >/dev/null
dd if=noise of="/dev/mapper/$dm-k1" bs=1M seek=2 oflag=direct conv=notrunc status=none
t "commit to a raw parent" "$vdisk" commit "$dm-k1"
eq "which is attached" "$(dmsetup table "$dm-k1" | cut -d ' ' -f 4,8)" "rw raw"
"$vdisk" detach "$dm-k1"
eq "and holds it" "$(tail -c +$(((2 << 20) + 1)) flat.raw | head -c 1M | sha256sum)" \
	"$(sha256sum <noise)"
"$vdisk" create -f qed alone.qed 8M
attach "$dm-k1" alone.qed >/dev/null
one "nothing to commit to" 'alone.qed: Image has no parent$' "$vdisk" commit "$dm-k1"
"$vdisk" detach "$dm-k1"

# What cannot be changed is left alone.
"$vdisk" create -f parallels -o bundle=on d.hdd 8M
attach "$dm-bundle" d.hdd >/dev/null
one "an attached bundle" '^vdisk: .*/d.hdd: Disks of bundles keep their size$' \
	"$vdisk" resize "$dm-bundle" 16M
"$vdisk" create -f qed read.qed 8M
attach "$dm-read" -r read.qed >/dev/null
one "a device for reading" "^vdisk: $dm-read: Device is attached for reading only\$" \
	"$vdisk" resize "$dm-read" 16M
"$vdisk" detach "$dm-read"
attach "$dm-read" read.qed >/dev/null
dmsetup suspend "$dm-read"
one "a suspended device" "^vdisk: $dm-read: Device is suspended\$" \
	"$vdisk" resize "$dm-read" 16M
dmsetup resume "$dm-read"
one "rebase -u" "^vdisk: $dm-read: An attached disk would change under its user\$" \
	"$vdisk" rebase -u -b "" "$dm-read"
one "a new parent that is not there" '^vdisk: .*gone.qed: No such file' \
	"$vdisk" rebase -b gone.qed "$dm-read"
one "a size that cannot be" '^vdisk: .*: QED tables hold fewer sectors' \
	"$vdisk" resize "$dm-read" 4096T
eq "all go on" "$(dmsetup info -c --noheadings -o suspended "$dm-read" "$dm" \
	"$dm-bundle" | tr '\n' ' ')" "Active Active Active "
ktap_end
