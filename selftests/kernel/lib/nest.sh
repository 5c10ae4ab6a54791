# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A cell of the nesting matrix (cells.txt): a file system on a device whose image is a
# file, in a certain state, of another file system, or lies on a device. On top of
# vhd.sh; a program sources this, and says
#
#	# VM: disk=512M disk=160M
#	need_nest              what the cells need, and their disks
#	run_cells WORD...      those of `cells.py list`, or of the kernel's command line:
#	                       vm/run --append nest.cells=c03,c07 ...
#
# After a point that failed, the rest of a cell is left out; the next one begins anew.

nest_size=$((144 << 20))

nest_py()
{
	"$vhd_lib/nest.py" "$@"
}

cells_py()
{
	"$vhd_lib/cells.py" "$@"
}

need_nest()
{
	need_module
	need_tool
	need_cmd qemu-img python3 fio fallocate mkfs.ext4 mkfs.xfs mkfs.btrfs
	need_disk 512M disk
	need_disk 160M parent_disk
	scratch work
	mkdir "$work/low" "$work/up" "$work/loop" "$work/cg"
	low=$work/low up=$work/up
	device=/dev/mapper/$dm under=/dev/mapper/$dm-under
	timeout_file=/sys/module/dm_vdisk/parameters/no_space_timeout
	defer sh -c "echo $(cat "$timeout_file") >$timeout_file"
	begin_limit
}

# Memory for the processes of the guest: less than what they write. The group is
# empty again when it is removed.
begin_limit()
{
	cgroup=
	mount -t cgroup2 nest "$work/cg" 2>/dev/null || return 0
	defer umount "$work/cg"
	grep -qw memory "$work/cg/cgroup.controllers" || return 0
	echo +memory >"$work/cg/cgroup.subtree_control"
	cgroup=$work/cg/nest
	mkdir "$cgroup"
	defer rmdir "$cgroup"
	echo 32M >"$cgroup/memory.max"
}

limited()
{
	[ -z "$cgroup" ] || echo "$BASHPID" >"$cgroup/cgroup.procs"
	"$@"
}

met_limit()
{
	awk '$1 == "max" { print $2 }' "$cgroup/memory.events"
}

# ---------------------------------------------------------------------------
# Points. What fails ends the cell.

step()
{
	local before=$ktap_failed

	t "$cell: $1" "${@:2}"
	[ "$ktap_failed" -eq "$before" ]
}

refused()
{
	! "$@"
}

# A point of a command in this shell, with what the command sets.
must()
{
	if "${@:2}"; then
		pass "$cell: $1"
	else
		fail "$cell: $1"
		return 1
	fi
}

same()
{
	local before=$ktap_failed

	eq "$cell: $1" "$2" "$3"
	[ "$ktap_failed" -eq "$before" ]
}

field()
{
	dmsetup status "$dm" | cut -d ' ' -f "$1"
}

health()
{
	field 5
}

events()
{
	dmsetup info -c --noheadings -o events "$dm" | tr -d ' '
}

# ---------------------------------------------------------------------------
# What is below.

# The kernel is to discard only where the file is meant to lose what it had.
make_fs()
{
	local fs=$1 where=$2 keep=${3:-}

	case $fs in
	ext4) mkfs.ext4 -q -F ${keep:+-E nodiscard} "$where" ;;
	xfs) mkfs.xfs --unsupported -q -f ${keep:+-K} "$where" >/dev/null ;;
	btrfs) mkfs.btrfs -q -f ${keep:+-K} "$where" ;;
	esac
}

make_below()
{
	blkdiscard -f "$disk" && blkdiscard -f "$parent_disk" || return
	if [ "$lower" != device ]; then
		make_fs "$lower" "$disk" && mount "$disk" "$low"
	fi
}

# An image for the tests of a file system that is there already: it is in the
# parent, with files that the child has to show.
make_parent()
{
	[ "$lower" = device ] || truncate -s "$nest_size" "$base" || return
	dmsetup create "$dm" --table \
		"0 $((nest_size >> 9)) vdisk rw 1 1 $((nest_size >> 9)) raw 1 $base" &&
		make_fs "$upper" "$device" && mount "$device" "$up" &&
		mkdir "$up/base" && nest_py work "$up/base" "$work/base" 77 1 60 &&
		umount "$up" && dmsetup remove --retry "$dm" &&
		sha "$base" >"$work/base.sha"
}

