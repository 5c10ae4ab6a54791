#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G disk=512M timeout=900 long
#
# Space: a file system that is full, how files grow, what is given back and found
# again, zeroes that hide a parent, what a flush costs, and a flush that fails.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img qemu-io python3 blkdiscard fallocate fio
need_disk 2G disk
need_disk 512M small
device=/dev/mapper/$dm
# The program for all formats, with more of each, is 350-space.sh.
formats=${space_formats:-vpc qed} writes=${space_writes:-1024}
timeout_file=/sys/module/dm_vdisk/parameters/no_space_timeout

# One field of the status line: mode health layers direct queued alloc commit
# fsync parked free are 4 to 13.
status()
{
	dmsetup status "$dm" | cut -d ' ' -f "$1"
}

# becomes FIELD VALUE: within ten seconds.
becomes()
{
	local k

	for ((k = 0; k < 100; k++)); do
		[ "$(status "$1")" != "$2" ] || return 0
		sleep 0.1
	done
	dmsetup status "$dm"
	return 1
}

make_image()
{
	local options=

	rm -f "$2"
	[ "$1" != vpc ] || options=force_size=on
	qemu-img create -q -f "$1" ${options:+-o $options} "$2" "$3"
}

mib()
{
	stat -c %s "$1" | awk '{ print int($1 / 1048576) }'
}

blocks()
{
	stat -c %b "$1"
}

# Leaks are no damage.
checked()
{
	local status=0

	"$vdisk" check "$1" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ]
}

scratch work
head -c $((24 << 20)) /dev/urandom >"$work/data"

# write_some MIB [SEEK]: of $work/data, each MiB where it is there.
write_some()
{
	dd if="$work/data" of="$device" bs=256k skip=$((${2:-0} * 4)) seek=$((${2:-0} * 4)) \
		count=$(($1 * 4)) oflag=direct status=none
}

# -------- the table line

scratch_fs ext4 "$disk" dir
image=$dir/image

options='prealloc_size=8192 prealloc_mode=falloc enospc=queue'
make_image qed "$image" 64M
line="0 131072 vdisk rw 1 1 131072 qed 1 $image"
t "options are taken" dm_create "$dm" "$line 3 $options"
eq "and printed" "$(dmsetup table "$dm")" "$line 3 $options"
t "what is printed loads again" dmsetup reload "$dm" --table "$(dmsetup table "$dm")"
t "removed" dm_remove "$dm"
for bad in prealloc_size=0 prealloc_size=x prealloc_size=4294967297 \
	prealloc_mode=no prealloc_mode enospc=maybe enospc= ; do
	fails "$bad is refused" dmsetup create "$dm" --table "$line 1 $bad"
done

# -------- how a file grows

for format in $formats; do
	make_image "$format" "$image" 128M
	t "$format: attach" attach "$dm" -o prealloc_size=32768 "$image"
	t "$format: one write" write_some 1
	t "$format: by truncate: as long as was asked for" test "$(mib "$image")" -ge 16
	t "$format: but without space" test "$(blocks "$image")" -lt 8192
	t "$format: detach" "$vdisk" detach "$dm"
	t "$format: trimmed" test "$(mib "$image")" -lt 8
	t "$format: attach" attach "$dm" -o prealloc_size=32768 \
		-o prealloc_mode=falloc "$image"
	t "$format: one write" write_some 1 8
	t "$format: by falloc: with all its space" test "$(blocks "$image")" -ge 32768
	t "$format: it reads what was written" cmp -n 1048576 "$device" "$work/data"
	t "$format: and zeroes beside it" cmp -i 1M -n 7M "$device" /dev/zero
	t "$format: detach" "$vdisk" detach "$dm"
	t "$format: trimmed" test "$(blocks "$image")" -lt 16384
	t "$format: check" "$vdisk" check "$image"
done

# -------- what was given back before is found again

