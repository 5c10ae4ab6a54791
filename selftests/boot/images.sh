# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Images with the root in them, and the disk that they lie on. No file system is
# mounted here: disks are made from directories, and read by debugfs or in a VM.

make_vhd()
{
	host_type=ext4 image_name=disk.vhd
	"$vdisk" convert -f raw -O vhd "$raw" "$work/images/disk.vhd"
}

# Memory is a gigabyte; what of it is written is less.
make_sleep()
{
	make_vhd
	truncate -s 2G "$work/swap"
	mkswap -q -L sleep "$work/swap"
	more_disks=(-drive "file=$work/swap,if=none,id=swap,format=raw,cache=writeback"
		-device virtio-blk-pci,drive=swap)
}

# The root is the first partition. A name with ?offset= is one to e2fsck and debugfs.
make_parts()
{
	host_type=ext4 image_name=parts.vhd image_options=:partitions
	root_source=/dev/mapper/root1 root_at='?offset=1048576'
	dd if="$raw" of="$work/parts.raw" bs=1M seek=1 conv=sparse status=none
	echo 'start=2048, type=83' | sfdisk -q "$work/parts.raw"
	"$vdisk" convert -f raw -O vhd "$work/parts.raw" "$work/images/parts.vhd"
	rm "$work/parts.raw"
}

make_child()
{
	host_type=ext4 image_name=child.vhd
	"$vdisk" convert -f raw -O vhd "$raw" "$work/images/base.vhd"
	chmod 444 "$work/images/base.vhd"
	"$vdisk" create -f vhd -b base.vhd -F vhd "$work/images/child.vhd"
}

make_split()
{
	host_type=xfs image_name=disk.vmdk
	truncate -s 5G "$raw"
	"$vdisk" convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse "$raw" "$work/images/disk.vmdk"
}

make_stream()
{
	host_type=ext4 image_name=child.vmdk
	"$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized "$raw" "$work/images/base.vmdk"
	"$vdisk" create -f vmdk -b base.vmdk -F vmdk "$work/images/child.vmdk"
}

make_bad()
{
	host_type=ext4
	"$vdisk" create -f vhd "$work/images/small.vhd" 16M
	cp "$work/images/small.vhd" "$work/images/base.vhd"
	"$vdisk" create -f vhd -b base.vhd -F vhd "$work/images/orphan.vhd"
	mv "$work/images/base.vhd" "$work/images/damaged.vhd"
	truncate -s 1k "$work/images/damaged.vhd"
	dd if=/dev/zero of="$work/images/damaged.vhd" bs=512 count=2 conv=notrunc status=none
}

# The tree of the disk in the words of mkfs.xfs.
xfs_prototype()
{
	local each

	printf '/\n0 0\nd--755 0 0\nimages d--755 0 0\n'
	for each in "$work/images"/*; do
		printf '%s ---644 0 0 %s\n' "${each##*/}" "$each"
	done
	printf '$\n$\n'
}

# The disk that the images lie on, of the type that the case names, else of the kind's own.
make_host()
{
	host_type=${host_wanted:-$host_type} image_dir=/images
	host_uuid=$usual_host_uuid
	truncate -s 3G "$disk"
	case $host_type in
	ext4)
		mkdir -p "$work/host"
		rm -rf "$work/host/images"
		mv "$work/images" "$work/host/images"
		mkfs.ext4 -q -F -U "$host_uuid" -E lazy_itable_init=0 -d "$work/host" "$disk"
		mv "$work/host/images" "$work/images"
		;;
	xfs)
		xfs_prototype >"$work/prototype"
		mkfs.xfs -q -m "uuid=$host_uuid" -p "$work/prototype" "$disk"
		;;
	ntfs)
		image_dir=''
		mkntfs -q -F -Q -L host "$disk" >"$logs/$case_name.mkntfs" 2>&1
		for each in "$work/images"/*; do
			ntfscp -q "$disk" "$each" "${each##*/}"
		done
		host_uuid=$(blkid -p -s UUID -o value "$disk")
		;;
	esac
}

host_is_clean()
{
	local text

	case $host_type in
	ext4)
		text=$(dumpe2fs -h "$disk" 2>&1)
		! grep -q needs_recovery <<<"$text" || { echo "$text"; return 1; }
		grep -Eq '^Filesystem state: +clean$' <<<"$text" || { echo "$text"; return 1; }
		e2fsck -fn "$disk"
		;;
	xfs)
		text=$(xfs_repair -n "$disk" 2>&1) || { echo "$text"; return 1; }
		! grep -i 'log.*\(dirty\|replay\)\|valuable metadata' <<<"$text"
		;;
	ntfs)
		text=$(ntfsinfo -m "$disk" 2>&1) || { echo "$text"; return 1; }
		! grep -i 'dirty' <<<"$text"
		;;
	esac
}

# By a virtual machine, read-only and without its log.
dump_xfs()
{
	local share=$work/share

	rm -rf "$share"
	mkdir "$share"
	"$top/selftests/vm/run" --kernel "$kernel" --keep "$disk" --share "$share" \
		"$here/dump-xfs" >"$logs/$case.dump" 2>&1
	mv "$share/images" "$1/"
}

# By ntfs-3g's own programs, which do not mount.
dump_ntfs()
{
	local each

	mkdir "$1/images"
	for each in "$work/images"/*; do
		each=${each##*/}
		ntfscat "$disk" "$each" >"$1/images/$each"
	done
}

# image_check IMAGE: what was taken for new units when the power went belongs to none
# until units are wanted again: no damage.
image_check()
{
	local status=0

	"$vdisk" check "$1" || status=$?
	if [ "$status" -eq 3 ] && [ -n "$after_cut" ]; then
		status=0
		"$vdisk" check --repair "$1" || status=$?
	fi
	return "$status"
}

# The images as they lie on the disk, the file system within, and the image in that.
image_is_clean()
{
	local out=$work/out

	rm -rf "$out"
	mkdir "$out"
	case $host_type in
	ext4) debugfs -R "rdump /images $out" "$disk" ;;
	xfs) dump_xfs "$out" ;;
	ntfs) dump_ntfs "$out" ;;
	esac
	image_check "$out/images/$image_name" &&
		"$vdisk" convert "$out/images/$image_name" "$out/root.raw" &&
		e2fsck -fn "$out/root.raw$root_at" &&
		debugfs -R "dump /srv/data.vhd $out/data.vhd" "$out/root.raw$root_at" &&
		image_check "$out/data.vhd" &&
		"$vdisk" convert "$out/data.vhd" "$out/data.raw" &&
		e2fsck -fn "$out/data.raw"
}
