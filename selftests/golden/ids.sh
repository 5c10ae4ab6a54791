#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Ids of parents that mean "none" in a child: a VHD's of zeroes, a VMDK's ffffffff.
# Who reads such a child reads its parent; who makes one gives the parent an id.
. "$(dirname "$0")/lib.sh"

mkdir "$tmp/in"
cd "$tmp/in" || exit
size=$((5 << 20))
zero='\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

# A VHD of that id, and children of all that may make them.
base()
{
	case $1 in
	dynamic) "$here/vhd.py" make base.vhd size=$size blocks=0,2 seed=1 raw=b.raw ;;
	fixed)
		truncate -s $size b.raw
		python3 -c 'import sys; sys.stdout.buffer.write(b"x" * 4096)' |
			dd of=b.raw conv=notrunc status=none
		qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on b.raw base.vhd ;;
	esac
	"$here/vhd.py" set base.vhd "$([ "$1" = fixed ] && echo footer || echo both).uuid=$zero"
}

for kind in dynamic fixed; do
	rm -f ./*
	base $kind
	reads "$kind VHD without an id" b.raw base.vhd
	cp b.raw c.raw
	"$here/vhd.py" make child.vhd size=$size blocks=1,2 sectors=3 seed=2 raw=c.raw \
		parent=zero w2ru='.\base.vhd'
	reads "$kind: a child of it" c.raw child.vhd
	t "$kind: commit" "$vdisk" commit child.vhd
	status "$kind: the parent is a VHD after it" 0 "$vdisk" check base.vhd
	reads "$kind: and has what the child has" c.raw base.vhd
	eq "$kind: commit gives no id" "$("$vdisk" info base.vhd | sed -n 's/^ *uuid: //p')" \
		"$(printf '%032d' 0)"

	for how in "create -f vhd -b base.vhd new.vhd" "snapshot base.vhd new.vhd"; do
		rm -f ./*
		base $kind
		# shellcheck disable=SC2086
		t "$kind: ${how%% *}" "$vdisk" $how
		reads "$kind: ${how%% *}: reads the parent" b.raw new.vhd
		eq "$kind: ${how%% *}: as a VHD" "$("$vdisk" table new.vhd | grep -c ' vhd 1 [^ ]*base.vhd')" 1
		status "$kind: ${how%% *}: which is sound" 0 "$vdisk" check base.vhd
		t "$kind: ${how%% *}: and has an id" [ "$("$vdisk" info base.vhd |
			sed -n 's/^ *uuid: //p')" != "$(printf '%032d' 0)" ]
		same_as_qemu "$kind: ${how%% *}: qemu-img reads it, too" vpc base.vhd -o size=current
	done
	rm -f ./*
	base $kind
	"$here/vhd.py" make old.vhd size=$size blocks=1 seed=3
	"$here/vhd.py" make child.vhd size=$size parent=old.vhd w2ru='.\old.vhd'
	t "$kind: rebase" "$vdisk" rebase -u -b base.vhd child.vhd
	reads "$kind: rebase: reads the parent" b.raw child.vhd
	rm -f ./*
	base $kind
	sum=$(sha base.vhd)
	exec 9<base.vhd
	# Somebody reads it, and shares no writing: byte 201 in QEMU's convention.
	python3 -c 'import fcntl, os, struct, sys, time
fcntl.fcntl(9, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 201, 1, 0))' 9<&9
	refused "$kind: somebody else uses it" "Image is in use by another program" \
		"$vdisk" create -f vhd -b base.vhd new.vhd
	exec 9<&-
	refused "$kind: whoever reads it though others do" "Image has no id, and gets none while others use it$" \
		"$vdisk" create -U -f vhd -b base.vhd new.vhd
	eq "$kind: it was left alone" "$(sha base.vhd)" "$sum"
	"$vdisk" create -f qed -b base.vhd -F vhd new.qed
	eq "$kind: QED needs no id" "$(sha base.vhd)" "$sum"
done

# VMDK: texts of their own, and inside.

# cid FILE KEY VALUE: what follows in the file stays where it is
cid()
{
	python3 - "$@" <<-'END'
		import re, sys
		name, key, value = sys.argv[1:]
		old = open(name, "rb").read()
		new = re.sub(b"(?m)^%s=[0-9a-fA-F]*" % key.encode(), b"%s=%s" % (key.encode(), value.encode()),
		             old, count=1)
		end = new.find(b"\0", new.find(b"# Disk DescriptorFile"))
		if end > 0:
		    new = new[:end] + bytes(max(0, len(old) - len(new))) + new[end + max(0, len(new) - len(old)):]
		open(name, "wb").write(new)
	END
}

rm -f ./*
python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(6).randbytes(1 << 20))' >../b.raw
for cid in ffffffff fffffffe FFFFFFFF; do
	for kind in flat sparse stream; do
		rm -f ./*
		cp ../b.raw b.raw
		case $kind in
		flat)
			cp b.raw d-flat.vmdk
			printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "d-flat.vmdk" 0\n' \
				$cid >base.vmdk ;;
		sparse) qemu-img convert -f raw -O vmdk b.raw base.vmdk ;;
		stream) qemu-img convert -f raw -O vmdk -o subformat=streamOptimized b.raw base.vmdk ;;
		esac
		cid base.vmdk CID $cid
		# As QEMU makes it: it copies what is there.
		qemu-img create -q -f vmdk -b base.vmdk -F vmdk child.vmdk 1M
		qemu-io -f vmdk -c 'write -P 5 128k 4k' child.vmdk >/dev/null
		cid child.vmdk parentCID $cid
		reads "CID=$cid, $kind: info" b.raw base.vmdk
		same_as_qemu "CID=$cid, $kind: a child" vmdk child.vmdk
		eq "CID=$cid, $kind: it has a parent" "$("$vdisk" table child.vmdk | cut -d ' ' -f 5)" 2
		t "CID=$cid, $kind: create" "$vdisk" create -f vmdk -b base.vmdk new.vmdk
		reads "CID=$cid, $kind: create: reads the parent" b.raw new.vmdk
		t "CID=$cid, $kind: create: the parent has an id" \
			eval "! LC_ALL=C grep -aqi '^CID=fffffff[ef]' base.vmdk"
		t "CID=$cid, $kind: create: qemu-img reads the same" \
			qemu-img compare -f raw -F vmdk b.raw new.vmdk
		cid base.vmdk CID $cid
		t "CID=$cid, $kind: snapshot" "$vdisk" snapshot base.vmdk s.vmdk
		reads "CID=$cid, $kind: snapshot: reads the parent" b.raw s.vmdk
	done
done
# A name without a CID that fits is another parent's.
cp ../b.raw d-flat.vmdk
printf '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "d-flat.vmdk" 0\n' >base.vmdk
qemu-img create -q -f vmdk -b base.vmdk -F vmdk child.vmdk 1M
cid child.vmdk parentCID ffffffff
refused "a parent that has an id, and a child that has none of it" \
	"Parent: base.vmdk: Image has the CID 00000001 instead of ffffffff$" "$vdisk" table child.vmdk

ktap_end
