#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M disk=384M timeout=900 long
#
# --force on file systems that can do much or little: the old image or the new one is
# there whatever fails, and whenever the program is killed. What the calls do where a
# file system lacks some is golden/replace.sh's.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_tool
need_cmd "${CC:-cc}"
need_disk 512M disk
need_disk 384M disk2
scratch_fs ext4 "$disk" ext4dir
scratch_fs xfs "$disk2" xfsdir
scratch tmp
"${CC:-cc}" -shared -fPIC -O1 -o "$tmp/trip.so" "$test_lib/trip.c" -ldl
head -c 512k /dev/urandom >"$tmp/old.raw"
head -c 1M /dev/urandom >"$tmp/new.raw"
defer cd /

replace()
{
	"$vdisk" convert --force -f raw -O vmdk -o subformat=monolithicFlat "$tmp/new.raw" x.vmdk
}

fresh()
{
	cd "$1" && rm -rf r && mkdir r && cd r
	"$vdisk" convert -f raw -O vmdk -o subformat=monolithicFlat "$tmp/old.raw" x.vmdk
	old=$(sha256sum x.vmdk x-flat.vmdk | cut -d ' ' -f 1)
}

# Whichever name the two files of the old image have.
has_old()
{
	local all sum

	all=$(find . -type f -exec sha256sum {} + | cut -d ' ' -f 1)
	for sum in $old; do
		grep -q "$sum" <<<"$all" || return
	done
}

has_new()
{
	rm -f "$tmp/now" && "$vdisk" convert x.vmdk "$tmp/now" >/dev/null 2>&1 &&
		cmp -s "$tmp/now" "$tmp/new.raw"
}

places='2 5 8 11 14'
[ -z "${VDISK_LONG:-}" ] || places=$(seq 24)
p9=$(awk '$3 == "9p" && $4 ~ /(^|,)rw(,|$)/ { print $2; exit }' /proc/self/mounts)
for where in "ext4 $ext4dir" "xfs $xfsdir" "tmpfs $tmp" "9p $p9"; do
	read -r name dir <<<"$where"
	if [ -z "$dir" ] || ! mkdir -p "$dir/replace"; then
		skip "$name" "none to write to"
		continue
	fi
	dir=$dir/replace
	defer rm -rf "$dir"
	fresh "$dir"
	t "$name: replaced" replace
	t "$name: by the new one" has_new
	eq "$name: nothing is left" "$(find . -type f | sort | tr '\n' ' ')" "./x-flat.vmdk ./x.vmdk "
	bad='' hit=0
	for how in call calls kill; do
		for at in $places; do
			fresh "$dir"
			status=0
			{ TRIP_AT=$at TRIP_HOW=$how LD_PRELOAD=$tmp/trip.so replace >/dev/null 2>"$tmp/err" ||
				status=$?; } 2>/dev/null
			hit=$((hit + (status != 0)))
			has_old || has_new || bad+="$how at $at ($status): $(ls -A) $(cat "$tmp/err"); "
			[ "$status" -ne 0 ] || has_new || bad+="$how at $at: not replaced; "
		done
	done
	[ $hit -gt 3 ] || bad+="it went wrong $hit times"
	eq "$name: whatever fails, one of them is there" "$bad" ""
	cd /
done

ktap_end
