#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=300
#
# A VMDK by the tool: all its files are handed over and locked, and its content
# id changes with the first write, not before.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img qemu-io
need_disk 1G disk
scratch_fs ext4 "$disk" imgdir
defer cd /
cd "$imgdir"
busy='another process using|locked|in use'

cid()
{
	"$vdisk" info "$1" | sed -n 's/^ *cid: //p'
}

head -c 3M /dev/urandom >pattern
for kind in monolithicSparse monolithicFlat twoGbMaxExtentSparse twoGbMaxExtentFlat; do
	image=$kind.vmdk
	qemu-img create -q -f vmdk -o subformat=$kind "$image" 64M
	until [ "$(LC_ALL=C grep -aEc '^CID=[0-9a-f]{8}$' "$image")" -eq 1 ]; do
		rm -f "$kind"*
		qemu-img create -q -f vmdk -o subformat=$kind "$image" 64M
	done
	before=$(cid "$image")
	t "$kind: attach" attach "$dm" "$image"
	says "$kind: qemu refuses it" "$busy" qemu-io -f vmdk -c 'read 0 512' "$image"
	says "$kind: a second attach is refused" 'is attached|in use' "$vdisk" attach "$dm-2" "$image"
	t "$kind: read" dd if="/dev/mapper/$dm" of=/dev/null bs=1M count=1 status=none
	t "$kind: detach" "$vdisk" detach "$dm"
	eq "$kind: reading changes no id" "$(cid "$image")" "$before"
	t "$kind: attach again" attach "$dm" "$image"
	t "$kind: write" dd if=pattern of="/dev/mapper/$dm" bs=1M seek=5 oflag=direct \
		conv=fsync,nocreat status=none
	t "$kind: detach" "$vdisk" detach "$dm"
	eq "$kind: writing changes the id" "$([ "$(cid "$image")" = "$before" ] && echo same)" ""
	qemu-img convert -f vmdk -O raw "$image" out.raw
	t "$kind: qemu reads what was written" \
		cmp -n $((3 << 20)) -i 0:$((5 << 20)) pattern out.raw
	t "$kind: check finds nothing" "$vdisk" check "$image"
	rm out.raw
done

# A child, and what becomes of it when its parent is written.
qemu-img create -q -f vmdk -b monolithicSparse.vmdk -F vmdk child.vmdk
t "attach a child" attach "$dm" --read-only child.vmdk
t "it reads its parent" cmp -n $((3 << 20)) -i 0:$((5 << 20)) pattern "/dev/mapper/$dm"
says "its parent cannot be attached for writing" "is attached: $dm" \
	"$vdisk" attach "$dm-2" monolithicSparse.vmdk
t "its parent can be read" attach "$dm-2" --read-only monolithicSparse.vmdk
t "detach the parent" "$vdisk" detach "$dm-2"
t "detach the child" "$vdisk" detach "$dm"
t "attach the parent for writing" attach "$dm" monolithicSparse.vmdk
t "write to it" dd if=pattern of="/dev/mapper/$dm" bs=512 count=1 conv=fsync,nocreat status=none
t "detach it" "$vdisk" detach "$dm"
says "the child is refused" 'Image has the CID [0-9a-f]{8} instead of' \
	"$vdisk" attach "$dm" child.vmdk

ktap_end
