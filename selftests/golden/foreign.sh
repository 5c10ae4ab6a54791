#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Errors of the file system below are not damage of the image: whatever a read is
# answered, check --repair ends, says so, and changes nothing.
. "$(dirname "$0")/lib.sh"

need_cmd strace qemu-img
scratch work
reads=${VDISK_LONG:+1..40}
reads=${reads:-1..8}

make_images()
{
	local f

	for f in vpc vmdk qed parallels; do
		qemu-img create -q -f "$f" "$work/$f" 8M
		qemu-io -f "$f" -c "write -P 7 1M 64k" -c "write -P 8 5M 64k" "$work/$f" >/dev/null
	done
}

# meets FORMAT ERROR: at each of the first reads.
meets()
{
	local format=$1 error=$2 k sum status

	sum=$(sha256sum <"$work/$format")
	for k in $(eval "echo {$reads}"); do
		status=0
		timeout 20 strace -f -qq -o "$work/trace" -P "$work/$format" \
			-e trace=pread64 -e "inject=pread64:error=$error:when=$k" \
			"$vdisk" check --repair "$work/$format" >"$work/out" 2>&1 || status=$?
		[ "$(sha256sum <"$work/$format")" = "$sum" ] ||
			{ echo "read $k: the image changed"; cat "$work/out"; return 1; }
		# Fewer reads than that: nothing was injected.
		grep -q INJECTED "$work/trace" || return 0
		# What only helps to tell formats apart may be done without.
		[ "$status" -le 1 ] ||
			{ echo "read $k: status $status"; cat "$work/out"; return 1; }
	done
}

make_images
for format in vpc vmdk qed parallels; do
	for error in EUCLEAN EAGAIN EIO; do
		t "$format: a read that fails with $error" meets "$format" "$error"
	done
done
ktap_end
