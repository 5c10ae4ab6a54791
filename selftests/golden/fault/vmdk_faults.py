# SPDX-License-Identifier: GPL-2.0
"""Faults of VMDK: hosted extents, streams, descriptors."""
import struct
import zlib

from .damage import *
from .images import *
from .table import *

def no_text(g):
    """Nor is there a text where the header once said so."""
    g.data()[512:1536] = bytes(1024)


group("vmdk-sparse", "open", (
    ("version 0", k("version", 0), "Unknown VMDK version: 0"),
    ("version 4", k("version", 4), "Unknown VMDK version: 4"),
    ("version of all ones", k("version", 2**32 - 1),
     "Unknown VMDK version: 4294967295"),
    ("unknown feature", k("flags", 1 << 18 | 3),
     "Unknown incompatible VMDK feature: 262147"),
    ("unknown feature, the highest", k("flags", 1 << 31 | 3),
     "Unknown incompatible VMDK feature: 2147483651"),
    ("line ends changed", k("newline", b"\r\n \n"),
     "Line ends were changed by a transfer: 169871885"),
    ("compression method 2", k("method", 2),
     "Unknown VMDK compression method: 2"),
    ("compression method without the flag", k("method", 1),
     "VMDK compression flag and method differ: 1"),
    ("compression flag without a method", k("flags", 0x30003),
     "VMDK compression flag and method differ: 0"),
    ("markers without compression", k("flags", 0x20003),
     "VMDK compression needs markers, and they it: 131075"),
    ("capacity 0", k("capacity", 0), "disk.vmdk is in the chain twice"),
    ("capacity 0, no descriptor", also(k("capacity", 0), k("desc", 0),
                                       no_text),
     "The disk is empty: 0"),
    ("capacity 2^54", k("capacity", 1 << 54),
     "VMDK capacity is too large: 18014398509481984"),
    ("capacity of all ones", k("capacity", ONES),
     "VMDK capacity is too large: 18446744073709551615"),
    ("capacity of 2^41 tables", k("capacity", 1 << 53),
     "Grain directory is too large: 2199023255552"),
    ("capacity of more tables than the file holds", k("capacity", 1 << 36),
     "Grain directory is outside the file: <gd>"),
    ("grain size 0", k("grain", 0), "Grain size is not a power of two: 0"),
    ("grain size 3", k("grain", 3), "Grain size is not a power of two: 3"),
    ("grain size 1", k("grain", 1), "Grain size is not 4 KiB to 1 GiB: 1"),
    ("grain size 4", k("grain", 4), "Grain size is not 4 KiB to 1 GiB: 4"),
    ("grain size of 2 GiB", k("grain", 1 << 22),
     "Grain size is not 4 KiB to 1 GiB: 4194304"),
    ("grain size 2^63", k("grain", 1 << 63),
     "Grain size is not 4 KiB to 1 GiB: 9223372036854775808"),
    ("grain size of all ones", k("grain", ONES),
     "Grain size is not a power of two: 18446744073709551615"),
    ("tables of no entries", k("gtes", 0),
     "Grain table has not 1 to 512 entries: 0"),
    ("tables of 513 entries", k("gtes", 513),
     "Grain table has not 1 to 512 entries: 513"),
    ("tables of 2^32 - 1 entries", k("gtes", 2**32 - 1),
     "Grain table has not 1 to 512 entries: 4294967295"),
    ("directory at 0", k("gd", 0), "Grain directory lies in the metadata: 0"),
    ("directory in the descriptor", k("gd", 2),
     "Grain directory lies in the metadata: 2"),
    ("directory at the end", k("gd", "end"),
     "Grain directory is outside the file: <end>"),
    ("directory at 2^63", k("gd", 1 << 63),
     "Grain directory is outside the file: 9223372036854775808"),
    ("directory in a footer that is not there", k("gd", ONES),
     "VMDK footer not found: <length - 1536>"),
    ("redundant directory at 2^55", k("rgd", 1 << 55),
     "Grain directory is outside the file: 36028797018963968"),
    ("redundant directory in the descriptor", k("rgd", 1),
     "Grain directory lies in the metadata: 1"),
    ("one directory for both", k("rgd", "gd"),
     "Grain directories overlap: <gd>"),
    ("descriptor past the end", k("desc", "end"),
     "Descriptor is outside the file: <end>"),
    ("descriptor near 2^64", k("desc", ONES),
     "Descriptor is outside the file: 18446744073709551615"),
    ("descriptor of 2^53 sectors", k("desc_size", 1 << 53),
     "Descriptor is longer than 1 MiB: 4611686018427387904"),
    ("overhead past the end", k("overhead", plus("end", 1)),
     "VMDK overhead is past the end of the file: <end + 1>"),
    ("overhead of all ones", k("overhead", ONES),
     "VMDK overhead is past the end of the file: 18446744073709551615"),
    ("cut in the directory",
     lambda g: g.data().__delitem__(slice(g.at["gd"] * 512 + 4, None)),
     "VMDK overhead is past the end of the file: <start>"),
    ("descriptor is no text", poke(512, "16s", b"\x01\x02\x03\x7f\x80\xff\n"),
     "Descriptor line 1: Neither a key nor an extent"),
    ("compressed, but without markers", also(
        k("flags", 0x10003), k("method", 1)),
     "VMDK compression needs markers, and they it: 65539"),
))
group("vmdk-sparse", "open", (
    ("magic", k("magic", b"KDMW"), "VMDK header not found: 1464681547"),
    ("511 bytes", cut(511), "File is shorter than a VMDK header: 511"),
), args=("-f", "vmdk"))
group("vmdk-sparse", "write", (
    ("not closed", k("unclean", 1), NOT_CLOSED),
    ("version 3", k("version", 3),
     "Changes of this VMDK are tracked elsewhere: 0"),
))
group("vmdk-sparse", "walk", (
    ("table at 1", gde(0, 1), "Grain table lies in the metadata: 1", [(0, 512)]),
    ("table in the descriptor", gde(1, 2),
     "Grain table lies in the metadata: 2", [(512, 256)]),
    ("table at the end", gde(0, "end"), "Grain table ends past the file: <end>",
     [(0, 512)]),
    ("table that ends past the file", gde(1, plus("end", -3)),
     "Grain table ends past the file: <end - 3>", [(512, 256)]),
    ("table at 2^32 - 1", gde(0, 2**32 - 1),
     "Grain table ends past the file: 4294967295", [(0, 512)]),
    ("one table twice", gde(1, "gt"),
     "Two owners of the byte at offset <gt * 512>"),
    ("redundant table in the descriptor", rgde(1, 2),
     "Grain table lies in the metadata: 2", []),
    ("redundant table past the end", rgde(0, 2**32 - 1),
     "Grain table ends past the file: 4294967295", []),
    ("redundant table over a grain", rgde(0, "g0"),
     "overlaps another at offset <g0 * 512>", []),
    ("grain at 1", gte(100, 1), "Grain lies in the metadata: 1", [100]),
    ("grain in a table", gte(600, "gt"), "Grain lies in the metadata: <gt>",
     [600]),
    ("grain at the end", gte(0, "end"), "Grain ends past the file: <end>", [0]),
    ("grain that ends past the file", gte(2, plus("end", -7)),
     "Grain ends past the file: <end - 7>", [2]),
    # What moves off another leaves space between units, which is then filled.
    ("grain that ends past the file, and a table over another",
     also(gte(2, plus("end", -7)), rgde(0, "g0")),
     "Grain ends past the file: <end - 7>", [2]),
    ("grain at 2^32 - 1", gte(1, 2**32 - 1),
     "Grain ends past the file: 4294967295", [1]),
    ("two entries, one grain", gte(7, "g100"),
     "overlaps another at offset <g100 * 512>"),
    ("grains over each other by a sector", gte(7, plus("g600", 7)),
     "overlaps another at offset"),
    ("cut in the last grain", cut(-4096), "Grain ends past the file: <g767>",
     [767]),
))


