# SPDX-License-Identifier: GPL-2.0
"""Faults of the sparse extents of ESX: COWD and seSparse."""
from .damage import *
from .images import *
from .table import *

COWD = {"magic": (0, "4s"), "version": (4, "I"), "capacity": (12, "I"),
        "grain": (16, "I"), "gd": (20, "I"), "gdes": (24, "I"),
        "unclean": (1648, "I")}


def c(key, value, name=None):
    return field(COWD, "<", key, value, 0, name)


group("cowd", "open", (
    ("version 0", c("version", 0), "Unknown COWD version: 0"),
    ("version 2", c("version", 2), "Unknown COWD version: 2"),
    ("grain size 0", c("grain", 0),
     "COWD grain size is not a power of two: 0"),
    ("grain size 3", c("grain", 3),
     "COWD grain size is not a power of two: 3"),
    ("grain size 4096", c("grain", 4096), "COWD grain size is over 1 MiB: 4096"),
    ("grain size 2^31", c("grain", 1 << 31),
     "COWD grain size is over 1 MiB: 2147483648"),
    ("capacity 0", c("capacity", 0), "The disk is empty: 0"),
    ("capacity of 2^32 - 1", c("capacity", 2**32 - 1),
     "COWD directory is too short for the disk: 2"),
    ("directory of no entries", c("gdes", 0),
     "COWD directory is too short for the disk: 0"),
    ("directory of one entry", c("gdes", 1),
     "COWD directory is too short for the disk: 1"),
    ("directory of 2^32 - 1 entries", c("gdes", 2**32 - 1),
     "COWD directory is outside the file: 4"),
    ("directory at 0", c("gd", 0), "COWD directory lies in the header: 0"),
    ("directory at 3", c("gd", 3), "COWD directory lies in the header: 3"),
    ("directory at the end", c("gd", "end"),
     "COWD directory is outside the file: <end>"),
    ("directory at 2^32 - 1", c("gd", 2**32 - 1),
     "COWD directory is outside the file: 4294967295"),
    ("cut in the header", cut(2047), "File is shorter than a COWD header: 2047"),
    ("cut before the directory", cut(2048),
     "COWD directory is outside the file: 4"),
))
group("cowd", "open", (
    ("magic", c("magic", b"COWE"), "COWD header not found: 1163349827"),
), args=("-f", "cowd"))
group("cowd", "write", (("not closed", c("unclean", 1), NOT_CLOSED),))
group("cowd", "walk", (
    ("table at 1", poke(2048, "<I", 1), "Grain table lies in the metadata: 1",
     [(0, 4096)]),
    ("table at the directory", poke(2052, "<I", 4),
     "Grain table lies in the metadata: 4", [(4096, 1000)]),
    ("table at the end", poke(2052, "<I", "end"),
     "Grain table ends past the file: <end>", [(4096, 1000)]),
    ("table at 2^32 - 1", poke(2048, "<I", 2**32 - 1),
     "Grain table ends past the file: 4294967295", [(0, 4096)]),
    ("one table twice", poke(2052, "<I", 5),
     "Two owners of the byte at offset 2560"),
    ("grain in the header", poke(2560 + 40, "<I", 3),
     "Grain lies in the metadata: 3", [10]),
    ("grain at the end", poke(2560, "<I", "end"),
     "Grain ends past the file: <end>", [0]),
    ("grain at 2^32 - 1", poke(37 * 512 + 20, "<I", 2**32 - 1),
     "Grain ends past the file: 4294967295", [4101]),
    ("grain in a table", poke(2560 + 40, "<I", 37),
     "Unit of sector 10 overlaps another at offset 18944"),
    ("two entries, one grain", poke(2560 + 44, "<I", "g10"),
     "Unit of sector 11 overlaps another at offset <g10 * 512>"),
    ("cut in the last grain", cut(-512), "Grain ends past the file: <g5095>",
     [5095]),
))
group("vmdk-esx", "chain", (
    ("extent smaller than its line", swap("RW 5096", "RW 5097"),
     "disk-delta.vmdk: Image is smaller than the extent: 5096"),
    ("hosted extent said to be of ESX", lambda g: make_hosted(
        g, "disk-delta.vmdk", 6000, (0,)) and None,
     "disk-delta.vmdk: COWD header not found: 1447904331"),
))
group("vmdk-esx", "walk", (
    ("grain in the header", poke(2560 + 40, "<I", 3, "disk-delta.vmdk"),
     "Grain lies in the metadata: 3", [10]),
))

SE = {"magic": (0, "Q"), "version": (8, "Q"), "capacity": (16, "Q"),
      "grain": (24, "Q"), "table": (32, "Q"), "flags": (40, "Q"),
      "r0": (48, "Q"), "r3": (72, "Q")}


def s(key, value):
    return field(SE, "<", key, value)


