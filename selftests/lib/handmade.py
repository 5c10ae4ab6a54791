#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Images with declared content, byte by byte from the specifications.

  handmade.py list [WORD...]   names and words of the images that have all WORDs
  handmade.py make NAME DIR    write image NAME to DIR (made if need be), and
                               what its disk reads to DIR/expected; prints the
                               path of the image to open
  handmade.py make-all DIR [WORD...]  each to DIR/NAME, path in DIR/NAME/top
  handmade.py chain KIND N DIR  N layers: kind qed or vhd; as make
  handmade.py split DIR        a split VMDK child over a parent of three extents
  handmade.py flat N DIR       one descriptor of N flat extents

Words: rw (may be written), ro, the format as qemu-img calls it where qemu-img
can be trusted with it (qemu:vpc, ...; formats.md, section 8), free (discard
gives units back). The content of a unit is a function of the layer and of the
unit's number, so nothing that is tested has a say in what is expected.
"""
import os
import random
import struct
import sys
import zlib

SECTOR = 512
NONE = 0xFFFFFFFF


def noise(layer, unit, length):
    """What a unit of a layer holds."""
    return random.Random("%s/%d" % (layer, unit)).randbytes(length)


def up(value, unit):
    return -(-value // unit) * unit


class Disk:
    """What the guest sees: each layer paints over those below."""

    def __init__(self, sectors, below=None):
        self.sectors = sectors
        self.bytes = bytearray(sectors * SECTOR)
        if below is not None:
            n = min(len(self.bytes), len(below.bytes))
            self.bytes[:n] = below.bytes[:n]

    def paint(self, sector, data):
        at = sector * SECTOR
        data = data[:max(0, len(self.bytes) - at)]
        self.bytes[at:at + len(data)] = data


class File:
    """A sparse file, written here and there."""

    def __init__(self, path):
        self.path = path
        self.parts = []
        self.end = 0

    def put(self, off, data):
        self.parts.append((off, bytes(data)))
        self.end = max(self.end, off + len(data))

    def save(self, length=None):
        with open(self.path, "wb") as f:
            for off, data in self.parts:
                f.seek(off)
                f.write(data)
            f.truncate(self.end if length is None else length)
        return self.path


def chosen(layer, units, share=0.4):
    """Units that a layer has; both ends, and a run of neighbours, always."""
    rnd = random.Random("units of " + layer)
    some = {u for u in range(units) if rnd.random() < share}
    some |= {0, units - 1} | set(range(units // 2, min(units, units // 2 + 3)))
    return some


def shuffled(layer, units):
    units = sorted(units)
    random.Random("order of " + layer).shuffle(units)
    return units


def u32(values, big=False):
    return struct.pack("%s%dI" % (">" if big else "<", len(values)), *values)


def u64(values):
    return struct.pack("<%dQ" % len(values), *values)


# ---------------------------------------------------------------------------
# Parallels

def parallels(path, layer, disk, version, tracks, data_off, share=0.4):
    entries = up(disk.sectors, tracks) // tracks
    least = up(64 + 4 * entries, SECTOR) // SECTOR
    if version == 2:
        least = up(least, tracks)
    start = data_off or least
    assert start >= least
    f = File(path)
    bat = [0] * entries
    at = start
    for unit in shuffled(layer, chosen(layer, entries, share)):
        data = noise(layer, unit, tracks * SECTOR)
        f.put(at * SECTOR, data)
        disk.paint(unit * tracks, data)
        bat[unit] = at if version == 1 else at // tracks
        at += tracks
    magic = b"WithoutFreeSpace" if version == 1 else b"WithouFreSpacExt"
    size = disk.sectors
    if version == 1:
        size |= 0x5A5A5A5A << 32        # the high half means nothing
    f.put(0, magic + struct.pack("<IIIIIQIIIQ", 2, 16, disk.sectors // 512 + 1,
                                 tracks, entries, size, 0,
                                 start if version == 2 else data_off, 0, 0))
    f.put(64, u32(bat))
    return f.save(at * SECTOR)


def case_parallels(dir, name, sectors, version, tracks, data_off):
    disk = Disk(sectors)
    path = os.path.join(dir, name + ".hds")
    return parallels(path, name, disk, version, tracks, data_off), disk


def guid(n):
    return "{%08x-0000-4000-8000-%012x}" % (n, n)


def case_bundle(dir, name, sectors, starts, depth, plain, top):
    """One image a storage and snapshot; the first snapshot may be plain."""
    bundle = os.path.join(dir, name + ".hdd")
    os.makedirs(bundle)
    open(os.path.join(bundle, name + ".hdd"), "wb").close()
    disk, ends = Disk(sectors), starts[1:] + [sectors]
    tracks, storages = 63 if top else 128, []
    top_guid = guid(depth) if top else "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
    guids = [guid(n + 1) for n in range(depth - 1)] + [top_guid]
    for k, (start, end) in enumerate(zip(starts, ends)):
        below, images = None, []
        for n in range(depth):
            layer = "%s/%d/%d" % (name, k, n)
            file = "%s.hdd.%d.%s.hds" % (name, k, guids[n])
            part = Disk(end - start, below)
            path = os.path.join(bundle, file)
            if n == 0 and plain:
                data = noise(layer, 0, (end - start) * SECTOR)
                part.paint(0, data)
                with open(path, "wb") as f:
                    f.write(data)
            elif n % 2:
                parallels(path, layer, part, 1, tracks, 0, 0.3)
            else:
                parallels(path, layer, part, 2, tracks, 0, 0.3)
            kind = "Plain" if n == 0 and plain else "Compressed"
            images.append("<Image><GUID>%s</GUID><Type>%s</Type>"
                          "<File>%s</File></Image>" % (guids[n], kind, file))
            below = part
        disk.paint(start, below.bytes)
        random.Random(name).shuffle(images)
        storages.append("<Storage><Start>%d</Start><End>%d</End>"
                        "<Blocksize>%d</Blocksize>%s</Storage>" %
                        (start, end, tracks, "".join(images)))
    shots = ["<Shot><GUID>%s</GUID><ParentGUID>%s</ParentGUID></Shot>" %
             (guids[n], guids[n - 1] if n else
              "{00000000-0000-0000-0000-000000000000}") for n in range(depth)]
    text = ("<?xml version='1.0' encoding='UTF-8'?>\n"
            "<Parallels_disk_image Version=\"1.0\">\n"
            "<Disk_Parameters><Disk_size>%d</Disk_size>"
            "<Cylinders>%d</Cylinders><Heads>1</Heads><Sectors>1</Sectors>"
            "<Padding>0</Padding></Disk_Parameters>\n"
            "<StorageData>%s</StorageData>\n<Snapshots>%s%s</Snapshots>\n"
            "</Parallels_disk_image>\n" %
            (sectors, sectors, "\n".join(storages),
             "<TopGUID>%s</TopGUID>" % top_guid if top else "",
             "\n".join(shots[::-1])))
    with open(os.path.join(bundle, "DiskDescriptor.xml"), "w") as f:
        f.write(text)
    return bundle, disk


# ---------------------------------------------------------------------------
# VHD

def vhd_sum(raw, at):
    raw = bytearray(raw)
    raw[at:at + 4] = bytes(4)
    raw[at:at + 4] = struct.pack(">I", ~sum(raw) & NONE)
    return bytes(raw)


def vhd_id(layer):
    return noise("id of " + layer, 0, 16)


def vhd_footer(layer, disk, kind, header, creator=b"win "):
    raw = b"conectix" + struct.pack(
        ">IIQI4sI4sQQHBBI", 2, 0x10000, header, 0x2A2A2A2A, creator, 0x60001,
        b"Wi2k", disk.sectors * SECTOR, disk.sectors * SECTOR, 0, 0, 0, kind)
    raw += bytes(4) + vhd_id(layer)
    return vhd_sum(raw.ljust(512, b"\0"), 64)


def vhd_fixed(path, layer, disk):
    data = noise(layer, 0, disk.sectors * SECTOR)
    disk.paint(0, data)
    f = File(path)
    f.put(0, data)
    f.put(disk.sectors * SECTOR, vhd_footer(layer, disk, 2, (1 << 64) - 1))
    return f.save()


def vhd(path, layer, disk, block, parent=None, trailer=512, gap=0, share=0.5):
    """@parent: (file name, layer). Half of the sectors of a block are set; what
    lies in the others is nobody's, and must not be read."""
    per = block // SECTOR
    entries = up(disk.sectors, per) // per
    bat_at = 0x600 if parent is None else 0x2000
    bitmap = up(up(per, 8) // 8, SECTOR)
    at = up(bat_at + 4 * entries, SECTOR) + gap
    if parent:
        at = max(at, 0x4000)
    f, bat = File(path), [NONE] * entries
    for unit in shuffled(layer, chosen(layer, entries, share)):
        data = bytearray(noise(layer, unit, block))
        bits = bytearray(noise(layer + " bits", unit, bitmap))
        rnd = random.Random("runs of %s/%d" % (layer, unit))
        for k in range(0, per // 8, 16):        # long runs among the noise
            if rnd.randrange(3):
                run = bits[k:min(k + 16, per // 8)]
                bits[k:k + len(run)] = bytes([255 * rnd.randrange(2)]) * len(run)
        for s in range(per):
            if not bits[s >> 3] & 0x80 >> (s & 7):
                continue
            if unit * per + s < disk.sectors:
                disk.paint(unit * per + s, data[s * SECTOR:(s + 1) * SECTOR])
        f.put(at, bits)
        f.put(at + bitmap, data)
        bat[unit] = at // SECTOR
        at += bitmap + block
        at += SECTOR * rnd.randrange(3)         # holes between blocks
    header = b"cxsparse" + struct.pack(">QQIIII", (1 << 64) - 1, bat_at,
                                       0x10000, entries, block, 0)
    if parent:
        text = (".\\" + parent[0]).encode("utf-16-le")
        f.put(0x3000, text)
        header += vhd_id(parent[1]) + bytes(8)
        header += parent[0].encode("utf-16-be").ljust(512, b"\0")
        header += struct.pack(">IIIIQ", 0x57327275, 512, len(text), 0, 0x3000)
    foot = vhd_footer(layer, disk, 4 if parent else 3, 512)
    f.put(0, foot)
    f.put(512, vhd_sum(header.ljust(1024, b"\0"), 36))
    f.put(bat_at, u32(bat, True))
    f.put(at, foot[:trailer])
    return f.save(at + trailer)


def case_vhd(dir, name, sectors, block, **more):
    disk = Disk(sectors)
    return vhd(os.path.join(dir, name + ".vhd"), name, disk, block, **more), disk


def case_vhd_chain(dir, name, layers):
    """Layers from the bottom up: (sectors, block); block 0: a fixed disk."""
    disk = parent = None
    for n, (sectors, block) in enumerate(layers):
        disk = Disk(sectors, disk)
        layer, file = "%s/%d" % (name, n), "%s-%d.vhd" % (name, n)
        path = os.path.join(dir, file)
        if block:
            vhd(path, layer, disk, block, parent, share=0.3 if n else 0.7)
        else:
            vhd_fixed(path, layer, disk)
        parent = (file, layer)
    return path, disk


# ---------------------------------------------------------------------------
# VMDK

def descriptor(kind, extents, cid=0x12345678, parent=None):
    """@parent: (file name, CID)."""
    lines = ["# Disk DescriptorFile", "version=1", "CID=%08x" % cid,
             "parentCID=%08x" % (parent[1] if parent else NONE),
             'createType="%s"' % kind]
    if parent:
        lines.append('parentFileNameHint="%s"' % parent[0])
    lines += ["", "# Extent description"] + extents
    lines += ["", "# The Disk Data Base", "#DDB", "",
              'ddb.adapterType = "ide"']
    return ("\n".join(lines) + "\n").encode()


def kdmv_header(version, flags, disk, grain, desc, gtes, rgd, gd, over, packed):
    raw = b"KDMV" + struct.pack("<IIQQQQIQQQB4sH", version, flags,
                                disk.sectors, grain, desc[0], desc[1], gtes,
                                rgd, gd, over, 0, b"\n \r\n", packed)
    return raw.ljust(512, b"\0")


def grain_kinds(layer, grains, zero, per_table, missing, share=0.4):
    """Which grains are there, which are zero; tables without either."""
    have = chosen(layer, grains, share)
    gone = set()
    if missing:
        tables = up(grains, per_table) // per_table
        gone = {t for t in range(1, tables - 1) if t % 2} or ({1} - {tables - 1})
    have = {g for g in have if g // per_table not in gone}
    zeroes = set()
    if zero:
        zeroes = {g for g in range(grains) if g % 5 == 1} - have
        zeroes |= {g for g in have if g % 7 == 3}
        zeroes = {g for g in zeroes if g // per_table not in gone}
    return have - zeroes, zeroes, gone


def sparse(path, layer, disk, grain=128, gtes=512, version=1, redundant=True,
           zero=False, missing=False, kind="monolithicSparse", parent=None,
           cid=0x12345678, text=True):
    grains = up(disk.sectors, grain) // grain
    tables = up(grains, gtes) // gtes
    have, zeroes, gone = grain_kinds(layer, grains, zero, gtes, missing)
    f, at = File(path), 1
    desc = (1, 20) if text else (0, 0)
    if text:
        f.put(512, descriptor(kind, ['RW %d SPARSE "%s"' % (
            disk.sectors, os.path.basename(path))], cid, parent))
        at = 21
    gt_sec, gd_sec = up(gtes * 4, 512) // 512, up(tables * 4, 512) // 512
    where = []                  # of the directory and the tables, twice
    for _ in range(2 if redundant else 1):
        gd, at = at, at + gd_sec
        gts = [0] * tables
        for t in range(tables):
            if t not in gone:
                gts[t], at = at, at + gt_sec
        where.append((gd, gts))
    over = at = up(at, grain)
    entries = [0] * (tables * gtes)
    for g in shuffled(layer, have):
        data = noise(layer, g, grain * SECTOR)
        f.put(at * SECTOR, data)
        disk.paint(g * grain, data)
        entries[g], at = at, at + grain
    for g in zeroes:
        disk.paint(g * grain, bytes(grain * SECTOR))
        entries[g] = 1
    for gd, gts in where:
        f.put(gd * SECTOR, u32(gts))
        for t in range(tables):
            if gts[t]:
                f.put(gts[t] * SECTOR, u32(entries[t * gtes:(t + 1) * gtes]))
    flags = 1 | 2 * redundant | 4 * zero
    f.put(0, kdmv_header(version, flags, disk, grain, desc, gtes,
                         where[0][0] if redundant else 0, where[-1][0], over, 0))
    return f.save(at * SECTOR)


def marker(kind, sectors):
    return struct.pack("<QII", sectors, 0, kind).ljust(512, b"\0")


def stream(path, layer, disk, raw_deflate, grain):
    """As VMware exports: markers, tables behind the grains, a footer."""
    gtes = 512
    grains = up(disk.sectors, grain) // grain
    tables = up(grains, gtes) // gtes
    have, _, _ = grain_kinds(layer, grains, False, gtes, True)
    f, at = File(path), 128
    f.put(512, descriptor("streamOptimized", [
        'RDONLY %d SPARSE "generated-stream.vmdk"' % disk.sectors]))
    entries = [0] * (tables * gtes)
    gts = [0] * tables

    def table(t):
        nonlocal at
        if not any(entries[t * gtes:(t + 1) * gtes]):
            return
        f.put(at * SECTOR, marker(1, 4))
        f.put((at + 1) * SECTOR, u32(entries[t * gtes:(t + 1) * gtes]))
        gts[t] = at + 1
        at += 5

    for g in sorted(have):
        # Some grains pack well, some are larger than before.
        data = noise(layer, g, grain * SECTOR)
        if g % 3:
            data = data[:2048] * (grain * SECTOR // 2048)
        data = data[:(disk.sectors - g * grain) * SECTOR]
        disk.paint(g * grain, data)
        c = zlib.compressobj(6 if g % 2 else 1, zlib.DEFLATED,
                             -15 if raw_deflate else 15)
        packed = c.compress(data) + c.flush()
        f.put(at * SECTOR, struct.pack("<QI", g * grain, len(packed)) + packed)
        entries[g] = at
        at += up(12 + len(packed), 512) // 512
        if g + 1 not in have and g % gtes > gtes - 8:
            table(g // gtes)
    for t in range(tables):
        if not gts[t]:
            table(t)
    f.put(at * SECTOR, marker(2, up(tables * 4, 512) // 512))
    gd = at + 1
    f.put(gd * SECTOR, u32(gts))
    at = gd + up(tables * 4, 512) // 512
    f.put(at * SECTOR, marker(3, 1))
    args = (3, 0x30001, disk, grain, (1, 1), gtes, 0)
    f.put((at + 1) * SECTOR, kdmv_header(*args, gd, 128, 1))
    f.put((at + 2) * SECTOR, marker(0, 0))
    f.put(0, kdmv_header(*args, (1 << 64) - 1, 128, 1))
    return f.save((at + 3) * SECTOR)


def cowd(path, layer, disk, grain):
    grains = up(disk.sectors, grain) // grain
    tables = up(grains, 4096) // 4096
    have, _, gone = grain_kinds(layer, grains, False, 4096, True)
    f = File(path)
    at = 4 + up(tables * 4, 512) // 512
    gts = [0] * tables
    for t in range(tables):
        if t not in gone:
            gts[t], at = at, at + 32
    entries = [0] * (tables * 4096)
    for g in shuffled(layer, have):
        data = noise(layer, g, grain * SECTOR)
        f.put(at * SECTOR, data)
        disk.paint(g * grain, data)
        entries[g], at = at, at + grain
    f.put(2048, u32(gts))
    for t in range(tables):
        if gts[t]:
            f.put(gts[t] * SECTOR, u32(entries[t * 4096:(t + 1) * 4096]))
    f.put(0, b"COWD" + struct.pack("<IIIIIIIIII", 1, 3, disk.sectors, grain, 4,
                                   tables, at, 100, 16, 63))
    f.put(2047, b"\0")
    return f.save(at * SECTOR)


def sesparse(path, layer, disk):
    grain, per = 8, 4096
    grains = up(disk.sectors, grain) // grain
    tables = up(grains, per) // per
    have, _, gone = grain_kinds(layer, grains, False, per, True, 0.1)
    zeroes = {g for g in have if g % 9 == 4}
    have -= zeroes
    f = File(path)
    gd_at, gd_len = 64, up(tables * 8, 32768) // 512
    gts_at = gd_at + gd_len
    gts_len = tables * 64
    grains_at = gts_at + gts_len + 64
    gd, index = [0] * tables, {}
    for n, t in enumerate(shuffled(layer, set(range(tables)) - gone)):
        gd[t], index[t] = 0x1000000000000000 | n, n
    entries = {t: [0] * per for t in index}
    at = 0
    for g in shuffled(layer, have):
        data = noise(layer, g, grain * SECTOR)
        f.put((grains_at + at * 8) * SECTOR, data)
        disk.paint(g * grain, data)
        entries[g // per][g % per] = (3 << 60 | (at & 0xFFF) << 48 | at >> 12)
        at += 1
    for g in zeroes:
        disk.paint(g * grain, bytes(grain * SECTOR))
        entries[g // per][g % per] = 2 << 60
    f.put(gd_at * SECTOR, u64(gd))
    for t, n in index.items():
        f.put((gts_at + n * 64) * SECTOR, u64(entries[t]))
    f.put(0, u64([0xCAFEBABE, 0x200000001, disk.sectors, grain, 64, 0, 0, 0, 0,
                  0, 1, 1, 2, 1, 3, 8, gd_at, gd_len, gts_at, gts_len,
                  grains_at - 64, 32, grains_at - 32, 32, grains_at, at * 8]))
    f.put(512, u64([0xCAFECAFE, 0, 0, 0]).ljust(512, b"\0"))
    return f.save((grains_at + max(at, 1) * 8) * SECTOR)


def case_sparse(dir, name, sectors, **more):
    disk = Disk(sectors)
    return sparse(os.path.join(dir, name + ".vmdk"), name, disk, **more), disk


def case_stream(dir, name, sectors, raw_deflate, grain):
    disk = Disk(sectors)
    path = os.path.join(dir, name + ".vmdk")
    return stream(path, name, disk, raw_deflate, grain), disk


def flat(path, layer, sectors, before=0, behind=0):
    """A raw file with the extent somewhere in it."""
    data = noise(layer, 0, sectors * SECTOR)
    with open(path, "wb") as f:
        f.write(b"\xEE" * (before * SECTOR) + data + b"\xEE" * (behind * SECTOR))
    return data


def write_text(dir, name, text):
    path = os.path.join(dir, name)
    with open(path, "wb") as f:
        f.write(text)
    return path


def case_vmfs(dir, name, sectors):
    disk = Disk(sectors)
    disk.paint(0, flat(os.path.join(dir, name + "-flat.vmdk"), name, sectors))
    text = descriptor("vmfs", ['RW %d VMFS "%s-flat.vmdk"' % (sectors, name)])
    return write_text(dir, name + ".vmdk", text), disk


def case_cowd(dir, name, sectors, grain, child):
    """A redo log of ESX, alone or over the flat disk it was made of."""
    disk, parent = None, None
    if child:
        _, disk = case_vmfs(dir, name + "-base", sectors)
        parent = (name + "-base.vmdk", 0x12345678)
    disk = Disk(sectors, disk)
    cowd(os.path.join(dir, name + "-delta.vmdk"), name, disk, grain)
    text = descriptor("vmfsSparse", ['RW %d VMFSSPARSE "%s-delta.vmdk"' %
                                     (sectors, name)], 0x87654321, parent)
    return write_text(dir, name + ".vmdk", text), disk


def case_sesparse(dir, name, sectors, child):
    disk, parent = None, None
    if child:
        _, disk = case_vmfs(dir, name + "-base", sectors)
        parent = (name + "-base.vmdk", 0x12345678)
    disk = Disk(sectors, disk)
    sesparse(os.path.join(dir, name + "-sesparse.vmdk"), name, disk)
    text = descriptor("seSparse", ['RW %d SESPARSE "%s-sesparse.vmdk"' %
                                   (sectors, name)], 0x87654321, parent)
    return write_text(dir, name + ".vmdk", text), disk


def case_extents(dir, name, access, crlf):
    """Every kind of extent in one disk, at odd lengths."""
    disk, at, lines = Disk(20000), 0, []

    def add(access, sectors, kind, file=None, offset=None):
        nonlocal at
        line = "%s %d %s" % (access, sectors, kind)
        if file:
            line += ' "%s"' % file
        if offset is not None:
            line += " %d" % offset
        lines.append(line)
        at += sectors

    def flat_part(access, sectors, file, before):
        data = flat(os.path.join(dir, file), name + file, sectors, before, 5)
        disk.paint(at, data)
        add(access, sectors, "FLAT", file, before)

    flat_part("RW", 3001, "a.raw", 0)
    add("RW", 1111, "ZERO")
    flat_part(access, 777, "b.raw", 13)
    part = Disk(8000)
    sparse(os.path.join(dir, "c.vmdk"), name + "c", part, grain=16, gtes=64,
           text=False)
    disk.paint(at, part.bytes)
    add("RW", 8000, "SPARSE", "c.vmdk")
    part = Disk(5000)
    cowd(os.path.join(dir, "d.cow"), name + "d", part, 4)
    disk.paint(at, part.bytes)
    add("RW", 5000, "VMFSSPARSE", "d.cow")
    add(access, 1000, "ZERO")
    flat_part("RW", 20000 - at, "with blank.raw", 1)
    text = descriptor("custom", lines)
    if crlf:
        text = text.replace(b"\n", b" \r\n")
    return write_text(dir, name + ".vmdk", text), disk


# ---------------------------------------------------------------------------
# QED

def qed(path, layer, disk, cluster, table=4, header=1, backing=None, raw=False,
        zero=True, share=0.4):
    per = table * cluster // 8
    clusters = up(disk.sectors * SECTOR, cluster) // cluster
    tables = up(clusters, per) // per
    have, zeroes, gone = grain_kinds(layer, clusters, zero, per, True)
    if share < 0.4:
        rnd = random.Random("share of " + layer)
        have = {c for c in have if rnd.random() < share}
    f = File(path)
    l1 = header * cluster
    at = l1 + table * cluster
    first = [0] * per
    for t in shuffled(layer, set(range(tables)) - gone):
        first[t], at = at, at + table * cluster
    entries = {t: [0] * per for t in range(tables) if first[t]}
    for c in shuffled(layer, have):
        data = noise(layer, c, cluster)
        f.put(at, data)
        disk.paint(c * cluster // SECTOR, data)
        entries[c // per][c % per], at = at, at + cluster
    for c in zeroes:
        disk.paint(c * cluster // SECTOR, bytes(cluster))
        entries[c // per][c % per] = 1
    name = (backing or "").encode()
    features = (1 if backing else 0) | (4 if raw else 0)
    f.put(0, b"QED\0" + struct.pack("<IIIQQQQQII", cluster, table, header,
                                    features, 0, 0, l1, disk.sectors * SECTOR,
                                    64 if backing else 0, len(name)) + name)
    f.put(l1, u64(first))
    for t, e in entries.items():
        f.put(first[t], u64(e))
    return f.save(at)


def case_qed(dir, name, sectors, base=None, **more):
    """@base: raw or qed, and its sectors."""
    disk = backing = None
    if base:
        disk = Disk(base[1])
        backing = name + "-base." + base[0]
        path = os.path.join(dir, backing)
        if base[0] == "raw":
            disk.paint(0, flat(path, name + "-base", base[1]))
        else:
            qed(path, name + "-base", disk, 65536)
    disk = Disk(sectors, disk)
    path = os.path.join(dir, name + ".qed")
    return qed(path, name, disk, backing=backing,
               raw=bool(base and base[0] == "raw"), **more), disk


# ---------------------------------------------------------------------------

MIB = 2048
CASES = {
    "p1-63": ("rw free qemu:parallels-read", case_parallels, 6011, 1, 63, 0),
    "p1-63-off": ("rw free qemu:parallels", case_parallels, 6011, 1, 63, 200),
    "p1-504": ("rw free qemu:parallels", case_parallels, 6048, 1, 504, 504),
    "p2-63": ("rw free qemu:parallels", case_parallels, 6011, 2, 63, 0),
    "p2-126": ("rw free qemu:parallels", case_parallels, 6000, 2, 126, 0),
    "p2-2048-off": ("rw free qemu:parallels", case_parallels, 8001, 2, 2048, 4096),
    "bundle-plain": ("rw", case_bundle, 6000, [0], 3, True, True),
    "bundle-packed": ("rw", case_bundle, 6000, [0], 2, False, False),
    "bundle-split": ("rw", case_bundle, 9000, [0, 2999, 6048], 3, True, True),
    "vhd-bits": ("rw free", case_vhd, 5 * MIB + 7, 2 << 20),
    "vhd-4k": ("rw free", case_vhd, 4001, 4096),
    "vhd-512k": ("rw free", case_vhd, 3 * MIB - 1, 512 << 10),
    "vhd-8m": ("rw free", case_vhd, 9 * MIB + 1, 8 << 20),
    "vhd-511": ("rw free", case_vhd, 5 * MIB, 2 << 20),
    "vhd-gap": ("rw free", case_vhd, 3 * MIB, 1 << 20),
    "vhd-copy-only": ("rw free", case_vhd, 3 * MIB, 1 << 20),
    "vhd-diff": ("rw", case_vhd_chain, [(5 * MIB, 2 << 20), (5 * MIB, 2 << 20)]),
    "vhd-diff-fixed": ("rw", case_vhd_chain,
                       [(3 * MIB + 3, 0), (4 * MIB, 512 << 10)]),
    "vhd-diff-blocks": ("rw", case_vhd_chain,
                        [(2 * MIB, 0), (3 * MIB + 5, 4096),
                         (3 * MIB + 5, 4 << 20), (4 * MIB, 64 << 10)]),
    "vmdk-8": ("rw free", case_sparse, 6001),
    "vmdk-16-64": ("rw free", case_sparse, 6001),
    "vmdk-128-1": ("rw free", case_sparse, 6001),
    "vmdk-2048": ("rw free qemu:vmdk", case_sparse, 8000),
    "vmdk-zero": ("rw free qemu:vmdk", case_sparse, 6001),
    "vmdk-missing": ("rw free", case_sparse, 10001),
    "vmdk-single": ("rw free qemu:vmdk", case_sparse, 6001),
    "vmdk-3": ("ro", case_sparse, 6001),
    "stream-zlib": ("rw", case_stream, 20037, False, 16),
    "stream-deflate": ("rw", case_stream, 8000, True, 128),
    "vmfs": ("rw qemu:vmdk", case_vmfs, 6001),
    "cowd-1": ("rw", case_cowd, 12301, 1, False),
    "cowd-128": ("rw", case_cowd, 8001, 128, False),
    "cowd-child": ("rw", case_cowd, 8001, 8, True),
    "sesparse": ("ro", case_sesparse, 70001, False),
    "sesparse-child": ("ro", case_sesparse, 8001, True),
    "extents": ("ro", case_extents, "RW", False),
    "extents-crlf": ("ro", case_extents, "RDONLY", True),
    "qed-1": ("rw free", case_qed, 12301),
    "qed-4k-2": ("rw free qemu:qed", case_qed, 16001),
    "qed-header": ("rw free qemu:qed", case_qed, 8001),
    "qed-64k": ("rw free qemu:qed", case_qed, 16001),
    "qed-1m": ("rw free qemu:qed", case_qed, 8000),
    "qed-raw": ("rw free qemu:qed", case_qed, 8001, ("raw", 7000)),
    "qed-qed": ("rw free qemu:qed", case_qed, 8001, ("qed", 10000)),
}
MORE = {
    "vhd-511": {"trailer": 511},
    "vhd-gap": {"gap": 3584},
    "vhd-copy-only": {"trailer": 0},
    "vmdk-8": {"grain": 8, "gtes": 512},
    "vmdk-16-64": {"grain": 16, "gtes": 64, "redundant": False},
    "vmdk-128-1": {"grain": 128, "gtes": 1},
    "vmdk-2048": {"grain": 2048},
    "vmdk-zero": {"zero": True, "version": 2},
    "vmdk-missing": {"missing": True, "zero": True, "version": 2, "grain": 32,
                     "gtes": 64},
    "vmdk-single": {"redundant": False},
    "vmdk-3": {"version": 3},
    "qed-1": {"cluster": 4096, "table": 1},
    "qed-4k-2": {"cluster": 4096, "table": 2},
    "qed-header": {"cluster": 8192, "table": 4, "header": 3},
    "qed-64k": {"cluster": 65536},
    "qed-1m": {"cluster": 1 << 20, "table": 2},
    "qed-raw": {"cluster": 65536},
    "qed-qed": {"cluster": 32768, "table": 2},
}


def finish(dir, top, disk):
    with open(os.path.join(dir, "expected"), "wb") as f:
        f.write(disk.bytes)
    with open(os.path.join(dir, "top"), "w") as f:
        f.write(top + "\n")
    return top


def make(name, dir):
    words, build, *args = CASES[name]
    os.makedirs(dir, exist_ok=True)
    return finish(dir, *build(dir, name, *args, **MORE.get(name, {})))


def matching(words):
    return [n for n, case in CASES.items()
            if all(any(w == x or (w.endswith(":") and x.startswith(w))
                       for x in case[0].split()) for w in words)]


def chain(kind, count, dir):
    os.makedirs(dir, exist_ok=True)
    disk = path = backing = None
    if kind == "vhd":
        sizes = (512 << 10, 4096, 256 << 10, 64 << 10)
        layers = [(MIB + n, sizes[n % 4]) for n in range(count)]
        return finish(dir, *case_vhd_chain(dir, "chain", layers))
    for n in range(count):
        # Shorter and longer ones, in turn.
        disk = Disk(2 * MIB - (n % 3) * 100 + 1000 * (n == count - 1), disk)
        file = "chain-%d.qed" % n
        path = os.path.join(dir, file)
        qed(path, "chain/%d" % n, disk, 4096 << n % 3, 2, backing=backing,
            zero=n % 4 == 3, share=0.1)
        backing = file
    return finish(dir, path, disk)


def split(dir):
    """Extents whose borders are nowhere near each other's."""
    os.makedirs(dir, exist_ok=True)
    disk, at, lines = Disk(9000), 0, []
    for n, sectors in enumerate((2973, 11, 9000 - 2984)):
        file = "base-f%03d.vmdk" % n
        disk.paint(at, flat(os.path.join(dir, file), file, sectors))
        lines.append('RW %d FLAT "%s" 0' % (sectors, file))
        at += sectors
    write_text(dir, "base.vmdk",
               descriptor("twoGbMaxExtentFlat", lines, 0xB0B0B0B0))
    disk, at, lines = Disk(10000, disk), 0, []
    for n, sectors in enumerate((512, 5000, 10000 - 5512)):
        file = "top-s%03d.vmdk" % n
        part = Disk(sectors)
        part.bytes[:] = disk.bytes[at * SECTOR:(at + sectors) * SECTOR]
        sparse(os.path.join(dir, file), file, part, grain=16, gtes=32,
               zero=True, version=2, missing=True, text=False)
        disk.paint(at, part.bytes)
        lines.append('RW %d SPARSE "%s"' % (sectors, file))
        at += sectors
    text = descriptor("twoGbMaxExtentSparse", lines, 0xC1C1C1C1,
                      ("base.vmdk", 0xB0B0B0B0))
    return finish(dir, write_text(dir, "top.vmdk", text), disk)


def flats(count, dir):
    os.makedirs(dir, exist_ok=True)
    sizes = [1 + n * 7 % 23 for n in range(count)]
    disk, at, lines = Disk(sum(sizes)), 0, []
    for n, sectors in enumerate(sizes):
        file = "many-f%04d.vmdk" % n
        disk.paint(at, flat(os.path.join(dir, file), file, sectors, n % 3))
        lines.append('RW %d FLAT "%s" %d' % (sectors, file, n % 3))
        at += sectors
    text = descriptor("twoGbMaxExtentFlat", lines)
    return finish(dir, write_text(dir, "many.vmdk", text), disk)


def main():
    verb, *args = sys.argv[1:] or ["help"]
    if verb == "list":
        for name in matching(args):
            print(name, CASES[name][0])
    elif verb == "make":
        print(make(*args))
    elif verb == "make-all":
        for name in matching(args[1:]):
            make(name, os.path.join(args[0], name))
    elif verb == "chain":
        print(chain(args[0], int(args[1]), args[2]))
    elif verb == "split":
        print(split(args[0]))
    elif verb == "flat":
        print(flats(int(args[0]), args[1]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
