#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G timeout=200 alone
#
# Where no more threads can be made, as when memory is short, each queue of the
# device is left with few workers, at last with its rescuer. No worker may wait then
# for what another work item of its queue has to do: writes, discards, flushes and
# the search for free units must all come to their end.
. "$(dirname "$0")/../lib/kernel-test.sh"
need_module
need_tool
need_cmd qemu-img python3 mkfs.ext4
need_disk 1G disk
device=/dev/mapper/$dm
scratch work
scratch_fs ext4 "$disk" low

cat >"$work/busy.py" <<'END'
import fcntl, mmap, os, struct, sys, threading, time
BLKDISCARD, N, UNIT = 0x1277, 16, 2 << 20
dev, discards, rounds = sys.argv[1], sys.argv[2] == "discard", int(sys.argv[3])
limit = "/proc/sys/kernel/threads-max"
beat, warm, go, bad = [0] * N, [], threading.Event(), []

def busy(k):
    buf = mmap.mmap(-1, 4096)
    fd = os.open(dev, os.O_RDWR | os.O_DIRECT)
    # The first direct write has the file system below make a queue of its own.
    if k == 0:
        os.pwrite(fd, buf, 31 << 20)
        os.fsync(fd)
    warm.append(k)
    go.wait()
    for i in range(rounds):
        unit = k * (32 << 20) + (i % 15) * UNIT
        os.pwrite(fd, buf, unit)
        if discards:
            fcntl.ioctl(fd, BLKDISCARD, struct.pack("QQ", unit, UNIT))
        else:
            os.pwrite(fd, buf, unit + 65536)
        if i % 4 == 3:
            os.fsync(fd)
        beat[k] += 1

def run(k):
    try:
        busy(k)
    except OSError as e:
        bad.append("thread %d: %s" % (k, e))

threads = [threading.Thread(target=run, args=(k,), daemon=True) for k in range(N)]
for t in threads:
    t.start()
while len(warm) < N:
    time.sleep(0.1)
with open(limit) as f:
    old = f.read()
with open(limit, "w") as f:
    f.write("20")
go.set()
still, last = 0, None
# As long as anything moves; the machine may be slow.
while any(t.is_alive() for t in threads) and still < 40:
    time.sleep(1)
    still = still + 1 if beat == last else 0
    last = list(beat)
with open(limit, "w") as f:
    f.write(old)
print("#", beat, *bad, flush=True)
hung = any(t.is_alive() for t in threads)
# Threads that hang would keep this program from ending.
os._exit(3 if hung else 1 if bad else 0)
END

# busy WHAT ROUNDS: where it hangs, nothing later can be trusted, nor be removed.
busy()
{
	local status=0

	python3 "$work/busy.py" "$device" "$1" "$2" || status=$?
	if [ "$status" -eq 3 ]; then
		fail "$1: all ends" "it hangs"
		ktap_deferred=()
		ktap_end
	fi
	t "$1: all ends" [ "$status" -eq 0 ]
}

qemu-img create -q -f vpc -o force_size=on "$low/r.vhd" 512M
dm_create "$dm" "0 1048576 vdisk rw 1 1 1048576 vhd 1 $low/r.vhd 1 commit=50"
busy write 15
busy discard 30
dm_remove "$dm"

# Something to be found by the search: what is written while it runs must end, too.
dm_create "$dm" "0 1048576 vdisk rw 1 1 1048576 vhd 1 $low/r.vhd 1 commit=50"
busy write 15
dm_remove "$dm"
t "the image is sound" "$vdisk" check "$low/r.vhd"
ktap_end
