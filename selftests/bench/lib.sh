# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The guest's part of the figures, on top of kernel-test.sh: devices that are
# compared, and fio on them. The guest's clock counts instructions (# VM:
# icount), so a billion by IOPS is instructions per I/O. It must be booted with
# idle=poll: else the clock leaps from timer to timer while the guest waits for
# the host, and every time limit in it is over at once.
#
#	bench_job VAR...         the words that the host wrote for this run
#	bench_disk VAR MIB       a null_blk device with memory behind it that
#	                         completes after its submitter has gone
#	bench_fs VAR MIB         a directory on such a device, ext4
#	up CONTESTANT IMAGE_DIR  make it; its device or file is $target then
#	down                     and remove it
#	warm                     read the range once, so that tables are in memory
#	measure VAR OPTION...    instructions per I/O of fio with these options
#
# Contestants:
#	null linear zero         the device, dm-linear on it, dm-zero
#	raw                      a file, by the file system
#	loop loop-buffered       a loop device on that file
#	vhd vmdk qed parallels   vdisk on a file
#	vhd-disk ...             vdisk on a device that holds the image
#	nbd-vhd ...              qemu-nbd on a file
#	vduse-vhd ...            qemu-storage-daemon on a file, by VDUSE

bench_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bench_images=$VDISK_TOP/selftests/build/bench/images
bench_dm=vdisk-bench
bench_disks=0
bench_prefix=()
# What they all work on, and the size of a disk that holds it.
range_mib=64
disk_mib=66
window=${window:-200ms}

bench_job()
{
	# shellcheck source=/dev/null
	. "$VDISK_TOP/selftests/build/bench/job"
}

# The size is in MiB. Timer interrupts complete the requests, 10 microseconds
# later: a device that completes inside its submission flatters everybody.
bench_disk()
{
	local config=/sys/kernel/config/nullb/nullb$bench_disks word

	modprobe null_blk nr_devices=0
	mkdir "$config"
	for word in size="$2" blocksize=512 memory_backed=1 irqmode=2 \
		completion_nsec=10000 submit_queues=1 power=1; do
		echo "${word#*=}" >"$config/${word%%=*}"
	done
	defer rmdir "$config"
	udevadm settle
	printf -v "$1" %s "/dev/nullb$bench_disks"
	bench_disks=$((bench_disks + 1))
}

bench_fs()
{
	local fs_disk

	bench_disk fs_disk "$2"
	scratch_fs ext4 "$fs_disk" "$1"
}

qemu_format()
{
	case $1 in
	vhd) echo vpc ;;
	*) echo "$1" ;;
	esac
}

# copied SOURCE FILE: in whole, so that no block of it is still to be written.
copied()
{
	dd if="$1" of="$2" bs=1M oflag=direct conv=fsync status=none 2>/dev/null ||
		dd if="$1" of="$2" bs=1M conv=fsync status=none
}

# staged NAME: the image in $files, copied there once.
staged()
{
	[ -e "$files/$1" ] || copied "$bench_images/$1" "$files/$1"
}

# The disk for images directly on it, and of null and linear. It is written
# once: what was never written costs less to read, and more to write.
spare_disk()
{
	[ -z "${spare:-}" ] || return 0
	bench_disk spare $((disk_mib + 6)) && copied "$bench_images/disk.raw" "$spare"
}

loop_up()
{
	staged disk.raw &&
		target=$(losetup -f --show --direct-io="$1" "$files/disk.raw") &&
		undo=(losetup -d "$target")
}

nbd_up()
{
	modprobe nbd nbds_max=4 max_part=0
	target=/dev/nbd0
	qemu-nbd --fork -c "$target" -f "$1" --cache=none --aio=native \
		--discard=unmap "$2" && undo=(nbd_gone "$target")
}

# A daemon's file goes some time after the command that ends it has come back.
wait_gone()
{
	local k

	for ((k = 0; k < 100; k++)); do
		[ -e "$1" ] || return 0
		sleep 0.05
	done
}

nbd_gone()
{
	qemu-nbd -d "$1" >/dev/null
	wait_gone "/sys/block/${1##*/}/pid"
}

