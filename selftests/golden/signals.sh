#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What comes to every verb from outside: descriptors that are closed, limits, and each
# signal that would end a program. What is made is there or is not; what is changed in
# place stays whole; and what only asks, or only tells of a pipe, changes nothing.
. "$(dirname "$0")/lib.sh"

need_cmd "${CC:-cc}"
cd "$tmp" || exit
trip=$tmp/trip.so
"${CC:-cc}" -shared -fPIC -O1 -o "$trip" "$here/../lib/trip.c" -ldl

# No message may end in a file that got the number of what was closed.
"$vdisk" create -f vhd good.vhd 4M
cp good.vhd torn.vhd
printf x | dd of=torn.vhd bs=1 seek=70 conv=notrunc status=none
for closed in '<&-' '>&-' '2>&-' '<&- >&-' '<&- 2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
	cp torn.vhd i.vhd
	rm -f i.vhd.vdisk-undo
	eval "\"\$vdisk\" check --repair i.vhd $closed" >/dev/null 2>&1
	eq "check --repair $closed: the footer is as it was" "$(sha i.vhd)" "$(sha good.vhd)"
	rm -f new.raw
	eval "\"\$vdisk\" convert gone.vhd new.raw $closed" >/dev/null 2>&1
	eval "\"\$vdisk\" convert good.vhd new.raw $closed" >/dev/null 2>&1
	eq "convert $closed: nothing but zeroes" "$(tr -d '\0' <new.raw | wc -c)" 0
	[[ $closed = *' '* ]] || continue
	rm -f i.vhd
	eval "\"\$vdisk\" create -f vhd -o block_size=1 i.vhd 4M $closed" >/dev/null 2>&1
	eval "\"\$vdisk\" create -f vhd i.vhd 4M $closed" >/dev/null 2>&1
	status "create $closed: a sound image" 0 "$vdisk" check i.vhd
done
status "info: what was not told is an error" 1 bash -c "\"$vdisk\" info good.vhd >&-"

# A child with a few clusters of its own, to be committed, resized, rebased.
"$vdisk" create -f qed -o cluster_size=4k a 4M
"$vdisk" create -f qed -o cluster_size=4k e 4M
qemu-io -f qed -c 'write -P 1 0 400k' a >/dev/null
"$vdisk" snapshot -o cluster_size=4k a c
qemu-io -f qed -c 'write -P 2 100k 300k' -c 'write -P 3 2M 64k' c >/dev/null
"$vdisk" convert c c.raw
"$vdisk" convert a a.raw
mkdir before
mv a c e before

# sent SIGNAL WANTED CHECK COMMAND...: it comes in the middle of what is written
sent()
{
	local sig=$1 wanted=$2 check=$3 status=0 count

	shift 3
	rm -rf work && cp -a before work && cd work || exit
	TRIP_COUNT=$tmp/count LD_PRELOAD=$trip "$@" >/dev/null 2>&1
	count=$(cat ../count)
	cd .. && rm -rf work && cp -a before work && cd work || exit
	TRIP_AT=$((count / 2 + 1)) TRIP_HOW=${sig/#IO/POLL} LD_PRELOAD=$trip \
		env --default-signal "$@" >../.out 2>../.err || status=$?
	[[ " $wanted " = *" $status "* ]] || echo "SIG$sig: status $status: $(cat ../.err)"
	[ "$status" -ne 1 ] || [ "$(wc -l <../.err)" -eq 1 ] || echo "SIG$sig: $(cat ../.err)"
	"$check" "$status" 2>&1 | sed "s/^/SIG$sig ($status): /"
	cd ..
}

# Both of them sound, the child as it was; its parent, unless it has all of it, at least sound.
unharmed()
{
	local each status

	for each in a c; do
		status=0
		"$vdisk" check $each >.said 2>&1 || status=$?
		[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || { echo "$each:"; cat .said; }
	done
	rm -f .now
	"$vdisk" convert c .now
	truncate -s 4M .now
	cmp .now ../${2:-c.raw}
	[ "$1" -ne 0 ] || [ "${committed:-}" = '' ] || { "$vdisk" convert --force a .now && cmp .now ../c.raw; }
}

nothing_new()
{
	rm -f .now
	[ "$1" -eq 0 ] || [ "$(ls -A)" = "$(ls ../before)" ] || ls -A
	[ "$1" -ne 0 ] || { [ ! -e new ] || "$vdisk" check new >/dev/null || echo "not sound"; }
}

stops=(HUP INT QUIT TERM ALRM VTALRM PROF USR2 XCPU IO PWR STKFLT 34 64)
passes=(USR1 PIPE XFSZ CHLD WINCH URG CONT)
while read -r args; do
	bad='' committed=''
	[[ $args != commit* ]] || committed=1
	for sig in "${stops[@]}"; do
		# shellcheck disable=SC2086
		bad+=$(sent "$sig" "0 1" unharmed "$vdisk" $args)
	done
	for sig in "${passes[@]}"; do
		# shellcheck disable=SC2086
		bad+=$(sent "$sig" 0 unharmed "$vdisk" $args)
	done
	eq "$args: each signal" "$bad" ""
done <<'END'
commit c
rebase -b e c
resize c 300M
END
while read -r args; do
	bad=''
	for sig in "${stops[@]}"; do
		number=$sig
		[ "$sig" -gt 0 ] 2>/dev/null || number=$(kill -l "$sig")
		# shellcheck disable=SC2086
		bad+=$(sent "$sig" "0 $((128 + number))" nothing_new "$vdisk" $args)
	done
	for sig in "${passes[@]}"; do
		# shellcheck disable=SC2086
		bad+=$(sent "$sig" 0 nothing_new "$vdisk" $args)
	done
	eq "$args: each signal" "$bad" ""
done <<'END'
create -f vmdk -o subformat=twoGbMaxExtentSparse new 5G
convert -O vhd c new
snapshot c new
END

# nohup, and a limit on the length of files.
rm -rf work && cp -a before work && cd work || exit
nohup_=$(TRIP_AT=20 TRIP_HOW=HUP LD_PRELOAD=$trip nohup "$vdisk" commit c 2>&1)
eq "nohup: SIGHUP is nothing" "$? $(grep -v ignoring <<<"$nohup_")" "0 "
t "and all is done" "$vdisk" rebase -u -b e c
cd .. && rm -rf work && cp -a before work && cd work || exit
rm a && "$vdisk" create -f qed -o cluster_size=4k a 4M && "$vdisk" rebase -u -b a c
"$vdisk" convert c ../limit.raw
refused "a limit on the length of files" ': (File too large|Cannot make the file this long: [0-9]+)$' \
	bash -c "ulimit -f 100; exec \"$vdisk\" commit c"
eq "leaves what was there" "$(unharmed 1 limit.raw)" ""
t "and is gone with the limit" "$vdisk" commit c
cd ..

# How far it is, in a pipe too, as often as it is asked; then it goes on.
rm -rf work && cp -a before work && cd work || exit
TRIP_AT=2 TRIP_HOW=USR1 LD_PRELOAD=$trip "$vdisk" commit c 2>../.err
eq "SIGUSR1: a line" "$(grep -Ec '^vdisk: copying: [0-9]+%$' ../.err) $(wc -l <../.err)" "1 1"
TRIP_AT=2 TRIP_HOW=USR1 LD_PRELOAD=$trip "$vdisk" convert -O vhd c new 2>../.err
eq "SIGUSR1: convert" "$(grep -Ec '^vdisk: copying: [0-9]+%$' ../.err) $(wc -l <../.err)" "1 1"
cd ..

ktap_end
