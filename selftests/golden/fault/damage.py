# SPDX-License-Identifier: GPL-2.0
"""Damage: functions that change one thing in a copy of a good image."""
import struct

import vhd
from .images import KDMV, ONES, PRL, QED, SECTOR, Sparse, footer_sum


def poke(off, fmt, value, name=None):
    """OFF, VALUE: a number, or what AT has under this name, or a function."""
    def damage(g):
        o = off(g) if callable(off) else g.at.get(off, off)
        v = value(g) if callable(value) else g.at.get(value, value)
        struct.pack_into(fmt, g.data(name), o, v)
    return damage


def field(fields, order, key, value, base=0, name=None):
    off, fmt = fields[key]
    return poke(lambda g: g.at.get(base, base) + off, order + fmt, value, name)


def cut(length, name=None):
    """To LENGTH bytes, or by as many if it is negative."""
    def damage(g):
        del g.data(name)[g.at.get(length, length):]
    return damage


def also(*parts):
    def damage(g):
        for part in parts:
            part(g)
    return damage


def put(name, data):
    return lambda g: g.files.__setitem__(name, data)


def drop(name):
    return lambda g: g.files.__delitem__(name)


def long(length):
    """The file ends there, zero up to it."""
    def damage(g):
        g.files[g.main] = Sparse(g.data())
        g.data().length = length
        g.at["length"] = length
    return damage


def swap(old, new, name=None):
    """In a text; OLD must be there."""
    def damage(g):
        data = bytes(g.data(name))
        o, n = (x if isinstance(x, bytes) else x.encode() for x in (old, new))
        assert o in data, (old, name)
        g.files[name or g.main] = bytearray(data.replace(o, n, 1))
    return damage


def nothing(g):
    pass


def footer(key, value, where="both", fix=True, name=None):
    """Of a VHD: a field of the footer, its copy or both, and their sums."""
    def damage(g):
        d = g.data(name)
        ends = [len(d) - 512] if where != "copy" else []
        if where != "footer" and d[len(d) - 449] != 2:
            ends.append(0)
        for end in ends:
            off, fmt = vhd.FOOTER[key]
            struct.pack_into(fmt, d, end + off, value)
            if fix:
                footer_sum(d, end)
    return damage


def header(key, value, fix=True):
    def damage(g):
        d = g.data()
        off, fmt = vhd.HEADER[key]
        v = g.at.get(value, value)
        struct.pack_into(fmt, d, 512 + off, v)
        if fix:
            struct.pack_into(">I", d, 548, vhd.checksum(d[512:1536], 36))
    return damage


def locator(i, key, value):
    """Locator I of the dynamic header: code, space, length or offset."""
    off, fmt = {"code": (0, "4s"), "space": (4, "I"), "length": (8, "I"),
                "offset": (16, "Q")}[key]

    def damage(g):
        struct.pack_into(">" + fmt, g.data(), 512 + 576 + 24 * i + off,
                         g.at.get(value, value))
        header("version", 0x10000)(g)
    return damage


def names(text):
    """All that a differencing VHD says of its parent becomes TEXT."""
    def damage(g):
        d, le = g.data(), text if isinstance(text, bytes) \
            else text.encode("utf-16-le")
        be = b"".join(le[i + 1:i + 2] + le[i:i + 1]
                      for i in range(0, len(le), 2))
        d[576:576 + 512] = be.ljust(512, b"\0")
        for i in (0, 1):
            at = g.at["locator%d" % i]
            d[at:at + 512] = le.ljust(512, b"\0")
            struct.pack_into(">I", d, 512 + 576 + 24 * i + 8, len(le))
        header("version", 0x10000)(g)
    return damage


def bat(i, value):
    return poke(1536 + 4 * i, ">I", value)


def k(key, value, base=0, name=None):
    return field(KDMV, "<", key, value, base, name)


def gde(i, value, name=None):
    return poke(lambda g: g.at["gd"] * SECTOR + 4 * i, "<I", value, name)


def rgde(i, value):
    return poke(lambda g: g.at["rgd"] * SECTOR + 4 * i, "<I", value)


def rgte(i, value):
    return poke(lambda g: g.at["rgt"] * SECTOR + 4 * i, "<I", value)


def gte(i, value, name=None):
    """Tables lie one behind the other, so that I may be any grain."""
    return poke(lambda g: g.at["gt"] * SECTOR + 4 * i, "<I", value, name)


def sgte(i, value):
    return poke(lambda g: g.at["gt%d" % (i // 512)] + 4 * (i % 512), "<I", value)


def grain(i, data, off=0):
    """The bytes of a stream from OFF of the record of grain I on."""
    def damage(g):
        at = g.at["g%d" % i] * SECTOR + off
        d = data(g) if callable(data) else data
        g.data()[at:at + len(d)] = d
    return damage


def p(key, value, name=None):
    return field(PRL, "<", key, value, 0, name)


def pbat(i, value, name=None):
    return poke(64 + 4 * i, "<I", value, name)


def q(key, value, name=None):
    return field(QED, "<", key, value, 0, name)


def l1(i, value):
    return poke(8192 + 8 * i, "<Q", value)


def l2(i, value, name=None):
    return poke(lambda g: g.at["l2_%d" % (i // 512)] + 8 * (i % 512), "<Q",
                value, name)


def qed_name(text, name=None):
    text = text if isinstance(text, bytes) else text.encode()

    def damage(g):
        g.data(name)[64:64 + len(text)] = text
        q("name_len", len(text), name)(g)
    return damage


def plus(key, n):
    return lambda g: g.at[key] + n


def xml(old, new):
    return swap(old, new, "disk.hdd/DiskDescriptor.xml")