# What lies behind it keeps the file's end where it is.
for format in $formats; do
	make_image "$format" "$image" 128M
	t "$format: attach" attach "$dm" "$image"
	t "$format: fill" write_some 16
	t "$format: delete" blkdiscard -o 2M -l 8M "$device"
	t "$format: detach" "$vdisk" detach "$dm"
	before=$(stat -c %s "$image")
	t "$format: attach again" attach "$dm" "$image"
	t "$format: one write" write_some 1 4
	# A VHD block is 2 MiB, the others have 64 KiB, Parallels 1 MiB.
	t "$format: free units are known" test "$(status 13)" -ge 3
	t "$format: write elsewhere" dd if="$work/data" of="$device" bs=1M count=6 \
		seek=64 oflag=direct status=none
	t "$format: detach" "$vdisk" detach "$dm"
	t "$format: the file has not grown" test "$(stat -c %s "$image")" -le "$before"
	t "$format: check finds nothing worse than a leak" checked "$image"
	t "$format: attach to read" attach "$dm" -r "$image"
	t "$format: what was kept" cmp -i 10M -n 6M "$device" "$work/data"
	t "$format: what was deleted" cmp -i 6M -n 4M "$device" /dev/zero
	t "$format: what was written" cmp -i 64M:0 -n 6M "$device" "$work/data"
	t "$format: detach" "$vdisk" detach "$dm"
done
rm "$image"

# -------- zeroes over a parent

# No way back to the block layer: it is told not to write zeroes itself.
head -c 16M "$work/data" >"$dir/base"
for format in vmdk qed parallels; do
	make_image "$format" "$image" 16M
	cp "$dir/base" "$dir/want"
	t "$format: above a raw file" dm_create "$dm" \
		"0 32768 vdisk rw 2 1 32768 raw 1 $dir/base 1 32768 $format 1 $image"
	write_some 1 12
	for range in 0:4096 1048576:3145728 8384512:8192 12582912:1048576 16773120:4096; do
		t "$format: zeroes at $range" fallocate --punch-hole \
			--offset "${range%:*}" --length "${range#*:}" "$device"
		fallocate --punch-hole --offset "${range%:*}" --length "${range#*:}" "$dir/want"
	done
	t "$format: zeroes are there, the rest is as it was" cmp "$device" "$dir/want"
	t "$format: removed" dm_remove "$dm"
	t "$format: check" checked "$image"
done
rm "$image" "$dir/base" "$dir/want"

# -------- what a flush costs

# How often the file system was asked to make the image durable, from the one who
# is asked.
tracing=/sys/kernel/tracing
mountpoint -q "$tracing" || mount -t tracefs none "$tracing"

trace_begin()
{
	echo >"$tracing/trace"
	echo 1 >"$tracing/events/ext4/ext4_sync_file_enter/enable"
}

trace_end()
{
	echo 0 >"$tracing/events/ext4/ext4_sync_file_enter/enable"
	grep -c "ext4_sync_file_enter.* ino $(stat -c %i "$image") " "$tracing/trace" || true
}

# The first write marks the image, and a VHD moves its footer when it grows.
for format in vpc qed; do
	make_image "$format" "$image" 1G
	t "$format: attach" attach "$dm" -o commit=3600000 -o prealloc_size=4194304 "$image"
	write_some 1
	sync "$device"
	before=$(status 11) alloc=$(status 9)
	trace_begin
	t "$format: random allocating writes" fio --name=w --filename="$device" \
		--rw=randwrite --bs=4k --number_ios="$writes" --size=1G --offset=2M \
		--ioengine=libaio --iodepth=32 --direct=1 --minimal --output="$work/fio" \
		--randseed=7 --end_fsync=0
	t "$format: many of them allocated" test "$(($(status 9) - alloc))" -gt 150
	eq "$format: no flush yet" "$(status 11)" "$before"
	sync "$device"
	t "$format: one flush is two at most" test "$(($(status 11) - before))" -le 2
	traced=$(trace_end)
	eq "$format: the file system has seen as many" "$traced" \
		"$(($(status 11) - before))"
	t "$format: detach" "$vdisk" detach "$dm"
