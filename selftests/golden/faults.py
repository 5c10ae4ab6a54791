#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Images with one fault each, and what has to be said of them.

  faults.py run VDISK DIR     make all in DIR, put them before the tool: one
                              line "ok|bad TAB NAME TAB DETAIL" for each, a last
                              line "end TAB COUNT"
  faults.py kernel DIR DM     the same before the kernel, as the device DM, as
                              far as it is its business
  faults.py full FILE         a VHD whose next block would lie at 2 TiB
  faults.py phrases TOP       refusals in formats/ that no fault draws and no
                              unit test names, one a line
  faults.py list              names, and the sentence of each

Every good image is built in fault/images.py from bytes known beforehand, so
that no other program's understanding of a format gets into the verdict. The
faults are in fault/*_faults.py, one row each.

SHOW says where a fault has to show:

  open   every verb refuses the image, but for `check` where it sees a way to
         mend it
  chain  the same, but `check`, which looks at one image alone, may be content
  write  only writing is refused; what is read is right
  walk   `check` names it, writing is refused; reading gives an error for the
         units EIO, or none if the fault is not one of reading (EIO is None)
  read   reading gives an error for the units EIO, nothing else notices
  found  `check` names it, everything else works
  leak   `check` counts it and exits with 3, everything else works
  huge   `check` alone says it, in bounded time
  fine   nothing is refused and what is read is right: it looks like a fault,
         or the way round it is part of the format
  kernel a table line that only the kernel is given
"""
import errno
import fcntl
import mmap
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import time

import fault.vhd_faults  # noqa: F401 - the order of the table
import fault.vmdk_faults
import fault.esx_faults
import fault.parallels_faults
import fault.qed_faults
import fault.other_faults
from fault.damage import nothing
from fault.images import GOOD, SECTOR, Good, make_vhd
from fault.other_faults import KERNEL
from fault.table import FAULTS, UNKNOWN, Fault

# ---------------------------------------------------------------------------
# Before the tool.

# What forbids to write an image though nothing is wrong with it.
SAYS = ("Image has unknown flags", "An seSparse image cannot be written",
        "Format extension has unknown features",
        "File length is not a multiple of 512",
        "Image belongs to a saved machine state",
        "Changes of this VMDK are tracked elsewhere")

MEMORY = 512 << 20
SECONDS = 60  # of the clock: other tests may run beside this one


def said(sentence, g, top):
    """The sentence with the places worked out."""
    def number(name, fmt):
        data = g.files.get(name, b"")
        if isinstance(data, bytearray) and len(data) >= struct.calcsize(fmt):
            return struct.unpack_from(fmt, data)[0]
        return 0

    names = dict(g.at, dir=top, le32a=number("a.raw", "<I"),
                 le64a=number("a.raw", "<Q"),
                 be32=lambda at: struct.unpack_from(">I", g.data(), at)[0])
    if g.main in g.files:
        names["main_len"] = len(g.data())
    return re.sub("<([^>]+)>", lambda m: str(eval(m[1], {}, names)), sentence)


class Run:
    """One call of the tool, and what is wrong with how it ended."""

    def __init__(self, vdisk, *args):
        self.args = args
        with subprocess.Popen((vdisk, *args), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as proc:
            try:
                out, err = proc.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                proc.kill()
                out, err = proc.communicate()
        self.code = proc.returncode
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")

    def __str__(self):
        return "%s: status %d: %s%s" % (
            " ".join(self.args[:2]), self.code, self.out[:300], self.err[:600])

    def refused(self, sentence):
        """Status 1, one line, that ends as expected; nothing else."""
        lines = self.err.splitlines()
        if self.code != 1 or self.out or len(lines) != 1 or \
                not lines[0].startswith("vdisk: ") or \
                not self.ends(lines[0], sentence):
            return ["wanted '%s', got %s" % (sentence, self)]
        return []

    @staticmethod
    def ends(line, sentence):
        line = line.removesuffix(" (see vdisk check)")
        # A sentence without a value at its end is a part of the line.
        return line.endswith(sentence) if re.search(r"\d$", sentence) and \
            not sentence.startswith("overlaps") or sentence == UNKNOWN \
            else sentence in line

    def went_well(self):
        if self.code or self.err:
            return ["wanted success, got %s" % self]
        return []


def changed(g, where):
    """Files that are no longer what they were."""
    bad = []
    for name, data in g.files.items():
        if not isinstance(data, (bytes, bytearray)):
            continue
        with open(os.path.join(where, name), "rb") as now:
            if now.read(len(data)) != data or \
                    now.seek(0, 2) != getattr(data, "length", len(data)):
                bad.append("%s was changed" % name)
    return bad


def tell(f, bad):
    print("bad" if bad else "ok", f.name,
          " / ".join(bad).replace("\n", " ").replace("\t", " "), sep="\t",
          flush=True)


class Judge:
    def __init__(self, vdisk, top):
        self.vdisk, self.top = os.path.abspath(vdisk), os.path.abspath(top)
        self.out = os.path.join(self.top, "out.raw")

    def run(self, *args):
        return Run(self.vdisk, *args)

    def same(self, g):
        """What convert makes of it must be what the disk holds."""
        r = self.run("convert", *self.flags, self.path, self.out)
        bad = r.went_well()
        if not bad:
            with open(self.out, "rb") as f:
                if f.read() != g.content:
                    bad = ["convert: wrong content"]
        if os.path.exists(self.out):
            os.unlink(self.out)
        return bad

    def no_copy(self, sentence):
        bad = self.run("convert", *self.flags, self.path,
                       self.out).refused(sentence)
        if os.path.exists(self.out):
            bad.append("convert left half a copy")
            os.unlink(self.out)
        return bad

    def check(self, code, sentence=""):
        r = self.run("check", *self.flags, self.path)
        if r.code != code or r.err or sentence not in r.out:
            return ["wanted status %d and '%s', got %s" % (code, sentence, r)]
        return []

    def table(self, *args):
        return self.run("table", *self.flags, *args, self.path)

    def writable(self, g):
        """`vdisk table` is content, as far as the format lets it."""
        return self.table(*(["-r"] if g.read_only else [])).went_well()

    def open(self, f, g, text):
        return (self.table().refused(text) + self.table("-r").refused(text) +
                self.check_refuses(text) + self.no_copy(text))

    def check_refuses(self, text):
        r = self.run("check", *self.flags, self.path)
        if r.code == 2 and not r.err and "ERROR " + text in r.out:
            return []
        return r.refused(text)

    def chain(self, f, g, text):
        r = self.run("check", *self.flags, self.path)
        return (self.table().refused(text) + self.table("-r").refused(text) +
                self.no_copy(text) + ([] if self.chain_code(r, text)
                                      else [str(r)]))

    @staticmethod
    def chain_code(r, text):
        """0 or 1, or 2 if an extent's header can be mended."""
        if "Image has the" in text:
            return r.code == 2
        return r.code in (0, 1) or (r.code == 2 and not r.err and
                                    "ERROR " in r.out and text in r.out)

    def write(self, f, g, text):
        why = text.rsplit(":", 1)[0] if "see --" not in text else ""
        if "not closed" in why:
            why = "Image was not closed"
        return (self.table().refused(text) + self.table("-r").went_well() +
                self.check(0 if why in SAYS or not why else 2, why) +
                self.same(g))

    def noaccess(self, f, g, text):
        return (self.table().refused("Extent can only be read (see "
                                     "--read-only): 2") +
                self.table("-r").went_well() + self.check(0) +
                self.no_copy(text))

    def walk(self, f, g, text):
        bad = self.table("-r").went_well() + self.check(2, text)
        if not g.read_only:
            bad += self.table().refused(text)
        if f.eio:
            # Of a record the reader names the sector, the walk the entry.
            return bad + self.no_copy(
                text.split(":")[0] if text.startswith("Compressed") else text)
        return bad + (self.same(g) if f.eio is not None else [])

    def read(self, f, g, text):
        own = text.startswith("Compressed")
        return (self.writable(g) + self.check(2 if own else 0,
                                              text if own else "") +
                self.no_copy(text))

    def found(self, f, g, text):
        return self.writable(g) + self.check(2, "ERROR " + text) + self.same(g)

    def leak(self, f, g, text):
        return self.writable(g) + self.check(3, text) + self.same(g)

    def huge(self, f, g, text):
        """Only that it ends; convert would take long to say it is empty."""
        if text:
            return self.table().refused(text) + self.check(2, text)
        return self.writable(g) + self.check(0)

    def fine(self, f, g, text):
        return self.writable(g) + self.check(0) + self.same(g)

    def judge(self, f, g, where):
        """What is wrong with how the tool takes the image, in words."""
        g.write(where)
        self.path = os.path.join(where, f.main or g.main)
        self.flags = f.args
        bad = getattr(self, f.show)(f, g, said(f.sentence, g, where))
        return bad + changed(g, where)


def goods():
    return {name: make() for name, make in GOOD.items()}


def damage(f, good):
    g = good[f.base].damaged()
    f.damage(g)
    return g


def all_faults(good):
    """The good ones are judged first: a fault is only told by them."""
    for name in good:
        yield Fault(name + ": good", name, nothing, "", "fine", None,
                    ("-f", "raw") if name == "raw" else (), None, None)
    for f in FAULTS:
        if f.show != "kernel":
            yield f


def do_run(vdisk, top):
    # For the tool, which inherits it; this program needs less.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    judge, good, n = Judge(vdisk, top), goods(), 0
    for f in all_faults(good):
        where = os.path.join(judge.top, "%03d" % n)
        try:
            bad = judge.judge(f, damage(f, good), where)
        except Exception as e:  # noqa: BLE001 - one fault's, not all of them
            bad = ["%s: %s" % (type(e).__name__, e)]
        n += 1
        tell(f, bad)
    print("end", n, sep="\t")


# ---------------------------------------------------------------------------
# Before the kernel.

def sectors_of(f, g):
    """EIO in sectors of the disk: units are more convenient in the table."""
    for first in f.eio or ():
        first, n = first if isinstance(first, tuple) else (first, 1)
        first, n = first * g.unit, n * g.unit
        yield first, min(n, g.sectors() - first)


def kernel_line(f, g, where):
    """Sentence and table line ("%s": rw or ro), or None if it is not for it."""
    text = KERNEL.get(f.name, f.sentence)
    if text is None or text == UNKNOWN or (f.show == "walk" and f.eio is None):
        return None
    path = os.path.join(where, g.main)
    if f.show == "kernel":
        mode, rest = f.line.split(" ", 1)
        line = "0 %s vdisk %s %s" % (rest.split(" ")[2], mode,
                                     rest.replace("%s", path))
    elif g.fmt and f.show in ("open", "write", "walk", "read", "found",
                              "fine", "leak"):
        n = g.sectors()
        line = "0 %d vdisk %%s 1 1 %d %s 1 %s" % (n, n, g.fmt, path)
    else:
        return None
    if text.startswith("Image was not closed"):
        text = "Image was not closed: check it first"
    return text, line


def phrase_of(text):
    """Where there is a value it comes last."""
    return re.sub(r": (sum |[<0-9]).*$", "", text)


class Mapper:
    """A device by device-mapper's own calls: hundreds of dmsetups take long."""
    CREATE, REMOVE, RESUME, LOAD, CLEAR = 3, 4, 6, 9, 10
    HEAD = struct.Struct("=6Ii3IQ128s136s")  # struct dm_ioctl
    READ_ONLY = 1
    QUIET = 0x4f << 16  # udev need not look at what is in it

    def __init__(self, name):
        self.control = os.open("/dev/mapper/control", os.O_RDWR)
        self.name = name.encode()
        dev = self.call(self.CREATE)
        self.node = "/dev/dm-%d" % (dev & 0xff | dev >> 12 & 0xfff00)

    def call(self, cmd, flags=0, data=b""):
        size = self.HEAD.size + len(data)
        buf = bytearray(self.HEAD.pack(
            4, 0, 0, size, self.HEAD.size, 1 if data else 0, 0, flags,
            self.QUIET if cmd in (self.REMOVE, self.RESUME) else 0, 0, 0,
            self.name, b"") + data)
        fcntl.ioctl(self.control, 3 << 30 | self.HEAD.size << 16 | 0xfd << 8 |
                    cmd, buf, True)
        return struct.unpack_from("=Q", buf, 40)[0]

    def load(self, line, mode=None):
        start, length, kind, args = line.split(" ", 3)
        args = os.fsencode(args) + b"\0"
        args += bytes(-len(args) % 8)
        self.call(self.LOAD, self.READ_ONLY
                  if (mode or os.fsdecode(args[:2])) == "ro" else 0,
                  struct.pack("=QQiI16s", int(start), int(length), 0,
                              40 + len(args), kind.encode()) + args)

    def remove(self):
        for _ in range(100):
            try:
                return self.call(self.REMOVE)
            except OSError as e:  # udev may still look
                if e.errno != errno.EBUSY:
                    raise
                time.sleep(0.1)


class Kernel:
    def __init__(self, dm):
        self.dm = Mapper(dm)
        self.log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        self.room = mmap.mmap(-1, 1 << 20)

    def said(self):
        """What the log says since the last time."""
        lines = []
        while True:
            try:
                record = os.read(self.log, 8192)
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                continue
            lines.append(record.decode("utf-8", "replace").partition(";")[2]
                         .partition("\n")[0])

    def refused(self, text, line, mode=None):
        """In two lines: device-mapper has the phrase, ours the value as well."""
        phrase = phrase_of(text)
        self.said()
        try:
            self.dm.load(line, mode)
        except OSError:
            log = self.said()
        else:
            self.dm.call(self.dm.CLEAR)
            return ["accepted: " + line]
        wanted = [": table: .*: vdisk: %s \\(-[E0-9]" % re.escape(phrase)]
        if phrase != text:
            # A sum of bytes is left open, as it is before the tool.
            wanted.append(": %s%s$" % (re.escape(text), "[0-9a-f]+"
                                       if text.endswith(" 0x") else ""))
        if any(sum(bool(re.search(w, x)) for x in log) != 1 for w in wanted):
            return ["wanted '%s', got %s" % (text, " | ".join(log))]
        return []

    def reads(self, line, content, ranges, phrase=""):
        self.said()
        try:
            self.dm.load(line)
            self.dm.call(self.dm.RESUME)
        except OSError as e:
            return [line, e.strerror] + self.said()
        bad = self.compare(content, sorted(ranges))
        log = [x for x in self.said() if line.split(" ")[-1] in x]
        if phrase and not all(phrase in x for x in log):
            bad.append("wanted '%s', got %s" % (phrase, " | ".join(log)))
        return bad

    def compare(self, want, ranges):
        """Direct, so that neither read-ahead nor pages widen an error."""
        fd = os.open(self.dm.node, os.O_RDONLY | os.O_DIRECT)
        at, bad = 0, []
        for first, n in ranges:
            bad += self.right(fd, want, at, first)
            # Each end of it, and whatever is in the middle.
            for sector in sorted({first, first + n // 2, first + n - 1}):
                got = self.get(fd, sector, 1)
                if got != errno.EIO:
                    bad.append("sector %d: no EIO" % sector)
            at = first + n
        bad += self.right(fd, want, at, len(want) // SECTOR)
        os.close(fd)
        return bad

    def get(self, fd, first, n):
        with memoryview(self.room)[:n * SECTOR] as to:
            try:
                return bytes(to[:os.preadv(fd, [to], first * SECTOR)])
            except OSError as e:
                return e.errno

    def right(self, fd, want, first, end):
        while first < end:
            n = min(2048, end - first)
            got = self.get(fd, first, n)
            if isinstance(got, int):
                return ["sectors %d to %d: %s" % (first, first + n - 1,
                                                  os.strerror(got))]
            if got != want[first * SECTOR:(first + n) * SECTOR]:
                return ["sectors %d to %d: wrong content" % (first,
                                                             first + n - 1)]
            first += n
        return []

    def judge(self, f, g, where):
        """What is wrong with how the kernel takes it, or None: not its own."""
        asked = kernel_line(f, g, where)
        if not asked:
            return None
        text, line = asked
        g.write(where)
        text = said(text, g, where)
        bad = []
        if f.show in ("open", "write", "kernel"):
            # What only forbids to write has no value to it in the kernel.
            bad += self.refused(phrase_of(text) if f.show == "write" else text,
                                line.replace("%s", "rw"))
        if f.show not in ("open", "kernel"):
            bad += self.reads(line.replace("%s", "ro"), g.content,
                              sectors_of(f, g), phrase_of(text)
                              if f.show == "walk" and f.eio else "")
        return bad + changed(g, where)


def do_kernel(top, dm):
    kernel, good, n = Kernel(dm), goods(), 0
    for f in [*all_faults(good), *(f for f in FAULTS if f.show == "kernel")]:
        where = os.path.join(os.path.abspath(top), "image")
        bad = kernel.judge(f, damage(f, good), where)
        shutil.rmtree(where, ignore_errors=True)
        if bad is not None:
            n += 1
            tell(f, bad)
    kernel.dm.remove()
    print("end", n, sep="\t")


def do_lines(dm):
    """Of standard input: WORDS, MODE of the device or -, LINE, by tabs."""
    kernel, n = Kernel(dm), 0
    for each in map(os.fsdecode, sys.stdin.buffer):
        n += 1
        words, mode, line = each.rstrip("\n").split("\t", 2)
        bad = kernel.refused(words, line, None if mode == "-" else mode)
        print("bad" if bad else "ok", "%s: %s" % (words, line[:100]),
              " / ".join(bad), sep="\t", flush=True)
    kernel.dm.remove()
    print("end", n, sep="\t")


def do_full(path):
    g = Good(path)
    make_vhd(g, path, 32 << 20, 2 << 20, (), 1)
    data = g.data()
    with open(path, "wb") as f:
        f.write(data[:-512])
        f.seek(1 << 41)
        f.write(data[-512:])


# ---------------------------------------------------------------------------
# Is every refusal drawn?

def literals(path):
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    text = re.sub(r"static_assert\(.*?\);", "", text, flags=re.S)
    return re.findall(r'"((?:[^"\\]|\\.)*)"', text)


def do_phrases(top):
    """A refusal is a text of several words that starts with a capital."""
    drawn = [f.sentence for f in FAULTS] + [s or "" for s in KERNEL.values()]
    with open(os.path.join(top, "selftests", "golden", "resize.sh"),
              encoding="utf-8") as f:
        drawn.append(f.read().replace("\\", ""))
    formats, unit = os.path.join(top, "formats"), os.path.join(
        top, "selftests", "unit")
    for name in sorted(os.listdir(unit)):
        if name.endswith((".c", ".h")):
            drawn += literals(os.path.join(unit, name))
    for name in sorted(os.listdir(formats)):
        if not name.endswith(".c"):
            continue
        for phrase in sorted(set(literals(os.path.join(formats, name)))):
            if re.match(r"[A-Z0-9].* ", phrase) and \
                    not any(phrase in d for d in drawn):
                print("%s: %s" % (name, phrase))


def do_list():
    for f in FAULTS:
        print(f.name, f.show, f.sentence, sep="\t")


if __name__ == "__main__":
    {"run": do_run, "kernel": do_kernel, "lines": do_lines, "full": do_full,
     "phrases": do_phrases, "list": do_list}[sys.argv[1]](*sys.argv[2:])
