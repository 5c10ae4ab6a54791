#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# /etc/vdisktab: the units that the generator makes of it, and what it says of bad
# lines; the words of rd.vdisk= on the kernel's command line.
. "$(dirname "$0")/lib.sh"

top=$(cd "$here/../.." && pwd)
export VDISK_BOOT=$top/userspace/boot VDISK=/usr/sbin/vdisk VDISKTAB=$tmp/vdisktab
export VDISK_RUN=$tmp/run
export VDISK_FSTAB=$tmp/fstab VDISK_MOUNTS=$tmp/mounts
mkdir -p "$tmp/run/root"
: >"$tmp/fstab"
: >"$tmp/mounts"
shell=$(command -v dash || echo sh)

# generate: standard input is the table; units in $tmp/units, words in $tmp/err
generate()
{
	rm -rf "$tmp/units"
	mkdir "$tmp/units"
	cat >"$VDISKTAB"
	"$shell" "$top/userspace/systemd/vdisk-generator" "$tmp/units" 2>"$tmp/err"
}

# made: all that there is, links with what they point to; partitions apart
made()
{
	(cd "$tmp/units" && find . -type f -printf '%P\n' -o -type l -printf '%P -> %l\n' |
		grep -Ev '^dev-mapper-[^/]*[0-9]\.device\.' | LC_ALL=C sort)
}

# unit NAME: the unit without what all have
unit()
{
	grep -Ev '^(#.*|SourcePath=.*|Documentation=.*|\[.*|)$' "$tmp/units/vdisk@$1.service"
}

# parts NAME: its partitions, whose mounts are ordered after it
parts()
{
	unit "$1" | sed -n 's/^Before=blockdev@dev-mapper-\(.*[0-9]\)\.target$/\1/p' | paste -sd ' '
}

generate <<'END'
# an image

web /srv/disk.vhd no-partitions
END
eq "one line: its unit and who wants it" "$(made)" \
'dev-mapper-web.device.d/40-vdisk.conf
dev-mapper-web.device.requires/vdisk@web.service -> ../vdisk@web.service
sysinit.target.wants/vdisk.target -> /lib/systemd/system/vdisk.target
vdisk.target.requires/vdisk@web.service -> ../vdisk@web.service
vdisk@web.service'
eq "one line: all of its unit" "$(sed "s,$tmp,TMP," "$tmp/units/vdisk@web.service")" \
'# Made by vdisk-generator from TMP/vdisktab

[Unit]
Description=Disk image disk.vhd as /dev/mapper/web
Documentation=man:vdisktab(5) man:vdisk(8)
SourcePath=TMP/vdisktab
DefaultDependencies=no
IgnoreOnIsolate=true
After=systemd-udevd-kernel.socket systemd-modules-load.service
Before=blockdev@dev-mapper-web.target umount.target
Wants=blockdev@dev-mapper-web.target
Conflicts=umount.target
RequiresMountsFor=/srv/disk.vhd
After=systemd-remount-fs.service
Before=vdisk.target

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutSec=infinity
ExecStart=/usr/lib/vdisk/attach-clean --no-partitions -- web /srv/disk.vhd
ExecStop=/usr/sbin/vdisk detach -- web'

# What systemd itself thinks of it; it looks for the tool.
systemd_is_content()
{
	local output

	sed -i 's,=/usr/[^ ]*,=/bin/true,' "$tmp/units/vdisk@web.service"
	cp "$top/userspace/systemd/vdisk.target" "$tmp/units"
	output=$(systemd-analyze verify --man=no "$tmp/units/vdisk@web.service" 2>&1 |
		grep -F -e vdisk || true)
	[ -z "$output" ] || { echo "$output"; return 1; }
}
if command -v systemd-analyze >/dev/null; then
	t "systemd can read the unit" systemd_is_content
else
	skip "systemd can read the unit" "no systemd-analyze"
fi

