#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# vdisk snapshot, rebase and commit: what a chain reads stays what it was, from
# whichever files it comes.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit

# Three disks that have some things in common.
python3 - <<'END'
import random
same = random.Random(1).randbytes(1 << 20)
for name in "xyz":
    rnd = random.Random(name)
    disk = bytearray(9 << 20)
    disk[2 << 20:3 << 20] = same
    for _ in range(5):
        at = rnd.randrange(0, (9 << 20) - 70000)
        disk[at:at + 70000] = rnd.randbytes(70000)
    open(name + ".raw", "wb").write(disk)
END

make_chain()
{
	local format=$1 n

	rm -f a b c long
	for n in a:x b:y; do
		"$vdisk" convert -f raw -O "$format" "${n#*:}.raw" "${n%:*}"
	done
	"$vdisk" create -f "$format" long 12M
	"$vdisk" snapshot a c
}

# Something of its own in the child: what z has more than x, by rebase.
fill_child()
{
	rm -f z.img
	"$vdisk" convert -f raw -O "$1" z.raw z.img
	rm -f c
	"$vdisk" snapshot z.img c
	"$vdisk" rebase -b a c
	rm -f z.img
}

for format in qed vmdk vhd; do
	make_chain "$format"
	reads "$format: a snapshot reads as the image" x.raw c
	eq "$format: and names it" "$("$vdisk" info c | sed -n 's/^backing file: \(\.\/\)*//p')" a
	status "$format: check of the snapshot" 0 "$vdisk" check c

	fill_child "$format"
	reads "$format: rebase keeps what was below" z.raw c
	for parent in b long a; do
		t "$format: rebase on $parent" "$vdisk" rebase -b $parent c
		reads "$format: it reads as before on $parent" z.raw c
		eq "$format: it names $parent" "$("$vdisk" info c |
			sed -n 's/^backing file: \(\.\/\)*//p')" $parent
	done
	status "$format: check after rebase" 0 "$vdisk" check c
	[ $format = vhd ] ||
		t "$format: qemu-img compare" qemu-img compare -q -f $format -F raw c z.raw

	# Only what differs is copied.
	rm -f c
	"$vdisk" snapshot a c
	cp a twin
	[ $format = vmdk ] || "$vdisk" rebase -b twin c
	[ $format = vmdk ] || eq "$format: nothing is copied for a twin" \
		"$("$vdisk" check c | grep -c '^0/')" 1

	# Only the name, which changes what is read.
	rm -f c
	"$vdisk" snapshot a c
	t "$format: rebase -u" "$vdisk" rebase -u -b b c
	reads "$format: reads the new parent" y.raw c

	# Back into the parent, which is shorter.
	fill_child "$format"
	t "$format: a longer child" "$vdisk" resize c 11M
	cp z.raw z11.raw
	truncate -s 11M z11.raw
	reads "$format: the longer child" z11.raw c
	t "$format: commit" "$vdisk" commit c
	reads "$format: the parent has it" z11.raw a
	reads "$format: the child reads as before" z11.raw c
	t "$format: check of the parent" "$vdisk" check a
	[ $format = vhd ] ||
		t "$format: qemu-img compares the parent" \
			qemu-img compare -q -f $format -F raw a z11.raw
	refused "$format: nothing to commit to" "Image has no parent$" "$vdisk" commit a
	was=$(sha c)
	for how in '' -U -u -uU; do
		# shellcheck disable=SC2086
		refused "$format: its own parent $how" "^vdisk: c: Image would be its own parent$" \
			"$vdisk" rebase $how -b ./c c
	done
	"$vdisk" snapshot c grandchild
	refused "$format: its own grandparent" "^vdisk: c: Image would be its own parent$" \
		"$vdisk" rebase -U -b grandchild c
	rm grandchild
	eq "$format: it is what it was" "$(sha c)" "$was"
done

# Nobody below.
for format in qed vmdk; do
	make_chain $format
	fill_child $format
	t "$format: rebase on nobody" "$vdisk" rebase -b '' c
	rm a
	reads "$format: it stands alone" z.raw c
	t "$format: qemu-img says so" eval "! qemu-img info c | grep -q backing"
done
make_chain vhd
refused "vhd: rebase on nobody" "differencing for good" "$vdisk" rebase -b '' c
refused "vhd: rebase of a dynamic disk" "differencing for good" "$vdisk" rebase -b b a

# Raw and other parents, under QED.
make_chain qed
fill_child qed
t "qed: rebase on raw" "$vdisk" rebase -b y.raw -F raw c
reads "qed: on raw" z.raw c
t "qed: qemu-img knows it is raw" eval "qemu-img info c | grep -q 'backing file format: raw'"
"$vdisk" convert -f raw -O vmdk y.raw y.vmdk
t "qed: rebase on vmdk" "$vdisk" rebase -b y.vmdk c
reads "qed: on vmdk" z.raw c
refused "vmdk: rebase on qed" "^vdisk: a: Parent of a vmdk image is vmdk, not qed$" \
	"$vdisk" rebase -b a y.vmdk

# Names that take more than the header's first sector, one after the other.
long=$(printf 'n%.0s' {1..200})
mkdir -p "$long/$long/$long"
cp b "$long/$long/$long/b"
cp b "$long/$long/$long/bb"
for parent in "$long/$long/$long/b" "$long/$long/$long/bb" b "$long/$long/$long/b"; do
	"$vdisk" rebase -b "$parent" c
	reads "qed: a parent's name of ${#parent} bytes" z.raw c
done
t "qed: qemu-img reads the long name" qemu-img compare -q -f qed -F raw c z.raw

# A CID tells other children that their parent has changed.
make_chain vmdk
"$vdisk" snapshot a other
fill_child vmdk
"$vdisk" commit c
refused "vmdk: another child sees that its parent changed" \
	"Image has the CID [0-9a-f]{8} instead of" "$vdisk" table other
reads "vmdk: the one that was committed does not mind" z.raw c

# A long block may begin where the footer was, and reads zero but for that.
truncate -s 192M long.raw
for k in {0..11}; do
	head -c 64k /dev/urandom |
		dd of=long.raw bs=64k seek=$((k * 256)) conv=notrunc status=none
done
"$vdisk" convert -f raw -O vhd long.raw long.vhd
"$vdisk" create -f vhd -b long.vhd c.vhd
"$vdisk" create -f vhd -o block_size=16M big.vhd 192M
"$vdisk" rebase -b big.vhd c.vhd
t "vhd: commit to long blocks" "$vdisk" commit c.vhd
reads "vhd: which hold it" long.raw big.vhd
t "vhd: what is not written takes no place" \
	[ "$(du -k big.vhd | cut -f 1)" -lt 2048 ]

# An image that cannot have children of its format gets one that can.
"$vdisk" convert -f raw -O parallels x.raw p.hds
t "a snapshot of a Parallels image" "$vdisk" snapshot p.hds q
eq "is QED" "$("$vdisk" probe q)" qed
reads "and reads it" x.raw q
refused "a child that is there already" "File exists" "$vdisk" snapshot p.hds q
status "rebase on what?" 2 "$vdisk" rebase c
refused "a parent that is not there" "gone: No such file" "$vdisk" rebase -b gone c
refused "Parallels images name no parent" "name no parent$" "$vdisk" rebase -b a p.hds

ktap_end
