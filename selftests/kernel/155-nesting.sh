#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M disk=160M timeout=1200 alone
#
# Cells of the nesting matrix made by hand: the host is full when the device is
# suspended; the guest's process may not write large files; the file has space that
# nobody wrote to; a write is to be durable beside others that were lost.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"
# shellcheck source=lib/small.sh
. "$(dirname "$0")/lib/small.sh"
# shellcheck source=lib/nest.sh
. "$(dirname "$0")/lib/nest.sh"

need_nest
head -c 8M /dev/urandom >"$work/noise"

put()
{
	dd if="$work/noise" of="$device" bs=1M seek="$1" count="$2" oflag=direct \
		conv=notrunc status=none
}

flush()
{
	dd if=/dev/null of="$device" bs=4k count=0 conv=fsync,notrunc status=none
}

# reads AT MIB: what `put AT MIB` wrote
reads()
{
	cmp -n $(($2 << 20)) <(dd if="$device" bs=1M skip="$1" count="$2" iflag=direct \
		status=none) "$work/noise"
}

# One or the other, all of it.
old_or_zero()
{
	dd if="$device" of="$work/got" bs=1M skip=2 count=2 iflag=direct status=none &&
		{ cmp -s -n $((2 << 20)) "$work/got" /dev/zero ||
			cmp -n $((2 << 20)) -i 0:2M "$work/got" "$work/noise"; }
}

# ---------------------------------------------------------------------------
# The tables' blocks are shared with another file, so the commit of a suspend needs
# space, and there is none. Whatever the device says then has to be true.

full_at_suspend()
{
	step "below" make_below && step "an image" make_small && step "attach" attach_small &&
		step "fill a part" put 0 8 && step "flush" flush &&
		step "detach" "$vdisk" detach "$dm" &&
		step "share" cp --reflink=always "$image" "$low/other" &&
		step "attach" attach_small &&
		step "a new unit" put 16 1 &&
		step "discard" blkdiscard -o 2M -l 2M "$device" || return
	fill_host
	step "no space is left" refused dd if=/dev/zero of="$low/hog" bs=64k count=4 conv=fsync ||
		return
	dmsetup suspend "$dm" 2>/dev/null || echo "# the suspend fails"
	rm -f "$low/hog"
	free_host
	if ! dmsetup resume "$dm"; then
		step "no resume: the device says why" test "$(health)" != ok
	elif [ "$(health)" = ok ]; then
		still_whole
	else
		given_up
	fi || return
	step "detach" dm_gone "$dm" &&
		step "check finds nothing worse than a leak" checked "$format" "$image" &&
		step "put right" repaired && step "attach again" attach_small &&
		step "what was flushed is there" reads 0 2 &&
		step "and what lies behind what was discarded" \
			cmp -n $((4 << 20)) -i 4M "$device" "$work/noise" &&
		step "what was discarded is old or zero" old_or_zero &&
		step "detach" "$vdisk" detach "$dm"
}

make_small()
{
	nest_empty $((64 << 20)) && cp "$made" "$image" && rm "$made"
}

attach_small()
{
	"$vdisk" attach -f "$format" -o commit=3600000 "$dm" "$image"
}

repaired()
{
	local status=0

	# A repair moves few units: space may stay lost (3), no more.
	"$vdisk" check --repair -f "$format" "$image" || status=$?
	status=0
	"$vdisk" check -f "$format" "$image" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ]
}

# The units that were freed belong to nobody else as long as the image names them.
still_whole()
{
	step "a flush succeeds" flush && step "the new unit is there" reads 16 1 &&
		step "what was discarded is old or zero" old_or_zero &&
		step "write to it" put 2 2 && step "write elsewhere" put 32 2 &&
		step "flush" flush && step "it reads what was written" reads 2 2 &&
		step "so it does elsewhere" reads 32 2 && step "discard" blkdiscard -o 2M -l 2M "$device"
}

given_up()
{
	step "given up: a flush fails" refused flush && step "so does a write" refused put 40 1
}

# ---------------------------------------------------------------------------
# The limit is on the files of the process, not on what lies below them.

