#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The same flips before the verbs of the tool, as processes.

  tool.py VDISK EVERY <LINES of images.py

Descriptors are read by no format, so it is here that their bits count. Each verb
ends well, or with its status and one line; those that look change nothing; what is
put back is what it was. Prints KTAP.
"""
import os
import shutil
import subprocess
import sys


class Flip:
    def __init__(self, vdisk, words):
        self.vdisk = vdisk
        self.name, _, self.file, self.main = words[:4]
        self.ranges = [tuple(map(int, w.split(":"))) for w in words[5:]]
        self.top = os.path.dirname(self.main)
        self.wrong = []
        self.flips = 0
        with open(self.file, "rb") as f:
            self.sound = f.read()

    def run(self, verb, *args, codes=(0, 1)):
        """Its status; what is wrong with how it ended."""
        r = subprocess.run((self.vdisk, verb, *args), capture_output=True,
                           stdin=subprocess.DEVNULL, timeout=60)
        lines = r.stderr.decode("utf-8", "replace").splitlines()
        if r.returncode not in codes:
            self.bad("%s: status %d: %s" % (verb, r.returncode, lines))
        if r.returncode == 1 and (len(lines) != 1 or
                                  not lines[0].startswith("vdisk: ")):
            self.bad("%s: not one line: %s" % (verb, lines))
        return r.returncode

    def bad(self, what):
        self.wrong.append("%s: %s" % (self.at, what))

    def is_flipped(self, what):
        with open(self.file, "rb") as f:
            if f.read() != self.flipped:
                self.bad("%s changed the image" % what)

    def one(self, off, bit):
        self.at = "byte %d bit %d" % (off, bit)
        self.flips += 1
        data = bytearray(self.sound)
        data[off] ^= 1 << bit
        self.flipped = bytes(data)
        with open(self.file, "wb") as f:
            f.write(data)
        undo, out = self.top + "/undo", self.top + "/out.raw"
        for name in (undo, out):
            if os.path.exists(name):
                os.unlink(name)
        main = self.main
        self.run("probe", main)
        self.run("info", main)
        self.run("map", main)
        self.run("convert", main, out)
        self.run("check", main, codes=(0, 1, 2, 3))
        self.run("check", "--repair", "--dry-run", main, codes=(0, 1, 2, 3))
        self.is_flipped("a verb that looks")
        self.run("check", "--repair", "--undo-file", undo, main,
                 codes=(0, 1, 2, 3))
        if os.path.exists(undo):
            self.run("check", "--undo", undo, main, codes=(0,))
        self.is_flipped("a repair that was put back")

    def all(self, every):
        n = 0
        for off, length in self.ranges:
            for bit in range(8 * min(length, len(self.sound) - off)):
                n += 1
                if n % every == 0:
                    self.one(off + bit // 8, bit % 8)


def main(vdisk, every):
    print("TAP version 13")
    n = 0
    for line in sys.stdin:
        flip = Flip(vdisk, line.split())
        flip.all(int(every))
        n += 1
        print("%s %d %s: %d flips before the verbs" % (
            "not ok" if flip.wrong else "ok", n, flip.name, flip.flips))
        for what in flip.wrong[:5]:
            print("# " + what)
        with open(flip.file, "wb") as f:
            f.write(flip.sound)
        sys.stdout.flush()
    print("1..%d" % n)
    shutil.rmtree("verbs", ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
