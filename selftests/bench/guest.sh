#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: icount memory=4G timeout=99999
#
# The guest's part of make bench: carries out the plan that the host wrote, a
# contestant, its image and its workloads a line, and prints a "# result" line
# for each figure. What they are is said in selftests/bench/plan.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scale.sh
. "$(dirname "$0")/scale.sh"

need_module
need_tool
need_cmd fio jq qemu-nbd qemu-img python3
bench_job

# The host reads these; tabs separate the cells.
result()
{
	printf '# result %s\t%s\t%s\n' "$@"
}

# timed VAR WORKLOAD OPTION...: for a while, over and over.
timed()
{
	workload "$2" &&
		measure "$1" "${words[@]}" --time_based --runtime="$window" "${@:3}"
}

# Into an image that has nothing, then one flush, which is in the figure.
allocating()
{
	measure "$1" --rw=randwrite --bs=4k --iodepth=32 --size=256M \
		--io_size=16M --end_fsync=1
}

# Each unit once, nothing of it in any memory.
cold()
{
	echo 3 >/proc/sys/vm/drop_caches
	measure "$1" --rw=read --bs=128k --iodepth=8 --size=16M
}

# A range small enough for every cache.
cached()
{
	warm 8 "${@:2}" && timed "$1" read-32 --size=8M
}

buffered()
{
	dd if="$target" of=/dev/null bs=1M count=8 status=none &&
		timed "$1" read-32 --size=8M --direct=0 --invalidate=0
}

# figure VAR WORKLOAD
figure()
{
	case $2 in
	read-* | write-* | seq) timed "$1" "$2" ;;
	seq-frag) timed "$1" seq ;;
	hole | layers-*) timed "$1" read-32 ;;
	packed) timed "$1" write-32 ;;
	alloc) allocating "$1" ;;
	cold) cold "$1" ;;
	cached) cached "$1" ;;
	buffered) buffered "$1" ;;
	*) echo "# no workload $2"; return 1 ;;
	esac
}

# What has to be there before the contestant is made.
stage()
{
	local k

	case $2 in
	layers-*)
		for ((k = 0; k < ${2#layers-}; k++)); do
			staged "chain-$k.qed" || return
		done
		;;
	alloc)
		rm -f "$files/$1"
		[ "$1" != empty.raw ] || truncate -s 256M "$files/$1"
		;;
	esac
}

# Those that measure a first use must not be read before.
begin()
{
	case $1 in
	alloc | cold | cached | buffered) ;;
	*) warm ;;
	esac
}

# carry_out CONTESTANT IMAGE WORKLOAD...
carry_out()
{
	local contestant=$1 image=${2#-} each instructions

	stage "$image" "$3" && up "$contestant" "$image" && begin "$3" || {
		fail "$contestant: made"
		down
		return
	}
	for each in "${@:3}"; do
		if figure instructions "$each"; then
			pass "$contestant: $each"
			result "$each" "$contestant" "$instructions"
		else
			fail "$contestant: $each"
		fi
	done
	down
	[ "$3" != alloc ] || rm -f "$files/$image"
}

echo "# kernel $(uname -r)"
bench_fs files 1500
while read -r -u 3 contestant image workloads; do
	if [ "$contestant" = scale ]; then
		# shellcheck disable=SC2086
		scale $workloads
	else
		# shellcheck disable=SC2086
		carry_out "$contestant" "$image" $workloads
	fi
done 3<"$VDISK_TOP/selftests/build/bench/plan"
ktap_end
