# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Images as large as goals or formats go: what it costs to attach one, in
# instructions and in memory, and what their tables take under random reads.
# The file system is XFS: QED's file is larger than one of ext4 may be.
#
#	scale FORMAT...

scale_copies=8

# In bytes, of all kinds; what files have in memory is given back first. Free
# pages that wait on a processor's lists are not in MemFree, megabytes of them.
memory_free()
{
	sync
	echo 1 >/proc/sys/vm/drop_caches
	awk '/^MemFree:/ { bytes += $2 * 1024 }
	     $1 == "count:" { bytes += $2 * 4096 }
	     END { printf "%.0f", bytes }' /proc/meminfo /proc/zoneinfo
}

# Of a command and of what it ran, in nanoseconds, which are instructions.
# Waiting does not count, nor what udev does afterwards.
process_time()
{
	python3 - "$@" <<-'END'
	import resource, subprocess, sys
	subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
	used = resource.getrusage(resource.RUSAGE_CHILDREN)
	print(round((used.ru_utime + used.ru_stime) * 1e9))
	END
}

# scale_many COMMAND...: bytes that each of some devices takes; COMMAND makes
# one, and is given its name.
scale_many()
{
	local before after k

	before=$(memory_free)
	for ((k = 0; k < scale_copies; k++)); do
		"$@" "$bench_dm-$k" || return
	done
	udevadm settle
	after=$(memory_free)
	for ((k = 0; k < scale_copies; k++)); do
		dm_gone "$bench_dm-$k"
	done
	udevadm settle
	echo $(((before - after) / scale_copies))
}

zero_named()
{
	dmsetup create "$1" --table "0 204800 zero"
}

attach_named()
{
	"$vdisk" attach --read-only "$2" "$1" >/dev/null
}

scale_load()
{
	local before after status=0

	"$vdisk" attach --read-only "$bench_dm" "$1" >/dev/null || return
	udevadm settle
	before=$(memory_free)
	target=/dev/mapper/$bench_dm
	bench_fio --rw=randread --bs=4k --iodepth=32 --size=100% --time_based \
		--runtime=1s >/tmp/fio.log 2>&1 || status=$?
	after=$(memory_free)
	dm_gone "$bench_dm"
	[ "$status" -eq 0 ] || { cat /tmp/fio.log >&2; return "$status"; }
	echo $((before - after))
}

scale_one()
{
	local file=$scale_dir/big.$1 instructions bytes load

	"$bench_lib/scale.py" "$1" "$file" || return
	# The first use reads the program from the host.
	attach_named "$file" "$bench_dm" && dm_gone "$bench_dm" || return
	instructions=$(process_time "$vdisk" attach "$bench_dm" "$file") || return
	dm_gone "$bench_dm"
	udevadm settle
	bytes=$(scale_many attach_named "$file") && load=$(scale_load "$file") || return
	result attach "$1" "$instructions"
	result attach-bytes "$1" $((bytes - scale_plain))
	result load-bytes "$1" "$load"
}

scale()
{
	local format scale_disk scale_dir scale_plain

	bench_disk scale_disk 1000
	scratch_fs xfs "$scale_disk" scale_dir
	# A first time for what the system makes once; what any device takes.
	scale_many zero_named >/dev/null
	scale_plain=$(scale_many zero_named)
	result attach-bytes zero "$scale_plain"
	for format in "$@"; do
		if scale_one "$format"; then
			pass "scale: $format"
		else
			fail "scale: $format"
		fi
		rm -f "$scale_dir/big.$format"
	done
}
