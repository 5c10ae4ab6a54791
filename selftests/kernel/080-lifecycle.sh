#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900 long
#
# Attach, detach, suspend, resume, reload: nothing is lost while I/O runs, and
# nothing is left when all is over.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img fio python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir
for k in a b; do
	qemu-img create -q -f vpc -o force_size=on "$dir/$k.vhd" 64M
done
n=$(sectors "$dir/a.vhd")
a=$(vhd_line rw "$dir/a.vhd")
b=$(vhd_line rw "$dir/b.vhd")

# ---------------------------------------------------------------------------
# Many times, and what is left after it.

cycles()
{
	"$vhd_lib/dm.py" cycles "$dm" "$1" "$n" "${a#0 * vdisk }"
}

# Objects in the caches whose names match; shrinking first gives back what is
# only kept at hand, after which the figures are true.
objects()
{
	local slab sum=0 count size

	for slab in /sys/kernel/slab/$1; do
		[ -e "$slab/shrink" ] || continue
		echo 1 >"$slab/shrink"
		read -r count _ <"$slab/objects"
		read -r size <"$slab/object_size"
		sum=$((sum + count * size))
	done
	echo "$sum"
}

# Objects freed after a grace period take their time.
no_objects()
{
	local k

	for ((k = 0; k < 300; k++)); do
		[ "$(objects 'dm_vdisk*')" -ne 0 ] || return 0
		sleep 0.1
	done
	grep -H . /sys/kernel/slab/dm_vdisk*/objects
	return 1
}

# The least of some looks: others allocate and free all the time.
kmalloc_bytes()
{
	local k least='' now

	sync
	echo 3 >/proc/sys/vm/drop_caches
	for k in {1..3}; do
		now=$(objects 'kmalloc-[0-9]*')
		[ -n "$least" ] && [ "$least" -le "$now" ] || least=$now
	done
	echo "$least"
}

threads=$(pgrep -c "^vdisk" || true)
t "20 times" cycles 20
before=$(kmalloc_bytes)
t "200 times attached, written and detached" cycles 200
t "200 times: no table block is left" no_objects
# A device has kilobytes of its own: less is lost than one thing of it each.
after=$(kmalloc_bytes)
echo "# kmalloc: $before bytes before, $after after"
t "200 times: no memory is left" test $((after - before)) -lt $((200 * 512))
eq "200 times: no thread is left" "$(pgrep -c "^vdisk" || true)" "$threads"
t "200 times: the image is whole" "$vdisk" check "$dir/a.vhd"

# What was refused leaves as little.
refusals()
{
	local k

	for ((k = 0; k < 25; k++)); do
		! dmsetup load "$dm" --table "0 $((n + 1)) vdisk rw 1 1 $((n + 1)) vhd 1 $dir/a.vhd" 2>/dev/null || return 1
		! dmsetup load "$dm" --table "0 $n vdisk rw 1 1 $n vhd 1 $dir/missing" 2>/dev/null || return 1
		! dmsetup load "$dm" --table "$a 1 commit=0" 2>/dev/null || return 1
	done
}
dmsetup create "$dm" --notable
defer dm_gone "$dm"
before=$(kmalloc_bytes)
t "75 tables refused" refusals
t "75 refusals: no table block is left" no_objects
after=$(kmalloc_bytes)
echo "# kmalloc: $before bytes before, $after after"
t "75 refusals: no memory is left" test $((after - before)) -lt $((75 * 512))
dm_remove "$dm"

# ---------------------------------------------------------------------------
# While I/O runs.

# One verified writer after the other, until $dir/enough is there.
writers()
{
	while [ ! -e "$dir/enough" ]; do
		fio --name=v --filename="/dev/mapper/$dm" --size=48M --io_size=6M \
			--rw=randwrite --bsrange=512-256k --blockalign=512 --bs_unaligned=0 \
			--fsync=16 --verify=crc32c --do_verify=1 --verify_fatal=1 \
			--verify_backlog=64 --ioengine=libaio --iodepth=16 --direct=1 || return
	done
}

# Some writes more than before: the writers are at work.
written=0
io_goes_on()
{
	local k now stat

	stat=/sys/class/block/$(basename "$(readlink -f "/dev/mapper/$dm")")/stat
	for ((k = 0; k < 600; k++)); do
		now=$(awk '{ print $5 }' "$stat")
		if [ "$now" -gt $((written + 8)) ]; then
			written=$now
			return
		fi
		sleep 0.1
	done
	echo "nobody writes: $now"
	return 1
}

