#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Parallels bundles by hand: DiskDescriptor.xml over images of qemu-img.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
mkdir d.hdd
# Three layers of 4 MiB: a writes all over, b and c on top of it here and there.
for l in a b c; do
	qemu-img create -q -f parallels -o cluster_size=64k d.hdd/$l.hds 4M
done
python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(2).randbytes(4 << 20))' >base.raw
qemu-img convert -f raw -O parallels -o cluster_size=64k base.raw d.hdd/a.hds
cp base.raw want.raw
# A cluster is the unit: what a layer has of it, it has whole.
qemu-io -f parallels -c 'write -P 5 64k 64k' -c 'write -P 6 1M 128k' d.hdd/b.hds >/dev/null
qemu-io -f parallels -c 'write -P 7 128k 64k' -c 'write -P 8 1M 64k' d.hdd/c.hds >/dev/null
qemu-io -f raw -c 'write -P 5 64k 64k' -c 'write -P 6 1M 128k' want.raw >/dev/null
cp want.raw want-b.raw
qemu-io -f raw -c 'write -P 7 128k 64k' -c 'write -P 8 1M 64k' want.raw >/dev/null
A='{aaaaaaaa-0000-0000-0000-000000000001}' B='{bbbbbbbb-0000-0000-0000-000000000002}'
C='{5fbaabe3-6958-40ff-92a7-860e329aab41}' Z='{00000000-0000-0000-0000-000000000000}'

image()
{
	echo "<Image><GUID>$1</GUID><Type>$2</Type><File>$3</File></Image>"
}

shot()
{
	echo "<Shot><GUID>$1</GUID><ParentGUID>$2</ParentGUID></Shot>"
}

storage()
{
	echo "<Storage><Start>$1</Start><End>$2</End><Blocksize>128</Blocksize>$3</Storage>"
}

# xml SIZE STORAGES SNAPSHOTS [PARAMETERS [PROLOGUE]]
xml()
{
	cat >d.hdd/DiskDescriptor.xml <<-END
	<?xml version='1.0' encoding='UTF-8'?>${5:-}
	<Parallels_disk_image Version="1.0">
	    <Disk_Parameters><Disk_size>$1</Disk_size><Padding>0</Padding>${4:-}</Disk_Parameters>
	    <StorageData>$2</StorageData>
	    <Snapshots>$3</Snapshots>
	</Parallels_disk_image>
	END
}

all="$(image "$A" Compressed a.hds)$(image "$B" Compressed b.hds)$(image "$C" Compressed c.hds)"
shots="$(shot "$A" "$Z")$(shot "$B" "$A")$(shot "$C" "$B")"
bad()
{
	refused "$1" "$2" "$vdisk" table d.hdd
}

xml 8192 "$(storage 0 8192 "$all")" "$shots"
: >d.hdd/d.hdd
for name in d.hdd d.hdd/DiskDescriptor.xml d.hdd/d.hdd; do
	eq "$name: probe" "$("$vdisk" probe "$name")" parallels
	reads "$name: three layers" want.raw "$name"
done
eq "the table, the base first" "$("$vdisk" table d.hdd)" \
	"0 8192 vdisk rw 3 1 8192 parallels 1 $tmp/d.hdd/a.hds 1 8192 parallels 1 $tmp/d.hdd/b.hds 1 8192 parallels 1 $tmp/d.hdd/c.hds"
xml 8192 "$(storage 0 8192 "$all")" "<TopGUID> ${B^^} </TopGUID>$shots"
reads "TopGUID" want-b.raw d.hdd
xml 8192 "$(storage 0 8192 "$(image "$C" Compressed a.hds)")" ""
reads "no snapshots" base.raw d.hdd
xml 8192 "$(storage 0 8192 "$(image "$A" Compressed a.hds)")" ""
reads "no snapshots, one image of any GUID" base.raw d.hdd
cp base.raw d.hdd/plain.hds
xml 8192 "$(storage 0 8192 "$(image "$A" Plain plain.hds)$(image "$B" Compressed b.hds)")" \
	"<TopGUID>$B</TopGUID>$(shot "$A" "$Z")$(shot "$B" "$A")"
