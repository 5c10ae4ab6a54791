#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What makes an initramfs: where the root is in an image there is one that can attach it,
# or none; where it is not, one that boots as before. The makers' own functions are made
# up, and so is the machine.
. "$(dirname "$0")/lib.sh"

boot=$(cd "$here/../../userspace/boot" && pwd)
mkdir -p "$tmp/bin" "$tmp/boot"

program()
{
	cat >"$tmp/bin/$1"
	chmod +x "$tmp/bin/$1"
}

# The files of boot/, that look at a machine in $tmp/w.
for each in vdisktab host asleep made; do
	sed "s,=/proc,=$tmp/w/proc,; s,=/sys,=$tmp/w/sys,; s,=/run/initramfs,=$tmp/w/run,
		s,/usr/sbin/vdisk,$tmp/w/tool," "$boot/$each.sh" >"$tmp/boot/$each.sh"
done
cp "$boot/shutdown.sh" "$boot/attach-clean" "$tmp/boot/"

program findmnt <<'END'
#!/bin/sh
case "$*" in
*SOURCE\ /) echo "$W/dev/dm-0" ;;
*MAJ:MIN\ /) echo " 254:0 " ;;
*FSROOT*) echo / ;;
*TARGET*) echo "$W/mnt" ;;
*SOURCE*) echo /dev/sda7 ;;
*UUID*) echo 12-34 ;;
esac
END
program modprobe <<'END'
#!/bin/sh
[ ! -e "$W/no.module" ]
END
program findfs <<'END'
#!/bin/sh
echo "$W/dev/dm-0"
END
for each in busybox dmsetup kexec; do
	printf '#!/bin/sh\n' | program "$each"
done
cat >"$tmp/functions" <<'END'
manual_add_modules() { :; }
dep_add_modules_mount() { echo "drivers of $1"; }
copy_exec() { mkdir -p "$DESTDIR${2%/*}" && cp "$1" "$DESTDIR$2"; }
copy_file() { :; }
END

# fresh: a machine whose root is on a disk
fresh()
{
	rm -rf "$tmp/w"
	mkdir -p "$tmp/w"/{proc,run,dev,mnt,out/{bin,sbin},out/conf/conf.d,sys/class/block/dm-0/dm,sys/dev/block}
	touch "$tmp/w/dev/dm-0" "$tmp/w/tab" "$tmp/w/mnt/a.vhd"
	ln -s ../../class/block/dm-0 "$tmp/w/sys/dev/block/254:0"
	echo LVM-x >"$tmp/w/sys/class/block/dm-0/dm/uuid"
	echo quiet >"$tmp/w/proc/cmdline"
	cp "$tmp/bin/busybox" "$tmp/w/tool"
}

# in_image HOW: a machine whose root is in an image, by each of what can tell it
in_image()
{
	fresh
	case $1 in
	booted)
		mkdir -p "$tmp/w/run/vdisk/root"
		reason="this system booted from the image root" ;;
	cmdline)
		echo "quiet rd.vdisk=root:UUID=a:/b" >"$tmp/w/proc/cmdline"
		reason="the kernel was started with rd.vdisk=" ;;
	table)
		echo "root $tmp/w/mnt/a.vhd x-initrd.attach" >"$tmp/w/tab"
		reason="W/tab has x-initrd.attach" ;;
	device)
		echo part1-VDISK-vhd-1 >"$tmp/w/sys/class/block/dm-0/dm/uuid"
		reason="the root is in an image" ;;
	above)
		mkdir -p "$tmp/w/sys/class/block"/{dm-0/slaves/dm-3,dm-3/dm}
		echo VDISK-vhd-1 >"$tmp/w/sys/class/block/dm-3/dm/uuid"
		reason="the root is in an image" ;;
	esac
}

lack()
{
	case $1 in
	tool) rm "$tmp/w/tool"; what="the tool is not installed" ;;
	module) touch "$tmp/w/no.module"; what="kernel 6.1.0-9 has no module dm-vdisk" ;;
	esac
}

# hook: its words and status
hook()
{
	W=$tmp/w PATH=$tmp/bin:$PATH VDISK_BOOT=$tmp/boot HOOK_FUNCTIONS=$tmp/functions \
		VDISKTAB=$tmp/w/tab DESTDIR=$tmp/w/out version=6.1.0-9 MODULES=${modules:-most} \
		"$(command -v dash || echo sh)" "$boot/initramfs-tools/hook" 2>&1 | sed "s,$tmp/w,W,g"
	echo "${PIPESTATUS[0]}"
}

# of_dracut FILE CODE: read what dracut reads, in a bash as it does, and go on
of_dracut()
{
	W=$tmp/w PATH=$tmp/bin:$PATH bash -c '
		dfatal() { echo "dracut: $*"; }
		. <(sed "s,/usr/lib/vdisk/,$2/,; s,/etc/vdisktab,$3,g" "$1")
		eval "$4"' bash "$boot/$1" "$tmp/boot" "$tmp/w/tab" "$2" 2>&1 | sed "s,$tmp/w,W,g"
	return "${PIPESTATUS[0]}"
}

# dracut_check [hostonly]: what check() says, and with what all of dracut ends then
dracut_check()
{
	of_dracut dracut/module-setup.sh "kernel=6.1.0-9 hostonly=${1:-}"'
		check
		echo "returned $?"'
	echo $?
}

fresh
eq "hook: a root on a disk" "$(hook)" 0
eq "hook: what shutdown needs is listed" "$(grep -v /lib/ "$tmp/w/out/lib/vdisk/keep" | paste -sd ' ')" \
	"/sbin/dmsetup /sbin/kexec"
eq "hook: all that is read in the initramfs is there" "$(cd "$tmp/w/out/lib/vdisk" && echo *)" \
	"asleep.sh attach-clean busybox host.sh keep shutdown.sh vdisktab.sh"
for each in tool module; do
	fresh
	lack "$each"
	eq "hook: a root on a disk, no $each" "$(hook)" "W: vdisk: $what
0"
	eq "dracut: a root on a disk, no $each" "$(dracut_check)" "returned 1
0"
	for how in booted cmdline table device above; do
		in_image "$how"
		lack "$each"
		eq "hook: no initramfs without the $each ($how)" "$(hook)" "E: vdisk: $what, but $reason
1"
		eq "dracut: no initramfs without the $each ($how)" "$(dracut_check)" \
			"dracut: vdisk: $what, but $reason
1"
	done
done
fresh
eq "dracut: for this machine only, which needs none" "$(dracut_check 1)" "returned 255
0"
in_image device
eq "dracut: for this machine only, which does" "$(dracut_check 1)" "returned 0
0"

in_image table
mkdir -p "$tmp/w/run/vdisk/root"
eq "hook: MODULES=dep: drivers of the disks that images lie on" "$(modules=dep hook)" \
'drivers of W/run/vdisk/root
drivers of W/mnt
0'
# shellcheck disable=SC2016
eq "dracut: the same" "$(of_dracut dracut.conf 'echo $add_device')" "/dev/sda7 /dev/sda7"

# resume: what is left of what the hook of resume found
resume()
{
	echo RESUME=UUID=swap >"$tmp/w/out/conf/conf.d/zz-resume-auto"
	hook
	cat "$tmp/w/out/conf/conf.d/zz-resume-auto"
}

fresh
eq "hook: swap on a disk is resumed from" "$(resume)" "0
RESUME=UUID=swap"
in_image device
eq "hook: swap in an image is not" "$(resume)" \
"W: vdisk: resume=UUID=swap: Swap in an image cannot be resumed from
0
RESUME=none"
ktap_end
