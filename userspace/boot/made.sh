# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What goes into an initramfs, whoever makes it. Read after vdisktab.sh, host.sh and
# asleep.sh, by the hook of initramfs-tools and by the module of dracut.

# The file systems that images are likely to lie on.
# shellcheck disable=SC2034
vdisk_host_types="ext4 xfs btrfs vfat exfat ntfs3 fuse nls_cp437 nls_iso8859-1 nls_ascii nls_utf8"

# vdisk_tool: where it is installed
vdisk_tool()
{
	for _each in /usr/sbin/vdisk /usr/local/sbin/vdisk; do
		[ ! -x "$_each" ] || { echo "$_each"; return; }
	done
	return 1
}

# vdisk_fs_path PATH: the path as seen from the root of its file system, which is left in
# $vdisk_fs as rd.vdisk= would name it
vdisk_fs_path()
{
	_path=$(realpath -e "$1" 2>/dev/null) || return 1
	_root=$(findmnt -nvo FSROOT -T "$_path") || return 1
	_target=$(findmnt -nvo TARGET -T "$_path")
	_uuid=$(findmnt -nvo UUID -T "$_path")
	vdisk_fs=${_uuid:+UUID=}${_uuid:-$(findmnt -nvo SOURCE -T "$_path")}
	vdisk_fs_path=${_root%/}${_path#"${_target%/}"}
	vdisk_fs_path=${vdisk_fs_path:-/}
}

# vdisk_escaped TEXT: what separates words is \0nn
vdisk_escaped()
{
	printf '%s' "$1" | sed 's/:/\\072/g; s/ /\\040/g; s/,/\\054/g; s/\t/\\011/g'
}

# vdisk_host_options OPTIONS: the same, with the paths in them as seen from the root of
# $vdisk_fs
vdisk_host_options()
{
	_list=$1, _options='' _fs=$vdisk_fs
	while [ -n "$_list" ]; do
		_word=${_list%%,*}
		_list=${_list#*,}
		case $_word in
		allow-path=*)
			vdisk_fs_path "$(vdisk_plain "${_word#*=}")" && [ "$vdisk_fs" = "$_fs" ] || {
				vdisk_bad "Not on the file system of the image: $_word"
				return
			}
			_word=allow-path=$(vdisk_escaped "$vdisk_fs_path") ;;
		esac
		_options=$_options,$_word
	done
	vdisk_host_options=${_options#,}
}

# vdisk_made_list TABLE: what the initramfs shall attach without being told on the
# command line. Complaints go to standard error.
vdisk_made_list()
{
	_number=0
	[ -e "$1" ] || return 0
	while IFS= read -r _line || [ -n "$_line" ]; do
		_number=$((_number + 1))
		# What is wrong in another line, the generator says at boot.
		vdisk_line "$_line" && vdisk_has x-initrd.attach || continue
		# shellcheck disable=SC2086
		set -- "$1" $_line
		if ! vdisk_fs_path "$vdisk_image"; then
			echo "vdisk: $1: $_number: Cannot tell the file system of: $vdisk_image" >&2
			continue
		fi
		_named=$vdisk_name:$vdisk_fs:$(vdisk_escaped "$vdisk_fs_path")
		if vdisk_host_options "$4"; then
			printf '%s:%s\n' "$_named" "$vdisk_host_options"
		else
			echo "vdisk: $1: $_number: $vdisk_why" >&2
		fi
	done <"$1"
}

# vdisk_host_mounts TABLE: where the file systems are mounted that images lie on which the
# initramfs attaches
vdisk_host_mounts()
{
	for _each in "$vdisk_hosts"/*; do
		[ ! -d "$_each" ] || echo "$_each"
	done
	[ -e "$1" ] || return 0
	while IFS= read -r _line || [ -n "$_line" ]; do
		vdisk_line "$_line" && vdisk_has x-initrd.attach || continue
		findmnt -nvo TARGET -T "$vdisk_image"
	done <"$1"
}

# vdisk_host_devices TABLE: what is mounted there
vdisk_host_devices()
{
	vdisk_host_mounts "$1" | while read -r _each; do
		findmnt -nvo SOURCE -T "$_each"
	done
}

# vdisk_needed TABLE: is the root, for which the initramfs is made, in an image? Prints
# what says so.
vdisk_needed()
{
	for _each in "$vdisk_hosts"/*; do
		[ ! -d "$_each" ] || { echo "this system booted from the image ${_each##*/}"; return; }
	done
	case " $(cat "$vdisk_proc/cmdline" 2>/dev/null)" in
	*' rd.vdisk='*) echo "the kernel was started with rd.vdisk="; return ;;
	esac
	[ ! -e "$1" ] || while IFS= read -r _line || [ -n "$_line" ]; do
		vdisk_line "$_line" && vdisk_has x-initrd.attach || continue
		echo "$1 has x-initrd.attach"
		return
	done <"$1"
	for _each in SOURCE MAJ:MIN; do
		_root=$(findmnt -nvo "$_each" / 2>/dev/null | tr -d ' ') || continue
		case $_root in
		/*) ;;
		*) _root=$vdisk_sys/dev/block/$_root ;;
		esac
		if vdisk_is_image "$(readlink -f "$_root")"; then
			echo "the root is in an image"
			return
		fi
	done
	return 1
}
