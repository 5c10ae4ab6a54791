# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of VHD images share, on top of kernel-test.sh.
#
#	rio, logwrites           the programs beside this file
#	vhd_py                   images by hand, single faults (see golden/vhd.py)
#	line MODE SECTORS LAYER... [-- OPTION...]  a table line, by hand; a layer is
#	                         "#extents extent..." in one string
#	vhd_line MODE IMAGE      the line of one VHD, without asking the tool
#	sectors IMAGE            of its disk, as qemu-img has it
#	same_disk DESCRIPTION IMAGE RAW  qemu-img finds the same disk in both
#	at_rest DESCRIPTION IMAGE [OPTION...]  a dynamic VHD as a device leaves it;
#	                         options are those of vdisk check
#	quoted PATH              as a table line has it

vhd_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1

rio()
{
	"$vhd_lib/rio.py" "$@"
}

logwrites()
{
	"$vhd_lib/logwrites.py" "$@"
}

vhd_py()
{
	"$vhd_lib/../../golden/vhd.py" "$@"
}

quoted()
{
	printf '%s' "$1" | sed 's/\\/\\134/g; s/ /\\040/g; s/\t/\\011/g; s/#/\\043/g'
}

line()
{
	local mode=$1 sectors=$2 layers=()

	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		layers+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	echo "0 $sectors vdisk $mode ${#layers[@]} ${layers[*]}${1+ $# $*}"
}

sectors()
{
	local bytes

	bytes=$(qemu-img info -U -f vpc --output=json "$1" |
		python3 -c 'import json, sys; print(json.load(sys.stdin)["virtual-size"])')
	echo $((bytes / 512))
}

vhd_line()
{
	local n

	n=$(sectors "$2")
	line "$1" "$n" "1 $n vhd 1 $(quoted "$2")"
}

same_disk()
{
	t "$1" qemu-img compare -q -U -f vpc -F raw "$2" "$3"
}

footers_agree()
{
	cmp <(tail -c 512 "$1") <(head -c 512 "$1")
}

at_rest()
{
	t "$1: check finds nothing" "$vdisk" check "${@:3}" "$2"
	t "$1: the footer is last, and like its copy" footers_agree "$2"
}
