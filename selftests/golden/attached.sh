#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Verbs that change an attached device, against devices on paper (lib/paperdm.c): what
# device-mapper is asked for fails, or the program is killed behind it, each time at
# another point; the files fail, and signals come. The device goes on, with no table
# waiting, and reads what it read; no child is left that it does not go on with.
. "$(dirname "$0")/lib.sh"

need_cmd "${CC:-cc}" jq
ring=$tmp
[ ! -w /dev/shm ] || TMPDIR=/dev/shm scratch ring
cd "$ring" || exit
# shellcheck disable=SC2046
"${CC:-cc}" -shared -fPIC -O1 -o paper.so $(pkg-config --cflags devmapper) \
	"$here/../lib/paperdm.c" 2>cc.err || skip_all "$(head -n 1 cc.err)"
"${CC:-cc}" -shared -fPIC -O1 -o trip.so "$here/../lib/trip.c" -ldl
export PAPER_DM=$ring/dm
paper=$ring/paper.so

dm()
{
	LD_PRELOAD=$paper "$vdisk" "$@"
}

# prepare FORMAT: the device web of a child that holds something of its own
prepare()
{
	rm -rf before && mkdir before && cd before || exit
	head -c 1M /dev/urandom >.raw
	"$vdisk" convert -f raw -O "$1" .raw a
	head -c 1M /dev/urandom >.raw
	"$vdisk" convert -f raw -O "$1" .raw b
	"$vdisk" snapshot b c
	"$vdisk" rebase -b a c
	"$vdisk" create -f "$1" e 1M
	cp .raw ../want.raw
	rm .raw
	cd ..
}

fresh()
{
	rm -rf work dm && cp -a before work && mkdir dm && cd work || exit
	dm attach web c >/dev/null
}

# goes_on: says why not
goes_on()
{
	local i lines image

	for ((i = 0; i < 100; i++)); do
		mapfile -t lines <"$PAPER_DM/web"
		[ "${lines[1]}" != 0 ] || break
		sleep 0.05
	done
	[ "${lines[1]}" = 0 ] || { echo "suspended"; return; }
	[ "${lines[4]}" = - ] || { echo "a table waits: ${lines[4]}"; return; }
	image=$(dm status --json web | jq -r .filename)
	[ ! -e new ] || [ "$image" = "$PWD/new" ] || [ -n "${killed:-}" ] || echo "new is left"
	rm -f ../now.raw
	"$vdisk" convert --force-share "$image" ../now.raw 2>&1 || return
	truncate -s 1M ../now.raw
	cmp ../now.raw ../want.raw
	[ -n "${killed:-}" ] || "$vdisk" check -U "$image" >../said 2>&1 || [ $? -eq 3 ] || cat ../said
}

verbs=('snapshot web new' 'resize web 2M' 'rebase -b e web' 'commit web')
formats='qed vmdk' places=2
[ -z "${VDISK_LONG:-}" ] || formats='qed vhd vmdk' places=40
RANDOM=${VDISK_SEED:-1}
for format in $formats; do
	prepare "$format"
	for args in "${verbs[@]}"; do
		bad=''
		fresh
		# shellcheck disable=SC2086
		said=$(PAPER_COUNT=$ring/count LD_PRELOAD=$paper "$vdisk" $args 2>&1) || bad+="$said; "
		bad+=$(goes_on)
		cd ..
		eq "$format: $args" "$bad" ""

		bad='' killed=1
		step=2
		[ -z "${VDISK_LONG:-}" ] || step=1
		for ((at = 1 + RANDOM % step; at <= $(cat count); at += step)); do
			fresh
			# shellcheck disable=SC2086
			{ PAPER_KILL=$at LD_PRELOAD=$paper "$vdisk" $args >../out 2>&1; } 2>/dev/null
			said=$(goes_on)
			[ -z "$said" ] || bad+="killed behind $at: $said ($(cat ../out)); "
			cd ..
		done
		killed=''
		eq "$format: $args: killed anywhere" "$bad" ""

		bad='' hit=0
		for what in suspend:1 suspend:2 reload:1 reload:2 resume:1 resume:2 reload:1,resume:2 \
			resume:1,resume:3; do
			fresh
			status=0
			# shellcheck disable=SC2086
			PAPER_FAIL=$what LD_PRELOAD=$paper "$vdisk" $args >../out 2>&1 || status=$?
			hit=$((hit + (status != 0)))
			said=$(goes_on)
			[ -z "$said" ] || bad+="$what ($status): $said ($(cat ../out)); "
			[ "$status" -eq 0 ] || grep -q '^vdisk: web: ' ../out || bad+="$what: $(cat ../out); "
			cd ..
		done
		[ $hit -gt 2 ] || bad+="it failed $hit times"
		eq "$format: $args: device-mapper fails" "$bad" ""

		bad=''
		fresh
		# shellcheck disable=SC2086
		TRIP_COUNT=$ring/count LD_PRELOAD=$ring/trip.so:$paper "$vdisk" $args >/dev/null 2>&1
		cd ..
		for how in full QUIT TERM USR1; do
			for ((k = 0; k < places; k++)); do
				fresh
				status=0
				# shellcheck disable=SC2086
				TRIP_AT=$((1 + k * $(cat ../count) / places)) TRIP_HOW=$how \
					LD_PRELOAD=$ring/trip.so:$paper "$vdisk" $args >../out 2>&1 || status=$?
				said=$(goes_on)
				[ -z "$said" ] || bad+="$how at $k ($status): $said ($(cat ../out)); "
				[ "$how" != USR1 ] || [ "$status" -eq 0 ] || bad+="USR1 at $k: $status; "
				cd ..
			done
		done
		eq "$format: $args: its files fail, and signals" "$bad" ""
	done
