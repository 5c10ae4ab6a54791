#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# VMDK, Parallels and QED of every sub-format qemu-img makes: the tool reads
# what went in, knows the format, finds nothing wrong, changes nothing.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
python3 - <<'END'
import random
rnd = random.Random(11)
with open("in.raw", "wb") as f:
    f.truncate((21 << 20) + 512 * 5)
    for at in (0, 3 << 20, (3 << 20) + 70144, 11 << 20, 21 << 20):
        f.seek(at)
        f.write(rnd.randbytes(2560))
    f.seek(14 << 20)
    f.write(rnd.randbytes(3 << 20))
    f.write(bytes(1 << 20))
END

# FORMAT [OPTIONS]
while read -r format options; do
	name="$format${options:+ $options}"
	rm -f ./*."$format"
	qemu-img convert -f raw -O "$format" ${options:+-o "$options"} in.raw "x.$format" 2>.err ||
		{ fail "$name: made by qemu-img" "$(cat .err)"; continue; }
	sums=$(cat ./*."$format" | sha256sum)
	eq "$name: the format is known" "$("$vdisk" probe "x.$format")" "$format"
	reads "$name: content" in.raw "x.$format"
	status "$name: check finds nothing" 0 "$vdisk" check "x.$format"
	eq "$name: the size" "$(table_size "x.$format")" "$(stat -c %s in.raw)"
	t "$name: may be written" "$vdisk" table "x.$format"
	t "$name: info is JSON" eval "'$vdisk' info --json x.$format | python3 -m json.tool"
	eq "$name: the files were left alone" "$(cat ./*."$format" | sha256sum)" "$sums"
done <<'END'
vmdk
vmdk zeroed_grain=on
vmdk compat6=on
vmdk adapter_type=lsilogic,hwversion=8,toolsversion=1
vmdk subformat=monolithicFlat
vmdk subformat=twoGbMaxExtentSparse
vmdk subformat=twoGbMaxExtentFlat
vmdk subformat=streamOptimized
parallels
parallels cluster_size=64k
parallels cluster_size=64500
parallels cluster_size=512
qed
qed cluster_size=4k,table_size=16
qed cluster_size=1M,table_size=2
END

# Children, by what they say of their parents.
mkdir sub
for format in qed vmdk; do
	qemu-img convert -f raw -O $format in.raw base.$format
	qemu-img create -q -f $format -b base.$format -F $format child.$format
	qemu-io -f $format -c 'write -P 9 1M 100k' -c 'write -P 8 15M 3k' child.$format >/dev/null
	same_as_qemu "$format: a child" $format child.$format
	eq "$format: info names the parent" \
		"$("$vdisk" info child.$format | sed -n 's/^backing file: //p')" base.$format
	qemu-img create -q -f $format -b "$tmp/base.$format" -F $format absolute.$format
	mv absolute.$format sub/
	refused "$format: an absolute parent elsewhere" "is an absolute path \(see --allow-path\)$" \
		"$vdisk" table sub/absolute.$format
	reads "$format: --allow-path" in.raw sub/absolute.$format --allow-path "$tmp"
	qemu-img create -q -f $format -b ../base.$format -F $format sub/up.$format
	refused "$format: a parent beside its directory" "leads out of $tmp/sub \(see --allow-path\)$" \
		"$vdisk" table sub/up.$format
	reads "$format: --allow-path with a file" in.raw sub/up.$format --allow-path base.$format
done

# The CID of a VMDK parent changes when it is written: the child is stale.
qemu-io -f vmdk -c 'write -P 1 0 512' base.vmdk >/dev/null
refused "a VMDK parent that was changed" \
	"Parent: base.vmdk: Image has the CID [0-9a-f]{8} instead of [0-9a-f]{8}$" \
	"$vdisk" table child.vmdk

# QED says raw or nothing.
qemu-img create -q -f qed -b in.raw -F raw onraw.qed
reads "QED on a raw file" in.raw onraw.qed
python3 - <<'END'
with open("onraw.qed", "r+b") as f:
    f.seek(16)
    f.write(b"\x01")
END
refused "QED on a file that shows nothing, not said to be raw" \
	"onraw.qed: Parent: in.raw: Unknown format \\(rebase -u -F raw if it is raw\\)$" "$vdisk" table onraw.qed
cp base.qed loop.qed
qemu-img rebase -u -f qed -b loop.qed -F qed loop.qed
refused "QED on itself" "Parent: .*loop.qed is in the chain twice$" "$vdisk" table loop.qed
for i in $(seq 1 64); do
	prev=$([ "$i" = 1 ] && echo base || echo "c$((i - 1))")
	qemu-img create -q -f qed -o cluster_size=4k,table_size=2 -b "$prev.qed" -F qed "c$i.qed" 21M
done
qemu-io -f qed -c 'write -P 7 2M 5k' c40.qed >/dev/null
cp in.raw want.raw
truncate -s 21M want.raw
qemu-io -f raw -c 'write -P 7 2M 5k' want.raw >/dev/null
reads "64 layers of QED" want.raw c63.qed
refused "65 layers" "Parent: more than 64 layers$" "$vdisk" table c64.qed

ktap_end
