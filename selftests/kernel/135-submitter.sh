#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G disk=512M smp=2 timeout=400
#
# map() runs in the task of whoever submits a bio. Its file size limit, its
# transaction, its lists of bios and its control group are not the image's; and a
# worker that takes over does so in the name of the bio's control group.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_cmd qemu-img python3 mkfs.ext4 mkfs.xfs mkfs.btrfs fallocate
need_disk 1G disk
need_disk 512M small
device=/dev/mapper/$dm
scratch work
scratch_fs ext4 "$disk" dir
mkdir "$work/up"

# Field N of the status line: mode health layers direct queued are 4 to 8.
status()
{
	dmsetup status "${2:-$dm}" | cut -d ' ' -f "$1"
}

well()
{
	[ "$(status 4-5)" = "rw ok" ] || { dmsetup status "$dm"; return 1; }
}

raw_line()
{
	echo "0 $2 vdisk rw 1 1 $2 raw 1 $1"
}

# What a process with a limit of 1 MiB writes into its own small files.
cat >"$work/limited.py" <<'END'
import os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
signal.signal(signal.SIGXFSZ, lambda *a: print("SIGXFSZ", flush=True))
for k in range(8):
    d = os.path.join(sys.argv[1], "d%d" % k)
    os.makedirs(d, exist_ok=True)
    fd = os.open(os.path.join(d, "f"), os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"N" * 65536, 0)
    os.fsync(fd)
END

limits()
{
	dd if=/dev/zero of="$dir/raw" bs=1M count=128 conv=fsync status=none
	dm_create "$dm" "$(raw_line "$dir/raw" 262144)"
	t "limit: a direct write far behind it" bash -c "ulimit -f 1024
		dd if=/dev/zero of=$device bs=4k count=1 seek=25600 oflag=direct conv=notrunc status=none"
	mkfs.ext4 -q -F -E nodiscard "$device"
	mount "$device" "$work/up"
	t "limit: small files, and fsync" python3 "$work/limited.py" "$work/up"
	t "limit: the device is well" well
	sync
	umount "$work/up"
	mount "$device" "$work/up"
	t "limit: the files are there" bash -c \
		"for f in $work/up/d?/f; do cmp -n 65536 \$f <(tr '\\0' N </dev/zero) || exit 1; done"
	umount "$work/up"
	dm_remove "$dm"

	# And of whoever suspends the device: tables lie far behind the limit.
	qemu-img create -q -f vpc -o force_size=on "$dir/l.vhd" 64M
	dm_create "$dm" "0 131072 vdisk rw 1 1 131072 vhd 1 $dir/l.vhd 1 commit=3600000"
	head -c 1M /dev/urandom >"$work/data"
	for k in 1 3 5; do
		dd if="$work/data" of="$device" bs=1M seek=$((8 * k)) oflag=direct conv=notrunc status=none
	done
	t "limit: suspend" bash -c "ulimit -f 4; dmsetup suspend $dm"
	t "limit: resume" bash -c "ulimit -f 4; dmsetup resume $dm"
	t "limit: the device is well after a suspend" well
	t "limit: and has what was written" cmp -n 1M -i 40M:0 "$device" "$work/data"
	bash -c "ulimit -f 4; dmsetup remove $dm"
	rm "$dir/raw" "$dir/l.vhd"
}

# A host whose file system must begin a transaction for each block of the image
# that is written first, below guests that write inside of one of their own.
transactions()
{
	local fs image=$dir/alloc

	for fs in ext4 xfs btrfs; do
		rm -f "$image"
		fallocate -l 320M "$image"
		dm_create "$dm" "$(raw_line "$image" 655360)"
		case $fs in
		ext4) mkfs.ext4 -q -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 "$device" ;;
		xfs) mkfs.xfs -q -K "$device" ;;
		btrfs) mkfs.btrfs -q -K "$device" ;;
		esac
		mount "$device" "$work/up"
		make_tree "$work/up" 60 "${#fs}" 400000
		sync
		tree_sha "$work/up" >"$work/want"
		umount "$work/up"
		mount "$device" "$work/up"
		tree_sha "$work/up" >"$work/have"
		t "$fs over blocks that are allocated and not written" \
			cmp "$work/want" "$work/have"
		umount "$work/up"
		t "$fs: the device is well" well
		dm_remove "$dm"
	done
	rm "$image"
}

