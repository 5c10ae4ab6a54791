# SPDX-License-Identifier: GPL-2.0
"""Faults of QED."""
import struct

from .damage import *
from .images import *
from .table import *

group("qed", "open", (
    ("cluster size 0", q("cluster", 0),
     "QED cluster size is not a power of two: 0"),
    ("cluster size 4097", q("cluster", 4097),
     "QED cluster size is not a power of two: 4097"),
    ("cluster size 2048", q("cluster", 2048),
     "QED cluster size is not 4 KiB to 64 MiB: 2048"),
    ("cluster size 128 MiB", q("cluster", 1 << 27),
     "QED cluster size is not 4 KiB to 64 MiB: 134217728"),
    ("cluster size 2 GiB", q("cluster", 1 << 31),
     "QED cluster size is not 4 KiB to 64 MiB: 2147483648"),
    ("cluster size 64 MiB", q("cluster", 1 << 26),
     "QED header reaches past the file's end: 2"),
    ("table size 0", q("table", 0), "QED table size is not a power of two: 0"),
    ("table size 3", q("table", 3), "QED table size is not a power of two: 3"),
    ("table size 32", q("table", 32),
     "QED table size is more than 16 clusters: 32"),
    ("table size 2^31", q("table", 1 << 31),
     "QED table size is more than 16 clusters: 2147483648"),
    ("table size 16", q("table", 16),
     "L1 table reaches past the file's end: 8192"),
    ("header size 0", q("header", 0), "QED header size is zero: 0"),
    ("header size past the end", q("header", 1000),
     "QED header reaches past the file's end: 1000"),
    ("header size of 4 GiB", q("header", 1 << 20),
     "QED header size is 4 GiB or more: 1048576"),
    ("header size of all ones", q("header", 2**32 - 1),
     "QED header size is 4 GiB or more: 4294967295"),
    ("unknown feature", q("features", 8), "QED image has unknown features: 8"),
    ("unknown feature, the highest", q("features", 1 << 63),
     "QED image has unknown features: 9223372036854775808"),
    ("size 0", q("size", 0), "The disk is empty: 0"),
    ("size 513", q("size", 513), "QED size is not a multiple of 512: 513"),
    ("size over what two tables hold", q("size", (1 << 30) + 512),
     "QED size is more than its tables hold: 1073742336"),
    ("size near 2^64", q("size", 2**64 - 512),
     "QED size is more than its tables hold: 18446744073709551104"),
    ("L1 at 0", q("l1", 0), "L1 table lies in the header: 0"),
    ("L1 in the header", q("l1", 4096), "L1 table lies in the header: 4096"),
    ("L1 not aligned", q("l1", 8200), "L1 table is not cluster aligned: 8200"),
    ("L1 at the end", q("l1", "length"),
     "L1 table reaches past the file's end: <length>"),
    ("L1 near 2^64", q("l1", 2**64 - 4096),
     "L1 table reaches past the file's end: 18446744073709547520"),
    ("cut in the L1 table", cut(3 * 4096 - 1),
     "L1 table reaches past the file's end: 8192"),
    ("cut in the header", cut(4096),
     "QED header reaches past the file's end: 2"),
))
group("qed", "open", (
    ("magic", q("magic", b"QEE\0"), "No QED header found: 1363494144"),
    ("63 bytes", cut(63), "File is shorter than a QED header: 63"),
), args=("-f", "qed"))
group("qed", "write", (("not closed", q("features", 2), NOT_CLOSED),))
T0 = [(0, 512)]
group("qed", "walk", (
    ("L2 at 1", l1(0, 1), "L2 table is not cluster aligned: 1", T0),
    ("L2 not aligned", l1(0, plus("l2_0", 8)),
     "L2 table is not cluster aligned: <l2_0 + 8>", T0),
    ("L2 in the header", l1(2, 4096), "L2 table lies in the header: 4096",
     [(1024, 256)]),
    ("L2 is the L1 table", l1(0, 8192), "L2 table overlaps the L1 table: 8192",
     T0),
    ("L2 at the end", l1(0, "length"),
     "L2 table reaches past the file's end: <length>", T0),
    ("L2 near 2^64", l1(0, 2**64 - 4096),
     "L2 table reaches past the file's end: 18446744073709547520", T0),
    ("one L2 twice", l1(1, "l2_0"),
     "Two owners of the byte at offset <l2_0>"),
    ("cluster at 2", l2(0, 2), "Cluster is not cluster aligned: 2", [0]),
    ("cluster at 4095", l2(1, 4095), "Cluster is not cluster aligned: 4095",
     [1]),
    ("cluster not aligned", l2(2, plus("d2", 512)),
     "Cluster is not cluster aligned: <d2 + 512>", [2]),
    ("cluster in the header", l2(0, 4096), "Cluster lies in the header: 4096",
     [0]),
    ("cluster over L1", l2(0, 8192), "Cluster overlaps a table: 8192", [0]),
    ("cluster over its table", l2(0, "l2_0"),
     "Cluster overlaps a table: <l2_0>", [0]),
    ("cluster over another table", l2(0, "l2_2"),
     "Unit of sector 0 overlaps another at offset <l2_2>"),
    ("cluster at the end", l2(1027, "length"),
     "Cluster reaches past the file's end: <length>", [1027]),
    ("cluster near 2^64", l2(1, 2**64 - 4096),
     "Cluster reaches past the file's end: 18446744073709547520", [1]),
    ("two entries, one cluster", l2(7, "d1"),
     "Unit of sector 56 overlaps another at offset <d1>"),
    ("cut in the last cluster", cut(-1),
     "Cluster reaches past the file's end: <d1027>", [1027]),
))


