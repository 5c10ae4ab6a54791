#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G disk=512M timeout=900 long
#
# Verbs and devices: whatever becomes of a verb that has suspended one, the device goes
# on; what it may be called; and who is told that a file is in use.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img jq
need_disk 1G disk
need_disk 512M disk2
scratch_fs ext4 "$disk" imgdir
scratch_fs xfs "$disk2" xfsdir
cd "$imgdir"
defer cd /

suspended()
{
	dmsetup info -c --noheadings -o suspended "$1"
}

# goes_on NAME: it takes I/O, and no table waits
goes_on()
{
	[ "$(suspended "$1")" = Active ] &&
		timeout 20 dd if="/dev/mapper/$1" of=/dev/null bs=4k count=1 iflag=direct status=none &&
		[ -z "$(dmsetup table --inactive "$1" 2>/dev/null)" ]
}

# Children that could not be opened: none is made, or it is taken away again.
"$vdisk" create -f qed 'disk-10:30.qed' 8M
attach "$dm-1" 'disk-10:30.qed' >/dev/null
t "snapshot of a name with a colon" "$vdisk" snapshot "$dm-1" child.qed
t "the device goes on" goes_on "$dm-1"
eq "with the child on top" "$(dmsetup table "$dm-1" | cut -d ' ' -f 5)" 2
"$vdisk" detach "$dm-1"
"$vdisk" create -f vhd 'back\slash.vhd' 8M
attach "$dm-1" 'back\slash.vhd' >/dev/null
one "snapshot of a name that a VHD cannot tell" '[Nn]ame' "$vdisk" snapshot "$dm-1" child.vhd
t "the device goes on as it was" goes_on "$dm-1"
t "there is no child" [ ! -e child.vhd ]
"$vdisk" detach "$dm-1"
"$vdisk" create -f qed q0.qed 8M
for ((k = 1; k < 64; k++)); do
	"$vdisk" create -f qed -b q$((k - 1)).qed q$k.qed
done
attach "$dm-1" q63.qed >/dev/null
one "a 65th layer" 'more than 64 layers' "$vdisk" snapshot "$dm-1" q64.qed
t "64 layers go on" goes_on "$dm-1"
t "there is no 65th" [ ! -e q64.qed ]
"$vdisk" detach "$dm-1"

"$vdisk" create -f qed p.qed 8M
attach "$dm-1" p.qed >/dev/null
mkdir no
chattr +i no
one "a child that cannot get its name" 'not permitted|denied' "$vdisk" snapshot "$dm-1" no/c.qed
chattr -i no
t "the device goes on then" goes_on "$dm-1"

# Names. Nothing of these reaches the kernel.
while IFS='|' read -r name why; do
	one "attach '${name:0:20}'" "$why" "$vdisk" attach -- "$name" q0.qed
done <<END
|is empty
a/b|has a slash
control|is taken in /dev/mapper
..|is taken in /dev/mapper
$(printf 'n%.0s' {1..128})|longer than 127
$(printf 'ü%.0s' {1..40})|longer than 127
END
eq "no such device" "$(dmsetup ls | grep -c "n\{100\}")" 0
"$vdisk" create -f vhd a.vhd 16M
path=$("$vdisk" attach "$dm a" a.vhd)
t "a name with a blank: the path is there" [ -b "$path" ]
t "status by the path" "$vdisk" status "$path"
eq "which it tells" "$("$vdisk" status "$path" | sed -n 's/^device: //p')" "$path"
t "resize by the path" "$vdisk" resize "$path" 32M
t "detach by the path" "$vdisk" detach "$path"

# Who cannot be told its path has no device.
for how in '>/dev/full' '>&-' '>&- 2>&- <&-'; do
	status=0
	eval "\"\$vdisk\" attach $dm-2 a.vhd $how" 2>/dev/null || status=$?
	eq "attach $how: none is left" "$status $(dmsetup ls | grep -c "^$dm-2")" "1 0"
