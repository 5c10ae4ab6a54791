#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What a dm-log-writes device has recorded, done again on a file.

  logwrites.py replay LOG FILE      print how many writes and flushes it were
      The file then holds what a plain disk would hold after the same writes.

  logwrites.py states LOG FILE JOURNAL SEED MOST TORN OUT COMMAND...
      At most MOST flushes after the mark "start", evenly chosen: what a disk
      holds that loses power at that flush, and some time after it, when it has
      some parts of the later writes, TORN bytes each, and lacks others. With 0
      for MOST: at each single write after "start", with all before it. COMMAND
      has to read the disk in the image on FILE and leave it in OUT, which must
      be as JOURNAL has it (stamps.py; the marks are what its writer sends).

  logwrites.py each LOG FILE FROM TO COMMAND...
      After each write between the marks FROM and TO: a disk that loses power
      right then. COMMAND has to find nothing wrong with FILE.
"""
import os
import random
import struct
import subprocess
import sys

import stamps

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK, METADATA = 1, 2, 4, 8, 16
ENTRY = struct.Struct("<QQQQ")      # sector, sectors, flags, bytes of a mark


class Entry:
    def __init__(self, unit, at, head):
        self.sector, self.sectors, self.flags, length = ENTRY.unpack_from(head)
        self.unit = unit
        self.data_at = at + unit
        self.mark = None
        if self.flags & MARK:
            self.mark = head[ENTRY.size:ENTRY.size + length].rstrip(b"\0").decode()

    def data(self, log):
        log.seek(self.data_at)
        return log.read(self.sectors * self.unit)


def entries(log):
    log.seek(0)
    magic, version, count, unit = struct.unpack("<QQQI", log.read(28))
    if magic != MAGIC or version != 1:
        sys.exit("not a log of dm-log-writes, version 1")
    at = unit
    for _ in range(count):
        log.seek(at)
        entry = Entry(unit, at, log.read(unit))
        yield entry
        at += unit
        if not entry.flags & DISCARD:
            at += entry.sectors * unit
        # A record without sectors has no data behind it.


def replay(log_path, path):
    writes = flushes = 0
    out = os.open(path, os.O_WRONLY)
    with open(log_path, "rb") as log:
        for entry in entries(log):
            flushes += bool(entry.flags & FLUSH)
            if entry.flags & (DISCARD | MARK) or not entry.sectors:
                continue
            os.pwrite(out, entry.data(log), entry.sector * entry.unit)
            writes += 1
    os.close(out)
    print("%d writes, %d flushes" % (writes, flushes))


def each(log_path, path, first, last, command):
    fd = os.open(path, os.O_WRONLY)
    states, inside = 0, False
    with open(log_path, "rb") as log:
        for number, entry in enumerate(entries(log)):
            if entry.mark:
                inside = entry.mark == first or inside and entry.mark != last
                continue
            if not entry.sectors:
                continue
            data = entry.data(log) if not entry.flags & DISCARD else bytes(
                entry.sectors * entry.unit)
            os.pwrite(fd, data, entry.sector * entry.unit)
            if not inside:
                continue
            done = subprocess.run(command, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                sys.exit("after entry %d, %d sectors at %d: %s" %
                         (number, entry.sectors, entry.sector, done.stdout))
            states += 1
    os.close(fd)
    if not states:
        sys.exit("no write between the marks")
    print("%d states" % states)


class States:
    def __init__(self, log_path, path, journal, seed, torn, out, command):
        self.log = open(log_path, "rb")
        self.fd = os.open(path, os.O_RDWR)
        self.journal, self.out, self.command = journal, out, command
        self.rnd = random.Random(seed)
        self.torn = torn
        self.entries = list(entries(self.log))
        self.flushes = stamps.parse(journal)[1]
        self.undo = []
        self.tried = 0

    def put(self, off, data, undo):
        if undo:
            self.undo.append((off, os.pread(self.fd, len(data), off)))
        os.pwrite(self.fd, data, off)

    def apply(self, entry, torn=False):
        if entry.flags & MARK or not entry.sectors:
            return
        off = entry.sector * entry.unit
        if entry.flags & DISCARD:
            # Nobody has promised what a discarded sector reads.
            if self.rnd.randrange(2):
                self.put(off, bytes(entry.sectors * entry.unit), torn)
            return
        data = entry.data(self.log)
        if not torn:
            self.put(off, data, False)
            return
        share = self.rnd.choice((0, 1, 0.5))
        for k in range(0, len(data), self.torn):
            if self.rnd.random() < share:
                self.put(off + k, data[k:k + self.torn], True)

    def take_back(self):
        while self.undo:
            off, data = self.undo.pop()
            os.pwrite(self.fd, data, off)

    def verify(self, position, what):
        """The state holds of all entries before @position what it may."""
        numbers = [e.mark for e in self.entries[:position]
                   if e.mark and "," in e.mark]
        flushes = int(numbers[-1].split(",")[1]) if numbers else 0
        later = [e.mark for e in self.entries[position:]
                 if e.mark and "," in e.mark]
        ops = int(later[0].split(",")[0]) if later else None
        os.fsync(self.fd)
        done = subprocess.run(self.command, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        wrong = done.stdout if done.returncode else stamps.verify(
            self.journal, self.out, ops, flushes)
        if wrong:
            last = self.entries[position - 1]
            sys.exit("entry %d of %d (%d sectors at %d), %s: %s" %
                     (position, len(self.entries), last.sectors, last.sector,
                      what, wrong))
        self.tried += 1

    def run_every(self):
        started = False
        for i, entry in enumerate(self.entries):
            started |= entry.mark == "start"
            self.apply(entry)
            if started and entry.sectors and not entry.mark:
                self.verify(i + 1, "all of them")
        if not self.tried:
            sys.exit("no write after the start")
        print("%d states, %d flushes acknowledged" % (self.tried, len(self.flushes)))

    def run(self, most):
        start = next(i for i, e in enumerate(self.entries) if e.mark == "start")
        marks = [i for i, e in enumerate(self.entries)
                 if i > start and e.flags & FLUSH]
        step = max(1, -(-len(marks) // most))
        chosen = set(marks[len(marks) % step::step]) | {marks[-1]}
        at = 0
        for i in sorted(chosen):
            # The mark behind a flush says that it was acknowledged.
            end = i + 1
            while end < len(self.entries) and self.entries[end].mark:
                end += 1
            for entry in self.entries[at:end]:
                self.apply(entry)
            at = end
            self.verify(at, "all of them")
            following = next((m + 1 for m in marks if m >= at), len(self.entries))
            cut = self.rnd.randint(at, following)
            for entry in self.entries[at:cut]:
                self.apply(entry, True)
            if self.undo:
                self.verify(cut, "torn after %d" % at)
                self.take_back()
        print("%d states of %d flushes, %d acknowledged" %
              (self.tried, len(marks), len(self.flushes)))


def main():
    if sys.argv[1:2] == ["replay"] and len(sys.argv) == 4:
        replay(*sys.argv[2:])
    elif sys.argv[1:2] == ["each"] and len(sys.argv) > 6:
        each(*sys.argv[2:6], sys.argv[6:])
    elif sys.argv[1:2] == ["states"] and len(sys.argv) > 9:
        log, path, journal, seed, most, torn, out, *command = sys.argv[2:]
        states = States(log, path, journal, int(seed), int(torn), out, command)
        if int(most):
            states.run(int(most))
        else:
            states.run_every()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
