#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G memory=2G timeout=1800 long
#
# Images as disks of containers: many children of one base, attached at the same
# time, each the root of a container that writes; and image layers in EROFS,
# which a VMDK descriptor puts end to end, as containerd's snapshotter does.
#
# The "# " lines are figures for Documentation/containers.rst.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd systemd-nspawn mkfs.erofs busybox python3
need_disk 2G disk
scratch_fs ext4 "$disk" dir
cd "$dir"
defer cd /
erofs_py=$VDISK_TOP/selftests/kernel/lib/erofs.py

# A test VM has no systemd that has mounted these.
cgroups=/sys/fs/cgroup
if ! mountpoint -q "$cgroups"; then
	mount -t cgroup2 cgroup2 "$cgroups"
	defer umount "$cgroups"
fi
[ "$(stat -f -c %T "$cgroups")" = cgroup2fs ] || skip_all "no cgroup2 at $cgroups"
defer groups_gone

# systemd-nspawn asks for the host's; a root that was just made has none.
if [ ! -s /etc/machine-id ] && [ -n "${VDISK_VM:-}" ]; then
	systemd-machine-id-setup
fi

# The smallest root that systemd-nspawn takes for one, and 4 MiB to share.
make_root()
{
	local name

	mkdir -p "$1"/{bin,dev,etc,proc,run,sys,tmp,usr/lib,var}
	cp "$(readlink -f "$(command -v busybox)")" "$1/bin/busybox"
	for name in sh cat dd echo sleep sync touch; do
		ln -s busybox "$1/bin/$name"
	done
	echo 'ID=vdisk-test' >"$1/usr/lib/os-release"
	ln -s ../usr/lib/os-release "$1/etc/os-release"
	head -c 4M /dev/urandom >"$1/shared"
}

# container ROOT COMMAND [ARG...]: in a subshell, which becomes systemd-nspawn. In a
# group of its own: it makes groups below, and more than one of it at a time would
# share them.
container()
{
	local root=$1 group=$cgroups/$dm-${1##*/}

	shift
	mkdir -p "$group"
	echo "$BASHPID" >"$group/cgroup.procs"
	exec systemd-nspawn --quiet --register=no --keep-unit --console=pipe \
		--resolv-conf=off --timezone=off --machine="$dm-${root##*/}" -D "$root" "$@" </dev/null
}

groups_gone()
{
	find "$cgroups" -mindepth 1 -depth -type d -path "$cgroups/$dm-*" -exec rmdir {} +
}

# What a container does: leave its mark, in a file of its own and in the one that
# all have, and live until it is told to stop.
# shellcheck disable=SC2016
payload='echo "$1" >/mine
echo "container $1" | dd of=/shared bs=4096 seek="$1" conv=notrunc,sync 2>/dev/null
sync
touch /ready
while [ ! -e /stop ]; do sleep 0.5; done
sync'

all_ready()
{
	local deadline=$((SECONDS + 300)) root

	for root in "$@"; do
		until [ -e "$root/ready" ]; do
			if [ "$SECONDS" -ge "$deadline" ] || [ -s "$root.said" ]; then
				echo "$root: $(cat "$root.said")"
				return 1
			fi
			sleep 0.2
		done
	done
}

# marked ROOT NUMBER: its own marks are there, and nobody else's
marked()
{
	[ "$(cat "$1/mine")" = "$2" ] || { echo "$1: mine: $(cat "$1/mine")"; return 1; }
	cp root/shared want
	echo "container $2" | dd of=want bs=4096 seek="$2" conv=notrunc,sync status=none
	cmp "$1/shared" want
}

all_marked()
{
	local k

	for ((k = 1; k <= count; k++)); do
		marked "$kind/$k" "$k" || return
	done
}

# Kilobytes: what could be had, and what the kernel has for itself.
memory()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	awk '/^(MemAvailable|Slab|Percpu):/ { printf "%s ", $2 }' /proc/meminfo
	cut -d ' ' -f 1 /sys/kernel/slab/dm_vdisk_block/objects 2>/dev/null || echo 0
}

