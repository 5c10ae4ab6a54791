#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# convert --salvage and map where entries are bad: what can be read is, what is lost
# is told, and nothing else.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(8).randbytes(4 << 20))' >in.raw

# salvaged DESCRIPTION IMAGE LOST...: "START LENGTH" in bytes, of in.raw
salvaged()
{
	local description=$1 image=$2 format status want

	shift 2
	cp in.raw want.raw
	for lost in "$@"; do
		read -r start length <<<"$lost"
		dd if=/dev/zero of=want.raw bs=512 seek=$((start / 512)) count=$((length / 512)) \
			conv=notrunc status=none
	done
	refused "$description: convert without it" "^vdisk: $image: " "$vdisk" convert "$image" out.raw
	eq "$description: leaves no copy" "$(ls out.raw 2>&1)" "ls: cannot access 'out.raw': No such file or directory"
	for format in raw qed "vmdk -o subformat=streamOptimized"; do
		rm -f out.img
		status=0
		# shellcheck disable=SC2086
		"$vdisk" convert --salvage -O $format "$image" out.img 2>err || status=$?
		eq "$description, to ${format%% *}: the exit status" "$status" 1
		want=$(for lost in "$@"; do
			read -r start length <<<"$lost"; echo "Lost: $length bytes at $start"; done)
		eq "$description, to ${format%% *}: what is lost" \
			"$(grep -o 'Lost: [0-9]* bytes at [0-9]*' err)" "$want"
		eq "$description, to ${format%% *}: in all" "$(grep -c 'Lost in all: ' err)" 1
		if [ "$format" = raw ]; then
			t "$description: the copy" cmp out.img want.raw
		else
			reads "$description: the copy in ${format%% *}" want.raw out.img
		fi
	done
	status=0
	"$vdisk" map --json "$image" >map.json 2>err || status=$?
	eq "$description: map ends with" "$status" 1
	eq "$description: map tells the ranges, and all of the disk" "$(python3 -c '
import json
at = 0
for e in json.load(open("map.json")):
    assert e["start"] == at, e
    at += e["length"]
    if e.get("error"):
        assert e["reason"] and not e["data"], e
        print(e["start"], e["length"])
print(at)')" "$(printf '%s\n' "$@" $((4 << 20)))"
	eq "$description: map without JSON ends with" \
		"$("$vdisk" map "$image" >/dev/null 2>&1; echo $?)" 1
}

# poke FILE OFFSET FORMAT VALUE
poke()
{
	python3 - "$@" <<-'END'
		import struct, sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(int(sys.argv[2], 0))
		    f.write(struct.pack(sys.argv[3], int(sys.argv[4], 0)))
	END
}

qemu-img convert -f raw -O vpc -o force_size=on in.raw x.vhd
poke x.vhd 1540 ">I" 0x7fffffff
salvaged "VHD, a BAT entry" x.vhd "2097152 2097152"
qemu-img convert -f raw -O vpc -o force_size=on in.raw cut.vhd
truncate -s -2M cut.vhd
salvaged "VHD, cut off" cut.vhd "2097152 2097152"
qemu-img convert -f raw -O qed -o cluster_size=4k,table_size=1 in.raw x.qed 2>/dev/null ||
	qemu-img convert -f raw -O qed -o cluster_size=4k,table_size=2 in.raw x.qed
l2=$(python3 -c 'import struct
f = open("x.qed", "rb").read()
print(struct.unpack_from("<Q", f, struct.unpack_from("<Q", f, 40)[0])[0])')
poke x.qed $((l2 + 8 * 3)) "<Q" 0x7ffff000
poke x.qed $((l2 + 8 * 4)) "<Q" 0x7ffff000
poke x.qed $((l2 + 8 * 9)) "<Q" 0x123
salvaged "QED, three entries, two of them neighbours" x.qed "12288 8192" "36864 4096"
qemu-img convert -f raw -O vmdk in.raw x.vmdk
gd=$(python3 -c 'import struct
print(struct.unpack_from("<Q", open("x.vmdk", "rb").read(64), 56)[0] * 512)')
gt=$(python3 -c 'import struct, sys
print(struct.unpack_from("<I", open("x.vmdk", "rb").read(), int(sys.argv[1]))[0] * 512)' "$gd")
poke x.vmdk $((gt + 4 * 5)) "<I" 0xfffffff0
salvaged "VMDK, a grain" x.vmdk "327680 65536"
qemu-img convert -f raw -O vmdk -o subformat=streamOptimized in.raw s.vmdk
gd=$(python3 -c 'import struct
print(struct.unpack_from("<Q", open("s.vmdk", "rb").read(64), 56)[0] * 512)')
gt=$(python3 -c 'import struct, sys
print(struct.unpack_from("<I", open("s.vmdk", "rb").read(), int(sys.argv[1]))[0] * 512)' "$gd")
grain=$(python3 -c 'import struct, sys
print(struct.unpack_from("<I", open("s.vmdk", "rb").read(), int(sys.argv[1]))[0] * 512)' $((gt + 4 * 7)))
cp s.vmdk damaged.vmdk
poke damaged.vmdk $((gt + 4 * 7)) "<I" 0xfffffff0
salvaged "a stream, an entry" damaged.vmdk "458752 65536"
cp s.vmdk record.vmdk
poke record.vmdk $((grain + 20)) "<Q" 0xffffffffffffffff
status=0
"$vdisk" convert --salvage record.vmdk out2.raw 2>err || status=$?
eq "a stream, a record: the exit status" "$status" 1
eq "a stream, a record: what is lost" "$(grep -o 'Lost: [0-9]* bytes at [0-9]*' err)" \
	"Lost: 65536 bytes at 458752"

# Parts that are not there by declaration; and a good image loses nothing.
printf '# Disk DescriptorFile\nversion=1\nCID=1\nRW 2048 FLAT "in.raw" 0\nNOACCESS 4096 FLAT "gone" 0\nRW 2048 FLAT "in.raw" 6144\n' >n.vmdk
status=0
"$vdisk" convert --salvage n.vmdk out3.raw 2>err || status=$?
eq "an extent without access" "$status $(grep -o 'Lost: [0-9]* bytes at [0-9]*' err)" \
	"1 Lost: 2097152 bytes at 1048576"
cp in.raw want.raw
dd if=/dev/zero of=want.raw bs=1M seek=1 count=2 conv=notrunc status=none
t "an extent without access: the copy" cmp out3.raw want.raw
qemu-img convert -f raw -O qed in.raw good.qed
t "a good image" "$vdisk" convert --salvage good.qed out4.raw
t "a good image: the copy" cmp out4.raw in.raw
# A child whose parent has the damage: what the child has is not lost.
cp x.vmdk base.vmdk
"$vdisk" create -f qed -b base.vmdk -F vmdk kid.qed
qemu-io -f qed -c 'write -P 9 320k 64k' kid.qed >/dev/null 2>&1 || true
if [ "$("$vdisk" map --json kid.qed 2>/dev/null | grep -c '"error"')" = 0 ]; then
	t "a child that hides the damage" "$vdisk" convert --salvage kid.qed out5.raw
fi
ktap_end
