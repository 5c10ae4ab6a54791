# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What tests of the running kernel share, on top of ktap.sh. They run in the
# test VM and, as far as they need no special disk, on any machine whose
# administrator dares: everything they make has $dm in its name and is removed.
#
#	need_module              the target is there, or can be loaded
#	need_tool                $vdisk is the tool just built
#	need_disk SPEC VAR       a disk asked for in the header: "# VM: disk=SPEC";
#	                         outside the VM a loop device
#	scratch_fs TYPE DEVICE VAR  make a file system, mount it, both undone
#	image_dir VAR            a directory that takes direct I/O
#	dm_create NAME LINE      create, and remove at the end
#	dm_remove NAME
#	attach NAME IMAGE [ARG...]  by the tool, detached at the end
#	one DESCRIPTION REGEX COMMAND...  it must fail, in exactly one line that matches
#	sha FILE|DEVICE          SHA-256 of the contents
#	tree_sha DIR             SHA-256 of every file, sorted, as text
#	make_tree DIR FILES SEED [MAX]  files of many sizes, the same each time
#	capture VAR COMMAND...   what the kernel log said during a command

set -euo pipefail
test_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VDISK_TOP=${VDISK_TOP:-$(cd "$test_lib/../.." && pwd)}
# shellcheck source=ktap.sh
. "$test_lib/ktap.sh"

need_root
# shellcheck disable=SC2034
{
	vdisk=$VDISK_TOP/userspace/vdisk
	dm=vdisk-test-$$
}
disks_used=' '

need_module()
{
	modprobe -q dm-mod 2>/dev/null || true
	modprobe -q dm-vdisk 2>/dev/null || true
	dmsetup targets 2>/dev/null | grep -q '^vdisk ' || skip_all "no target vdisk"
}

need_tool()
{
	[ -x "$vdisk" ] || skip_all "no tool, run make tools"
}

# The headers of a test are the list of what DISK1, DISK2 ... are. Where nobody
# lent disks, a loop device has to do.
need_disk()
{
	local spec=$1 k=0 each device

	while read -r each; do
		k=$((k + 1))
		device=DISK$k
		if [ "$each" != "$spec" ] || [[ $disks_used = *" $k "* ]]; then
			continue
		fi
		disks_used+="$k "
		if [ -n "${!device:-}" ]; then
			printf -v "$2" %s "${!device}"
		else
			loop_disk "$spec" "$2"
		fi
		return
	done < <(sed -n '1,40s/^# VM: *//p' "$0" | tr -s ' \t' '\n' | sed -n 's/^disk=//p')
	echo "need_disk: no disk '$spec' in the header" >&2
	return 1
}

loop_disk()
{
	local spec=$1 loop_dir loop_device logical=512

	case $spec in
	*,logical=*) logical=${spec##*,logical=} ;;
	esac
	modprobe -q loop 2>/dev/null || true
	scratch loop_dir
	truncate -s "${spec%%,*}" "$loop_dir/disk"
	loop_device=$(losetup -f --show -b "$logical" "$loop_dir/disk") ||
		skip_all "needs a scratch disk or a loop device"
	defer losetup -d "$loop_device"
	printf -v "$2" %s "$loop_device"
}

scratch_fs()
{
	local fs_type=$1 device=$2 fs_dir

	case $fs_type in
	ext4) mkfs.ext4 -q -F "$device" ;;
	xfs) mkfs.xfs -q -f "$device" ;;
	btrfs) mkfs.btrfs -q -f "$device" ;;
	*) echo "scratch_fs: $fs_type?" >&2; return 1 ;;
	esac
	scratch fs_dir
	mount "$device" "$fs_dir"
	defer umount "$fs_dir"
	printf -v "$3" %s "$fs_dir"
}

# tmpfs takes no direct I/O before 6.6 or so; a loop device's file does.
image_dir()
{
	local dir fs

	scratch dir
	truncate -s 2G "$dir/fs"
	fs=$(losetup -f --show "$dir/fs")
	defer losetup -d "$fs"
	scratch_fs ext4 "$fs" "$1"
}

dm_create()
{
	dmsetup create "$1" --table "$2" || return
	defer dm_gone "$1"
}

dm_remove()
{
	dmsetup remove --retry "$1"
}

dm_gone()
{
	dmsetup info "$1" >/dev/null 2>&1 || return 0
	dmsetup remove --retry "$1"
}

attach()
{
	local name=$1

	shift
	"$vdisk" attach "$name" "$@" || return
	defer dm_gone "$name"
}

one()
{
	local description=$1 regex=$2 err

	shift 2
	if err=$("$@" 2>&1 >/dev/null); then
		fail "$description" "\$ $* was not refused"
	elif [ "$(wc -l <<<"$err")" -eq 1 ] && grep -Eq -- "$regex" <<<"$err"; then
		pass "$description"
	else
		fail "$description" "\$ $*
$err
wanted one line: $regex"
	fi
}

sha()
{
	sha256sum <"$1" | cut -d ' ' -f 1
}

tree_sha()
{
	(cd "$1" && find . -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum)
}

# One stream of bytes that looks random, cut into files: from nothing to MAX
# bytes, or some hundred KiB, in directories of a hundred.
make_tree()
{
	python3 - "$@" <<-'END'
	import os, random, sys
	top, count, rnd = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
	most = int(sys.argv[4]) if len(sys.argv) > 4 else 200000
	for i in range(count):
	    where = os.path.join(top, "d%03d" % (i // 100))
	    os.makedirs(where, exist_ok=True)
	    size = rnd.choice((0, 1, 511, 512, 4096)) if i % 4 else rnd.randrange(most)
	    with open(os.path.join(where, "f%05d" % i), "wb") as f:
	        f.write(rnd.randbytes(size))
	END
}

capture()
{
	local mark log status=0

	mark="vdisk-test: capture $RANDOM$RANDOM"
	echo "$mark" >/dev/kmsg
	"${@:2}" || status=$?
	log=$(dmesg | awk -v mark="$mark" 'seen; index($0, mark) { seen = 1 }')
	printf -v "$1" %s "$log"
	return "$status"
}