def lost_cluster(g):
    l2(2, 1)(g)
    g.content = g.content[:8192] + bytes(4096) + g.content[12288:]


group("qed", "leak", (("a lost cluster", lost_cluster, "1 leaked clusters"),))
group("qed", "fine", (
    ("part of a cluster at the end", lambda g: g.data().extend(b"x" * 1000), ""),
    ("unknown compatible feature", q("compat", 1 << 60), ""),
    ("unknown autoclear feature", q("autoclear", 1), ""),
    ("an old backing name", also(qed_name("/etc/passwd")), ""),
))
group("qed-child", "open", (
    ("name of no bytes", q("name_len", 0),
     "Backing file name is not 1 to 1023 bytes: 0"),
    ("name of 1024 bytes", q("name_len", 1024),
     "Backing file name is not 1 to 1023 bytes: 1024"),
    ("name of 2^32 - 1 bytes", q("name_len", 2**32 - 1),
     "Backing file name is not 1 to 1023 bytes: 4294967295"),
    ("name over the fields", q("name_off", 63),
     "Backing file name is outside the header: 63"),
    ("name past the header", q("name_off", 8185),
     "Backing file name is outside the header: 8185"),
    ("name near 2^32", q("name_off", 2**32 - 4),
     "Backing file name is outside the header: 4294967292"),
))
group("qed-child", "chain", (
    ("no backing file", drop("base.qed"),
     "Parent: base.qed: No such file or directory"),
    ("backing file is the image", qed_name("child.qed"), TWICE),
    ("backing file is the image by a link", put("base.qed", Link("child.qed")),
     TWICE),
    ("an absolute name", qed_name("/etc/passwd"),
     "/etc/passwd is an absolute path (see --allow-path)"),
    ("a name that leads out", qed_name("../base.qed"),
     "../base.qed leads out of <dir> (see --allow-path)"),
    ("JSON for a name", qed_name('json:{"file":"x"}'),
     'json:{"file":"x"} is not the name of a file'),
    ("a host for a name", qed_name("nbd://x/y"),
     "nbd://x/y is not the name of a file"),
    ("a zero byte in the name", qed_name(b"base.qed\0x"),
     "Zero byte in the name at 8"),
    ("a name that moves the cursor", qed_name("\x1b[31m"),
     "\\x1b[31m: No such file or directory"),
    ("backing file is a FIFO", put("base.qed", Fifo()),
     "base.qed: Not a regular file"),
    ("backing file is a directory", put("base.qed", Dir()),
     "base.qed: Not a regular file"),
    ("backing file shows no format", put("base.qed", bytearray(8192)),
     "Parent: base.qed: Unknown format"),
    ("backing file's cluster size", q("cluster", 0, "base.qed"),
     "QED cluster size is not a power of two: 0"),
))
group("qed-child", "read", (
    ("cluster of the backing file in its header", poke(
        lambda g: g.at["base0"] + 16, "<Q", 3, "base.qed"),
     "Cluster is not cluster aligned: 3", [2]),
    ("L2 of the backing file in its header", poke(8200, "<Q", 4096, "base.qed"),
     "L2 table lies in the header: 4096", [(512, 256)]),
))


def layers(n, last):
    """Layers over base.qed; LAST: what the lowest names."""
    def damage(g):
        for i in range(n):
            d = bytearray(g.data())
            name = b"%d.qed" % (i + 1) if i + 1 < n else last
            d[64:64 + len(name)] = name
            struct.pack_into("<I", d, 60, len(name))
            g.files["%d.qed" % i] = d
        qed_name("0.qed")(g)
    return damage


group("qed-child", "chain", (
    ("65 layers", layers(63, b"base.qed"), "Parent: more than 64 layers"),
    ("a circle of 20", layers(20, b"3.qed"), TWICE),
))
group("qed-child", "fine", (
    ("64 layers", layers(62, b"base.qed"), ""),
))
group("qed-raw", "chain", (
    ("raw backing file not said to be raw", q("features", 1),
     "Parent: base.raw: Unknown format"),
    ("no backing file", drop("base.raw"),
     "Parent: base.raw: No such file or directory"),
    ("raw backing file is empty", put("base.raw", bytearray()),
     "Parent: base.raw: The disk is empty: 0"),
))


def looks_like_qed(g):
    """A guest may write any header into its raw disk."""
    head = qed().data()[:4096]
    g.data("base.raw")[:4096] = head
    g.content = bytes(head) + g.content[4096:]


group("qed-raw", "fine", (
    ("raw backing file that looks like another format", looks_like_qed, ""),
    ("backing file of an odd length", also(cut(-100, "base.raw"), lambda g:
                                           setattr(g, "content", g.content[
                                               :51100] + bytes(100) +
                                               g.content[51200:])), ""),
))
