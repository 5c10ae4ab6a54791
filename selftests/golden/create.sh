#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# create: every sub-format, opened by us, by qemu-img, and by vhdiinfo and
# vmdkinfo where they can; what the options say is what is in the file; children
# find their parents; and nothing is made that could not be used.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit

# field FILE OFFSET WIDTH le|be: an integer
field()
{
	python3 - "$@" <<-'END'
		import sys
		name, at, width, order = sys.argv[1:]
		with open(name, "rb") as f:
		    f.seek(int(at))
		    print(int.from_bytes(f.read(int(width)), {"le": "little", "be": "big"}[order]))
	END
}

# facts FILE NAME: a line of `vdisk info`
fact()
{
	"$vdisk" info "$1" | sed -n "s/^ *$2: *//p"
}

# says_size DESCRIPTION BYTES COMMAND...
says_size()
{
	eq "$1" "$("${@:3}" 2>&1 | grep -m 1 -o '([0-9]* bytes)')" "($2 bytes)"
}

# FILE FORMAT QEMU SIZE OPTIONS; QEMU is what qemu-img calls it, or - where it
# cannot read it: bundles, QED whose tables hold more than 2^64 bytes or are one
# cluster long. What its check says of an empty Parallels image is wrong for its
# own ones, too.
while read -r file format qemu size options; do
	name="$format${options:+ $options}"
	given=() known=()
	[ -z "$options" ] || given=(-o "$options")
	[ "$format" != raw ] || known=(-f raw)
	t "$name: create" "$vdisk" create -f "$format" "${given[@]}" "$file" "$size"
	status "$name: check finds nothing" 0 "$vdisk" check "${known[@]}" "$file"
	bytes=$(numfmt --from=iec "$size")
	eq "$name: the size" "$(table_size "$file" "${known[@]}")" "$bytes"
	t "$name: may be written" "$vdisk" table "${known[@]}" "$file"
	t "$name: is small" [ "$(du -sk "$file" | cut -f 1)" -le 8192 ]
	[ "$qemu" != - ] || continue
	eq "$name: qemu-img sees the size" \
		"$(qemu-img info --output=json -f "$qemu" "$file" | jq '."virtual-size"')" "$bytes"
	case $qemu in
	vmdk | qed)
		status "$name: qemu-img check" 0 qemu-img check -f "$qemu" "$file" ;;
	vpc)
		if command -v vhdiinfo >/dev/null; then
			says_size "$name: vhdiinfo" "$bytes" vhdiinfo "$file"
		fi ;;
	esac
	# It takes no grain of 8 sectors.
	if [ "$qemu" = vmdk ] && [ "$options" != grain_size=4k ] &&
		command -v vmdkinfo >/dev/null; then
		says_size "$name: vmdkinfo" "$bytes" vmdkinfo "$file"
	fi