# nest_empty BYTES: nothing is in it.
nest_empty()
{
	case $format in
	raw) truncate -s "$1" "$made" ;;
	vhd) qemu-img create -q -f vpc -o force_size=on "$made" "$1" ;;
	*) qemu-img create -q -f "$format" "$made" "$1" ;;
	esac
}

# In memory, since what it is placed on is to see one writer only. A part of the
# disk has its units, a part has not.
nest_image()
{
	if [ "$format" = qed ]; then
		qemu-img create -q -f qed -b "$base" -F raw "$made" "$nest_size"
	else
		nest_empty "$nest_size"
	fi || return
	[ "$file" != sparse ] && [ "$format" != raw ] || return 0
	"$vdisk" attach -f "$format" --allow-path / "$dm" "$made" &&
		nest_py touch "$device" $((2 << 20)) $((4 << 20)) &&
		"$vdisk" detach "$dm"
}

copy_whole()
{
	dd if="$1" of="$2" bs=1M conv=fsync status=none
}

# The state of the file.
place_image()
{
	if [ "$lower" = device ]; then
		place_on_device
		return
	fi
	case $file in
	written) copy_whole "$made" "$image" ;;
	sparse) cp --sparse=always "$made" "$image" ;;
	fallocated)
		fallocate -l "$(stat -c %s "$made")" "$image" &&
			dd if="$made" of="$image" bs=64k conv=notrunc,sparse status=none
		;;
	fragmented) nest_py scatter "$made" "$image" "$low/aside" 128 ;;
	reflinked)
		copy_whole "$made" "$origin" && cp --reflink=always "$origin" "$image"
		;;
	snapshotted)
		btrfs -q subvolume create "$low/volume" && copy_whole "$made" "$image" &&
			btrfs -q subvolume snapshot -r "$low/volume" "$low/snapshot"
		;;
	esac && sync -f "$low" && rm "$made" || return
	[ -z "$origin" ] || sha "$origin" >"$work/origin.sha"
}

# Just large enough for what comes before the host is to be full.
place_on_device()
{
	local room=$((24 << 20)) bytes

	bytes=$(stat -c %s "$made")
	[ "$file" != sparse ] || room=$((72 << 20))
	[ "$format" != raw ] || room=0
	under_is $(((bytes + room) >> 9)) || return
	if [ "$file" = sparse ]; then
		dd if="$made" of="$image" bs=64k conv=sparse,fsync status=none
	else
		copy_whole "$made" "$image"
	fi && rm "$made"
}

under_is()
{
	if [ -e "$under" ]; then
		dmsetup load "$dm-under" --table "0 $1 linear $disk 0" &&
			dmsetup resume "$dm-under"
	else
		dmsetup create "$dm-under" --table "0 $1 linear $disk 0"
	fi
}

attach_image()
{
	local options=commit=1000,enospc=$full

	[ "$mode" = direct ] || options+=,buffered
	[ "$file" != fallocated ] || options+=,prealloc_mode=falloc
	"$vdisk" attach -f "$format" -o "$options" --allow-path / "$dm" "$image"
}

mount_up()
{
	local options=

	[ "$file" != sparse ] || options='-o discard'
	echo 3 >/proc/sys/vm/drop_caches
	# shellcheck disable=SC2086
	mount $options "$device" "$up"
}

remount_up()
{
	umount "$up" && mount_up
}

# ---------------------------------------------------------------------------
# What runs above.

fio_jobs()
{
	fio --output="$work/fio.log" --directory="$up/fio" --rw=randwrite --bs=16k \
		--verify=crc32c --verify_fatal=1 --randrepeat=1 --fallocate=none "$@" \
		--name=cached --size=8M --numjobs=2 --fsync=128 \
		--name=beside --size=2M --direct=1 --ioengine=libaio --iodepth=8
}

# All at the same time, and all under the limit.
load()
{
	local jobs=() status=0 job

	mkdir "$up/fio" "$up/work" || return
	limited fio_jobs &
	jobs+=($!)
	limited nest_py work "$up/work" "$work/work" "${VDISK_SEED:-1}" 3 70 &
	jobs+=($!)
	for job in "${jobs[@]}"; do
		wait "$job" || status=$?
	done
	[ "$status" -eq 0 ] || cat "$work/fio.log"
	return "$status"
}

