#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What runs on a mounted file system, and on the disk below it.

  nest.py work DIR JOURNAL SEED PROCESSES OPS
      Each process in a directory of its own: files are written, also through a
      mapping, cut, made longer, renamed over others and into other directories,
      removed, fsynced, and read again, against a model in memory. JOURNAL gets the
      names and sums that are there in the end.
  nest.py verify DIR JOURNAL
      Exactly these names, with these contents. (Of `fill`: at least these.)
  nest.py fill DIR JOURNAL SEED COUNT KIB
      COUNT files of KIB each, every one fsynced, and its directory, and only then
      in JOURNAL. The first error ends it. Prints how many, and the error's name.
  nest.py touch DEVICE BYTES EVERY
      Read the first BYTES of each EVERY bytes and write them back: what a format
      allocates at a time is then there, for a part of the disk.
  nest.py scatter FROM TO OTHER KIB
      Copy a file in pieces, in random order, with pieces of another file between
      them, so that the new file lies in many places. OTHER is removed.
"""
import errno
import hashlib
import json
import mmap
import os
import random
import sys
import traceback

POOL = 1 << 20
MOST = 192 << 10


def sha(data):
    return hashlib.sha256(data).hexdigest()


def sync_dir(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def pwrite_all(fd, data, off):
    view = memoryview(data)
    while view:
        n = os.pwrite(fd, view, off)
        view, off = view[n:], off + n


class Worker:
    """One process, its directory and what should be in it."""

    def __init__(self, top, seed):
        self.top = top
        self.rnd = random.Random(seed)
        self.pool = self.rnd.randbytes(POOL + MOST)
        self.model = {}
        os.makedirs(os.path.join(top, "a"), exist_ok=True)
        os.makedirs(os.path.join(top, "b"), exist_ok=True)

    def path(self, name):
        return os.path.join(self.top, name)

    def new_name(self):
        return "%s/f%02d" % (self.rnd.choice("ab"), self.rnd.randrange(24))

    def old_name(self):
        return self.rnd.choice(sorted(self.model)) if self.model else None

    def data(self, n):
        at = self.rnd.randrange(POOL)
        return self.pool[at:at + n]

    def write(self):
        name = self.new_name()
        want = self.model.setdefault(name, bytearray())
        off = self.rnd.choice((0, len(want), self.rnd.randrange(MOST)))
        data = self.data(self.rnd.choice((1, 511, 4096, 65536, self.rnd.randrange(1, MOST))))
        fd = os.open(self.path(name), os.O_RDWR | os.O_CREAT, 0o644)
        pwrite_all(fd, data, off)
        if self.rnd.randrange(3) == 0:
            self.rnd.choice((os.fsync, os.fdatasync))(fd)
        os.close(fd)
        if off > len(want):
            want.extend(bytes(off - len(want)))
        want[off:off + len(data)] = data

    def map(self):
        name = self.old_name()
        if not name or len(self.model[name]) < 4096:
            return
        want = self.model[name]
        fd = os.open(self.path(name), os.O_RDWR)
        with mmap.mmap(fd, len(want)) as mapped:
            for _ in range(4):
                off = self.rnd.randrange(len(want))
                data = self.data(min(self.rnd.randrange(1, 20000), len(want) - off))
                mapped[off:off + len(data)] = data
                want[off:off + len(data)] = data
            if self.rnd.randrange(2):
                mapped.flush()
        os.close(fd)

    def truncate(self):
        name = self.old_name()
        if not name:
            return
        want = self.model[name]
        size = self.rnd.randrange(MOST)
        os.truncate(self.path(name), size)
        if size < len(want):
            del want[size:]
        else:
            want.extend(bytes(size - len(want)))

    def rename(self):
        name, other = self.old_name(), self.new_name()
        if not name:
            return
        os.rename(self.path(name), self.path(other))
        self.model[other] = self.model.pop(name)
        if self.rnd.randrange(2):
            sync_dir(os.path.dirname(self.path(other)))

    def remove(self):
        name = self.old_name()
        if name and len(self.model) > 8:
            os.unlink(self.path(name))
            del self.model[name]

    def read(self):
        name = self.old_name()
        if name:
            with open(self.path(name), "rb") as f:
                if f.read() != self.model[name]:
                    sys.exit("%s: not what was written" % self.path(name))

    def run(self, ops):
        # Mostly writes; what else there is, about as often as each other.
        kinds = [self.write] * 5 + [self.map, self.map, self.truncate, self.rename,
                                    self.remove, self.read]
        for _ in range(ops):
            self.rnd.choice(kinds)()
        return {name: sha(want) for name, want in self.model.items()}


def one_process(top, seed, ops, report):
    """Never returns: the child must not run what belongs to its parent."""
    status = 1
    try:
        found = Worker(top, seed).run(ops)
        with open(report, "w", encoding="ascii") as f:
            json.dump(found, f)
        status = 0
    except BaseException:       # an exit is news as well
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def work(top, journal, seed, processes, ops):
    children = {}
    for k in range(processes):
        pid = os.fork()
        if pid == 0:
            one_process(os.path.join(top, "p%d" % k), seed + k, ops,
                        "%s.%d" % (journal, k))
        children[pid] = k
    bad = [k for pid, k in children.items()
           if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0]
    if bad:
        sys.exit("process %s failed" % " ".join(map(str, sorted(bad))))
    names = {}
    for k in range(processes):
        with open("%s.%d" % (journal, k), encoding="ascii") as f:
            names.update({"p%d/%s" % (k, n): s for n, s in json.load(f).items()})
    with open(journal, "w", encoding="ascii") as f:
        json.dump({"exact": True, "names": names}, f)


def there(top):
    for where, _, files in os.walk(top):
        for name in files:
            yield os.path.relpath(os.path.join(where, name), top)


def verify(top, journal):
    with open(journal, encoding="ascii") as f:
        text = f.read()
    if text.startswith("{"):
        names, exact = json.loads(text)["names"], True
    else:
        names, exact = dict(line.split() for line in text.splitlines()), False
    found, wrong = set(there(top)), []
    wrong += ["%s: is gone" % n for n in names if n not in found]
    if exact:
        wrong += ["%s: was removed" % n for n in found if n not in names]
    for name in sorted(found & set(names)):
        with open(os.path.join(top, name), "rb") as f:
            if sha(f.read()) != names[name]:
                wrong.append("%s: not what was written" % name)
    print("%d files" % len(names))
    if wrong or exact and not names:
        sys.exit("\n".join(wrong[:10] or ["no files at all"]))


def fill(top, journal, seed, count, kib):
    rnd = random.Random(seed)
    pool = rnd.randbytes(POOL)
    done, ended = 0, "none"
    with open(journal, "w", encoding="ascii") as log:
        try:
            os.makedirs(top, exist_ok=True)
            sync_dir(os.path.dirname(top))
            for k in range(count):
                data = b"%8d" % k + (pool * (kib // 1024 + 1))[k:k + kib * 1024 - 8]
                name = "n%04d" % k
                fd = os.open(os.path.join(top, name), os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    pwrite_all(fd, data, 0)
                    os.fsync(fd)
                finally:
                    os.close(fd)
                sync_dir(top)
                log.write("%s %s\n" % (name, sha(data)))
                log.flush()
                done += 1
        except OSError as e:
            ended = errno.errorcode[e.errno]
    print(done, ended)


def touch(device, length, every):
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    end = os.lseek(fd, 0, os.SEEK_END)
    buf = mmap.mmap(-1, length)
    for at in range(0, end, every):
        n = os.preadv(fd, [buf], at)
        pwrite_all(fd, memoryview(buf)[:n], at)
    os.fsync(fd)


def scatter(source, target, other, kib):
    piece = kib << 10
    size = os.path.getsize(source)
    order = list(range(0, size - size % piece, piece))
    random.Random(1).shuffle(order)
    buf = mmap.mmap(-1, piece)
    flags = os.O_RDWR | os.O_CREAT | os.O_DIRECT
    src, to, aside = os.open(source, os.O_RDONLY), os.open(target, flags), os.open(other, flags)
    for k, at in enumerate(order):
        os.preadv(src, [buf], at)
        pwrite_all(to, buf, at)
        # One in four is enough to part them.
        if k % 4 == 0:
            pwrite_all(aside, buf, k // 4 * piece)
    tail = os.pread(src, piece, size - size % piece)
    for fd in (src, to, aside):
        os.close(fd)
    with open(target, "r+b") as f:
        f.seek(size - size % piece)
        f.write(tail)
        os.fsync(f.fileno())
    os.unlink(other)


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    if verb == "work":
        work(args[0], args[1], *map(int, args[2:]))
    elif verb == "verify":
        verify(*args)
    elif verb == "fill":
        fill(args[0], args[1], *map(int, args[2:]))
    elif verb == "touch":
        touch(args[0], *map(int, args[1:]))
    elif verb == "scatter":
        scatter(*args[:3], int(args[3]))
    else:
        sys.exit(__doc__)


main()
