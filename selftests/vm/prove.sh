#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: timeout=900
#
# Does the runner turn red? Feeds it programs that fail, die, hang, panic, warn
# or leave things behind, and demands that every one of them is a failure, said
# in words. Runs on the host; about six boots.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../lib/ktap.sh
. "$here/../lib/ktap.sh"
# shellcheck source=../lib/kernel.sh
. "$here/../lib/kernel.sh"
top=$(cd "$here/../.." && pwd)
need_cmd qemu-system-x86_64 busybox cpio
unset VDISK_TALLY

scratch work
build_red_module()
{
	local kdir

	kdir=/lib/modules/$(kernel_newest "${KERNEL:-6.1}")/build
	cp "$here/red/red.c" "$work/dm-vdisk.c"
	echo 'obj-m := dm-vdisk.o' >"$work/Kbuild"
	make -s -C "$kdir" "M=$work" modules
}

# red NAME [OPTION...]: run red/NAME.sh alone; it must fail. Output in $out.
red()
{
	local name=$1 status=0

	shift
	out=$work/$name.out
	"$here/run" --module "$work/dm-vdisk.ko" "$@" "$here/red/$name.sh" >"$out" 2>&1 || status=$?
	eq "$name: the run fails" "$status" 1
}

told()
{
	t "$1: says '$2'" grep -Eq -- "$2" "$out"
}

t "the module of faults builds" build_red_module

# Those that the guest survives share a boot, and do not infect their neighbours.
out=$work/shared.out
status=0
"$here/run" --module "$work/dm-vdisk.ko" "$here"/red/{fail,half,slow,log,leftover,host}.sh \
	>"$out" 2>&1 || status=$?
eq "survivors: the run fails" "$status" 1
told fail '^not ok 1 .*fail.sh # 1 passed, 1 failed, 0 skipped'
told half '^not ok 2 .*half.sh'
told half 'planned 2 points, scored 1'
told slow '^not ok 3 .*slow.sh'
told slow 'was killed: out of time'
told log '^not ok 4 .*log.sh'
told log 'kernel log: .*possible recursive locking'
told leftover '^not ok 5 .*leftover.sh'
told leftover 'left mounted: /tmp/red-mount'
told leftover 'left a device-mapper device: red-leftover'
told leftover 'left a loop device: /dev/loop'
told host '^ok 6 .*host.sh'
t "host: no file appeared" \
	test ! -e "$top/red-host-write" -a ! -e /red-host-write -a ! -e /tmp/vdisk-guest-was-here
told total '# Totals: pass:6 fail:8 skip:0'

red panic
told panic 'not ok 1 .*panic.sh # 1 passed, 1 failed'
told panic 'no verdict from the guest'
told panic 'Kernel panic - not syncing: sysrq triggered crash'
red hang --timeout 45
told hang 'killed after 45 seconds'
told hang 'not ok 1 .*hang.sh'
red warn
told warn 'no verdict from the guest'
told warn 'panic_on_warn set'
red hold
told hold 'rmmod dm-vdisk: .*in use'

ktap_end
