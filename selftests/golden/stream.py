# SPDX-License-Identifier: GPL-2.0
"""stream.py IMAGE RAW: is IMAGE the stream of RAW, by what importers demand?

Read once from front to back, each part told by its marker alone; then footer and
tables are compared with what was seen.
"""
import struct
import sys
import zlib

SECTOR = 512


def header(h):
    names = ("magic version flags capacity grain desc desc_len gtes rgd gd "
             "overhead").split()
    f = dict(zip(names, struct.unpack("<4sIIQQQQIQQQ", h[:72])))
    f["newline"], f["method"] = h[73:77], struct.unpack("<H", h[77:79])[0]
    return f


def main(image, raw):
    data = open(image, "rb").read()
    disk = open(raw, "rb")
    assert len(data) % SECTOR == 0
    h = header(data)
    assert h["magic"] == b"KDMV" and h["version"] == 3, h
    assert h["flags"] == 0x30001 and h["method"] == 1, h
    assert h["newline"] == b"\n \r\n" and h["gtes"] == 512, h
    assert h["gd"] == 2 ** 64 - 1 and h["overhead"] == 128, h
    text = data[h["desc"] * SECTOR:][:h["desc_len"] * SECTOR].rstrip(b"\0")
    assert b'createType="streamOptimized"' in text, text

    grain = h["grain"]
    at = h["overhead"] * SECTOR
    grains, tables, last, gd, footer = {}, {}, -1, None, None
    while True:
        sector = at // SECTOR
        value, size, kind = struct.unpack("<QII", data[at:at + 16])
        if size:
            # ascending, whole, of a grain
            assert value % grain == 0 and value > last, (value, last)
            last = value
            plain = zlib.decompress(data[at + 12:at + 12 + size])
            assert len(plain) == grain * SECTOR, len(plain)
            assert any(plain)
            grains[value // grain] = sector
            disk.seek(value * SECTOR)
            want = disk.read(len(plain))
            assert plain == want.ljust(len(plain), b"\0"), value
            end = at + 12 + size
            at = -(-end // SECTOR) * SECTOR
            assert not any(data[end:at])
            continue
        body = data[at + SECTOR:at + SECTOR + value * SECTOR]
        assert not any(data[at + 16:at + SECTOR])
        at += SECTOR + value * SECTOR
        if kind == 0:
            assert value == 0 and at == len(data), (value, at)
            break
        if kind == 1:
            assert value == 4
            tables[sector + 1] = struct.unpack("<512I", body)
        elif kind == 2:
            gd = sector + 1, struct.unpack("<%dI" % (len(body) // 4), body)
        elif kind == 3:
            footer = header(body)
        else:
            raise AssertionError(kind)

    assert footer["gd"] == gd[0], (footer, gd[0])
    assert {**footer, "gd": 0} == {**h, "gd": 0}
    seen = {}
    for i, gt in enumerate(gd[1]):
        if gt:
            for j, sector in enumerate(tables.pop(gt)):
                if sector:
                    seen[i * 512 + j] = sector
    assert seen == grains and not tables, "tables do not say what was seen"
    # and nothing is missing
    disk.seek(0)
    for i in range(-(-h["capacity"] // grain)):
        if i not in grains:
            disk.seek(i * grain * SECTOR)
            assert not any(disk.read(grain * SECTOR)), i


main(*sys.argv[1:])