def lost_grain(g):
    gte(100, 0)(g)
    rgte(100, 0)(g)
    g.content = g.content[:409600] + bytes(4096) + g.content[413696:]


group("vmdk-sparse", "leak", (
    ("a lost grain", lost_grain, "1 leaked clusters"),))
group("vmdk-sparse", "found", (
    ("the redundant table lacks an entry", rgte(100, 0),
     "Grain table and its copy differ: 0"),
    ("the redundant table has another entry", rgte(100, "g0"),
     "Grain table and its copy differ: <g0>"),
    ("the redundant table has an entry past the end", rgte(3, 10000),
     "Grain table and its copy differ: 10000"),
    ("the redundant table has an entry of another", rgte(3, "g0"),
     "Grain table and its copy differ: <g0>"),
    ("the redundant directory lacks an entry", rgde(1, 0),
     "Grain directory and its copy differ: 0"),
))
group("vmdk-sparse", "fine", (
    ("both directories name one table", rgde(1, plus("gt", 4)), ""),
    ("rgdOffset without the flag", also(k("flags", 1), k("rgd", ONES)), ""),
    ("an entry behind the last grain", gte(900, 2**32 - 1), ""),
    ("no descriptor", also(k("desc", 0), k("desc_size", 0), no_text), ""),
    # No reader needs the overhead to find a grain.
    ("overhead behind grains", k("overhead", plus("start", 16)), ""),
    ("overhead behind all grains", k("overhead", "end"), ""),
    ("overhead 0", k("overhead", 0), ""),
    ("overhead in the descriptor", k("overhead", 2), ""),
))
group("vmdk-child", "fine", (
    ("overhead behind grains", k("overhead", plus("start", 9)), ""),
))
group("vmdk-zeroed", "walk", (
    ("zeroed grains without the flag", k("flags", 3),
     "Grain lies in the metadata: 1", [(3, 2)]),
    ("a table of 1", gde(0, 1), "Grain table lies in the metadata: 1",
     [(0, 512)]),
))

