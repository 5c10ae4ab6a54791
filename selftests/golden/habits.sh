#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What users of qemu-img, losetup and cryptsetup expect of a tool: options by the
# names they know, compare and measure, a copy into what is there, trial runs.
. "$(dirname "$0")/lib.sh"

need_cmd jq
cd "$tmp" || exit
PATH=$(dirname "$(realpath "$vdisk")"):$PATH

# said DESCRIPTION REGEX COMMAND...: exit 0, and one such line on stderr
said()
{
	local description=$1 regex=$2 got=0

	shift 2
	"$@" >.out 2>.err </dev/null || got=$?
	if [ "$got" -eq 0 ] && [ "$(wc -l <.err)" -eq 1 ] && grep -Eq -- "$regex" .err; then
		pass "$description"
	else
		fail "$description" "\$ $*
$(cat .out .err)
status $got, wanted 0 and one line: $regex"
	fi
}

# usage DESCRIPTION REGEX COMMAND...: exit 2, one line
usage()
{
	local description=$1 regex=$2 got=0

	shift 2
	"$@" >.out 2>.err </dev/null || got=$?
	eq "$description" "$got $(wc -l <.err) $(grep -Ec -- "$regex" .err) $(wc -c <.out)" "2 1 1 0"
}

python3 - <<'END'
import random
rnd = random.Random(17)
with open("in.raw", "wb") as f:
    f.truncate(9 << 20)
    for at in (0, 3 << 20, 8 << 20):
        f.seek(at)
        f.write(rnd.randbytes(70000))
    f.seek(5 << 20)
    f.write(b"text that shrinks " * 20000)
    f.write(bytes(300000))
END
vdisk convert -f raw -O qed in.raw in.qed
vdisk convert -f raw -O vhd in.raw in.vhd

#
# Options: a verb has its own, and an abbreviation is one of those.
#
t "an abbreviation" vdisk info --form qed in.qed
t "and with a value behind it" vdisk info --form=qed in.qed
usage "an abbreviation of several" '^vdisk: Option --f is short for several ones ' vdisk info --f qed in.qed
usage "an option of other verbs is no abbreviation" '^vdisk: info does not take the option --force$' \
	vdisk info --force in.qed
usage "a letter of other verbs" '^vdisk: info does not take the option -P$' vdisk info -P in.qed
usage "a letter of no verb" '^vdisk: Unknown option: -X \(see vdisk info --help\)$' vdisk info -X in.qed
usage "a word of no verb" '^vdisk: Unknown option: --nothing ' vdisk info --nothing in.qed
usage "no value" '^vdisk: Option --format needs a value ' vdisk info in.qed --format
usage "a value too many" '^vdisk: Option --json takes no value ' vdisk info --json=yes in.qed
usage "what a verb has no use for" '^vdisk: info has no use for the option commit$' \
	vdisk info -o commit=5 in.vhd
eq "--output=json" "$(vdisk info --output=json in.qed | jq -r .format)" qed
eq "--output=human, after --json" "$(vdisk info --json --output human in.qed | head -n 1)" "image: in.qed"
usage "--output=xml" 'json or human, not: xml$' vdisk info --output=xml in.qed
for verb in info map check compare measure; do
	two=()
	[ "$verb" != compare ] || two=(in.qed)
	t "$verb -U, and JSON as qemu-img has it" eval \
		"vdisk $verb -U --output=json in.qed ${two[*]-} | jq -e . "
done
for verb in $(vdisk --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	vdisk "$verb" --help >help
	# Each option that --help shows is taken, and each letter is that option's.
	while read -r letter name value; do
		case $value in
		'') given=() ;;
		json*) given=(json) ;;
		FORMAT) given=(raw) ;;
		SIZE) given=(1M) ;;
		KEY*) given=(help) ;;
		*) given=(1) ;;
		esac
		for each in $letter "$name"; do
			[ "$each" != - ] || continue
			[ "$name" != --repair ] || { [ "$each" = "$name" ] || given=(all); }
			"$vdisk" "$verb" "$each" "${given[@]}" --no-such-option >.out 2>.err </dev/null
			grep -q 'Unknown option: --no-such-option\|Unknown option: help' .err || echo "$each"
		done
	done < <(cut -c 3-29 help | grep '^-' | grep -v -- --help |
		sed -E 's/\[=.*//; s/^(-.), /\1 /; t; s/^/- /') >refused
	eq "$verb: takes each option of its --help" "$(cat refused)" ""
