#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Repairs of images that qemu-img made and of which one number of the header is
# wrong: no byte of the guest may be another afterwards, and a repair that would
# have to guess leaves the file as it is. Then --undo, to the bit.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# poke FILE OFFSET WIDTH VALUE: little endian
poke()
{
	python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    f.write(int(sys.argv[4], 0).to_bytes(int(sys.argv[3]), "little"))' "$@"
}

# left DESCRIPTION STATUS IMAGE: a repair ends so, and changes nothing
left()
{
	local was

	was=$(sha "$3")
	status "$1: not repaired" "$2" "$vdisk" check --repair "$3"
	eq "$1: nothing was changed" "$(sha "$3")" "$was"
}

# mended DESCRIPTION RAW IMAGE: repaired for good, and the undo file takes it back
mended()
{
	local was

	was=$(sha "$3")
	status "$1: found" 2 "$vdisk" check "$3"
	status "$1: repaired" 0 "$vdisk" check --repair "$3"
	reads "$1: the guest's bytes are all there" "$2" "$3"
	eq "$1: nothing is left to be repaired" \
		"$("$vdisk" check --repair --no-undo "$3" | grep -c REPAIRED)" 0
	status "$1: undone" 0 "$vdisk" check --undo "$3.vdisk-undo" "$3"
	eq "$1: undone to the bit" "$(sha "$3")" "$was"
	rm -f "$3.vdisk-undo"
}

raw=$tmp/raw
head -c 20M /dev/urandom >"$raw"

# The disk's size: too large for its tables, and no smaller one holds all of it.
image=$tmp/size.hds
qemu-img convert -O parallels "$raw" "$image"
poke "$image" 36 8 81920
left "Parallels nb_sectors over the BAT" 1 "$image"
# The bits that are wrong can be told only if the disk is no shorter for it.
poke "$image" 36 8 $((40960 + (1 << 20)))
status "Parallels nb_sectors with a bit too many: repaired" 0 \
	"$vdisk" check --repair --no-undo "$image"
reads "and the guest's bytes are all there" "$raw" "$image"

ktap_end
