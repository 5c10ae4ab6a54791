# SPDX-License-Identifier: GPL-2.0
"""Faults of VHD."""
import struct

import vhd

from .damage import *
from .images import *
from .table import *

group("vhd-fixed", "open", (
    ("a sector of data is missing", lambda g: g.data().__delitem__(slice(512)),
     "Fixed VHD is larger than its file: 65536"),
    ("size of a sector more", footer("current_size", 66048),
     "Fixed VHD is larger than its file: 66048"),
    ("size of 2040 GiB", footer("current_size", 2040 << 30),
     "Fixed VHD is larger than its file: 2190433320960"),
    ("size over 2040 GiB", footer("current_size", (2040 << 30) + 512),
     "Fixed VHD is larger than its file: 2190433321472"),
    ("size of all ones", footer("current_size", ONES),
     "Fixed VHD is larger than its file: 18446744073709551104"),
    ("size 0", footer("current_size", 0), "The disk is empty: 0"),
    ("size 511", footer("current_size", 511), "The disk is empty: 511"),
    ("type 1", footer("disk_type", 1), "Unknown VHD disk type: 1"),
    ("type 5", footer("disk_type", 5), "Unknown VHD disk type: 5"),
    ("version 2", footer("version", 0x20000), "Unknown VHD version: 131072"),
    ("footer at the front only", lambda g: g.files.__setitem__(
        g.main, g.data()[65536:] + bytearray(4096)),
     "Fixed VHD without a trailing footer: 0"),
    ("checksum, nothing else says what it is", footer(
        "original_size", 3, fix=False),
     "VHD footer and its copy are damaged: sum <'0x%08x' % be32(65600)>, of the "
     "bytes 0x"),
    ("empty", cut(0), UNKNOWN),
))
group("vhd-fixed", "open", (
    ("checksum", footer("original_size", 3, fix=False),
     "VHD footer and its copy are damaged: sum <'0x%08x' % be32(65600)>, of the "
     "bytes 0x"),
    ("no footer", cut(65536), "No VHD footer found: 65536"),
    ("511 bytes", cut(511), "File is shorter than a VHD footer: 511"),
    ("empty, but said to be VHD", cut(0),
     "File is shorter than a VHD footer: 0"),
), args=("-f", "vhd"))
group("vhd-fixed", "write", (
    ("saved machine state", footer("saved_state", 1),
     "Image belongs to a saved machine state: 0"),
))


def forged(g):
    """What a guest can write: a copy of the footer, a header and a BAT."""
    other = vhd_dynamic()
    g.data()[:2048] = other.data()[:2048]
    g.content = bytes(g.data()[:65536])


group("vhd-fixed", "open", (
    ("a dynamic header forged by the guest", forged,
     "Begins as dynamic vhd, ends as fixed vhd: a guest may have written one of "
     "them (see -f)"),
))

group("vhd-fixed", "fine", (
    ("a footer of 511 bytes", cut(-1), ""),
))

fault("vhd-fixed: a forged dynamic header, and -f", "vhd-fixed", forged,
      show="fine", args=("-f", "vhd"))

