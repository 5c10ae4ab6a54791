#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a file is taken for. A guest writes the signature of every other format
# where it can: into the first sectors of a fixed VHD, into the last sector of
# an image whose last cluster is its own. No verb may then read a neighbour.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
printf '%0512d' 7 >secret.raw
truncate -s 64K secret.raw

python3 - <<'END'
import struct

def vhd(kind, header=0xFFFFFFFFFFFFFFFF, size=65536, name=b""):
    f = bytearray(512)
    f[0:8] = b"conectix"
    struct.pack_into(">IIQIII", f, 8, 2, 0x10000, header, 0, 0x74617000, 0x10003)
    struct.pack_into(">QQHBBI", f, 40, size, size, 2, 4, 17, kind)
    struct.pack_into(">I", f, 64, ~sum(f) & 0xFFFFFFFF)
    return bytes(f)

text = b'''# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicFlat"
RW 128 FLAT "secret.raw" 0
'''
xml = b'''<?xml version="1.0"?><Parallels_disk_image Version="1.0">
<Disk_Parameters><Disk_size>128</Disk_size></Disk_Parameters><StorageData><Storage>
<Start>0</Start><End>128</End><Image><GUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</GUID>
<Type>Plain</Type><File>secret.raw</File></Image></Storage></StorageData>
</Parallels_disk_image>'''
hosted = struct.pack("<IIIQQQQIQQQB4sH", 0x564d444b, 1, 3, 0, 128, 1, 2, 512, 0, 0, 8,
                     0, b"\n \r\n", 0).ljust(512, b"\0") + text.ljust(1024, b"\0")
qed = struct.pack("<4sIIIQQQQQII", b"QED\0", 65536, 4, 1, 5, 0, 0, 65536, 65536, 64,
                  10).ljust(64, b"\0") + b"secret.raw"
hds = struct.pack("<16sIIIIIQIIIQ", b"WithouFreSpacExt", 2, 16, 1, 128, 1, 128, 0, 128, 0, 0)
heads = {
    "vmdk-text": text, "vmdk-bom": b"\xef\xbb\xbf" + text, "vmdk": hosted,
    "vmdk-utf16": b"\xff\xfe" + text.decode().encode("utf-16-le"),
    "parallels-xml": xml, "qed": qed, "parallels": hds,
    "cowd": struct.pack("<4sIIIIIII", b"COWD", 1, 3, 128, 1, 4, 1, 8),
    "sesparse": struct.pack("<QQQQQ", 0xCAFEBABE, 0x200000001, 128, 8, 64),
    "vhd": vhd(3, 512), "qcow2": b"QFI\xfb\0\0\0\3", "vdi": bytes(64) + b"\x7f\x10\xda\xbe",
    "vhdx": b"vhdxfile", "luks": b"LUKS\xba\xbe\0\2", "tar": bytes(257) + b"ustar",
    "zip": b"PK\3\4", "gzip": b"\x1f\x8b\x08", "xz": b"\xfd7zXZ\0", "7z": b"7z\xbc\xaf\x27\x1c",
    "ovf": b'<?xml version="1.0"?><Envelope>',
}
data = b"".join(b"%0511d\n" % i for i in range(128))
for name, head in heads.items():
    disk = bytearray(data)
    disk[:len(head)] = head
    with open("fixed-%s.vhd" % name, "wb") as f:
        f.write(disk + vhd(2))
    with open("fixed-%s.raw" % name, "wb") as f:
        f.write(disk)
    with open("odd-%s.vhd" % name, "wb") as f:
        f.write(disk + vhd(2)[:511])
    with open("cookie-%s.vhd" % name, "wb") as f:
        f.write(disk + bytes([vhd(2)[0] ^ 1]) + vhd(2)[1:])
    with open("oddcookie-%s.vhd" % name, "wb") as f:
        f.write(disk + vhd(2)[:7] + b"X" + vhd(2)[8:511])
    for more in b"\n", bytes(511), bytes(512), b"x" * 4096, bytes(4097):
        with open("more%d-%s.vhd" % (len(more), name), "wb") as f:
            f.write(disk + vhd(2) + more)
    with open("head-%s" % name, "wb") as f:
        f.write(head.ljust(65536, b"\0"))
for kind in (2, 3, 4):
    with open("footer-%d" % kind, "wb") as f:
        f.write(vhd(kind, 0xFFFFFFFFFFFFFFFF if kind == 2 else 512))
END

verbs=("probe" "info" "map" "check" "table" "table -r" "why" "resize" "convert" "snapshot"
	"rebase" "commit" "create")

# refuses NAME REGEX FILE: every verb that opens it, and nobody got the secret
refuses()
{
	local verb args out status bad=

	for verb in "${verbs[@]}"; do
		args=()
		case $verb in
		why) args=(1) ;;
		resize) args=(+1M) ;;
		convert) args=(out.img) ;;
		snapshot) args=(out.img) ;;
		rebase) args=(-b secret.raw -F raw) ;;
		create) args=(out.img) ;;
		esac
		status=0
		# shellcheck disable=SC2086
		if [ "$verb" = create ]; then
			out=$("$vdisk" create -f qed -b "$3" out.img 2>&1) || status=$?
		else
			out=$("$vdisk" $verb "$3" "${args[@]}" 2>&1) || status=$?
		fi
		if [ "$status" -ne 1 ] || ! grep -Eq -- "$2" <<<"$out" || [ -e out.img ]; then
			bad+="$verb: $status $out"$'\n'
		fi
		rm -f out.img
	done
	eq "$1" "$bad" ""
}