done

#
# compare: the words and the status of qemu-img.
#
cp in.raw other.raw
printf x | dd of=other.raw bs=1 seek=$((6 << 20)) conv=notrunc status=none
cp in.raw longer.raw
truncate -s 12M longer.raw
cp longer.raw tail.raw
printf x | dd of=tail.raw bs=1 seek=$((11 << 20)) conv=notrunc status=none
qemu-img convert -f raw -O raw -S 0 in.raw full.raw
while read -r options a b; do
	options=${options//+/ }
	options=${options#-}
	# shellcheck disable=SC2086
	want=$(qemu-img compare -f raw -F raw $options "$a" "$b" 2>&1; echo "$?")
	# shellcheck disable=SC2086
	eq "compare $options $a $b" "$(vdisk compare -f raw -F raw $options "$a" "$b" 2>&1; echo "$?")" "$want"
done <<'END'
- in.raw in.raw
- in.raw other.raw
- in.raw longer.raw
- longer.raw in.raw
- in.raw tail.raw
- in.raw full.raw
-+-s in.raw longer.raw
-+-q in.raw other.raw
-+-q in.raw in.raw
END
eq "compare -s: what takes place" "$(vdisk compare -s -f raw -F raw in.raw full.raw)" \
	"Strict mode: Offset 1048576 block status mismatch!"
status "compare: other formats" 0 vdisk compare in.qed in.vhd
for file in in.raw other.raw; do
	for how in '>/dev/full' '>&-'; do
		status "compare $how: no verdict" 2 bash -c \
			"vdisk compare -f raw -F raw in.raw $file $how 2>/dev/null"
	done
done
status "compare: no image" 2 vdisk compare in.qed gone
status "compare: not raw without a word" 2 vdisk compare in.qed in.raw
refused_by=$(vdisk compare in.qed in.raw 2>&1)
eq "compare: what says the second format" "$refused_by" "vdisk: in.raw: Unknown format (-F raw if it is raw)"
eq "compare: JSON" "$(vdisk compare --json -f raw -F raw in.raw other.raw | jq -c '[.identical, .mismatch, .offset]')" \
	"[false,\"content\",$((6 << 20))]"
head -c 1000 in.qed >cut.qed
cp in.qed hole.qed
truncate -s 200000 hole.qed
status "compare: what cannot be opened" 2 vdisk compare cut.qed in.qed

#
# measure: what convert makes then. Of smaller units than those of the source some
# turn out to be zero.
#
while read -r format options; do
	rm -f disk*
	vdisk convert -O "$format" ${options:+-o "$options"} in.qed disk
	measured=$(vdisk measure --json -O "$format" ${options:+-o "$options"} in.qed | jq .required)
	made=$(cat disk* | wc -c)
	case $options in
	*4k | *32256 | *vmfsSparse)
		t "measure $format $options" test "$made" -le "$measured" -a "$measured" -lt $((made * 2))
		;;
	*) eq "measure $format $options" "$measured" "$made" ;;
	esac
done <<'END'
raw
vhd
vhd subformat=fixed
vhd block_size=4k
vmdk
vmdk subformat=monolithicFlat
vmdk subformat=twoGbMaxExtentSparse
vmdk subformat=vmfsSparse
parallels
parallels version=1,cluster_size=32256
qed
qed cluster_size=4k
END
vdisk convert -f raw -O qed -S 0 in.raw full.qed
eq "measure: all of it" "$(vdisk measure --json -O qed in.qed | jq '."fully-allocated"')" "$(stat -c %s full.qed)"
# Of very many units not each is tried: what the others take is known by then.
while read -r format options size; do
	few=$(vdisk measure --json -O "$format" -o "$options" --size "$size" | jq '."fully-allocated"')
	all=$(vdisk measure --json -O "$format" -o "$options" --size $((${size%G} * 2))G | jq '."fully-allocated"')
	t "measure $format $options: twice $size is twice as long" \
		test $((all - 2 * few)) -lt $((few / 1000)) -a $((2 * few - all)) -lt $((few / 1000))
