# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What an initramfs does for each image: mount the file system it lies on, attach
# it, and leave what shutdown needs. Read after vdisktab.sh, by the script of
# initramfs-tools and by the module of dracut, which give
#
#	vdisk_find HOST		print the device, wait for it as long as is usual
#
# Functions that fail leave one line in $vdisk_why. Nothing here waits for ever.
# The first line after this is for the test.

vdisk_initramfs='' vdisk_proc=/proc vdisk_sys=/sys vdisk_lib=/lib/vdisk
vdisk_run=/run/initramfs
vdisk_hosts=$vdisk_run/vdisk

# vdisk_list: all images wanted, one a line, as rd.vdisk= would say it
vdisk_list()
{
	set -f
	# shellcheck disable=SC2013
	for _each in $(cat "$vdisk_proc/cmdline"); do
		case $_each in
		rd.vdisk=*) printf '%s\n' "${_each#rd.vdisk=}" ;;
		esac
	done
	set +f
	[ ! -e /etc/vdisk/list ] || cat /etc/vdisk/list
}

vdisk_say()
{
	echo "vdisk: $1"
	echo "vdisk: $1" >/dev/kmsg
}

vdisk_one_line()
{
	printf %s "$1" | tr -s '\n' ' '
}

# vdisk_mount_as TYPE MODE DEVICE DIRECTORY
vdisk_mount_as()
{
	_options=$2
	[ "$1" != btrfs ] || _options=$2,subvolid=5
	# A mount that is read-only replays the log too, which is writing.
	[ "$2" = rw ] || ! vdisk_linux_sleeps >/dev/null || case $1 in
	ext3 | ext4) _options=$_options,noload ;;
	xfs) _options=$_options,norecovery ;;
	btrfs) _options=$_options,rescue=nologreplay ;;
	esac
	if [ "$1" = ntfs ] && ! modprobe -q ntfs3; then
		vdisk_mount_fuse "$2" "$3" "$4"
		return
	fi
	[ "$1" != ntfs ] || set -- ntfs3 "$2" "$3" "$4"
	mount -t "$1" -o "$_options" "$3" "$4" 2>&1
}

# vdisk_mount_fuse MODE DEVICE DIRECTORY: the process stays until the end of all. One
# whose name begins so is not killed by systemd; nor may the kernel kill it when memory
# is short; and it shall hold nothing open that it does not know of.
vdisk_mount_fuse()
(
	command -v @ntfs-3g >/dev/null || {
		echo "Neither ntfs3 nor ntfs-3g is in this initramfs"
		exit 1
	}
	exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
	cd / && { echo -1000 >"$vdisk_proc/self/oom_score_adj"; } 2>/dev/null
	@ntfs-3g -o "$1" "$2" "$3" 2>&1
)

# vdisk_mounted DEVICE: where an image before this one has it mounted. Names of one
# device differ: /dev/dm-0 is /dev/mapper/x.
vdisk_mounted()
{
	while read -r _source _target _; do
		case $_target in
		"$vdisk_hosts"/*)
			[ "$(readlink -f "$(vdisk_plain "$_source")")" != "$1" ] || {
				echo "$_target"
				return
			} ;;
		esac
	done <"$vdisk_proc/mounts"
}

# vdisk_unmount DIRECTORY: the process that serves it, if any, has the device open for a
# moment longer.
vdisk_unmount()
{
	_serving=$(grep -lxs @ntfs-3g "$vdisk_proc"/[0-9]*/comm)
	umount "$1"
	[ -n "$_serving" ] || return 0
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(grep -lxs @ntfs-3g "$vdisk_proc"/[0-9]*/comm)" = "$_serving" ] || return 0
		sleep 0.2
	done
}

# vdisk_is_read_only DIRECTORY: what is mounted there last counts
vdisk_is_read_only()
{
	_found=''
	while read -r _ _target _ _mode _; do
		[ "$_target" != "$1" ] || _found=,$_mode,
	done <"$vdisk_proc/mounts"
	case $_found in
	*,ro,*) return 0 ;;
	*) return 1 ;;
	esac
}

# vdisk_host_mode: ro if this image and the others on the same file system are read-only
vdisk_host_mode()
{
	vdisk_has read-only || { echo rw; return; }
	vdisk_list | (
		_host=$vdisk_host _mode=ro
		while read -r _each; do
			vdisk_word "$_each" && [ "$vdisk_host" = "$_host" ] || continue
			vdisk_has read-only || _mode=rw
		done
		echo "$_mode"
	)
}