group("vhd-dynamic", "open", (
    ("cut to the copy", cut(512), "VHD header offset is outside the file: 512"),
    ("cut in the header", cut(1535),
     "VHD header offset is outside the file: 512"),
    ("cut before the BAT", cut(1536),
     "BAT reaches past the end of the file: 16"),
    ("version 2", footer("version", 0x20000), "Unknown VHD version: 131072"),
    ("version 0", footer("version", 0), "Unknown VHD version: 0"),
    ("type 0", footer("disk_type", 0), "Unknown VHD disk type: 0"),
    ("type of all ones", footer("disk_type", 2**32 - 1),
     "Unknown VHD disk type: 4294967295"),
    ("size 0", footer("current_size", 0), "The disk is empty: 0"),
    ("size over 2040 GiB", footer("current_size", 2041 << 30),
     "VHD is larger than 2040 GiB: 2191507062784"),
    ("size more than the BAT", footer("current_size", 1 << 30),
     "BAT is too short for the disk: 16"),
    ("header offset past the end", footer("data_offset", 1 << 40),
     "VHD header offset is outside the file: 1099511627776"),
    ("header offset of all ones", footer("data_offset", ONES),
     "VHD header offset is outside the file: 18446744073709551615"),
    ("header offset 2^63", footer("data_offset", 1 << 63),
     "VHD header offset is outside the file: 9223372036854775808"),
    ("header offset 0", footer("data_offset", 0),
     "VHD header offset is outside the file: 0"),
    ("header offset odd", footer("data_offset", 513),
     "VHD header offset is outside the file: 513"),
    ("header offset in the data", footer("data_offset", 4096),
     "VHD dynamic header not found: 4096"),
    ("header cookie", poke(512, "8s", b"cxsparsf"),
     "VHD dynamic header not found: 512"),
    ("header checksum", header("data_offset", 5, False),
     "VHD header checksum is wrong: sum <'0x%08x' % be32(548)>, of the bytes 0x"),
    ("header version", header("version", 0x20000),
     "Unknown VHD header version: 131072"),
    ("block size 0", header("block_size", 0),
     "VHD block size is not a power of two: 0"),
    ("block size 3", header("block_size", 3),
     "VHD block size is not a power of two: 3"),
    ("block size 512", header("block_size", 512),
     "VHD block size is not 4 KiB to 256 MiB: 512"),
    ("block size 2048", header("block_size", 2048),
     "VHD block size is not 4 KiB to 256 MiB: 2048"),
    ("block size 512 MiB", header("block_size", 512 << 20),
     "VHD block size is not 4 KiB to 256 MiB: 536870912"),
    ("block size 2 GiB", header("block_size", 1 << 31),
     "VHD block size is not 4 KiB to 256 MiB: 2147483648"),
    ("block size of all ones", header("block_size", 2**32 - 1),
     "VHD block size is not a power of two: 4294967295"),
    ("BAT of no entries", header("max_table_entries", 0),
     "BAT is too short for the disk: 0"),
    ("BAT of an entry less", header("max_table_entries", 15),
     "BAT is too short for the disk: 15"),
    ("BAT of 2^32 - 1 entries", header("max_table_entries", 2**32 - 1),
     "BAT reaches past the end of the file: 4294967295"),
    ("BAT offset 0", header("table_offset", 0),
     "BAT offset is not a data sector: 0"),
    ("BAT offset odd", header("table_offset", 1537),
     "BAT offset is not a data sector: 1537"),
    ("BAT over the header", header("table_offset", 1024),
     "BAT overlaps the VHD header: 1024"),
    ("BAT at the end", header("table_offset", "length"),
     "BAT reaches past the end of the file: 16"),
    ("BAT offset near 2^64", header("table_offset", 2**64 - 512),
     "BAT reaches past the end of the file: 16"),
    ("both cookies", also(footer("cookie", b"conectiX"),
                          poke(0, "8s", b"conectiX")), UNKNOWN),
))
group("vhd-dynamic", "open", (
    ("both checksums", footer("original_size", 1, fix=False),
     "VHD footer and its copy are damaged: sum <'0x%08x' % be32(64)>, of the "
     "bytes 0x"),
), args=("-f", "vhd"))
group("vhd-dynamic", "write", (
    ("the copy's checksum", footer("original_size", 1, "copy", False),
     "Copy of the VHD footer is damaged: 0"),
    ("the copy wiped", poke(0, "512s", b""),
     "Copy of the VHD footer is damaged: 0"),
    ("footer and copy differ", footer("uuid", b"another", "copy"),
     "VHD footer and its copy differ: 0"),
    ("saved machine state", footer("saved_state", 1),
     "Image belongs to a saved machine state: 0"),
))
group("vhd-dynamic", "walk", (
    ("entry 0", bat(5, 0), "BAT entry points into the headers: 0", [5]),
    ("entry in the header", bat(5, 2),
     "BAT entry points into the headers: 2", [5]),
    ("entry in the BAT", bat(0, 3),
     "BAT entry points into the headers: 3", [0]),
    ("entry past the end", bat(1, 2**32 - 2),
     "BAT entry points past the data area: 4294967294", [1]),
    ("entry at the footer", bat(15, "end"),
     "BAT entry points past the data area: <end>", [15]),
    ("block over the footer", bat(15, plus("e15", 1)),
     "BAT entry points past the data area: <e15 + 1>", [15]),
    ("cut in the last block", cut(-4096),
     "BAT entry points past the data area: <e15>", [15]),
    ("two entries, one block", bat(7, "e0"),
     "Unit of sector 896 overlaps another at offset <e0 * 512>"),
    ("blocks over each other by a sector", bat(7, plus("e0", 128)),
     "Unit of sector 896 overlaps another at offset <(e0 + 128) * 512>"),
))


def lost_block(g):
    bat(5, 2**32 - 1)(g)
    lo = 5 * 65536
    g.content = g.content[:lo] + bytes(65536) + g.content[lo + 65536:]


group("vhd-dynamic", "leak", (("a lost block", lost_block,
                               "1 leaked clusters"),))
group("vhd-dynamic", "found", (
    ("no footer at the end", cut(-512),
     "VHD has no good footer at its end: <end * 512>"),
    ("footer checksum, the copy is good",
     footer("original_size", 1, "footer", False),
     "VHD has no good footer at its end: <length>"),
))


