#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=1800 noisy
#
# Injected faults: memory that is not given and I/O that fails, while the module
# loads, and while images are attached, written and detached. Who asked gets an
# error or does without; nothing breaks, nothing leaks, and what was flushed
# before stays. Needs the kernel of `make check-debug`.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=../kernel/lib/vhd.sh
. "$test_lib/../kernel/lib/vhd.sh"
# shellcheck source=../kernel/lib/small.sh
. "$test_lib/../kernel/lib/small.sh"

need_module
need_tool
need_cmd qemu-img python3 strip
need_disk 1G disk
debugfs=/sys/kernel/debug
kinds=(failslab fail_page_alloc fail_make_request)
for kind in "${kinds[@]}"; do
	[ -d "$debugfs/$kind" ] || skip_all "no fault injection in this kernel"
done
sweep=$VDISK_TOP/selftests/debug/sweep.py
rounds=1
export STEP=9
[ -z "${VDISK_LONG:-}" ] || rounds=12 STEP=1
seed=${VDISK_SEED:-1}

scratch work
scratch_fs ext4 "$disk" dir

# ---------------------------------------------------------------------------
# Which requests may fail, and how many in a hundred of them do.

set_all()
{
	local kind

	for kind in "${kinds[@]}"; do
		[ ! -e "$debugfs/$kind/$1" ] || echo "$2" >"$debugfs/$kind/$1"
	done
}

disarm()
{
	set_all probability 0
}

# Those of our own code, and of what it calls.
only_ours()
{
	local base length

	read -r _ length _ _ _ base _ < <(grep '^dm_vdisk ' /proc/modules)
	set_all require-start "$base"
	set_all require-end "$(printf '0x%x' $((base + length)))"
}

anybody()
{
	set_all require-start 0
	set_all require-end 0xffffffffffffffff
}

set_all verbose 0
set_all times -1
set_all interval 1
set_all stacktrace-depth 32
set_all ignore-gfp-wait N
set_all ignore-gfp-highmem N
set_all min-order 0
defer disarm

# ---------------------------------------------------------------------------
# Images.

around()
{
	case $3 in
	before) cp --sparse=always "$work/pristine" "$2" ;;
	after) checked "$1" "$2" ;;
	esac
}
export -f around checked
export vdisk work

# sweeps FORMAT: one request after the other, until none is left. This kernel does
# not ask the filter there.
sweeps()
{
	local format=$1 image=$dir/$1.image said sectors params

	rm -f "$image"
	make_image "$format" "$work/pristine"
	cp "$work/pristine" "$image"
	params=$("$vdisk" table -f "$format" "$image")
	sectors=$(cut -d ' ' -f 2 <<<"$params")
	params=${params#* * vdisk }
	anybody
	said=$("$sweep" attach "$dm" "$sectors" "$params" 2>&1) || said="failed: $said"
	t "$format: attach: ${said//$'\n'/; }" test "${said#failed}" = "$said"
	t "$format: attach: the image is as it was" cmp "$work/pristine" "$image"
	said=$("$sweep" detach "$dm" "$sectors" "$params" \
		bash -c 'around "$@"' - "$format" "$image" 2>&1) || said="failed: $said"
	t "$format: detach: ${said//$'\n'/; }" test "${said#failed}" = "$said"
	dm_gone "$dm"
	rm -f "$image" "$work/pristine"
}

# faulty NAME FORMAT IMAGE KIND PERCENT: write while requests fail at random
faulty()
{
	local name=$1 format=$2 image=$3 kind=$4 percent=$5 health

	rm -f "$work/journal"
	t "$name: attach" attach "$dm" -f "$format" -o commit=200 "$image"
	t "$name: write" stamps write "/dev/mapper/$dm" \
		"$work/journal" "$seed" 40 max=300
	echo "$percent" >"$debugfs/$kind/probability"
	t "$name: write while some fail" stamps write "/dev/mapper/$dm" \
		"$work/journal" $((seed + 1)) 160 max=300 errors=1
	disarm
	health=$(dmsetup status "$dm" | cut -d ' ' -f 5)
	case $health in
	ok)
		t "$name: writing goes on" stamps write "/dev/mapper/$dm" \
			"$work/journal" $((seed + 2)) 40 max=300
		;;
	flush-failed | table-write-failed)
		fails "$name: $health: nothing is written" dd if=/dev/zero \
			of="/dev/mapper/$dm" bs=4k count=1 oflag=direct
		t "$name: $health: it reads" dd if="/dev/mapper/$dm" of=/dev/null bs=1M
		;;
	*) fail "$name: the health is $health" ;;
	esac
	t "$name: detach" dmsetup remove --retry "$dm"
	t "$name: check finds nothing worse than a leak" checked "$format" "$image"
	t "$name: what was flushed is there" holds "$format" "$image"
}

in_file()
{
	local format=$1 kind=$2 percent=$3

	rm -f "$dir/image"
	make_image "$format" "$dir/image"
	only_ours
	echo 1 >"/sys/block/${disk#/dev/}/make-it-fail"
	faulty "$format in a file, $kind $percent %" "$format" "$dir/image" "$kind" "$percent"
	echo 0 >"/sys/block/${disk#/dev/}/make-it-fail"
}

# Below there is no file system, and any bio may fail.
on_device()
{
	local format=$1 kind=$2 percent=$3

	make_image "$format" "$work/image"
	blkdiscard -f "$disk" 2>/dev/null
	dd if="$work/image" of="$disk" bs=64k conv=fsync status=none
	rm "$work/image"
	if [ "$kind" = fail_make_request ]; then anybody; else only_ours; fi
	echo 1 >"/sys/block/${disk#/dev/}/make-it-fail"
	faulty "$format on a device, $kind $percent %" "$format" "$disk" "$kind" "$percent"
	echo 0 >"/sys/block/${disk#/dev/}/make-it-fail"
}

# ---------------------------------------------------------------------------

rmmod dm_vdisk
strip -g -o "$work/dm-vdisk.ko" "$VDISK_MODULE"
anybody
said=$("$sweep" load "$work/dm-vdisk.ko" 60 2>&1) || said="failed: $said"
t "the module loads or not: ${said//$'\n'/; }" test "${said#failed}" = "$said"
modprobe dm-vdisk

formats=("${small_formats[@]}")
for format in "${formats[@]}"; do
	sweeps "$format"
done
for ((round = 0; round < rounds; round++)); do
	for format in "${formats[@]}"; do
		in_file "$format" failslab $((2 + round * 3))
		in_file "$format" fail_page_alloc $((3 + round * 4))
		in_file "$format" fail_make_request $((1 + round))
	done
	seed=$((seed + 10))
done
umount "$dir"
for ((round = 0; round < rounds; round++)); do
	for format in "${formats[@]}"; do
		on_device "$format" failslab $((2 + round * 3))
		on_device "$format" fail_make_request $((1 + round))
	done
	seed=$((seed + 10))
done

ktap_end
