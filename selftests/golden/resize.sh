#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# vdisk resize: what was there stays, what is new reads zero, check finds nothing
# wrong, and where qemu-img can be trusted it says the same.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
handmade=$here/../lib/handmade.py

# Space that is lost is not damage: what was cut off, or made way for a table.
sound()
{
	local code=0

	"$vdisk" check "$@" || code=$?
	[ "$code" -eq 0 ] || [ "$code" -eq 3 ]
}

# sized DESCRIPTION IMAGE RAW BYTES [OPTION...]: the disk is RAW, cut or made
# longer to BYTES
sized()
{
	local description=$1 image=$2 raw=$3 bytes=$4

	shift 4
	truncate -s "$bytes" "$raw"
	reads "$description: content" "$raw" "$image" "$@"
	t "$description: check" sound "$@" "$image"
}

# Each sub-format: a little longer, so that tables keep their length; a lot, so
# that they must not; shorter into a unit; longer again, so that what was cut off
# must not come back.
while read -r name words; do
	rm -rf d
	top=$("$handmade" make "$name" d)
	raw=d/expected
	old=$(stat -c %s "$raw")
	case $name in
	bundle-*)
		refused "$name is refused" "Disks of bundles keep their size$" \
			"$vdisk" resize "$top" +1M
		continue ;;
	esac
	t "$name: +1536 bytes" "$vdisk" resize "$top" +1536
	sized "$name: a little longer" "$top" "$raw" $((old + 1536))
	more=20
	case $name in
	vhd-bits | vhd-diff-blocks | cowd-1) more=260 ;;
	esac
	t "$name: +${more}M" "$vdisk" resize "$top" +${more}M
	sized "$name: a lot longer" "$top" "$raw" $((old + 1536 + (more << 20)))
	eq "$name: the size" "$(table_size "$top")" "$(stat -c %s "$raw")"
	cut=$(((old * 2 / 3 + 512 * 5) / 512 * 512))
	refused "$name: data would be lost" "Data lies behind the new end \(see --shrink\): sector [0-9]+$" \
		"$vdisk" resize "$top" $cut
	t "$name: --shrink" "$vdisk" resize --shrink "$top" $cut
	sized "$name: shorter" "$top" "$raw" $cut
	t "$name: longer again" "$vdisk" resize "$top" +1M
	sized "$name: longer again" "$top" "$raw" $((cut + (1 << 20)))
	case $words in *qemu:*)
		format=${words##*qemu:} format=${format%% *} format=${format%-read}
		t "$name: qemu-img compare" qemu-img compare -q -f "$format" -F raw "$top" "$raw" ;;
	esac
done < <("$handmade" list rw)

# What qemu-img made is what it reads, and may write, afterwards.
python3 - <<'END'
import random
rnd = random.Random(5)
with open("in.raw", "wb") as f:
    f.truncate(21 << 20)
    for at in (0, 3 << 20, (3 << 20) + 70144, 11 << 20, 20 << 20):
        f.seek(at)
        f.write(rnd.randbytes(300000))
END
while read -r format options; do
	name="$format${options:+ $options}"
	rm -f x x-*
	qemu-img convert -f raw -O "$format" ${options:+-o "$options"} in.raw x 2>.err ||
		{ fail "$name: made by qemu-img" "$(cat .err)"; continue; }
	qemu-img convert -f "$format" -O raw x x.raw
	t "$name: 100M" "$vdisk" resize -f "${format/vpc/vhd}" x 100M
	sized "$name: 100M" x x.raw $((100 << 20)) -f "${format/vpc/vhd}"
	eq "$name: qemu-img knows the size" \
		"$(qemu-img info -f "$format" --output json x | python3 -c 'import json, sys
print(json.load(sys.stdin)["virtual-size"])')" $((100 << 20))
	case $options in *streamOptimized*) ;; *)
		t "$name: qemu-io writes at the new end" \
			qemu-io -f "$format" -c "write -q -P 5 $(((100 << 20) - 70000)) 60000" x
		qemu-io -f raw -c "write -q -P 5 $(((100 << 20) - 70000)) 60000" x.raw ;;
	esac
	t "$name: qemu-img compare" qemu-img compare -q -f "$format" -F raw x x.raw
	t "$name: check once more" sound -f "${format/vpc/vhd}" x
	case $format in qed | parallels)
		t "$name: qemu-img check" qemu-img check -q -f "$format" x ;;
	esac