done

# A table that was loaded by hand holds no locks.
"$vdisk" create -f qed src.qed 8M
"$vdisk" snapshot q0.qed top.qed
"$vdisk" table top.qed | dmsetup create "$dm-3"
defer dm_gone "$dm-3"
sums=$(sha256sum q0.qed top.qed)
for args in 'resize top.qed 16M' 'commit top.qed' "rebase -b '' top.qed" 'check --repair top.qed' \
	'create --force -f qed top.qed 1M' 'convert --force -O qed src.qed top.qed' \
	'create --force -f qed q0.qed 1M' "attach $dm-4 top.qed" 'resize q0.qed 16M'; do
	one "$args: below a device" "Image is attached: $dm-3" eval "\"\$vdisk\" $args"
done
eq "nothing has touched its files" "$(sha256sum q0.qed top.qed)" "$sums"
"$vdisk" detach "$dm-3"
dev=$(findmnt -n -o SOURCE -T "$xfsdir")
one "a block device that is mounted" 'is mounted on' "$vdisk" resize -f raw "$dev" 1M

# Killed at random moments, by whatever signal: the device is there, not suspended, reads
# what it read, and its image is sound.
ring=20
[ -z "${VDISK_LONG:-}" ] || ring=400
RANDOM=${VDISK_SEED:-1}
formats=(qed vhd vmdk)
verbs=("commit $dm-r" "rebase -b other $dm-r" "resize $dm-r +8M" "snapshot $dm-r new")
signals=(KILL KILL TERM HUP QUIT USR1 PIPE XFSZ INT ALRM)
bad='' hit=0
for ((k = 0; k < ring; k++)); do
	dir=$imgdir
	[ $((k % 2)) -eq 0 ] || dir=$xfsdir
	format=${formats[RANDOM % 3]}
	rm -rf "$dir/r" && mkdir "$dir/r" && cd "$dir/r"
	"$vdisk" create -f $format base 24M
	"$vdisk" create -f $format other 24M
	"$vdisk" snapshot base top
	"$vdisk" attach "$dm-r" top >/dev/null
	dd if=/dev/urandom of="/dev/mapper/$dm-r" bs=1M count=$((1 + RANDOM % 6)) seek=3 oflag=direct status=none
	sum=$(head -c 24M "/dev/mapper/$dm-r" | sha256sum)
	args=${verbs[RANDOM % 4]}
	sig=${signals[RANDOM % ${#signals[@]}]}
	# shellcheck disable=SC2086
	"$vdisk" $args >out 2>&1 &
	pid=$!
	sleep "0.$(printf %03d $((RANDOM % 500)))"
	! kill -s "$sig" $pid 2>/dev/null || hit=$((hit + 1))
	status=0
	wait $pid 2>/dev/null || status=$?
	# Whoever guards the device may need a moment.
	for _ in {1..100}; do
		[ "$(suspended "$dm-r")" != Active ] || break
		sleep 0.1
	done
	what="$k: $format: $args by $sig ($status: $(tr '\n' ' ' <out))"
	goes_on "$dm-r" || bad+="$what: $(suspended "$dm-r"); "
	[ "$(head -c 24M "/dev/mapper/$dm-r" | sha256sum)" = "$sum" ] || bad+="$what: reads something else; "
	image=$("$vdisk" status --json "$dm-r" | jq -r .filename)
	"$vdisk" detach "$dm-r" || bad+="$what: detach; "
	"$vdisk" check "$image" >out 2>&1 || [ $? -eq 3 ] || bad+="$what: check: $(tr '\n' ' ' <out); "
	left=$(find . -name '.*' ! -name .)
	[ -z "$left" ] || [ $sig = KILL ] || bad+="$what: left $left; "
	cd "$imgdir"
done
eq "$ring signals, $hit of them in time" "$bad" ""

ktap_end
