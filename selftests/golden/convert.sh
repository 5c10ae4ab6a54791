#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# convert to every sub-format and back: the same disk, holes kept, nothing wrong
# by our check nor by qemu-img's; streams as importers want them.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
python3 - <<'END'
import random
rnd = random.Random(5)
with open("in.raw", "wb") as f:
    f.truncate((21 << 20) + 512 * 5)
    for at in (0, 3 << 20, (3 << 20) + 70144, 11 << 20, (21 << 20) + 512):
        f.seek(at)
        f.write(rnd.randbytes(2048))
    f.seek(14 << 20)
    f.write(rnd.randbytes(1 << 20))
    f.write(b"text that shrinks " * (1 << 15))
END
size=$(stat -c %s in.raw)

# holes FILE...: not much more than the data is there
holes()
{
	local kilobytes

	kilobytes=$(du -ck "$@" | tail -1 | cut -f 1)
	echo "$((kilobytes < 8192))"
}

# FILE FORMAT QEMU OPTIONS...; QEMU is what qemu-img calls it, or - where it
# cannot read it, or not without doubt.
rows()
{
	cat <<-END
		raw.img raw raw
		vhd.vhd vhd vpc
		vhd4k.vhd vhd vpc block_size=4k
		vhd16m.vhd vhd vpc block_size=16M
		vhdfix.vhd vhd vpc subformat=fixed
		ms.vmdk vmdk vmdk
		mz.vmdk vmdk vmdk zeroed_grain=on
		mf.vmdk vmdk vmdk subformat=monolithicFlat
		ts.vmdk vmdk vmdk subformat=twoGbMaxExtentSparse
		tf.vmdk vmdk vmdk subformat=twoGbMaxExtentFlat
		so.vmdk vmdk vmdk subformat=streamOptimized
		so4k.vmdk vmdk vmdk subformat=streamOptimized,grain_size=4k
		so1m.vmdk vmdk vmdk subformat=streamOptimized,grain_size=1M
		vf.vmdk vmdk vmdk subformat=vmfs
		vs.vmdk vmdk vmdk subformat=vmfsSparse
		p2.hds parallels parallels
		p2odd.hds parallels parallels cluster_size=64512
		p1.hds parallels parallels version=1
		p1odd.hds parallels parallels version=1,cluster_size=32256
		p.hdd parallels - bundle=on
		q.qed qed qed
		q4k.qed qed qed cluster_size=4k,table_size=16
		q1.qed qed - table_size=1
	END
}

previous=in.raw prevformat=raw
while read -r file format qemu options; do
	name="$format${options:+ $options}"
	given=()
	[ -z "$options" ] || given=(-o "$options")
	t "$name: from raw" "$vdisk" convert -f raw -O "$format" "${given[@]}" in.raw "$file"
	[ -e "$file" ] || continue
	known=()
	[ "$format" != raw ] || known=(-f raw)
	status "$name: check finds nothing" 0 "$vdisk" check "${known[@]}" "$file"
	eq "$name: the size" "$(table_size "$file" "${known[@]}")" "$size"
	reads "$name: back to raw" in.raw "$file" "${known[@]}"
	# A bitmap of 4 KiB takes the place of the old footer: no hole is seen there.
	[ "$file" = vhd16m.vhd ] || eq "$name: holes" "$(holes "$file" "${file%.vmdk}"-*.vmdk 2>/dev/null)" 1
	if [ "$qemu" != - ]; then
		t "$name: qemu-img compare" qemu-img compare -f raw -F "$qemu" in.raw "$file"
		case $qemu in
		vmdk | qed | parallels)
			status "$name: qemu-img check" 0 qemu-img check -f "$qemu" "$file" ;;
		esac
	fi
	t "$name: from $prevformat" "$vdisk" convert -f "$prevformat" -O "$format" \
		"${given[@]}" "$previous" "again-$file"
	reads "$name: the same" in.raw "again-$file" "${known[@]}"
	previous=$file prevformat=$format
done < <(rows)
eq "nothing else is left" "$(find . -name '.vdisk-*')" ""

# A stream, part by part, as someone reads it who cannot seek.
t "the stream is a stream" python3 "$here/stream.py" so.vmdk in.raw
t "a stream of small grains is one" python3 "$here/stream.py" so4k.vmdk in.raw
truncate -s 700M empty.raw
t "an empty disk" "$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized empty.raw es.vmdk
t "an empty stream is a stream" python3 "$here/stream.py" es.vmdk empty.raw
t "it is small" [ "$(stat -c %s es.vmdk)" -lt 100000 ]
# Data in the last sector of the first table's range, and in the third's.
printf x | dd of=empty.raw bs=1 seek=$((32 * 1048576 - 1)) conv=notrunc status=none
printf y | dd of=empty.raw bs=1 seek=$((70 * 1048576)) conv=notrunc status=none
t "few grains" "$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized empty.raw fg.vmdk
t "a stream of few grains is a stream" python3 "$here/stream.py" fg.vmdk empty.raw
reads "it reads" empty.raw fg.vmdk

