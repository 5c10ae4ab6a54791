#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# scale.py FORMAT FILE: make an image as large as the format's limit or the
# goal, full as far as its tables say, in a sparse file. qemu-img writes the
# headers; the tables are filled here. A table that has hundreds of MiB is
# filled in a part of its pages: a page that is a hole is read all the same.
import array
import os
import struct
import subprocess
import sys

SIZES = {"vhd": "2040G", "parallels": "2T", "vmdk": "2T", "qed": "16T"}


def table(code, values, big_endian=False):
    entries = array.array(code, values)
    if big_endian != (sys.byteorder == "big"):
        entries.byteswap()
    return entries.tobytes()


def at(f, off, fmt):
    f.seek(off)
    return struct.unpack(fmt, f.read(struct.calcsize(fmt)))


def put(f, off, data):
    f.seek(off)
    f.write(data)


def vhd(f):
    """Blocks of a bitmap sector and 2 MiB, in order. The footer moves: left
    behind, it would be the first block's bitmap."""
    f.seek(0)
    footer = f.read(512)
    (bat_off,) = at(f, 512 + 16, ">Q")
    (entries,) = at(f, 512 + 28, ">I")
    first = (bat_off + entries * 4 + 511) // 512
    put(f, bat_off, table("I", range(first, first + entries * 4097, 4097), True))
    put(f, first * 512, bytes(512))
    put(f, (first + entries * 4097) * 512, footer)


def parallels(f):
    """Entries count clusters from the file's start."""
    (cluster_sec, entries) = at(f, 28, "<II")
    (data_sec,) = at(f, 48, "<I")
    first = -(-data_sec // cluster_sec)
    put(f, 64, table("I", range(first, first + entries)))
    f.truncate((first + entries) * cluster_sec * 512)


def vmdk(f):
    """One table in 64, both copies, as far as 32 bits count sectors."""
    (capacity,) = at(f, 12, "<Q")
    (rgd, gd, overhead) = at(f, 48, "<QQQ")
    tables = -(-capacity // (128 * 512))
    most = (1 << 32) - 128
    for directory in (rgd, gd):
        entries = at(f, directory * 512, "<%dI" % tables)
        for i in range(0, tables, 64):
            start = overhead + i * 512 * 128
            if start + 512 * 128 > most:
                break
            put(f, entries[i] * 512, table("I", range(start, start + 512 * 128, 128)))
    f.truncate((most + 128) * 512)


def qed(f):
    """Every first-level entry; of each second-level table the first page."""
    (cluster, pages) = at(f, 4, "<II")
    (l1,) = at(f, 40, "<Q")
    (size,) = at(f, 48, "<Q")
    table_len = cluster * pages
    per_table = table_len // 8
    tables = size // (cluster * per_table)
    first = l1 + table_len
    data = first + tables * table_len
    # At once: a file that grows write by write is given room for more, each time.
    f.truncate(data + size)
    put(f, l1, table("Q", range(first, data, table_len)))
    for i in range(tables):
        start = data + i * per_table * cluster
        put(f, first + i * table_len, table("Q", range(start, start + 512 * cluster, cluster)))


def main():
    name, path = sys.argv[1:]
    qemu = "vpc" if name == "vhd" else name
    # QEMU's hint would have XFS allocate a MiB where a page is written.
    subprocess.run(["qemu-img", "create", "-q", "-f", qemu, "-o", "extent_size_hint=0",
                    path, SIZES[name]], check=True)
    with open(path, "r+b", buffering=0) as f:
        {"vhd": vhd, "parallels": parallels, "vmdk": vmdk, "qed": qed}[name](f)
        os.fsync(f.fileno())


main()