# vdisk_mount_host DEVICE DIRECTORY
vdisk_mount_host()
{
	_mode=$(vdisk_host_mode) _text=''
	mkdir -p "$2"
	_other=$(vdisk_mounted "$1")
	_type=$(blkid -p -s TYPE -o value "$1")
	[ -n "$_type" ] || { vdisk_bad "$vdisk_host: Holds no file system"; return; }
	[ "$_mode" = ro ] || vdisk_may_write "$_type" "$1" "$2" || {
		! vdisk_has read-only || _mode=ro
		[ "$_mode" = ro ] || return
	}
	if [ -n "$_other" ]; then
		# Of two images on one file system either may be written to.
		[ "$_mode" = ro ] || ! vdisk_is_read_only "$_other" ||
			_text=$(mount -o remount,rw "$1" "$_other" 2>&1) || :
		_said=$(mount -o bind "$_other" "$2" 2>&1)
	else
		_text=$(vdisk_mount_as "$_type" "$_mode" "$1" "$2")
		set -- "$1" "$2" "$?"
		_said=$_text
		[ "$3" -eq 0 ]
	fi || {
		vdisk_bad "$vdisk_host: Cannot be mounted as $_type: $(vdisk_one_line "$_said")"
		return
	}
	if ! vdisk_has read-only && vdisk_is_read_only "$2"; then
		umount "$2"
		vdisk_bad "$vdisk_host: The host file system is read-only: $1${_text:+: $(vdisk_one_line "$_text")}"
	fi
}

# Where /run is not allowed to hold programs, what shutdown needs gets a memory of
# its own.
vdisk_keep_run()
{
	[ -d "$vdisk_hosts" ] && return
	mkdir -p "$vdisk_run"
	if grep -Eq '^[^ ]+ /run [^ ]+ [^ ]*noexec' "$vdisk_proc/mounts" &&
		! grep -q " $vdisk_run " "$vdisk_proc/mounts"; then
		mount -t tmpfs -o mode=0755,nosuid,nodev vdisk "$vdisk_run" || return
	fi
	mkdir -p "$vdisk_hosts"
}

# vdisk_attach WORD: the image is a device after this
vdisk_attach()
{
	vdisk_word "$1" || { vdisk_bad "rd.vdisk=$1: $vdisk_why"; return; }
	[ ! -e "/dev/mapper/$vdisk_name" ] || return 0
	_device=$(vdisk_find "$vdisk_host") && [ -n "$_device" ] || {
		vdisk_bad "$vdisk_host: The host's device did not appear"
		return
	}
	_device=$(readlink -f "$_device")
	vdisk_keep_run || { vdisk_bad "$vdisk_run: Cannot be made"; return; }
	_dir=$vdisk_hosts/$vdisk_name
	vdisk_mount_host "$_device" "$_dir" || { rmdir "$_dir"; return 1; } 2>/dev/null
	if [ ! -e "$_dir$vdisk_image" ]; then
		vdisk_bad "$vdisk_host:$vdisk_image: No such file"
	else
		vdisk_attach_image
	fi || { umount "$_dir" && rmdir "$_dir"; return 1; }
}

# What the boot loader's command line names is this machine's own. allow-path= counts from
# the root of the host's file system, as the image's path does.
vdisk_attach_image()
{
	_text=$(
		_args=$(printf '%s' "$vdisk_args" | sed "/^--allow-path\$/{n;s|^|$_dir|;}")
		IFS=$vdisk_nl
		set -f
		# shellcheck disable=SC2086
		"$vdisk_lib/attach-clean" --trusted $_args -- "$vdisk_name" "$_dir$vdisk_image" 2>&1
	) || { vdisk_bad "$(vdisk_one_line "${_text#vdisk: }")"; return; }
}

# vdisk_keep_tools: what shutdown needs, in a place that it can go to when all else is
# gone. All of it or no program: one that does not start would stop the shutdown.
vdisk_keep_tools()
{
	mkdir -p "$vdisk_run/bin" "$vdisk_run/sbin" "$vdisk_run/oldroot"
	cp "$vdisk_lib/busybox" "$vdisk_run/bin/busybox" || return
	while read -r _each; do
		mkdir -p "$vdisk_run${_each%/*}" && cp "$vdisk_initramfs$_each" "$vdisk_run$_each" || return
	done <"$vdisk_lib/keep"
	{ echo '#!/bin/busybox sh'; cat "$vdisk_lib/shutdown.sh"; } >"$vdisk_run/shutdown.new" &&
		chmod 755 "$vdisk_run/shutdown.new" &&
		mv "$vdisk_run/shutdown.new" "$vdisk_run/shutdown"
}
