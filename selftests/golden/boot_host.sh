#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What an initramfs does with the host's file system before an image is attached: who
# sleeps there is woken or left alone, by which options it is mounted, what is left for
# shutdown. mount, blkid and the rest are made up, and so are proc and sys.
. "$(dirname "$0")/lib.sh"

boot=$(cd "$here/../../userspace/boot" && pwd)
mkdir "$tmp/bin"

# program NAME: standard input is what it does
program()
{
	{ printf '#!/bin/sh\nW=%s\n' "$tmp/w"; cat; } >"$tmp/bin/$1"
	chmod +x "$tmp/bin/$1"
}

# A file system that is mounted is a directory that looks like $W/disk.
program mount <<'END_OF'
echo "mount $*" >>$W/log
type='' options=''
while [ $# -gt 2 ]; do
	case $1 in
	-t) type=$2 ;;
	-o) options=$2 ;;
	esac
	shift 2
done
[ ! -e "$W/mount.says" ] || cat "$W/mount.says"
case $options in
bind) grep "^[^ ]* $1 " "$W/proc/mounts" | sed "s,$1,$2," >>"$W/proc/mounts"; cp -r "$1/." "$2" ;;
remount,rw) sed -i "s,\( $2 [^ ]* \)ro,\1rw," "$W/proc/mounts" ;;
*)
	mode=${options%%,*}
	[ ! -e "$W/mount.ro" ] || mode=ro
	echo "$(cat $W/source 2>/dev/null || echo "$1") $2 $type $mode 0 0" >>"$W/proc/mounts"
	if [ -d "$1.holds" ]; then cp -r "$1.holds/." "$2"; else cp -r "$W/disk/." "$2"; fi ;;