guest_fs()
{
	step "below" make_below && step "an image" nest_image && step "its file" place_image &&
		step "attach" attach_image && step "mkfs" make_fs "$upper" "$device" "$keep" &&
		step "mount" mount_up
}

small_files_only()
{
	guest_fs && step "a process without a limit" nest_py work "$up/work" "$work/work" 3 1 40 &&
		step "sync" sync -f "$up" || return
	step "a process with a limit of file sizes writes" with_limit &&
		same "the health is" "$(health)" ok &&
		step "mount again" remount_up &&
		step "what it flushed is there" nest_py verify "$up/fill" "$work/fill" &&
		step "unmount" umount "$up" && step "detach" "$vdisk" detach "$dm"
}

# 256 KiB files, of 1 MiB that they may have.
with_limit()
{
	local said

	said=$(ulimit -f 1024 && nest_py fill "$up/fill" "$work/fill" 4 8 256)
	echo "$said"
	[ "$said" = "8 none" ]
}

# ---------------------------------------------------------------------------
# Space that was asked for and never written to: the file system below has to write
# its own tables when the data comes.

never_written()
{
	guest_fs && step "processes write" nest_py work "$up/work" "$work/work" 5 2 60 &&
		same "one flushes" "$(guest_fill fill 6 24)" "24 none" &&
		step "mount again" remount_up &&
		step "all is there" nest_py verify "$up/work" "$work/work" &&
		step "what was flushed is there" nest_py verify "$up/fill" "$work/fill" &&
		step "unmount" umount "$up" && step "detach" "$vdisk" detach "$dm"
}

# ---------------------------------------------------------------------------
# What is in the page cache of the host is lost on the way to its disk. The next
# flush tells, or no flush says that it is safe.

lost_beside()
{
	local length=$((128 << 11)) broken well="0 $((128 << 11)) linear $disk 0"

	broken="0 $length flakey $disk 0 0 3600 1 error_writes"
	step "below" dmsetup create "$dm-under" --table "$well" &&
		step "a file system there" mkfs.ext4 -q -F -O ^has_journal "$under" &&
		step "mounted" mount "$under" "$low" && step "an image" nest_empty $((16 << 20)) &&
		step "its file" copy_whole "$made" "$image" && step "attach" attach_image &&
		step "what is there" flush && step "write" put 1 4 || return
	now_under "$broken"
	sync -f "$low" 2>/dev/null || true
	now_under "$well"
	if [ "$1" = fua ]; then
		# Told or not: the flush has to tell.
		dd if="$work/noise" of="$device" bs=64k seek=128 count=1 oflag=direct,dsync \
			conv=notrunc status=none || true
	fi
	step "a flush does not say that it is safe" refused flush
	same "the health is" "$(health)" flush-failed
}

now_under()
{
	dmsetup suspend --noflush --nolockfs "$dm-under" &&
		dmsetup load "$dm-under" --table "$1" && dmsetup resume "$dm-under"
}

# by_hand NAME FUNCTION UPPER LOWER FILE FORMAT MODE [ARG...]
by_hand()
{
	begin_cell "$1" "${@:3:5}" error
	"$2" "${@:8}" || true
	end_cell
}

run_hand()
{
	! wished "$1" || by_hand "$@"
}

# As run_hand, of what other cells nearly are.
run_long()
{
	[ -z "${VDISK_LONG:-}" ] || run_hand "$@"
}

run_hand h1-vhd full_at_suspend none xfs reflinked vhd direct
run_long h1-vmdk full_at_suspend none xfs reflinked vmdk direct
run_hand h1-qed full_at_suspend none xfs reflinked qed direct
run_hand h2-raw small_files_only ext4 ext4 written raw direct
run_long h2-cached small_files_only xfs ext4 written raw buffered
run_hand h2-vhd small_files_only ext4 xfs sparse vhd direct
run_hand h4-fua lost_beside none ext4 written raw buffered fua
run_hand h4-flush lost_beside none ext4 written raw buffered flush
run_hand h3-ext4 never_written ext4 ext4 fallocated raw direct
run_hand h3-xfs never_written xfs ext4 fallocated raw direct
run_hand h3-btrfs never_written btrfs ext4 fallocated raw direct
run_long h3-vhd never_written ext4 ext4 fallocated vhd direct
ktap_end