done
rm "$image"

# On a device each write of a table says that it is one. No sector comes twice,
# and a block (of 4 KiB) only comes in two parts where something else, a grain
# directory between tables, lies in its middle.
events=$tracing/events/block/block_bio_queue

table_writes()
{
	awk '/block_bio_queue/ && $0 ~ / W[A-Z]*M/ {
			for (i = 1; $i != "+"; i++)
				;
			for (k = 0; k < $(i + 1); k++)
				twice += sector[$(i - 1) + k]++ > 0
			block[int($(i - 1) / 8)]
			n++
		}
		END { print n + 0, length(block), twice + 0 }' "$tracing/trace"
}

for format in $formats; do
	make_image "$format" "$work/empty" 256M
	dd if="$work/empty" of="$small" bs=64k conv=fsync status=none
	t "$format on a device: attach" attach "$dm" -f "$format" -o commit=3600000 "$small"
	write_some 1
	sync "$device"
	before=$(status 11)
	echo >"$tracing/trace"
	echo 4096 >"$tracing/buffer_size_kb"
	echo "dev == $((0x$(stat -Lc %t "$small") << 20 | 0x$(stat -Lc %T "$small"))) && rwbs ~ \"*M*\"" >"$events/filter"
	echo 1 >"$events/enable"
	t "$format on a device: random allocating writes" fio --name=w \
		--filename="$device" --rw=randwrite --bs=4k --number_ios="$writes" \
		--size=254M --offset=2M --ioengine=libaio --iodepth=32 --direct=1 \
		--minimal --output="$work/fio" --randseed=8 --end_fsync=0
	sync "$device"
	echo 0 >"$events/enable"
	echo 0 >"$events/filter"
	read -r count touched twice < <(table_writes)
	t "$format on a device: there were table writes" test "$count" -gt 0
	eq "$format on a device: no sector of a table was written twice" "$twice" 0
	t "$format on a device: $count writes for $touched blocks of tables" \
		test "$count" -le $((touched + 2))
	t "$format on a device: one flush is two at most" test "$(($(status 11) - before))" -le 2
	t "$format on a device: detach" "$vdisk" detach "$dm"
done

# -------- mkfs, fill, delete, fstrim

# A fresh copy has blocks where something else than zeroes is: so has an image
# from which all that was deleted was given back, but for what never was data.
trimmed()
{
	local format=$1 full copied fresh free

	make_image "$format" "$image" 512M
	t "$format: attach" attach "$dm" "$image"
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$device"
	mount "$device" "$inside"
	# ext4 puts directories of the root anywhere, and those of others nearby.
	mkdir "$inside/tree"
	make_tree "$inside/tree" 1500 3
	umount "$inside"
	t "$format: detach" "$vdisk" detach "$dm"
	full=$(stat -c %s "$image")
	cp --sparse=always "$image" "$dir/theirs"
	copied=$(blocks "$dir/theirs")
	qemu-io -f "$format" -d unmap -c "discard 0 512M" "$dir/theirs" >/dev/null 2>&1
	echo "# $format: $copied blocks, and $(blocks "$dir/theirs") when QEMU has discarded all"
	rm "$dir/theirs"
	t "$format: attach" attach "$dm" "$image"
	mount "$device" "$inside"
	rm -rf "${inside:?}"/tree/d*
	sync -f "$inside"
	t "$format: fstrim" fstrim "$inside"
	umount "$inside"
	t "$format: detach" "$vdisk" detach "$dm"
	t "$format: check finds nothing worse than a leak" checked "$image"
	qemu-img convert -f "$format" -O "$format" "$image" "$dir/fresh"
	fresh=$(blocks "$dir/fresh")
	t "$format: as small as a fresh copy: $(blocks "$image") and $fresh" \
		test $(($(blocks "$image") * 100)) -le $((fresh * 105))
	t "$format: attach" attach "$dm" "$image"
	mount "$device" "$inside"
	make_tree "$inside/tree" 1500 3
	umount "$inside"
	sync "$device"
	free=$(status 13)
	t "$format: detach" "$vdisk" detach "$dm"
	# The file system may use some more units now, its journal for one.
	t "$format: no longer than before, or all of it is used" \
		test "$(stat -c %s "$image")" -le "$full" -o "$free" -eq 0
	t "$format: hardly longer" test "$(($(stat -c %s "$image") * 100))" -le $((full * 101))
	t "$format: check finds nothing worse than a leak" checked "$image"
	rm "$dir/fresh" "$image"
}