esac
END_OF
program @ntfs-3g <<'END_OF'
cat "$W/proc/self/oom_score_adj" >"$W/oom" 2>/dev/null
ls /proc/$$/fd >"$W/fds"
exec mount -t fuseblk "$@"
END_OF
program umount <<'END_OF'
echo "umount $*" >>$W/log
sed -i "\\, $1 ,d" "$W/proc/mounts"
rm -rf "$1"/*
END_OF
program modprobe <<'END_OF'
case "$*" in *ntfs3) [ ! -e "$W/no.ntfs3" ] ;; esac
END_OF
program blkid <<'END_OF'
case "$*" in
*swsuspend*) cat "$W/sleepers" 2>/dev/null ;;
*TYPE=ntfs*) cat "$W/others" 2>/dev/null ;;
*) cat "$W/type" ;;
esac
END_OF
program findfs <<'END_OF'
case $1 in
UUID=swap) echo "$W/dev/sdb" ;;
UUID=dm-*) echo "$W/dev/${1#UUID=}" ;;
*) exit 1 ;;
esac
END_OF
program attach-clean <<'END_OF'
echo "attach $*" >>$W/log
END_OF

# fresh TYPE: a machine with the host's file system on sda
fresh()
{
	rm -rf "$tmp/w"
	mkdir -p "$tmp/w"/{disk/vm,dev,run,proc/self,sys/power} \
		"$tmp/w/sys/class/block"/{sda,sdb,dm-0,dm-1,dm-2}/dm \
		"$tmp/w/sys/class/block/dm-2/slaves/dm-1"
	: >"$tmp/w/disk/vm/a.vhd"
	cp "$tmp/w/disk/vm/a.vhd" "$tmp/w/disk/vm/b.vhd"
	: >"$tmp/w/proc/mounts"
	: >"$tmp/w/sys/power/resume"
	echo 0 >"$tmp/w/proc/self/oom_score_adj"
	touch "$tmp/w/dev"/{sda,sdb,dm-0,dm-1,dm-2}
	echo 8:0 >"$tmp/w/sys/class/block/sda/dev"
	echo 8:16 >"$tmp/w/sys/class/block/sdb/dev"
	echo LVM-x >"$tmp/w/sys/class/block/dm-0/dm/uuid"
	echo part1-VDISK-vhd-1 >"$tmp/w/sys/class/block/dm-1/dm/uuid"
	echo CRYPT-x >"$tmp/w/sys/class/block/dm-2/dm/uuid"
	echo "$1" >"$tmp/w/type"
	: >"$tmp/w/log"
	cmdline quiet
}

cmdline()
{
	echo "$*" >"$tmp/w/proc/cmdline"
}

# initramfs COMMAND...: in the shells that initramfs have
initramfs()
{
	PATH=$tmp/bin:$PATH "${shell[@]}" -c '
		boot=$1 W=$2 bin=$3
		shift 3
		# One that has such programs built in takes them before others.
		for each in mount umount modprobe blkid findfs; do
			eval "$each() { \"$bin/$each\" \"\$@\"; }"
		done
		. "$boot/vdisktab.sh"
		. "$boot/host.sh"
		. "$boot/asleep.sh"
		vdisk_proc=$W/proc vdisk_sys=$W/sys vdisk_run=$W/run vdisk_lib=$W/lib
		vdisk_hosts=$vdisk_run/vdisk vdisk_initramfs=$W
		vdisk_find()
		{
			echo "find $1" >>"$W/log"
			case $1 in
			*none*) return 1 ;;
			*swap) echo "$W/dev/sdb" ;;
			*lvm*) echo "$W/dev/dm-0" ;;
			*) echo "$W/dev/sda" ;;
			esac
		}
		"$@" || echo "$vdisk_why"' sh "$boot" "$tmp/w" "$tmp/bin" "$@" 2>&1
}

# attach WORD: what was said and done, with $tmp/w as W
attach()
{
	mkdir -p "$tmp/w/lib"
	ln -sf "$tmp/bin/attach-clean" "$tmp/w/lib/"
	{ initramfs vdisk_attach "$1"; grep -v '^find' "$tmp/w/log"; } | sed "s,$tmp/w,W,g"
}

# begins TEXT: a file of hibernation, a page long
begins()
{
	{ printf %s "$1"; head -c 4096 /dev/zero; } | head -c 4096 >"$tmp/w/disk/${2:-hiberfil.sys}"
}

look='mount -t ntfs3 -o ro W/dev/sda W/run/vdisk/t
umount W/run/vdisk/t'
windows='UUID=h: Windows hibernated or shut down for a fast start, and has it mounted (shutdown /s /f /t 0 there, or read-only here)'

windows_tests()
{
	local each

	fresh ntfs
	begins ''
	eq "$1: a Windows that woke is looked at, then written to" "$(attach t:UUID=h:/vm/a.vhd)" "$look
mount -t ntfs3 -o rw W/dev/sda W/run/vdisk/t
attach --trusted -- t W/run/vdisk/t/vm/a.vhd"
	for each in hibr HIBR wake WAKE RSTR; do
		fresh ntfs
		begins "$each"
		eq "$1: a Windows that sleeps ($each) is not written to" "$(attach t:UUID=h:/vm/a.vhd)" "$windows
$look"
	done
	fresh ntfs
	begins Hibr HIBERFIL.SYS
	eq "$1: nor by another spelling" "$(attach t:UUID=h:/vm/a.vhd | head -n 1)" "$windows"
	for each in vfat exfat; do
		fresh "$each"
		echo short >"$tmp/w/disk/hiberfil.sys"
		eq "$1: a partition of a Windows that sleeps, $each" "$(attach t:UUID=h:/vm/a.vhd)" "$windows
${look//ntfs3/$each}"
	done
	fresh ntfs
	begins hibr
	eq "$1: it can be read" "$(attach t:UUID=h:/vm/a.vhd:ro)" \
'mount -t ntfs3 -o ro W/dev/sda W/run/vdisk/t
attach --trusted --read-only -- t W/run/vdisk/t/vm/a.vhd'
	eq "$1: a second image there is not written to either" "$(attach u:UUID=h:/vm/b.vhd | head -n 1)" "$windows"
	fails "$1: nothing is mounted for writing" grep -q rw "$tmp/w/log"
	fresh exfat
	printf '%s\n' "$tmp/w/dev/sda" "$tmp/w/dev/dm-1" "$tmp/w/dev/sdb" >"$tmp/w/others"
	mkdir "$tmp/w/dev/sdb.holds"
	begins hibr ../dev/sdb.holds/hiberfil.sys
	eq "$1: a Windows that sleeps on another partition" "$(attach t:UUID=h:/vm/a.vhd | head -n 1)" \
		"${windows/,/, in W\/dev\/sdb,}"
	fails "$1: nothing is mounted for writing then, either" grep -q rw "$tmp/w/log"
	begins '' ../dev/sdb.holds/hiberfil.sys
	eq "$1: and one that woke there" "$(attach t:UUID=h:/vm/a.vhd | tail -n 1)" \
		"attach --trusted -- t W/run/vdisk/t/vm/a.vhd"
}

linux_tests()
{
	local sleeper

	fresh ext4
	eq "$1: ext4" "$(attach t:UUID=h:/vm/a.vhd)" 'mount -t ext4 -o rw W/dev/sda W/run/vdisk/t
attach --trusted -- t W/run/vdisk/t/vm/a.vhd'
	fresh ext4
	sleeper=$tmp/w/dev/sdb
	echo "$sleeper" >"$tmp/w/sleepers"
	eq "$1: a Linux that sleeps elsewhere may have it mounted" "$(attach t:UUID=h:/vm/a.vhd)" \
		"UUID=h: A system sleeps in W/dev/sdb and may have it mounted (wake it, or say noresume)"
	fresh ext4
	echo "$sleeper" >"$tmp/w/sleepers"
	eq "$1: it can be read, its log left as it is" "$(attach t:UUID=h:/vm/a.vhd:ro | head -n 1)" \
		"mount -t ext4 -o ro,noload W/dev/sda W/run/vdisk/t"
	fresh xfs
	echo "$sleeper" >"$tmp/w/sleepers"
	eq "$1: the same of xfs" "$(attach t:UUID=h:/vm/a.vhd:ro | head -n 1)" \
		"mount -t xfs -o ro,norecovery W/dev/sda W/run/vdisk/t"
	fresh btrfs
	echo "$sleeper" >"$tmp/w/sleepers"
	eq "$1: the same of btrfs" "$(attach t:UUID=h:/vm/a.vhd:ro | head -n 1)" \
		"mount -t btrfs -o ro,subvolid=5,rescue=nologreplay W/dev/sda W/run/vdisk/t"
	fresh ext4
	echo "$sleeper" >"$tmp/w/sleepers"
	cmdline quiet noresume
	eq "$1: noresume: nobody will wake it" "$(attach t:UUID=h:/vm/a.vhd | head -n 1)" \
		"mount -t ext4 -o rw W/dev/sda W/run/vdisk/t"
	eq "$1: noresume: but then it must never be woken" "$(initramfs eval 'vdisk_say() { echo "$1"; }; vdisk_give_up')" \
		"A system sleeps in $sleeper and must not wake any more (mkswap)"
	cmdline quiet
	eq "$1: without noresume nothing is said of that" \
		"$(initramfs eval 'vdisk_say() { echo "$1"; }; vdisk_give_up')" ""
	fresh ext4
	printf '%s\n' "$tmp/w/dev/dm-1" "$tmp/w/dev/dm-2" >"$tmp/w/sleepers"
	eq "$1: what sleeps in an image does not count" "$(attach t:UUID=h:/vm/a.vhd | head -n 1)" \
		"mount -t ext4 -o rw W/dev/sda W/run/vdisk/t"
}

wake_tests()
{
	fresh ext4
	eq "$1: resume= is tried" "$(initramfs vdisk_wake UUID=swap ''; cat "$tmp/w/sys/power/resume")" 8:16
	fresh ext4
	eq "$1: with its offset" "$(initramfs vdisk_wake UUID=swap 4711
		cat "$tmp/w/sys/power/resume_offset" "$tmp/w/sys/power/resume")" '4711
8:16'
	eq "$1: a device that is not there" "$(initramfs vdisk_wake UUID=none '')" \
		"resume=UUID=none: The device did not appear"
	eq "$1: without resume= nothing is tried" "$(fresh ext4; initramfs vdisk_wake '' ''
		cat "$tmp/w/sys/power/resume" "$tmp/w/log")" ""
	for each in /dev/mapper/disk /dev/mapper/disk2 /dev/mapper/diskp2; do
		fresh ext4
		cmdline rd.vdisk=disk:UUID=h:/vm/a.vhd
		eq "$1: $each, which is to be attached, is not waited for" \
			"$(initramfs vdisk_wake "$each" ''; cat "$tmp/w/log")" ""
	done
	eq "$1: another of a like name is" "$(initramfs vdisk_wake /dev/mapper/disks ''; cat "$tmp/w/log")" \
		"find /dev/mapper/disks"
	for each in dm-1 dm-2; do
		eq "$1: swap in an image ($each)" \
			"$(initramfs eval "vdisk_cannot_wake UUID=$each && echo \"\$vdisk_why\"")" \
			"resume=UUID=$each: Swap in an image cannot be resumed from"
	done
	eq "$1: swap elsewhere" "$(initramfs eval 'vdisk_cannot_wake UUID=swap || echo no')" no
	eq "$1: swap that is not there" "$(initramfs eval 'vdisk_cannot_wake /dev/none || echo no')" no
}

two_tests()
{
	fresh ext4
	echo /dev/mapper/vg-lv >"$tmp/w/source"
	ln -s dm-0 "$tmp/w/dev/lv"
	echo "$tmp/w/dev/lv" >"$tmp/w/source"
	cmdline rd.vdisk=t:UUID=lvm:/vm/a.vhd:ro rd.vdisk=u:UUID=lvm:/vm/b.vhd
	attach t:UUID=lvm:/vm/a.vhd:ro >/dev/null
	eq "$1: two images on one device with two names, the first read-only" \
		"$(attach u:UUID=lvm:/vm/b.vhd)" 'mount -t ext4 -o rw W/dev/dm-0 W/run/vdisk/t
attach --trusted --read-only -- t W/run/vdisk/t/vm/a.vhd
mount -o bind W/run/vdisk/t W/run/vdisk/u
attach --trusted -- u W/run/vdisk/u/vm/b.vhd'
	fresh ext4
	echo "$tmp/w/dev/lv" >"$tmp/w/source"
	ln -s dm-0 "$tmp/w/dev/lv"
	attach t:UUID=lvm:/vm/a.vhd:ro >/dev/null
	eq "$1: and by two names of the host" "$(attach u:LABEL=lvm:/vm/b.vhd | sed 1,2d)" \
'mount -o remount,rw W/dev/dm-0 W/run/vdisk/t
mount -o bind W/run/vdisk/t W/run/vdisk/u
attach --trusted -- u W/run/vdisk/u/vm/b.vhd'
}

ntfs_3g_tests()
{
	fresh ntfs
	: >"$tmp/w/no.ntfs3"
	eq "$1: ntfs-3g where there is no ntfs3" "$(attach t:UUID=h:/vm/a.vhd)" \
"${look//ntfs3/fuseblk}
mount -t fuseblk -o rw W/dev/sda W/run/vdisk/t
attach --trusted -- t W/run/vdisk/t/vm/a.vhd"
	eq "$1: its process is the last to be killed for memory" "$(cat "$tmp/w/oom")" -1000
	fresh ntfs
	touch "$tmp/w/no.ntfs3" "$tmp/w/mount.ro"
	echo Falling back to read-only because of this. >"$tmp/w/mount.says"
	eq "$1: why it is read-only" "$(attach t:UUID=h:/vm/a.vhd | head -n 1)" \
		"UUID=h: The host file system is read-only: W/dev/sda: Falling back to read-only because of this."
	mv "$tmp/bin/@ntfs-3g" "$tmp/"
	fresh ntfs
	: >"$tmp/w/no.ntfs3"
	eq "$1: neither is there" "$(attach t:UUID=h:/vm/a.vhd)" \
		"UUID=h: Cannot be mounted as ntfs: Neither ntfs3 nor ntfs-3g is in this initramfs"
	mv "$tmp/@ntfs-3g" "$tmp/bin/"
}

other_tests()
{
	fresh ext4
	eq "$1: allow-path= counts from where the image's path does" \
		"$(attach 't:UUID=h:/vm/a.vhd:allow-path=/base,commit=5,allow-path=/b\040c' | tail -n 1)" \
		"attach --trusted --allow-path W/run/vdisk/t/base --options commit=5 --allow-path W/run/vdisk/t/b c -- t W/run/vdisk/t/vm/a.vhd"
	fresh ext4
	eq "$1: nofail is known though another option is wrong" \
		"$(initramfs eval 'vdisk_word "t:UUID=h:/vm/a.vhd:rx,nofail"; vdisk_has nofail && echo "$vdisk_why"')" \
		"Unknown option: rx"
	eq "$1: and forgotten with the next" "$(initramfs eval \
		'vdisk_word t:UUID=h:/a:nofail; vdisk_word t:h:/a; vdisk_has nofail || echo no')" no
	mkdir -p "$tmp/w"/{lib,sbin}
	touch "$tmp/w/lib"/{busybox,shutdown.sh} "$tmp/w/sbin/one"
	printf '/sbin/one\n/lib/none.so\n/sbin/one\n' >"$tmp/w/lib/keep"
	eq "$1: a library that is missing: no program that cannot start" \
		"$(initramfs vdisk_keep_tools >/dev/null; ls "$tmp/w/run/shutdown"* 2>/dev/null)" ""
	touch "$tmp/w/lib/none.so"
	eq "$1: all is there" "$(initramfs vdisk_keep_tools; cd "$tmp/w/run" && ls shutdown lib/none.so)" \
'lib/none.so
shutdown'
}

for each_shell in "$(command -v dash || echo sh)" "$(command -v busybox) sh"; do
	read -ra shell <<<"$each_shell"
	name=${shell[0]##*/}
	windows_tests "$name"
	linux_tests "$name"
	wake_tests "$name"
	two_tests "$name"
	ntfs_3g_tests "$name"
	other_tests "$name"
done
ktap_end
