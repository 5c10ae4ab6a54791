# SPDX-License-Identifier: GPL-2.0
"""Faults of Parallels images and bundles."""
import re

from .damage import *
from .images import *
from .table import *

group("parallels-v1", "open", (
    ("version 0", p("version", 0), "Unknown Parallels version: 0"),
    ("version 3", p("version", 3), "Unknown Parallels version: 3"),
    ("cluster size 0", p("tracks", 0), "Parallels cluster size is zero: 0"),
    ("cluster size 4186128", p("tracks", 4186128),
     "Parallels cluster size is too large: 4186128"),
    ("cluster size of all ones", p("tracks", 2**32 - 1),
     "Parallels cluster size is too large: 4294967295"),
    ("BAT of no entries", p("entries", 0), "BAT is too short for the disk: 0"),
    ("BAT of an entry less", p("entries", 99),
     "BAT is too short for the disk: 99"),
    ("BAT of 2^29 entries", p("entries", 1 << 29),
     "BAT has too many entries: 536870912"),
    ("BAT of 2^32 - 1 entries", p("entries", 2**32 - 1),
     "BAT has too many entries: 4294967295"),
    ("BAT of the most entries", p("entries", 2**29 - 1),
     "BAT reaches past the end of the file: 536870911"),
    ("disk of 0 sectors", p("sectors", 0), "The disk is empty: 0"),
    ("disk of 2^32 - 1 sectors", p("sectors", 2**32 - 1),
     "BAT is too short for the disk: 130"),
    ("conversion not finished", p("flags", 2),
     "Conversion of the image was not finished: 2"),
    ("data offset in the BAT", p("data_off", 1),
     "Data offset lies in the BAT: 1"),
    ("data offset past the end", p("data_off", plus("end", 1)),
     "Data offset is past the end of the file: <end + 1>"),
    ("data offset of all ones", p("data_off", 2**32 - 1),
     "Data offset is past the end of the file: 4294967295"),
    ("cut in the BAT", cut(100), "BAT reaches past the end of the file: 130"),
    ("extension past the end", p("ext_off", "end"),
     "Extension reaches past the file's end: <end>"),
    ("extension at 2^55", p("ext_off", 1 << 55),
     "Extension reaches past the file's end: 36028797018963968"),
    ("extension of all ones", p("ext_off", ONES),
     "Extension reaches past the file's end: 18446744073709551615"),
    ("extension in the BAT", p("ext_off", 1), "Extension lies in the BAT: 1"),
))
group("parallels-v1", "open", (
    ("magic", p("magic", b"WithoutFreeSpacf"),
     "No Parallels header found: 1466528872"),
    ("63 bytes", cut(63), "File is shorter than a Parallels header: 63"),
), args=("-f", "parallels"))
group("parallels-v1", "write", (
    ("not closed", p("in_use", 0x746F6E59), NOT_CLOSED),
    ("in_use of another value", p("in_use", 5),
     "In-use mark of the image is unknown: 0"),
    ("unknown flags", p("flags", 4), "Image has unknown flags: 0"),
))
group("parallels-v1", "walk", (
    ("entry in the BAT", pbat(0, 1), "BAT entry points into the headers: 1",
     [0]),
    ("entry at the end", pbat(7, "end"),
     "BAT entry points past the file's end: <end>", [7]),
    ("entry that ends past the file", pbat(99, plus("end", -62)),
     "BAT entry points past the file's end: <end - 62>", [99]),
    ("entry of all ones", pbat(1, 2**32 - 1),
     "BAT entry points past the file's end: 4294967295", [1]),
    ("two entries, one cluster", pbat(8, "c7"),
     "Unit of sector 504 overlaps another at offset <c7 * 512>"),
    ("clusters over each other by a sector", pbat(50, plus("c0", 62)),
     "overlaps another at offset"),
    ("cut in the last cluster", cut(-1),
     "BAT entry points past the file's end: <c99>", [99]),
    ("an entry behind the disk's last", pbat(120, 1),
     "BAT entry points into the headers: 1", []),
))


