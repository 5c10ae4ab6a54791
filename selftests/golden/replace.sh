#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# --force: whatever fails, at whichever call, on a file system that can do much or
# little, and if the program is killed: what was there is there, or under a name that
# is told, or the new image is. Nobody gets a file replaced under him.
. "$(dirname "$0")/lib.sh"

need_cmd "${CC:-cc}"
cd "$tmp" || exit
trip=$tmp/trip.so
"${CC:-cc}" -shared -fPIC -O1 -o "$trip" "$here/../lib/trip.c" -ldl

mkdir before
head -c 1M /dev/urandom >old.raw
head -c 2M /dev/urandom >new.raw
"$vdisk" convert -f raw -O vmdk -o subformat=monolithicFlat old.raw before/x.vmdk
new=("$vdisk" convert --force -f raw -O vmdk -o subformat=monolithicFlat ../new.raw x.vmdk)
old=$(cd before && sha256sum x.vmdk x-flat.vmdk | cut -d ' ' -f 1)

fresh()
{
	rm -rf work && cp -a before work && cd work || exit
}

# Both files of the old image, under whichever name.
has_old()
{
	local all sum

	all=$(sha256sum -- * .[!.]* 2>/dev/null | cut -d ' ' -f 1)
	for sum in $old; do
		grep -q "$sum" <<<"$all" || return
	done
}

# The image that has the name is one of the two, whole.
is_whole()
{
	rm -f ../.now
	"$vdisk" convert x.vmdk ../.now 2>&1 || return
	cmp -s ../.now ../old.raw || cmp -s ../.now ../new.raw ||
		{ echo "x.vmdk holds something else"; return 1; }
}

for no in '' exchange exchange,link exchange,link,noreplace,tmpfile; do
	fresh
	TRIP_NO=$no TRIP_CALLS=$tmp/calls LD_PRELOAD=$trip "${new[@]}"
	eq "${no:-nothing} missing: replaced" \
		"$(is_whole && cmp ../.now ../new.raw) $(ls -A | tr '\n' ' ')" " x-flat.vmdk x.vmdk "
	cd ..
	for how in call calls kill; do
		bad='' hit=0
		step=3
		[ -z "${VDISK_LONG:-}" ] || step=1
		for ((at = 1; at <= $(cat calls); at += step)); do
			fresh
			status=0
			{ TRIP_AT=$at TRIP_HOW=$how TRIP_NO=$no LD_PRELOAD=$trip \
				"${new[@]}" 2>../.err || status=$?; } 2>/dev/null
			if [ "$status" -eq 0 ]; then
				# Only what is replaced may be left, and that is told.
				{ is_whole >../.said && cmp -s ../.now ../new.raw; } ||
					bad+="at $at: $(cat ../.said); "
				left=$(find . -name '.vdisk-*' | sed 's/..//')
				for name in $left; do
					grep -q "$name" ../.err || bad+="at $at: left $name untold; "
				done
			else
				hit=$((hit + 1))
				has_old || { is_whole >/dev/null && cmp -s ../.now ../new.raw; } ||
					bad+="at $at: the old image is gone: $(ls -A); "
				[ $how != call ] || [ "$(ls -A | tr '\n' ' ')" = 'x-flat.vmdk x.vmdk ' ] ||
					bad+="at $at: $(ls -A); "
				[ $how != call ] || [ "$(wc -l <../.err)" -eq 1 ] || bad+="at $at: $(cat ../.err); "
				[ $how = kill ] || { is_whole && cmp -s ../.now ../old.raw; } >../.said 2>&1 ||
					for name in $(find . -name '.vdisk-*' | sed 's/..//'); do
						grep -q "$name" ../.err ||
							! sha256sum "$name" | grep -qF "$old" ||
							bad+="at $at: $name untold: $(cat ../.err); "
					done
			fi
			cd ..
		done
		[ "$hit" -gt 3 ] || bad+="it went wrong $hit times"
		eq "${no:-nothing} missing, $how: nothing is lost" "$bad" ""
	done
done

# A file that is nobody's to replace: it is locked from the first look to the end.
# What comes in its place meanwhile stays.
truncate -s 4G slow.raw
for k in 0 1 2 3; do
	dd if=/dev/urandom of=slow.raw bs=1M count=8 seek=$((k * 1000)) conv=notrunc status=none