# since WHAT BEFORE: what each of $count has cost; of a few it would be noise
since()
{
	local available slab percpu blocks now_available now_slab now_percpu now_blocks

	[ "$count" -ge 10 ] || return 0
	read -r available slab percpu blocks <<<"$2"
	read -r now_available now_slab now_percpu now_blocks <<<"$(memory)"
	echo "# $kind, $1: KiB for each of $count: MemAvailable" \
		"$(((available - now_available) / count)), Slab" \
		"$(((now_slab - slab) / count)), Percpu $(((now_percpu - percpu) / count));" \
		"table blocks of all: $((now_blocks - blocks))"
}

attach_all()
{
	local k start

	start=${EPOCHREALTIME/./}
	for ((k = 1; k <= count; k++)); do
		"$vdisk" attach "$dm-$kind-$k" "$@" "$kind/$k.$kind" >/dev/null || return
	done
	echo "# $kind: $(((${EPOCHREALTIME/./} - start) / count)) us for each vdisk attach" >&3
}

# mount_all [OPTION...]
mount_all()
{
	local k

	for ((k = 1; k <= count; k++)); do
		mkdir -p "$kind/$k"
		mount "$@" "/dev/mapper/$dm-$kind-$k" "$kind/$k" || return
	done
}

# undo KIND COUNT: what a failed point has left
undo()
{
	local k

	for ((k = 1; k <= $2; k++)); do
		umount -q "$1/$k"
		dm_gone "$dm-$1-$k"
	done
}

each()
{
	local k

	for ((k = 1; k <= count; k++)); do
		"$1" "$k" || return
	done
}

unmounted() { umount "$kind/$1"; }
detached() { "$vdisk" detach "$dm-$kind-$1"; }
checked() { "$vdisk" check "$kind/$1.$kind"; }
created() { "$vdisk" create -f "$kind" -b base."$kind" -F "$kind" "$kind/$1.$kind"; }
destroyed() { rm "$kind/$1.$kind"; }

# containers KIND COUNT
containers()
{
	local kind=$1 count=$2 k before roots=() jobs=() base status=0

	mkdir "$kind"
	"$vdisk" convert -O "$kind" -f raw base.raw "$kind/base.$kind"
	chmod a-w "$kind/base.$kind"
	base=$(stat -c '%y %s' "$kind/base.$kind"; sha256sum "$kind/base.$kind")
	defer undo "$kind" "$count"
	t "$kind: create $count children" each created
	before=$(memory)
	t "$kind: attach all" attach_all
	since attached "$before"
	t "$kind: mount all" mount_all
	since "and mounted" "$before"
	for ((k = 1; k <= count; k++)); do
		container "$kind/$k" /bin/sh -c "$payload" sh "$k" >"$kind/$k.said" 2>&1 &
		jobs+=($!)
		roots+=("$kind/$k")
	done
	t "$kind: $count containers run at once" all_ready "${roots[@]}"
	since "and a container in it" "$before"
	t "$kind: each sees what it wrote, and only that" all_marked
	# One is not asked.
	kill "${jobs[0]}" || true
	touch "${roots[@]/%//stop}"
	wait "${jobs[0]}" || true
	for k in "${jobs[@]:1}"; do
		wait "$k" || status=$?
	done
	eq "$kind: they stop" "$status" 0
	t "$kind: unmount" each unmounted
	t "$kind: detach" each detached
	t "$kind: vdisk check finds nothing" each checked
	t "$kind: attach all again, read-only" attach_all -r
	t "$kind: mount them" mount_all -o ro,noload
	t "$kind: each still has its own" all_marked
	t "$kind: unmount them" each unmounted
	t "$kind: detach them" each detached
	echo "# $kind: $(du -sk "$kind"/[1-9]*."$kind" | awk '{ s += $1 } END { print int(s / NR) }')" \
		"KiB of disk for each container"
	t "$kind: destroy them" each destroyed
	eq "$kind: the base is as it was" \
		"$(stat -c '%y %s' "$kind/base.$kind"; sha256sum "$kind/base.$kind")" "$base"
	t "$kind: and clean" "$vdisk" check "$kind/base.$kind"
	t "$kind: and holds what it held" "$vdisk" convert -O raw "$kind/base.$kind" same.raw
	t "$kind: byte by byte" cmp base.raw same.raw
	rm same.raw
}