done <<'END'
r.img raw raw 10M
v.vhd vhd vpc 10M
v4k.vhd vhd vpc 100M block_size=4k
v256m.vhd vhd vpc 1G block_size=256M
v512k.vhd vhd vpc 100G block_size=512k
vmax.vhd vhd vpc 2040G
vodd.vhd vhd vpc 1050112
vfix.vhd vhd vpc 10M subformat=fixed
vbig.vhd vhd vpc 200G subformat=fixed
ms.vmdk vmdk vmdk 10M
mslow.vmdk vmdk vmdk 512
msbig.vmdk vmdk vmdk 100G
ms4k.vmdk vmdk vmdk 100M grain_size=4k
ms1m.vmdk vmdk vmdk 100M grain_size=1M
mz.vmdk vmdk vmdk 10M zeroed_grain=on
mf.vmdk vmdk vmdk 5G subformat=monolithicFlat
ts.vmdk vmdk vmdk 5G subformat=twoGbMaxExtentSparse
tz.vmdk vmdk vmdk 5G subformat=twoGbMaxExtentSparse,zeroed_grain=on
tf.vmdk vmdk vmdk 5G subformat=twoGbMaxExtentFlat
so.vmdk vmdk vmdk 10M subformat=streamOptimized
sobig.vmdk vmdk vmdk 1T subformat=streamOptimized
vf.vmdk vmdk vmdk 10M subformat=vmfs
vs.vmdk vmdk vmdk 10M subformat=vmfsSparse
vs64.vmdk vmdk vmdk 100G subformat=vmfsSparse,grain_size=64k
p.hds parallels parallels 10M
podd.hds parallels parallels 10M cluster_size=64512
ptiny.hds parallels parallels 1M cluster_size=512
pbig.hds parallels parallels 8T
p1.hds parallels parallels 10M version=1
p1odd.hds parallels parallels 10M version=1,cluster_size=32256
b.hdd parallels - 10M bundle=on
b1.hdd parallels - 10485248 bundle=on,version=1,cluster_size=64k
q.qed qed qed 10M
q4k.qed qed qed 1G cluster_size=4k,table_size=16
q64m.qed qed - 1G cluster_size=64M,table_size=2
qmax.qed qed qed 64T
q1.qed qed - 10M table_size=1
END

# What the options say.
eq "VHD: a rounded size is what qemu-img makes of it" \
	"$("$vdisk" create -f vpc -o force_size=off chs.vhd 10M && table_size chs.vhd)" 10514432
eq "VHD: by geometry" "$(field chs.vhd 56 2 be)/$(field chs.vhd 58 1 be)/$(field chs.vhd 59 1 be)" \
	"302/4/17"
eq "VHD: an exact size has no geometry" \
	"$(field v.vhd 56 2 be)/$(field v.vhd 58 1 be)/$(field v.vhd 59 1 be)" "65535/16/255"
eq "VHD: footer and copy are one" "$(head -c 512 v.vhd | sha256sum)" "$(tail -c 512 v.vhd | sha256sum)"
eq "VHD: ids differ" "$(cmp -s -n 16 -i 68 v.vhd v4k.vhd && echo same)" ""
for mib in 1 31 127 503 1023 4095 32000 130000; do
	want=$(qemu-img create -q -f vpc q.vhd "${mib}M" && table_size q.vhd -o size=current)
	eq "VHD: $mib MiB rounded as qemu-img does" \
		"$("$vdisk" create --force -f vhd -o force_size=off chs.vhd "${mib}M" && table_size chs.vhd)" "$want"
done
eq "VMDK: flags and version" "$(field ms.vmdk 4 4 le) $(field ms.vmdk 8 4 le)" "1 3"
eq "VMDK: zeroed grains" "$(field mz.vmdk 4 4 le) $(field mz.vmdk 8 4 le)" "2 7"
"$vdisk" create -f vmdk -o adapter_type=lsilogic,hwversion=8,toolsversion=77 a.vmdk 1G
eq "VMDK: the guest's hardware" \
	"$(grep -aE '^ddb' a.vmdk | tr -d ' "' | sed 's/ddb.//' | tr '\n' ' ')" \
	"virtualHWVersion=8 geometry.cylinders=130 geometry.heads=255 geometry.sectors=63 adapterType=lsilogic toolsVersion=77 "
eq "VMDK: compat6" "$("$vdisk" create -f vmdk -o compat6 c6.vmdk 1M && grep -ac 'HWVersion = "6"' c6.vmdk)" 1
eq "Parallels: version" "$(head -c 16 p1.hds) $(head -c 16 p.hds)" "WithoutFreeSpace WithouFreSpacExt"
eq "Parallels: data starts at a cluster" "$(($(field podd.hds 48 4 le) % 126))" 0
eq "bundle: what is in it" "$(cd b.hdd && LC_ALL=C; printf '%s ' *)" \
	"DiskDescriptor.xml b.hdd b.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds "
