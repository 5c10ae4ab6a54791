# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of all formats share, on top of kernel-test.sh. An image is a
# directory: DIR/top says what to open, DIR/expected is what its disk holds.
#
#	handmade, images_py      the programs; see there
#	top DIR                  the image to open
#	each_attached WHAT DIR... -- [ARG...]  attach all that are there, with ARGs
#	each_reads WHAT COUNT DIR...   a point for each: the disk is DIR/expected
#	each_writes WHAT COUNT DIR... [KEY=VALUE...]  the same, after writes
#	each_detached DIR...
#	qemu_made DIR            what qemu-img can make, a directory each
#	qemu_format NAME         as what qemu-img can be trusted with the image
#	each_examined DIR...     the file holds DIR/expected: as vdisk convert and,
#	                         where it can be trusted, qemu-img read it; checks
#	                         find nothing worse than leaks
#	parents DIR              files that no write to the image may change
#	parent_sums DIR...       of all of these

images_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1

handmade()
{
	"$images_lib/../../lib/handmade.py" "$@"
}

images_py()
{
	"$images_lib/images.py" "$@"
}

top()
{
	cat "$1/top"
}

# each_at_once WHAT FUNCTION DIR...: FUNCTION DIR for each, a few at the same
# time since most of it is waiting, and then a point for each.
each_at_once()
{
	local what=$1 function=$2 where jobs=()

	shift 2
	for where in "$@"; do
		{ "$function" "$where" && echo ok; } >"$where/said" 2>&1 &
		jobs+=($!)
		[ $((${#jobs[@]} % 4)) -ne 0 ] || wait "${jobs[@]}" || true
	done
	wait "${jobs[@]}" || true
	for where in "$@"; do
		eq "${where##*/}: $what" "$(cat "$where/said")" ok
	done
}

attach_one()
{
	"$vdisk" attach "$dm-${1##*/}" ${attach_args[@]+"${attach_args[@]}"} \
		"$(top "$1")" >"$1/device"
}

detach_one()
{
	"$vdisk" detach "$dm-${1##*/}"
}

each_attached()
{
	local what=$1 dirs=() where attach_args

	shift
	while [ "$1" != -- ]; do
		dirs+=("$1")
		defer dm_gone "$dm-${1##*/}"
		shift
	done
	attach_args=("${@:2}")
	each_at_once "$what" attach_one "${dirs[@]}"
}

# Many disks by one program, which takes longer to start than to read one; two
# of them, since reading is waiting as well.
each_point()
{
	local verb=$1 what=$2 count=$3 pairs=() keys=() half where said

	shift 3
	for where in "$@"; do
		if [ "${where#/}" = "$where" ]; then
			keys+=("$where")
		else
			pairs+=("$where=/dev/mapper/$dm-${where##*/}")
		fi
	done
	half=$(((${#pairs[@]} + 1) / 2))
	while read -r where said; do
		eq "${where##*/}: $what" "$said" ok
	done < <(images_py "$verb" 1 "$count" "${pairs[@]:0:half}" "${keys[@]}" 2>&1 &
		images_py "$verb" 1 "$count" "${pairs[@]:half}" "${keys[@]}" 2>&1
		wait)
}

each_reads()
{
	each_point read "$@"
}

each_writes()
{
	each_point write "$@"
}

each_detached()
{
	each_at_once "detach" detach_one "$@"
}

# Noise, zeroes and holes, not a multiple of anything.
make_content()
{
	python3 - "$1" "$2" "$3" <<-'END'
	import random, sys
	path, sectors, rnd = sys.argv[1], int(sys.argv[2]), random.Random(sys.argv[3])
	with open(path, "wb") as f:
	    at = 0
	    while at < sectors:
	        n = min(rnd.choice((1, 7, 128, 300, 2048)), sectors - at)
	        if rnd.randrange(2):
	            f.seek(at * 512)
	            f.write(rnd.randbytes(n * 512))
	        at += n
	    f.truncate(sectors * 512)
	END
}

# one DIR NAME FORMAT SUFFIX [OPTION...]
qemu_one()
{
	local where=$1/$2

	mkdir "$where"
	ln -s ../content "$where/expected"
	echo "$where/disk.$4" >"$where/top"
	qemu-img convert -q -f raw -O "$3" "${@:5}" "$1/content" "$where/disk.$4"
}

# The child has every sector that is not zero; where the parent is longer or
# holds others, zeroes are what the child has to hide it with.
qemu_child()
{
	local where=$1/$2

	mkdir "$where"
	qemu-img convert -q -f raw -O "$3" "$1/parent" "$where/parent.$3"
	qemu-img create -q -f "$3" -b "parent.$3" -F "$3" "${@:4}" "$where/disk.$3" 6M
	cp "$1/parent" "$where/expected"
	truncate -s 6M "$where/expected"
	qemu-io -f "$3" -c 'write -P 1 60k 200k' -c 'write -P 2 3M 64k' \
		-c 'write -P 3 2560512 1536' -c 'write -P 4 6290944 512' \
		"$where/disk.$3" >"$where/log"
	qemu-io -f raw -c 'write -P 1 60k 200k' -c 'write -P 2 3M 64k' \
		-c 'write -P 3 2560512 1536' -c 'write -P 4 6290944 512' \
		"$where/expected" >"$where/log"
	echo "$where/disk.$3" >"$where/top"
}

qemu_made()
{
	local all=$1

	make_content "$all/content" 8001 content
	make_content "$all/parent" 5003 parent
	qemu_one "$all" q-parallels parallels hds
	qemu_one "$all" q-parallels-64k parallels hds -o cluster_size=64k
	qemu_one "$all" q-parallels-63k parallels hds -o cluster_size=64500
	qemu_one "$all" q-vhd vpc vhd
	qemu_one "$all" q-vhd-exact vpc vhd -o force_size=on
	qemu_one "$all" q-vhd-fixed vpc vhd -o subformat=fixed
	qemu_one "$all" q-vhd-fixed-exact vpc vhd -o subformat=fixed,force_size=on
	qemu_one "$all" q-vmdk vmdk vmdk
	qemu_one "$all" q-vmdk-zero vmdk vmdk -o zeroed_grain=on
	qemu_one "$all" q-vmdk-6 vmdk vmdk -o compat6=on
	qemu_one "$all" q-vmdk-adapter vmdk vmdk \
		-o adapter_type=lsilogic,hwversion=8,toolsversion=1
	qemu_one "$all" q-vmdk-flat vmdk vmdk -o subformat=monolithicFlat
	qemu_one "$all" q-vmdk-split vmdk vmdk -o subformat=twoGbMaxExtentSparse
	qemu_one "$all" q-vmdk-split-flat vmdk vmdk -o subformat=twoGbMaxExtentFlat
	qemu_one "$all" q-vmdk-stream vmdk vmdk -o subformat=streamOptimized
	qemu_one "$all" q-qed qed qed
	qemu_one "$all" q-qed-4k qed qed -o cluster_size=4k,table_size=16
	qemu_child "$all" q-vmdk-child vmdk
	qemu_child "$all" q-vmdk-split-child vmdk -o subformat=twoGbMaxExtentSparse
	qemu_child "$all" q-qed-child qed
	rm "$all/parent"
}

handmade_list=$(handmade list)

# handmade_with WORD: the images by hand that have it in their list
handmade_with()
{
	awk -v word="$1" '{ for (i = 2; i <= NF; i++) if ($i == word) print $1 }' \
		<<<"$handmade_list"
}

qemu_format()
{
	case $1 in
	q-parallels*) echo parallels ;;
	q-vhd*) echo vpc ;;
	q-vmdk*) echo vmdk ;;
	q-qed*) echo qed ;;
	*)
		awk -v name="$1" '$1 == name' <<<"$handmade_list" |
			sed -n 's/.* qemu:\([a-z0-9]*\).*/\1/p'
		;;
	esac
}

# Leaks are no damage: they may be there where units were given back. Nor is a
# footer that was not there before, as long as the file has not grown.
checked()
{
	local status=0

	"$@" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ] ||
		[[ $status -eq 2 && ${*: -1} = */vhd-copy-only/* ]]
}

examine_one()
{
	local where=$1 image qemu

	image=$(top "$where")
	qemu=$(qemu_format "${where##*/}")
	"$vdisk" convert "$image" "$where/got" && cmp "$where/got" "$where/expected" &&
		checked "$vdisk" check "$image" >"$where/check" || return
	rm "$where/got"
	[ -n "$qemu" ] || return 0
	qemu-img compare -q -f "$qemu" -F raw "$image" "$where/expected" || return
	case $qemu in
	vmdk | qed | parallels)
		checked qemu-img check -q -f "$qemu" "$image"
		;;
	esac
}

each_examined()
{
	each_at_once "the file holds what was written" examine_one "$@"
}

parents()
{
	local where=$1 name=${1##*/}

	case $name in
	qed-raw | qed-qed | cowd-child) find "$where" -name '*-base*' ;;
	q-*child) find "$where" -name 'parent.*' ;;
	vhd-diff*) find "$where" -name '*.vhd' ! -path "$(top "$where")" ;;
	bundle-plain | bundle-split) find "$where" -name '*.hds' ! -name '*00000003*' ;;
	bundle-packed) find "$where" -name '*00000001*' ;;
	qed64) find "$where" -name 'chain-*.qed' ! -name chain-63.qed ;;
	vhd32) find "$where" -name 'chain-*.vhd' ! -name chain-31.vhd ;;
	split) find "$where" -name 'base*' ;;
	esac
}

parent_sums()
{
	local where

	for where in "$@"; do
		parents "$where"
	done | LC_ALL=C sort | xargs -r sha256sum
}
