#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Devices against what their disks should hold.

  images.py read SEED COUNT DIR=DEVICE...
      All of each device, directly, both its ends through the cache, and COUNT
      reads at random places (sectors, directly; bytes at odd offsets, cached),
      must be DIR/expected. A device may be longer, by zeroes: formats round
      sizes up. Where a size is no multiple of a page the cache reads and writes
      sector by sector, so what goes through it is kept short.
  images.py write SEED COUNT DIR=DEVICE... [KEY=VALUE...]
      COUNT writes, zeroes and flushes to each; then it reads as above.
      DIR/expected becomes what the disk should hold now. max=BYTES of a write.
      discard=1: whole devices' ends are discarded, and what they read then is
      either zero or what it was.

Prints "DIR ok", or "DIR" and what is wrong, for each.
"""
import fcntl
import mmap
import os
import random
import struct
import sys

SECTOR = 512
LONGER = 4 << 20
CACHED = 128 << 10
BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F


class Wrong(Exception):
    pass


class Device:
    def __init__(self, where, path, write):
        flags = os.O_RDWR if write else os.O_RDONLY
        self.direct = os.open(path, flags | os.O_DIRECT)
        self.cached = os.open(path, flags)
        self.size = os.lseek(self.cached, 0, os.SEEK_END)
        self.memory = memoryview(mmap.mmap(-1, 4 << 20))
        with open(os.path.join(where, "expected"), "rb") as f:
            self.disk = bytearray(f.read())
        if not 0 <= self.size - len(self.disk) < LONGER:
            raise Wrong("has %d bytes, not %d" % (self.size, len(self.disk)))
        self.disk += bytes(self.size - len(self.disk))

    def read(self, off, length, shift):
        """@shift: sectors into a page where memory starts; None: cached."""
        if shift is None:
            return os.pread(self.cached, length, off)
        part = self.memory[shift * SECTOR:shift * SECTOR + length]
        if os.preadv(self.direct, [part], off) != length:
            raise Wrong("short read at %d" % off)
        return bytes(part)

    def check(self, off, length, shift):
        got = self.read(off, length, shift)
        # Two views would be compared byte by byte, which takes minutes.
        want = self.disk[off:off + length]
        if got == want:
            return
        bad = next(i for i in range(length) if got[i] != want[i])
        raise Wrong("%s read of %d at %d: byte %d is %s..., not %s..." % (
            "cached" if shift is None else "direct", length, off, off + bad,
            got[bad:bad + 8].hex(), want[bad:bad + 8].hex()))

    def write(self, off, data, shift):
        if shift is None:
            done = os.pwrite(self.cached, data, off)
        else:
            part = self.memory[shift * SECTOR:shift * SECTOR + len(data)]
            part[:] = data
            done = os.pwritev(self.direct, [part], off)
        if done != len(data):
            raise Wrong("short write at %d" % off)
        self.disk[off:off + len(data)] = data

    def flush(self):
        os.fdatasync(self.cached)
        os.fdatasync(self.direct)

    def range(self, command, off, length):
        self.flush()
        fcntl.ioctl(self.cached, command, struct.pack("QQ", off, length))

    def close(self):
        os.close(self.direct)
        os.close(self.cached)


def reads(device, rnd, count):
    sectors = device.size // SECTOR
    for _ in range(count):
        # Short ones are as frequent as long ones.
        most = 1 << rnd.randrange(1, 12)
        if rnd.randrange(2):
            n = min(rnd.randrange(1, most + 1), sectors)
            device.check(rnd.randrange(sectors - n + 1) * SECTOR, n * SECTOR,
                         rnd.randrange(8))
        else:
            n = min(rnd.randrange(1, most * SECTOR), device.size, CACHED)
            device.check(rnd.randrange(device.size - n + 1), n, None)
    for off in range(0, device.size, 1 << 20):
        device.check(off, min(1 << 20, device.size - off), 0)
    n = min(CACHED, device.size)
    device.check(0, n, None)
    device.check(device.size - n, n, None)


def writes(device, rnd, count, opt):
    sectors = device.size // SECTOR
    top = int(opt.get("max", 2 << 20)) // SECTOR
    pool = rnd.randbytes(top * SECTOR + 4096)
    last = 0
    for k in range(count):
        n = min(rnd.randrange(1, (1 << rnd.randrange(1, top.bit_length())) + 1),
                sectors)
        # Anywhere; behind the last one; over the edge of some unit.
        at = rnd.choice((rnd.randrange(sectors), last,
                         (rnd.randrange(sectors) | 127) - rnd.randrange(n)))
        at = max(0, min(at, sectors - n))
        last = at + n
        start = rnd.randrange(4096)
        if k % 9 == 8:
            device.range(BLKZEROOUT, at * SECTOR, n * SECTOR)
            device.disk[at * SECTOR:(at + n) * SECTOR] = bytes(n * SECTOR)
            continue
        cached = n * SECTOR <= CACHED and rnd.randrange(2)
        device.write(at * SECTOR, pool[start:start + n * SECTOR],
                     None if cached else rnd.randrange(8))
        if rnd.randrange(8) == 0:
            device.flush()
    # The last sector, and then all of it is in the image.
    device.write((sectors - 1) * SECTOR, pool[:SECTOR], 0)
    device.flush()


def discards(device, rnd):
    n = device.size // SECTOR // 3 * SECTOR
    for off in (0, device.size - n):
        try:
            device.range(BLKDISCARD, off, n)
        except OSError:
            return          # a format without a way to give units back
        for at in range(off, off + n, SECTOR):
            got = device.read(at, SECTOR, 0)
            if got != bytes(SECTOR) and got != device.disk[at:at + SECTOR]:
                raise Wrong("sector %d after discard" % (at // SECTOR))
            device.disk[at:at + SECTOR] = got
    at = rnd.randrange(device.size // SECTOR // 3) * SECTOR
    device.write(at, rnd.randbytes(3 * SECTOR), 1)
    device.flush()


def one(verb, where, path, seed, count, opt):
    rnd = random.Random("%s/%s" % (seed, os.path.basename(where)))
    device = Device(where, path, verb == "write")
    try:
        if verb == "write":
            if opt.get("discard"):
                discards(device, rnd)
            writes(device, rnd, count, opt)
        reads(device, rnd, min(count, 60) if verb == "write" else count)
    finally:
        device.close()
    if verb == "write":
        path = os.path.join(where, "expected")
        os.unlink(path)         # it may be a link to what many share
        with open(path, "wb") as f:
            f.write(device.disk)


def main():
    verb, seed, count, *rest = sys.argv[1:]
    opt = dict(r.split("=", 1) for r in rest if r[0] != "/")
    for where, path in (r.split("=", 1) for r in rest if r[0] == "/"):
        try:
            one(verb, where, path, seed, int(count), opt)
            print(where, "ok")
        except (Wrong, OSError) as e:
            print(where, e)
        sys.stdout.flush()


main()