eq "bundle: geometry is the size" "$(($(sed -n 's,.*<\(Cylinders\|Heads\|Sectors\)>\(.*\)</.*,\2,p' \
	b1.hdd/DiskDescriptor.xml | paste -sd '*')))" 20479
t "bundle: by its name with a slash" "$vdisk" create -f parallels -o bundle=on slash.hdd/ 1M
eq "QED: cluster and table" "$(field q4k.qed 4 4 le) $(field q4k.qed 8 4 le)" "4096 16"
for format in raw vhd vmdk parallels qed; do
	t "$format: -o help" eval "'$vdisk' create -f $format -o help | grep -qx 'Options of $format:'"
	t "$format: convert -o help" eval "'$vdisk' convert -O $format -o help | grep -qx 'Options of $format:'"
done
t "help lists defaults" eval "'$vdisk' create -f qed -o help | grep -q 'table_size=NUMBER .*(default: 4)'"

# Children.
mkdir sub
for format in vhd vmdk qed; do
	"$vdisk" create -f $format base.$format 10M
	qemu-io -f "${format/vhd/vpc}" -c 'write -P 7 1M 100k' base.$format >/dev/null
	qemu-img convert -f "${format/vhd/vpc}" -O raw base.$format base.raw
	t "$format: a child" "$vdisk" create -f $format -b base.$format -F $format child.$format
	eq "$format: its size is its parent's" "$(table_size child.$format)" 10485760
	eq "$format: info names the parent" "$(fact child.$format 'backing file')" \
		"$([ $format = vhd ] && echo ./)base.$format"
	reads "$format: a child holds what its parent holds" base.raw child.$format
	status "$format: check of a child" 0 "$vdisk" check child.$format
	t "$format: a longer child" "$vdisk" create -f $format -o backing_file=base.$format long.$format 12M
	cp base.raw long.raw && truncate -s 12M long.raw
	reads "$format: zeroes follow" long.raw long.$format
	t "$format: a child elsewhere" "$vdisk" create -f $format -b "$tmp/base.$format" sub/child.$format
	reads "$format: finds its parent" base.raw sub/child.$format --allow-path "$tmp"
	cp base.$format sub/only.$format
	t "$format: a name is meant from the child's directory" \
		"$vdisk" create -f $format -b only.$format sub/near.$format
	mkdir moved && mv sub/near.$format sub/only.$format moved/
	reads "$format: and both may move" base.raw moved/near.$format
	rm -rf moved
	refused "$format: no parent" "^vdisk: gone.$format: No such file" \
		"$vdisk" create -f $format -b gone.$format x.img
	cp child.$format same.$format
	refused "$format: on itself" 'The new image is made from this file$' \
		"$vdisk" create --force -f $format -b same.$format same.$format
	refused "$format: on its own child" 'The new image is made from this file$' \
		"$vdisk" create --force -f $format -b same.$format base.$format
	t "$format: both are there" cmp same.$format child.$format
done
if command -v vhdiinfo >/dev/null; then
	eq "VHD: vhdiinfo names the parent" \
		"$(vhdiinfo child.vhd | sed -n 's/.*Parent filename.*: //p')" base.vhd
fi
for sub in twoGbMaxExtentSparse streamOptimized vmfsSparse; do
	t "VMDK $sub: a child" "$vdisk" create -f vmdk -b base.vmdk -o subformat=$sub c-$sub.vmdk
	qemu-img convert -f vmdk -O raw base.vmdk base.raw
	reads "VMDK $sub: reads its parent" base.raw c-$sub.vmdk
	t "VMDK $sub: as qemu-img does" qemu-img compare -f raw -F vmdk base.raw c-$sub.vmdk
done
eq "COWD: the parent's name" "$(tail -c +33 c-vmfsSparse-delta.vmdk | head -c 9)" base.vmdk
same_as_qemu "QED: a child" qed child.qed
same_as_qemu "VMDK: a child" vmdk child.vmdk
t "QED on raw" "$vdisk" create -f qed -b base.raw -F raw onraw.qed
eq "QED: which is said" "$(field onraw.qed 16 8 le)" 5
reads "QED on raw reads it" base.raw onraw.qed
refused "QED on raw must be said" 'base.raw: Unknown format' \
	"$vdisk" create -f qed -b base.raw x.img
