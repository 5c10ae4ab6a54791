#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Seeded I/O on a device or a file.

  rio.py write PATH SEED COUNT [KEY=VALUE...]
      COUNT writes and flushes, the same on every PATH whatever how= says:
      what the device under test got, a plain file can get as well.
      size=BYTES   of PATH to use (default: all of it)
      base=BYTES   where that starts
      spots=N      write around N places only, so that the rest stays sparse
      min= max=    bytes of a write (512, 1M)
      how=mixed|direct|buffered
      flush=N      one in N is a flush (16); 0: none, not even at the end
      dsync=1      every write is durable when it returns
      also=PATH    a file that gets the same, through the page cache

  rio.py race PATH SEED ROUNDS [KEY=VALUE...]
      Threads write the same few units at the same time, others read them.
      A sector holds one of the writes that a round sent to it, and all of that
      one. size= base= min= max= as above, threads= readers= ops= (of a thread
      in a round), region=BYTES (of a round: neighbours overlap by half).
      Prints what it did; the first sector that is wrong ends it.

  rio.py check PATH SEED COUNT [KEY=VALUE...]
      Random writes, one sector to max= each, and reads, against a model kept
      in memory. The same keys as write; loop=N after N of them drops caches.
"""
import contextlib
import mmap
import os
import random
import struct
import sys
import threading

SECTOR = 512
POOL = 4 << 20
ZEROES = bytes(SECTOR)


def number(text):
    units = {"k": 10, "M": 20, "G": 30}
    if text[-1] in units:
        return int(text[:-1]) << units[text[-1]]
    return int(text)


class Options(dict):
    def num(self, key, default):
        return number(self[key]) if key in self else default


def options(args):
    return Options(a.split("=", 1) for a in args)


def size_of(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


class Memory:
    """Memory for direct I/O: sector-aligned, mostly not page-aligned."""

    def __init__(self, most):
        self.map = mmap.mmap(-1, most + mmap.PAGESIZE)
        if most > (2 << 20):
            with contextlib.suppress(OSError):  # a kernel may have none
                self.map.madvise(mmap.MADV_HUGEPAGE)
        self.view = memoryview(self.map)

    def part(self, length, shift):
        return self.view[shift * SECTOR:shift * SECTOR + length]


class File:
    """PATH open twice: beside the page cache and through it."""

    def __init__(self, path, flags, how):
        self.fd = {}
        if how != "buffered":
            self.fd["direct"] = os.open(path, flags | os.O_DIRECT)
        if how != "direct":
            self.fd["buffered"] = os.open(path, flags)

    def pick(self, wish):
        return self.fd.get(wish) or next(iter(self.fd.values()))

    def flush(self):
        for fd in self.fd.values():
            os.fdatasync(fd)


def write_all(fd, data, off):
    while data:
        n = os.pwrite(fd, data, off)
        data = data[n:]
        off += n


class Sequence:
    """The operations that a seed stands for."""

    def __init__(self, seed, opt, size):
        self.rnd = random.Random(seed)
        self.base = opt.num("base", 0)
        self.sectors = opt.num("size", size - self.base) // SECTOR
        self.least = opt.num("min", SECTOR) // SECTOR
        self.most = opt.num("max", 1 << 20) // SECTOR
        self.pool = self.rnd.randbytes(max(POOL, 2 * self.most * SECTOR))
        self.spots = [self.rnd.randrange(self.sectors)
                      for _ in range(opt.num("spots", 0))]
        # The two ends are where sums are wrong.
        if self.spots:
            self.spots[:2] = [0, self.sectors - 1]
        self.last = 0

    def length(self):
        """Short ones are as frequent as long ones."""
        low, high = self.least.bit_length(), self.most.bit_length()
        n = self.rnd.randrange(1, 2 << (self.rnd.randint(low, high) - 1))
        return max(self.least, min(n, self.most, self.sectors))

    def place(self, n):
        """Anywhere, over the edge of a unit, or just behind the last one."""
        kind = self.rnd.randrange(4)
        at = (self.rnd.choice(self.spots) + self.rnd.randrange(4096)
              if self.spots else self.rnd.randrange(self.sectors))
        if kind == 0:
            at = (at | 4095) + 1 - self.rnd.randrange(n + 1)
        elif kind == 1:
            at = self.last
        at = max(0, min(at, self.sectors - n))
        self.last = at + n
        return at

    def next(self):
        """Byte offset, length, start in the pool (None: zeroes)."""
        n = self.length()
        off = self.base + self.place(n) * SECTOR
        start = self.rnd.randrange(len(self.pool) - n * SECTOR)
        return off, n * SECTOR, None if start % 16 == 0 else start

    def data(self, length, start):
        if start is None:
            return bytes(length)
        return self.pool[start:start + length]


def do_write(path, seed, count, opt):
    how = opt.get("how", "mixed")
    flags = os.O_RDWR | (os.O_DSYNC if opt.num("dsync", 0) else 0)
    f = File(path, flags, how)
    also = os.open(opt["also"], os.O_RDWR) if "also" in opt else None
    seq = Sequence(seed, opt, size_of(path))
    memory = Memory(seq.most * SECTOR + 8 * SECTOR)
    flush = opt.num("flush", 16)
    # What differs from PATH to PATH must not touch the sequence.
    taste = random.Random(seed + 1)
    for _ in range(count):
        off, length, start = seq.next()
        buf = memory.part(length, taste.randrange(8))
        buf[:] = seq.data(length, start)
        write_all(f.pick(taste.choice(("direct", "buffered"))), buf, off)
        if also is not None:
            write_all(also, buf, off)
        if flush and taste.randrange(flush) == 0:
            f.flush()
    if flush:
        f.flush()


def stamped(pool, stamp, first, n):
    """Sectors that say who wrote them and where to."""
    start = stamp * 7919 % (POOL - n * SECTOR)
    buf = bytearray(pool[start:start + n * SECTOR])
    for i in range(n):
        struct.pack_into("<QQ", buf, i * SECTOR, stamp, first + i)
    return buf


class Race:
    """One region at a time; the plan of a round is made before it starts."""

    def __init__(self, path, seed, opt):
        self.rnd = random.Random(seed)
        self.path = path
        self.pool = self.rnd.randbytes(POOL)
        self.base = opt.num("base", 0) // SECTOR
        self.sectors = opt.num("size", size_of(path) - self.base * SECTOR) // SECTOR
        self.region = min(opt.num("region", 8 << 20) // SECTOR, self.sectors)
        self.least = opt.num("min", SECTOR) // SECTOR
        self.most = opt.num("max", 64 << 10) // SECTOR
        self.threads = opt.num("threads", 8)
        self.readers = opt.num("readers", 2)
        self.ops = opt.num("ops", 24)
        self.now = {}           # sector: its stamp; 0: as it was at first
        self.first = {}         # sector: its bytes at first, if not zero
        self.ranges = {}        # stamp: (first, sectors)
        self.stamp = 0
        self.wrong = None
        self.reads = 0

    def plan(self, first):
        plans = []
        for _ in range(self.threads):
            plan = []
            for _ in range(self.ops):
                n = self.rnd.randint(self.least,
                                     self.rnd.choice((self.least, 8, self.most)))
                n = max(self.least, min(n, self.most))
                at = first + self.rnd.randrange(self.region - n)
                self.stamp += 1
                self.ranges[self.stamp] = (at, n)
                plan.append(self.stamp)
            plans.append(plan)
        return plans

    def writer(self, plan, gate):
        fd = os.open(self.path, os.O_RDWR | os.O_DIRECT)
        memory = Memory(self.most * SECTOR + 8 * SECTOR)
        gate.wait()
        for stamp in plan:
            at, n = self.ranges[stamp]
            buf = memory.part(n * SECTOR, stamp % 8)
            buf[:] = stamped(self.pool, stamp, at, n)
            write_all(fd, buf, (self.base + at) * SECTOR)
            if stamp % 32 == 0:
                os.fdatasync(fd)
        os.close(fd)

    def check(self, data, first, allowed):
        for i in range(len(data) // SECTOR):
            sector = data[i * SECTOR:(i + 1) * SECTOR]
            if sector == self.first.get(first + i, ZEROES):
                stamp = 0
            else:
                stamp, where = struct.unpack_from("<QQ", sector)
            if stamp not in allowed(first + i):
                return "sector %d: write %d is not one of %s" % (
                    first + i, stamp, sorted(allowed(first + i)))
            if stamp == 0:
                continue
            at, n = self.ranges[stamp]
            start = stamp * 7919 % (POOL - n * SECTOR) + (first + i - at) * SECTOR
            if where != first + i or sector[16:] != self.pool[start + 16:start + SECTOR]:
                return "sector %d is not whole: write %d" % (first + i, stamp)
        return None

    def reader(self, first, seed, allowed, gate, over):
        rnd = random.Random(seed)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        memory = Memory(64 << 10)
        gate.wait()
        while not over.is_set() and not self.wrong:
            n = rnd.choice((1, 8, 64))
            at = first + rnd.randrange(self.region - n)
            buf = memory.part(n * SECTOR, rnd.randrange(8))
            os.preadv(fd, [buf], (self.base + at) * SECTOR)
            self.reads += 1
            wrong = self.check(bytes(buf), at, allowed)
            self.wrong = self.wrong or wrong and "beside writes: " + wrong
        os.close(fd)

    def settle(self, first, last_of):
        """After the round: the last write of one of the threads has won."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        memory = Memory(1 << 20)
        at, end = first, first + self.region
        while at < end and not self.wrong:
            n = min(2048, end - at)
            buf = memory.part(n * SECTOR, 0)
            os.preadv(fd, [buf], (self.base + at) * SECTOR)
            data = bytes(buf)
            self.wrong = self.check(
                data, at, lambda s: last_of.get(s) or {self.now.get(s, 0)})
            for i in range(n):
                if last_of.get(at + i):
                    self.now[at + i] = struct.unpack_from("<Q", data, i * SECTOR)[0]
            at += n
        os.close(fd)

    def round(self, first):
        plans = self.plan(first)
        ever, last_of = {}, {}
        for plan in plans:
            mine = {}
            for stamp in plan:
                at, n = self.ranges[stamp]
                for s in range(at, at + n):
                    ever.setdefault(s, {self.now.get(s, 0)}).add(stamp)
                    mine[s] = stamp
            for s, stamp in mine.items():
                last_of.setdefault(s, set()).add(stamp)
        gate = threading.Barrier(self.threads + self.readers)
        over = threading.Event()
        failed = []

        def guarded(function, *args):
            try:
                function(*args)
            except Exception as e:      # a thread's end is nobody's news
                failed.append(repr(e))
                gate.abort()

        writers = [threading.Thread(target=guarded, args=(self.writer, p, gate))
                   for p in plans]
        readers = [threading.Thread(
            target=guarded,
            args=(self.reader, first, self.stamp + i,
                  lambda s: ever.get(s) or {self.now.get(s, 0)}, gate, over))
            for i in range(self.readers)]
        for t in writers + readers:
            t.start()
        for t in writers:
            t.join()
        over.set()
        for t in readers:
            t.join()
        if failed:
            self.wrong = failed[0]
        if not self.wrong:
            self.settle(first, last_of)

    def look(self):
        with open(self.path, "rb") as f:
            f.seek(self.base * SECTOR)
            for at in range(0, self.sectors, 2048):
                data = f.read(min(2048, self.sectors - at) * SECTOR)
                if not any(data):
                    continue
                for i in range(len(data) // SECTOR):
                    sector = data[i * SECTOR:(i + 1) * SECTOR]
                    if sector != ZEROES:
                        self.first[at + i] = sector

    def run(self, rounds):
        self.look()
        step = max(8, self.region // 2)
        places = max(1, (self.sectors - self.region) // step + 1)
        for r in range(rounds):
            self.round(r % places * step)
            if self.wrong:
                sys.exit("round %d: %s" % (r, self.wrong))
        print("%d writes of %d threads, %d reads meanwhile" %
              (self.stamp, self.threads, self.reads))


def do_check(path, seed, count, opt):
    f = File(path, os.O_RDWR, opt.get("how", "direct"))
    seq = Sequence(seed, opt, size_of(path))
    memory = Memory(seq.most * SECTOR + 8 * SECTOR)
    loop, model = opt.num("loop", 0), {}
    for k in range(count):
        off, length, start = seq.next()
        fd = f.pick("direct" if seq.rnd.randrange(2) else "buffered")
        buf = memory.part(length, seq.rnd.randrange(8))
        first = off // SECTOR
        if seq.rnd.randrange(2):
            data = seq.data(length, start)
            buf[:] = data
            write_all(fd, buf, off)
            for i in range(length // SECTOR):
                model[first + i] = data[i * SECTOR:(i + 1) * SECTOR]
        else:
            if model and seq.rnd.randrange(4):
                first = seq.rnd.choice(list(model))
                first = min(first, seq.base // SECTOR + seq.sectors - length // SECTOR)
            os.preadv(fd, [buf], first * SECTOR)
            got = bytes(buf)
            for i in range(length // SECTOR):
                want = model.get(first + i, ZEROES)
                if got[i * SECTOR:(i + 1) * SECTOR] != want:
                    sys.exit("operation %d: sector %d is wrong" % (k, first + i))
        if loop and k % loop == loop - 1:
            f.flush()
            with open("/proc/sys/vm/drop_caches", "w") as drop:
                drop.write("3")
    f.flush()


def main():
    verb, path, seed, count = sys.argv[1:5]
    opt = options(sys.argv[5:])
    if verb == "write":
        do_write(path, int(seed), int(count), opt)
    elif verb == "race":
        Race(path, int(seed), opt).run(int(count))
    elif verb == "check":
        do_check(path, int(seed), int(count), opt)
    else:
        sys.exit(__doc__)


main()
