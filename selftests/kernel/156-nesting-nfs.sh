#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M disk=160M timeout=1800 alone long
#
# An image on NFS, whose server is this very machine, and goes away: who may wait for
# it waits and loses nothing; a soft mount answers with errors, and so does a server
# that has lost the file. Nothing hangs for ever, and what was flushed is there.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"
# shellcheck source=lib/small.sh
. "$(dirname "$0")/lib/small.sh"
# shellcheck source=lib/nest.sh
. "$(dirname "$0")/lib/nest.sh"

need_cmd rpc.nfsd rpc.mountd exportfs mount.nfs4
modprobe -q nfsd && modprobe -q nfsv4 || skip_all "this kernel has no NFS"
need_nest
export_dir=$work/export

# ---------------------------------------------------------------------------
# The server: version 4 alone, which needs no port mapper.

begin_server()
{
	mkdir -p "$export_dir" /var/lib/nfs/v4recovery
	make_fs ext4 "$disk" && mount "$disk" "$export_dir" || return
	defer umount "$export_dir"
	mountpoint -q /proc/fs/nfsd || {
		mount -t nfsd nfsd /proc/fs/nfsd || return
		defer umount /proc/fs/nfsd
	}
	# For as long as it takes clients to come back, it serves nobody.
	echo 10 >/proc/fs/nfsd/nfsv4leasetime
	echo 10 >/proc/fs/nfsd/nfsv4gracetime
	: >/var/lib/nfs/etab
	exportfs -i -o rw,no_root_squash,no_subtree_check,insecure,fsid=0 "127.0.0.1:$export_dir"
	defer exportfs -ua
	rpc.mountd -F -N 3 >"$work/mountd" 2>&1 &
	defer kill $!
	server_up
	defer server_down
}

server_up()
{
	rpc.nfsd -N 3 -V 4.2 2
}

server_down()
{
	rpc.nfsd 0
}

# mount_nfs OPTIONS
mount_nfs()
{
	rm -f "$export_dir"/*
	mount -t nfs4 -o "vers=4.2,$1" 127.0.0.1:/ "$low"
}

put()
{
	dd if="$work/noise" of="$device" bs=1M seek="$1" count=1 oflag=direct conv=notrunc
}

flush()
{
	dd if=/dev/null of="$device" bs=4k count=0 conv=fsync,notrunc status=none
}

reads()
{
	dd if="$device" bs=1M skip="$1" count=1 iflag=direct of="$work/got" &&
		cmp -n $((1 << 20)) "$work/got" "$work/noise"
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
	step "mount" mount_nfs "$1" && step "an image" placed $((32 << 20)) &&
		step "attach" attached && step "write" put 1 && step "flush" flush
}

all_there()
{
	step "detach" dm_gone "$dm" &&
		step "check finds nothing worse than a leak" checked "$format" "$image" &&
		step "attach again" attached && step "what was flushed is there" reads 1 &&
		step "write" put 5 && step "flush" flush && step "detach" "$vdisk" detach "$dm"
}

# within COMMAND...: five minutes for what has to come to an end
within()
{
	local k

	for ((k = 0; k < 3000; k++)); do
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

with_files()
{
	step "mount" mount_nfs hard && step "an image" placed "$nest_size" &&
		step "attach" attach_image && step "mkfs" make_fs "$upper" "$device" &&
		step "mount" mount_up || return
	step "processes write, and read again" load && step "mount again" remount_up &&
		step "all is there" verify && step "fio's is there" fio_verify &&
		step "unmount" umount "$up" && step "detach" "$vdisk" detach "$dm" &&
		step "check finds no more than what was given back" given_back &&
		step "by the tool: a sound file system" examine &&
		step "by the tool: what was written" nest_py verify "$work/loop/work" "$work/work"
}

# Writes, flushed one by one, to all of the disk; what came of it is in $work/said.
writer()
{
	local k

	for ((k = 2; k < 30; k++)); do
		put "$k" && flush || exit 1
	done
}

# It is away in the middle of writes that may wait for it.
away_hard()
{
	local pid

	fresh hard,timeo=20,retrans=2 || return
	writer >"$work/said" 2>&1 &
	pid=$!
	within writing
	server_down
	sleep 3
	gone "$pid" && echo "# they were done before"
	server_up
	within gone "$pid"
	step "the writes come to an end" gone "$pid" || return
	must "and are good" wait_for "$pid" && step "the last is there" reads 29 &&
		same "the health is" "$(health)" ok && all_there
}

wait_for()
{
	wait "$1" || { cat "$work/said"; return 1; }
}

# Where it is not waited for: a write that the page cache took is lost when it is to
# be safe, and that is told; what follows is refused, and does not wait either.
lost()
{
	local pid

	put 1 >"$work/said" 2>&1 || true
	step "a flush fails" refused flush && same "the health is" "$(health)" flush-failed ||
		return
	writer >"$work/said" 2>&1 &
	pid=$!
	within gone "$pid"
	step "the writes come to an end" gone "$pid" && must "with an error" refused wait "$pid" &&
		step "a flush fails again" refused flush
}

# A client that gives up.
away_soft()
{
	local status=0

	fresh soft,timeo=10,retrans=1 || return
	server_down
	lost || status=$?
	server_up
	[ "$status" -eq 0 ] && all_there
}

# It comes back, and the file is gone.
stale()
{
	fresh hard,timeo=20,retrans=2 || return
	server_down
	rm -f "$export_dir/image"
	echo 3 >/proc/sys/vm/drop_caches
	server_up
	lost && step "detach" dm_gone "$dm"
}

# on_nfs NAME FORMAT FUNCTION
on_nfs()
{
	wished "$1" || return 0
	begin_cell "$1" ext4 NFS sparse "$2" buffered error
	"$3" || true
	end_cell
}

head -c 4M /dev/urandom >"$work/noise"
if ! begin_server; then
	fail "a server of NFS"
	ktap_end
fi
on_nfs n-files vhd with_files
on_nfs n-hard-vhd vhd away_hard
on_nfs n-hard-qed qed away_hard
on_nfs n-soft-vhd vhd away_soft
on_nfs n-soft-qed qed away_soft
on_nfs n-stale vhd stale
ktap_end
