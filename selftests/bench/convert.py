#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""convert.py [ROW...]: what vdisk convert costs, beside qemu-img convert.

Each row is a conversion of real files, done by both in turn, several times. Told are
the median of the ratios of a pair for user and system time, which a busy machine
changes alike; and the ratio of the shortest wall times, since on such a machine any
longer one is somebody else's. Files are in memory: vdisk flushes what it has made,
and qemu-img does not. The goals are at the end of each row;
the exit status tells whether all are met.

	BENCH_PAIRS=5   pairs of a row
	BENCH_MIB=96    megabytes of each input
	BENCH_DIR=/dev/shm  where they are
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VDISK = os.environ.get("VDISK", os.path.join(HERE, "../../userspace/vdisk"))
PAIRS = int(os.environ.get("BENCH_PAIRS", "5"))
DIRECTORY = os.environ.get("BENCH_DIR", "/dev/shm")
MIB = int(os.environ.get("BENCH_MIB", "96"))

# What the input is, then formats as qemu-img calls them; "stream" is a VMDK of the
# sub-format streamOptimized. The goals: time of the processor, and of the wall.
ROWS = [(what, "raw", "stream", 0.9) for what in ("text", "system", "zeroes", "random")]
ROWS += [("system", "raw", to, 0.75) for to in ("vpc", "vmdk", "parallels", "qed")]
ROWS += [("system", of, "raw", 0.75) for of in ("vpc", "vmdk", "parallels", "qed")]
# Nearly all of it is zlib's inflate(), which both call.
ROWS += [("system", "stream", "raw", 1.0)]
ROWS += [("zeroes", of, "raw", 0.75) for of in ("raw", "vpc", "qed")]


def files_of(what):
    tops = {"text": ("/usr/share/doc", "/usr/include", "/usr/share/perl"),
            "system": ("/usr/bin", "/usr/sbin", "/usr/lib")}[what]
    for top in tops:
        for where, dirs, names in os.walk(top):
            dirs.sort()
            for name in sorted(names):
                path = os.path.join(where, name)
                if os.path.isfile(path) and not os.path.islink(path) and \
                   not name.endswith((".gz", ".xz", ".zst")):
                    yield path


def fill(path, what):
    left = MIB << 20
    with open(path, "wb") as f:
        if what == "zeroes":		# written, and a hole as long
            f.write(bytes(left))
            f.truncate(2 * left)
            return
        if what == "random":
            f.write(os.urandom(left))
            return
        for source in files_of(what):
            with open(source, "rb") as s:
                data = s.read(left)
            f.write(data)
            left -= len(data)
            if not left:
                return
        f.truncate(MIB << 20)


def image_of(name):
    return "vmdk" if name == "stream" else name


def arguments(of, to, source, target):
    args = ["convert", "-f", image_of(of), "-O", image_of(to)]
    if to == "stream":
        args += ["-o", "subformat=streamOptimized"]
    return args + [source, target]


def cost(command, target):
    """Processor time and wall time of a command that makes @target."""
    if os.path.exists(target):
        os.unlink(target)
    begin = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit("failed: " + " ".join(command))
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begin


def measure(directory, what, of, to):
    raw = os.path.join(directory, what + ".raw")
    if not os.path.exists(raw):
        fill(raw, what)
    source = raw
    if of != "raw":
        source = os.path.join(directory, what + "." + of)
        if not os.path.exists(source):
            subprocess.run(["qemu-img"] + arguments("raw", of, raw, source), check=True)
    target = os.path.join(directory, "target")
    processor, walls = [], []
    for _ in range(PAIRS):
        ours = cost([VDISK] + arguments(of, to, source, target), target)
        length = os.path.getsize(target)
        its = cost(["qemu-img"] + arguments(of, to, source, target), target)
        processor.append(ours[0] / max(its[0], 0.001))
        walls.append((ours[1], its[1]))
    same = length / os.path.getsize(target)
    wall = min(w[0] for w in walls) / min(w[1] for w in walls)
    return statistics.median(processor), wall, same


def main():
    met = True
    print("%-28s %9s %9s %9s %6s" % ("row, beside qemu-img", "user+sys", "wall", "length", "goal"))
    with tempfile.TemporaryDirectory(dir=DIRECTORY) as directory:
        for what, of, to, goal in ROWS:
            name = "%s-%s-%s" % (what, of, to)
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            processor, wall, length = measure(directory, what, of, to)
            good = processor <= goal and wall <= goal
            met = met and good
            print("%-28s %8.2fx %8.2fx %8.2fx %6.2f%s" % (name, processor, wall, length, goal,
                                                         "" if good else "  MISSED"), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