done <<'END'
qed cluster_size=64k 64G
vmdk grain_size=64k 64G
END
eq "measure: in words" "$(vdisk measure --size 1M)" "$(qemu-img measure -O raw --size 1M)"
vdisk convert -c -O vmdk in.qed stream.vmdk
t "measure: a stream is no longer than that" test "$(stat -c %s stream.vmdk)" -le \
	"$(vdisk measure --json -O vmdk -o subformat=streamOptimized in.qed | jq .required)"
usage "measure: of what?" '^vdisk: Of an image or of --size' vdisk measure
usage "measure: of both?" '^vdisk: Of an image or of --size' vdisk measure --size 1M in.qed
rm -f disk*
vdisk measure -O vmdk in.qed >/dev/null
eq "measure leaves nothing" "$(find . -name 'disk*')" ""

#
# convert
#
t "convert -c" test "$(vdisk info --json stream.vmdk | jq -r '."format-specific".data."create-type"')" = streamOptimized
for n in 1 2 5 16; do
	vdisk convert -c -m $n -W -p -O vmdk in.qed many.vmdk 2>progress
	eq "convert -m $n: the same bytes but for ids" \
		"$(tail -c +65537 many.vmdk | sha256sum)" "$(tail -c +65537 stream.vmdk | sha256sum)"
	rm many.vmdk
done
t "convert -p: shown in a pipe" grep -q 'copying' progress
t "a stream is no longer than qemu-img's by 2 %" eval \
	"qemu-img convert -f raw -O vmdk -o subformat=streamOptimized in.raw qemu.vmdk &&
	test $(stat -c %s stream.vmdk) -le \$((\$(stat -c %s qemu.vmdk) * 102 / 100))"
said "convert: a raw copy that is called like another format" \
	'^vdisk: copy.VMDK: warning: Is a raw image, whatever its name \(-O vmdk for that format\)$' \
	vdisk convert in.qed copy.VMDK
eq "convert: raw, if the user says so" "$(vdisk convert --force -O raw in.qed copy.VMDK 2>&1)" ""
eq "convert: no other name is remarkable" "$(vdisk convert in.qed copy.img.1 2>&1)" ""
usage "convert -c: of what cannot be" '^vdisk: Only vmdk images can be compressed, not: qed$' \
	vdisk convert -c -O qed in.vhd x
usage "convert -c: of another sub-format" 'monolithicSparse are not compressed$' \
	vdisk convert -c -O vmdk -o subformat=monolithicSparse in.vhd x
for n in 0 17 x ''; do
	usage "convert -m '$n'" '^vdisk: Option --parallel is ' vdisk convert -m "$n" in.vhd x
done
vdisk convert -S 0 in.qed full2.raw
t "convert -S 0: all takes place" test "$(($(stat -c %b full2.raw) * 512))" -ge $((9 << 20))
t "convert -S 0: and is the same" cmp in.raw full2.raw
vdisk convert -S 1M in.qed some.raw
vdisk convert in.qed holes.raw
t "convert -S 1M: more than otherwise" test "$(stat -c %b some.raw)" -gt "$(stat -c %b holes.raw)"
t "convert -S 1M: and is the same" cmp in.raw some.raw
usage "convert -S 1000" 'multiple of 512 up to 64M, not: 1000$' vdisk convert -S 1000 in.qed x
usage "convert -S 128M" 'multiple of 512 up to 64M' vdisk convert -S 128M in.qed x

# -n: what was there before is not seen, in formats of all kinds.
python3 -c 'print(end="\xa5" * (11 << 20))' | head -c $((11 << 20)) >old.raw
while read -r format options; do
	rm -f out*
	vdisk convert -f raw -O "$format" ${options:+-o "$options"} old.raw out
	t "convert -n $format $options" vdisk convert -n -O "$format" in.qed out
	vdisk convert -f "$format" out back.raw
	eq "  the disk, and behind its end what was there" \
		"$(head -c 9M back.raw | sha256sum) $(tail -c 2M back.raw | sha256sum)" \
		"$(sha256sum <in.raw) $(tail -c 2M old.raw | sha256sum)"
	# What became zero is free, which a check tells; it is nothing wrong.
	vdisk check -f "$format" out >checked
	case $? in 0 | 3) pass "  check" ;; *) fail "  check" "$(cat checked)" ;; esac
	rm -f back.raw
