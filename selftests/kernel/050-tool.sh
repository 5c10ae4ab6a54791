#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=300
#
# attach, list and detach: the device is there with its name, uuid and size; the
# image is locked for others as long as it is; who uses it is told by name.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img qemu-io mkfs.ext4 sfdisk kpartx
need_disk 1G disk
scratch_fs ext4 "$disk" imgdir
cd "$imgdir"

field()
{
	"$vdisk" list --json | python3 -c 'import json, sys
for d in json.load(sys.stdin):
    if d["name"] == sys.argv[1]:
        print(*(d[k] for k in sys.argv[2:]))' "$@"
}

qemu-img create -q -f vpc -o force_size=on disk.vhd 256M
qemu-img create -q -f vpc -o force_size=on other.vhd 64M
busy='another process using|locked|in use'

eq "attach prints the device" "$("$vdisk" attach "$dm" disk.vhd)" "/dev/mapper/$dm"
defer dm_gone "$dm"
t "the device is there" test -b "/dev/mapper/$dm"
eq "its size" "$(blockdev --getsize64 "/dev/mapper/$dm")" $((256 << 20))
eq "its uuid" "$(dmsetup info -c --noheadings -o uuid "$dm" | sed 's/[0-9a-f]\{32\}$/ID/')" VDISK-vhd-ID
eq "list" "$(field "$dm" format mode virtual-size filename layers suspended)" \
	"vhd rw $((256 << 20)) $imgdir/disk.vhd 1 False"
t "list for people" eval "'$vdisk' list | grep -Eq '^$dm +vhd +rw +256 MiB +$imgdir/disk.vhd\$'"
one "the name is taken" "^vdisk: $dm: A device of this name exists$" \
	"$vdisk" attach "$dm" other.vhd
one "the image is taken" "^vdisk: disk.vhd: Image is attached: $dm \\(see --force-share\\)$" \
	"$vdisk" attach "$dm-2" disk.vhd
says "qemu refuses the attached image" "$busy" qemu-io -f vpc -c 'read 0 512' disk.vhd
one "check refuses it" 'Image is attached' "$vdisk" check disk.vhd
t "info reads it" "$vdisk" info disk.vhd
t "what is written is there" eval \
	"head -c 1M /dev/urandom >pattern && dd if=pattern of=/dev/mapper/$dm bs=1M seek=3 conv=fsync,nocreat status=none &&
	cmp -n $((1 << 20)) -i 0:$((3 << 20)) pattern /dev/mapper/$dm"
t "detach" "$vdisk" detach "$dm"
fails "the device is gone" test -e "/dev/mapper/$dm"
one "detach of what is gone" "^vdisk: $dm: No such device$" "$vdisk" detach "$dm"
t "the locks are gone" qemu-io -f vpc -c 'read 0 512' disk.vhd
qemu-img convert -f vpc -O raw disk.vhd disk.raw
t "the file has what was written" cmp -n $((1 << 20)) -i 0:$((3 << 20)) pattern disk.raw
t "check finds nothing" "$vdisk" check disk.vhd

# Reading only; the same image twice then has two uuids.
t "attach --read-only" attach "$dm" --read-only disk.vhd
eq "it is read-only" "$(blockdev --getro "/dev/mapper/$dm") $(field "$dm" mode)" "1 ro"
t "a second reader" attach "$dm-2" --read-only disk.vhd
one "a writer beside readers" 'Image is attached' "$vdisk" attach "$dm-3" disk.vhd
says "qemu may not write" "$busy" qemu-io -f vpc -c 'write 0 512' disk.vhd
t "qemu may read" qemu-io -r -f vpc -c 'read 0 512' disk.vhd
eq "list has both" "$("$vdisk" list | grep -c "^$dm")" 2
t "detach one" "$vdisk" detach "$dm-2"
t "detach the other" "$vdisk" detach "$dm"

# In use: the mount, or what stands on it, is named.
mkfs.ext4 -q -F other.raw 64M
qemu-img convert -f raw -O vpc -o force_size=on other.raw other.vhd
scratch mnt
t "attach a file system" attach "$dm" other.vhd
mount "/dev/mapper/$dm" "$mnt"
one "detach of a mounted device" "^vdisk: $dm: Device is mounted on $mnt$" "$vdisk" detach "$dm"
umount "$mnt"
exec 9<"/dev/mapper/$dm"
one "detach of an open device" "^vdisk: $dm: Device is held open by a program$" "$vdisk" detach "$dm"
exec 9<&-
t "detach" "$vdisk" detach "$dm"
t "attach a disk to be partitioned" attach "$dm" disk.vhd
echo 'start=2048, type=83' | sfdisk -q "/dev/mapper/$dm" >/dev/null 2>&1 || true
kpartx -a -s "/dev/mapper/$dm"
part=$(basename "$(find /dev/mapper -name "$dm?*" | head -n 1)")
mkfs.ext4 -q -F "/dev/mapper/$part"
mount "/dev/mapper/$part" "$mnt"
one "detach under a mounted partition" \
	"^vdisk: $dm: Device is used by $part, which is mounted on $mnt$" "$vdisk" detach "$dm"
umount "$mnt"
t "detach takes an unused partition with it" "$vdisk" detach "$dm"
fails "the partition is gone" test -e "/dev/mapper/$part"

# What the kernel refuses is told in its words.
t "a device of another target" dm_create "$dm" "0 2048 zero"
one "detach of another target" "^vdisk: $dm: Not a device of the target vdisk$" "$vdisk" detach "$dm"
dm_remove "$dm"
"$vdisk" table other.vhd | dmsetup create "$dm"
defer dm_gone "$dm"
one "an image dmsetup has attached" "^vdisk: other.vhd: Image is attached: $dm \\(see --force-share\\)$" \
	"$vdisk" attach "$dm-2" other.vhd
one "the kernel looks, too" "^vdisk: $dm-2: The kernel refuses: File is in use by another vdisk device$" \
	"$vdisk" attach --force-share "$dm-2" other.vhd
fails "nothing is left of the refused" dmsetup info "$dm-2"
t "list shows what dmsetup made" eval "'$vdisk' list | grep -q '^$dm '"
t "detach of what dmsetup made" "$vdisk" detach "$dm"

cd /
ktap_end