# What is a hole of the file is not read.
truncate -s 1T hole.raw
printf x | dd of=hole.raw bs=1 seek=700000000000 conv=notrunc status=none
t "a raw disk of holes" timeout 30 "$vdisk" convert -f raw -O qed hole.raw hole.qed
eq "what is between them" "$(qemu-io -r -f qed -c 'read -P 0x78 700000000000 1' hole.qed | head -1)" \
	"read 1/1 bytes at offset 700000000000"
t "to a stream" timeout 30 "$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized hole.raw hole.vmdk

# A geometry's size: longer, and zero there.
t "VHD of a rounded size" "$vdisk" convert -f raw -O vpc -o force_size=off in.raw chs.vhd
cp in.raw chs.raw
truncate -s "$(table_size chs.vhd)" chs.raw
t "it is longer" [ "$(table_size chs.vhd)" -gt "$size" ]
reads "zeroes follow" chs.raw chs.vhd
t "qemu-img's size is the same" qemu-img compare -f raw -F vpc chs.raw chs.vhd

# A chain becomes one image.
t "a child" "$vdisk" create -f qed -b q.qed -F qed child.qed
qemu-io -f qed -c 'write -P 9 5M 100k' child.qed >/dev/null
qemu-img convert -f qed -O raw child.qed child.raw
t "a child to VHD" "$vdisk" convert -O vhd child.qed flat.vhd
reads "with what the parent holds" child.raw flat.vhd

# Failures.
refused "a file that is there" '^vdisk: ms.vmdk: File exists$' \
	"$vdisk" convert -f raw -O vmdk in.raw ms.vmdk
t "with --force it is replaced" "$vdisk" convert --force -f raw -O qed empty.raw chs.raw
reads "by the new one" empty.raw chs.raw
refused "an image onto itself" 'The new image is made from this file$' \
	"$vdisk" convert --force -O qed vhd.vhd vhd.vhd
refused "onto its parent" 'The new image is made from this file$' \
	"$vdisk" convert --force -O raw child.qed q.qed
reads "which is still there" in.raw q.qed
status "an unknown option" 2 "$vdisk" convert -O qed -o foo=1 vhd.vhd x.qed
status "backing_file is create's" 2 "$vdisk" convert -O qed -o backing_file=q.qed vhd.vhd x.qed
status "an unknown format" 2 "$vdisk" convert -O qcow2 vhd.vhd x.qcow2
refused "a file too large for a VHD" 'larger than 2040 GiB' \
	eval 'truncate -s 3T big.raw && "$vdisk" convert -f raw -O vhd big.raw x.vhd'
cp q.qed bad.qed
printf '\x01\x02' | dd of=bad.qed bs=1 seek=65536 conv=notrunc status=none
refused "a source that cannot be read" '^vdisk: bad.qed: ' "$vdisk" convert -O vhd bad.qed x.vhd
while read -r file format qemu options; do
	given=()
	[ -z "$options" ] || given=(-o "$options")
	mkdir full && cd full || exit
	# KiB: the headers fit, the data does not
	refused "$format${options:+ $options}: no space" '^vdisk: x.img[^:]*: File too large$' \
		bash -c 'ulimit -f 800 && exec "$@"' - \
		"$vdisk" convert -f raw -O "$format" "${given[@]}" ../in.raw x.img
	eq "$format${options:+ $options}: nothing is left" "$(find . -mindepth 1)" ""
	cd .. && rm -rf full
done < <(rows | grep -Ev 'fixed|[fF]lat|=vmfs$|^raw|16m')
eq "nothing was made" "$(find . -name 'x.*')" ""

# A signal in the middle: a FIFO would not do, so a source that is long to read.
truncate -s 8G slow.raw
for i in $(seq 0 7); do
	dd if=/dev/urandom of=slow.raw bs=1M count=8 seek=$((i * 1000)) conv=notrunc status=none
done
# writes PID DIR: it has begun to, into a file that may have no name
writes()
{
	local i fd

	for i in $(seq 500); do
		for fd in "/proc/$1/fd"/*; do
			[[ $(readlink "$fd") != */$2/* ]] ||
				[ "$(stat -L -c %s "$fd")" -lt 200000 ] || return 0
		done
		sleep 0.02
	done
	return 1
}

for sig in INT TERM HUP; do
	mkdir "sig$sig"
	env --default-signal=INT "$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized \
		slow.raw "sig$sig/x.vmdk" 2>/dev/null &
	pid=$!
	t "it writes" writes "$pid" "sig$sig"
	kill -s "$sig" "$pid"
	wait "$pid" 2>/dev/null
	eq "SIG$sig: by the signal, nothing is left" \
		"$? $(find "sig$sig" -mindepth 1)" "$((128 + $(kill -l "$sig"))) "
done

# A file that comes while the image is made.
mkdir race
"$vdisk" convert -f raw -O vmdk -o subformat=streamOptimized slow.raw race/x.vmdk 2>.err &
pid=$!
t "it writes" writes "$pid" race
echo precious >race/x.vmdk
wait "$pid"
eq "a file that came in the meantime stays" "$? $(cat .err race/x.vmdk) $(find race -type f | wc -l)" \
	"1 vdisk: race/x.vmdk: File exists
precious 1"

ktap_end
