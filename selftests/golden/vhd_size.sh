#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Which field of a VHD gives the size depends on who made it. One image, 301
# cylinders of 4 heads and 17 sectors (10479616 bytes), current_size 10 MiB, and
# the creator's name patched in.
. "$(dirname "$0")/lib.sh"

chs=10479616 current=10485760
qemu-img create -q -f vpc -o force_size=on "$tmp/base.vhd" 10M
"$here/vhd.py" set "$tmp/base.vhd" both.cylinders=301 both.heads=4 both.spt=17

while read -r creator want; do
	cp "$tmp/base.vhd" "$tmp/x.vhd"
	"$here/vhd.py" set "$tmp/x.vhd" "both.creator=${creator//_/ }"
	eq "creator '$creator'" "$(table_size "$tmp/x.vhd")" "${!want}"
	eq "creator '$creator', -o size=chs" \
		"$(table_size "$tmp/x.vhd" -o size=chs)" "$chs"
	eq "creator '$creator', -o size=current" \
		"$(table_size "$tmp/x.vhd" -o size=current)" "$current"
	eq "creator '$creator', -o size=auto" \
		"$(table_size "$tmp/x.vhd" -o size=auto)" "${!want}"
done <<'END'
vpc_ chs
vs__ chs
qemu chs
qem2 current
win_ current
d2v_ current
d2v\0 current
CTXS current
tap\0 current
wa\0\0 current
vbox current
END

# The largest geometry means "see current_size", whoever says it.
for creator in 'vpc ' qemu; do
	cp "$tmp/base.vhd" "$tmp/x.vhd"
	"$here/vhd.py" set "$tmp/x.vhd" "both.creator=$creator" \
		both.cylinders=65535 both.heads=16 both.spt=255
	eq "creator '$creator', largest geometry" "$(table_size "$tmp/x.vhd")" $current
done

# The table says so where the user did, and only there.
"$here/vhd.py" set "$tmp/x.vhd" both.cylinders=301 both.heads=4 both.spt=17
t "-o size=chs is in the table" \
	eval "'$vdisk' table -o size=chs '$tmp/x.vhd' | grep -q ' vhd 2 [^ ]*/x.vhd size=chs\$'"
fails "size is not in the table otherwise" \
	eval "'$vdisk' table '$tmp/x.vhd' | grep -q size="

ktap_end
