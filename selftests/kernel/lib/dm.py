#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Device-mapper without dmsetup, for what has to happen hundreds of times.

  dm.py cycles NAME COUNT SECTORS LINE
      COUNT times: create NAME with a table of the target vdisk (LINE: what
      follows the target's name), see that it holds what the last one wrote,
      write something else, remove it.
"""
import errno
import fcntl
import mmap
import os
import struct
import sys
import time

HEAD = struct.Struct("<3I 3I i 3I Q 128s 129s 7x")
SPEC = struct.Struct("<QQiI16s")
CREATE, REMOVE, SUSPEND, LOAD = 3, 4, 6, 9


def ioctl(control, command, name, payload=b"", targets=0, flags=0):
    length = HEAD.size + len(payload)
    buf = bytearray(HEAD.pack(4, 0, 0, length, HEAD.size, targets, 0, flags, 0,
                              0, 0, name.encode(), b"") + payload)
    fcntl.ioctl(control, 3 << 30 | HEAD.size << 16 | 0xfd << 8 | command, buf)
    return HEAD.unpack(buf[:HEAD.size])[10]


def remove(control, name):
    """Whoever looks at a new device, as udev does, has it open a while."""
    for _ in range(3000):
        try:
            ioctl(control, REMOVE, name)
            return
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
        time.sleep(0.01)
    sys.exit("%s stays busy" % name)


def cycle(control, name, sectors, line, k, before):
    dev = ioctl(control, CREATE, name)
    try:
        params = line.encode() + b"\0"
        params += bytes(-len(params) % 8)
        spec = SPEC.pack(0, sectors, 0, SPEC.size + len(params), b"vdisk")
        ioctl(control, LOAD, name, spec + params, 1)
        ioctl(control, SUSPEND, name)       # without its flag: resume
        node = "/dev/dm-%d" % (dev & 0xff | dev >> 12 & 0xfff00)
        fd = os.open(node, os.O_RDWR | os.O_DIRECT)
        try:
            for at, want in before.items():
                os.preadv(fd, [PAGE], at)
                if PAGE[:] != want:
                    sys.exit("cycle %d: %d does not hold what was written" % (k, at))
            at = k * 1234567 * 4096 % (sectors * 512 - 4096)
            PAGE[:] = struct.pack("<Q", k) * 512
            os.pwrite(fd, PAGE, at // 512 * 512)
            return {at // 512 * 512: PAGE[:]}
        finally:
            os.close(fd)
    finally:
        remove(control, name)


PAGE = mmap.mmap(-1, 4096)


def main():
    if sys.argv[1:2] != ["cycles"] or len(sys.argv) != 6:
        sys.exit(__doc__)
    name, count, sectors, line = sys.argv[2:]
    before = {}
    with open("/dev/mapper/control", "rb") as control:
        for k in range(int(count)):
            before = cycle(control, name, int(sectors), line, k, before)


if __name__ == "__main__":
    main()