def shifted(g):
    """QEMU up to 7.2 puts clusters where no multiple of 63 is."""
    g.data()[:] = g.data() + bytes(2048) + g.data()[-63 * 512:]
    pbat(99, plus("end", 4))(g)


group("parallels-v1", "leak", (
    ("a cluster that is not aligned", shifted, "1 leaked clusters"),))
group("parallels-v1", "fine", (
    # Only writers that add clusters look at the data offset.
    ("data offset behind clusters", p("data_off", 20), ""),
    ("upper half of the size", p("sectors", 5 << 32 | 6280), ""),
    ("empty-image flag over data", p("flags", 1), ""),
    ("part of a cluster at the end", lambda g: g.data().extend(bytes(999)), ""),
))
group("parallels-v2", "open", (
    ("disk of 2^64 - 1 sectors", p("sectors", ONES),
     "BAT is too short for the disk: 40"),
    ("disk of 0 sectors", p("sectors", 0), "The disk is empty: 0"),
    ("disk of a cluster more", p("sectors", 641),
     "BAT is too short for the disk: 40"),
    ("data offset 0", p("data_off", 0), "Data offset is zero: 0"),
    ("data offset in a cluster", p("data_off", 17),
     "Data offset is not a whole cluster: 17"),
    ("data offset past the end", p("data_off", 80),
     "Data offset is past the end of the file: 80"),
    ("cluster size that the data offset is none of", p("tracks", 18),
     "Data offset is not a whole cluster: 16"),
    ("conversion not finished", p("flags", 3),
     "Conversion of the image was not finished: 3"),
    ("cluster size 0", p("tracks", 0), "Parallels cluster size is zero: 0"),
))
group("parallels-v2", "write", (
    ("not closed", p("in_use", 0x746F6E59), NOT_CLOSED),
    ("in_use of another value", p("in_use", 0x312E3277),
     "In-use mark of the image is unknown: 0"),
))
group("parallels-v2", "walk", (
    ("entry at the end", pbat(0, "end"),
     "BAT entry points past the file's end: <end>", [0]),
    ("entry of all ones", pbat(3, 2**32 - 1),
     "BAT entry points past the file's end: 4294967295", [3]),
    ("two entries, one cluster", pbat(4, "c3"),
     "Unit of sector 64 overlaps another at offset <c3 * 8192>"),
    ("cut in the last cluster", cut(-512),
     "BAT entry points past the file's end: <c39>", [39]),
))
group("parallels-ext", "open", (
    ("extension past the end", p("ext_off", plus("ext_sec", 1)),
     "Extension reaches past the file's end: <ext_sec + 1>"),
    ("extension cut", cut(-1),
     "Extension reaches past the file's end: <ext_sec>"),
))
group("parallels-ext", "write", (
    ("extension magic", poke("ext", "<Q", 5), "Format extension is damaged: 0"),
    # What no extension is forbids no cluster to lie there.
    ("extension before all clusters", p("ext_off", 8),
     "Format extension is damaged: 0"),
    ("extension over a cluster", p("ext_off", lambda g: g.at["c0"] * 16),
     "Format extension is damaged: 0"),
    ("feature longer than the cluster", poke(
        lambda g: g.at["second"] + 16, "<I", 8192),
     "Format extension is damaged: 0"),
    ("feature of 2^32 - 1 bytes", poke(
        lambda g: g.at["second"] + 16, "<I", 2**32 - 1),
     "Format extension is damaged: 0"),
    ("unknown feature that is necessary", poke(
        lambda g: g.at["second"] + 8, "<Q", 1),
     "Format extension has unknown features: 0"),
))
group("parallels-ext", "walk", (
    ("entry in the extension", pbat(1, "ext_cluster"),
     "BAT entry points into the extension: <ext_cluster>", [1]),
))
# The map of changed blocks is dropped before the first write and not read.
def bitmap_cluster(g):
    """The map has bits, in a cluster of its own behind all others."""
    d = g.data()
    struct.pack_into("<Q", d, g.at["bitmap"] + 32, len(d) // 512)
    d += bytes(8192)


group("parallels-ext", "fine", (
    ("bitmap with bits", bitmap_cluster, ""),
    ("extension checksum", poke(plus("ext", 8), "16s", b"x" * 16), ""),
    ("bitmap of another size", poke("bitmap", "<Q", 636), ""),
    ("bitmap granularity 0", poke(plus("bitmap", 24), "<I", 0), ""),
    ("bitmap granularity 3", poke(plus("bitmap", 24), "<I", 3), ""),
    ("bitmap of 2^32 - 1 tables", poke(plus("bitmap", 28), "<I", 2**32 - 1),
     ""),
))

X = "DiskDescriptor.xml: "
group("bundle", "chain", (
    ("no description", drop("disk.hdd/DiskDescriptor.xml"), "directory"),
    ("cut description", cut(-10, "disk.hdd/DiskDescriptor.xml"),
     X + "No well-formed XML"),
    ("another root element", lambda g: g.files.__setitem__(
        "disk.hdd/DiskDescriptor.xml", bytearray(b"<x/>")),
     X + "Not a description of a Parallels disk"),
    ("entities", xml("<Parallels_disk_image", '<!DOCTYPE x [<!ENTITY a "b">]>'
                     "<Parallels_disk_image"),
     X + "Has a document type definition"),
    ("entities that grow", xml("<Parallels_disk_image", (
        '<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">' + "".join(
            '<!ENTITY a%d "%s">' % (i + 1, ("&a%d;" % i) * 10)
            for i in range(12)) + "]><Parallels_disk_image>&a12;"
        "</Parallels_disk_image><Parallels_disk_image")), X),
    ("an external entity", xml("<Parallels_disk_image", (
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        "<Parallels_disk_image")), X + "Has a document type definition"),
    ("description over 1 MiB", lambda g: g.data(
        "disk.hdd/DiskDescriptor.xml").extend(b" " * (1 << 20)),
     "DiskDescriptor.xml is longer than 1 MiB"),
    ("size is no number", xml("<Disk_size>1280", "<Disk_size>many"),
     X + "Disk_size is no number"),
    ("size over 2^64", xml("<Disk_size>1280", "<Disk_size>18446744073709551616"),
     X + "Disk_size is no number"),
    ("size of a sector more", xml("<Disk_size>1280", "<Disk_size>1281"),
     X + "Storages end at sector 1280 instead of 1281"),
    ("padding", xml("<Padding>0", "<Padding>1"), X + "Disk with padding"),
    ("encryption", xml("<Engine>{0", "<Engine>{1"),
     X + "Disk is encrypted: {10000000-0000-0000-0000-000000000000}"),
    ("storages that leave a gap", xml("<Start>640", "<Start>641"),
     X + "Storages do not join at sector 640"),
    ("storages that overlap", xml("<Start>640", "<Start>639"),
     X + "Storages do not join at sector 640"),
    ("storage that ends before it starts", xml("<End>640", "<End>0"),
     X + "Storage without a start and an end"),
    ("storage without an end", xml("<End>640</End>", ""),
     X + "Storage without a start and an end"),
    ("storages none", lambda g: g.files.__setitem__(
        "disk.hdd/DiskDescriptor.xml", bytearray(re.sub(
            rb"<Storage>.*</Storage>", b"", bytes(
                g.data("disk.hdd/DiskDescriptor.xml")), flags=re.S))),
     X + "Storages end at sector 0 instead of 1280"),
    ("block size of another", xml("<Blocksize>16", "<Blocksize>32"),
     "Cluster has 16 sectors, and 32 according to DiskDescriptor.xml"),
    ("block size of letters", xml("<Blocksize>16", "<Blocksize>x"),
     X + "Blocksize is no number"),
    ("image of an unknown type", xml("<Type>Plain", "<Type>Fancy"),
     X + "Unknown type of image: 0.root.hds"),
    ("image without a file", xml("<File>0.root.hds</File>", ""),
     X + "Image without GUID or File"),
    ("two images of one GUID", xml(TOP_ID, ROOT_ID),
     X + "Two images of one GUID: " + ROOT_ID),
    ("plain image on top", xml("<Type>Compressed", "<Type>Plain"),
     X + "Plain image on top of another: 0.top.hds"),
    ("compressed image said to be plain", xml(
        "<Type>Compressed</Type><File>1.root", "<Type>Plain</Type><File>1.root"),
     "1.root.hds: File is too short for the extent: 640"),
    ("plain image said to be compressed", xml("<Type>Plain",
                                              "<Type>Compressed"),
     "0.root.hds: No Parallels header found"),
    ("snapshots in a circle", xml(NO_ID + "</ParentGUID>",
                                  TOP_ID + "</ParentGUID>"),
     X + "Snapshots form a circle: " + TOP_ID),
    ("snapshot that is its own parent", xml(
        "<ParentGUID>" + ROOT_ID, "<ParentGUID>" + TOP_ID),
     X + "Snapshots form a circle: " + TOP_ID),
    ("parent that is not there", xml(
        "<ParentGUID>" + ROOT_ID, "<ParentGUID>{2" + ROOT_ID[2:]),
     X + "No such snapshot: {2" + ROOT_ID[2:]),
    ("top that is not there", xml(
        "<Snapshots>", "<Snapshots><TopGUID>{2" + ROOT_ID[2:] + "</TopGUID>"),
     X + "No such snapshot: {2" + ROOT_ID[2:]),
    ("top that is none", xml(
        "<Snapshots>", "<Snapshots><TopGUID>" + NO_ID + "</TopGUID>"),
     X + "No snapshot is the top"),
    ("snapshot without an image", xml(
        "<GUID>" + TOP_ID + "</GUID><Type>", "<GUID>{2</GUID><Type>"),
     X + "No image of the snapshot: " + TOP_ID),
    ("65 snapshots", xml("<Snapshots>", "<Snapshots>" + "".join(
        "<Shot><GUID>{%d}</GUID><ParentGUID>{%d}</ParentGUID></Shot>"
        % (i, i + 1) for i in range(70)) + "<TopGUID>{0}</TopGUID>"),
     X + "More than 64 snapshots: {64}"),
    ("an absolute name", xml("1.top.hds", "/etc/passwd"),
     "/etc/passwd is an absolute path (see --allow-path)"),
    ("a name that leads out", xml("1.top.hds", "../disk.hdd.x"),
     "../disk.hdd.x leads out of <dir>/disk.hdd (see --allow-path)"),
    ("an image twice", xml("1.top.hds", "0.top.hds"), TWICE),
    ("an image is missing", drop("disk.hdd/1.root.hds"),
     "1.root.hds: No such file or directory"),
    ("an image is a FIFO", put("disk.hdd/0.root.hds", Fifo()),
     "0.root.hds: Not a regular file"),
    ("an image is a link that leads out", put(
        "disk.hdd/0.root.hds", Link("/etc/passwd")),
     "0.root.hds leads out of <dir>/disk.hdd (see --allow-path)"),
    ("an image of another size", p("sectors", 600, "disk.hdd/1.top.hds"),
     "1.top.hds: Size differs from the descriptor's: 600"),
    ("plain image cut", cut(-1024, "disk.hdd/0.root.hds"),
     "0.root.hds: File is too short for the extent: 640"),
    ("an image's cluster size", p("tracks", 0, "disk.hdd/1.root.hds"),
     "1.root.hds: Parallels cluster size is zero: 0"),
))
group("bundle", "write", (
    ("top not closed", p("in_use", 0x746F6E59, "disk.hdd/1.top.hds"),
     NOT_CLOSED),
))
group("bundle", "walk", (
    ("entry of the second storage", pbat(30, 1000, "disk.hdd/1.top.hds"),
     "BAT entry points past the file's end: 1000", [70]),
))
group("bundle", "read", (
    ("entry of a lower layer", pbat(0, 1000, "disk.hdd/1.root.hds"),
     "BAT entry points past the file's end: 1000", [40]),
))
group("bundle", "fine", (
    ("the description opened", nothing, ""),
), main="disk.hdd/DiskDescriptor.xml")
group("bundle", "fine", (
    ("the empty file opened", nothing, ""),
), main="disk.hdd/disk.hdd")