t "QED on VHD" "$vdisk" create -f qed -b base.vhd -F vhd onvhd.qed
refused "VHD on QED" '^vdisk: base.qed: Parent of a vhd image is vhd, not qed$' \
	"$vdisk" create -f vhd -b base.qed x.img
refused "VMDK on a bare extent" 'Image has no descriptor$' \
	"$vdisk" create -f vmdk -b vs-delta.vmdk x.img
refused "a bundle as parent" 'A bundle is nobody.s parent$' \
	"$vdisk" create -f qed -b b.hdd x.img
refused "two versions of the machine" '^vdisk: Options hwversion and compat6 exclude each other$' \
	"$vdisk" create -f vmdk -o hwversion=4,compat6=on x.vmdk 1M
refused "a fixed VHD on another" 'A fixed VHD has no parent$' \
	"$vdisk" create -f vhd -o subformat=fixed -b base.vhd x.img
cp base.vhd 'bä😀se.vhd'
t "VHD: a parent with any letters" "$vdisk" create -f vhd -b 'bä😀se.vhd' uni.vhd
reads "VHD: which is found" base.raw uni.vhd
cp base.vhd $'b\xff.vhd'
refused "VHD: a name that is no UTF-8" 'cannot be told to Windows' \
	"$vdisk" create -f vhd -b $'b\xff.vhd' x.img
cp base.vhd 'b\s.vhd'
refused "VHD: a name with a backslash" 'cannot be told to Windows' \
	"$vdisk" create -f vhd -b 'b\s.vhd' x.img
cp base.vmdk 'b"s.vmdk'
refused "VMDK: a name with a quote" 'Name cannot stand in a descriptor: b"s.vmdk$' \
	"$vdisk" create -f vmdk -b 'b"s.vmdk' x.img
refused "VMDK: an own name with a quote" 'Name cannot stand in a descriptor: ' \
	"$vdisk" create -f vmdk -o subformat=monolithicFlat 'x"y.vmdk' 1M
refused "bundle: a name that is no XML" 'Name cannot stand in DiskDescriptor.xml: ' \
	"$vdisk" create -f parallels -o bundle=on $'x\x01y' 1M
t "bundle: a name for XML to quote" "$vdisk" create -f parallels -o bundle=on 'a<b>&c.hdd' 1M
status "bundle: which is read again" 0 "$vdisk" check 'a<b>&c.hdd'

# usage REGEX ARGUMENT...: exit status 2 and one such line
usage()
{
	local regex=$1 status=0

	shift
	"$vdisk" create "$@" >/dev/null 2>.err || status=$?
	if [ "$status" -eq 2 ] && [ "$(wc -l <.err)" -eq 1 ] && grep -Eq -- "$regex" .err; then
		pass "usage: $*"
	else
		fail "usage: $*" "status $status, $(cat .err)"
	fi
}

usage '^vdisk: Of which format\? ' x.img 1M
usage '^vdisk: Unknown format: qcow2$' -f qcow2 x.img 1M
usage '^vdisk: Cannot write the format sesparse$' -f sesparse x.img 1M
usage '^vdisk: How large\? ' -f vhd x.img
usage '^vdisk: Usage: ' -f vhd
usage '^vdisk: Size is zero$' -f vhd x.img 0
for size in 1x 1Mb 1Mi -1 '' 1.5 1.5b 1.M .5M 1..5M 1,5M 0x10 ' 1' 1e3 99999999999999999999 17000000T \
	1.99999999999999999999G; do
	usage '^vdisk: Size is no number of bytes' -f vhd -- x.img "$size"
