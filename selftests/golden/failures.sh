#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Every verb that writes, on a disk that is full from some write on, and with a
# signal at some write: one line, the right status, nothing left of a new image,
# and an old one that is sound and holds what it held. What it may not write and
# what it does not know is refused before that.
. "$(dirname "$0")/lib.sh"

need_cmd "${CC:-cc}"
cd "$tmp" || exit
trip=$tmp/trip.so
"${CC:-cc}" -shared -fPIC -O1 -o "$trip" "$here/../lib/trip.c" -ldl
# Each verb is cut off at so many places, evenly spread.
places=${VDISK_LONG:+40}
places=${places:-3}

python3 - <<'PYTHON'
import random
rnd = random.Random(5)
def image(name, size, pieces):
    with open(name, "wb") as f:
        for at, n in pieces:
            f.seek(at)
            f.write(rnd.randbytes(n))
        f.truncate(size)
image("x.raw", 10 << 20, [(0, 300000), (4 << 20, 100000), (9 << 20, 4096)])
image("y.raw", 10 << 20, [(100000, 300000), (7 << 20, 50000)])
PYTHON
cp x.raw long.raw
truncate -s 64M long.raw

spare='' raw=''

# whole FILE RAW...: it is sound, and holds one of these
whole()
{
	local status=0 raw

	"$vdisk" check "$1" >.check 2>&1 || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || { cat .check; return 1; }
	rm -f .now
	"$vdisk" convert "$1" .now 2>&1 || return
	for raw in "${@:2}"; do
		! cmp -s .now "$raw" || return 0
	done
	echo "$1 holds something else"
	return 1
}

# tripped DESCRIPTION HOW STATUS CHECK COMMAND...: CHECK must hold wherever it
# goes wrong; STATUS is what the command ends with, if it does. Files are those
# of before/, each time.
tripped()
{
	local description=$1 how=$2 want=$3 check=$4 count at status bad='' hit=0

	shift 4
	rm -rf work && cp -a before work && cd work || exit
	TRIP_COUNT=$tmp/count LD_PRELOAD=$trip "$@" >/dev/null 2>../.err ||
		bad="it fails by itself: $(cat ../.err)"
	count=$(cat ../count)
	for ((k = 0; k < places && k < count; k++)); do
		at=$((1 + k * count / (places < count ? places : count)))
		cd .. && rm -rf work && cp -a before work && cd work || exit
		status=0
		TRIP_AT=$at TRIP_HOW=$how LD_PRELOAD=$trip \
			env --default-signal=INT "$@" >../.out 2>../.err || status=$?
		if [ "$status" -ne 0 ]; then
			hit=$((hit + 1))
			[ "$status" -eq "$want" ] || bad+="at $at: status $status; "
			[ "$status" -gt 128 ] || [ "$(grep -c '^vdisk: ' ../.err)" -eq 1 ] ||
				bad+="at $at: $(cat ../.err); "
		fi
		"$check" "$status" >../.said 2>&1 || bad+="at $at ($status): $(cat ../.said); "
	done
	cd ..
	# A signal may come where all is as good as done.
	[ "$hit" -gt 0 ] || [ "$how" = INT ] || [ -n "$spare" ] || bad+="it never went wrong"
	eq "$description" "$bad" ""
}

# both DESCRIPTION CHECK COMMAND...: an image is changed
both()
{
	tripped "$1: no space" full 1 "${@:2}"
	tripped "$1: SIGINT" INT 1 "${@:2}"
}

# made DESCRIPTION COMMAND...: a new image, or nothing
made()
{
	tripped "$1: no space" full 1 nothing_new "${@:2}"
	tripped "$1: SIGINT" INT 130 nothing_new "${@:2}"
}

# Or all of it, where a signal came when it had its name.
nothing_new()
{
	local new

	new=$(diff -rq . ../before | sed -n 's/^Only in \.: //p')
	[ -n "$new" ] || return 0
	[ "$1" -eq 130 ] && ! grep -q '[.]vdisk-' <<<"$new" &&
		"$vdisk" check ${raw:+-f raw} "$(grep -v -- '-s[0-9]*[.]' <<<"$new")" >/dev/null &&
		return
	[ "$1" -eq 0 ] || { echo "left: $new"; return 1; }
}