verify()
{
	nest_py verify "$up/work" "$work/work" || return
	[ "$format" != qed ] || nest_py verify "$up/base" "$work/base"
}

fio_verify()
{
	fio_jobs --verify_only || { cat "$work/fio.log"; return 1; }
}

# ---------------------------------------------------------------------------
# A host without space.

# Takes all, to the last block.
fill_host()
{
	local n k=0

	sync -f "$low"
	for n in 64M 8M 1M 128k 4k; do
		while fallocate -l "$n" "$low/hog.$k" 2>/dev/null; do
			k=$((k + 1))
		done
		k=$((k + 1))
	done
	# What is held back for the trees of an allocation, writes may have.
	for k in 1 2 3; do
		dd if=/dev/zero of="$low/hog.small$k" bs=4k 2>/dev/null || true
		sync -f "$low"
	done
}

free_host()
{
	rm -f "$low"/hog.* && sync -f "$low"
}

# May a write of the guest need space of the host, now that it is full? "must": of
# those that follow some do.
needs_space()
{
	[ "$format" = raw ] || { echo must; return; }
	case $lower,$file in
	device,*) echo never ;;
	*,sparse | *,reflinked | *,snapshotted) echo must ;;
	btrfs,fallocated) echo may ;;
	btrfs,*) echo must ;;
	*) echo never ;;
	esac
}

guest_fill()
{
	nest_py fill "$up/$1" "$work/$1" "$2" "$3" 1024 2>&1
}

# The guest writes on until it is told, or waits.
fill_waiting()
{
	local filler k status

	guest_fill fill 5 "$1" >"$work/filled" &
	filler=$!
	parked=0
	for ((k = 0; k < 600; k++)); do
		kill -0 "$filler" 2>/dev/null || break
		status=$(field 12)
		if [ "$status" -gt 0 ]; then
			parked=$status
			break
		fi
		sleep 0.2
	done
	free_host
	dmsetup message "$dm" 0 retry
	wait "$filler"
}

host_full()
{
	local need told before count=24

	need=$(needs_space)
	before=$(events)
	if [ "$lower" != device ]; then
		fill_host
	fi
	if [ "$full" = queue ] && [ "$lower" != device ]; then
		echo 600 >"$timeout_file"
		fill_waiting "$count"
		[ "$need" != must ] ||
			step "host full: writes wait" test "$parked" -gt 0 || return
		same "host full, and space again: no error" "$(cat "$work/filled")" "$count none"
		return
	fi
	echo 2 >"$timeout_file"
	[ "$need" != must ] || count=100
	guest_fill fill 5 "$count" >"$work/filled"
	told=$(events)
	echo "# $(cat "$work/filled"), $(health)"
	case $need in
	must)
		step "host full: the guest is told" \
			test "$(cut -d ' ' -f 2 "$work/filled")" != none &&
			step "host full: the device says so" test "$told" -gt "$before"
		;;
	never) same "host full: no error" "$(cat "$work/filled")" "$count none" ;;
	esac || return
	step "host full: the device is not given up" \
		grep -qx 'ok\|out-of-space' <<<"$(health)"
}

# A device cannot be made free, but larger: what is on it is looked at again then.
space_again()
{
	if [ "$lower" != device ]; then
		free_host && remount_up
		return
	fi
	umount "$up" && "$vdisk" detach "$dm" && under_is $((400 << 11)) &&
		attach_image && mount_up
}

recover()
{
	if [ "$full" = error ] || [ "$lower" = device ]; then
		step "space again: mount" space_again || return
	fi
	step "space again: what was flushed is there" nest_py verify "$up/fill" "$work/fill" &&
		step "space again: all else is there" verify &&
		step "delete" rm -rf "$up/fill" &&
		step "trim" fstrim "$up" &&
		same "write" "$(guest_fill after 6 12)" "12 none" &&
		step "sync" sync -f "$up" &&
		same "the health is" "$(health)" ok
}

# ---------------------------------------------------------------------------
# What is left.

fsck_of()
{
	case $upper in
	ext4) e2fsck -fn "$1" ;;
	xfs) xfs_repair -f -n "$1" ;;
	btrfs) btrfs check "$1" ;;
	esac
}

