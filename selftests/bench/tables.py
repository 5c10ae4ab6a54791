#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the tool takes to look through long tables, on this very machine.

  tables.py VDISK DIR [CLUSTERS]

QED images of CLUSTERS clusters of 4 KiB (3 million) that lie in random order: the
processor time of `vdisk check` beside that of `qemu-img check`, in pairs one right
after the other, the median of their ratios; and of `vdisk resize --shrink` for an
eighth, a quarter, half and all of 4 million: per cluster it has to stay the same.
"""
import os
import random
import resource
import statistics
import struct
import subprocess
import sys

CLUSTER, TABLE = 4096, 16 * 4096
PER_TABLE = TABLE // 8
PAIRS = 7


def make(path, n):
    """Header, L1, the L2 tables, then the clusters, which are holes."""
    tables = -(-n // PER_TABLE)
    first = CLUSTER + TABLE
    data = first + tables * TABLE
    order = list(range(n))
    random.Random(1).shuffle(order)
    with open(path, "wb") as f:
        f.write(struct.pack("<4sIIIQQQQQII", b"QED\0", CLUSTER, 16, 1, 0, 0, 0,
                            CLUSTER, n * CLUSTER, 0, 0))
        f.seek(CLUSTER)
        f.write(struct.pack("<%dQ" % tables,
                            *(first + i * TABLE for i in range(tables))))
        f.seek(first)
        f.write(struct.pack("<%dQ" % n, *(data + i * CLUSTER for i in order)))
        f.truncate(data + n * CLUSTER)


def cpu(*args):
    """Seconds of processor time of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(args, check=False, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime +
            after.ru_stime - before.ru_stime)


def main(vdisk, top, clusters="3000000"):
    path = os.path.join(top, "tables.qed")
    n = int(clusters)
    make(path, n)
    pairs = [(cpu(vdisk, "check", path), cpu("qemu-img", "check", path))
             for _ in range(PAIRS)]
    print("check of %d clusters of 4 KiB: vdisk %.3f s, qemu-img %.3f s, "
          "ratio %.2f" % (n, statistics.median(p[0] for p in pairs),
                          statistics.median(p[1] for p in pairs),
                          statistics.median(a / max(b, 0.001)
                                            for a, b in pairs)))
    for part in (8, 4, 2, 1):
        m = n * 4 // 3 // part
        make(path, m)
        used = cpu(vdisk, "resize", "--shrink", path, "1M")
        print("resize --shrink of %d clusters: %.2f s, %.0f ns each" % (
            m, used, used / m * 1e9))
    os.unlink(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