# Metadata, and what a split above queued, is a worker's.
workers()
{
	local before n

	dd if=/dev/urandom of="$dir/a" bs=1M count=16 status=none
	cp "$dir/a" "$dir/b"
	sync
	dm_create "$dm" "$(raw_line "$dir/a" 32768)"
	before=$(status 8)
	dd if="$device" of=/dev/null bs=64k count=16 iflag=direct status=none
	eq "direct reads start in map()" "$(($(status 8) - before))" 0
	before=$(status 8)
	dd if="$device" of=/dev/null bs=64k count=16 status=none
	t "pages of the device's own cache: a worker reads" test "$(status 8)" -gt "$before"
	dm_remove "$dm"

	for n in a b; do
		dm_create "$dm-$n" "$(raw_line "$dir/$n" 32768)"
	done
	dm_create "$dm" "0 65536 striped 2 16 /dev/mapper/$dm-a 0 /dev/mapper/$dm-b 0"
	before=$(status 8 "$dm-a")
	dd if="$device" of="$work/striped" bs=1M count=4 iflag=direct status=none
	t "bios wait in the lists above: a worker reads" \
		test "$(status 8 "$dm-a")" -gt "$before"
	dm_remove "$dm"
	dd if="$dir/a" bs=8k count=1 skip=1 status=none >"$work/want"
	dd if="$work/striped" bs=8k count=1 skip=2 status=none >"$work/have"
	t "and reads what is there" cmp "$work/want" "$work/have"
	dm_remove "$dm-a"
	dm_remove "$dm-b"
	rm "$dir/a" "$dir/b"
}

# Bytes that a group wrote to the disk below, as its io.stat says.
written_by()
{
	awk -v dev="$(lsblk -dno MAJ:MIN "$disk" | tr -d ' '):" '
		$1 ":" == dev { sub(/.*wbytes=/, ""); print $1 + 0; f = 1 }
		END { if (!f) print 0 }' "$1/io.stat"
}

groups_()
{
	local root group

	scratch root
	mount -t cgroup2 none "$root" 2>/dev/null ||
		{ skip "control groups" "no cgroup2"; return; }
	defer umount "$root"
	if ! echo "+io +memory" >"$root/cgroup.subtree_control" 2>/dev/null; then
		skip "control groups" "no io controller in cgroup2"
		return
	fi
	group=$root/vdisk-test
	mkdir "$group"
	defer rmdir "$group"
	qemu-img create -q -f vpc -o force_size=on "$dir/g.vhd" 256M
	dm_create "$dm" "0 524288 vdisk rw 1 1 524288 vhd 1 $dir/g.vhd"
	bash -c "echo \$\$ >$group/cgroup.procs
		exec dd if=/dev/zero of=$device bs=1M count=8 oflag=direct conv=fsync status=none"
	t "new blocks are written in the name of the writer's group" \
		test "$(written_by "$group")" -ge $((8 << 20))
	mkfs.ext4 -q -E nodiscard "$device"
	mount "$device" "$work/up"
	before=$(written_by "$group")
	bash -c "echo \$\$ >$group/cgroup.procs
		dd if=/dev/zero of=$work/up/f bs=1M count=8 status=none
		exec sync -f $work/up/f"
	t "write-back is in the name of the group whose pages they are" \
		test $(($(written_by "$group") - before)) -ge $((8 << 20))
	umount "$work/up"
	dm_remove "$dm"
}

limits
transactions
workers
groups_
ktap_end
