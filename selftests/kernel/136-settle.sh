#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G disk=512M timeout=560 alone
#
# What a suspend could not bring into the files is lost, and is told: the device
# fails, the table that follows fails, nothing of it comes back later. An error
# that speaks of many writes is not swallowed by one of them. And the times of the
# file move when, and only when, it was written.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img python3 blkdiscard mkfs.xfs mkfs.ext4 fallocate fsfreeze
need_disk 1G disk
need_disk 512M small
device=/dev/mapper/$dm
scratch work

health()
{
	dmsetup status "$dm" | cut -d ' ' -f 4-5
}

flush()
{
	python3 -c "import os; os.fsync(os.open('$device', os.O_RDWR))"
}

# Room that a failed device could not cut off is leaked (3), no more.
undamaged()
{
	local status=0

	"$vdisk" check "$1" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ]
}

fill_up()
{
	local k

	dd if=/dev/zero of="$1/fill" bs=1M 2>/dev/null || true
	for k in 1 2 3; do
		dd if=/dev/zero of="$1/fill$k" bs=4k 2>/dev/null || true
		sync
	done
}

# Table sectors that a reflink shares need space to be written.
epoch_of_a_vhd()
{
	local dir=$work/xfs image line

	mkfs.xfs -q -f -m reflink=1 -d size=320m "$disk"
	mkdir "$dir"
	mount "$disk" "$dir"
	defer umount "$dir"
	image=$dir/a.vhd
	qemu-img create -q -f vpc -o force_size=on "$image" 64M
	line="0 131072 vdisk rw 1 1 131072 vhd 1 $image 1 commit=3600000"
	head -c 8M /dev/urandom >"$work/data"
	dm_create "$dm" "$line"
	dd if="$work/data" of="$device" bs=1M oflag=direct status=none
	dm_remove "$dm"
	cp --reflink=always "$image" "$dir/b.vhd"
	sync
	dm_create "$dm" "$line"
	dd if="$work/data" of="$device" bs=1M seek=16 count=1 oflag=direct status=none
	blkdiscard -o 2M -l 2M "$device"
	fill_up "$dir"
	dmsetup suspend "$dm"
	eq "vhd: the suspend that had no space fails the device" "$(health)" \
		"ro commit-failed"
	rm "$dir"/fill*
	sync
	t "vhd: resume" dmsetup resume "$dm"
	eq "vhd: it stays failed" "$(health)" "ro commit-failed"
	fails "vhd: a flush says so" flush
	fails "vhd: so does a write" dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct
	t "vhd: what was flushed before is there, nothing discarded by halves" \
		cmp -n 8M "$device" "$work/data"

	# Another table of the device is told, and the one after that is not.
	dmsetup load "$dm" --table "$line"
	dmsetup suspend "$dm"
	t "vhd: a new table" dmsetup resume "$dm"
	eq "vhd: a failed device has told: the next table is well" "$(health)" "rw ok"
	head -c 2M /dev/urandom >"$work/new"
	dd if="$work/new" of="$device" bs=1M seek=2 oflag=direct conv=notrunc,fsync status=none
	dd if="$work/data" of="$device" bs=1M seek=32 count=2 oflag=direct conv=notrunc,fsync status=none
	sleep 2
	t "vhd: no unit has two owners" cmp -i 2M:0 -n 2M "$device" "$work/new"
	dm_remove "$dm"
	t "vhd: no damage" undamaged "$image"
	rm "$dir/b.vhd"
}

next_table()
{
	local dir=$work/xfs image=$work/xfs/a.vhd line

	line="0 131072 vdisk rw 1 1 131072 vhd 1 $image 1 commit=3600000"
	cp --reflink=always "$image" "$dir/b.vhd"
	sync
	dm_create "$dm" "$line"
	dd if="$work/data" of="$device" bs=1M seek=48 count=1 oflag=direct status=none
	fill_up "$dir"
	dmsetup load "$dm" --table "$line"
	dmsetup suspend "$dm"
	rm "$dir"/fill*
	sync
	t "next: resume with the table that was loaded" dmsetup resume "$dm"
	eq "next: it is told what the table before it lost" "$(health)" "ro commit-failed"
	fails "next: a flush says so" flush
	dmsetup load "$dm" --table "$line"
	dmsetup suspend "$dm"
	dmsetup resume "$dm"
	eq "next: once" "$(health)" "rw ok"
	dm_remove "$dm"
	t "next: no damage" undamaged "$image"
}

