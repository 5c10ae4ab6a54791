#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Images with one fault each, found and repaired.

  repair.py crash VDISK DIR SHIM COUNT  repairs are cut off: the states that a
                                 power failure may leave of them, COUNT images,
                                 are repaired again. SHIM: lib/writes.c
  repair.py run VDISK DIR PART   the images of faults.py before `check` and
                                 `check --repair`; one line "ok|bad TAB NAME TAB
                                 DETAIL" for each, a last line "end TAB COUNT TAB
                                 REPAIRED". PART: some (quick) or all

What is demanded of every image:

  sound        check says nothing, a repair changes no byte
  refused      check and repair end with 1, no byte changes
  to be left   those in LEFT: found (2 or 3), no byte changes, the same again
  all others   found with a sentence, repaired; then check is content, a second
               repair changes no byte, and the disk holds what it held before,
               but for the units that could not be read
"""
import hashlib
import os
import random
import shutil
import struct
import sys

from faults import (Run, all_faults, damage, goods, said, sectors_of)
from fault.images import SECTOR

# Found, but not for a program to put right: see the tables of faults in
# Documentation/*.rst.
LEFT = set("""
vhd-diff: parent of another id
vmdk-child: parent of another CID
vhd-diff: locator past the end
vhd-diff: locator offset near 2^64
vhd-diff: locator of 2^32 - 1 bytes
vhd-diff: locator in the BAT
vhd-diff: locator in the header
vmdk-sparse: one table twice
vmdk-stream: record of another sector
vmdk-stream: record sector of all ones
vmdk-stream: record of no bytes
vmdk-stream: record of more than two grains
vmdk-stream: record of 2^32 - 1 bytes
vmdk-stream: record past the end
vmdk-stream: table in the descriptor
vmdk-stream: table at 2^32 - 1
vmdk-stream: bytes of a grain damaged
vmdk-stream: checksum of a grain
vmdk-stream: stream cut short
vmdk-stream: stream longer than a grain
vmdk-stream: bomb
vmdk-stream: a preset dictionary
cowd: table at 1
cowd: table at the directory
cowd: table at the end
cowd: table at 2^32 - 1
cowd: one table twice
sesparse: directory entry of another kind
sesparse: table that is not there
sesparse: table 2^32 - 1
sesparse: entry of kind 0
sesparse: entry of kind 4
sesparse: entry of kind 15
sesparse: grain that is not there
sesparse: grain 2^60 - 1
sesparse: two entries, one grain
sesparse: one table twice
sesparse: cut in the grains
qed: L2 at 1
qed: L2 not aligned
qed: L2 in the header
qed: L2 is the L1 table
qed: L2 at the end
qed: L2 near 2^64
qed: one L2 twice
""".strip().splitlines())


def digest(g, where):
    """What the files of an image hold; a long one by its ends."""
    h = hashlib.sha256()
    for name in sorted(g.files):
        path = os.path.join(where, name)
        if not os.path.isfile(path) or os.path.islink(path):
            continue
        with open(path, "rb") as f:
            size = f.seek(0, 2)
            f.seek(0)
            h.update(b"%d" % size)
            if size < 64 << 20:
                h.update(f.read())
            else:
                h.update(f.read(1 << 20))
    return h.digest()


class Judge:
    def __init__(self, vdisk, top):
        self.vdisk, self.top = os.path.abspath(vdisk), os.path.abspath(top)
        self.repaired = 0

    def run(self, *args):
        return Run(self.vdisk, *args)

    def check(self, *args):
        return self.run("check", *args, *self.flags, self.path)

    def content(self, f, g, before):
        """What the disk holds now, compared but for units that were lost."""
        out = os.path.join(self.where, "out.raw")
        r = self.run("convert", *self.flags, self.path, out)
        bad = r.went_well()
        if not bad:
            with open(out, "rb") as f_out:
                now = bytearray(f_out.read())
            want = bytearray(before)
            for first, n in sectors_of(f, g):
                end = (first + n) * SECTOR
                now[first * SECTOR:end] = want[first * SECTOR:end] = \
                    bytes(end - first * SECTOR)
            if now != want:
                bad = ["content is another after the repair"]
        if os.path.exists(out):
            os.unlink(out)
        return bad

    def before(self, f, g):
        """What the disk holds; where it cannot be read, what it should."""
        out = os.path.join(self.where, "before.raw")
        r = self.run("convert", *self.flags, self.path, out)
        if r.code:
            return g.content
        with open(out, "rb") as f_out:
            data = f_out.read()
        os.unlink(out)
        return data

    def unchanged(self, g, was, what):
        return [] if digest(g, self.where) == was else \
            ["%s changed the image" % what]

    def judge(self, f, g):
        self.where = os.path.join(self.top, "image")
        g.write(self.where)
        self.path = os.path.join(self.where, f.main or g.main)
        self.flags = f.args
        was = digest(g, self.where)
        first = self.check()
        bad = self.unchanged(g, was, "check")
        if first.code in (0, 1):
            r = self.check("--repair", "--no-undo")
            if r.code != first.code and not (r.code == 1 and r.err):
                bad.append("wanted status %d, got %s" % (first.code, r))
            return bad + self.unchanged(g, was, "a repair for nothing")
        text = said(f.sentence, g, self.top).rsplit(":", 1)[0]
        if f.show in ("walk", "leak") and text not in first.out:
            bad.append("check does not say '%s': %s" % (text, first))
        if "ERROR" not in first.out and first.code == 2:
            bad.append("no sentence: %s" % first)
        return bad + self.repair(f, g, first.code, was)

    def repair(self, f, g, code, was):
        before = self.before(f, g)
        r = self.check("--repair", "--no-undo")
        if f.name in LEFT:
            bad = self.unchanged(g, was, "a repair that is not to be")
            if r.code != code or r.err:
                bad.append("wanted status %d, got %s" % (code, r))
            return bad
        if r.code or r.err or "REPAIRED" not in r.out:
            return ["not repaired: %s" % r]
        self.repaired += 1
        bad = self.content(f, g, before)
        now = digest(g, self.where)
        for args in ((), ("--repair", "--no-undo")):
            again = self.check(*args)
            if again.code or "REPAIRED" in again.out:
                bad.append("not clean afterwards: %s" % again)
        return bad + self.unchanged(g, now, "a second repair")


def do_run(vdisk, top, part):
    judge, good, n = Judge(vdisk, top), goods(), 0
    for i, f in enumerate(all_faults(good)):
        if f.show == "huge" or (part == "some" and f.show == "chain"):
            continue
        if part == "some" and f.show == "open" and i % 4:
            continue
        try:
            bad = judge.judge(f, damage(f, good))
        except Exception as e:  # noqa: BLE001 - one fault's, not all of them
            bad = ["%s: %s" % (type(e).__name__, e)]
        shutil.rmtree(judge.where, ignore_errors=True)
        n += 1
        print("bad" if bad else "ok", f.name,
              " / ".join(bad).replace("\n", " ").replace("\t", " "), sep="\t",
              flush=True)
    print("end", n, judge.repaired, sep="\t")


# ---------------------------------------------------------------------------
# Cut off in the middle.

def epochs(log):
    """What was written between flushes, from a log of lib/writes.c."""
    at, now, done = 0, [], []
    while at < len(log):
        kind, off, length = struct.unpack_from("=QQQ", log, at)
        at += 24
        if kind == ord("f"):
            done.append(now)
            now = []
        elif kind == ord("w"):
            now.append((off, log[at:at + length]))
            at += length
        elif kind == ord("p"):
            now.append((off, bytes(length)))
        else:
            now.append((off, None))
    return done + [now]


def apply(data, event, keep=None):
    """One event; of a write only the sectors that KEEP says yes to."""
    off, new = event
    if new is None:
        data[off:] = bytes(max(0, off - len(data)))
        return
    if len(data) < off + len(new):
        data.extend(bytes(off + len(new) - len(data)))
    for i in range(0, len(new), SECTOR):
        part = new[i:i + SECTOR]
        if keep is None or keep():
            data[off + i:off + i + len(part)] = part


def states(data, log, rng):
    """Files that a crash may leave: a prefix of epochs, some of the next."""
    for epoch in epochs(log):
        for n in range(min(len(epoch), 3)):
            cut = bytearray(data)
            for event in epoch[:n]:
                apply(cut, event)
            yield bytes(cut)
        for _ in range(2 if epoch else 0):
            cut = bytearray(data)
            for event in epoch:
                # Changes of the length keep their order to what is written.
                apply(cut, event, lambda: rng.random() < 0.5)
            yield bytes(cut)
        for event in epoch:
            apply(data, event)
    yield bytes(data)


def crash(judge, f, g, shim, rng):
    """Every state is repaired to what the whole repair would have made."""
    judge.where = os.path.join(judge.top, "image")
    g.write(judge.where)
    judge.path = os.path.join(judge.where, f.main or g.main)
    judge.flags = f.args
    log = os.path.join(judge.top, "log")
    before = judge.before(f, g)
    with open(judge.path, "rb") as image:
        data = bytearray(image.read())
    os.environ.update(LD_PRELOAD=shim, WRITES_FILE=judge.path, WRITES_LOG=log)
    r = judge.check("--repair", "--no-undo")
    for name in ("LD_PRELOAD", "WRITES_FILE", "WRITES_LOG"):
        del os.environ[name]
    if r.code or not os.path.exists(log):
        return 0, ["not repaired: %s" % r]
    with open(log, "rb") as written:
        log_data = written.read()
    os.unlink(log)
    n, seen = 0, set()
    for state in states(data, log_data, rng):
        if state in seen:
            continue
        seen.add(state)
        n += 1
        with open(judge.path, "wb") as image:
            image.write(state)
        r = judge.check("--repair", "--no-undo")
        bad = ["state %d: %s" % (n, r)] if r.code or r.err else []
        bad += judge.check().went_well()
        bad = bad or judge.content(f, g, before)
        if bad:
            return n, ["state %d" % n] + bad
    return n, []


def do_crash(vdisk, top, shim, count):
    judge, good, rng = Judge(vdisk, top), goods(), random.Random(1)
    # Sound ones and those that are refused fall out by what check says.
    faults = [f for f in all_faults(good) if f.name not in LEFT and
              f.show in ("open", "walk", "leak", "found", "write") and
              len(good[f.base].files) == 1]
    rng.shuffle(faults)
    n = states_seen = 0
    for f in faults:
        g = damage(f, good)
        g.write(os.path.join(top, "image"))
        judge.path = os.path.join(top, "image", f.main or g.main)
        judge.flags = f.args
        skip = judge.check().code not in (2, 3)
        shutil.rmtree(os.path.join(top, "image"))
        if skip or n == int(count):
            continue
        n += 1
        made, bad = crash(judge, f, g, shim, rng)
        states_seen += made
        shutil.rmtree(judge.where, ignore_errors=True)
        print("bad" if bad else "ok", "cut off: " + f.name,
              " / ".join(bad).replace("\n", " ").replace("\t", " "), sep="\t",
              flush=True)
    print("end", n, states_seen, sep="\t")


if __name__ == "__main__":
    {"run": do_run, "crash": do_crash}[sys.argv[1]](*sys.argv[2:])