done
usage '^vdisk: Unknown option: foo$' -f vhd -o foo=1 x.img 1M
usage '^vdisk: Unknown option: cluster_size$' -f vhd -o cluster_size=64k x.img 1M
usage '^vdisk: Images of the format parallels name no parent$' -f parallels -b p.hds x.img
usage '^vdisk: Unknown option: backing_file$' -f parallels -o backing_file=p.hds x.img
usage '^vdisk: The format of a parent, but no parent$' -f qed -F raw x.img 1M
usage '^vdisk: Unknown option: backing_fmt$' -f raw -F raw x.img 1M
usage '^vdisk: Option subformat is one of dynamic, fixed, not: thin$' -f vhd -o subformat=thin x.img 1M
usage '^vdisk: Option force_size takes on\|off, not: 1$' -f vhd -o force_size=1 x.img 1M
usage '^vdisk: Option block_size takes SIZE, not: big$' -f vhd -o block_size=big x.img 1M
usage '^vdisk: Option table_size takes NUMBER, not: 4k$' -f qed -o table_size=4k x.img 1M

# Sizes as qemu-img, losetup and cryptsetup take them, rounded up to a sector.
while read -r size bytes; do
	"$vdisk" create -f raw size.raw "$size"
	eq "a size of $size" "$(stat -c %s size.raw)" "$bytes"
	rm -f size.raw
done <<'END'
1 512
513 1024
1000b 1024
1000B 1024
1k 1024
1K 1024
1KiB 1024
10M 10485760
10m 10485760
10MiB 10485760
10MB 10000384
1.5M 1572864
1.5MiB 1572864
0.5k 512
1.3k 1536
1.001MB 1001472
3G 3221225472
END

# Refused by what the formats can hold.
while IFS='|' read -r args regex; do
	# shellcheck disable=SC2086
	refused "create $args" "^vdisk: [^:]*: $regex\$" "$vdisk" create $args
done <<'END'
-f vhd x.img 2041G|VHD is larger than 2040 GiB, sectors: 4280287232
-f vhd -o block_size=3M x.img 1M|Block size is not a power of 2, 4 KiB to 256 MiB: 3145728
-f vhd -o block_size=512M x.img 1M|Block size is not a power of 2, .*
-f vhd -o block_size=2k x.img 1M|Block size is not a power of 2, .*
-f vhd -o block_size=4k x.img 2000G|Block size is too small for the disk: 4096
-f vmdk x.img 2T|Disk and tables exceed 2 TiB, sectors: 4294967296
-f vmdk -o grain_size=3k x.img 1M|Grain size is not a power of two: 3072
-f vmdk -o grain_size=2k x.img 1M|Grain size is not 4 KiB to 1 GiB: 2048
-f vmdk -o grain_size=2G x.img 1M|Grain size is not 4 KiB to 1 GiB: .*
-f vmdk -o subformat=streamOptimized,grain_size=2M x.img 1M|Grain size is not 4 KiB to 1 MiB: .*
-f vmdk -o subformat=streamOptimized x.img 8E|Disk is too long for a VMDK, sectors: .*
-f vmdk -o subformat=vmfsSparse x.img 2T|Disk and tables exceed 2 TiB, sectors: .*
-f vmdk -o subformat=vmfsSparse,grain_size=2M x.img 1M|Grain size is over 1 MiB: 2097152
-f vmdk -o subformat=twoGbMaxExtentFlat x.img 9T|Disk has too many extents: 4608
-f vmdk -o subformat=monolithicFlat x.img 8E|Disk has 2\^63 bytes or more: .*
-f raw x.img 8E|Disk has 2\^63 bytes or more: .*
-f parallels -o version=1 x.img 2T|Disk is longer than 2 TiB, sectors: 4294967296
-f parallels -o version=3 x.img 1M|Parallels version is not 1 or 2: 3
-f parallels -o cluster_size=1000 x.img 1M|Cluster size is not a multiple of 512: 1000
-f parallels -o cluster_size=3G x.img 1M|Cluster size is over 2 GiB: 3221225472
-f parallels -o cluster_size=512 x.img 1T|Disk has too many clusters: 2147483648
-f qed x.img 65T|Disk is longer than the tables, bytes: 70368744177664
-f qed -o cluster_size=3k x.img 1M|Cluster size is not a power of two: 3072
-f qed -o cluster_size=128M x.img 1M|Cluster size is not 4 KiB to 64 MiB: .*
-f qed -o table_size=3 x.img 1M|Table size is not 1, 2, 4, 8 or 16: 3
END
for option in zeroed_grain=on grain_size=4k backing_file=base.vmdk; do
	status "no $option for a flat VMDK" 1 "$vdisk" create -f vmdk \
		-o subformat=monolithicFlat,$option x.img 1M