done

# What is refused suspends nothing.
prepare qed
fresh
for args in 'snapshot web c' 'resize web 0' 'resize web 512' 'rebase -b gone web' 'rebase -b c web'; do
	# shellcheck disable=SC2086
	said=$(PAPER_FAIL=suspend:1 LD_PRELOAD=$paper "$vdisk" $args 2>&1)
	eq "$args: refused before" "$(grep -c suspended <<<"$said") $(wc -l <<<"$said")" "0 1"
done
eq "--verbose tells how long it was suspended" \
	"$(dm resize -v web 3M 2>&1 | grep -Ec '^vdisk: web: Was suspended for [0-9.]+ s')" 1
cd ..

# Another file takes the place of the parent when it is opened to be written.
fresh
cp e x
sums=$(sha256sum a c x | cut -d ' ' -f 1)
refused "commit: the parent is the file that was looked at" \
	': Another file has taken its place meanwhile$' \
	env LD_PRELOAD="$ring/trip.so" TRIP_SWAP=x:a "$vdisk" commit -U c
eq "nothing is written" "$(sha256sum c a | cut -d ' ' -f 1)" "$(sed -n '2p; 3p' <<<"$sums")"
cd ..

# The first write gives a VMDK another content id, just before it gets a child.
prepare vmdk
rm -rf work dm && cp -a before work && mkdir dm && cd work || exit
dm attach web a >/dev/null
cat >stamp.py <<'END'
import re
with open("a", "r+b") as f:
    at = re.search(rb"\nCID=", f.read()).end()
    f.seek(at)
    f.write(b"12345678")
END
t "snapshot of what is written to for the first time" \
	env PAPER_RUN="python3 stamp.py" LD_PRELOAD="$paper" "$vdisk" snapshot web new
t "its child finds it" "$vdisk" map -U new
eq "the device goes on with it" "$(sed -n '2p; 5p' "$PAPER_DM/web" | tr '\n' ' ')$(grep -c /new "$PAPER_DM/web")" "0 - 1"
cd ..
prepare qed

# Many units are given back in parts; where one fails the others are done.
fresh
"$vdisk" create -f qed -o cluster_size=4k many 700M
qemu-io -f qed -c 'write -P 1 690M 4k' -c 'write -P 2 0 4k' many >/dev/null
"$vdisk" convert many ../many.raw
dm attach big many >/dev/null
eq "resize --shrink: in three parts" \
	"$(dm resize --shrink -v big 1M 2>&1 | grep -c 'Was suspended')" 3
truncate -s 1M ../many.raw
reads "what is left" ../many.raw many --force-share
rm "$PAPER_DM/big"
"$vdisk" create --force -f qed -o cluster_size=4k many 700M
dm attach big many >/dev/null
eq "the second one fails" "$(PAPER_FAIL=suspend:2 LD_PRELOAD=$paper "$vdisk" resize --shrink big 1M 2>&1)" \
	"vdisk: big: Cannot be suspended: Invalid argument
vdisk: big: Is $(((700 - 256) * 2048)) sectors long now"
eq "the first one is done" "$(sed -n '2p; 4p; 5p' "$PAPER_DM/big" | cut -d ' ' -f 1 | tr '\n' ' ')" \
	"0 $(((700 - 256) * 2048)) - "
eq "and the image is as long" "$("$vdisk" info --json many | jq '."virtual-size"')" $(((700 - 256) << 20))
cd ..

# Whose table was loaded by hand, without locks: each verb that would write sees it.
fresh
sums=$(sha256sum a b c e)
for args in 'resize c 2M' 'commit c' 'rebase -b e c' 'check --repair c' 'create --force -f qed c 1M' \
	'convert --force -O qed e c' 'create --force -f vhd a 1M' 'resize a 2M' 'attach more c'; do
	# shellcheck disable=SC2086
	refused "$args: below a device" 'Image is attached: web' dm $args
done
eq "nothing has touched the files" "$(sha256sum a b c e)" "$sums"
t "for reading it is nobody's" dm map c
cd ..

# What devices may be called, and where.
fresh
while IFS='|' read -r name why; do
	refused "attach '${name:0:20}'" "$why" dm attach -- "$name" e
done <<END
|is empty
a/b|has a slash
control|is taken in /dev/mapper
.|is taken in /dev/mapper
..|is taken in /dev/mapper
$(printf 'n%.0s' {1..128})|longer than 127
$(printf 'ü%.0s' {1..20})|longer than 127
END
eq "a path as it is written" "$(dm attach 'a b' e)" '/dev/mapper/a\x20b'
rm -f "$PAPER_DM/a b"
eq "status by the path" "$(dm status /dev/mapper/web | head -n 1)" "device: /dev/mapper/web"
t "resize by the path" dm resize /dev/mapper/web 2M
t "detach by the path" dm detach /dev/mapper/web
for how in '>/dev/full' '>&-' '>&- 2>&- <&-'; do
	status=0
	eval "dm attach lost e $how" 2>../err || status=$?
	eq "attach $how: nothing stays" "$status $(ls "$PAPER_DM")" "1 "
done
cd ..

ktap_end