done <<'END'
vpc
vpc force_size=on
vpc subformat=fixed,force_size=on
vmdk
vmdk zeroed_grain=on
vmdk subformat=monolithicFlat
vmdk subformat=streamOptimized
parallels
parallels cluster_size=64500
parallels cluster_size=4096
qed
qed cluster_size=4k,table_size=16
END

# A raw file, and the signs.
truncate -s 1M r
t "raw: grows" "$vdisk" resize -f raw r 3M
eq "raw: its length" "$(stat -c %s r)" $((3 << 20))
t "raw: -1M" "$vdisk" resize -f raw r -1M
eq "raw: its length after -1M" "$(stat -c %s r)" $((2 << 20))
t "raw: the same size" "$vdisk" resize -f raw r 2M

# The last extent of a split disk, up to what an extent may be; then others.
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse s.vmdk 3G
qemu-io -f vmdk -c 'write -q -P 3 2G 1M' s.vmdk
t "split: the last extent grows" "$vdisk" resize s.vmdk 4G
truncate -s 4G s.raw
qemu-io -f raw -c 'write -q -P 3 2G 1M' s.raw
t "split: qemu-img compare" qemu-img compare -q -f vmdk -F raw s.vmdk s.raw
t "split: check" sound s.vmdk
eq "split: the size" "$(table_size s.vmdk)" $((4 << 30))
sum=$(cat s.vmdk s-s002.vmdk | sha256sum)
refused "split: into the first extent" "Last extent would be empty" \
	"$vdisk" resize --shrink s.vmdk 1G
echo precious >s-s003.vmdk
refused "split: a file where the next extent goes" "s-s003.vmdk: File exists$" \
	"$vdisk" resize s.vmdk +512
eq "split: left alone when refused" "$(cat s.vmdk s-s002.vmdk | sha256sum)" "$sum"
rm s-s003.vmdk
cp s.vmdk s.desc
sed 's/s-s002/s-second/' s.desc >s.vmdk
mv s-s002.vmdk s-second.vmdk
refused "split: a name that cannot be continued" "further extents: s-second.vmdk$" \
	"$vdisk" resize s.vmdk +512
eq "split: no file is left" "$(printf '%s ' s-s*)" "s-s001.vmdk s-second.vmdk "
mv s-second.vmdk s-s002.vmdk
mv s.desc s.vmdk
t "split: a sector over 2 GiB" "$vdisk" resize s.vmdk +512
t "split: from there over the next ones" "$vdisk" resize s.vmdk 9G
eq "split: its extents" "$(grep -c '^RW 4194304 SPARSE' s.vmdk) $(grep '^RW' s.vmdk | tail -n 1)" \
	'4 RW 2097152 SPARSE "s-s005.vmdk"'
truncate -s 9G s.raw
for at in 4294966784 6G 9663675904; do
	qemu-io -f raw -c "write -q -P 5 $at 1k" s.raw
	qemu-io -f vmdk -c "write -q -P 5 $at 1k" s.vmdk
done
t "split: QEMU writes to all" qemu-img compare -q -f vmdk -F raw s.vmdk s.raw
t "split: check of all" sound s.vmdk
"$vdisk" create -f vmdk -o subformat=twoGbMaxExtentFlat sf.vmdk 1G
t "split: flat" "$vdisk" resize sf.vmdk 5G
eq "split: flat extents" "$(stat -c %s sf-f00?.vmdk | tr '\n' ' ')" "2147483648 2147483648 1073741824 "
t "split: flat is read by QEMU" qemu-io -f vmdk -c 'write -q -P 7 5368708096 1k' sf.vmdk
"$vdisk" create -f vmdk -b s.vmdk -o subformat=twoGbMaxExtentSparse sc.vmdk 3G
refused "split: the parent would show" "Parent would be seen behind the end: 18874368$" \
	"$vdisk" resize sc.vmdk 5G
"$vdisk" create -f vmdk -o subformat=twoGbMaxExtentSparse low.vmdk 3G
"$vdisk" create -f vmdk -b low.vmdk high.vmdk 5G
qemu-io -f vmdk -c 'write -q -P 8 4900M 1k' high.vmdk
t "split: commit of a longer child" "$vdisk" commit high.vmdk
t "split: is in a new extent" qemu-io -f vmdk -c 'read -q -P 8 4900M 1k' low.vmdk