# disturbed DESCRIPTION COUNT FUNCTION: FUNCTION so many times while they write
disturbed()
{
	local description=$1 count=$2 function=$3 k pid status=0

	rm -f "$dir/enough"
	t "$description: attach" dm_create "$dm" "$a"
	written=0
	writers >"$dir/fio.out" 2>&1 &
	pid=$!
	for ((k = 0; k < count; k++)); do
		io_goes_on >"$dir/disturb.out" || break
		"$function" >"$dir/disturb.out" 2>&1 || break
	done
	eq "$description: $count times" "$k $(cat "$dir/disturb.out")" "$count "
	# Who writes cannot end while the device is suspended.
	dmsetup resume "$dm"
	touch "$dir/enough"
	wait "$pid" || status=$?
	[ "$status" -eq 0 ] || sed 's/^/# /' "$dir/fio.out"
	eq "$description: every byte was verified" "$status" 0
	eq "$description: the device is well" "$(dmsetup status "$dm" | cut -d ' ' -f 4-5)" "rw ok"
	dm_remove "$dm"
	at_rest "$description" "$dir/a.vhd"
}

suspend_resume()
{
	dmsetup suspend "$dm" && dmsetup resume "$dm"
}

suspend_noflush()
{
	dmsetup suspend --noflush --nolockfs "$dm" && dmsetup resume "$dm"
}

reload()
{
	dmsetup suspend "$dm" && dmsetup load "$dm" --table "$a" && dmsetup resume "$dm"
}

# The new table is there before the old one is at rest.
reload_early()
{
	dmsetup load "$dm" --table "$a" && dmsetup suspend "$dm" && dmsetup resume "$dm"
}

# From one way of I/O to the other and back.
reload_changed()
{
	local options

	for options in " 1 buffered" " 2 buffered commit=100" ""; do
		dmsetup load "$dm" --table "$a$options" && dmsetup suspend "$dm" &&
			dmsetup resume "$dm" || return
	done
}

disturbed "suspend and resume" 12 suspend_resume
disturbed "suspend without flush" 12 suspend_noflush
disturbed "reload" 12 reload
disturbed "reload, loaded early" 12 reload_early
disturbed "reload, direct and buffered" 4 reload_changed

# ---------------------------------------------------------------------------
# Another image under the same device.

vhd_sums()
{
	qemu-img convert -f vpc -O raw "$1" "$dir/sums.raw"
	sha "$dir/sums.raw"
}

swap()
{
	dmsetup load "$dm" --table "$1" && dmsetup suspend "$dm" && dmsetup resume "$dm"
}

t "swap: attach the first" dm_create "$dm" "$a"
t "swap: write to it" rio write "/dev/mapper/$dm" 1 20 max=64k
t "swap: load the second" dmsetup load "$dm" --table "$b"
fails "swap: the first is taken" dmsetup create "$dm-2" --table "$a"
fails "swap: the second is taken" dmsetup create "$dm-2" --table "$b"
dmsetup clear "$dm"
t "swap: cleared, the second is free" dm_create "$dm-2" "$b"
dm_remove "$dm-2"
fails "swap: cleared, the first is not" dmsetup create "$dm-2" --table "$a"
t "swap: go over to the second" swap "$b"
t "swap: the first is free" dm_create "$dm-2" "$a"
t "swap: write to both" rio write "/dev/mapper/$dm" 2 20 max=64k
sum=$(sha "/dev/mapper/$dm")
first=$(sha "/dev/mapper/$dm-2")
dm_remove "$dm-2"
t "swap: back to the first" swap "$a"
eq "swap: the first has what it had" "$(sha "/dev/mapper/$dm")" "$first"
eq "swap: the second has what was written" "$(vhd_sums "$dir/b.vhd")" "$sum"

# A table may be good when it is loaded and bad when it is needed.
t "resume that fails: load the second" dmsetup load "$dm" --table "$b"
cp "$dir/b.vhd" "$dir/b.saved"
truncate -s 1000 "$dir/b.vhd"
dmsetup suspend "$dm"
fails "resume that fails: it does" dmsetup resume "$dm"
t "resume that fails: the first again" dmsetup load "$dm" --table "$a"
t "resume that fails: resume" dmsetup resume "$dm"
eq "resume that fails: nothing is lost" "$(sha "/dev/mapper/$dm")" "$first"
dm_remove "$dm"
cp "$dir/b.saved" "$dir/b.vhd"
eq "the first image" "$(vhd_sums "$dir/a.vhd")" "$first"

# ---------------------------------------------------------------------------
# Nothing is left.

t "no table block is left" no_objects
t "no file is left open" umount "$dir"
if [ -n "${VDISK_VM:-}" ]; then
	t "the module goes" rmmod dm_vdisk
	eq "its caches went with it" "$(grep -c '^dm_vdisk' /proc/slabinfo || true)" 0
	t "and comes again" modprobe dm-vdisk
fi

ktap_end