# What the guest trimmed in the middle of the file is a leak to vdisk check, and
# nothing else may be wrong; when it is put right, nothing at all. A device cannot be
# made shorter, and keeps them.
given_back()
{
	local status=0

	"$vdisk" check -f "$format" "$image" || status=$?
	[ "$status" -eq 3 ] || return "$status"
	[ "$lower" != device ] || return 0
	# It moves few units, so space may stay lost.
	status=0
	"$vdisk" check --repair -f "$format" "$image" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ]
}

# By the tool, which knows nothing of what the kernel thinks.
examine()
{
	"$vdisk" convert -f "$format" --allow-path / "$image" "$work/raw" || return
	fsck_of "$work/raw" && mount -o loop,ro "$work/raw" "$work/loop"
}

at_the_end()
{
	step "unmount" umount "$up" &&
		step "detach" "$vdisk" detach "$dm" || return
	[ "$format" = raw ] ||
		step "check finds no more than what was given back" given_back || return
	[ ! -e "$work/origin.sha" ] ||
		same "what shared bytes with it has them" "$(sha "$origin")" \
			"$(cat "$work/origin.sha")" || return
	[ "$format" != qed ] ||
		same "the parent is as it was" "$(sha "$base")" "$(cat "$work/base.sha")" ||
		return
	step "by the tool: a sound file system" examine &&
		step "by the tool: what was written" nest_py verify "$work/loop/work" "$work/work" &&
		step "by the tool: what was written later" \
			nest_py verify "$work/loop/after" "$work/after" || return
	umount "$work/loop"
}

cell_over()
{
	local where

	echo 60 >"$timeout_file"
	for where in "$work/loop" "$up"; do
		! mountpoint -q "$where" || umount "$where" || return
	done
	dm_gone "$dm" || return
	! mountpoint -q "$low" || umount "$low" || return
	dm_gone "$dm-under" || return
	rm -f "$work"/{raw,made,work,base,fill,after}* "$work"/*.sha
}

cell_steps()
{
	local before

	step "below" make_below || return
	if [ "$format" = qed ]; then
		step "a parent" make_parent || return
	fi
	step "an image" nest_image && step "its file" place_image || return
	step "attach" attach_image || return
	[ "$format" = qed ] || step "mkfs" make_fs "$upper" "$device" "$keep" || return
	step "mount" mount_up || return
	[ "$format" != qed ] ||
		step "what the parent has" nest_py verify "$up/base" "$work/base" || return
	before=0
	[ -z "$cgroup" ] || before=$(met_limit)
	step "processes write, and read again" load || return
	if [ -n "$cgroup" ]; then
		step "they met their limit of memory" test "$(met_limit)" -gt "$before" || return
	else
		skip "$cell: they met their limit of memory" "no limits of memory"
	fi
	step "mount again" remount_up &&
		step "all is there" verify && step "fio's is there" fio_verify &&
		step "delete fio's" rm -r "$up/fio" &&
		host_full && recover && at_the_end
}

begin_cell()
{
	cell=$1 upper=$2 lower=$3 file=$4 format=$5 mode=$6 full=$7
	keep=1 origin='' base=$low/base.raw image=$low/image made=$work/made
	[ "$file" != sparse ] || keep=
	case $lower,$file in
	device,*) base=$parent_disk image=$under ;;
	*,reflinked) origin=$low/origin ;;
	*,snapshotted) origin=$low/snapshot/image image=$low/volume/image ;;
	esac
	echo "# cell $cell: $upper on $lower, $file, $format, $mode, $full"
}

end_cell()
{
	if ! step "nothing is left behind" cell_over; then
		skip_all "a cell is not gone"
	fi
	echo "# end of cell $cell"
}

cells_wished()
{
	sed -n 's/.*nest\.cells=\([^ ]*\).*/\1/p' /proc/cmdline
}

# wished NAME: is the cell one of those, if any are named?
wished()
{
	local wish

	wish=$(cells_wished)
	[ -z "$wish" ] || [[ ,$wish, = *,$1,* ]]
}

run_cells()
{
	local wish line

	wish=$(cells_wished)
	[ -z "$wish" ] || set -- "$wish"
	while read -ru 9 -a line; do
		begin_cell "${line[@]}"
		cell_steps || true
		end_cell
	done 9< <(cells_py list "$vhd_lib/cells.txt" "$@")
}