def bat_at_the_end(blocks):
    """The specification lets the BAT lie behind the blocks: as some writers do."""
    def damage(g):
        raw = g.data()
        table = raw[1536:2048]
        for b in blocks:
            e = struct.unpack_from(">I", table, 4 * b)[0]
            struct.pack_into(">I", table, 4 * b, e - 1)
        raw[1536:-512] = raw[2048:-512] + table
        struct.pack_into(">Q", raw, 512 + 16, len(raw) - 1024)
        struct.pack_into(">I", raw, 512 + 36,
                         vhd.checksum(raw[512:1536], 36))
    return damage


group("vhd-dynamic", "fine", (
    ("zeroes behind the BAT", poke(1536 + 64, "448s", b""), ""),
    ("the BAT behind the blocks", bat_at_the_end((0, 5, 1, 15)), ""),
))
group("vhd-dynamic", "walk", (
    ("the BAT behind the blocks, an entry in the BAT", also(
        bat_at_the_end((0, 5, 1, 15)),
        lambda g: struct.pack_into(">I", g.data(), len(g.data()) - 1024 + 36,
                                   len(g.data()) // 512 - 130)),
     "BAT entry points into the headers: <length // 512 - 130>", [9]),
))

group("vhd-diff", "chain", (
    ("no parent", drop("base.vhd"),
     "Parent: ./base.vhd: No such file or directory"),
    ("parent of another id", footer("uuid", b"another", name="base.vhd"),
     "Image has the id 616e6f74686572000000000000000000 instead of <id>"),
    ("parent is no VHD", put("base.vhd", bytearray(8192)),
     "No VHD footer found: 8192"),
    ("parent of a wrong block size", also(poke(
        512 + 32, ">I", 3, "base.vhd"), lambda g: struct.pack_into(
        ">I", g.data("base.vhd"), 548,
        vhd.checksum(g.data("base.vhd")[512:1536], 36))),
     "VHD block size is not a power of two: 3"),
    ("parent is a FIFO", put("base.vhd", Fifo()), "Not a regular file"),
    ("parent is a directory", put("base.vhd", Dir()), "Not a regular file"),
    ("parent is the child", also(names("child.vhd"), drop("base.vhd")), TWICE),
    ("no name", names(""), "Parent: no name is given"),
    ("name with half a surrogate", names(b"\0\xd8a\0"),
     "Parent: no name is given"),
    ("an absolute name", names("/etc/passwd"),
     "/etc/passwd is an absolute path (see --allow-path)"),
    ("a name that leads out", names("..\\..\\etc\\passwd"),
     "../../etc/passwd leads out of <dir> (see --allow-path)"),
    ("the name of a protocol", names("nbd:unix.socket"),
     "nbd:unix.socket is not the name of a file"),
    ("a link that leads out", put("base.vhd", Link("/etc/passwd")),
     "base.vhd leads out of <dir> (see --allow-path)"),
    ("a name that moves the cursor", names("\x1b]0;x\x07"),
     "\\x1b]0;x\\x07: No such file or directory"),
))
group("vhd-diff", "open", (
    ("block size 0", header("block_size", 0),
     "VHD block size is not a power of two: 0"),
))
group("vhd-diff", "walk", (
    ("locator past the end", locator(1, "offset", 1 << 40),
     "Parent locator is outside the file: 1099511627776", []),
    ("locator offset near 2^64", locator(1, "offset", ONES - 10),
     "Parent locator is outside the file: 18446744073709551605", []),
    ("locator of 2^32 - 1 bytes", locator(1, "length", 2**32 - 1),
     "Parent locator is outside the file: <locator1>", []),
    ("locator in the BAT", locator(1, "offset", 1536),
     "Two owners of the byte at offset 1536", []),
    ("locator longer than its room", locator(1, "length", 513),
     "Unit of sector 256 overlaps another at offset <e2 * 512>", []),
    ("locator of over 64 KiB", locator(1, "length", 70000),
     "Unit of sector 256 overlaps another at offset <e2 * 512>", []),
    ("locator in the header", locator(1, "offset", 600),
     "Two owners of the byte at offset 600", []),
    ("entry in the header", bat(4, 2),
     "BAT entry points into the headers: 2", [4]),
    ("entry past the end", bat(2, 1 << 31),
     "BAT entry points past the data area: 2147483648", [2]),
    ("two entries, one block", bat(7, "e2"),
     "Unit of sector 896 overlaps another at offset <e2 * 512>"),
))
group("vhd-diff", "read", (
    ("entry of the parent in its header", poke(1536 + 36, ">I", 1, "base.vhd"),
     "BAT entry points into the headers: 1", [9]),
))


def two_vhds(g):
    """The parent is a child of the child."""
    poke(552, "16s", lambda g: bytes(g.data()[68:84]))(g)
    header("version", 0x10000)(g)
    other = g.damaged()
    names("child.vhd")(other)
    g.files["base.vhd"] = other.data()


fault("vhd-diff: two that name each other", "vhd-diff", two_vhds, TWICE,
      "chain")
