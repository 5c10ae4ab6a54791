#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=300
#
# A file grows while others look their sectors up: an entry that is new to one of
# them is never held against the end that the file had before. Needs a module that
# stands still on demand, as that of `make check-debug` does; another one is built by
# make modules KCFLAGS=-DVDISK_DEBUG.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img python3 mkfs.ext4
need_disk 1G disk
device=/dev/mapper/$dm
stall=/sys/module/dm_vdisk/parameters/debug_stall_us
[ -e "$stall" ] || skip_all "this module has no parameter debug_stall_us"
scratch work
scratch_fs ext4 "$disk" low

# Many threads walk through the disk side by side, so that each new unit is wanted
# by several, and one of them makes it.
cat >"$work/walk.py" <<'END'
import mmap, os, sys, threading
dev, size = sys.argv[1], int(sys.argv[2]) << 20
N, STEP = 16, 64 << 10
bad = []

def walk(k):
    buf = mmap.mmap(-1, STEP)
    buf.write(bytes([65 + k]) * STEP)
    fd = os.open(dev, os.O_RDWR | os.O_DIRECT)
    for at in range(k * STEP, size, N * STEP):
        try:
            os.pwrite(fd, buf, at)
        except OSError as e:
            bad.append("%d: %s" % (at, e))

threads = [threading.Thread(target=walk, args=(k,)) for k in range(N)]
for t in threads:
    t.start()
for t in threads:
    t.join()
if bad:
    sys.exit("%d writes failed: %s" % (len(bad), bad[:3]))
fd = os.open(dev, os.O_RDONLY)
for at in range(0, size, STEP):
    want = bytes([65 + at // STEP % N]) * STEP
    if os.pread(fd, STEP, at) != want:
        sys.exit("%d: other bytes than were written" % at)
END

for format in vpc qed vmdk parallels; do
	case $format in
	vpc) qemu-img create -q -f vpc -o force_size=on "$low/i" 48M ;;
	*) qemu-img create -q -f "$format" "$low/i" 48M ;;
	esac
	echo 0 >"$stall"
	attach "$dm" "$low/i"
	echo "10000" >"$stall"
	t "$format: no write fails" python3 "$work/walk.py" "$device" 48
	echo 0 >"$stall"
	t "$format: detach" "$vdisk" detach "$dm"
	t "$format: check" "$vdisk" check "$low/i"
	rm "$low/i"
done
ktap_end
