#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M timeout=300
#
# status and why of an attached device; who uses it is told, whoever it is; the
# devices of its partitions come and go with it.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img jq mkfs.btrfs mkfs.ext4 sfdisk kpartx udevadm
need_disk 512M disk
scratch_fs ext4 "$disk" imgdir
cd "$imgdir"
node=/dev/mapper/$dm

value()
{
	"$vdisk" status --json "$dm" | jq -r ".$1"
}

# The devices with $dm in their name, but for the test's own.
devices()
{
	udevadm settle
	dmsetup info -c --noheadings -o name --sort name | grep -F "$dm" | tr '\n' ' '
}

partition_table()
{
	printf 'start=2048, size=40960, type=83\nstart=43008, size=%s, type=83\n' "$1"
}

truncate -s 128M disk.raw
partition_table 40960 | sfdisk -q disk.raw
qemu-img convert -f raw -O vpc -o force_size=on disk.raw 'a disk.vhd'

# status
t "attach" attach "$dm" 'a disk.vhd'
eq "status: what it is" "$(value '| [.name, .format, .filename, .mode, .health, .layers, ."virtual-size", .suspended] | @json')" \
	"[\"$dm\",\"vhd\",\"$imgdir/a disk.vhd\",\"rw\",\"ok\",1,$((128 << 20)),false]"
eq "status: the uuid" "$(value uuid)" "$(dmsetup info -c --noheadings -o uuid "$dm")"
t "udev has a link by the uuid" test "/dev/disk/by-id/dm-uuid-$(value uuid)" -ef "$node"
eq "list: the name with a blank" "$("$vdisk" list --json | jq -r '.[0].filename')" "$imgdir/a disk.vhd"
before=$(value commit)
head -c 1M /dev/urandom >pattern
dd if=pattern of="$node" bs=64k seek=1600 oflag=direct conv=notrunc,fsync status=none
# udev reads what was written; once it has, the line stays as it is.
for ((k = 0; k < 50; k++)); do
	line=$(dmsetup status --noflush "$dm")
	told=$(value '| [.direct, .queued, .alloc, .commit, .fsync, .parked, .free] | @tsv')
	[ "$(dmsetup status --noflush "$dm")" != "$line" ] || break
done
read -r _ _ _ _ _ _ direct queued alloc commit fsync parked free _ <<<"$line"
eq "status: the counters are those of the status line" "$told" \
	"$direct	$queued	$alloc	$commit	$fsync	$parked	$free"
t "status: a unit was made, and a commit" test "$alloc" -gt 0 -a "$commit" -gt "$before"
for line in "device: $node" 'health: ok' 'mode: read and write' "plans for new units: $alloc" \
	"commits of table entries: $commit" "flushes of files: $fsync" 'size: 128 MiB'; do
	t "status for people: ${line%%:*}" eval "'$vdisk' status '$dm' | grep -qxF '$line'"
done
dmsetup suspend "$dm"
eq "status: suspended" "$(value suspended)" true
dmsetup resume "$dm"
one "status of what is not there" "^vdisk: no-$dm: No such device$" "$vdisk" status "no-$dm"
dm_create "$dm-other" "0 2048 zero"
one "status of another target" "^vdisk: $dm-other: Not a device of the target vdisk$" \
	"$vdisk" status "$dm-other"
dm_remove "$dm-other"

# why, of what no commit has brought to the file yet
dd if=pattern of="$node" bs=64k count=1 seek=1000 oflag=direct conv=notrunc status=none
at=$("$vdisk" why --json "$dm" $((1000 * 128)) | jq '.layers[0].offset')
t "why: the bytes are where it says" cmp -n 65536 -i "0:$at" pattern 'a disk.vhd'
eq "why: the path does as well, and so does a suspended device" \
	"$(dmsetup suspend "$dm"; "$vdisk" why --json "$node" $((1000 * 128)) | jq '.layers[0].offset'
	dmsetup resume "$dm")" "$at"
one "why: past the end" "^vdisk: $dm: Sector is not a number below 262144: 262144$" \
	"$vdisk" why "$dm" 262144
: >"$dm"
one "why: a file of that name comes first" "^vdisk: $dm: Unknown format" "$vdisk" why "$dm" 0
rm "$dm"
t "detach" "$vdisk" detach "$dm"

# A device that has given up writing
truncate -s 8M low.raw
low=$(losetup -f --show low.raw)
defer losetup -d "$low"
dm_create "$dm-low" "0 16384 linear $low 0"
dm_create "$dm" "0 16384 vdisk rw 1 1 16384 raw 1 /dev/mapper/$dm-low"
dd if=pattern of="$node" bs=64k count=1 oflag=direct conv=notrunc status=none
dmsetup suspend "$dm-low"
dmsetup load "$dm-low" --table "0 16384 flakey $low 0 0 3600 1 error_writes"
dmsetup resume "$dm-low"
fails "a flush fails" sync -d "$node"
got=0
"$vdisk" status "$dm" >told || got=$?
eq "status: it says so, and exits 3" "$got $(grep '^health' told)" \
	"3 health: a flush of a file failed; nothing is written any more"
t "detach --deferred of what nobody uses" "$vdisk" detach --deferred "$dm"
dm_remove "$dm-low"