group("vmdk-stream", "open", (
    ("cut to the header", cut(512), "File is too short for a VMDK footer: 512"),
    ("cut before the footer", cut("tail"),
     "VMDK footer not found: <tail - 1536>"),
    ("cut in the middle", cut(8192), "VMDK footer not found: 6656"),
    ("footer marker of two sectors", poke("tail", "<Q", 2),
     "VMDK footer not found: <tail>"),
    ("footer marker with a size", poke(plus("tail", 8), "<I", 1),
     "VMDK footer not found: <tail>"),
    ("footer marker of another type", poke(plus("tail", 12), "<I", 2),
     "VMDK footer not found: <tail>"),
    ("footer magic", poke(plus("tail", 512), "4s", b"KDMX"),
     "VMDK footer has no magic: 1481458763"),
    ("footer version", poke(plus("tail", 516), "<I", 4),
     "VMDK footer and header differ: 4"),
    ("footer flags", poke(plus("tail", 520), "<I", 0x30005),
     "VMDK footer and header differ: 8"),
    ("footer capacity", poke(plus("tail", 524), "<Q", 9217),
     "VMDK footer and header differ: 12"),
    ("footer grain size", poke(plus("tail", 532), "<Q", 128),
     "VMDK footer and header differ: 20"),
    ("footer table size", poke(plus("tail", 556), "<I", 511),
     "VMDK footer and header differ: 44"),
    ("footer compression", poke(plus("tail", 589), "<H", 0),
     "VMDK footer and header differ: 77"),
    ("directory of the footer in a footer", poke(plus("tail", 568), "<Q", ONES),
     "Grain directory is outside the file: 18446744073709551615"),
    ("directory of the footer at 0", poke(plus("tail", 568), "<Q", 0),
     "Grain directory lies in the metadata: 0"),
    ("directory of the footer over the footer", poke(
        plus("tail", 568), "<Q", lambda g: g.at["tail"] // 512),
     "Grain directory is outside the file: <tail // 512>"),
    ("no end marker", poke(plus("tail", 1024), "<Q", 5),
     "VMDK stream has no end marker: <tail + 1024>"),
    ("end marker of another type", poke(plus("tail", 1036), "<I", 1),
     "VMDK stream has no end marker: <tail + 1024>"),
    ("grain size of 2 MiB", also(k("grain", 4096), poke(
        plus("tail", 532), "<Q", 4096)),
     "Compressed grain size is over 1 MiB: 4096"),
))
group("vmdk-stream", "walk", (
    ("record of another sector", grain(1, struct.pack("<Q", 48)),
     "Compressed grain is of another sector: <g1>", [1]),
    ("record sector of all ones", grain(0, struct.pack("<Q", ONES)),
     "Compressed grain is of another sector: <g0>", [0]),
    ("record of no bytes", grain(3, struct.pack("<I", 0), 8),
     "Compressed grain has no data: <g3>", [3]),
    ("record of more than two grains", grain(520, struct.pack("<I", 16385), 8),
     "Compressed grain is too long: <g520>", [520]),
    ("record of 2^32 - 1 bytes", grain(1, struct.pack("<I", 2**32 - 1), 8),
     "Compressed grain is too long: <g1>", [1]),
    ("record past the end", grain(520, struct.pack("<I", 16000), 8),
     "Compressed grain is cut off: <g520>", [520]),
    ("record over the next", grain(0, struct.pack("<I", 5000), 8),
     "overlaps another at offset <g1 * 512>", []),
    ("grain at the footer", sgte(1, lambda g: g.at["tail"] // 512),
     "Grain ends past the file: <tail // 512>", [1]),
    ("grain in the descriptor", sgte(1, 1), "Grain lies in the metadata: 1",
     [1]),
    ("entry of another grain", sgte(2, "g1"),
     "Compressed grain is of another sector: <g1>", [2]),
    ("table in the descriptor", poke("gd", "<I", 1),
     "Grain table lies in the metadata: 1", [(0, 512)]),
    ("table at 2^32 - 1", poke(plus("gd", 4), "<I", 2**32 - 1),
     "Grain table ends past the file: 4294967295", [(512, 64)]),
))
INFLATE = "Compressed grain is damaged: <%s * 512>"
group("vmdk-stream", "write", (("not closed", k("unclean", 1), NOT_CLOSED),))
group("vmdk-stream", "read", (
    ("bytes of a grain damaged", grain(3, b"\xff" * 16, 100),
     INFLATE % "g3", [3]),
    ("checksum of a grain", lambda g: grain(
        0, b"\0\0\0\1", 12 + len(zlib.compress(g.content[:8192])) - 4)(g),
     INFLATE % "g0", [0]),
    ("stream cut short", grain(1, struct.pack("<I", 20), 8),
     INFLATE % "g1", [1]),
    ("stream longer than a grain", grain(
        3, lambda g: struct.pack("<I", len(zlib.compress(bytes(8193)))) +
        zlib.compress(bytes(8193)), 8), INFLATE % "g3", [3]),
    ("bomb", grain(3, lambda g: struct.pack("<I", len(zlib.compress(
        bytes(8 << 20)))) + zlib.compress(bytes(8 << 20)), 8),
     INFLATE % "g3", [3]),
    ("a preset dictionary", grain(0, b"\x78\xbb", 12), INFLATE % "g0", [0]),
))


def raw_deflate(g):
    """As documents have it; files have zlib's framing."""
    z = zlib.compressobj(wbits=-15)
    data = z.compress(g.content[:8192]) + z.flush()
    grain(0, struct.pack("<I", len(data)) + data, 8)(g)


def short_grain(g):
    data = zlib.compress(g.content[:4096])
    grain(0, struct.pack("<I", len(data)) + data, 8)(g)
    g.content = g.content[:4096] + bytes(4096) + g.content[8192:]


group("vmdk-stream", "fine", (
    ("raw deflate", raw_deflate, ""),
    ("a stream shorter than a grain", short_grain, ""),
    ("last sector cut short", cut(-100), ""),
    ("footer of another version", poke(plus("tail", 516), "<I", 1), ""),
    ("footer that knows of line ends", poke(plus("tail", 520), "<I", 0x30003),
     ""),
    ("a wrong marker before a table", poke(lambda g: g.at["gt0"] - 500, "<I", 2),
     ""),
))

A, B = 'RW 256 FLAT "a.raw" 8', 'RW 200 VMFS "b.raw"'


def line_a(new):
    return swap(A, new)


group("vmdk-flat", "fine", (
    ("an absolute name of a file that was moved",
     swap('"a.raw"', '"/vmfs/volumes/5f0/vm/a.raw"'), ""),
))

group("vmdk-flat", "chain", (
    ("version 0", swap("version=1", "version=0"),
     "Descriptor line 2: Descriptor version is not 1 to 3"),
    ("version 4", swap("version=1", "version=4"),
     "Descriptor line 2: Descriptor version is not 1 to 3"),
    ("no version", swap("version=1\n", ""), "Descriptor says no version"),
    ("no CID", swap("CID=12345678\n", ""), "Descriptor says no CID"),
    ("CID of letters", swap("CID=12345678", "CID=1234567g"),
     "Descriptor line 3: CID is not up to 8 hex digits"),
    ("CID of nine digits", swap("CID=12345678", "CID=123456789"),
     "Descriptor line 3: CID is not up to 8 hex digits"),
    ("parentCID of nothing", swap("parentCID=ffffffff", "parentCID="),
     "Descriptor line 4: parentCID is not up to 8 hex digits"),
    ("a line that is none", line_a("RV 256 FLAT"),
     "Descriptor line 8: Neither a key nor an extent"),
    ("no extents", also(line_a(""), swap(B, "")),
     "Descriptor lists no extents"),
    ("extent of 0 sectors", line_a('RW 0 FLAT "a.raw" 8'),
     "Descriptor line 8: Extent has no length"),
    ("extent of -1 sectors", line_a('RW -1 FLAT "a.raw" 8'),
     "Descriptor line 8: Extent has no length"),
    ("extent of 2^64 sectors", line_a('RW 18446744073709551616 FLAT "a.raw" 8'),
     "Descriptor line 8: Extent has no length"),
    ("extent of 2^64 - 1 sectors",
     line_a('RW 18446744073709551615 FLAT "a.raw" 8'),
     "Descriptor line 8: Extents are too long"),
    ("sum of extents over 2^54", swap(B, "RW 18014398509481984 ZERO"),
     "Descriptor line 9: Extents are too long"),
    ("extent of an unknown type", line_a('RW 256 FLOT "a.raw" 8'),
     "Descriptor line 8: Extent type cannot be used: FLOT"),
    ("extent on a raw device", line_a('RW 256 VMFSRDM "a.raw"'),
     "Descriptor line 8: Extent type cannot be used: VMFSRDM"),
    ("extent without a type", line_a("RW 256"),
     "Descriptor line 8: Extent type cannot be used: "),
    ("extent without a file", line_a("RW 256 FLAT"),
     "Descriptor line 8: Extent names no file"),
    ("name without an end", line_a('RW 256 FLAT "a.raw 8'),
     "Descriptor line 8: Extent names no file"),
    ("name of no letters", line_a('RW 256 FLAT "" 8'),
     "Descriptor line 8: Extent names no file"),
    ("no offset", line_a('RW 256 FLAT "a.raw"'),
     "Descriptor line 8: Extent has no offset"),
    ("offset of letters", line_a('RW 256 FLAT "a.raw" x'),
     "Descriptor line 8: Extent has no offset"),
    ("offset near 2^64", line_a('RW 256 FLAT "a.raw" 18446744073709551608'),
     "Descriptor line 8: Extent has no offset"),
    ("offset past the end", line_a('RW 256 FLAT "a.raw" 18014398509481984'),
     "a.raw: Offset is past the end of the file: 9223372036854775808"),
    ("file cut", cut(-512, "b.raw"),
     "b.raw: File is too short for the extent: 200"),
    ("file cut by a byte and a sector", cut(-513, "b.raw"),
     "b.raw: File is too short for the extent: 200"),
    ("extent longer than the file", line_a('RW 257 FLAT "a.raw" 8'),
     "a.raw: File is too short for the extent: 257"),
    ("no file", drop("b.raw"), "b.raw: No such file or directory"),
    ("file is a FIFO", put("a.raw", Fifo()), "a.raw: Not a regular file"),
    ("file is a directory", put("a.raw", Dir()), "a.raw: Not a regular file"),
    ("file is a link that leads out", put("a.raw", Link("/etc/passwd")),
     "a.raw leads out of <dir> (see --allow-path)"),
    ("file is a link by .. that leads out", put(
        "a.raw", Link("../../../../../../etc/passwd")),
     "a.raw leads out of <dir> (see --allow-path)"),
    ("file is a link to itself", put("a.raw", Link("a.raw")),
     "a.raw: Too many levels of symbolic links"),
    ("file is a link to a device", put("a.raw", Link("/dev/zero")),
     "a.raw leads out of <dir> (see --allow-path)"),
    ("an absolute name", line_a('RW 1 FLAT "/etc/passwd" 0'),
     "/etc/passwd is an absolute path (see --allow-path)"),
    ("a name with ..", swap('"a.raw"', '"../a.raw"'),
     "../a.raw leads out of <dir> (see --allow-path)"),
    ("a name with .. in the middle", swap('"a.raw"', '"x/../../a.raw"'),
     "x/../../a.raw leads out of <dir> (see --allow-path)"),
    ("a device", line_a('RW 256 FLAT "/dev/zero" 0'),
     "/dev/zero is an absolute path (see --allow-path)"),
    ("JSON for a name", swap('"a.raw"', '"json:{}"'),
     "json:{} is not the name of a file"),
    ("a host for a name", swap('"a.raw"', '"nbd://localhost/a"'),
     "nbd://localhost/a is not the name of a file"),
    ("a name that moves the cursor", swap('"a.raw"', '"\x1b[2J\x07"'),
     "\\x1b[2J\\x07: No such file or directory"),
    ("a name that is no UTF-8", swap('"a.raw"', b'"\xff\xfe"'),
     "\\xff\\xfe: No such file or directory"),
    ("a name of 5000 letters", swap('"a.raw"', '"%s"' % ("x" * 5000)),
     "x: File name too long"),
    ("the descriptor as an extent", swap('"a.raw" 8', '"disk.vmdk" 0'), TWICE),
    ("over 1 MiB", lambda g: g.data().extend(b"#" * (1 << 20)),
     "Descriptor is longer than 1 MiB: <main_len>"),
    ("4097 extents", line_a("RW 1 ZERO\n" * 4096),
     "Descriptor line 4105: More than 4096 extents"),
    ("sparse extent that is none", line_a('RW 8 SPARSE "a.raw"'),
     "a.raw: VMDK header not found: <le32a>"),
    ("ESX extent that is none", line_a('RW 8 VMFSSPARSE "a.raw"'),
     "a.raw: COWD header not found: <le32a>"),
    ("seSparse extent that is none", line_a('RW 8 SESPARSE "a.raw"'),
     "a.raw: No seSparse header found: <le64a>"),
))
group("vmdk-flat", "write", (
    ("an extent to be read only", swap("RW 200", "RDONLY 200"),
     "Extent can only be read (see --read-only): 2"),
))


def unlikely(g):
    """In the wild: CRLF, blanks, lower case, an encoding, keys in comments."""
    text = bytes(g.data()).replace(b"\n", b" \r\n").replace(b"RW", b"rw")
    g.files[g.main] = bytearray(text.replace(
        b"version=1", b"# CID=x\r\nencoding=\"UTF-8\"\r\nversion = 1", 1))


group("vmdk-flat", "fine", (
    ("line ends and blanks", unlikely, ""),
    ("a file longer than its extent", lambda g: g.data("b.raw").extend(
        bytes(5000)), ""),
    ("a link beneath the directory", also(
        lambda g: g.files.__setitem__("c.raw", g.data("a.raw")),
        put("a.raw", Link("c.raw"))), ""),
))
group("vmdk-flat", "noaccess", (
    ("an extent without access", swap("RW 200", "NOACCESS 200"),
     "Extent gives no access at sector: 256", [(256, 200)]),
))

group("vmdk-split", "chain", (
    ("an extent smaller than its line", swap("RW 4096", "RW 4097"),
     "disk-s001.vmdk: Image is smaller than the extent: 4096"),
    ("an extent's version", k("version", 9, name="disk-s002.vmdk"),
     "disk-s002.vmdk: Unknown VMDK version: 9"),
    ("an extent's grain size", k("grain", 7, name="disk-s002.vmdk"),
     "disk-s002.vmdk: Grain size is not a power of two: 7"),
    ("an extent is another descriptor", also(
        lambda g: g.files.__setitem__("disk-s002.vmdk", kdmv(
            flags=1, grain=8, desc=1, desc_size=2) + g.data() + bytes(1024))),
     "disk-s002.vmdk: Extents are in the embedded descriptor: 1"),
    ("an extent is the first again", lambda g: g.files.__setitem__(
        g.main, bytearray(bytes(g.data()).replace(b"s002", b"s001"))), TWICE),
    ("an extent is missing", drop("disk-s001.vmdk"),
     "disk-s001.vmdk: No such file or directory"),
    ("an extent is empty", put("disk-s001.vmdk", bytearray()),
     "disk-s001.vmdk: File is shorter than a VMDK header: 0"),
))
group("vmdk-split", "write", (
    ("an extent not closed", k("unclean", 1, name="disk-s002.vmdk"), NOT_CLOSED),
))
group("vmdk-split", "walk", (
    ("grain of the second extent at 1", gte(4, 1, "disk-s002.vmdk"),
     "Grain lies in the metadata: 1", [516]),
))
group("vmdk-embedded", "chain", (
    ("the file itself as an extent", lambda g: swap(
        '"a.raw" 0', '"disk.vmdk" 0')(g), TWICE),
    ("no text there", k("desc", 2), "miss the descriptor at sector"),
    ("descriptor over 1 MiB", k("desc_size", 4096),
     "Descriptor is longer than 1 MiB: 2097152"),
    ("an absolute name", swap('"a.raw"', '"/etc/fstab"'),
     "/etc/fstab is an absolute path (see --allow-path)"),
))


def hint(text):
    """The descriptor keeps its room."""
    def damage(g):
        d = g.data()
        new = bytes(d[512:1536]).replace(b'Hint="base.vmdk"',
                                         b'Hint="%s"' % text.encode())
        d[512:1536] = new.rstrip(b"\0").ljust(1024, b"\0")
    return damage


group("vmdk-child", "chain", (
    ("parent of another CID", swap("CID=12345678", "CID=12345679", "base.vmdk"),
     "Parent: base.vmdk: Image has the CID 12345679 instead of 12345678"),
    ("no parent", drop("base.vmdk"),
     "Parent: base.vmdk: No such file or directory"),
    ("no name of the parent", swap('parentFileNameHint', 'parentFileNameHunt'),
     "Parent: no name is given"),
    ("an absolute name", hint("/etc/passwd"),
     "/etc/passwd is an absolute path (see --allow-path)"),
    ("a name that leads out", hint("../../base.vmdk2"),
     "../../base.vmdk2 leads out of <dir> (see --allow-path)"),
    ("the name of a protocol", hint("json:{}"),
     "json:{} is not the name of a file"),
    ("parent is the child", hint("child.vmdk"), TWICE),
    ("parent has no descriptor", also(
        k("desc", 0, name="base.vmdk"), k("desc_size", 0, name="base.vmdk")),
     "miss the descriptor at sector"),
    ("parent is no VMDK", put("base.vmdk", bytearray(4096)),
     "VMDK header not found: 0"),
    ("parent's version", k("version", 7, name="base.vmdk"),
     "Parent: base.vmdk: Unknown VMDK version: 7"),
    ("parent is a FIFO", put("base.vmdk", Fifo()),
     "base.vmdk: Not a regular file"),
))


def two_vmdks(g):
    b = g.damaged()
    hint("child.vmdk")(b)
    g.files["base.vmdk"] = b.data()


fault("vmdk-child: two that name each other", "vmdk-child", two_vmdks, TWICE,
      "chain")
