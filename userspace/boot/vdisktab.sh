# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Words of /etc/vdisktab and of rd.vdisk=, for POSIX shells of any size: the
# systemd generator, the initramfs hooks and what runs in an initramfs read them
# here. Functions that fail leave one line in $vdisk_why.

vdisk_nl='
'

# vdisk_bad WHAT: what is wrong, for who asked
vdisk_bad()
{
	vdisk_why=$1
	return 1
}

# vdisk_plain WORD: \040 is a space, as in fstab; other backslashes stay.
vdisk_plain()
{
	case $1 in
	*\\[0-7][0-7][0-7]*)
		printf '%b' "$(printf '%s' "$1" | sed -e 's/\\\([0-7][0-7][0-7]\)/\n\1/g' \
			-e 's/\\/\\\\/g' -e 's/\n/\\0/g')" ;;
	*)
		printf '%s' "$1" ;;
	esac
}

# vdisk_field WORD: no control character, as it is or as \012. A newline would end a
# line of a unit; \000 would be lost on the way.
vdisk_field()
{
	case $1 in
	*[[:cntrl:]]*)
		vdisk_bad "Control character, as of a line that ends in CR LF: $(
			printf '%s' "$1" | tr '[:cntrl:]' '?')" ;;
	*\\0[0-3][0-7]* | *\\177*)
		vdisk_bad "Control character: $1" ;;
	*\\[4-7][0-7][0-7]*)
		vdisk_bad "Not a byte after the backslash: $1" ;;
	esac
}

# vdisk_name_ok NAME: the names that libdevmapper gives to a device as they are. Others
# it writes in another way, and who compares them with this name finds no device.
vdisk_name_ok()
{
	case $1 in
	'' | . | .. | control | *[!a-zA-Z0-9#+.:=@_-]*)
		vdisk_bad "Not a name for a device: $1" ;;
	*)
		[ ${#1} -le 127 ] ||
			vdisk_bad "Name is longer than 127: ${#1}" ;;
	esac
}

# vdisk_path_ok PATH: absolute, and the same for systemd, which passes over what has
# . or .. in it.
vdisk_path_ok()
{
	case $1/ in
	//) vdisk_bad "Not an absolute path: $1" ;;
	*/./* | */../*) vdisk_bad "Path with . or .. in it: $1" ;;
	/*) ;;
	*) vdisk_bad "Not an absolute path: $1" ;;
	esac
}

# vdisk_options LIST: vdisk_args, what to tell `vdisk attach`, one word a line;
# vdisk_flags, the rest: " noauto nofail read-only ... ", with spaces around.
vdisk_options()
{
	_list=$1,
	vdisk_args='' vdisk_flags=' '
	_bad=''
	# All are read, for nofail may come after one that is wrong.
	while [ -n "$_list" ]; do
		_word=${_list%%,*}
		_list=${_list#*,}
		vdisk_option "$_word" || _bad=${_bad:-$vdisk_why}
	done
	[ -z "$_bad" ] || { vdisk_bad "$_bad"; return; }
	if vdisk_has partitions && vdisk_has no-partitions; then
		vdisk_bad "Options contradict: partitions, no-partitions"
	fi
}

vdisk_option()
{
	vdisk_field "$1" || return
	_value=$(vdisk_plain "${1#*=}")
	case $1 in
	'' | defaults | auto | rw)
		return 0 ;;
	format=?*)
		vdisk_args="$vdisk_args--format$vdisk_nl$_value$vdisk_nl" ;;
	allow-path=/?*)
		vdisk_path_ok "$_value" || return
		vdisk_args="$vdisk_args--allow-path$vdisk_nl$_value$vdisk_nl" ;;
	size=?* | commit=?* | prealloc_size=?* | prealloc_mode=?* | enospc=?* | buffered)
		vdisk_args="$vdisk_args--options$vdisk_nl$1$vdisk_nl" ;;
	read-only | readonly | ro)
		vdisk_flags="${vdisk_flags}read-only "
		vdisk_args="$vdisk_args--read-only$vdisk_nl" ;;
	partitions | no-partitions | trusted)
		vdisk_flags="$vdisk_flags$1 "
		vdisk_args="$vdisk_args--$1$vdisk_nl" ;;
	noauto | nofail | _netdev | x-initrd.attach)
		vdisk_flags="$vdisk_flags$1 " ;;
	*)
		vdisk_bad "Unknown option: $1" ;;
	esac
}

# vdisk_has FLAG: was it among the options?
vdisk_has()
{
	case $vdisk_flags in
	*" $1 "*) return 0 ;;
	*) return 1 ;;
	esac
}

# vdisk_line LINE: a line of the table as vdisk_name, vdisk_image, and what
# vdisk_options sets. 2: nothing is said in this line.
vdisk_line()
{
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	case ${1:-} in
	'' | '#'*) return 2 ;;
	esac
	vdisk_flags=' '
	[ $# -le 3 ] || { vdisk_bad "More than three fields: $4"; return; }
	vdisk_field "$1" || return
	vdisk_name=$(vdisk_plain "$1")
	vdisk_name_ok "$vdisk_name" || return
	[ $# -ge 2 ] || { vdisk_bad "No image is named for the device: $1"; return; }
	vdisk_field "$2" || return
	vdisk_image=$(vdisk_plain "$2")
	vdisk_path_ok "$vdisk_image" || return
	vdisk_options "${3:-}"
}

# vdisk_word NAME:HOST:/PATH[:OPTIONS]: what rd.vdisk= says, as vdisk_name,
# vdisk_host, vdisk_image, and what vdisk_options sets. HOST may have colons.
vdisk_word()
{
	_rest=${1#*:}
	vdisk_flags=' '
	case $1 in
	?*:?*:/?*) ;;
	*) vdisk_bad "Not NAME:HOST:/PATH"; return ;;
	esac
	vdisk_field "$1" || return
	vdisk_name=$(vdisk_plain "${1%%:*}")
	vdisk_name_ok "$vdisk_name" || return
	vdisk_host=$(vdisk_plain "${_rest%%:/*}")
	case $vdisk_host in
	UUID=?* | LABEL=?* | PARTUUID=?* | PARTLABEL=?* | /dev/?*) ;;
	*) vdisk_bad "Neither a device nor UUID=, LABEL=, PARTUUID=: $vdisk_host"; return ;;
	esac
	_rest=/${_rest#*:/}
	vdisk_image=$(vdisk_plain "${_rest%%:*}")
	vdisk_path_ok "$vdisk_image" || return
	case $_rest in
	*:*) vdisk_options "${_rest#*:}" ;;
	*) vdisk_options '' ;;
	esac
}
