#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One small sound image of each sub-format, and what of it is flipped.

  images.py DIR    make them in DIR; one line for each:
                   NAME FORMAT FILE MAIN SECTORS OFFSET:LENGTH...

FILE is the one whose bits are flipped, MAIN what a user would name, SECTORS what
a descriptor says of the file (0: nothing does). They are the images of the golden
ring, which are built from bytes known beforehand.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "golden"))
from fault.images import GOOD, SECTOR  # noqa: E402


def vhd(g):
    end = g.at["end"] * SECTOR
    return [(0, 512), (512, 1024), (1536, 512), (end, 512)]


def hosted(g, first=0):
    at = g.at
    return [(0, 512)] + ([(512, 1024)] if first else []) + [
        (at[name] * SECTOR, 512) for name in ("rgd", "rgt", "gd", "gt")]


def stream(g):
    return [(0, 512), (512, 512), (g.at["gt0"], 512), (g.at["gd"], 512),
            (g.at["tail"], 1536)]


def parallels(g):
    return [(0, 64 + 4 * g.at["entries"])]


ROWS = (  # name, image, format, file, said, ranges
    ("vhd-fixed", "vhd_fixed", "vhd", None, False,
     lambda g: [(65536, 512)]),
    ("vhd-dynamic", "vhd_dynamic", "vhd", None, False, vhd),
    ("vhd-diff", "vhd_diff", "vhd", None, False, vhd),
    ("vmdk-sparse", "vmdk_sparse", "vmdk", None, True,
     lambda g: hosted(g, 1)),
    ("vmdk-zeroed", "vmdk_zeroed", "vmdk", None, True,
     lambda g: hosted(g, 1)),
    ("vmdk-split", "vmdk_split", "vmdk", "disk-s002.vmdk", True, hosted),
    ("vmdk-stream", "vmdk_stream", "vmdk", None, True, stream),
    ("cowd", "vmdk_esx", "cowd", "disk-delta.vmdk", True,
     lambda g: [(0, 2048), (2048, 512), (2560, 512)]),
    ("sesparse", "vmdk_sesparse", "sesparse", "disk-sesparse.vmdk", True,
     lambda g: [(0, 512), (512, 512), (4096, 512), (80 * 512, 512)]),
    ("parallels-v1", "parallels_v1", "parallels", None, False, parallels),
    ("parallels-v2", "parallels_v2", "parallels", None, False, parallels),
    ("parallels-ext", "parallels_ext", "parallels", None, False,
     lambda g: parallels(g) + [(g.at["ext"], 512)]),
    ("qed", "qed", "qed", None, False,
     lambda g: [(0, 64), (8192, 512), (g.at["l2_0"], 512)]),
    ("qed-child", "qed_child", "qed", None, False,
     lambda g: [(0, 128), (8192, 512), (g.at["l2_0"], 512)]),
)
SAID = {"vmdk-split": 800, "cowd": 5096, "sesparse": 34816,
        "vmdk-stream": 9216}


def main(top):
    made = {make.__name__: make for make in GOOD.values()}
    for name, image, fmt, file, said, ranges in ROWS:
        g = made[image]()
        where = os.path.join(top, name)
        g.write(where)
        print(name, fmt, os.path.join(where, file or g.main),
              os.path.join(where, g.main),
              SAID.get(name, g.at.get("sectors", 0)) if said else 0,
              *("%d:%d" % r for r in ranges(g)))


if __name__ == "__main__":
    main(*sys.argv[1:])
