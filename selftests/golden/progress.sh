#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Long work shows on a terminal how far it has come, and takes that away before it
# says anything else; a pipe gets nothing of it.
. "$(dirname "$0")/lib.sh"

need_cmd "${CC:-cc}" python3
cd "$tmp" || exit
"${CC:-cc}" -shared -fPIC -O1 -o clock.so "$here/../lib/clock.c"

# on HOW COMMAND...: what it says on stderr, a terminal or a pipe; then its status
cat >on.py <<'END'
import os, subprocess, sys
how, command = sys.argv[1], sys.argv[2:]
mine, its = os.openpty() if how == "terminal" else os.pipe()
env = dict(os.environ, LD_PRELOAD=os.path.abspath("clock.so"))
p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=its, env=env)
os.close(its)
said = b""
while True:
    try:
        more = os.read(mine, 65536)
    except OSError:
        break
    if not more:
        break
    said += more
sys.stdout.buffer.write(said + b"%d" % p.wait())
END

# bar WHAT LEFT: a bar of this name, then nothing but LEFT
bar()
{
	python3 -c 'import re, sys
said = sys.stdin.buffer.read().decode()
bars, _, left = said.rpartition("\r\x1b[K")
one = r"\r%-10s \[#* *\] +[0-9]+%%" % sys.argv[1]
print(bool(re.fullmatch("((%s)+(\r\x1b\\[K)?)+" % one, bars)), left.strip())' "$1"
}

head -c 8M /dev/urandom >b.raw
"$vdisk" convert -f raw -O qed b.raw b.qed
# Every second cluster first: what lies in order is looked at in one go.
qemu-img create -q -f qed a.qed 8M
for ((k = 0; k < 128; k++)); do
	echo "write -P $((k + 1)) $(((k * 2 % 128 + k / 64) * 64))k 64k"
done | qemu-io -f qed a.qed >/dev/null
while read -r what args; do
	"$vdisk" create -f qed -b a.qed c.qed
	"$vdisk" rebase -u -b b.qed c.qed
	rm -f out
	# shellcheck disable=SC2086
	eq "$args: a bar" "$(python3 on.py terminal "$vdisk" $args | bar "$what")" "True 0"
	"$vdisk" create --force -f qed -b a.qed c.qed
	rm -f out
	# shellcheck disable=SC2086
	eq "$args: nothing in a pipe" "$(python3 on.py pipe "$vdisk" $args)" 0
	rm -f c.qed out
done <<'END'
checking check a.qed
copying convert a.qed out
copying convert -O vhd a.qed out
copying convert -O vmdk -o subformat=streamOptimized a.qed out
copying rebase -b a.qed c.qed
END
"$vdisk" create -f qed -b a.qed c.qed
"$vdisk" rebase -b '' c.qed
"$vdisk" rebase -u -b b.qed c.qed
eq "commit: a bar" "$(python3 on.py terminal "$vdisk" commit c.qed | bar copying)" "True 0"
eq "commit: nothing in a pipe" "$(python3 on.py pipe "$vdisk" commit c.qed)" 0

# An error in the middle stands alone.
qemu-img create -q -f vpc d.vhd 40M
qemu-io -f vpc -c 'write -P 1 0 1k' -c 'write -P 2 30M 1k' d.vhd >/dev/null
"$here/vhd.py" set d.vhd bat.15=0x7fffffff
eq "an error takes the bar away" \
	"$(python3 on.py terminal "$vdisk" convert d.vhd out | bar copying | head -n 1 | sed 's/ byte.*//; s/: [0-9].*//')" \
	"True vdisk: d.vhd: BAT entry points past the data area"
t "and the copy" [ ! -e out ]

ktap_end