exec 3>&1
make_root root
truncate -s 48M base.raw
mkfs.ext4 -q -d root base.raw
containers vhd 20
containers qed 4

# ---------------------------------------------------------------------------
# Three layers in containerd's places: one adds, one changes, one takes away.

snapshots=$dir/io.containerd.snapshotter.v1.erofs/snapshots
mkdir -p "$snapshots"/{1,2,3} layers/2/d000 layers/3/d001 merged
cp -a root layers/1
make_tree layers/1 150 5
make_tree layers/2 20 6
echo changed >layers/2/etc-changed
mknod layers/3/d001/f00100 c 0 0
mknod layers/3/shared c 0 0
ln -s shared layers/3/link
cp -a layers/1 model
cp -a layers/2/. model
rm model/d001/f00100 model/shared
cp -a layers/3/link model
for k in 1 2 3; do
	mkfs.erofs --quiet -x-1 -Enoinline_data "$snapshots/$k/layer.erofs" "layers/$k"
done
layers=("$snapshots"/{1,2,3}/layer.erofs)

# what TREE holds, and the names of all that is not a file; not the top itself,
# whose mode mkfs.erofs forgets when it merges
tree()
{
	tree_sha "$1"
	(cd "$1" && find . -mindepth 1 -xdev ! -type f -printf '%y %m %U:%G %p %l\n' | LC_ALL=C sort)
}

# merged WHAT DESCRIPTOR META
merged()
{
	one "$1: names outside its directory are not followed" 'is an absolute path' \
		"$vdisk" attach -r "$dm-merged" "$2"
	t "$1: attach" "$vdisk" attach "$dm-merged" -r --allow-path "$snapshots" "$2"
	eq "$1: one device" "$(sha "/dev/mapper/$dm-merged")" \
		"$(cat "$3" "${layers[@]}" | sha256sum | cut -d ' ' -f 1)"
	t "$1: mount" mount -t erofs -o ro "/dev/mapper/$dm-merged" merged
	eq "$1: all layers in one tree" "$(tree merged)" "$(tree model)"
	eq "$1: a container reads it" \
		"$(container merged --read-only /bin/sh -c 'cat /etc-changed' 2>&1)" changed
	t "$1: unmount" umount merged
	t "$1: detach" "$vdisk" detach "$dm-merged"
}

top=$snapshots/3
chmod a-w "${layers[@]}"
defer dm_gone "$dm-merged"
defer umount -q merged
"$erofs_py" --no-table merge "$top/plain.erofs" "$top/plain_fs.vmdk" "${layers[@]}"
merged "no device table" "$top/plain_fs.vmdk" "$top/plain.erofs"
"$erofs_py" merge "$top/fsmeta.erofs" "$top/merged_fs.vmdk" "${layers[@]}"
if [ "$(printf '%s\n' 6.4 "$(uname -r)" | sort -V | head -n 1)" = 6.4 ]; then
	merged "a device table" "$top/merged_fs.vmdk" "$top/fsmeta.erofs"
	if [[ $(mkfs.erofs --help 2>&1) = *--ovlfs-strip* ]]; then
		mkfs.erofs --quiet --aufs --ovlfs-strip=1 "$top/mkfs.erofs" "${layers[@]}"
		"$erofs_py" describe "$top/mkfs.erofs" "$top/mkfs.vmdk" "${layers[@]}"
		merged "merged by mkfs.erofs" "$top/mkfs.vmdk" "$top/mkfs.erofs"
	fi
else
	t "a device table: attach" "$vdisk" attach "$dm-merged" -r \
		--allow-path "$snapshots" "$top/merged_fs.vmdk"
	fails "a device table: this kernel wants devices by name" \
		mount -t erofs -o ro "/dev/mapper/$dm-merged" merged
	t "a device table: detach" "$vdisk" detach "$dm-merged"
fi

ktap_end