for file in fixed-*.vhd; do
	name=${file#fixed-}; name=${name%.vhd}
	begins=${name%%-*}
	[ "$name" != vhd ] || begins="dynamic vhd"
	ends=vhd
	[ "$name" != vhd ] || ends="fixed vhd"
	refuses "fixed VHD, the guest wrote $name" "Begins as $begins, ends as $ends: " "$file"
	reads "fixed VHD, the guest wrote $name: -f vhd" "fixed-$name.raw" "$file" -f vhd
	[ "$name" = vhd ] || refused "a footer of 511 bytes, the guest wrote $name" \
		"Begins as $begins, ends as vhd: " "$vdisk" table "odd-$name.vhd"
	if [ "$name" != vhd ]; then
		for other in cookie oddcookie more{1,511,512,4096,4097}; do
			refused "a footer that is damaged or not the end ($other), the guest wrote $name" \
				"Begins as $begins, ends as vhd: " "$vdisk" table "$other-$name.vhd"
		done
		refuses "a footer with a cookie of its own, the guest wrote $name" \
			"Begins as $begins, ends as vhd: " "cookie-$name.vhd"
	fi
	# As a parent it is what its child says: a VHD.
	"$vdisk" create -f vhd -b "$file" -F vhd child.vhd >/dev/null 2>&1
	reads "a child of it" "fixed-$name.raw" child.vhd
	rm -f child.vhd
done

# The last sector of the last cluster is a guest's: a footer there.
for format in qed parallels vmdk; do
	options=()
	[ "$format" != vmdk ] || options=(-o subformat=monolithicSparse)
	qemu-img create -q -f $format "${options[@]}" guest.$format 1M
	qemu-io -f $format -c 'write -P 3 0 64k' -c 'write -P 4 64k 64k' guest.$format >/dev/null
	for kind in 2 3 4; do
		cp guest.$format forged.$format
		truncate -s %512 forged.$format
		dd if=footer-$kind of=forged.$format bs=512 conv=notrunc status=none \
			seek=$(($(stat -c %s forged.$format) / 512 - 1))
		refuses "$format, the guest wrote a footer of type $kind" \
			"Begins as $format, ends as vhd: " forged.$format
		t "$format, type $kind: -f $format" "$vdisk" table -f $format forged.$format
		eq "$format, type $kind: it is that" \
			"$("$vdisk" info -f $format forged.$format | sed -n 's/^file format: //p')" "$format"
	done
done
qemu-img create -q -f qed -b forged.qed -F qed child.qed 1M
refused "a QED parent says itself what it is" \
	"^vdisk: child.qed: Parent: forged.qed: Begins as qed, ends as vhd: a guest may have written one of them$" \
	"$vdisk" table child.qed

# A disk without a footer, of which a guest wrote the beginning: no text goes on so.
python3 - <<'END'
text = open("head-vmdk-text", "rb").read().rstrip(b"\0")
wide = open("head-vmdk-utf16", "rb").read()
wide = wide[:len(wide.rstrip(b"\0")) + 1]
for name, text in ("text", text), ("wide", wide):
    for at in 1024, 65536, 1 << 20:
        with open("%s-%d" % (name, at), "wb") as f:
            f.write(text.ljust(at - 1, b"\0") + b"\1")
    with open(name + "-none", "wb") as f:
        f.write(text.ljust(65536, b"\0"))
END
# probe only looks at the beginning.
verbs=("${verbs[@]:1}")
for file in {text,wide}-{1024,65536,1048576}; do
	refuses "a disk that begins like a descriptor ($file)" \
		"Descriptor is followed by other data: at $((${file#*-} - 1))$" "$file"
done
for file in {text,wide}-none; do
	t "a descriptor with zeroes behind it ($file)" "$vdisk" info "$file"
done

# A raw disk is raw because somebody says so.
for name in vmdk-text parallels-xml qed vhd; do
	reads "a raw disk, the guest wrote $name" "head-$name" "head-$name" -f raw
	qemu-img create -q -f qed -b "head-$name" -F raw onraw.qed 64K
	reads "as a parent that is said to be raw" "head-$name" onraw.qed
done
refused "a raw disk that shows nothing" "Unknown format \(-f raw if it is raw\)$" \
	"$vdisk" table secret.raw

# What is none of ours is called by its name.
for name in qcow2 vdi vhdx; do
	refused "$name" "$name images are not read here" "$vdisk" table "head-$name"
done
for name in tar zip gzip xz 7z; do
	refused "$name" "Not an image but packed files, unpack them: $name$" "$vdisk" info "head-$name"
done
refused "luks" "Encrypted as a whole: luks" "$vdisk" table head-luks
refused "ovf" "Not an image but a text that names some: ovf$" "$vdisk" table head-ovf
qemu-img create -q -f vmdk d.vmdk 1M
tar cf d.ova d.vmdk
gzip -k d.vmdk
refused "an appliance" "packed files, unpack them: tar$" "$vdisk" table d.ova
refused "a compressed image" "packed files, unpack them: gzip$" "$vdisk" probe d.vmdk.gz

ktap_end