generate <<'END'
off	/a.vhd	noauto
maybe	/a.vhd	nofail
net	/a.vhd	_netdev
root	/a.vhd	x-initrd.attach
END
eq "noauto, nofail, _netdev, x-initrd.attach" "$(made | grep -v '^sysinit')" \
'dev-mapper-maybe.device.requires/vdisk@maybe.service -> ../vdisk@maybe.service
dev-mapper-net.device.d/40-vdisk.conf
dev-mapper-net.device.requires/vdisk@net.service -> ../vdisk@net.service
remote-fs.target.requires/vdisk@net.service -> ../vdisk@net.service
vdisk.target.wants/vdisk@maybe.service -> ../vdisk@maybe.service
vdisk@maybe.service
vdisk@net.service
vdisk@off.service'
eq "nofail: boot does not wait" "$(unit maybe | grep Before=vdisk)" ""
eq "_netdev: before remote-fs.target" "$(unit net | grep -c '^Before=remote-fs.target$')" 1

generate <<'END'
o /o.vhd ro,partitions,format=vhd,allow-path=/p\054\040q,commit=7,buffered
END
eq "options of the tool" "$(unit o | grep ExecStart)" \
	'ExecStart=/usr/lib/vdisk/attach-clean --read-only --partitions --format vhd --allow-path "/p, q" --options commit=7 --options buffered -- o /o.vhd'

generate <<'END'
a-b+#= /m\040y/100%$"\134.vhd
.x /dev/disk/by-id/wwn-0x5
END
name='a\x2db\x2b\x23\x3d'
eq "what systemd would take for its own is escaped: lines" "$(unit "$name" |
	grep -E '^(Exec|Requires|Desc)')" \
'Description=Disk image 100%%$"\.vhd as /dev/mapper/a-b+#=
RequiresMountsFor="/m y/100%%$\"\\.vhd"
ExecStart=/usr/lib/vdisk/attach-clean -- "a-b+#=" "/m y/100%%$$\"\\.vhd"
ExecStop=/usr/sbin/vdisk detach -- "a-b+#="'
if command -v systemd-escape >/dev/null; then
	eq "names are escaped as systemd-escape does" "$name" "$(systemd-escape 'a-b+#=')"
fi
eq "a name that begins with a dot, an image that is a device" \
	"$(unit '\x2ex' | grep -E 'wwn|Requires|remount')" \
'Description=Disk image wwn-0x5 as /dev/mapper/.x
BindsTo=dev-disk-by\x2did-wwn\x2d0x5.device
After=dev-disk-by\x2did-wwn\x2d0x5.device
ExecStart=/usr/lib/vdisk/attach-clean -- .x /dev/disk/by-id/wwn-0x5'

generate <<'END'
data /d.vhd partitions
data3 /e.vhd
p-q /f.vhd noauto
END
eq "partitions: what is mounted from them comes after and goes before" "$(parts data) / $(parts data3)" \
	"$(echo data{1,2} data{4..16} / data3p{1..16})"
eq "partitions: of a name that is escaped" "$(parts 'p\x2dq')" "$(printf 'p\\x2dq%s\n' {1..16} | paste -sd ' ')"
eq "partitions: no time limit for one" "$(cat "$tmp/units/dev-mapper-data2.device.d/40-vdisk.conf")" \
'[Unit]
JobTimeoutSec=infinity'
eq "partitions: who wants one, wants the image attached" \
	"$(readlink "$tmp/units/dev-mapper-data3p16.device.requires/vdisk@data3.service")" ../vdisk@data3.service
eq "partitions: noauto wants nothing" "$(find "$tmp/units" -name 'dev-mapper-p*')" ""
generate <<'END'
o /o.vhd allow-path=/srv/a\040b,allow-path=/media
END
eq "allow-path: what it is mounted on, is mounted before" "$(unit o | grep ^Requires)" \
'RequiresMountsFor=/o.vhd
RequiresMountsFor="/srv/a b"
RequiresMountsFor=/media'
echo 'late /l.vhd x-initrd.attach' | generate
eq "x-initrd.attach: an initramfs that was not made anew" "$(cat "$tmp/err") $(made | grep ^vdisk@)" \
	"vdisk-generator: $VDISKTAB: 1: Not attached by this initramfs, make it anew: late vdisk@late.service"

