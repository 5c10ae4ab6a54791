# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What goes into an initramfs, whoever makes it. Read after vdisktab.sh, by the hook
# of initramfs-tools and by the module of dracut.

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

# vdisk_host_word: vdisk_name and vdisk_image of a line of the table, the way
# rd.vdisk= tells it. The path counts from the root of the file system.
vdisk_host_word()
{
	_path=$(realpath -e "$vdisk_image" 2>/dev/null) || return 1
	_root=$(findmnt -nvo FSROOT -T "$_path") || return 1
	_target=$(findmnt -nvo TARGET -T "$_path")
	_uuid=$(findmnt -nvo UUID -T "$_path")
	_source=$(findmnt -nvo SOURCE -T "$_path")
	printf '%s:%s:%s' "$vdisk_name" "${_uuid:+UUID=}${_uuid:-$_source}" \
		"$(printf '%s' "${_root%/}/${_path#"${_target%/}"/}" | sed 's/:/\\072/g; s/ /\\040/g')"
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
		if _word=$(vdisk_host_word); then
			printf '%s:%s\n' "$_word" "$4"
		else
			echo "vdisk: $1: $_number: Cannot tell the file system of: $vdisk_image" >&2
		fi
	done <"$1"
}