# A virtio disk of the kernel's, of which a program has the other side.
vduse_up()
{
	modprobe -a vduse virtio_vdpa &&
		qemu-storage-daemon --daemonize --pidfile /tmp/vduse.pid \
			--blockdev "driver=file,node-name=file,filename=$2,cache.direct=on,aio=native" \
			--blockdev "driver=$1,node-name=disk,file=file,cache.direct=on" \
			--export "vduse-blk,id=it,node-name=disk,name=$bench_dm,writable=on" ||
		return
	undo=(vduse_gone)
	vdpa dev add name "$bench_dm" mgmtdev vduse && udevadm settle &&
		target=$(echo "/sys/bus/vdpa/devices/$bench_dm/virtio"*/block/*) &&
		target=/dev/${target##*/} && [ -b "$target" ]
}

vduse_gone()
{
	vdpa dev del "$bench_dm"
	kill "$(cat /tmp/vduse.pid)"
	wait_gone /tmp/vduse.pid
}

vdisk_up()
{
	"$vdisk" attach "$bench_dm" "$@" >/dev/null &&
		target=/dev/mapper/$bench_dm undo=(dm_gone "$bench_dm")
}

table_up()
{
	dmsetup create "$bench_dm" --table "$1" &&
		target=/dev/mapper/$bench_dm undo=(dm_gone "$bench_dm")
}

# up CONTESTANT [IMAGE]: the image is a name in $files, or will be.
up()
{
	local format=${1#nbd-} image=${2:-}

	format=${format#vduse-}
	format=${format%-disk}
	image=${image:-disk.$format}
	undo=()
	case $1 in
	null) spare_disk && target=$spare ;;
	linear)
		spare_disk &&
			table_up "0 $((disk_mib * 2048)) linear $spare 0"
		;;
	zero) table_up "0 $((disk_mib * 2048)) zero" ;;
	raw) staged "$image" && target=$files/$image ;;
	loop) loop_up on ;;
	loop-buffered) loop_up off ;;
	nbd-*) staged "$image" && nbd_up "$(qemu_format "$format")" "$files/$image" ;;
	vduse-*) staged "$image" && vduse_up "$(qemu_format "$format")" "$files/$image" ;;
	*-disk)
		spare_disk && copied "$bench_images/$image" "$spare" &&
			vdisk_up "$spare"
		;;
	*) staged "$image" && vdisk_up "$files/$image" ;;
	esac && udevadm settle
}

down()
{
	sync
	[ ${#undo[@]} -eq 0 ] || "${undo[@]}"
	undo=()
	udevadm settle
}

# warm [MIB]
warm()
{
	dd if="$target" of=/dev/null bs=1M count="${1:-$range_mib}" iflag=direct \
		status=none
}

# workload NAME: its words, as fio has them, in $words.
workload()
{
	case $1 in
	read-1) words=(--rw=randread --bs=4k --iodepth=1) ;;
	read-32) words=(--rw=randread --bs=4k --iodepth=32) ;;
	write-1) words=(--rw=randwrite --bs=4k --iodepth=1) ;;
	write-32) words=(--rw=randwrite --bs=4k --iodepth=32) ;;
	seq) words=(--rw=read --bs=128k --iodepth=8) ;;
	*) echo "# no workload $1"; return 1 ;;
	esac
}

# bench_fio OPTION...: JSON; begun by $bench_prefix. No map of what was hit, no time of each I/O: they
# cost instructions, and are not what is measured.
bench_fio()
{
	"${bench_prefix[@]}" fio --name=bench --filename="$target" --direct=1 --ioengine=libaio \
		--norandommap --randrepeat=1 --gtod_reduce=1 --output-format=json \
		--size="${range_mib}M" "$@"
}

# Nanoseconds are instructions; fio counts milliseconds.
per_io()
{
	jq '[.jobs[0].read, .jobs[0].write] |
		(map(.runtime) | max) * 1e6 / (map(.total_ios) | add) | round'
}

measure()
{
	local json got

	udevadm settle
	json=$(bench_fio "${@:2}" 2>&1) && got=$(sed -n '/^{/,$p' <<<"$json" | per_io) ||
		{ echo "# fio: $json"; return 1; }
	printf -v "$1" %s "$got"
}
