#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M disk=160M timeout=1800 alone long
#
# An image in a FUSE file system, whose server is a program that answers what it
# likes, EAGAIN too, and may die. No answer is asked for again for ever; it fails one
# bio, or the device if it is a flush; what was flushed before is there afterwards.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"
# shellcheck source=lib/small.sh
. "$(dirname "$0")/lib/small.sh"
# shellcheck source=lib/nest.sh
. "$(dirname "$0")/lib/nest.sh"

python3 -c 'import fusepy' 2>/dev/null || skip_all "no python3-fusepy here"
modprobe -q fuse 2>/dev/null || true
grep -qw fuse /proc/filesystems || skip_all "this kernel has no FUSE"
need_nest
mkdir "$work/shown"
answer=$work/answer
head -c 4M /dev/urandom >"$work/noise"

serve()
{
	"$vhd_lib/answerfs.py" "$work/shown" "$low" "$answer" ${serve_options:-} \
		>"$work/served" 2>&1 &
	server=$!
	soon mountpoint -q "$low"
}

# Without its server a file system of FUSE can be told to end, and unmounted.
serve_no_more()
{
	kill "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	! mountpoint -q "$low" || umount "$low"
}

# soon COMMAND...: within half a minute
soon()
{
	local k

	for ((k = 0; k < 300; k++)); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}

# New units came.
writing()
{
	[ "$(field 9)" -gt 0 ]
}

gone()
{
	! kill -0 "$1" 2>/dev/null
}

# ends WHAT COMMAND...: whatever it answers, within half a minute; $ended is its status.
# If it does not, the server answers as it should from then on, and it may.
ends()
{
	local pid what=$1

	shift
	"$@" >"$work/said" 2>&1 &
	pid=$!
	soon gone "$pid" || true
	if gone "$pid"; then
		pass "$cell: $what: there is an answer"
	else
		fail "$cell: $what: there is an answer" "asked again and again: $(dmsetup status "$dm")"
	fi
	rm -f "$answer"
	ended=0
	wait "$pid" || ended=$?
}

put()
{
	dd if="$work/noise" of="$device" bs=1M seek="$1" count=1 oflag=direct conv=notrunc
}

flush()
{
	dd if=/dev/null of="$device" bs=4k count=0 conv=fsync,notrunc status=none
}

get()
{
	dd if="$device" bs=1M skip="$1" count=1 iflag=direct of="$work/got"
}

reads()
{
	get "$1" && cmp -n $((1 << 20)) "$work/got" "$work/noise"
}

attached()
{
	local status=0

	"$vdisk" check --repair -f "$format" "$image" || status=$?
	[ "$status" -eq 0 ] || "$vdisk" check -f "$format" "$image" || return
	"$vdisk" attach -f "$format" -o commit=3600000 "$dm" "$image"
}

placed()
{
	nest_empty "$1" && cp --sparse=always "$made" "$image" && rm "$made"
}

fresh()
{
	must "a server" serve && step "an image" placed $((16 << 20)) &&
		step "attach" attached && step "write" put 1 && step "flush" flush
}

# Closed or not, what was flushed is in the image.
all_there()
{
	step "detach" dm_gone "$dm" &&
		step "check finds nothing worse than a leak" checked "$format" "$image" &&
		step "attach again" attached && step "what was flushed is there" reads 1 &&
		step "write" put 5 && step "flush" flush && step "detach" "$vdisk" detach "$dm"
}

# The cache of the host must not have it.
forget()
{
	echo 3 >/proc/sys/vm/drop_caches
	dmsetup suspend "$dm" && dmsetup resume "$dm"
	echo 3 >/proc/sys/vm/drop_caches
}

answers()
{
	local op=$1 errno=$2

	fresh || return
	forget
	echo "$op $errno" >"$answer"
	case $op in
	read)
		ends "a read" get 1
		step "it fails" test "$ended" -ne 0 &&
			step "it reads when that is over" reads 1 &&
			same "the health is" "$(health)" ok
		;;
	write)
		ends "a write" put 3
		step "it fails" test "$ended" -ne 0 && step "it writes when that is over" put 3 &&
			step "flush" flush && step "it reads what was written" reads 3 &&
			same "the health is" "$(health)" ok
		;;
	fsync)
		put 3 2>/dev/null
		echo "$op $errno" >"$answer"
		ends "a flush" flush
		step "it fails" test "$ended" -ne 0 &&
			same "the health is" "$(health)" flush-failed
		;;
	esac && all_there
}

# A table's block comes with a flush.
answers_table()
{
	fresh && step "write" put 7 || return
	echo "write $2" >"$answer"
	ends "a flush that writes tables" flush
	step "it fails" test "$ended" -ne 0 &&
		same "the health is" "$(health)" table-write-failed && all_there
}

dies()
{
	local pid k

	fresh || return
	(for ((k = 2; k < 16; k++)); do put "$k" || exit; done) >"$work/said" 2>&1 &
	pid=$!
	soon writing || true
	kill -9 "$server"
	wait "$server" 2>/dev/null || true
	soon gone "$pid"
	step "the guest gets an answer" gone "$pid" || return
	wait "$pid" || true
	step "a flush fails" refused flush &&
		step "detach" dm_gone "$dm" && step "unmount" umount "$low" &&
		must "another server" serve && step "put right" attached && all_there
}

with_files()
{
	fresh_fs || return
	step "processes write, and read again" load && step "mount again" remount_up &&
		step "all is there" verify && step "fio's is there" fio_verify &&
		step "unmount" umount "$up" && step "detach" "$vdisk" detach "$dm" &&
		step "check finds no more than what was given back" given_back &&
		step "by the tool: a sound file system" examine &&
		step "by the tool: what was written" nest_py verify "$work/loop/work" "$work/work"
}

fresh_fs()
{
	must "a server" serve && step "an image" placed "$nest_size" &&
		step "attach" attach_image && step "mkfs" make_fs "$upper" "$device" && step "mount" mount_up
}

# on_fuse NAME FORMAT OPTION FUNCTION [ARG...]
on_fuse()
{
	wished "$1" || return 0
	serve_options=${3#cached}
	rm -f "$answer" "$work"/shown/*
	begin_cell "$1" ext4 FUSE sparse "$2" "$3" error
	"${@:4}" || true
	rm -f "$answer"
	dm_gone "$dm" || true
	[ -z "${server:-}" ] || mountpoint -q "$up" || serve_no_more || true
	end_cell
}

on_fuse f-files vhd cached with_files
for how in cached direct_io; do
	for op in read write fsync; do
		for errno in EAGAIN EIO ESTALE; do
			on_fuse "f-$op-$errno-$how" qed "$how" answers "$op" "$errno"
		done
	done
	on_fuse "f-table-EAGAIN-$how" vmdk "$how" answers_table write EAGAIN
	on_fuse "f-table-EIO-$how" qed "$how" answers_table write EIO
	on_fuse "f-dies-$how" vhd "$how" dies
done
ktap_end
