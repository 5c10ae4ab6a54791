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

vdisk_run=/run/initramfs
vdisk_hosts=$vdisk_run/vdisk

# vdisk_list: all images wanted, one a line, as rd.vdisk= would say it
vdisk_list()
{
	set -f
	# shellcheck disable=SC2013
	for _each in $(cat /proc/cmdline); do
		case $_each in
		rd.vdisk=*) printf '%s\n' "${_each#rd.vdisk=}" ;;
		esac
	done
	set +f
	[ ! -e /etc/vdisk/list ] || cat /etc/vdisk/list
}

# vdisk_mount_as TYPE MODE DEVICE DIRECTORY
vdisk_mount_as()
{
	_options=$2
	[ "$1" != btrfs ] || _options=$2,subvolid=5
	if [ "$1" = ntfs ] && ! modprobe -q ntfs3; then
		# A process whose name begins so is one that systemd does not kill.
		@ntfs-3g -o "$2" "$3" "$4" 2>&1
		return
	fi
	[ "$1" != ntfs ] || set -- ntfs3 "$2" "$3" "$4"
	mount -t "$1" -o "$_options" "$3" "$4" 2>&1
}

# vdisk_mounted DEVICE: where an image before this one has it mounted
vdisk_mounted()
{
	while read -r _source _target _; do
		case $_source:$_target in
		"$1:$vdisk_hosts"/*) echo "$_target"; return ;;
		esac
	done </proc/mounts
}

# vdisk_is_read_only DIRECTORY: what is mounted there last counts
vdisk_is_read_only()
{
	_found=''
	while read -r _ _target _ _mode _; do
		[ "$_target" != "$1" ] || _found=,$_mode,
	done </proc/mounts
	case $_found in
	*,ro,*) return 0 ;;
	*) return 1 ;;
	esac
}

# vdisk_mount_host DEVICE DIRECTORY
vdisk_mount_host()
{
	_mode=rw _type=''
	! vdisk_has read-only || _mode=ro
	mkdir -p "$2"
	_other=$(vdisk_mounted "$1")
	if [ -n "$_other" ]; then
		# Of two images on one file system either may be written to.
		[ "$_mode" = ro ] || mount -o remount,rw "$1" "$_other" 2>/dev/null
		_text=$(mount -o bind "$_other" "$2" 2>&1)
	else
		_type=$(blkid -p -s TYPE -o value "$1")
		[ -n "$_type" ] || { vdisk_bad "$vdisk_host: Holds no file system"; return; }
		_text=$(vdisk_mount_as "$_type" "$_mode" "$1" "$2")
	fi || {
		vdisk_bad "$vdisk_host: Cannot be mounted${_type:+ as $_type}: $(printf %s "$_text" | tr '\n' ' ')"
		return
	}
	if [ "$_mode" = rw ] && vdisk_is_read_only "$2"; then
		umount "$2"
		vdisk_bad "$vdisk_host: The host file system is read-only: $1"
	fi
}

# Where /run is not allowed to hold programs, what shutdown needs gets a memory of
# its own.
vdisk_keep_run()
{
	[ -d "$vdisk_hosts" ] && return
	mkdir -p "$vdisk_run"
	if grep -Eq '^[^ ]+ /run [^ ]+ [^ ]*noexec' /proc/mounts &&
		! grep -q " $vdisk_run " /proc/mounts; then
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
	vdisk_mount_host "$_device" "$_dir" || return 1
	if [ ! -e "$_dir$vdisk_image" ]; then
		vdisk_bad "$vdisk_host:$vdisk_image: No such file"
	else
		vdisk_attach_image
	fi || { umount "$_dir"; return 1; }
}

vdisk_attach_image()
{
	_text=$(
		IFS=$vdisk_nl
		set -f
		# shellcheck disable=SC2086
		/lib/vdisk/attach-clean $vdisk_args -- "$vdisk_name" "$_dir$vdisk_image" 2>&1
	) || { vdisk_bad "$(printf %s "${_text#vdisk: }" | tr '\n' ' ')"; return; }
}
