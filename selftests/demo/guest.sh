#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=3G timeout=1200
#
# make demo, the guest's part: for each image, what a user would do with it.
. "$(dirname "$0")/../lib/kernel-test.sh"

images=$VDISK_TOP/selftests/build/demo/images
need_module
need_tool
need_cmd fio jq e2fsck
need_disk 3G disk
scratch_fs ext4 "$disk" dir
scratch mnt

# The host reads these lines; tabs separate the cells.
row()
{
	local kind=$1 IFS=$'\t'

	shift
	printf '# table %s\t%s\n' "$kind" "$*"
}

run()
{
	echo "# \$ $*"
	eval "$*"
}

verdict()
{
	if [ "$1" = "$2" ]; then echo equal; else echo DIFFERENT; fi
}

human()
{
	numfmt --to=iec-i --suffix=B --format=%.1f "$1"
}

# fio_figures IMAGE WHAT TARGET OPTION...: one line of the second table. The
# figures are of an emulated processor; they say that it works, not how fast.
fio_figures()
{
	local image=$1 what=$2 target=$3 json

	shift 3
	json=$(fio --name=demo --filename="$target" --direct=1 --ioengine=libaio \
		--output-format=json --group_reporting "$@" 2>&1) || {
		fail "$image: fio $what" "$json"
		return
	}
	pass "$image: fio $what"
	json=$(sed -n '/^{/,$p' <<<"$json" | jq -r '.jobs[0] | [.read, .write]
		| "\(map(.total_ios) | add) \(map(.iops) | add | round) \(map(.bw_bytes) | add)"')
	# shellcheck disable=SC2086
	set -- $json
	row fio "$image" "$what" "$1" "$2" "$(human "$3")/s"
}

# Written through the file system, with a flush at the end; remembered.
write_files()
{
	mkdir "$mnt/written"
	make_tree "$mnt/written" 200 7
	fio_figures "$1" "write 64k, verified" "$mnt/written/fio" --rw=randwrite --bs=64k \
		--size=24M --iodepth=8 --verify=crc32c --end_fsync=1
	sync -f "$mnt"
	tree_sha "$mnt/written" >"$dir/written.sums"
}

show_image()
{
	local image=$1 name=vdisk-demo dev=/dev/mapper/vdisk-demo json disk_sum tree_sum again

	cp --sparse=always "$images/$image" "$dir/$image"
	image_file=$dir/$image
	json=$("$vdisk" info --json "$image_file")
	virtual=$(jq '."virtual-size"' <<<"$json")
	format=$(jq -r '[.format, ."format-specific".data.subformat // empty] | join(" ")' <<<"$json")
	file_size=$(stat -c %s "$image_file")

	t "$image: vdisk table | dmsetup create" \
		run "'$vdisk' table '$image_file' | dmsetup create $name"
	defer dm_gone "$name"
	eq "$image: the device has the size of the disk" \
		"$(blockdev --getsize64 "$dev")" "$virtual"
	disk_sum=$(verdict "$(sha "$dev")" "$(cat "$images/$image.sha")")
	eq "$image: every byte is what qemu-img reads" "$disk_sum" equal

	t "$image: mounts" run mount -o ro "$dev" "$mnt"
	tree_sum=$(verdict "$(tree_sha "$mnt")" "$(cat "$images/tree.sums")")
	eq "$image: every file is right" "$tree_sum" equal
	fio_figures "$image" "read 4k" "$dev" --rw=randread --bs=4k --iodepth=8 \
		--readonly --runtime=2 --time_based
	t "$image: takes writes" run mount -o remount,rw "$mnt"
	write_files "$image"
	run umount "$mnt"
	t "$image: vdisk detach" run "'$vdisk' detach $name"

	t "$image: vdisk attach, the other way" run "'$vdisk' attach $name '$image_file'"
	t "$image: the file system is clean" e2fsck -fn "$dev"
	run mount -o ro "$dev" "$mnt"
	again=$(verdict "$(tree_sha "$mnt/written")" "$(cat "$dir/written.sums")")
	eq "$image: what was written is there" "$again" equal
	eq "$image: what was there before still is" \
		"$(cd "$mnt" && sha256sum --quiet -c "$images/tree.sums" 2>&1)" ""
	row images "$image" "$format" "$(human "$virtual")" \
		"$(human "$file_size") -> $(human "$(stat -c %s "$image_file")")" \
		"$(findmnt -no FSTYPE "$mnt"), $(wc -l <"$images/tree.sums") files" \
		"$disk_sum" "$tree_sum" "$again"
	run umount "$mnt"
	t "$image: vdisk detach again" run "'$vdisk' detach $name"
	rm "$image_file"
}

row images IMAGE FORMAT "VIRTUAL SIZE" "FILE SIZE" MOUNTED "DISK SHA-256" \
	"FILES SHA-256" "WRITTEN FILES"
row fio IMAGE FIO I/Os "IOPS (EMULATED CPU)" THROUGHPUT
while read -r image _; do
	show_image "$image"
done < <(grep -v '^#' "$images/list")
ktap_end