scratch inside
for format in ${space_trim:+$formats}; do
	trimmed "$format"
done

# -------- no space

mkfs.ext4 -q -F -m 0 -O ^has_journal "$small" 24M
scratch tight
mount "$small" "$tight"
defer umount -q "$tight"
image=$tight/image

# 8 MiB are taken, and given back when the test says so.
fill()
{
	make_image "$1" "$image" 256M
	rm -f "$tight/filler"
	fallocate -l 8M "$tight/filler"
}

# How much could be written says dd; all of that is there.
until_full()
{
	LC_ALL=C dd if="$work/data" of="$device" bs=256k oflag=direct 2>"$work/dd" &&
		return 1
	grep -q 'No space left on device' "$work/dd" || { cat "$work/dd"; return 1; }
	cmp -n $(($(records) << 18)) "$device" "$work/data"
}

records()
{
	awk '/records out/ { print int($1) }' "$work/dd"
}

for format in $formats; do
	fill "$format"
	t "$format: attach" attach "$dm" "$image"
	t "$format: a full file system is told as such" until_full
	count=$(records)
	t "$format: there was room before" test "$count" -gt 20
	eq "$format: the status says so" "$(status 4-5)" "rw out-of-space"
	rm "$tight/filler"
	t "$format: there is space again" dd if="$work/data" of="$device" bs=256k \
		skip="$count" seek="$count" count=16 oflag=direct conv=fsync status=none
	eq "$format: the device is well" "$(status 4-5)" "rw ok"
	t "$format: all is there" cmp -n $(((count + 16) << 18)) "$device" "$work/data"
	t "$format: detach" "$vdisk" detach "$dm"
	t "$format: check finds nothing worse than a leak" checked "$image"
done

# wait_for_space FORMAT: starts a write of 18 MiB, which cannot end.
wait_for_space()
{
	fill "$1"
	t "$1: attach" attach "$dm" -o enospc=queue "$image"
	LC_ALL=C dd if="$work/data" of="$device" bs=256k count=72 oflag=direct 2>"$work/dd" &
	writer=$!
	t "$1: a write waits for space" waits
}

waits()
{
	becomes 5 out-of-space && becomes 12 1
}

# ended WANT WHAT: the write has ended by itself, for want of space or well.
ended()
{
	local status=0

	wait "$writer" || status=$?
	eq "$2" "$status" "$1"
	[ "$1" -eq 0 ] || t "$2, and says so" grep -q 'No space left on device' "$work/dd"
}

for format in vpc vmdk; do
	wait_for_space "$format"
	rm "$tight/filler"
	t "$format: it is tried again" dmsetup message "$dm" 0 retry
	ended 0 "$format: and ends well"
	becomes 5 ok
	eq "$format: nothing waits" "$(status 5,12)" "ok 0"
	t "$format: all is there" cmp -n 18M "$device" "$work/data"
	t "$format: detach" "$vdisk" detach "$dm"
done

wait_for_space qed
rm "$tight/filler"
ended 0 "it is tried again by itself"
t "detach" "$vdisk" detach "$dm"

wait_for_space qed
t "suspend ends it" dmsetup suspend "$dm"
ended 1 "for want of space"
t "resume" dmsetup resume "$dm"
t "detach" "$vdisk" detach "$dm"

