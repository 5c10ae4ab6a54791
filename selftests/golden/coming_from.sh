#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Documentation/coming-from.rst: each of its lines works, the other program's as
# well, and both leave disks that hold the same.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
mkdir bin
ln -s "$(realpath "$vdisk")" bin/vdisk
PATH=$tmp/bin:$PATH

# What the lines are about.
mkdir start
(
	cd start || exit
	head -c 300000 /dev/urandom >disk.raw
	truncate -s 64M disk.raw
	qemu-img convert -f raw -O vpc -o force_size=on disk.raw disk.vhd
	head -c 65M /dev/zero | tr '\0' x >old.raw
	qemu-img create -q -f qed base.qed 64M
	qemu-img create -q -f qed base2.qed 64M
	qemu-io -f qed -c 'write -P 3 1M 128k' base.qed
	qemu-img create -q -f qed -b base.qed -F qed child.qed
	qemu-io -f qed -c 'write -P 4 1M 64k' -c 'write -P 5 9M 64k' child.qed
	qemu-img create -q -f parallels leaks.hds 64M
	qemu-io -f parallels -c 'write -P 6 1M 64k' leaks.hds
	truncate -s +2M leaks.hds
) >/dev/null
cp -a start left
cp -a start right

"$here/../lib/coming-from" tool left >left.sh || fail "the lines on the left"
"$here/../lib/coming-from" tool right >right.sh || fail "the lines on the right"
t "there are lines" test "$(wc -l <left.sh)" -gt 25 -a "$(wc -l <right.sh)" -gt 35
for side in left right; do
	while read -r line; do
		t "$line" env -C "$side" bash -euo pipefail -c "$line"
	done <"$side.sh"
done
while read -r file format; do
	eq "$file: both hold the same" \
		"$(qemu-img compare -f "$format" -F "$format" "left/$file" "right/$file" 2>&1 | tail -n 1)" \
		"Images are identical."
done <<'END'
new.vmdk vmdk
top.qed qed
onraw.qed qed
copy.raw raw
copy.vhd vpc
copy.vmdk vmdk
s.vmdk vmdk
copy.qed qed
old.raw raw
leaks.hds parallels
disk.raw raw
base.qed qed
child.qed qed
END

# Nothing of what is said here is about something that is not there.
while read -r verb; do
	fails "every verb is in one of the lines: $verb" \
		eval "! '$here/../lib/coming-from' tool right | grep -q '^vdisk $verb' &&
			! '$here/../lib/coming-from' kernel right | grep -q 'vdisk $verb'"
done < <(vdisk --help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -vx table)

ktap_end