done <<'END'
raw
vhd
vhd subformat=fixed
vmdk
vmdk subformat=twoGbMaxExtentSparse
parallels
qed
END
cp old.raw out
vdisk convert -n -S 0 in.qed out
t "convert -n -S 0: all takes place" test "$(($(stat -c %b out) * 512))" -ge $((11 << 20))
cp old.raw out
vdisk convert -n in.qed out
t "convert -n: holes are given back" test "$(($(stat -c %b out) * 512))" -lt $((4 << 20))
head -c 5M old.raw >small.raw
refused "convert -n: too short" '^vdisk: small.raw: Output is shorter than the disk: 5242880 of 9437184 bytes$' \
	vdisk convert -n in.qed small.raw
t "  nothing was written" cmp -n $((5 << 20)) small.raw old.raw
refused "convert -n: into itself" '^vdisk: in.raw: The copy would be of this file$' vdisk convert -n -f raw in.raw in.raw
vdisk create -f qed -b in.qed child.qed
refused "convert -n: into its own parent" '^vdisk: in.qed: The copy would be of this file$' \
	vdisk convert -n -O qed child.qed in.qed
qemu-io -f raw -c 'sleep 20000' old.raw >/dev/null 2>&1 &
qemu=$!
for ((k = 0; k < 200; k++)); do
	vdisk convert --dry-run -n in.qed old.raw >/dev/null 2>&1 || break
	sleep 0.05
done
refused "convert -n: into what another program has, and no -U helps" \
	'^vdisk: old.raw: Image is in use by another program$' vdisk convert -U -n in.qed old.raw
kill "$qemu"
wait "$qemu" 2>/dev/null || true
refused "convert -n: what is not there" '^vdisk: gone: No such file' vdisk convert -n in.qed gone
usage "convert -n -o" '^vdisk: Option --no-create makes no image' vdisk convert -n -O vhd -o block_size=4k in.qed out
vdisk create -f vmdk vm.vmdk 11M
cid=$(vdisk info --json vm.vmdk | jq '."format-specific".data.cid')
vdisk convert -n -O vmdk in.qed vm.vmdk
fails "convert -n: a VMDK has another content id" \
	test "$(vdisk info --json vm.vmdk | jq '."format-specific".data.cid')" = "$cid"

#
# check -r
#
vdisk create -f qed leaks.qed 64M
qemu-io -f qed -c 'write 0 64k' leaks.qed >/dev/null
truncate -s +256k leaks.qed
cp leaks.qed both.qed
status "check: leaks" 3 vdisk check leaks.qed
status "check -q: leaks, without a word" 3 vdisk check -q leaks.qed
eq "check -q" "$(vdisk check -q leaks.qed 2>&1)" ""
status "check -r leaks" 0 vdisk check -r leaks leaks.qed
status "  they are gone" 0 vdisk check leaks.qed
python3 - <<'END'
import struct
with open("both.qed", "r+b") as f:
    f.seek(40)
    l1, = struct.unpack("<Q", f.read(8))
    f.seek(l1)
    l2, = struct.unpack("<Q", f.read(8))
    f.seek(l2 + 8)
    f.write(struct.pack("<Q", 1 << 50))
END
sum=$(sha both.qed)
status "check -r leaks: of what is corrupt" 2 vdisk check -r leaks both.qed
eq "  nothing was changed" "$(sha both.qed)" "$sum"
status "check --repair=all" 0 vdisk check --repair=all both.qed
status "check -r some" 1 vdisk check -r some both.qed

#
# --verbose: which files; --debug: which names, and which locks.
#
vdisk create -f qed -b in.qed said.qed
eq "--verbose: the files and formats of all layers" \
	"$(vdisk check -v said.qed 2>&1 >/dev/null | sed -E "s/File [0-9]+/File/; s:$PWD/::")" \
	"vdisk: said.qed: File: said.qed: qed, layer 0, read only, 18432 sectors
