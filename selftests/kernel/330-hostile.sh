#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M timeout=600
#
# Files that an image names and may not have, and images that others have open:
# refused with one line, and nothing is written.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/images.sh
. "$(dirname "$0")/lib/images.sh"

need_module
need_tool
need_cmd qemu-img qemu-io python3
need_disk 512M disk
scratch_fs ext4 "$disk" outer
dir=$outer/images
mkdir "$dir"
truncate -s 1M "$outer/secret" "$dir/a.raw" "$dir/b.raw"
mkfifo "$dir/fifo"
ln -s ../secret "$dir/link"
ln -s a.raw "$dir/alias"
ln "$dir/b.raw" "$dir/hard"
mkdir "$dir/sub"
mknod "$dir/null" c 1 3

# vmdk NAME LINE...: a descriptor of these extents.
vmdk()
{
	printf '%s\n' '# Disk DescriptorFile' version=1 CID=12345678 \
		parentCID=ffffffff 'createType="custom"' "${@:2}" >"$dir/$1.vmdk"
}

# One line on standard error that matches, no device, not a signal.
refused()
{
	local name=$1 regex=$2 output status=0

	output=$("$vdisk" attach "${@:4}" "$dm-hostile" "$3" 2>&1) || status=$?
	if [ "$status" -gt 0 ] && [ "$status" -lt 124 ] &&
		[ "$(wc -l <<<"$output")" -eq 1 ] && grep -Eiq -- "$regex" <<<"$output" &&
		! dmsetup info "$dm-hostile" >/dev/null 2>&1; then
		pass "$name"
	else
		fail "$name" "status $status
$output"
		dmsetup remove "$dm-hostile" 2>/dev/null || true
	fi
}

extent()
{
	vmdk hostile "RW 2048 FLAT \"$2\" 0"
	refused "extent: $1" "$3" "$dir/hostile.vmdk"
}

extent "absolute path" "$outer/secret" 'absolute|leads out of'
extent "a device by its absolute path" "$disk" 'absolute|leads out of'
extent ".." "../secret" 'leads out of'
extent ".. after a directory" "sub/../../secret" 'leads out of'
extent "a link out of the directory" link 'leads out of'
extent "a FIFO" fifo 'not a regular|FIFO|file'
extent "a character device" null 'not a regular|device|file'
extent "a directory" sub 'directory|file'
extent "a file that is not there" absent 'no such file'
extent "a protocol" "nbd://localhost/x" 'not the name of a file'
extent "a protocol of QEMU's" "json:{}" 'not the name of a file'
extent "an empty name" "" 'name|file|extent'
extent "the descriptor itself" hostile.vmdk 'twice|itself|repeat|short|loop|once|same'
vmdk hostile 'RW 2048 FLAT "a.raw" 0' 'RW 2048 FLAT "a.raw" 0'
refused "extent: the same file twice" 'Two extents have sector 0 of ' \
	"$dir/hostile.vmdk"
vmdk hostile 'RW 2048 FLAT "a.raw" 0' 'RW 2048 FLAT "alias" 0'
refused "extent: the same file by a link" 'Two extents have sector 0 of ' \
	"$dir/hostile.vmdk"
vmdk hostile 'RW 2048 FLAT "b.raw" 0' 'RW 2048 FLAT "hard" 0'
refused "extent: the same file by a hard link" \
	'Two extents have sector 0 of ' "$dir/hostile.vmdk"
vmdk hostile 'RW 4096 FLAT "a.raw" 0'
refused "extent: longer than its file" 'short' "$dir/hostile.vmdk"

vmdk hostile "RW 2048 FLAT \"../secret\" 0"
t "a path that was allowed" "$vdisk" attach --allow-path "$outer/secret" \
	"$dm-allowed" "$dir/hostile.vmdk"
t "and its device goes" "$vdisk" detach "$dm-allowed"

# Parents.
backing()
{
	rm -f "$dir/top.qed"
	qemu-img create -q -f qed -u -b "$2" -F "$4" "$dir/top.qed" 1M
	refused "backing file: $1" "$3" "$dir/top.qed"
}

backing "absolute path" "$outer/secret" 'absolute|leads out of' raw
backing ".." "../secret" 'leads out of' raw
backing "a FIFO" fifo 'not a regular|FIFO|file' raw
backing "a link out of the directory" link 'leads out of' raw
backing "itself" top.qed 'loop|itself|twice|already|same' qed
qemu-img create -q -f qed -u -b two.qed -F qed "$dir/one.qed" 1M
qemu-img create -q -f qed -u -b one.qed -F qed "$dir/two.qed" 1M
refused "backing file: a loop of two" 'loop|itself|twice|already|same' "$dir/one.qed"
qemu-img create -q -f vmdk "$outer/base.vmdk" 1M
qemu-img create -q -f vmdk -b "$outer/base.vmdk" -F vmdk "$dir/child.vmdk"
refused "a parent by its absolute path" 'absolute|leads out of' \
	"$dir/child.vmdk"
rm -f "$dir/one.qed" "$dir/two.qed" "$dir/top.qed"

# Names are shown, but do nothing to the terminal.
vmdk hostile "RW 2048 FLAT \"$(printf 'x\033[31my')\" 0"
output=$("$vdisk" attach "$dm-hostile" "$dir/hostile.vmdk" 2>&1 || true)
if [[ $output = *$'\033'* ]]; then
	fail "a name is escaped" "$output"
else
	pass "a name is escaped"
fi

# Others and the same files.
qemu-img create -q -f qed -b a.raw -F raw "$dir/locked.qed" 1M
t "locks: attach" attach "$dm-locked" "$dir/locked.qed"
says "locks: qemu-img does not write an attached image" 'lock' \
	qemu-io -f qed -c 'write 0 4k' "$dir/locked.qed"
says "locks: nor its parent" 'lock' qemu-io -f raw -c 'write 0 4k' "$dir/a.raw"
says "locks: nor does it read the image" 'lock' \
	qemu-io -r -f qed -c 'read 0 4k' "$dir/locked.qed"
t "locks: the parent may be read" qemu-io -r -f raw -c 'read 0 4k' "$dir/a.raw"
refused "locks: nor is it attached twice" 'lock|use' "$dir/locked.qed"
t "locks: detach" "$vdisk" detach "$dm-locked"
t "locks: then qemu-io writes it" qemu-io -f qed -c 'write 0 4k' "$dir/locked.qed"

# A qemu-io that waits for its next command has the image open.
held()
{
	local name=$1 regex=$2 what=$3 hold

	shift 3
	coproc HOLD { qemu-io "$@" 2>&1; }
	hold=$HOLD_PID
	echo 'read 0 512' >&"${HOLD[1]}"
	read -r _ <&"${HOLD[0]}"
	refused "$name" "$regex" "$what"
	echo quit >&"${HOLD[1]}"
	wait "$hold" || true
}

held "locks: a running qemu writes the image" 'lock|use' "$dir/locked.qed" \
	-f qed "$dir/locked.qed"
held "locks: a running qemu writes the parent" 'lock|use' "$dir/locked.qed" \
	-f raw "$dir/a.raw"
held "locks: a running qemu reads the image" 'lock|use' "$dir/locked.qed" \
	-r -f qed "$dir/locked.qed"
t "locks: and when it is gone, attach" attach "$dm-free" "$dir/locked.qed"
t "locks: detach at last" "$vdisk" detach "$dm-free"
eq "the secret is as it was" "$(sha "$outer/secret")" \
	"$(head -c 1M /dev/zero | sha256sum | cut -d ' ' -f 1)"

ktap_end