# What an initramfs is told of x-initrd.attach: how findmnt sees things is made up.
mkdir "$tmp/bin" "$tmp/host" "$tmp/host/my images"
: >"$tmp/host/my images/a:b.vhd"
cat >"$tmp/bin/findmnt" <<'END'
#!/bin/sh
case $2 in
FSROOT) echo "$FSROOT" ;;
TARGET) echo "$MOUNTED" ;;
UUID) echo "$UUID" ;;
SOURCE) echo /dev/sda7 ;;
esac
END
chmod +x "$tmp/bin/findmnt"

# listed: standard input is the table
listed()
{
	cat >"$VDISKTAB"
	PATH=$tmp/bin:$PATH "$shell" -c 'for each in vdisktab made; do
			. "$VDISK_BOOT/$each.sh"
		done
		vdisk_made_list "$1"' sh "$VDISKTAB" 2>&1
}

export FSROOT=/ MOUNTED=$tmp/host UUID=12-34
eq "x-initrd.attach: as rd.vdisk= would say it" "$(listed <<END
data $tmp/host/none.vhd
bad line here and there
root $tmp/host/my\\040images/a:b.vhd ro,x-initrd.attach
END
)" 'root:UUID=12-34:/my\040images/a\072b.vhd:ro,x-initrd.attach'
FSROOT=/@host UUID='' MOUNTED=/
eq "x-initrd.attach: a subvolume, a file system without UUID" "$(listed <<END
root $tmp/host/my\\040images/a:b.vhd x-initrd.attach
END
)" "root:/dev/sda7:/@host$tmp/host/my\\040images/a\\072b.vhd:x-initrd.attach"
FSROOT=/ UUID=12-34 MOUNTED=$tmp/host
mkdir "$tmp/host/base s"
eq "x-initrd.attach: paths to allow, as the image's" "$(listed <<END
root $tmp/host/my\\040images/a:b.vhd allow-path=$tmp/host/base\\040s,x-initrd.attach,allow-path=$tmp/host
END
)" 'root:UUID=12-34:/my\040images/a\072b.vhd:allow-path=/base\040s,x-initrd.attach,allow-path=/'
eq "x-initrd.attach: a path that is not there" "$(listed <<END
root $tmp/host/my\\040images/a:b.vhd allow-path=/no/such,x-initrd.attach
END
)" "vdisk: $VDISKTAB: 1: Not on the file system of the image: allow-path=/no/such"
eq "x-initrd.attach: an image that is not there" "$(listed <<<'root /no/such.vhd x-initrd.attach')" \
	"vdisk: $VDISKTAB: 1: Cannot tell the file system of: /no/such.vhd"

cat >"$tmp/fstab" <<'END'
/dev/mapper/root2 none swap sw 0 0
/dev/mapper/rooter none swap sw 0 0
/dev/mapper/kern1 none swap sw 0 0
/dev/mapper/root1 / ext4 rw 0 0
END
cat >"$tmp/mounts" <<END
/dev/sda1 $tmp/run/root fuseblk rw 0 0
/dev/sda2 $tmp/run/kern ext4 rw 0 0
END
echo 'web /srv/disk.vhd' | generate
eq "swap in an image on a file system that a process serves" "$? $(cat "$tmp/err")" \
	"0 vdisk-generator: $tmp/fstab: Swap that may wait for itself, in an image on fuseblk: /dev/mapper/root2"
: >"$tmp/fstab"

# bad LINE SENTENCE: one line is said, and the good one after it is not lost
bad()
{
	printf '%s\ngood /g.vhd\n' "$1" | generate
	eq "bad: $2" "$? $(cat "$tmp/err") $(made | grep -c '^vdisk@')" \
		"1 vdisk-generator: $VDISKTAB: 1: $2 1"
}

long=$(printf 'x%.0s' {1..128})
bad 'web' 'No image is named for the device: web'
bad 'web disk.vhd' 'Not an absolute path: disk.vhd'
bad 'web /d.vhd ro nofail' 'More than three fields: nofail'
for each in 'my\040root' a%b 'a$b' 'a"b' 'a\134b' grün 'a,b' ..; do
	shown=${each/\\040/ }
	bad "$each /d.vhd" "Not a name for a device: ${shown/134/}"
