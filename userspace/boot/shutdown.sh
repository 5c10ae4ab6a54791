# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash
#
# The last program: systemd-shutdown goes back to /run/initramfs and starts this, by
# busybox, as process 1, with what to do: reboot, poweroff, halt, kexec. The old root,
# which no program uses any more, is at /oldroot; the file systems of the images below it.
# Each image's device is removed, which writes what is left and clears the image's mark;
# then the file system it lies on is unmounted. The tool is larger than all else that is
# kept for this, and dmsetup will do.

export PATH=/bin:/sbin DM_DISABLE_UDEV=1
/bin/busybox --install -s /bin 2>/dev/null

say()
{
	echo "vdisk: $*" >/dev/console
	echo "vdisk: $*" >/dev/kmsg
}

# below PREFIX: mount points, the last made first; \040 is a space
below()
{
	while read -r _ dir _; do
		case $dir in
		"$1" | "$1"/*) printf '%b\n' "$dir" ;;
		esac
	done </proc/mounts | tac
}

# What is in no file system of a disk may be held open by the process that serves the
# host's, which has its device from /dev: it goes when that process does.
unmount_all()
{
	below "$1" | while read -r each; do
		case $each in
		"$1"/run/initramfs/vdisk/*) ;;
		"$1"/dev | "$1"/dev/* | "$1"/run | "$1"/run/* | "$1"/proc | "$1"/sys)
			umount "$each" 2>/dev/null || umount -l "$each" 2>/dev/null ;;
		*)
			umount "$each" 2>/dev/null ;;
		esac
	done
}

# The hosts first, out of the way; nothing can be moved within what is shared.
save_hosts()
{
	mount --make-rprivate / 2>/dev/null
	for from in /oldroot/run/initramfs/vdisk/* /run/initramfs/vdisk/*; do
		[ -d "$from" ] || continue
		name=${from##*/}
		mkdir -p "/hosts/$name"
		mount --move "$from" "/hosts/$name" 2>/dev/null || rmdir "/hosts/$name" 2>/dev/null
	done
}

# remove_dm DM: with what stands on it, as its partitions
remove_dm()
{
	for each in /sys/block/"$1"/holders/dm-*; do
		[ ! -e "$each" ] || (remove_dm "${each##*/}")
	done
	text=$(dmsetup remove "$(cat "/sys/block/$1/dm/name")" 2>&1) || say "$text"
}

# detach NAME
detach()
{
	for dm in /sys/block/dm-*; do
		if [ "$(cat "$dm/dm/name" 2>/dev/null)" = "$1" ]; then
			remove_dm "${dm##*/}"
		fi
	done
}

let_go()
{
	save_hosts
	# udev is gone, and nobody would answer who waits for it.
	umount -l /run 2>/dev/null
	for round in 1 2 3; do
		unmount_all /oldroot
	done
	for host in /hosts/*; do
		[ ! -d "$host" ] || detach "${host##*/}"
	done
	for host in /hosts/*; do
		[ -d "$host" ] || continue
		umount "$host" || mount -o remount,ro "$host" || say "$host: Cannot be unmounted"
	done
	sync
}

let_go
case ${1:-poweroff} in
kexec)
	# It comes back only if it cannot.
	text=$(kexec -e 2>&1)
	say "Reboots by the firmware: kexec: $text"
	reboot -f ;;
reboot) reboot -f ;;
halt) halt -f ;;
*) poweroff -f ;;
esac
# Not reached, but a process 1 must not end.
echo b >/proc/sysrq-trigger