# The tool changes no file of a device that lost something, and does not detach one
# that would.
by_the_tool()
{
	local dir=$work/xfs image=$work/xfs/a.vhd

	cp --reflink=always "$image" "$dir/b.vhd"
	sync
	attach "$dm" -o commit=3600000 "$image" >/dev/null
	dd if="$work/data" of="$device" bs=1M seek=54 count=1 oflag=direct conv=notrunc status=none
	fill_up "$dir"
	one "tool: detach without space" "has no space in its file" "$vdisk" detach "$dm"
	eq "tool: the device is there" "$(health)" "rw ok"
	one "tool: no snapshot of what would be lost" "Device has failed: commit-failed" \
		"$vdisk" snapshot "$dm" "$work/child.vhd"
	t "tool: nor a child" test ! -e "$work/child.vhd"
	eq "tool: the device is not suspended" \
		"$(dmsetup info -c --noheadings -o suspended "$dm")" Active
	rm "$dir"/fill*
	sync
	t "tool: detach what has failed" "$vdisk" detach "$dm"
	t "tool: no damage" undamaged "$image"
}

# A mark that stays in the image is no reason to keep the device suspended.
marks()
{
	local dir=$work/tmp format

	mkdir "$dir"
	mount -t tmpfs -o size=24M tmpfs "$dir"
	defer umount "$dir"
	for format in qed parallels; do
		qemu-img create -q -f $format "$dir/t" 64M
		fallocate -d "$dir/t"
		dm_create "$dm" "0 131072 vdisk rw 1 1 131072 $format 1 $dir/t 1 commit=3600000"
		dd if=/dev/urandom of="$device" bs=64k count=1 seek=512 oflag=direct status=none
		dd if=/dev/zero of="$dir/fill" bs=4k 2>/dev/null || true
		dmsetup suspend "$dm"
		rm "$dir/fill"
		t "$format: resume" dmsetup resume "$dm"
		if [ "$(health)" = "rw ok" ]; then
			t "$format: nothing was lost" flush
		else
			eq "$format: it failed" "$(health)" "ro commit-failed"
			fails "$format: a flush says so" flush
			t "$format: it can be read" dd if="$device" of=/dev/null bs=1M status=none
		fi
		dm_remove "$dm"
		rm "$dir/t"
	done
}

# write_back HOW: a write is acknowledged, its write-back fails, and then comes
# one that is to be durable (fua), or none.
write_back()
{
	local how=$1 len=$((128 << 11)) under=/dev/mapper/$dm-under

	dm_create "$dm-under" "0 $len linear $small 0"
	mkfs.ext4 -q -F -O ^has_journal "$under"
	mkdir -p "$work/low"
	mount "$under" "$work/low"
	dd if=/dev/zero of="$work/low/raw" bs=1M count=16 conv=fsync status=none
	dm_create "$dm" "0 32768 vdisk rw 1 1 32768 raw 1 $work/low/raw 1 buffered"
	python3 - "$device" "$dm-under" "$len" "$small" "$how" >"$work/out" <<-'END'
	import mmap, os, subprocess, sys
	dev, under, length, disk, how = sys.argv[1:]
	def table(line):
	    subprocess.check_call(["dmsetup", "suspend", "--noflush", "--nolockfs", under])
	    subprocess.check_call(["dmsetup", "load", under, "--table", line])
	    subprocess.check_call(["dmsetup", "resume", under])
	buf = mmap.mmap(-1, 4096); buf.write(b"A" * 4096)
	fd = os.open(dev, os.O_RDWR | os.O_DIRECT)
	os.fsync(fd)
	os.pwrite(fd, buf, 1 << 20)
	table(f"0 {length} flakey {disk} 0 0 3600 1 error_writes")
	subprocess.call(["sync"])
	table(f"0 {length} linear {disk} 0")
	if how == "fua":
	    try:
	        os.pwrite(os.open(dev, os.O_RDWR | os.O_DIRECT | os.O_DSYNC), buf, 8 << 20)
	        print("fua ok")
	    except OSError:
	        print("fua failed")
	try:
	    os.fsync(fd)
	    print("flush ok")
	except OSError:
	    print("flush failed")
	END
	t "$how: the flush after it fails" grep -qx "flush failed" "$work/out"
	eq "$how: the device failed" "$(health)" "ro flush-failed"
	dm_remove "$dm"
	umount "$work/low"
	dm_remove "$dm-under"
}