group("sesparse", "open", (
    ("version", s("version", 0x200000002),
     "Unknown seSparse version: 8589934594"),
    ("grain size 16", s("grain", 16),
     "Size of seSparse grains is not 8 sectors: 16"),
    ("grain size 0", s("grain", 0),
     "Size of seSparse grains is not 8 sectors: 0"),
    ("table size 0", s("table", 0),
     "Size of seSparse tables is not 64 sectors: 0"),
    ("table size 128", s("table", 128),
     "Size of seSparse tables is not 64 sectors: 128"),
    ("flags", s("flags", 1), "Unknown seSparse flags: 1"),
    ("first reserved field", s("r0", 2), "Unknown seSparse feature: 2"),
    ("last reserved field", s("r3", 1 << 63),
     "Unknown seSparse feature: 9223372036854775808"),
    ("capacity 0", s("capacity", 0), "The disk is empty: 0"),
    ("capacity of all ones", s("capacity", ONES),
     "The seSparse directory is too short: 64"),
    ("capacity over the directory", s("capacity", (64 * 4096 * 8) + 1),
     "The seSparse directory is too short: 64"),
    *(("area of %s past the end" % area.replace("_", " "), poke(
        80 + 16 * i, "<Q", 1 << 40),
       "An seSparse area is outside the file: 1099511627776")
      for i, area in enumerate(list(AREAS)[:-1])),
    ("directory of 2^64 - 1 sectors", poke("a3", "<Q", ONES),
     "An seSparse area is outside the file: 18446744073709551615"),
    ("tables longer than the file", poke(lambda g: g.at["a4"] + 8, "<Q", ONES),
     "An seSparse area is outside the file: 16"),
    ("directory in the header", poke("a3", "<Q", 0),
     "An seSparse area lies in the header: 3"),
    ("grains in the header", poke("a7", "<Q", 0),
     "An seSparse area lies in the header: 7"),
    ("no room for a volatile header", poke(plus("a0", 8), "<Q", 0),
     "No room for an seSparse volatile header: 0"),
    ("volatile magic", poke(512, "<Q", 0xcafebabe),
     "No seSparse volatile header found: 3405691582"),
    ("journal to be replayed", poke(536, "<Q", 1),
     "The seSparse journal must be replayed first: 1"),
    ("cut to the header", cut(512), "An seSparse area is outside the file: 1"),
))
group("sesparse", "open", (
    ("magic", s("magic", 0xcafebabf), "No seSparse header found: 3405691583"),
    ("511 bytes", cut(511), "File is shorter than an seSparse header: 511"),
), args=("-f", "sesparse"))
group("sesparse", "write", (
    ("to be written", nothing, "An seSparse image cannot be written: 0"),
))
group("sesparse", "walk", (
    ("directory entry of another kind", poke(4096, "<Q", 2 << 60 | 1),
     "Wrong seSparse directory entry: 2305843009213693953", [(0, 4096)]),
    ("table that is not there", poke(4104, "<Q", 1 << 60 | 2),
     "Grain table is outside the seSparse area: 2", [(4096, 256)]),
    ("table 2^32 - 1", poke(4096, "<Q", 1 << 60 | (2**32 - 1)),
     "Grain table is outside the seSparse area: 4294967295", [(0, 4096)]),
    ("entry of kind 0", poke("t0", "<Q", 5), "Wrong seSparse table entry: 5",
     [0]),
    ("entry of kind 4", poke("t1", "<Q", 4 << 60),
     "Wrong seSparse table entry: 4611686018427387904", [1]),
    ("entry of kind 15", poke("t4103", "<Q", ONES),
     "Wrong seSparse table entry: 18446744073709551615", [4103]),
    ("grain that is not there", poke("t0", "<Q", se_grain(4)),
     "Grain is outside the seSparse area: <(3 << 60) + (4 << 48)>", [0]),
    ("grain 2^60 - 1", poke("t1", "<Q", (4 << 60) - 1),
     "Grain is outside the seSparse area: 4611686018427387903", [1]),
    ("two entries, one grain", poke("t1", "<Q", se_grain(3)),
     "overlaps another at offset 94208"),
    ("one table twice", poke(4104, "<Q", 1 << 60 | 1),
     "Two owners of the byte at offset 40960"),
    ("cut in the grains", cut(160 * 512 + 3 * 4096),
     "Grain is outside the seSparse area: <(3 << 60) + (3 << 48)>", [4103]),
))
group("sesparse", "fine", (
    ("grains nobody uses", also(
        poke(lambda g: g.at["a7"] + 8, "<Q", 64),
        lambda g: g.data().extend(bytes(32 * 512))), ""),
))
group("vmdk-sesparse", "chain", (
    ("extent smaller than its line", swap("RW 34816", "RW 34817"),
     "disk-sesparse.vmdk: Image is smaller than the extent: 34816"),
    ("journal to be replayed", poke(536, "<Q", 7, "disk-sesparse.vmdk"),
     "The seSparse journal must be replayed first: 7"),
))
