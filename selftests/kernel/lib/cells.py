#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The nesting matrix: which cells there are, and what they found.

  cells.py check FILE        every legal pair of values is in some cell of FILE, and
                             the five of make check hold every value
  cells.py make SEED         print such a FILE, made anew
  cells.py list FILE [five|rest N OF|all|CELL,CELL...]
                             the cells of a run, one a line; rest N OF: part N of OF
                             equal parts of those that are not among the five
  cells.py results DIR...    a table for Documentation/testing.rst of what the runs
                             with --results DIR found, for each kernel

A cell is a line: its name, "five" or "rest", and a value of each factor.
"""
import itertools
import os
import random
import re
import sys

FACTORS = {
    "upper": ("ext4", "xfs", "btrfs"),
    "lower": ("ext4", "xfs", "btrfs", "device"),
    "file": ("written", "sparse", "fallocated", "fragmented", "reflinked", "snapshotted"),
    "format": ("raw", "vhd", "vmdk", "qed"),
    "mode": ("direct", "buffered"),
    "full": ("error", "queue"),
}
NAMES = list(FACTORS)
LOWER, FILE = NAMES.index("lower"), NAMES.index("file")
# Two ways to share a file's bytes, of which one is enough for the five.
SHARED = {"reflinked", "snapshotted"}
CAN_SHARE = {"reflinked": {"xfs", "btrfs"}, "snapshotted": {"btrfs"}}
ON_DEVICE = {"written", "sparse"}


def legal(cell):
    """The file system below can share bytes; a device has no file."""
    lower, file = cell[LOWER], cell[FILE]
    if lower == "device" and file not in ON_DEVICE:
        return False
    return lower in CAN_SHARE.get(file, {lower})


def all_cells():
    return [c for c in itertools.product(*FACTORS.values()) if legal(c)]


def pairs(cell):
    return set(itertools.combinations(enumerate(cell), 2))


def values(cells):
    return {(i, "shared" if v in SHARED else v) for c in cells for i, v in enumerate(c)}


def every_pair():
    return set().union(*map(pairs, all_cells()))


def make(rnd):
    """The five first, then what adds most: greedy, the best of many tries."""
    everything, cells = values(all_cells()), all_cells()
    best = None
    for _ in range(60):
        five = []
        while len(five) < 5:
            missing = everything - values(five)
            seen = set().union(*map(pairs, five)) if five else set()
            five.append(max(rnd.sample(cells, len(cells)), key=lambda c: (
                len(values([c]) & missing), len(pairs(c) - seen))))
        if values(five) != everything:
            continue
        table, missing = list(five), every_pair() - set().union(*map(pairs, five))
        while missing:
            table.append(max(rnd.sample(cells, len(cells)),
                             key=lambda c: len(pairs(c) & missing)))
            missing -= pairs(table[-1])
        if best is None or len(table) < len(best):
            best = table
    for n, cell in enumerate(best):
        print("c%02d %s %s" % (n + 1, "five" if n < 5 else "rest", " ".join(cell)))


def load(path):
    with open(path, encoding="ascii") as f:
        words = [line.split() for line in f if not line.startswith("#")]
    return [(w[0], w[1], tuple(w[2:])) for w in words]


def check(path):
    """What is wrong with the table, a line each; nothing if it is whole."""
    table, known = load(path), set(all_cells())
    wrong = ["%s: not a cell: %s" % (name, " ".join(cell))
             for name, _, cell in table if cell not in known]
    names = [name for name, _, _ in table]
    wrong += ["%s: twice" % n for n in sorted(set(names)) if names.count(n) > 1]
    have = set().union(*(pairs(c) for _, _, c in table))
    for (a, x), (b, y) in sorted(every_pair() - have):
        wrong.append("no cell has %s %s with %s %s" % (NAMES[a], x, NAMES[b], y))
    five = [cell for _, kind, cell in table if kind == "five"]
    if len(five) != 5:
        wrong.append("%d cells are of the five" % len(five))
    for i, v in sorted(values(known) - values(five)):
        wrong.append("none of the five has %s %s" % (NAMES[i], v))
    return wrong


def chosen(table, words):
    if words == ["five"]:
        return [c for c in table if c[1] == "five"]
    if words[:1] == ["rest"]:
        part, of = int(words[1]), int(words[2])
        return [c for c in table if c[1] == "rest"][part - 1::of]
    if words in ([], ["all"]):
        return table
    wish = words[0].split(",")
    missing = set(wish) - {c[0] for c in table}
    if missing:
        sys.exit("no such cell: %s" % " ".join(sorted(missing)))
    return [c for c in table if c[0] in wish]


# ---------------------------------------------------------------------------
# Results. The programs say "# cell NAME: ..." before the points of a cell, each of
# which begins with the name; a guest that died has left a point too few.

POINT = re.compile(r"(not )?ok \d+ (\S+): (.*)")


class Outcome:
    def __init__(self, title):
        self.title = title
        self.failed = []
        self.skipped = []
        self.ended = False

    def __str__(self):
        if self.failed:
            return "fails: " + self.failed[0]
        if not self.ended:
            return "the guest died"
        return "passes" + (", without: " + "; ".join(self.skipped) if self.skipped else "")


def read_log(path, outcomes):
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith("# cell "):
                name, title = line[7:].rstrip().split(": ", 1)
                outcomes[name] = Outcome(title)
            elif line.startswith("# end of cell "):
                outcomes[line.split()[-1]].ended = True
            m = POINT.match(line)
            if not m or m[2] not in outcomes:
                continue
            what, _, skip = m[3].rstrip().partition(" # SKIP ")
            if m[1]:
                outcomes[m[2]].failed.append(what)
            elif skip:
                outcomes[m[2]].skipped.append(skip)


def results(dirs):
    """Runs of the same kernel add up: the last that had a cell counts."""
    kernels = {}
    for top in dirs:
        for where, _, files in sorted(os.walk(top)):
            if "booted" not in files:
                continue
            with open(os.path.join(where, "booted"), encoding="ascii") as f:
                kernel = f.read().split()[1]
            for name in sorted(files):
                if re.fullmatch(r"\d+\.log", name):
                    read_log(os.path.join(where, name), kernels.setdefault(kernel, {}))
    names = sorted(set().union(*kernels.values()))
    rows = [["cell", "what"] + sorted(kernels)]
    for name in names:
        found = [kernels[k].get(name) for k in sorted(kernels)]
        title = next(o.title for o in found if o)
        rows.append([name, title] + [str(o) if o else "not run" for o in found])
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    rule = "  ".join("=" * w for w in widths)
    for n, row in enumerate(rows):
        if n < 2:
            print(rule)
        print("  ".join(w.ljust(n) for w, n in zip(row, widths)).rstrip())
    print(rule)


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    if verb == "check":
        wrong = check(args[0])
        print(*wrong, sep="\n", end="\n" if wrong else "")
        sys.exit(bool(wrong))
    elif verb == "make":
        make(random.Random(int(args[0])))
    elif verb == "list":
        for name, _, cell in chosen(load(args[0]), args[1:]):
            print(name, *cell)
    elif verb == "results":
        results(args)
    else:
        sys.exit(__doc__)


main()
