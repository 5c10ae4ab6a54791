#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A guest that writes down what it does, and what its disk may hold later.

  stamps.py write DEVICE LOG SEED COUNT [KEY=VALUE...]
      COUNT writes, zeroes, discards and flushes. Every sector written says by
      which operation. LOG gets a line before each operation, and one after
      each flush that was acknowledged; it is appended to, and numbers go on.
      max=SECTORS of a write (64), size=BYTES of DEVICE to use, flush=N: one in
      N (12), mark=NAME: a dm-log-writes device to tell of each flush,
      errors=1: go on after an error, whose outcome is open; print how many.
  stamps.py verify LOG DISK [OPS FLUSHES]
      DISK may hold, sector by sector, what was last flushed or anything written
      since. OPS, FLUSHES: how many lines of either kind had been by then.

LOG: "w|z|d NUMBER SECTOR SECTORS", "e NUMBER" (it failed, and may have happened
or not) and "f NUMBER" (all up to NUMBER is durable).
"""
import concurrent.futures
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys

SECTOR = 512
BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F
THREADS = 4
STAMP = struct.Struct("<QQ")
ANY = -1            # damage without a stamp


def pattern(number, sector):
    return STAMP.pack(number, sector) * (SECTOR // STAMP.size)


class Journal:
    """Lines that are out before the operation that they tell of begins."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(self, text):
        os.write(self.fd, text.encode())


class Writer:
    def __init__(self, device, log, seed, opt):
        self.rnd = random.Random(seed)
        self.fd = os.open(device, os.O_RDWR | os.O_DIRECT)
        size = os.lseek(self.fd, 0, os.SEEK_END)
        self.sectors = min(int(opt.get("size", size)), size) // SECTOR
        self.most = int(opt.get("max", 64))
        self.flush_one_in = int(opt.get("flush", 12))
        self.mark = opt.get("mark")
        self.go_on = opt.get("errors")
        self.errors = 0
        ops, flushes = parse(log) if os.path.exists(log) else ([], [])
        self.number = len(ops)
        self.flushes = len(flushes)
        self.journal = Journal(log)
        self.memory = [mmap.mmap(-1, self.most * SECTOR) for _ in range(THREADS)]
        self.pool = concurrent.futures.ThreadPoolExecutor(THREADS)
        # Places that are written again and again, so that old and new meet.
        self.spots = [self.rnd.randrange(self.sectors) for _ in range(12)]

    def place(self, n):
        at = self.rnd.choice(self.spots) + self.rnd.randrange(-64, 256)
        if self.rnd.randrange(4) == 0:
            at = self.rnd.randrange(self.sectors)
        return max(0, min(at, self.sectors - n))

    def plan(self):
        """Some operations that may run at the same time: they do not overlap."""
        batch = []
        for _ in range(self.rnd.randrange(1, THREADS + 1)):
            n = self.rnd.randrange(1, self.rnd.choice((2, 9, self.most + 1)))
            kind = self.rnd.choices("wzd", (20, 1, 1))[0]
            if kind != "w":
                n = self.rnd.choice((n, 2048, 4096))
            n = min(n, self.sectors)
            at = self.place(n)
            if any(at < a + m and a < at + n for _, _, a, m in batch):
                continue
            self.number += 1
            batch.append((kind, self.number, at, n))
        return batch

    def run(self, op, memory):
        kind, number, at, n = op
        if kind != "w":
            try:
                fcntl.ioctl(self.fd, BLKZEROOUT if kind == "z" else BLKDISCARD,
                            struct.pack("QQ", at * SECTOR, n * SECTOR))
            except OSError as e:
                if kind == "z" or e.errno != errno.EOPNOTSUPP:
                    raise
            return
        memory[:n * SECTOR] = b"".join(pattern(number, at + i) for i in range(n))
        if os.pwritev(self.fd, [memoryview(memory)[:n * SECTOR]], at * SECTOR) != n * SECTOR:
            raise OSError(errno.EIO, "short write")

    def guarded(self, function, *args):
        try:
            function(*args)
            return True
        except OSError:
            if not self.go_on:
                raise
            return False

    def batch(self):
        batch = self.plan()
        self.journal.say("".join("%s %d %d %d\n" % op for op in batch))
        good = self.pool.map(lambda p: self.guarded(self.run, *p),
                             zip(batch, self.memory))
        for op, done in zip(batch, good):
            if not done:
                self.errors += 1
                self.journal.say("e %d\n" % op[1])

    def flush(self):
        if not self.guarded(os.fdatasync, self.fd):
            self.errors += 1
            return
        self.journal.say("f %d\n" % self.number)
        self.flushes += 1
        if self.mark:
            # As much of the log as there is at this moment.
            subprocess.run(["dmsetup", "message", self.mark, "0", "mark",
                            "%d,%d" % (self.number, self.flushes)], check=True)

    def count(self, count):
        end = self.number + count
        while self.number < end:
            self.batch()
            if self.rnd.randrange(self.flush_one_in) == 0:
                self.flush()
        self.flush()


def parse(path):
    """Operations, and for each flush how many of them were durable."""
    ops, flushes, failed = [], [], set()
    with open(path, "rb") as f:
        lines = f.read().split(b"\n")
    for line in lines[:-1]:         # what has no end was cut off
        kind, *numbers = line.split()
        numbers = [int(n) for n in numbers]
        if kind == b"f":
            flushes.append(numbers[0])
        elif kind == b"e":
            failed.add(numbers[0])
        else:
            ops.append((kind.decode(), *numbers))
    return [(k if n not in failed else k.upper(), n, *r)
            for k, n, *r in ops], flushes


def allowed(ops, durable):
    """{sector: set of numbers}; 0 is zeroes, and what was never written."""
    may = {}
    for kind, number, at, n in ops:
        for s in range(at, at + n):
            old = may.get(s, {0})
            value = number if kind in "wW" else 0
            if kind in "dDWZ" or number > durable:
                may[s] = old | {value}
            else:
                may[s] = {value}
    return may


def found(data, sector):
    if not any(data):
        return 0
    number, at = STAMP.unpack_from(data)
    if at != sector or data != pattern(number, sector):
        return ANY
    return number


def verify(log, disk, nr_ops=None, nr_flushes=None):
    """None, or what is wrong with DISK."""
    ops, flushes = parse(log)
    ops = ops[:nr_ops]
    flushes = flushes[:nr_flushes]
    may = allowed(ops, flushes[-1] if flushes else 0)
    with open(disk, "rb") as f:
        sector = 0
        while True:
            data = f.read(64 * SECTOR)
            if not data:
                return None
            blank = not any(data)
            for k in range(len(data) // SECTOR):
                s = sector + k
                got = 0 if blank else found(data[k * SECTOR:(k + 1) * SECTOR], s)
                if got not in may.get(s, (0,)):
                    what = "no write of ours" if got == ANY else "write %d" % got
                    return "sector %d holds %s, may hold %s; %d writes, %d flushes" % (
                        s, what, sorted(may.get(s, (0,))), len(ops), len(flushes))
            sector += 64


def main():
    verb, *rest = sys.argv[1:]
    if verb == "write":
        device, log, seed, count, *keys = rest
        writer = Writer(device, log, int(seed), dict(k.split("=", 1) for k in keys))
        writer.count(int(count))
        print("%d errors" % writer.errors)
    elif verb == "verify":
        log, disk, *numbers = rest
        wrong = verify(log, disk, *map(int, numbers))
        if wrong:
            sys.exit(wrong)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