# why through a line with pieces, an offset and a layer
truncate -s 8M one.raw two.raw
dm_create "$dm" "0 20480 vdisk ro 2 1 20480 zero 0 3 4096 raw 2 $imgdir/one.raw offset=64 4096 error 0 12288 raw 1 $imgdir/two.raw"
why()
{
	"$vdisk" why --json "$dm" "$1" | jq -r '.layers[-1] | [.depth, .kind, .offset, .sectors, .filename] | map(tostring) | join(" ")'
}
eq "why: a raw piece with an offset" "$(why 100)" "0 data $((164 * 512)) 3996 $imgdir/one.raw"
eq "why: an error" "$(why 5000)" "0 error null 3192 null"
eq "why: the last piece" "$(why 8200)" "0 data $((8 * 512)) 12280 $imgdir/two.raw"
dm_remove "$dm"

# Partitions: by the tool, then by udev's rule.
eq "attach --partitions" "$("$vdisk" attach -P "$dm" 'a disk.vhd')" "$node"
defer dm_gone "$dm"
parts="$(basename "$(ls "$node"?*1)") $(basename "$(ls "$node"?*2)")"
one_part=${parts% *} two_part=${parts#* }
eq "attach --partitions: both are there" "$(devices)" "$dm $parts "
exec 9<"/dev/mapper/$two_part"
one "detach: a partition is open" "^vdisk: $dm: Device is used by $two_part, which is held open by a program$" \
	"$vdisk" detach "$dm"
exec 9<&-
exec 9<"$node"
one "detach: the disk is open" "^vdisk: $dm: Device is held open by a program$" "$vdisk" detach "$dm"
exec 9<&-
eq "a refused detach leaves the partitions" "$(devices)" "$dm $parts "
mkfs.ext4 -q -F "/dev/mapper/$one_part"
mkswap "/dev/mapper/$two_part" >/dev/null
scratch mnt
scratch mnt2
mount "/dev/mapper/$one_part" "$mnt"
mount --bind "$mnt" "$mnt2"
swapon "/dev/mapper/$two_part"
one "detach: mounts and swap are named" \
	"^vdisk: $dm: Device is used by $one_part, which is mounted on $mnt and $mnt2, and is used by $two_part, which is used for swap$" \
	"$vdisk" detach "$dm"
swapoff "/dev/mapper/$two_part"
umount "$mnt2"
t "detach --deferred of a mounted disk" "$vdisk" detach --deferred "$dm"
eq "it is still there" "$(value '"deferred-remove"')" true
umount "$mnt"
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -n "$(devices)" ] || break; sleep 0.2; done
eq "it goes with the last mount" "$(devices)" ""
t "attach -P --read-only" attach "$dm" -P -r 'a disk.vhd'
eq "the partitions are read-only" "$(blockdev --getro "/dev/mapper/$one_part" "/dev/mapper/$two_part" | tr '\n' ' ')" "1 1 "
t "detach takes the partitions with it" "$vdisk" detach "$dm"
eq "nothing is left" "$(devices)" ""
one "not both ways" 'Partitions are wanted and not wanted' "$vdisk" attach -P --no-partitions "$dm" 'a disk.vhd'
one "without kpartx" "^vdisk: $dm: Partitions: kpartx is not installed$" \
	env "PATH=$imgdir" "$vdisk" attach -P "$dm" 'a disk.vhd'
eq "a failed attach leaves nothing" "$(devices)" ""

mkdir -p /run/udev/rules.d
cp "$VDISK_TOP/userspace/udev/66-vdisk.rules" /run/udev/rules.d/
defer udevadm control --reload
defer rm -f /run/udev/rules.d/66-vdisk.rules
udevadm control --reload
t "attach with udev's rule" attach "$dm" 'a disk.vhd'
eq "partitions by udev" "$(devices)" "$dm $parts "
partition_table 20480 | sfdisk -q --no-reread "$node"
for _ in 1 2 3 4 5 6 7 8 9 10; do
	udevadm settle
	[ "$(blockdev --getsz "/dev/mapper/$two_part")" != 20480 ] || break
	sleep 0.2
done
eq "udev follows a change" "$(blockdev --getsz "/dev/mapper/$two_part")" 20480
t "detach with udev's rule" "$vdisk" detach "$dm"
eq "nothing comes back" "$(devices)" ""
t "attach --no-partitions" attach "$dm" --no-partitions 'a disk.vhd'
udevadm trigger --settle "$node"
eq "no partitions" "$(devices)" "$dm "
t "detach" "$vdisk" detach "$dm"

# A file system with a number of its own.
rm -f /run/udev/rules.d/66-vdisk.rules
truncate -s 128M flat.raw
t "attach a raw disk" attach "$dm" -f raw flat.raw
mkfs.btrfs -q -f "$node"
mount "$node" "$mnt"
one "detach: btrfs" "^vdisk: $dm: Device is mounted on $mnt$" "$vdisk" detach "$dm"
umount "$mnt"
t "detach" "$vdisk" detach "$dm"

# What the man page shows, under names of our own.
"$VDISK_TOP/selftests/lib/man-examples" kernel |
	sed "s/\\bweb\\b/$dm-web/g; s/\\bdisk0/$dm-0/g; s|/mnt\\b|$mnt|g" >examples
defer dm_gone "$dm-web"
defer dm_gone "$dm-0"
t "there are examples in the man page" test "$(wc -l <examples)" -gt 10
t "the examples of the man page" env "PATH=${vdisk%/*}:$PATH" bash -euxo pipefail examples
eq "they leave nothing" "$(devices)" ""

cd /
ktap_end