reads "a plain root" want-b.raw d.hdd
dd if=base.raw of=d.hdd/two.hds bs=512 skip=1000 count=500 status=none
xml 8692 "$(storage 8192 8692 "$(image "$C" Plain two.hds)")$(storage 0 8192 "$(image "$C" Compressed a.hds)")" \
	"$(shot "$C" "$Z")"
cat base.raw d.hdd/two.hds >split.raw
reads "a split disk, in any order" split.raw d.hdd
status "check looks at all of it" 0 "$vdisk" check d.hdd

S=$(storage 0 8192 "$all")
xml 8192 "$S" "$shots" "<Padding>1</Padding>"
sed -i 's/<Padding>0<.Padding>//' d.hdd/DiskDescriptor.xml
bad "padding" "DiskDescriptor.xml: Disk with padding$"
xml 8192 "$S" "$shots" "<Encryption><Engine>$A</Engine></Encryption>"
bad "encryption" "DiskDescriptor.xml: Disk is encrypted: \{aaaa"
xml 8192 "$S" "$shots" "<Encryption><Engine>$Z</Engine></Encryption>"
t "no encryption" "$vdisk" table d.hdd
xml 8193 "$S" "$shots"
bad "storages that end early" "Storages end at sector 8192 instead of 8193$"
xml 8192 "$(storage 1 8192 "$all")" "$shots"
bad "storages that start late" "Storages do not join at sector 0$"
xml 8192 "$(storage 0 4096 "$all")$(storage 4000 8192 "$all")" "$shots"
bad "storages that overlap" "Storages do not join at sector 4096$"
xml 8192 "$(storage 8 8 "$all")" "$shots"
bad "an empty storage" "Storage without a start and an end$"
xml 8x "$S" "$shots"
bad "a size that is none" "Disk_size is no number$"
xml 8192 "${S/128/256}" "$shots"
bad "another Blocksize" "c.hds: Cluster has 128 sectors, and 256 according to DiskDescriptor.xml$"
xml 8192 "$(storage 0 8192 "$(image "$A" Compressed a.hds)$(image "$A" Compressed b.hds)")" "$shots"
bad "one GUID twice" "Two images of one GUID: \{aaaa"
xml 8192 "$(storage 0 8192 "$(image "$C" Compressed a.hds)$(image "$B" Compressed b.hds)")" "$shots"
bad "a layer without an image" "No image of the snapshot: \{aaaa"
xml 8192 "$(storage 0 8192 "$(image "$C" qcow2 a.hds)")" ""
bad "a type nobody knows" "Unknown type of image: a.hds$"
xml 8192 "$S" "$(shot "$A" "$C")$(shot "$B" "$A")$(shot "$C" "$B")"
bad "snapshots in a circle" "Snapshots form a circle: \{5fba"
xml 8192 "$S" "$(shot "$B" "$A")$(shot "$C" "$B")"
bad "a snapshot that is not there" "No such snapshot: \{aaaa"
xml 8192 "$(storage 0 8192 "$(image "$A" Compressed a.hds)$(image "$C" Plain plain.hds)")" \
	"$(shot "$A" "$Z")$(shot "$C" "$A")"
bad "a plain image on top" "Plain image on top of another: plain.hds$"
xml 8192 "$(storage 0 8192 "$(image "$C" Compressed b.hds)$(image "$A" Compressed b.hds)")" \
	"$(shot "$A" "$Z")$(shot "$C" "$A")"