# Both read what they did; the parent has what a child may have given it.
chain_whole()
{
	whole c ../y.raw && { [ "$1" -ne 0 ] || whole a ../y.raw; }
}

child_whole()
{
	whole k ../y.raw
}

image_whole()
{
	whole i ../x.raw ../long.raw
}

fresh()
{
	rm -rf before && mkdir before && cd before || exit
	"$@"
	cd ..
}

chain()
{
	"$vdisk" convert -f raw -O "$1" ../x.raw a
	"$vdisk" convert -f raw -O "$1" ../y.raw b
	"$vdisk" snapshot b c
	"$vdisk" rebase -b a c
	"$vdisk" create -f "$1" e 10M
	"$vdisk" snapshot b k
}

image()
{
	"$vdisk" convert -f raw -O "$1" "${@:2}" ../x.raw i
}

# A table in a hole of the file gets its space before the commit wants it.
fresh chain qed
places=99 tripped "qed: rebase: no space, at any write" full 1 child_whole "$vdisk" rebase -b e k
for format in vhd qed vmdk; do
	fresh chain $format
	both "$format: commit" chain_whole "$vdisk" commit c
	both "$format: rebase" child_whole "$vdisk" rebase -b e k
	made "$format: snapshot" "$vdisk" snapshot c d
