# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Systems that sleep on the disks. One that hibernated has its file systems mounted: what
# another system writes to them meanwhile, it does not know of, and destroys when it
# wakes. So an initramfs wakes its own system before it mounts anything, and writes to no
# file system that somebody asleep may have mounted. Read after host.sh.

# vdisk_is_image DEVICE: is it an image's, or a partition of one, or does it stand on one?
vdisk_is_image()
{
	_sys=$vdisk_sys/class/block/${1##*/}
	case $(cat "$_sys/dm/uuid" 2>/dev/null) in
	VDISK-?* | part[0-9]*-VDISK-?*) return 0 ;;
	esac
	for _below in "$_sys"/slaves/*; do
		if [ -e "$_below" ] && (vdisk_is_image "$_below"); then
			return 0
		fi
	done
	return 1
}

# vdisk_is_to_come WORD: is it the device of an image that is yet to be attached? Nobody
# has to wait for that.
vdisk_is_to_come()
{
	[ -n "$(vdisk_list | while read -r _each; do
		vdisk_word "$_each" || continue
		_digits=${1#"/dev/mapper/$vdisk_name"}
		_digits=${_digits#p}
		case $_digits in
		*[!0-9]*) ;;
		*) echo yes ;;
		esac
	done)" ]
}

# vdisk_wake RESUME OFFSET: wake the system that hibernated into this device, and never
# come back; or return because there is none. What resume= says is not to be tried again
# after this. 1: the device is not there, in $vdisk_why.
vdisk_wake()
{
	[ -n "$1" ] && [ -e "$vdisk_sys/power/resume" ] || return 0
	! vdisk_is_to_come "$1" || return 0
	_device=$(vdisk_find "$1") && [ -n "$_device" ] || {
		vdisk_bad "resume=$1: The device did not appear"
		return
	}
	_device=$(readlink -f "$_device")
	_number=$(cat "$vdisk_sys/class/block/${_device##*/}/dev") || return 0
	[ -z "${2:-}" ] || echo "$2" >"$vdisk_sys/power/resume_offset"
	{ echo "$_number" >"$vdisk_sys/power/resume"; } 2>/dev/null || :
}

# vdisk_cannot_wake RESUME: is the device in an image? To find it the host's file system
# was mounted, which is too late to wake anybody. Said in $vdisk_why.
vdisk_cannot_wake()
{
	case $1 in
	'') return 1 ;;
	/dev/*) _device=$1 ;;
	*) _device=$(findfs "$1" 2>/dev/null) || return 1 ;;
	esac
	[ -e "$_device" ] && vdisk_is_image "$(readlink -f "$_device")" || return 1
	vdisk_why="resume=$1: Swap in an image cannot be resumed from"
}

# vdisk_noresume: does the command line say that nobody shall be woken?
vdisk_noresume()
{
	case " $(cat "$vdisk_proc/cmdline") " in
	*' noresume '*) return 0 ;;
	*) return 1 ;;
	esac
}

# vdisk_sleepers: the devices that systems sleep in
vdisk_sleepers()
{
	for _each in $(blkid -c /dev/null -t TYPE=swsuspend -o device); do
		vdisk_is_image "$(readlink -f "$_each")" || echo "$_each"
	done
}

# vdisk_linux_sleeps: prints the device that a system which is not this one sleeps in,
# unless nobody shall wake it
vdisk_linux_sleeps()
{
	! vdisk_noresume || return 1
	_found=$(vdisk_sleepers | head -n 1)
	[ -n "$_found" ] && echo "$_found"
}

# vdisk_give_up: says of each that it is given up, for a boot without noresume would wake
# it, with what it knows of file systems that were written to meanwhile
vdisk_give_up()
{
	vdisk_noresume || return 0
	for _each in $(vdisk_sleepers); do
		vdisk_say "A system sleeps in $_each and must not wake any more (mkswap)"
	done
}

# vdisk_windows_sleeps DIRECTORY: its file of hibernation, which fast start-up writes too,
# begins with hibr while it sleeps, with rstr or wake when waking it was begun. On another
# partition than its own the file is a short one. Who woke fills the beginning with zeroes.
vdisk_windows_sleeps()
{
	for _file in "$1"/[hH][iI][bB][eE][rR][fF][iI][lL].[sS][yY][sS]; do
		[ -f "$_file" ] || continue
		case $(head -c 4 "$_file" 2>/dev/null | tr -cd '[:alpha:]' | tr '[:upper:]' '[:lower:]') in
		hibr | rstr | wake) return 0 ;;
		esac
		[ "$(head -c 4096 "$_file" 2>/dev/null | wc -c)" -eq 4096 ] || return 0
	done
	return 1
}

# vdisk_look TYPE DEVICE DIRECTORY: does a Windows sleep there? 2: it cannot be mounted for a
# look, and $_text says why. Where an image before this one has it mounted, that will do.
vdisk_look()
{
	_other=$(vdisk_mounted "$2")
	if [ -n "$_other" ]; then
		vdisk_windows_sleeps "$_other"
		return
	fi
	_text=$(vdisk_mount_as "$1" ro "$2" "$3") || return 2
	vdisk_windows_sleeps "$3"
	set -- "$3" "$?"
	vdisk_unmount "$1"
	return "$2"
}

# vdisk_other_windows DEVICE DIRECTORY: prints another partition that one sleeps in. It has
# all that it could mount mounted.
vdisk_other_windows()
{
	for _windows in $(blkid -c /dev/null -t TYPE=ntfs -o device); do
		_at=$(readlink -f "$_windows")
		if [ "$_at" != "$1" ] && ! vdisk_is_image "$_at" && vdisk_look ntfs "$_at" "$2"; then
			echo "$_windows"
			return 0
		fi
	done
	return 1
}

# vdisk_may_write TYPE DEVICE DIRECTORY: nobody asleep has it mounted. DIRECTORY: where it
# can be mounted for a look.
vdisk_may_write()
{
	_asleep=$(vdisk_linux_sleeps) && {
		vdisk_bad "$vdisk_host: A system sleeps in $_asleep and may have it mounted (wake it, or say noresume)"
		return
	}
	case $1 in
	ntfs | vfat | exfat) ;;
	*) return 0 ;;
	esac
	vdisk_look "$1" "$2" "$3"
	case $? in
	0) _asleep='' ;;
	1) _asleep=$(vdisk_other_windows "$2" "$3") || return 0 ;;
	*)
		vdisk_bad "$vdisk_host: Cannot be mounted as $1: $(vdisk_one_line "$_text")"
		return ;;
	esac
	vdisk_bad "$vdisk_host: Windows hibernated or shut down for a fast start${_asleep:+, in $_asleep}, and has it mounted (shutdown /s /f /t 0 there, or read-only here)"
}