# A descriptor of several sectors inside an extent changes all the same.
qemu-img create -q -f vmdk t.vmdk 10M
python3 - <<'END'
with open("t.vmdk", "r+b") as f:
    f.seek(512)
    text = f.read(10240).rstrip(b"\0")
    f.seek(512)
    f.write(text.replace(b"# Extent", b"#" + b"x" * 600 + b"\n# Extent").ljust(10240, b"\0"))
END
t "a long descriptor" "$vdisk" resize t.vmdk 1234M
t "its extent line" eval \
	"head -c 11000 t.vmdk | grep -aqx 'RW $((1234 * 2048)) SPARSE \"t.vmdk\"'"
t "it is where it was" eval "head -c 1024 t.vmdk | tail -c 512 | grep -aq '^# Disk'"
eq "qemu-img reads it" "$(qemu-img info t.vmdk | grep -c '1.21 GiB')" 1

# Refusals leave the image as it was.
qemu-img create -q -f vpc v.vhd 10M
qemu-img create -q -f parallels p.hds 10M
qemu-img create -q -f qed -o cluster_size=4k,table_size=2 q.qed 10M
for image in v.vhd p.hds q.qed; do
	sum=$(sha "$image")
	for size in -11G 0 99999999P; do
		fails "$image: $size" "$vdisk" resize "$image" $size
	done
	eq "$image: is as it was" "$(sha "$image")" "$sum"
done
status "no size" 2 "$vdisk" resize v.vhd big
status "half a byte" 2 "$vdisk" resize v.vhd 100.5
qemu-img create -q -f parallels round.hds 10M
sizes=
for size in 10485761 +0.3k -1023; do
	"$vdisk" resize round.hds "$size"
	sizes+="$(table_size round.hds) "
done
eq "a size is rounded up to a sector" "$sizes" "10486272 10486784 10486272 "
refused "VHD: over 2040 GiB" "VHD is larger than 2040 GiB: " "$vdisk" resize v.vhd 2041G
refused "QED: over its tables" "QED tables hold fewer sectors: 8388608$" "$vdisk" resize q.qed 5G
t "QED: up to its tables" "$vdisk" resize q.qed 4G
"$handmade" make p1-63 p1 >made
refused "Parallels v1: over 2 TiB" "Parallels v1 disk is over 2 TiB: 6442450944$" \
	"$vdisk" resize p1/*.hds 3T
"$handmade" make cowd-1 cowd >made
refused "COWD: over 2 TiB" "COWD disk is over 2 TiB: 6442450944$" \
	"$vdisk" resize cowd/cowd-1.vmdk 3T
truncate -s 1M raw
refused "raw: over 2^63 bytes" "Raw disk is 2\^63 bytes or longer: 18014398509481984$" \
	"$vdisk" resize -f raw raw 8E

# VHDs that are laid out as others do: what is in the BAT's way.
qemu-img create -q -f vpc -o force_size=on other.vhd 8M
laid_out()
{
	python3 - "$1" other.vhd "$1.vhd" <<-'END'
	import struct, sys
	how, source, target = sys.argv[1:]
	data = bytearray(open(source, "rb").read())
	def summed(at, n, field):
	    struct.pack_into(">I", data, at + field, 0)
	    struct.pack_into(">I", data, at + field, ~sum(data[at:at + n]) & 0xffffffff)
	def footers():
	    for at in (0, len(data) - 512):
	        summed(at, 512, 64)
	end = len(data) - 512
	if how == "blktap":
	    for at in (0, end):
	        data[at + 28:at + 32] = b"tap\0"
	elif how == "header":
	    data[512:1024], data[1024:2048] = data[1536:2048], data[512:1536]
	    struct.pack_into(">Q", data, 1024 + 16, 512)
	    summed(1024, 1024, 36)
	    for at in (0, end):
	        struct.pack_into(">Q", data, at + 16, 1024)
	elif how == "locator":
	    data[2048:2048] = bytes(512)
	    data[512 + 576:512 + 600] = struct.pack(">4sIIIQ", b"W2ku", 1, 512, 0, 2048)
	    summed(512, 1024, 36)
	footers()
	open(target, "wb").write(data)
	END
}
laid_out blktap
refused "VHD: of blktap" "BAT of blktap cannot grow: 4$" "$vdisk" resize blktap.vhd 100G
for how in header locator; do
	laid_out "$how"
	t "VHD: a $how behind the BAT" "$vdisk" resize "$how.vhd" 100G
	t "VHD: a $how behind the BAT: check" "$vdisk" check "$how.vhd"
done

ktap_end