vdisk: said.qed: File: in.qed: qed, layer 1, read only, 18432 sectors"
vdisk check --debug said.qed >.out 2>.err
t "--debug: the names of a parent" grep -qx "vdisk: $PWD/said.qed: Trying $PWD/in.qed beneath $PWD: found" .err
t "--debug: the locks" grep -Eqx "vdisk: said.qed: File [0-9]+: lock to read: taken" .err
eq "--debug: on stdout what is there without it" "$(cat .out)" "$(vdisk check said.qed)"
mv in.qed away.qed
vdisk check --debug said.qed >.out 2>.err
t "--debug: a name that leads nowhere" grep -q "Trying $PWD/in.qed beneath $PWD: No such file" .err
mv away.qed in.qed

#
# Trial runs: they say what would be, or why not; every file stays as it is.
#
vdisk create -f qed -b in.qed top.qed
qemu-io -f qed -c 'write -P 3 1M 64k' top.qed >/dev/null
mkdir dir
sums()
{
	find . -type f ! -name '.*' -printf '%p %i %s %T@\n' | sort
	find . -type f ! -name '.*' -print0 | sort -z | xargs -0 sha256sum
}
sums >.before
while IFS='|' read -r command want; do
	eq "$command --dry-run" "$(eval "vdisk $command --dry-run" 2>&1 | sed "s:$PWD:TMP:g")" "$want"
done <<'END'
create -f vhd new.vhd 10M|Would make new.vhd, vhd of 10 MiB
create -f vmdk -o subformat=twoGbMaxExtentSparse new.vmdk 5G|Would make new.vmdk, vmdk of 5 GiB
create -f parallels -o bundle=on new.hdd 10M|Would make new.hdd, parallels of 10 MiB
create -f qed gone/new.qed 10M|vdisk: gone/new.qed: No such file or directory
create -f qed in.qed 10M|vdisk: in.qed: File exists
create -f vhd new.vhd 3T|vdisk: new.vhd: VHD is larger than 2040 GiB, sectors: 6442450944
snapshot in.vhd new.vhd|Would make new.vhd, vhd of 9 MiB
convert -O vhd in.qed new.vhd|Would make new.vhd, vhd of 9 MiB
convert -n in.qed out|Would write 9437184 bytes into out
convert -n in.qed small.raw|vdisk: small.raw: Output is shorter than the disk: 5242880 of 9437184 bytes
resize in.qed 64M|Would make the disk of in.qed 67108864 bytes instead of 9437184
resize in.qed 1M|vdisk: in.qed: Data lies behind the new end (see --shrink): sector 6144
resize in.vhd 3T|vdisk: in.vhd: VHD is larger than 2040 GiB: 6442450944
commit top.qed|Would put 65536 bytes of top.qed into TMP/in.qed
rebase -b '' top.qed|Would copy 570880 bytes into top.qed, and name nobody its parent
rebase -b top.qed top.qed|vdisk: top.qed: Image would be its own parent
END
sums >.after
eq "all is as it was" "$(diff .before .after)" ""
eq "no name is left" "$(find . -name '.vdisk-*' -o -name 'new*')" ""

#
# A parent that needs --allow-path is told of when its child is made.
#
said "create: a parent elsewhere" \
	'^vdisk: dir/c.qed: warning: Its parent is not beneath .* --allow-path .*/in.qed$' \
	vdisk create -f qed -b ../in.qed dir/c.qed
said "create: by an absolute path" 'warning: Its parent is not beneath' \
	vdisk create -f qed -b "$PWD/in.qed" abs.qed
said "snapshot: into another directory" 'warning: Its parent is not beneath' vdisk snapshot in.qed dir/s.qed
eq "create: a parent beneath" "$(vdisk create -f qed -b dir/c.qed above.qed --allow-path in.qed 2>&1)" ""
refused "create: what says a raw parent" 'Unknown format \(-F raw if it is raw\)$' \
	vdisk create -f qed -b in.raw raw.qed
refused "rebase: what says a raw parent" 'Unknown format \(-F raw if it is raw\)$' \
	vdisk rebase -b in.raw top.qed

ktap_end
