#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: timeout=7200 long
#
# Power cuts: QEMU is killed at a random moment while a guest writes to images of
# all formats, on a disk with a write cache and on one without; in a file system
# and directly on the disk. The next boot checks the images and looks for all
# that was acknowledged as flushed. Runs on the host.
#
#	CUTS=20		how many times for each kind of disk
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../lib/ktap.sh
. "$here/../lib/ktap.sh"
need_cmd qemu-system-x86_64 busybox cpio
unset VDISK_TALLY

cuts=${CUTS:-20}
RANDOM=${VDISK_SEED:-1}
formats=(vhd vmdk parallels qed)
scratch work
boot_pid=''

stop_boot()
{
	[ -z "$boot_pid" ] || kill "$boot_pid" 2>/dev/null || true
}
defer stop_boot

start_boot()
{
	local options=() format

	for format in "${formats[@]}"; do
		options+=(--keep "$work/$format.disk,write-cache=$1")
	done
	"$here/run" --results "$work/results" --share "$work/share" \
		"${options[@]}" "$here/power-guest.sh" >"$work/out" 2>&1 &
	boot_pid=$!
}

# The guest says when it writes. Whatever it has not said by then, it never will.
writing()
{
	local k

	for ((k = 0; k < 3000; k++)); do
		[ ! -e "$work/share/writing" ] || return 0
		kill -0 "$boot_pid" 2>/dev/null || return 1
		sleep 0.2
	done
	return 1
}

# points BOOT: what the guest has scored before it was cut off
points()
{
	local log=$work/results/boot1/0.log wanted=0

	[ "$1" -eq 0 ] || wanted=$((3 * ${#formats[@]}))
	t "$2: the guest found what it looked for" \
		eval "! grep -A 12 -a '^not ok' '$log' && [ \$(grep -ac '^ok' '$log') -eq $wanted ]"
}

acknowledged()
{
	cat "$work"/share/journal.* | grep -c '^f' || true
}

# cache on|off
cut_many()
{
	local cache=$1 k pause flushes=0 format

	rm -rf "$work/share"
	mkdir "$work/share"
	for format in "${formats[@]}"; do
		truncate -s 256M "$work/$format.disk"
	done
	for ((k = 0; k <= cuts; k++)); do
		rm -f "$work/share/writing"
		echo "$((k % 2)) $((k < cuts)) $RANDOM" >"$work/share/plan"
		start_boot "$cache"
		if [ "$k" -lt "$cuts" ] && writing; then
			pause=$((RANDOM % 80 + 5))
			sleep "$((pause / 10)).$((pause % 10))"
			kill -KILL "$(cat "$work/results/boot1/pid")"
			flushes=$((flushes + $(acknowledged)))
		fi
		wait "$boot_pid" || true
		boot_pid=''
		points "$k" "cache $cache, boot $((k + 1))"
		[ "$ktap_failed" -eq 0 ] || sed 's/^/# /' "$work/out"
	done
	rm "$work"/*.disk
	t "cache $cache: $cuts cuts, $flushes flushes acknowledged before them" \
		test "$flushes" -gt "$cuts"
}

cut_many on
cut_many off

ktap_end