wait_for_space parallels
t "suspend without flush takes it along" dmsetup suspend --noflush --nolockfs "$dm"
rm "$tight/filler"
t "resume" dmsetup resume "$dm"
ended 0 "it ends well"
t "all is there" cmp -n 18M "$device" "$work/data"
t "detach" "$vdisk" detach "$dm"

was=$(cat "$timeout_file")
echo 2 >"$timeout_file"
wait_for_space vpc
ended 1 "not for longer than the timeout"
eq "nothing waits" "$(status 4,5,12)" "rw out-of-space 0"
fails "the next one does not wait" dd if="$work/data" of="$device" bs=1M seek=100 \
	count=20 oflag=direct status=none
rm "$tight/filler"
t "there is space again" write_some 18
eq "the device is well" "$(status 4-5)" "rw ok"
t "detach" "$vdisk" detach "$dm"
echo "$was" >"$timeout_file"
fails "an unknown message" dmsetup message "$dm" 0 no-such-thing

# More than there is room for is wanted at once: what is needed is enough.
fill vpc
t "falloc of too much: attach" attach "$dm" -o prealloc_size=204800 \
	-o prealloc_mode=falloc "$image"
t "falloc of too much: there was room for less" write_some 8
t "falloc of too much: detach" "$vdisk" detach "$dm"
rm "$image" "$tight/filler"
umount "$tight"

# -------- the end of a device, and a flush that fails

uevents()
{
	python3 - "$work/uevents" <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
	s.bind((0, 1))
	s.settimeout(60)
	open(sys.argv[1] + ".ready", "w").close()
	while True:
	    text = s.recv(8192).decode(errors="replace").split("\0")
	    found = [x for x in text if x.startswith("DM_VDISK_HEALTH=")]
	    if found:
	        open(sys.argv[1], "w").write(found[0])
	        break
	END
}

modprobe -q dm-flakey || skip_all "no dm-flakey"
sectors=32768
lower="0 $sectors flakey $small 0"
t "a small device" dm_create "$dm-low" "$lower 1 0"
make_image qed "$work/qed" 256M
dd if="$work/qed" of="/dev/mapper/$dm-low" bs=64k conv=fsync status=none
# Nothing commits or takes the mark back by itself.
t "attach" dm_create "$dm" \
	"0 524288 vdisk rw 1 1 524288 qed 1 /dev/mapper/$dm-low 1 commit=3600000"
t "the end of a device is no space" until_full
count=$(records)
t "all of it could be used" test "$count" -gt 50
t "discard" blkdiscard -l 8M "$device"
sync "$device"
t "what was discarded is used" dd if="$work/data" of="$device" bs=1M count=2 seek=200 \
	oflag=direct conv=fsync status=none
eq "the device is well" "$(status 4-5)" "rw ok"

uevents &
listener=$!
until [ -e "$work/uevents.ready" ]; do sleep 0.1; done
write_some 1 12
dmsetup suspend "$dm-low"
dmsetup load "$dm-low" --table "$lower 0 1 1 error_writes"
dmsetup resume "$dm-low"
fails "a flush that fails is told" sync "$device"
eq "no more writes, and why" "$(status 4-5)" "ro flush-failed"
wait "$listener"
eq "a uevent says it" "$(cat "$work/uevents")" "DM_VDISK_HEALTH=flush-failed"
fails "writes fail" write_some 1 12
dmsetup suspend "$dm-low"
dmsetup load "$dm-low" --table "$lower 1 0"
dmsetup resume "$dm-low"
fails "also when the device is well again" write_some 1 12
t "reads do not" cmp -i 9M -n 1M "$device" "$work/data"
t "removed" dm_remove "$dm"
capture said fails "the image has kept its mark" dmsetup create "$dm" \
	--table "0 524288 vdisk rw 1 1 524288 qed 1 /dev/mapper/$dm-low"
t "and says so" grep -qF "Image was not closed" <<<"$said"
t "the small device is removed" dm_remove "$dm-low"

ktap_end
