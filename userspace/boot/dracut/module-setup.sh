#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# dracut: what an initramfs needs to attach images, and to let go of them at
# shutdown.

for each in vdisktab host asleep made; do
	# shellcheck source=/dev/null
	. "/usr/lib/vdisk/$each.sh"
done

# vdisk_lacks WHAT: an initramfs without it boots what it did before; but not a root that
# is in an image, and then there shall be none, so that the old one stays.
vdisk_lacks()
{
	local why

	why=$(vdisk_needed /etc/vdisktab) || return 1
	dfatal "vdisk: $1, but $why"
	exit 1
}

# 255: only if asked for, or if the root that this is made for needs it
check()
{
	vdisk_tool >/dev/null || vdisk_lacks "the tool is not installed" || return 1
	modprobe -S "$kernel" -nq dm-vdisk ||
		vdisk_lacks "kernel $kernel has no module dm-vdisk" || return 1
	[ -z "$hostonly" ] || vdisk_needed /etc/vdisktab >/dev/null || return 255
	return 0
}

depends()
{
	echo dm rootfs-block shutdown
}

installkernel()
{
	# shellcheck disable=SC2086,SC2154
	hostonly='' instmods dm-vdisk $vdisk_host_types
}

install()
{
	inst "$(vdisk_tool)" /sbin/vdisk
	inst_multiple mkdir rmdir mount umount readlink blkid findfs modprobe cat grep sed tr head wc \
		printf cp ln rm findmnt sync sleep
	inst_multiple -o kpartx ntfs-3g mount.ntfs-3g
	[ ! -e "$initdir/bin/ntfs-3g" ] || ln -sf ntfs-3g "$initdir/bin/@ntfs-3g"
	inst_rules 55-vdisk.rules 61-vdisk.rules 66-vdisk.rules
	inst_simple /usr/lib/vdisk/vdisktab.sh /lib/vdisk/vdisktab.sh
	inst_simple /usr/lib/vdisk/host.sh /lib/vdisk/host.sh
	inst_simple /usr/lib/vdisk/asleep.sh /lib/vdisk/asleep.sh
	inst_script /usr/lib/vdisk/attach-clean /lib/vdisk/attach-clean
	# shellcheck disable=SC2154
	inst_simple "$moddir/attach.sh" /lib/vdisk/attach.sh
	mkdir -p "$initdir/etc/vdisk"
	vdisk_made_list /etc/vdisktab >"$initdir/etc/vdisk/list"
	inst_hook cmdline 30 "$moddir/parse.sh"
	inst_hook shutdown 20 "$moddir/detach.sh"
	dracut_need_initqueue
}
