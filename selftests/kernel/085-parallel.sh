#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G timeout=900
#
# Many at once: writers to the same new blocks and bits, readers beside them,
# large transfers, odd memory, and the ends of the disk.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"

need_module
need_tool
need_cmd qemu-img fio python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir

# race NAME ROUNDS IMAGE [-o OPTION] -- [KEY=VALUE...]: then the image holds
# what the device had.
race()
{
	local name=$1 rounds=$2 image=$3 options=()

	shift 3
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	t "$name: attach" attach "$dm" ${options[@]+"${options[@]}"} "$image"
	t "$name: each sector is one of the writes to it" \
		rio race "/dev/mapper/$dm" 11 "$rounds" "$@"
	qemu-img convert -f raw -O raw "/dev/mapper/$dm" "$dir/have.raw"
	eq "$name: the device is well" "$(dmsetup status "$dm" | cut -d ' ' -f 4-5)" "rw ok"
	t "$name: detach" "$vdisk" detach "$dm"
	same_disk "$name: the image has it" "$image" "$dir/have.raw"
	at_rest "$name" "$image"
	rm "$image"
}

qemu-img create -q -f vpc -o force_size=on "$dir/2m.vhd" 24M
race "new blocks" 8 "$dir/2m.vhd" -- region=6M
vhd_py make "$dir/4k.vhd" size=$((8 << 20)) block=4096
race "small blocks" 4 "$dir/4k.vhd" -- region=2M
# The first bits of bitmaps and of neighbours, over and over.
vhd_py make "$dir/bits.vhd" size=$((8 << 20)) block=$((512 << 10)) \
	blocks=0,2,3,5,8,13 sectors=5000
race "missing bits" 4 "$dir/bits.vhd" -- region=2M max=4k
qemu-img create -q -f vpc -o force_size=on "$dir/hot.vhd" 8M
race "one hot spot" 6 "$dir/hot.vhd" -- region=128k threads=12 max=16k
qemu-img create -q -f vpc -o force_size=on "$dir/buffered.vhd" 16M
# The page cache copies into a page while it copies out of it: who reads beside
# a write may see parts of both, as on a loop device. What stays is whole.
race "buffered" 6 "$dir/buffered.vhd" -o buffered -- region=6M readers=0

# Asynchronous, deep, several processes.
qemu-img create -q -f vpc -o force_size=on "$dir/deep.vhd" 128M
t "deep: attach" attach "$dm" "$dir/deep.vhd"
# verified ENGINE
verified()
{
	fio --name=v --filename="/dev/mapper/$dm" \
		--numjobs=3 --size=40M --offset_increment=40M --io_size=5M \
		--rw=randwrite --bsrange=512-64k --blockalign=512 --bs_unaligned=0 \
		--verify=crc32c --do_verify=1 --verify_fatal=1 --ioengine="$1" \
		--iodepth=32 --direct=1 --group_reporting --output="$dir/fio.out"
}
for engine in libaio io_uring; do
	t "deep: $engine is verified" verified "$engine"
done
# The page cache has some of the file, and the end of a write drops that.
cat_all()
{
	while cat "$1" >/dev/null; do :; done
}
cat_all "$dir/deep.vhd" &
reader=$!
t "deep: beside a reader of the file" verified libaio
kill "$reader"
wait "$reader" || true
# Units of 4 MiB and over their edges, from huge pages: few, long bios.
truncate -s 128M "$dir/deep.raw"
qemu-img convert -f raw -O raw "/dev/mapper/$dm" "$dir/deep.raw"
t "large: write" rio write "/dev/mapper/$dm" 21 10 min=3M max=4M how=direct
rio write "$dir/deep.raw" 21 10 min=3M max=4M how=buffered
t "large: read" cmp "/dev/mapper/$dm" "$dir/deep.raw"

# The end of the disk.
end=$((128 << 20))
eq "a read behind the end" \
	"$(dd if="/dev/mapper/$dm" bs=4k skip=$((end / 4096)) count=1 2>/dev/null | wc -c)" 0
eq "a read over the end" \
	"$(dd if="/dev/mapper/$dm" iflag=direct,skip_bytes bs=64k skip=$((end - 512)) count=1 2>/dev/null | wc -c)" 512
fails "a write behind the end" \
	dd if=/dev/zero of="/dev/mapper/$dm" oflag=direct,seek_bytes bs=4k seek="$end" count=1
t "the last sector: write" rio write "/dev/mapper/$dm" 22 4 base=$((end - 512)) size=512 max=512
rio write "$dir/deep.raw" 22 4 base=$((end - 512)) size=512 max=512 how=buffered
t "detach" "$vdisk" detach "$dm"
same_disk "the image has it all" "$dir/deep.vhd" "$dir/deep.raw"
at_rest "deep" "$dir/deep.vhd"

ktap_end
