#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The man page says what --help says, its examples work, and the completion
# offers what there is.
. "$(dirname "$0")/lib.sh"

top=$(cd "$here/../.." && pwd)
page=$top/userspace/man/vdisk.8
cd "$tmp" || exit
mkdir bin
ln -s "$(realpath "$vdisk")" bin/vdisk
PATH=$tmp/bin:$PATH

# One section of the page as plain text: section HEADING, verb VERB
section()
{
	awk -v want="$1" '/^\.SH/ { in_it = $0 == ".SH " want; next } in_it' "$page" | plain
}

verb()
{
	awk -v want="$1" '/^\.S[HS]/ { in_it = $0 ~ "^\\.SS \"?" want "[ \"]"; next } in_it' "$page" | plain
}

plain()
{
	sed 's/\\f[A-Z]//g; s/\\-/-/g'
}

options()
{
	grep -oE -- '--[a-z]+(-[a-z]+)*' | sort -u | grep -vxE -- '--(help|verbose|debug)' | tr '\n' ' ' || true
}

verbs=$(vdisk --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
eq "the verbs, in their order" \
	"$(sed -n 's/^\.SS "\([a-z]*\) .*/\1/p' "$page")" "$verbs"
for each in $verbs; do
	eq "$each: its options" "$(verb "$each" | sed -n '/^Options:/,$p' | options)" \
		"$(vdisk "$each" --help | grep -E '^  (-|--)' | cut -c 1-30 | options)"
	eq "$each: its arguments" \
		"$(sed -n "s/^\.SS \"\($each .*\)\"/\1/p" "$page" | sed -E 's/ \[OPTION\](\.\.\.)?//')" \
		"$(vdisk --help | sed -n "s/^  \($each\) */\1 /p" | sed -E 's/ {2,}.*//; s/ [a-z].*//; s/ *$//')"
done
eq "each option is explained" "$(section OPTIONS | grep -A1 '^\.TP' | options)" \
	"$(for each in $verbs; do vdisk "$each" --help; done | grep -E '^  (-|--)' | cut -c 1-30 | options)"
named=$(section OPTIONS)
for each in --verbose --debug; do
	t "$each is explained, once for all verbs" grep -qE "^\.BR? .*$each\b" <<<"$named"
done
eq "the keys of -o for what is there" \
	"$(for key in $(vdisk attach --help | sed -n '/--options/,/--allow/p' |
		grep -oE '[a-z_]+=|buffered'); do
		grep -q "$key" <<<"$named" || echo "$key"
	done)" ""
for each in $(vdisk info --help | sed -n 's/^Formats: //p' | sed 's/([a-z]*)//g'); do
	vdisk create -f "$each" -o help >.help 2>/dev/null || continue
	named=$(section "OPTIONS OF NEW IMAGES")
	missing=$(sed -n 's/^  \([a-z_0-9]*\)=.*/\1/p' .help | while read -r key; do
		grep -q "$key=" <<<"$named" || echo "$key"
	done)
	eq "create -f $each: its options" "$missing" ""
done
if command -v groff >/dev/null; then
	eq "it is well formed" "$(groff -man -Tutf8 -ww -z "$page" 2>&1)" ""
else
	skip "it is well formed" "no groff"
fi

# Every refusal of the target is explained; what is allocated is not.
while read -r phrase; do
	grep -qF "$phrase" "$top/Documentation/dm-vdisk.rst" || echo "$phrase"
done < <(grep -ohE 'error = "[^"]+"' "$top"/dm-vdisk/*.c | cut -d '"' -f 2 |
	grep -v '^Cannot allocate' | sort -u) >unexplained
eq "Documentation/dm-vdisk.rst has every refusal of a table" "$(cat unexplained)" ""

need_cmd jq
"$here/../lib/man-examples" tool >examples || fail "the examples"
t "there are examples" test "$(wc -l <examples)" -gt 10
mkdir work
t "the examples work" env -C work bash -euo pipefail ../examples

# Completion: of the words given, the last is to be completed.
complete_words()
{
	bash -c 'PATH=$1
		. "$2"
		shift 2
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
		_vdisk
		[ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\n" "${COMPREPLY[@]}"' bash "$PATH" \
		"$top/userspace/completion/vdisk.bash" "$@" 2>&1 | sort | tr '\n' ' '
}

sorted()
{
	tr ' ' '\n' | sed '/^$/d' | sort -u | tr '\n' ' '
}

eq "completion: verbs" "$(complete_words vdisk '')" "$(sorted <<<"$verbs")"
eq "completion: a verb" "$(complete_words vdisk pro)" "probe "
for each in $verbs; do
	eq "completion: options of $each" "$(complete_words vdisk "$each" --)" \
		"$(vdisk "$each" --help | grep -E '^  (-|--)' | cut -c 1-30 |
			grep -oE -- '--[a-z]+(-[a-z]+)*' | sorted)"
done
formats=$(vdisk info --help | sed -n 's/^Formats: //p' | tr -d '()')
eq "completion: formats" "$(complete_words vdisk info -f '')" "$(sorted <<<"$formats")"
eq "completion: formats, the long way" "$(complete_words vdisk info --format q)" "qed "
mkdir files
touch files/one.vhd 'files/t wo.vhd'
eq "completion: files" "$(complete_words vdisk info files/o)" "files/one.vhd "
eq "completion: a name with a blank" "$(complete_words vdisk map files/t)" "files/t wo.vhd "
eq "completion: a directory to allow" "$(complete_words vdisk map --allow-path file)" "files "
# Values; bash cuts words at '='.
while IFS='|' read -r line want; do
	words=()
	for word in $line; do words+=("${word#.}"); done
	eq "completion: $line" "$(complete_words vdisk "${words[@]}")" "$(sorted <<<"$want")"
done <<'END'
info --format = q|qed
check -r .|leaks all
check --repair = .|leaks all
check --repair files/o|files/one.vhd
info --output j|json
create -f vhd -o .|backing_file= backing_fmt= block_size= force_size= subformat=
create -f vhd -o subformat = .|dynamic fixed
create -f vhd -o subformat = f|fixed
create -f vhd -o subformat = fixed,blo|fixed,block_size=
convert -O vmdk -o compat6 = on,zeroed_grain = o|off on
convert -O qed -o size = c|chs current
snapshot -O qed -o cl|cluster_size=
attach -o pre|prealloc_mode= prealloc_size=
attach -o enospc = .|error queue
attach -o commit = .|
attach -o commit = 5 files/o|files/one.vhd
convert -m .|
measure --size 1G files/o|files/one.vhd
create -b files/o|files/one.vhd
list files/o|files/one.vhd
END
cat >bin/vdisk-list <<'END'
#!/bin/bash
[ "$1 $2" = "list --noheadings" ] || exec VDISK "$@"
printf '%-16s vhd        rw     10 MiB  /x y.vhd\n' web db
END
sed -i "s|VDISK|$(realpath "$vdisk")|" bin/vdisk-list
chmod +x bin/vdisk-list
rm bin/vdisk && mv bin/vdisk-list bin/vdisk
eq "completion: names of devices" "$(complete_words vdisk detach '')" "db web "
eq "completion: nothing behind the name" "$(complete_words vdisk status web '')" ""
eq "completion: attach takes a file at once" "$(complete_words vdisk attach files/o)" "files/one.vhd "
eq "completion: or behind a name" "$(complete_words vdisk attach -r new files/o)" "files/one.vhd "
eq "completion: why takes both" "$(complete_words vdisk why w)" "web work "
eq "completion: why a sector" "$(complete_words vdisk why web '')" ""

ktap_end
