# SPDX-License-Identifier: GPL-2.0
"""Small good images, built from bytes known beforehand."""
import copy
import hashlib
import os
import random
import struct
import zlib

import vhd

SECTOR = 512
ONES = 2**64 - 1


class Fifo:
    pass


class Dir:
    pass


class Link:
    def __init__(self, to):
        self.to = to


class Sparse(bytearray):
    """A file of LENGTH bytes, zero where nothing was written."""
    length = 0


class Good:
    """Files, which of them to open, what the disk holds; AT: places in them."""

    def __init__(self, main, fmt=None, unit=1, read_only=False):
        self.main, self.fmt, self.unit = main, fmt, unit
        self.read_only = read_only
        self.files, self.at, self.content = {}, {}, b""

    def damaged(self):
        g = copy.copy(self)
        g.files = {k: copy.copy(v) for k, v in self.files.items()}
        g.at = dict(self.at)
        return g

    def data(self, name=None):
        return self.files[name or self.main]

    def sectors(self):
        return len(self.content) // SECTOR

    def write(self, top):
        for name, data in self.files.items():
            path = os.path.join(top, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if isinstance(data, Fifo):
                os.mkfifo(path)
            elif isinstance(data, Dir):
                os.makedirs(path, exist_ok=True)
            elif isinstance(data, Link):
                os.symlink(data.to, path)
            else:
                with open(path, "wb") as f:
                    f.write(data)
                    if isinstance(data, Sparse):
                        f.truncate(data.length)


def noise(name, sectors):
    return random.Random(repr(name)).randbytes(sectors * SECTOR)


def up(n, to):
    return -(-n // to) * to


def place(raw, off, data):
    """As bytes are written to a file: what lies between is zero."""
    if len(raw) < off + len(data):
        raw.extend(bytes(off + len(data) - len(raw)))
    raw[off:off + len(data)] = data


# ---------------------------------------------------------------------------
# Good images.

def footer_sum(data, off=0):
    struct.pack_into(">I", data, off + 64, vhd.checksum(data[off:off + 512], 64))


def make_vhd(g, name, size, block, blocks, seed, every=1, parent=None,
             names=(), below=b""):
    """BLOCKS in the order they lie in. Sectors not written read BELOW."""
    spb, entries = block // SECTOR, -(-size // block)
    bitmap = up(up(spb, 8) // 8, SECTOR)
    footer = bytearray(vhd.new_footer(size, 4 if parent else 3, seed, 512))
    header = bytearray(1024)
    struct.pack_into(">8sQQIII", header, 0, b"cxsparse", ONES, 1536, 0x10000,
                     entries, block)
    raw, content = bytearray(), bytearray(below[:size].ljust(size, b"\0"))
    at = 1536 + up(4 * entries, SECTOR)
    if parent:
        header[40:56] = parent[-512:][68:84]
        header[64:64 + 2 * len(names[0])] = names[0].encode("utf-16-be")
        for i, (code, text) in enumerate(zip((b"W2ru", b"W2ku"), names[1:])):
            text = text.encode("utf-16-le")
            struct.pack_into(">4sIIIQ", header, 576 + 24 * i, code, 512,
                             len(text), 0, at)
            place(raw, at, text)
            g.at["locator%d" % i] = at
            at += 512
    struct.pack_into(">I", header, 36, vhd.checksum(header, 36))
    place(raw, 0, footer + header)
    place(raw, 1536, b"\xff" * up(4 * entries, SECTOR))
    for b in blocks:
        struct.pack_into(">I", raw, 1536 + 4 * b, at // SECTOR)
        g.at["e%d" % b] = at // SECTOR
        bits = bytearray(bitmap)
        for s in range(0, min(spb, size // SECTOR - b * spb), every):
            bits[s >> 3] |= 0x80 >> (s & 7)
            data = noise((seed, b, s), 1)
            place(raw, at + bitmap + s * SECTOR, data)
            lo = (b * spb + s) * SECTOR
            content[lo:lo + SECTOR] = data
        place(raw, at, bits)
        at += bitmap + block
    place(raw, at, footer)
    g.files[name], g.content = raw, bytes(content)
    g.at.update(end=at // SECTOR, length=len(raw), size=size)


def vhd_fixed():
    g = Good("fixed.vhd", "vhd")
    g.content = noise("fixed", 128)
    g.files[g.main] = bytearray(g.content) + vhd.new_footer(65536, 2, 5, ONES)
    footer_sum(g.data(), 65536)
    g.at.update(size=65536, length=66048)
    return g


def vhd_dynamic():
    g = Good("disk.vhd", "vhd", 128)
    make_vhd(g, g.main, (1 << 20) - 1536, 65536, (0, 5, 1, 15), 1)
    return g


def vhd_diff():
    """The parent has every third sector of its blocks, the child every other."""
    g = Good("child.vhd", None, 128)
    make_vhd(g, "base.vhd", 1 << 20, 65536, (0, 2, 9), 2, 3)
    g.at.update({"p" + k: v for k, v in g.at.items() if k[0] == "e"})
    make_vhd(g, g.main, 1 << 20, 65536, (2, 4), 3, 2, g.data("base.vhd"),
             ("base.vhd", ".\\base.vhd", "C:\\vm\\base.vhd"), g.content)
    g.at["id"] = g.data("base.vhd")[-512:][68:84].hex()
    return g


def text_of(kind, extents, more=""):
    return ("# Disk DescriptorFile\nversion=1\nCID=12345678\n"
            "parentCID=ffffffff\ncreateType=\"%s\"\n%s\n# Extents\n%s\n\n"
            "# DDB\nddb.adapterType = \"ide\"\n"
            % (kind, more, "\n".join(extents)))


KDMV = {  # name: (offset, struct format)
    "magic": (0, "4s"), "version": (4, "I"), "flags": (8, "I"),
    "capacity": (12, "Q"), "grain": (20, "Q"), "desc": (28, "Q"),
    "desc_size": (36, "Q"), "gtes": (44, "I"), "rgd": (48, "Q"),
    "gd": (56, "Q"), "overhead": (64, "Q"), "unclean": (72, "B"),
    "newline": (73, "4s"), "method": (77, "H"),
}


def kdmv(**fields):
    h = bytearray(SECTOR)
    fields = dict(dict(magic=b"KDMV", version=1, gtes=512,
                       newline=b"\n \r\n"), **fields)
    for name, value in fields.items():
        struct.pack_into("<" + KDMV[name][1], h, KDMV[name][0], value)
    return h


def make_hosted(g, name, sectors, grains, zeroes=(), text="", below=b""):
    """Grains of 8 sectors, all tables made, both sets of them."""
    nr_gd = -(-sectors // 4096)
    desc = 2 if text else 0
    rgd = 1 + desc
    gd = rgd + 1 + 4 * nr_gd
    start = up(gd + 1 + 4 * nr_gd, 8)
    raw = bytearray()
    content = bytearray(below[:sectors * SECTOR].ljust(sectors * SECTOR, b"\0"))
    place(raw, 0, kdmv(flags=7 if zeroes else 3, version=2 if zeroes else 1,
                       capacity=sectors, grain=8, desc=1 if desc else 0,
                       desc_size=desc, rgd=rgd, gd=gd, overhead=start))
    place(raw, SECTOR, text.encode())
    place(raw, start * SECTOR - 1, b"\0")
    for i in range(nr_gd):
        struct.pack_into("<I", raw, rgd * SECTOR + 4 * i, rgd + 1 + 4 * i)
        struct.pack_into("<I", raw, gd * SECTOR + 4 * i, gd + 1 + 4 * i)
    for i in zeroes:
        for d in (rgd, gd):
            struct.pack_into("<I", raw, (d + 1) * SECTOR + 4 * i, 1)
        content[i * 4096:i * 4096 + 4096] = bytes(4096)
    at = start
    for i in grains:
        for d in (rgd, gd):
            struct.pack_into("<I", raw, (d + 1) * SECTOR + 4 * i, at)
        data = noise((name, i), 8)
        place(raw, at * SECTOR, data)
        content[i * 4096:i * 4096 + 4096] = data
        g.at["g%d" % i] = at
        at += 8
    g.files[name] = raw
    g.at.update(rgd=rgd, gd=gd, gt=gd + 1, rgt=rgd + 1, start=start,
                sectors=sectors, end=at, length=len(raw))
    return bytes(content[:sectors * SECTOR])


GRAINS = (1, 0, 2, 100, 600, 767)


def vmdk_sparse(zeroes=()):
    g = Good("disk.vmdk", "vmdk", 8)
    g.content = make_hosted(g, g.main, 6141, GRAINS, zeroes, text_of(
        "monolithicSparse", ['RW 6141 SPARSE "disk.vmdk"']))
    return g


def vmdk_zeroed():
    return vmdk_sparse((3, 4))


def vmdk_child():
    g = Good("child.vmdk", None, 8)
    text = text_of("monolithicSparse", ['RW 6141 SPARSE "base.vmdk"'])
    below = make_hosted(g, "base.vmdk", 6141, GRAINS, (), text)
    text = text_of("monolithicSparse", ['RW 6200 SPARSE "child.vmdk"'],
                   'parentFileNameHint="base.vmdk"')
    text = text.replace("parentCID=ffffffff", "parentCID=12345678")
    g.content = make_hosted(g, g.main, 6200, (5, 1), (2,), text, below)
    return g


def marker(value, kind):
    return struct.pack("<QII", value, 0, kind).ljust(SECTOR, b"\0")


def packed(lba, stream):
    rec = struct.pack("<QI", lba, len(stream)) + stream
    return rec.ljust(up(len(rec), SECTOR), b"\0")


def vmdk_stream():
    """As VMware writes it. Grain 3 does not shrink, 520 is in a second table."""
    g = Good("disk.vmdk", "vmdk", 16)
    content, raw, gts, gdes = bytearray(9216 * SECTOR), bytearray(), {}, []
    place(raw, 0, bytes(2 * SECTOR))
    text = text_of("streamOptimized", ['RDONLY 9216 SPARSE "stream.vmdk"'])
    for i in (0, 1, 3, 520):
        data = noise(i, 16) if i == 3 else bytes([i & 255, 7] * 4096)
        content[i * 8192:i * 8192 + 8192] = data
        gts.setdefault(i // 512, {})[i % 512] = len(raw) // SECTOR
        g.at["g%d" % i] = len(raw) // SECTOR
        raw += packed(i * 16, zlib.compress(data))
    for n in sorted(gts):
        raw += marker(4, 1)
        gdes.append(len(raw) // SECTOR)
        table = bytearray(2048)
        for i, entry in gts[n].items():
            struct.pack_into("<I", table, 4 * i, entry)
        g.at["gt%d" % n] = len(raw)
        raw += table
    raw += marker(1, 2)
    g.at["gd"] = len(raw)
    raw += struct.pack("<II", *gdes).ljust(SECTOR, b"\0")
    fields = dict(version=3, flags=0x30001, capacity=9216, grain=16, desc=1,
                  desc_size=1, overhead=2, method=1)
    raw[:SECTOR] = kdmv(gd=ONES, **fields)
    raw[SECTOR:SECTOR + len(text)] = text.encode()
    g.at["tail"] = len(raw)
    raw += marker(1, 3) + kdmv(gd=g.at["gd"] // SECTOR, **fields) + bytes(SECTOR)
    assert len(text) <= SECTOR
    g.files[g.main], g.content = raw, bytes(content)
    g.at["length"] = len(raw)
    return g


def vmdk_flat():
    g = Good("disk.vmdk")
    g.content = noise("flat", 456)
    g.files["a.raw"] = bytearray(noise("before", 8) + g.content[:256 * SECTOR])
    g.files["b.raw"] = bytearray(g.content[256 * SECTOR:])
    g.files[g.main] = bytearray(text_of("monolithicFlat", [
        'RW 256 FLAT "a.raw" 8', 'RW 200 VMFS "b.raw"']).encode())
    return g


def vmdk_split():
    g = Good("disk.vmdk", None, 8)
    a = make_hosted(g, "disk-s001.vmdk", 4096, (0, 9))
    b = make_hosted(g, "disk-s002.vmdk", 808, (100, 4))
    g.content = a + b[:800 * SECTOR]
    g.files[g.main] = bytearray(text_of("twoGbMaxExtentSparse", [
        'RW 4096 SPARSE "disk-s001.vmdk"',
        'RW 800 SPARSE "disk-s002.vmdk"']).encode())
    return g


def vmdk_embedded():
    """No disk in the header: the text inside it names the extents."""
    g = Good("disk.vmdk")
    g.content = noise("embedded", 100)
    g.files["a.raw"] = bytearray(g.content)
    text = text_of("custom", ['RW 100 FLAT "a.raw" 0'])
    g.files[g.main] = kdmv(flags=1, grain=8, desc=1, desc_size=2) + bytearray(
        text.encode().ljust(1024, b"\0"))
    return g


def make_cowd(g, name):
    """Grains of one sector, as ESX has them: a table covers 2 MiB."""
    sectors, raw = 5096, bytearray(2048)
    content = bytearray(sectors * SECTOR)
    struct.pack_into("<4sIIIIIII", raw, 0, b"COWD", 1, 3, sectors, 1, 4, 2, 0)
    place(raw, 4 * SECTOR, struct.pack("<II", 5, 37))
    at = 69
    for i in (1, 0, 2, 10, 4101, 5095):
        place(raw, 5 * SECTOR + 4 * i, struct.pack("<I", at))
        data = noise((name, i), 1)
        place(raw, at * SECTOR, data)
        content[i * SECTOR:i * SECTOR + SECTOR] = data
        g.at["g%d" % i] = at
        at += 1
    struct.pack_into("<I", raw, 28, at)
    g.files[name] = raw
    g.at.update(sectors=sectors, end=at, length=len(raw))
    return bytes(content)


def cowd():
    g = Good("disk-delta.vmdk", "cowd", 1)
    g.content = make_cowd(g, g.main)
    return g


def vmdk_esx():
    g = Good("disk.vmdk", None, 1)
    g.content = make_cowd(g, "disk-delta.vmdk")
    g.files[g.main] = bytearray(text_of("vmfsSparse", [
        'RW 5096 VMFSSPARSE "disk-delta.vmdk"']).encode())
    return g


# What a seSparse file is made of: sector, sectors.
AREAS = {"volatile": (1, 1), "journal_header": (2, 2), "journal": (4, 2),
         "directory": (8, 1), "tables": (16, 128), "free": (144, 8),
         "backmap": (152, 8), "grains": (160, 32)}


def se_grain(index):
    return 3 << 60 | (index & 0xfff) << 48 | index >> 12


def make_sesparse(g, name):
    sectors = 34816
    raw, content = bytearray(192 * SECTOR), bytearray(sectors * SECTOR)
    struct.pack_into("<10Q", raw, 0, 0xcafebabe, 0x200000001, sectors, 8, 64,
                     0, 0, 0, 0, 0)
    for i, (off, size) in enumerate(AREAS.values()):
        struct.pack_into("<QQ", raw, 80 + 16 * i, off, size)
        g.at["a%d" % i] = 80 + 16 * i
    struct.pack_into("<4Q", raw, SECTOR, 0xcafecafe, 2, 9, 0)
    struct.pack_into("<2Q", raw, 8 * SECTOR, 1 << 60 | 1, 1 << 60)
    for i, entry in ((0, se_grain(2)), (1, se_grain(0)), (5, 2 << 60),
                     (6, 1 << 60), (9, se_grain(1)), (4096 + 7, se_grain(3))):
        at = (80 if i < 4096 else 16) * SECTOR + 8 * (i % 4096)
        struct.pack_into("<Q", raw, at, entry)
        g.at["t%d" % i] = at
        if entry >> 60 == 3:
            data = noise((name, i), 8)
            place(raw, (160 + 8 * (entry >> 48 & 0xfff)) * SECTOR, data)
            content[i * 4096:i * 4096 + 4096] = data
    g.files[name] = raw
    g.at.update(sectors=sectors, length=len(raw))
    return bytes(content)


def sesparse():
    g = Good("disk-sesparse.vmdk", "sesparse", 8, True)
    g.content = make_sesparse(g, g.main)
    return g


def vmdk_sesparse():
    g = Good("disk.vmdk", None, 8, True)
    g.content = make_sesparse(g, "disk-sesparse.vmdk")
    g.files[g.main] = bytearray(text_of("seSparse", [
        'RW 34816 SESPARSE "disk-sesparse.vmdk"']).encode())
    return g


PRL = {
    "magic": (0, "16s"), "version": (16, "I"), "tracks": (28, "I"),
    "entries": (32, "I"), "sectors": (36, "Q"), "in_use": (44, "I"),
    "data_off": (48, "I"), "flags": (52, "I"), "ext_off": (56, "Q"),
}


def make_parallels(g, name, v2, tracks, entries, sectors, clusters, below=b""):
    start = tracks if v2 else up(64 + 4 * entries, SECTOR) // SECTOR
    content = bytearray(below[:sectors * SECTOR].ljust(sectors * SECTOR, b"\0"))
    raw = bytearray(start * SECTOR)
    struct.pack_into("<16sIIIIIQIIIQ", raw, 0, b"WithouFreSpacExt" if v2 else
                     b"WithoutFreeSpace", 2, 16, 63, tracks, entries, sectors,
                     0, start if v2 else 0, 0, 0)
    at = start
    for i in clusters:
        entry = at // tracks if v2 else at
        struct.pack_into("<I", raw, 64 + 4 * i, entry)
        g.at["c%d" % i] = entry
        data = noise((name, i), tracks)
        place(raw, at * SECTOR, data)
        lo = i * tracks * SECTOR
        content[lo:lo + len(data)] = data
        at += tracks
    g.files[name] = raw
    g.at.update(end=at // tracks if v2 else at, length=len(raw), start=start,
                entries=entries, sectors=sectors)
    return bytes(content[:sectors * SECTOR])


def parallels_v1():
    """63 sectors in a cluster, the data right behind two sectors of BAT."""
    g = Good("disk.hds", "parallels", 63)
    g.content = make_parallels(g, g.main, False, 63, 130, 6280, (7, 0, 1, 99))
    return g


def parallels_v2():
    g = Good("disk.hds", "parallels", 16)
    g.content = make_parallels(g, g.main, True, 16, 40, 635, (3, 0, 39))
    return g


DIRTY_BITMAP = 0x20385FAE252CB34A


def parallels_ext():
    """With a map of changed blocks and a feature that may be carried along."""
    g = parallels_v2()
    raw = g.data()
    bitmap = struct.pack("<Q16sIIQ", 635, b"i" * 16, 8, 1, 0)
    rest = struct.pack("<QQII", DIRTY_BITMAP, 0, len(bitmap), 0) + bitmap
    g.at["bitmap"] = len(raw) + 48
    g.at["second"] = len(raw) + 24 + len(rest)
    rest += struct.pack("<QQII", 77, 2, 5, 0) + b"abcde".ljust(8, b"\0")
    rest = rest.ljust(8192 - 24, b"\0")
    ext = struct.pack("<Q", 0xAB234CEF23DCEA87) + hashlib.md5(rest).digest()
    g.at.update(ext=len(raw), ext_sec=len(raw) // SECTOR,
                ext_cluster=len(raw) // 8192)
    struct.pack_into("<I", raw, 44, 0x312E3276)
    struct.pack_into("<Q", raw, 56, len(raw) // SECTOR)
    raw += ext + rest
    g.at["length"] = len(raw)
    return g


ROOT_ID = "{11111111-1111-1111-1111-111111111111}"
TOP_ID = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
NO_ID = "{00000000-0000-0000-0000-000000000000}"


def bundle():
    """Two storages, two snapshots, one of the four images plain."""
    def image(guid, kind, name):
        return ("<Image><GUID>%s</GUID><Type>%s</Type><File>%s</File></Image>"
                % (guid, kind, name))

    g = Good("disk.hdd", None, 16)
    plain = noise("plain", 640)
    g.files["disk.hdd/0.root.hds"] = bytearray(plain)
    low = make_parallels(g, "disk.hdd/1.root.hds", True, 16, 40, 640, (0, 30))
    g.content = make_parallels(g, "disk.hdd/0.top.hds", True, 16, 40, 640,
                               (2, 3), plain)
    g.content += make_parallels(g, "disk.hdd/1.top.hds", True, 16, 40, 640,
                                (30,), low)
    g.files["disk.hdd/disk.hdd"] = bytearray()
    g.files["disk.hdd/DiskDescriptor.xml"] = bytearray((
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        "<Parallels_disk_image Version=\"1.0\">\n"
        "<Disk_Parameters><Disk_size>1280</Disk_size><Padding>0</Padding>"
        "<Encryption><Engine>" + NO_ID + "</Engine></Encryption>"
        "</Disk_Parameters>\n<StorageData>\n"
        "<Storage><Start>0</Start><End>640</End><Blocksize>16</Blocksize>" +
        image(ROOT_ID, "Plain", "0.root.hds") +
        image(TOP_ID, "Compressed", "0.top.hds") + "</Storage>\n"
        "<Storage><Start>640</Start><End>1280</End><Blocksize>16</Blocksize>" +
        image(ROOT_ID, "Compressed", "1.root.hds") +
        image(TOP_ID, "Compressed", "1.top.hds") + "</Storage>\n"
        "</StorageData>\n<Snapshots>"
        "<Shot><GUID>" + TOP_ID + "</GUID><ParentGUID>" + ROOT_ID +
        "</ParentGUID></Shot>"
        "<Shot><GUID>" + ROOT_ID + "</GUID><ParentGUID>" + NO_ID +
        "</ParentGUID></Shot></Snapshots>\n"
        "</Parallels_disk_image>\n").encode())
    return g


QED = {
    "magic": (0, "4s"), "cluster": (4, "I"), "table": (8, "I"),
    "header": (12, "I"), "features": (16, "Q"), "compat": (24, "Q"),
    "autoclear": (32, "Q"), "l1": (40, "Q"), "size": (48, "Q"),
    "name_off": (56, "I"), "name_len": (60, "I"),
}


def make_qed(g, name, size, clusters, zeroes=(), backing="", features=0,
             below=b""):
    """Clusters of 4 KiB, two of them header; a table is one and covers 2 MiB."""
    raw = bytearray(3 * 4096)
    content = bytearray(below[:size].ljust(size, b"\0"))
    struct.pack_into("<4sIIIQQQQQII", raw, 0, b"QED\0", 4096, 1, 2, features, 0,
                     0, 8192, size, 64 if backing else 0, len(backing))
    raw[64:64 + len(backing)] = backing.encode()
    tables = {}
    for i in (*clusters, *zeroes):
        if i // 512 not in tables:
            tables[i // 512] = len(raw)
            g.at["l2_%d" % (i // 512)] = len(raw)
            struct.pack_into("<Q", raw, 8192 + i // 512 * 8, len(raw))
            raw += bytes(4096)
        at = tables[i // 512] + i % 512 * 8
        data = bytes(4096)
        struct.pack_into("<Q", raw, at, len(raw) if i in clusters else 1)
        if i in clusters:
            g.at["d%d" % i] = len(raw)
            data = noise((name, i), 8)
            raw += data
        content[i * 4096:i * 4096 + 4096] = data
    g.files[name] = raw
    g.at.update(length=len(raw), size=size)
    return bytes(content[:size])


def qed():
    g = Good("disk.qed", "qed", 8)
    g.content = make_qed(g, g.main, (5 << 20) - 1536, (1, 0, 2, 1027), (511,))
    return g


def qed_child():
    g = Good("child.qed", None, 8)
    below = make_qed(g, "base.qed", 3 << 20, (1, 0, 600))
    g.at["base0"] = g.at["l2_0"]
    g.content = make_qed(g, g.main, 4 << 20, (0, 5), (1,), "base.qed", 1, below)
    return g


def qed_raw():
    g = Good("child.qed", None, 8)
    below = noise("base", 100)
    g.files["base.raw"] = bytearray(below)
    g.content = make_qed(g, g.main, 1 << 20, (2,), (), "base.raw", 5, below)
    return g


def raw():
    g = Good("disk.raw", "raw")
    g.content = noise("raw", 64)
    g.files[g.main] = bytearray(g.content)
    return g


GOOD = {f.__name__.replace("_", "-"): f for f in (
    vhd_fixed, vhd_dynamic, vhd_diff, vmdk_sparse, vmdk_zeroed, vmdk_child,
    vmdk_stream, vmdk_flat, vmdk_split, vmdk_embedded, cowd, vmdk_esx, sesparse,
    vmdk_sesparse, parallels_v1, parallels_v2, parallels_ext, bundle, qed,
    qed_child, qed_raw, raw)}