done
while read -r format options; do
	fresh image "$format" ${options:+-o "$options"}
	# Nothing but its header says how long a disk of QED is.
	spare=${format#vhd} spare=${spare#vmdk} spare=${spare#parallels}
	both "$format${options:+ $options}: resize" image_whole "$vdisk" resize i 64M
done <<'END_OF_TABLE'
vhd block_size=4k
vhd subformat=fixed
vmdk grain_size=4k
vmdk subformat=vmfsSparse
parallels cluster_size=4k
qed
END_OF_TABLE

spare=''
fresh true
made "create: bundle" "$vdisk" create -f parallels -o bundle=on i.hdd 10M
made "create: split" "$vdisk" create -f vmdk -o subformat=twoGbMaxExtentSparse i.vmdk 5G
for format in vhd vmdk parallels qed raw; do
	raw=${format#vhd} raw=${raw#vmdk} raw=${raw#parallels} raw=${raw#qed}
	made "convert to $format" "$vdisk" convert -f raw -O $format ../x.raw i
done

# A repair that is cut short has told nothing that is not so, and goes on the next time.
repairable()
{
	local said left

	said=$(grep -c '^REPAIRED Unit' ../.out)
	left=$("$vdisk" check i | grep -c '^ERROR Unit')
	echo "$said repaired, $left left"
	((left <= 2 - said)) && "$vdisk" check --repair i &&
		whole i ../twice.raw
}
cp x.raw twice.raw
dd if=x.raw of=twice.raw bs=64k seek=100 count=2 conv=notrunc status=none
fresh image vhd -o block_size=64k
cp before/i whole.vhd
"$here/vhd.py" set before/i bat.100="$("$vdisk" why --json whole.vhd 0 | jq '.layers[0].entries[0].value')" \
	bat.101="$("$vdisk" why --json whole.vhd 128 | jq '.layers[0].entries[0].value')"
places=12 tripped "check --repair: no space" full 1 repairable "$vdisk" check --repair i
places=12 tripped "check --repair: SIGINT" INT 130 repairable "$vdisk" check --repair i

# What is to be replaced is there again, wherever that fails.
fresh "$vdisk" create -f vmdk -o subformat=twoGbMaxExtentSparse i.vmdk 5G
sums=$(cd before && sha256sum ./*)
for what in 'rename 4' 'fsync 5'; do
	read -r how times <<<"$what"
	bad=''
	for ((at = 1; at <= times; at++)); do
		rm -rf work && cp -a before work && cd work || exit
		status=0
		TRIP_AT=$at TRIP_HOW=$how LD_PRELOAD=$trip "$vdisk" create --force -f vmdk \
			-o subformat=twoGbMaxExtentSparse,grain_size=4k i.vmdk 5G 2>../.err || status=$?
		[ "$status" -eq 1 ] && [ "$(grep -c '^vdisk: .*: Input/output error$' ../.err)" -eq 1 ] &&
			[ "$(sha256sum ./*)" = "$sums" ] || bad+="at $at: $status $(cat ../.err) $(ls -a); "
		cd ..
	done
	eq "create --force: $how fails" "$bad" ""
done
cp -a before work2 && cd work2 || exit
t "create --force" "$vdisk" create --force -f vmdk \
	-o subformat=twoGbMaxExtentSparse,grain_size=4k i.vmdk 5G
eq "nothing of the old image is left" \
	"$(ls -A | wc -l) $("$vdisk" info i.vmdk | grep -c 'cluster_size: 4096')" "4 1"
cd ..

# Before anything is done.
fresh chain qed
cd before || exit
sums=$(sha256sum ./*)
ls=$(ls)
for args in 'probe gone' 'info gone' 'map gone' 'why gone 0' 'check gone' 'check --repair gone' \
	'table gone' 'convert gone x' 'resize gone 1G' 'rebase -b a gone' 'snapshot gone x' \
	'commit gone' 'create -f qed -b gone x'; do
	# shellcheck disable=SC2086
	refused "$args: no such file" '^vdisk: gone: No such file or directory$' "$vdisk" $args
done
for args in 'info -f' 'map -f' 'why -f' 'table -f' 'convert -f' 'convert -O' 'resize -f' \
	'rebase -f' 'snapshot -f' 'snapshot -O' 'commit -f' 'create -f' 'attach -f'; do
	read -r verb flag <<<"$args"
	case $verb in
	why | resize) more='c 1' ;;
	convert | snapshot | attach) more='c x' ;;
	create) more='x 1M' ;;
	*) more=c ;;
	esac
	# shellcheck disable=SC2086
	status "$args: an unknown format" 2 "$vdisk" "$verb" "$flag" qcow2 $more
done
refused "rebase -F: an unknown format" '^vdisk: Unknown format: qcow2$' \
	"$vdisk" rebase -b a -F qcow2 c
refused "create -F: an unknown format" 'Unknown format: qcow2$' \
	"$vdisk" create -f qed -b a -F qcow2 x
for args in 'convert -O qed -o foo=1 c x' 'snapshot -o foo=1 c x' 'create -f qed -o foo=1 x 1M'; do
	# shellcheck disable=SC2086
	status "$args: an unknown option" 2 "$vdisk" $args
done
status "check: an unknown option" 1 "$vdisk" check -o foo=1 c
for args in 'convert c a' 'snapshot c a' 'create -f qed a 1M'; do
	# shellcheck disable=SC2086
	refused "$args: a file that is there" '^vdisk: a: File exists$' "$vdisk" $args
done
for size in 1x '' -1x 99999999999999999999 1.5; do
	status "resize to '$size'" 2 "$vdisk" resize c "$size"
done
refused "resize to nothing" 'would be empty' "$vdisk" resize --shrink c 0
refused "resize past the format's limit" 'QED tables hold fewer sectors' "$vdisk" resize c 100T
refused "resize to less" 'shrink' "$vdisk" resize c 1M
chmod a-w c
cp c ../c.saved
mkdir shut
cp c a b shut/
chmod a-w shut/* shut
as=()
[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
if [ "${#as[@]}" -eq 0 ] || command -v setpriv >/dev/null; then
	chmod a+rx "$tmp" . shut
	chmod a+r ./*
	for args in 'resize c 20M' 'rebase -b b c' 'commit c' 'check --repair c' 'table c'; do
		# shellcheck disable=SC2086
		refused "$args: a file one may not write" '^vdisk: ([^:]*/)?[ac]: Permission denied$' \
			"${as[@]}" "$vdisk" $args
	done
	for args in 'convert c shut/x' 'snapshot c shut/x' 'create -f qed shut/x 1M' \
		'create -f parallels -o bundle=on shut/x 1M'; do
		# shellcheck disable=SC2086
		refused "$args: a directory one may not write" '^vdisk: shut/x: Permission denied$' \
			"${as[@]}" "$vdisk" $args
	done
fi
rm -rf shut
eq "nothing has changed, nothing is new" "$(sha256sum ./*) $(ls)" "$sums $ls"

ktap_end