bad "one file twice" "b.hds is in the chain twice$"
xml 8192 "$(storage 0 8192 "$(image "$C" Compressed ../d.hdd/a.hds)")" ""
bad "a file outside" "^vdisk: d.hdd: ../d.hdd/a.hds leads out of $tmp/d.hdd \(see --allow-path\)$"
xml 8192 "$(storage 0 8192 "$(image "$C" Compressed /etc/passwd)")" ""
bad "an absolute file" "^vdisk: d.hdd: /etc/passwd is an absolute path \(see --allow-path\)$"
xml 8192 "$(storage 0 8192 "$(image "$C" Compressed gone.hds)")" ""
bad "a file that is gone" "^vdisk: d.hdd: gone.hds: No such file or directory$"
xml 16384 "$(storage 0 16384 "$(image "$C" Compressed a.hds)")" ""
bad "an image that is too short" "^vdisk: d.hdd: a.hds: .+: [0-9]+$"
xml 8192 "$S" "$shots" "" '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
bad "a DTD" "DiskDescriptor.xml: Has a document type definition$"
xml 8192 "$S" "$shots" "" '<!DOCTYPE Parallels_disk_image SYSTEM "http://127.0.0.1/x.dtd">'
bad "a DTD elsewhere" "DiskDescriptor.xml: Has a document type definition$"
echo '<Parallels_disk_image>' >d.hdd/DiskDescriptor.xml
bad "no XML" "DiskDescriptor.xml: No well-formed XML$"
echo '<other/>' >d.hdd/DiskDescriptor.xml
bad "another XML" "DiskDescriptor.xml: Not a description of a Parallels disk$"
{ echo '<Parallels_disk_image>'; head -c 1048577 /dev/zero | tr '\0' ' '; } >d.hdd/DiskDescriptor.xml
bad "more than 1 MiB" "DiskDescriptor.xml is longer than 1 MiB: "
rm d.hdd/DiskDescriptor.xml
bad "a directory without a description" "^vdisk: d.hdd: "

# A machine that sleeps would find another disk; one that does not says so, too.
for state in 0 '' 1 6; do
	xml 8192 "$(storage 0 8192 "$all")" "$shots" \
		"<Miscellaneous><CompatLevel>level2</CompatLevel><SuspendState>$state</SuspendState></Miscellaneous>"
	case $state in
	0 | '') t "SuspendState '$state'" "$vdisk" table d.hdd ;;
	*)
		bad "SuspendState $state" "Image belongs to a machine that is suspended \(see --read-only\)$"
		eq "SuspendState $state: info says it" "$("$vdisk" info d.hdd | sed -n 's/^read-only: //p')" \
			"Image belongs to a machine that is suspended" ;;
	esac
	reads "SuspendState '$state': is read" want.raw d.hdd
done

# One image of several, by itself; and where the bundle was before.
xml 8192 "$(storage 0 8192 "$all")" "$shots"
why="Piece of a disk, open its description: DiskDescriptor.xml"
for l in a b c; do
	refused "$l alone" "$why \(see -f with --read-only\)$" "$vdisk" table d.hdd/$l.hds
	refused "$l alone, for reading" "$why \(see -f\)$" "$vdisk" table -r d.hdd/$l.hds
	refused "$l alone, said to be one" "$why \(see --read-only\)$" "$vdisk" table -f parallels d.hdd/$l.hds
	t "$l alone, said to be one, for reading" "$vdisk" table -r -f parallels d.hdd/$l.hds
	t "$l alone: info" "$vdisk" info d.hdd/$l.hds
done
xml 8192 "$(storage 0 8192 "$(image "$C" Compressed a.hds)")" "$(shot "$C" "$Z")"
t "the only image of a disk" "$vdisk" table d.hdd/a.hds
xml 8192 "$(storage 0 8192 "${all//<File>/<File>/Users/x/Parallels/d.hdd/}")" "$shots"
reads "absolute names of files that were moved" want.raw d.hdd
xml 8192 "$(storage 0 8192 "${all//<File>/<File>C:\\VMs\\d.hdd\\}")" "$shots"
reads "and of another system" want.raw d.hdd

ktap_end
