#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Every verb that writes gets a signal at a random moment (killring.py), many times, of an
# image and of an attached device on paper.
. "$(dirname "$0")/lib.sh"

# Files in memory, if there are any: a flush takes no time, and tells nothing here.
ring=$tmp
[ ! -w /dev/shm ] || TMPDIR=/dev/shm scratch ring
cd "$ring" || exit
count=60
[ -z "${VDISK_LONG:-}" ] || count=2000
seed=${VDISK_SEED:-1}
need_cmd "${CC:-cc}" pkg-config
# shellcheck disable=SC2046
"${CC:-cc}" -shared -fPIC -O1 -o paper.so $(pkg-config --cflags devmapper) "$here/../lib/paperdm.c"
"$here/killring.py" "$vdisk" "$count" "$seed" paper.so >said 2>&1
eq "$count signals, seed $seed: no harm, nothing left" "$? $(grep -v '^hit' said | head -n 20)" "0 "
t "some came in the middle" [ "$(sed -n 's/^hit //p' said)" -gt 0 ]
ktap_end
