# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Small images of all formats with many units, whose sectors say who wrote them
# (stamps.py); on top of vhd.sh. $work is a directory of the test's.
#
#	small_formats            their names
#	$size                    bytes of the disk
#	make_image FORMAT IMAGE
#	checked FORMAT IMAGE [OPTION...]  vdisk check finds nothing worse than a leak,
#	                         but for what a crash may leave: a mark, and a
#	                         grain table's copy that is not written yet
#	holds FORMAT IMAGE [OPTION...]    what $work/journal says was flushed
#	stamps ARG...            stamps.py

small_formats=(vhd vmdk parallels qed)
size=$((12 << 20))

make_image()
{
	case $1 in
	vhd) vhd_py make "$2" size="$size" block=65536 ;;
	vmdk) qemu-img create -q -f vmdk "$2" "$size" ;;
	parallels) qemu-img create -q -f parallels -o cluster_size=65536 "$2" "$size" ;;
	qed) qemu-img create -q -f qed -o cluster_size=16384,table_size=1 "$2" "$size" ;;
	esac
}

checked()
{
	local found status=0

	found=$("$vdisk" check "${@:3}" -f "$1" "$2") || status=$?
	echo "$found"
	case $status in
	0 | 3) ;;
	2)
		! grep -E '^ERROR |^\.\.\. and' <<<"$found" |
			grep -vxE 'ERROR (Image was not closed|Grain table and its copy differ: [0-9]+)'
		;;
	*) return 1 ;;
	esac
}

holds()
{
	rm -f "$work/raw"
	"$vdisk" convert "${@:3}" -f "$1" "$2" "$work/raw" &&
		stamps verify "$work/journal" "$work/raw"
}

stamps()
{
	"$vhd_lib/stamps.py" "$@"
}
