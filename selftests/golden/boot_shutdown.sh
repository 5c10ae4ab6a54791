#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The last program: in which order it lets go of mounts, devices and hosts, what it does
# when something is held open, and how it ends. Its commands are made up.
. "$(dirname "$0")/lib.sh"

need_cmd busybox
w=$tmp/w
mkdir "$tmp/bin"

program()
{
	{ printf '#!/bin/sh\nW=%s\n' "$w"; cat; } >"$tmp/bin/$1"
	chmod +x "$tmp/bin/$1"
}

# What is held open cannot be unmounted, but detached.
program umount <<'END'
[ "$1" != -l ] || lazy=1
for at; do :; done
! grep -qx "$at" "$W/busy" || [ -n "$lazy" ] || exit 1
echo "umount $*" >>"$W/log"
grep -v " $at " "$W/mounts" >"$W/left"
cp "$W/left" "$W/mounts"
END
program mount <<'END'
echo "mount $*" >>"$W/log"
END
program dmsetup <<'END'
[ ! -e "$W/held" ] || { echo "Device $2 in use"; exit 1; }
echo "dmsetup $*" >>"$W/log"
END
program kexec <<'END'
echo "kexec $*" >>"$W/log"
[ ! -e "$W/no.kernel" ] || { echo "Nothing has been loaded!"; exit 1; }
exit 0
END
for each in reboot poweroff halt sync; do
	program "$each" <<END
echo "$each \$*" >>"\$W/log"
END
done

# fresh: a root on the partition of the image root, whose host a process serves
fresh()
{
	rm -rf "$w"
	mkdir -p "$w"/{oldroot/run/initramfs/vdisk/root,hosts,sys/block/dm-{0,1}/dm} "$w/sys/block/dm-0/holders/dm-1"
	echo root >"$w/sys/block/dm-0/dm/name"
	echo root1 >"$w/sys/block/dm-1/dm/name"
	printf 'x %s t o 0 0\n' "$w/oldroot" "$w/oldroot/dev" "$w/oldroot/dev/pts" "$w/oldroot/run" \
		"$w/oldroot/proc" "$w/oldroot/sys" "$w/oldroot/home" >"$w/mounts"
	: >"$w/busy"
	: >"$w/log"
	: >"$w/said"
}

# last WORD...: what it did of note
last()
{
	sed "s,/oldroot,$w/oldroot,g; s,/hosts,$w/hosts,g; s,/sys/block,$w/sys/block,g
		s,/proc/mounts,$w/mounts,; s,>/dev/console,>>$w/said,; s,>/dev/kmsg,>/dev/null,
		s,/proc/sysrq-trigger,$w/end,; s,^export PATH=[^ ]*,export PATH=$tmp/bin:\$PATH,
		/^\/bin\/busybox/d" "$(dirname "$0")/../../userspace/boot/shutdown.sh" >"$tmp/shutdown"
	"$(command -v dash || echo sh)" "$tmp/shutdown" "$@" 2>&1
	sed "s,$w,,g" "$w/log" | grep -Ev "^sync|^umount -l /run$|make-rprivate"
}

fresh
printf '%s\n' "$w/oldroot/dev" "$w/oldroot/run" >"$w/busy"
eq "what the process holds open is detached, and the root unmounted before its device goes" \
	"$(last reboot)" \
'mount --move /oldroot/run/initramfs/vdisk/root /hosts/root
umount /oldroot/home
umount /oldroot/sys
umount /oldroot/proc
umount -l /oldroot/run
umount /oldroot/dev/pts
umount -l /oldroot/dev
umount /oldroot
dmsetup remove root1
dmsetup remove root
umount /hosts/root
reboot -f'
eq "nothing is said" "$(cat "$w/said")" ""
fresh
echo "$w/oldroot/home" >"$w/busy"
eq "a file system of a disk is never detached while it is in use" "$(last poweroff | grep -E 'home|poweroff')" \
	"poweroff -f"
fresh
: >"$w/held"
eq "a device that is in use: its host is left alone, as far as it can be" "$(last halt | tail -n 2)" \
'umount /hosts/root
halt -f'
eq "and it is told" "$(sort -u "$w/said")" 'vdisk: Device root in use
vdisk: Device root1 in use'
fresh
eq "kexec" "$(last kexec | grep -v mount | head -n 3)" 'dmsetup remove root1
dmsetup remove root
kexec -e'
fresh
: >"$w/no.kernel"
eq "kexec that cannot: a reboot, with the reason" "$(last kexec | tail -n 1) $(tail -n 1 "$w/said")" \
	"reboot -f vdisk: Reboots by the firmware: kexec: Nothing has been loaded!"
ktap_end
