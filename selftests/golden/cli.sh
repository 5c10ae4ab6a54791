#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What every verb of the tool has in common: help, usage errors, one-line errors,
# names made printable, output that does not fit.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
qemu-img create -q -f vpc d.vhd 10M

# line DESCRIPTION CODE REGEX COMMAND...: this exit status, one such line
line()
{
	local description=$1 want=$2 regex=$3 out got=0

	shift 3
	out=$("$@" 2>.err </dev/null) || got=$?
	if [ "$got" -eq "$want" ] && [ -z "$out" ] && [ "$(wc -l <.err)" -eq 1 ] &&
		grep -Eq -- "$regex" .err; then
		pass "$description"
	else
		fail "$description" "\$ $*
$out
$(cat .err)
status $got, wanted $want and one line: $regex"
	fi
}

t "--help" eval "'$vdisk' --help | grep -q '^  attach '"
t "--version" eval "'$vdisk' --version | grep -Eqx 'vdisk [0-9]+(\.[0-9]+)*.*'"
for verb in $("$vdisk" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	t "$verb --help" eval "'$vdisk' $verb --help | grep -q '^Usage: vdisk $verb '"
	eq "help $verb" "$("$vdisk" help "$verb")" "$("$vdisk" "$verb" --help)"
	want=2
	[ "$verb" != check ] || want=1
	status "$verb: an unknown option" $want "$vdisk" "$verb" --no-such-option
	line "$verb: too many arguments" $want "^vdisk: Usage: vdisk $verb " \
		"$vdisk" "$verb" 1 2 3 4 5
done
line "help on an unknown verb" 2 '^vdisk: Unknown verb: foo ' "$vdisk" help foo
line "no verb" 2 '^vdisk: What to do' "$vdisk"
line "an unknown verb" 2 '^vdisk: Unknown verb: foo ' "$vdisk" foo
line "a verb is no terminal's business" 2 'Unknown verb: \\x1b\[31m ' "$vdisk" $'\e[31m'
line "no argument" 2 '^vdisk: Usage: vdisk info ' "$vdisk" info
line "check without an argument could not check" 1 '^vdisk: Usage: ' "$vdisk" check
line "an unknown format" 2 '^vdisk: Unknown format: vhdx$' "$vdisk" info -f vhdx d.vhd
line "zero is no format of a file" 2 '^vdisk: Unknown format: zero$' "$vdisk" info -f zero d.vhd
t "vpc is vhd" "$vdisk" info -f vpc d.vhd
line "an unknown option" 2 '^vdisk: Unknown option: foo$' "$vdisk" table -o foo=1 d.vhd
line "a wrong size rule" 2 'auto, chs or current, not: big$' "$vdisk" table -o size=big d.vhd
line "no size rule" 2 'auto, chs or current, not: $' "$vdisk" table -o size d.vhd
for n in '' -1 1x 3600001 0x10 ' 1'; do
	line "commit=$n" 2 "^vdisk: Option commit is not a number" \
		"$vdisk" table -o "commit=$n" d.vhd
done
line "an option of another verb" 2 '^vdisk: probe does not take the option --json$' \
	"$vdisk" probe --json d.vhd
line "one that is long only" 2 '^vdisk: info does not take the option --force$' \
	"$vdisk" info --force d.vhd
for args in 'create -f vhd' 'convert -O vhd' 'snapshot -O vhd' 'snapshot d.vhd' 'snapshot d.vhd x'; do
	# shellcheck disable=SC2086
	eq "$args -o help" "$("$vdisk" $args -o help 2>&1 | grep -c '^  block_size=')" 1
	# shellcheck disable=SC2086
	line "$args -o help into a full device" 1 'standard output: No space left' \
		eval "'$vdisk' $args -o help >/dev/full"
done
for verb in create snapshot; do
	line "$verb -o help of nothing" 2 "^vdisk: Of which format\? \(see vdisk $verb --help\)$" \
		"$vdisk" $verb -o help
done
line "snapshot -o help of what nobody can make" 2 '^vdisk: Unknown format: qcow2$' \
	"$vdisk" snapshot -O qcow2 -o help
line "snapshot -o help of what is not there" 1 '^vdisk: gone: No such file' \
	"$vdisk" snapshot gone -o help
eq "options in the table" \
	"$("$vdisk" table --read-only -o commit=250,buffered d.vhd | sed 's/.*vhd 1 [^ ]*//')" \
	" 2 commit=250 buffered"

line "no such file" 1 '^vdisk: gone: No such file or directory$' "$vdisk" info gone
line "a directory" 1 '^vdisk: \.: ' "$vdisk" info .
line "a character device" 1 '^vdisk: /dev/null: Not a regular file$' "$vdisk" info /dev/null
mkfifo pipe
line "a FIFO" 1 '^vdisk: pipe: Not a regular file$' timeout 10 "$vdisk" info pipe
head -c 5000 /dev/zero >zeroes
line "zeroes have no format" 1 '^vdisk: zeroes: Unknown format' "$vdisk" probe zeroes
line "raw is never guessed" 1 '^vdisk: zeroes: Unknown format \(-f raw' "$vdisk" table zeroes
eq "raw by name" "$("$vdisk" table --read-only -f raw zeroes)" \
	"0 10 vdisk ro 1 1 10 raw 1 $tmp/zeroes"

# Names of all kinds.
cp d.vhd $'a b\\c\t.vhd'
eq "blanks and backslashes in the table" "$("$vdisk" table $'a b\\c\t.vhd')" \
	"0 20536 vdisk rw 1 1 20536 vhd 1 $tmp/a\\040b\\134c\\011.vhd"
cp d.vhd $'new\nline.vhd'
line "a line end cannot stand in a table" 1 'new\\x0aline.vhd: A table cannot name' \
	"$vdisk" table $'new\nline.vhd'
cp d.vhd $'\e]0;x\a\xff\xc2\x9b.vhd'
t "names are shown without control characters" \
	eval "'$vdisk' info \$'\\e]0;x\\a\\xff\\xc2\\x9b.vhd' | LC_ALL=C grep -qF 'image: \x1b]0;x\x07\xff\xc2\x9b.vhd'"
t "JSON stays JSON" \
	eval "'$vdisk' info --json \$'\\e]0;x\\a\\xff\\xc2\\x9b.vhd' | python3 -m json.tool"
mkdir real && cp d.vhd real/ && ln -s real/d.vhd link.vhd
eq "the table names the file behind a link" \
	"$("$vdisk" table link.vhd)" "0 20536 vdisk rw 1 1 20536 vhd 1 $tmp/real/d.vhd"
chmod a-w d.vhd
if [ "$(id -u)" -ne 0 ]; then
	line "a file that may not be written" 1 'd.vhd: Permission denied$' "$vdisk" table d.vhd
fi
t "a file that may not be written may be read" "$vdisk" table --read-only d.vhd
chmod u+w d.vhd

# Output.
for verb in 'info' 'map' 'check' 'table' '--help'; do
	line "$verb into a full device" 1 'standard output: No space left on device' \
		eval "'$vdisk' $verb $([ "$verb" = --help ] || echo d.vhd) >/dev/full"
done
eq "a reader who has gone is no signal, and no line" "$(python3 -c 'import os, subprocess, sys
r, w = os.pipe()
os.close(r)
p = subprocess.run([sys.argv[1], "--help"], stdout=w, stderr=subprocess.PIPE)
print(p.returncode, p.stderr)' "$vdisk")" "1 b''"

# convert
t "convert" "$vdisk" convert d.vhd out.raw
eq "the copy is sparse" "$(($(stat -c %b out.raw) < 64))" 1
line "convert keeps what is there" 1 '^vdisk: out.raw: File exists$' "$vdisk" convert d.vhd out.raw
line "convert into a directory that is not there" 1 '^vdisk: no/out: No such file' \
	"$vdisk" convert d.vhd no/out
line "convert to what it cannot write" 2 'Unknown format: qcow2$' \
	"$vdisk" convert -O qcow2 d.vhd x
(ulimit -f 100; trap '' XFSZ; exec "$vdisk" convert -f raw out.raw big.raw) 2>.err
eq "a copy that does not fit is removed" "$([ -e big.raw ] || echo gone) $(cat .err)" \
	"gone vdisk: big.raw: File too large"

# device-mapper is not there, or not ours to use
if ! [ -e /dev/mapper/control ]; then
	line "attach without device-mapper" 1 '^vdisk: x: Device-mapper: ' "$vdisk" attach x d.vhd
	line "detach without device-mapper" 1 '^vdisk: x: ' "$vdisk" detach x
	line "list without device-mapper" 1 '^vdisk: Device-mapper: ' "$vdisk" list
fi

ktap_end
