#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=128M timeout=120
#
# Writes that need a new table and a new unit, and find the disk full: what each of
# them had taken is given back, so that nothing of it is left in the image, however
# often it is tried, and by however many at a time.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img mkfs.ext4 fallocate
need_disk 128M disk
device=/dev/mapper/$dm
scratch_fs ext4 "$disk" dir
image=$dir/image

# try COUNT FROM: 64 KiB in so many places, each far from the others.
try()
{
	local k

	for ((k = $2; k < $2 + $1; k++)); do
		! dd if=/dev/urandom of="$device" bs=64k count=1 seek=$((k * 512 * 4)) \
			oflag=direct status=none 2>/dev/null || echo "write $k succeeded"
	done
}

try_many()
{
	local k

	for k in 1 2 3 4 5 6; do
		try 6 $((100 + k * 8)) &
	done
	wait
}

# A stream has only those tables that are needed, each less than a unit long.
make_image()
{
	case $1 in
	stream)
		truncate -s 64G "$dir/empty"
		"$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized \
			"$dir/empty" "$image"
		rm "$dir/empty"
		;;
	*) qemu-img create -q -f "$1" "$image" 64G ;;
	esac
}

for format in stream qed; do
	make_image "$format"
	attach "$dm" "$image" >/dev/null
	t "$format: one write" dd if=/dev/urandom of="$device" bs=64k count=1 \
		oflag=direct status=none
	sync
	fallocate -l 120M "$dir/fill" 2>/dev/null ||
		dd if=/dev/zero of="$dir/fill" bs=64k status=none 2>/dev/null || true
	dd if=/dev/zero of="$dir/fill2" bs=1k status=none 2>/dev/null || true
	sync
	eq "$format: no write succeeds on a full disk" "$(try 24 8)" ''
	eq "$format: nor do many at a time" "$(try_many)" ''
	rm "$dir"/fill*
	sync
	t "$format: with space again, one write" dd if=/dev/urandom of="$device" bs=64k \
		count=1 seek=$((5 * 512 * 4)) oflag=direct status=none
	t "$format: detach" "$vdisk" detach "$dm"
	t "$format: nothing has leaked" "$vdisk" check "$image"
	rm "$image"
done
ktap_end