done
eq "nothing was made" "$(find . -name 'x[.]*' -o -name '.vdisk-*')" ""

# Files that are there.
echo precious >there.img
echo precious >x-flat.vmdk
refused "a file that is there" '^vdisk: there.img: File exists$' "$vdisk" create -f qed there.img 1M
refused "an extent that is there" '^vdisk: x-flat.vmdk: File exists$' \
	"$vdisk" create -f vmdk -o subformat=monolithicFlat x.vmdk 1M
eq "both are left alone" "$(cat there.img x-flat.vmdk) $([ -e x.vmdk ] || echo gone)" \
	$'precious\nprecious gone'
refused "a directory is no file to replace" '^vdisk: sub: Is a directory$' \
	"$vdisk" create --force -f qed sub 1M
mkfifo fifo
refused "nor is a FIFO" '^vdisk: fifo: Not a regular file$' "$vdisk" create --force -f qed fifo 1M
refused "a failure leaves what was to be replaced" 'Table size' \
	"$vdisk" create --force -f qed -o table_size=3 there.img 1M
eq "as it was" "$(cat there.img)" precious
ln -s there.img link.img
chmod 640 there.img
chown 65534:65534 there.img 2>/dev/null
before=$(stat -c '%a %u %g' there.img)
t "--force through a link" "$vdisk" create --force -f qed link.img 1M
eq "replaces the file behind it" "$(readlink link.img) $("$vdisk" probe there.img)" "there.img qed"
eq "with its mode and owner" "$(stat -c '%a %u %g' there.img)" "$before"
t "--force with extents" "$vdisk" create --force -f vmdk -o subformat=monolithicFlat x.vmdk 1M
status "which is whole" 0 "$vdisk" check x.vmdk
python3 - there.img >locked <<'END' &
import fcntl, struct, sys, time
f = open(sys.argv[1], "rb")
fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 201, 1, 0))
print("locked", flush=True)
time.sleep(60)
END
holder=$!
for _ in $(seq 100); do [ -s locked ] || sleep 0.05; done
refused "an image in use is not replaced" '^vdisk: there.img: Image is in use by another program$' \
	"$vdisk" create --force -f qed there.img 1M
kill "$holder"
wait "$holder" 2>/dev/null
refused "a directory that is not there" '^vdisk: no/x.img: No such file or directory$' \
	"$vdisk" create -f qed no/x.img 1M
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$tmp"
	mkdir -m 755 mine
	refused "a directory one may not write" '^vdisk: mine/x.img: Permission denied$' \
		setpriv --reuid=65534 --regid=65534 --clear-groups "$vdisk" create -f qed mine/x.img 1M
fi
for args in '-f vhd -o block_size=4k' '-f vmdk' '-f vmdk -o subformat=twoGbMaxExtentFlat' \
	'-f parallels -o bundle=on' '-f qed' '-f raw'; do
	mkdir full
	# shellcheck disable=SC2086
	refused "$args: no space" '^vdisk: full/x[^:]*: File too large$' \
		bash -c 'ulimit -f 4 && exec "$@"' - "$vdisk" create $args full/x 50G
	eq "$args: nothing is left" "$(find full -mindepth 1)" ""
	rm -rf full
done

ktap_end
