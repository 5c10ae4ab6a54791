# SPDX-License-Identifier: GPL-2.0
"""Faults of raw files, long tables, and table lines only the kernel is given."""
import struct

from .damage import *
from .images import *
from .table import *

group("raw", "open", (
    ("empty", cut(0), "The disk is empty: 0"),
), args=("-f", "raw"))
group("raw", "write", (
    ("odd length", also(cut(-100), lambda g: setattr(
        g, "content", g.content[:-100] + bytes(100))),
     "File length is not a multiple of 512: <main_len>"),
), args=("-f", "raw"))


# Tables a sparse file has room for: looking at them must not take memory.
fault("parallels-v2: BAT of 2^26 entries", "parallels-v2", also(
    lambda g: g.files.__setitem__(g.main, g.data()[:16 * SECTOR]),
    p("entries", 1 << 26), p("data_off", (1 << 19) + 16), poke(
        64, "160s", b""), long((1 << 28) + 8192),
    lambda g: setattr(g, "content", bytes(len(g.content)))), "", "fine")
fault("vmdk-sparse: directory of 2^24 entries", "vmdk-sparse", also(
    lambda g: g.data().__delitem__(slice(1536, None)), k("flags", 1),
    k("capacity", 1 << 36), k("overhead", (1 << 17) + 8), k("gd", 8),
    long((1 << 26) + 4096),
    lambda g: setattr(g, "content", bytes(len(g.content)))), "", "huge")
fault("qed: tables of 1 GiB", "qed", also(
    lambda g: g.data().__delitem__(slice(4096, None)), q("cluster", 64 << 20),
    q("table", 16), q("header", 1), q("l1", 64 << 20), q("size", 1 << 50),
    long(17 << 26)), "", "huge")
fault("qed: 2^20 wrong entries", "qed", also(
    lambda g: g.data().__delitem__(slice(4096, None)), q("cluster", 1 << 20),
    q("table", 8), q("header", 1), q("l1", 1 << 20),
    q("size", 1 << 60), lambda g: place(g.data(), 1 << 20, struct.pack(
        "<Q", 3) * (1 << 20))), "L2 table is not cluster aligned: 3", "huge")

# Lines that `vdisk table` never prints.
for name, base, line, sentence in (
    ("a hole to be written", "raw", "rw 1 1 8 zero 0",
     "Extent has no file to write to"),
    ("raw: file shorter than the line", "raw", "ro 1 1 65 raw 1 %s",
     "File is too short for the extent"),
    ("raw: offset past the end", "raw", "ro 1 1 1 raw 2 %s offset=65",
     "Offset is past the end of the file"),
    ("raw: offset near 2^63", "raw",
     "ro 1 1 1 raw 2 %s offset=18014398509481983",
     "Offset is past the end of the file"),
    ("vhd: smaller than the line", "vhd-dynamic", "ro 1 1 2046 vhd 1 %s",
     "Image is smaller than the extent"),
    ("vhd fixed: smaller than the line", "vhd-fixed", "ro 1 1 129 vhd 1 %s",
     "Image is smaller than the extent"),
    ("vmdk: smaller than the line", "vmdk-sparse", "ro 1 1 6142 vmdk 1 %s",
     "Image is smaller than the extent"),
    ("cowd: smaller than the line", "cowd", "ro 1 1 5097 cowd 1 %s",
     "Image is smaller than the extent"),
    ("sesparse: smaller than the line", "sesparse",
     "ro 1 1 34817 sesparse 1 %s", "Image is smaller than the extent"),
    ("parallels: of another size", "parallels-v2", "ro 1 1 600 parallels 1 %s",
     "Size differs from the descriptor's"),
    ("qed: of another size", "qed", "ro 1 1 8 qed 1 %s",
     "QED size differs from what was said"),
    ("vhd: a child alone", "vhd-diff", "ro 1 1 2048 vhd 1 %s",
     "Image needs its parent as a layer below"),
    ("qed: a child alone", "qed-child", "ro 1 1 8192 qed 1 %s",
     "Image needs its parent as a layer below"),
    ("another format is named: vhd", "qed", "ro 1 1 8 vhd 1 %s",
     "No VHD footer found"),
    ("another format is named: vmdk", "qed", "ro 1 1 8 vmdk 1 %s",
     "VMDK header not found"),
    ("another format is named: cowd", "qed", "ro 1 1 8 cowd 1 %s",
     "COWD header not found"),
    ("another format is named: sesparse", "qed", "ro 1 1 8 sesparse 1 %s",
     "No seSparse header found"),
    ("another format is named: parallels", "qed", "ro 1 1 8 parallels 1 %s",
     "No Parallels header found"),
    ("another format is named: qed", "cowd", "ro 1 1 8 qed 1 %s",
     "No QED header found"),
):
    fault("line: " + name, base, nothing, sentence, "kernel", line=line)

# What the kernel says where the tool looked at more than one file, or at less.
KERNEL = {
    "vmdk-sparse: capacity 0": "Extents are in the embedded descriptor: 1",
    "vmdk-sparse: descriptor of 2^53 sectors": "Descriptor is outside the file",
    "vmdk-sparse: descriptor is no text": None,
    # It is told the format, and looks for no other.
    "vhd-fixed: a dynamic header forged by the guest": None,
    "raw: empty": "File is too short for the extent",
}
