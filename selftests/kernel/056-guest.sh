#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M timeout=400
#
# What a guest wrote is not this machine's: a file system with the UUID of the machine's
# own, a member of a volume group or of a RAID. With --trusted it is as with a disk.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img mkfs.ext4 sfdisk kpartx udevadm lvm mdadm
need_disk 512M disk
scratch_fs ext4 "$disk" imgdir
cd "$imgdir"
defer cd /
node=/dev/mapper/$dm
modprobe -a raid1 dm-mod
vg=vg${dm//-/}

mkdir -p /run/udev/rules.d
rules()
{
	for each in "$VDISK_TOP"/userspace/udev/*.rules; do
		"$@" "$each"
	done
	udevadm control --reload
}
add_rule() { cp "$1" /run/udev/rules.d/; }
drop_rule() { rm -f "/run/udev/rules.d/${1##*/}"; }
rules add_rule
defer rules drop_rule

property()
{
	udevadm settle
	udevadm info -q property "$1" | sed -n "s/^$2=//p"
}

# attached [OPTION...] IMAGE: and all that follows from it has happened
attached()
{
	attach "$dm" "$@" && udevadm settle
}

detached()
{
	"$vdisk" detach "$dm" && udevadm settle
}

uuid=$(blkid -p -s UUID -o value "$disk")
link=/dev/disk/by-uuid/$uuid
udevadm trigger --settle "$disk"
t "the machine's own file system has its link" test "$link" -ef "$disk"

# A copy of it, on a whole disk and on a partition.
truncate -s 64M copy.raw
mkfs.ext4 -q -F -U "$uuid" copy.raw
"$vdisk" convert -f raw -O vhd copy.raw copy.vhd
t "a copy: attach" attached copy.vhd
t "a copy: the link is the machine's still" test "$link" -ef "$disk"
t "a copy: it can be mounted" eval "mkdir -p m; mount -o ro '$node' m && umount m"
t "a copy: a snapshot" "$vdisk" snapshot "$dm" child.vhd
udevadm settle
t "a copy: the link is the machine's still, after the snapshot" test "$link" -ef "$disk"
t "a copy: detach" detached
truncate -s 80M parts.raw
echo 'start=2048, type=83' | sfdisk -q parts.raw
dd if=copy.raw of=parts.raw bs=1M seek=1 conv=notrunc status=none
"$vdisk" convert -f raw -O vhd parts.raw parts.vhd
t "a partition: attach" attached parts.vhd
part=$(cd /dev/mapper && ls -d "$dm"p1 "$dm"1 2>/dev/null || true)
t "a partition: it has a device" test -b "/dev/mapper/$part"
t "a partition: the link is the machine's still" test "$link" -ef "$disk"
t "a partition: detach" detached
t "a partition, trusted: attach" attached --trusted parts.vhd
eq "a partition, trusted: as with a disk" "$(property "/dev/mapper/$part" VDISK_GUEST)" ""
t "a partition, trusted: detach" detached
mkfs.ext4 -q -F -U 11111111-2222-3333-4444-555555555555 copy.raw
"$vdisk" convert --force -f raw -O vhd copy.raw copy.vhd
t "a UUID of its own: attach" attached copy.vhd
t "a UUID of its own: has a link" test /dev/disk/by-uuid/11111111-2222-3333-4444-555555555555 -ef "$node"
t "a UUID of its own: detach" detached

# A volume group.
"$vdisk" create -f vhd pv.vhd 64M
t "LVM: attach" attached --trusted pv.vhd
t "LVM: a volume group" eval "lvm vgcreate -qq '$vg' '$node' && lvm lvcreate -qq -an -Wn -Zn -l 4 -n lv '$vg'"
t "LVM: detach" detached
volume()
{
	udevadm settle
	dmsetup info -c --noheadings -o name | grep -c "^$vg-lv$" || true
}
t "LVM: attach the guest's" attached pv.vhd
eq "LVM: its volume is not there" "$(volume)" 0
eq "LVM: nor ready for systemd" "$(property "$node" SYSTEMD_READY)" 0
udevadm trigger --settle --action=add "$node"
eq "LVM: nor when devices are gone through once more" "$(volume)" 0
mkfs.ext4 -q -F -U 11111111-2222-3333-4444-666666666666 "$node"
udevadm trigger --settle "$node"
eq "LVM: when it holds something else, it is ready" "$(property "$node" SYSTEMD_READY)" 1
t "LVM: detach the guest's" detached
"$vdisk" create --force -f vhd pv.vhd 64M
t "LVM, trusted: attach" attached --trusted pv.vhd
lvm vgcreate -qq "$vg" "$node"
lvm lvcreate -qq -an -Wn -Zn -l 4 -n lv "$vg"
t "LVM, trusted: detach" detached
t "LVM, trusted: attach again" attached --trusted pv.vhd
eq "LVM, trusted: its volume is there" "$(volume)" 1
t "LVM, trusted: the volume goes" lvm vgchange -qq -an "$vg"
t "LVM, trusted: detach again" detached

# A member of a RAID.
arrays()
{
	udevadm settle
	grep -c '^md' /proc/mdstat || true
}
"$vdisk" create -f vhd md.vhd 64M
t "md: attach" attached --trusted md.vhd
t "md: an array" mdadm --create /dev/md/vdisk-guest --quiet --run --force --level 1 \
	--raid-devices 1 --metadata 1.2 "$node"
udevadm settle
t "md: stop it" mdadm --quiet --stop /dev/md/vdisk-guest
t "md: detach" detached
t "md: attach the guest's" attached md.vhd
eq "md: no array" "$(arrays)" 0
t "md: detach the guest's" detached
t "md, trusted: attach" attached --trusted md.vhd
eq "md, trusted: the array" "$(arrays)" 1
t "md, trusted: stop it" mdadm --quiet --stop --scan
udevadm settle
t "md, trusted: detach" detached

ktap_end
