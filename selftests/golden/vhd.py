#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""VHD images by hand: what qemu-img does not make, and single faults.

  vhd.py set IMAGE FIELD=VALUE...     change fields, checksums follow
      footer.NAME, copy.NAME, both.NAME   the footer, its copy at 0, both
      header.NAME                         the dynamic header
      bat.N                               an entry of the BAT
      nosum                               leave checksums as they were
  vhd.py make IMAGE KEY=VALUE...      a dynamic or differencing image
      size=BYTES block=BYTES blocks=0,2,... sectors=EVERY seed=N
      parent=IMAGE|zero w2ru=NAME w2ku=NAME name=NAME raw=FILE
  vhd.py forge IMAGE                  a dynamic header in a fixed disk's data

make writes, into every EVERY-th sector of the blocks named, bytes made from
the seed and the sector's number; raw= is the expected content: read first if
it is there (the parent's), written back with this layer's sectors on top.
"""
import hashlib
import os
import struct
import sys

FOOTER = {  # name: (offset, struct format)
    "cookie": (0, "8s"), "features": (8, ">I"), "version": (12, ">I"),
    "data_offset": (16, ">Q"), "creator": (28, "4s"),
    "original_size": (40, ">Q"), "current_size": (48, ">Q"),
    "cylinders": (56, ">H"), "heads": (58, "B"), "spt": (59, "B"),
    "disk_type": (60, ">I"), "checksum": (64, ">I"), "uuid": (68, "16s"),
    "saved_state": (84, "B"), "hidden": (85, "B"),
}
HEADER = {
    "cookie": (0, "8s"), "data_offset": (8, ">Q"), "table_offset": (16, ">Q"),
    "version": (24, ">I"), "max_table_entries": (28, ">I"),
    "block_size": (32, ">I"), "checksum": (36, ">I"),
    "parent_uuid": (40, "16s"), "parent_name": (64, "512s"),
}


def checksum(data, at):
    return ~(sum(data) - sum(data[at:at + 4])) & 0xFFFFFFFF


def put(data, fields, name, value):
    off, fmt = fields[name]
    if fmt.endswith("s"):
        raw = value.encode("latin-1").decode("unicode_escape").encode("latin-1")
        value = raw.ljust(int(fmt[:-1]), b"\0")
    else:
        value = int(value, 0)
    struct.pack_into(fmt, data, off, value)


def get(data, fields, name):
    off, fmt = fields[name]
    return struct.unpack_from(fmt, data, off)[0]


class Struct:
    """A part of the file that ends in its own checksum."""

    def __init__(self, f, off, length, fields):
        self.f, self.off, self.fields = f, off, fields
        f.seek(off)
        self.data = bytearray(f.read(length))
        self.changed = False

    def set(self, name, value, nosum):
        put(self.data, self.fields, name, value)
        self.changed = True
        at = self.fields["checksum"][0]
        if not nosum and name != "checksum":
            struct.pack_into(">I", self.data, at, checksum(self.data, at))

    def save(self):
        if self.changed:
            self.f.seek(self.off)
            self.f.write(self.data)


def do_set(path, args):
    nosum = "nosum" in args
    with open(path, "r+b") as f:
        end = f.seek(0, 2)
        footer = Struct(f, end - 512, 512, FOOTER)
        copy = Struct(f, 0, 512, FOOTER)
        where = {"footer": [footer], "copy": [copy], "both": [footer, copy]}
        header = None
        if get(footer.data, FOOTER, "disk_type") != 2:
            off = get(copy.data, FOOTER, "data_offset")
            header = Struct(f, off, 1024, HEADER)
            where["header"] = [header]
            bat = get(header.data, HEADER, "table_offset")
        for arg in args:
            if arg == "nosum":
                continue
            key, value = arg.split("=", 1)
            part, name = key.split(".")
            if part == "bat":
                f.seek(bat + 4 * int(name))
                f.write(struct.pack(">I", int(value, 0)))
                continue
            for s in where[part]:
                s.set(name, value, nosum)
        for s in (footer, copy, header):
            if s:
                s.save()


def new_footer(size, kind, seed, data_offset):
    d = bytearray(512)
    for name, value in (
            ("cookie", "conectix"), ("features", "2"), ("version", "0x10000"),
            ("data_offset", str(data_offset)), ("creator", "win "),
            ("original_size", str(size)), ("current_size", str(size)),
            ("disk_type", str(kind))):
        put(d, FOOTER, name, value)
    d[68:84] = hashlib.md5(b"id %d" % seed).digest()
    struct.pack_into(">I", d, 64, checksum(d, 64))
    return d


def content(seed, sector):
    return hashlib.sha256(b"%d %d" % (seed, sector)).digest() * 16


def parent_id(parent):
    if parent == "zero":
        return bytes(16)
    with open(parent, "rb") as f:
        f.seek(-512, 2)
        return f.read(512)[68:84]


def locators(opt, header, at):
    """Names go behind the BAT, each with 4096 bytes of room."""
    out, i = [], 0
    for key, code in (("w2ru", b"W2ru"), ("w2ku", b"W2ku")):
        if key not in opt:
            continue
        text = opt[key].encode("utf-16-le")
        struct.pack_into(">4sIIIQ", header, 576 + 24 * i, code, 4096,
                         len(text), 0, at)
        out.append((at, text))
        at += 4096
        i += 1
    return out, at


def do_make(path, args):
    opt = dict(a.split("=", 1) for a in args)
    size, block = int(opt["size"]), int(opt.get("block", 2 << 20))
    seed, every = int(opt.get("seed", 1)), int(opt.get("sectors", 1))
    blocks = [int(b) for b in opt.get("blocks", "").split(",") if b]
    spb, entries = block // 512, -(-size // block)
    bitmap = -(-spb // 8 // 512) * 512 or 512
    kind = 4 if "parent" in opt else 3

    header = bytearray(1024)
    for name, value in (
            ("cookie", "cxsparse"), ("data_offset", str(2**64 - 1)),
            ("table_offset", "1536"), ("version", "0x10000"),
            ("max_table_entries", str(entries)), ("block_size", str(block))):
        put(header, HEADER, name, value)
    at = -(-(1536 + 4 * entries) // 512) * 512
    texts, at = locators(opt, header, at)
    if kind == 4:
        header[40:56] = parent_id(opt["parent"])
        name = opt.get("name", "").encode("utf-16-be")
        header[64:64 + len(name)] = name
    struct.pack_into(">I", header, 36, checksum(header, 36))
    footer = new_footer(size, kind, seed, 512)

    raw = bytearray()
    if "raw" in opt:
        if os.path.exists(opt["raw"]):
            with open(opt["raw"], "rb") as f:
                raw = bytearray(f.read())
        raw = raw[:size].ljust(size, b"\0")
    with open(path, "wb") as f:
        bat = bytearray(b"\xff" * (4 * entries))
        f.write(footer + header + bat)
        for off, text in texts:
            f.seek(off)
            f.write(text)
        for b in blocks:
            struct.pack_into(">I", bat, 4 * b, at // 512)
            bits = bytearray(bitmap)
            for s in range(0, min(spb, size // 512 - b * spb), every):
                bits[s >> 3] |= 0x80 >> (s & 7)
                data = content(seed, b * spb + s)
                f.seek(at + bitmap + s * 512)
                f.write(data)
                if raw:
                    lo = (b * spb + s) * 512
                    raw[lo:lo + 512] = data
            f.seek(at)
            f.write(bits)
            at += bitmap + block
        f.seek(1536)
        f.write(bat)
        f.seek(at)
        f.write(footer)
    if "raw" in opt:
        with open(opt["raw"], "wb") as f:
            f.write(raw)


def do_forge(path, args):
    """What a guest can write into a fixed disk to make it look dynamic."""
    with open(path, "r+b") as f:
        size = f.seek(0, 2) - 512
        header = bytearray(1024)
        for name, value in (
                ("cookie", "cxsparse"), ("table_offset", "1536"),
                ("version", "0x10000"), ("block_size", str(2 << 20)),
                ("max_table_entries", str(-(-size // (2 << 20))))):
            put(header, HEADER, name, value)
        struct.pack_into(">I", header, 36, checksum(header, 36))
        f.seek(0)
        f.write(new_footer(size, 3, 99, 512) + header + bytes(512))


if __name__ == "__main__":
    {"set": do_set, "make": do_make, "forge": do_forge}[sys.argv[1]](
        sys.argv[2], sys.argv[3:])