# A device below that fails flushes, and so writes with FUA; the image in a file
# and on the device itself.
durable_write()
{
	local len=$((128 << 11)) under=/dev/mapper/$dm-under where line

	for where in file device; do
		dm_create "$dm-under" "0 $len linear $small 0"
		if [ "$where" = file ]; then
			mkfs.ext4 -q -F -O ^has_journal "$under"
			mount "$under" "$work/low"
			dd if=/dev/zero of="$work/low/raw" bs=1M count=16 conv=fsync status=none
			line="0 32768 vdisk rw 1 1 32768 raw 1 $work/low/raw"
		else
			line="0 32768 vdisk rw 1 1 32768 raw 1 $under"
		fi
		dm_create "$dm" "$line"
		dmsetup suspend --noflush --nolockfs "$dm-under"
		dmsetup load "$dm-under" --table "0 $len flakey $small 0 0 3600 1 error_writes"
		dmsetup resume "$dm-under"
		fails "$where: a durable write fails" dd if=/dev/zero of="$device" bs=4k \
			count=1 seek=64 oflag=direct,dsync conv=notrunc
		eq "$where: nobody knows for how many: the device failed" "$(health)" \
			"ro flush-failed"
		dm_remove "$dm"
		dmsetup suspend --noflush --nolockfs "$dm-under"
		dmsetup load "$dm-under" --table "0 $len linear $small 0"
		dmsetup resume "$dm-under"
		[ "$where" = device ] || umount "$work/low"
		dm_remove "$dm-under"
	done
}

mtime()
{
	stat -c %Y.%y "$work/low/raw"
}

times()
{
	local line before now

	mkfs.ext4 -q -F "$small"
	mount "$small" "$work/low"
	defer umount "$work/low"
	dd if=/dev/zero of="$work/low/raw" bs=1M count=16 conv=fsync status=none
	touch -d "2001-01-01" "$work/low/raw"
	line="0 32768 vdisk rw 1 1 32768 raw 1 $work/low/raw"
	before=$(mtime)
	dm_create "$dm" "$line"
	dd if="$device" of=/dev/null bs=1M status=none
	flush
	dm_remove "$dm"
	eq "times: reading and a flush move none" "$(mtime)" "$before"
	dm_create "$dm" "$line"
	dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct conv=notrunc,fsync status=none
	now=$(mtime)
	t "times: the flush of a write moves them" test "$now" != "$before"
	dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct conv=notrunc,fsync status=none
	eq "times: not at each flush" "$(mtime)" "$now"
	dm_remove "$dm"
	t "times: the end does" test "$(mtime)" != "$now"

	# While the host's file system is frozen nothing of it changes.
	dm_create "$dm" "$line"
	dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct conv=notrunc status=none
	now=$(mtime)
	fsfreeze -f "$work/low"
	dmsetup suspend "$dm" &
	sleep 2
	eq "times: not while the file system is frozen" "$(mtime)" "$now"
	fsfreeze -u "$work/low"
	wait
	t "times: but then" test "$(mtime)" != "$now"
	dmsetup resume "$dm"
	eq "times: the device is well" "$(health)" "rw ok"
	dm_remove "$dm"
}

# A file that somebody cuts short does not read as zeroes; only what its last
# sector never had does.
cut_short()
{
	local line

	head -c $(((1 << 20) + 100)) /dev/urandom >"$work/low/odd"
	line="0 2049 vdisk ro 1 1 2049 raw 1 $work/low/odd"
	dmsetup create -r "$dm" --table "$line"
	defer dm_gone "$dm"
	dd if="$device" bs=512 skip=2048 count=1 iflag=direct status=none >"$work/last"
	t "short: the rest of the last sector is zero" cmp "$work/last" \
		<(tail -c 100 "$work/low/odd"; head -c 412 /dev/zero)
	truncate -s 512K "$work/low/odd"
	fails "short: what was cut off is an error" \
		dd if="$device" of=/dev/null bs=4k skip=200 count=1 iflag=direct
	t "short: what is there is read" \
		dd if="$device" of=/dev/null bs=4k count=128 iflag=direct status=none
	dm_remove "$dm"
}

epoch_of_a_vhd
next_table
by_the_tool
marks
write_back fua
write_back none
durable_write
times
cut_short
ktap_end