done
"$vdisk" create -f qed vm.qed 8M
"$vdisk" convert --force -f raw -O vmdk -o subformat=streamOptimized slow.raw vm.qed 2>.err &
pid=$!
until [ "$(find /proc/$pid/fd -lname '*vm.qed' 2>/dev/null | wc -l)" -gt 0 ] || ! kill -0 $pid 2>/dev/null; do
	sleep 0.01
done
says "the file is locked while its successor is made" lock qemu-io -f qed -c 'write 0 64k' vm.qed
wait $pid
eq "and replaced then" "$? $("$vdisk" probe vm.qed)" "0 vmdk"
rm vm.qed && "$vdisk" create -f qed vm.qed 8M
"$vdisk" convert --force -f raw -O vmdk -o subformat=streamOptimized slow.raw vm.qed 2>.err &
pid=$!
until [ "$(find /proc/$pid/fd -lname '*vm.qed' 2>/dev/null | wc -l)" -gt 0 ] || ! kill -0 $pid 2>/dev/null; do
	sleep 0.01
done
echo precious >other && mv other vm.qed
wait $pid
eq "what came in its place stays" "$? $(cat .err vm.qed) $(find . -maxdepth 1 -name '.vdisk-*')" \
	"1 vdisk: vm.qed: Another file has taken its place meanwhile
precious "

# Who it belongs to and what else is said of it stays said.
"$vdisk" create -f qed a.qed 1M
chmod 640 a.qed
if python3 -c 'import os; os.setxattr("a.qed", "user.note", b"mine")' 2>/dev/null; then
	"$vdisk" create --force -f vhd a.qed 1M
	eq "mode and attributes stay" "$(stat -c %a a.qed) $(python3 -c 'import os
print(os.getxattr("a.qed", "user.note").decode())')" "640 mine"
else
	skip "mode and attributes stay" "no extended attributes here"
fi

# Through a link: its file is replaced, and the files that belong to it.
mkdir real
"$vdisk" create -f vmdk -o subformat=monolithicFlat real/y.vmdk 1M
ln -s real/y.vmdk z.vmdk
t "convert --force by a link" "$vdisk" convert --force -f raw -O vmdk \
	-o subformat=monolithicFlat new.raw z.vmdk
reads "it reads" new.raw real/y.vmdk
eq "beside the link is nothing" "$(ls z*) $(ls real | tr '\n' ' ')" "z.vmdk y-flat.vmdk y.vmdk "

# The text of a VMDK keeps its inode where it can, and all that is said of it.
mkdir text && cd text || exit
"$vdisk" create -f vmdk -o subformat=monolithicFlat f.vmdk 8M
chmod 640 f.vmdk
python3 -c 'import os; os.setxattr("f.vmdk", "user.note", b"mine")' 2>/dev/null || true
note()
{
	python3 -c 'import os, sys
print(*os.listxattr("f.vmdk"))'
}
noted=$(note)
ino=$(stat -c %i f.vmdk)
ln f.vmdk g.vmdk
t "one sector changes in place" "$vdisk" resize f.vmdk 9M
eq "by all its names" "$(stat -c %i f.vmdk) $(grep -c 'RW 18432 ' g.vmdk)" "$ino 1"
sums=$(sha256sum ./*)
refused "more than one does not" ': Descriptor has several hard links, .*: 2$' "$vdisk" resize f.vmdk 99M
eq "nothing has changed" "$(sha256sum ./*)" "$sums"
rm g.vmdk
t "without other links it is replaced" "$vdisk" resize f.vmdk 99M
eq "with mode and attributes" "$(stat -c %a f.vmdk) $(note) $(grep -c 'RW 202752 ' f.vmdk)" "640 $noted 1"
"$vdisk" create -f vmdk -o subformat=twoGbMaxExtentSparse p.vmdk 8M
ln p.vmdk q.vmdk
"$vdisk" snapshot p.vmdk c.vmdk
qemu-io -f vmdk -c 'write -P 3 1M 64k' c.vmdk >/dev/null
t "commit into one with links" "$vdisk" commit c.vmdk
eq "all of them have the new id" "$(cmp p.vmdk q.vmdk && echo same)" same
t "the chain goes on" "$vdisk" map c.vmdk
eq "nothing is left" "$(find . -name '.*' ! -name .)" ""
cd ..

ktap_end
