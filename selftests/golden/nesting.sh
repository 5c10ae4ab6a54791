#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The nesting matrix of the kernel tests is whole: every legal pair of values is in
# some cell, and the five of make check hold every value. And that would show.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../lib/ktap.sh
. "$here/../lib/ktap.sh"

need_cmd python3
lib=$here/../kernel/lib
scratch work

cells_py()
{
	"$lib/cells.py" "$@"
}

wrong()
{
	cells_py check "$work/cells"
}

t "every pair of values is in a cell" cells_py check "$lib/cells.txt"
grep -v '^c13 ' "$lib/cells.txt" >"$work/cells"
says "not without one of them" 'no cell has file snapshotted with format qed' wrong
sed '/ five /{s/ device / xfs /}' "$lib/cells.txt" >"$work/cells"
says "nor with another among the five" 'none of the five has lower device' wrong
sed '1,/ rest /{s/ ext4 ext4 written/ ext4 ext4 reflinked/}' "$lib/cells.txt" >"$work/cells"
says "a file system cannot what it is to do" 'not a cell: ext4 ext4 reflinked' wrong
cells_py make 3 >"$work/cells"
t "what is made anew is whole" wrong
eq "all cells are in one part, and once" \
	"$({ cells_py list "$lib/cells.txt" five; for k in 1 2 3 4; do
		cells_py list "$lib/cells.txt" rest "$k" 4; done; } | sort)" \
	"$(cells_py list "$lib/cells.txt" all | sort)"
ktap_end
