#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""why.py TOOL IMAGE EXPECTED: does `vdisk why` tell the truth?

Asks for sectors of the image and looks up what is said: the entries' values in
the files, and the bytes that lie where they are said to, in EXPECTED.
"""
import json
import os
import random
import subprocess
import sys

SECTOR = 512
ASK = 24
GRAIN = ["grain directory entry", "grain table entry"]
NAMES = {
    "vhd": ["BAT entry", "bitmap"], "qed": ["L1 entry", "L2 entry"],
    "vmdk": GRAIN, "cowd": GRAIN, "sesparse": GRAIN, "parallels": ["BAT entry"],
}


def part(path, off, length):
    with open(path, "rb") as f:
        f.seek(off)
        return f.read(length).ljust(length, b"\0")


def look(layer, last, want, sector):
    for e in layer["entries"]:
        raw = part(layer["filename"], e["offset"], e["length"])
        order = "big" if layer["format"] == "vhd" else "little"
        assert e["value"] == int.from_bytes(raw, order), e
    told = [e["what"] for e in layer["entries"]]
    assert told == NAMES.get(layer["format"], [])[:len(told)], layer
    assert layer["sectors"] > 0, layer
    if not last:
        assert layer["kind"] == "parent", layer
        return
    length = min(layer["sectors"] * SECTOR, len(want) - sector * SECTOR)
    want = want[sector * SECTOR:sector * SECTOR + length]
    if layer["kind"] == "data":
        assert part(layer["filename"], layer["offset"], length) == want, layer
    elif layer["kind"] in ("zero", "parent"):
        assert not want.strip(b"\0"), layer
    else:
        assert layer["kind"] == "compressed", layer
        assert layer["offset"] + 2 < os.path.getsize(layer["filename"]), layer


def ask(tool, image, want, sector):
    told = json.loads(subprocess.check_output([tool, "why", "--json", image, str(sector)]))
    assert told["sector"] == sector, told
    for i, layer in enumerate(told["layers"]):
        assert layer["depth"] == i, told
        if "format" in layer:
            look(layer, i + 1 == len(told["layers"]), want, sector)
    text = subprocess.check_output([tool, "why", image, str(sector)]).decode()
    assert ("\n" + text).count("\nlayer ") == len(told["layers"]), text


def main():
    tool, image, expected = sys.argv[1:]
    with open(expected, "rb") as f:
        want = f.read()
    last = len(want) // SECTOR - 1
    rnd = random.Random(image.rsplit("/", 1)[-1])
    for sector in [0, 1, last] + [rnd.randint(0, last) for _ in range(ASK)]:
        ask(tool, image, want, sector)


main()