done
for each in '/a\012b' '/a\000' '/a\177' '/a\011\037'; do
	bad "web $each" "Control character: $each"
done
bad 'a\012b /d.vhd' 'Control character: a\012b'
bad 'web /d.vhd format=a\012b' 'Control character: format=a\012b'
bad 'web /a\777' 'Not a byte after the backslash: /a\777'
bad $'web /crlf.vhd\r' 'Control character, as of a line that ends in CR LF: /crlf.vhd?'
bad $'web /crlf.vhd ro\r' 'Control character, as of a line that ends in CR LF: ro?'
for each in /srv/../x.vhd /./x.vhd /srv/.. /../x.vhd; do
	bad "web $each" "Path with . or .. in it: $each"
done
bad 'web /d.vhd allow-path=/a/../b' 'Path with . or .. in it: /a/../b'
bad 'web /d.vhd r0' 'Unknown option: r0'
bad 'web /d.vhd format=' 'Unknown option: format='
bad 'web /d.vhd allow-path=up' 'Unknown option: allow-path=up'
bad 'web /d.vhd partitions,no-partitions' 'Options contradict: partitions, no-partitions'
bad 'a/b /d.vhd' 'Not a name for a device: a/b'
bad 'control /d.vhd' 'Not a name for a device: control'
bad "$long /d.vhd" 'Name is longer than 127: 128'
printf 'web /a.vhd\nweb /b.vhd' | generate
eq "bad: a name twice, no newline at the end" "$(cat "$tmp/err")" \
	"vdisk-generator: $VDISKTAB: 2: Name is used above: web"
generate </dev/null
eq "an empty table is none" "$? $(made)" "0 "

# word WORD: what rd.vdisk=WORD comes to
word()
{
	"$shell" -c '. "$VDISK_BOOT/vdisktab.sh"
		if vdisk_word "$1"; then
			printf "%s|" "$vdisk_name" "$vdisk_host" "$vdisk_image" $vdisk_args
		else
			printf "%s" "$vdisk_why"
		fi' sh "$1"
}

eq "rd.vdisk: by UUID" "$(word root:UUID=a-b:/d/disk.vhd)" 'root|UUID=a-b|/d/disk.vhd|'
eq "rd.vdisk: a device with colons, options" \
	"$(word 'r:/dev/disk/by-path/pci-0:1f.2:/a\072b\040c:ro,commit=5')" \
	'r|/dev/disk/by-path/pci-0:1f.2|/a:b c|--read-only|--options|commit=5|'
eq "rd.vdisk: too little" "$(word root:UUID=a)" 'Not NAME:HOST:/PATH'
eq "rd.vdisk: no device" "$(word root:sda1:/d)" \
	'Neither a device nor UUID=, LABEL=, PARTUUID=: sda1'
eq "rd.vdisk: a path upwards" "$(word 'root:UUID=a:/vm/../d')" 'Path with . or .. in it: /vm/../d'
eq "rd.vdisk: a newline" "$(word 'root:UUID=a:/vm\012d')" 'Control character: root:UUID=a:/vm\012d'
eq "rd.vdisk: a name with a blank" "$(word 'my\040root:UUID=a:/d')" 'Not a name for a device: my root'
eq "rd.vdisk: a bad option" "$(word root:LABEL=a:/d:rx)" 'Unknown option: rx'
# The manual explains every option that is read.
page=$(sed -n '/^\.SH OPTIONS/,/^\.SH KERNEL/{s/\\-/-/g;p}' "$top/userspace/man/vdisktab.5" |
	grep -E '^\.B[IR]? ')
missing=''
for each in $(sed -n '/^vdisk_option()/,/^}/s/^\t\([a-z_].*\))$/\1/p' "$top/userspace/boot/vdisktab.sh" |
	grep -v '^_value' | tr -d '?*/|'); do
	grep -qwF -- "${each%=}" <<<"$page" || missing+=" $each"
done
eq "the manual explains every option" "$missing" " readonly"
ktap_end
