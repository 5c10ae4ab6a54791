#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""EROFS layers as one file system, for containers.sh: as `mkfs.erofs --aufs
--ovlfs-strip=1 --vmdk-desc` does it, which is newer than Debian 12's.

  erofs.py [--no-table] merge META VMDK LAYER...
      META: directories and inodes of all layers, base first, without the bytes
      of a file: where those are is counted from the beginning of META, with all
      layers behind it. VMDK: a descriptor that puts them so.
  erofs.py describe META VMDK LAYER...
      the descriptor alone, for a META that is there

A table in META says which device begins where. Linux before 6.4 wants those
devices by name, unless --no-table leaves it away.
"""
import os
import stat
import struct
import sys

BLOCK = 4096
MAGIC = 0xe0f5e1e2
DEVICES = 8	# feature
PLAIN, INLINE = 0, 2	# layouts
SUPER = struct.Struct("<III BBH QQ IIII 16s16s I HHH 38x")
COMPACT = struct.Struct("<HHHH II II HH 4x")
EXTENDED = struct.Struct("<HHH2x Q IIII QI I 16x")
DIRENT = struct.Struct("<QHBx")
DEVICE = struct.Struct("<64s II 56x")
SUPER_OFF = 1024
FIRST_NID = 1	# of the root; an inode number of 0 means none
MOST = 1 << 31	# bytes of an extent


class Inode:
    def __init__(self, mode, uid, gid, mtime, size):
        self.mode, self.uid, self.gid, self.mtime = mode, uid, gid, mtime
        self.size, self.data, self.place, self.names = size, b"", None, {}
        self.nlink = 1


class Layer:
    def __init__(self, path, device):
        self.path, self.device = os.path.abspath(path), device
        with open(path, "rb") as f:
            self.bytes = f.read()
        sb = SUPER.unpack_from(self.bytes, SUPER_OFF)
        if sb[0] != MAGIC or 1 << sb[3] != BLOCK:
            sys.exit("%s: not EROFS of %d-byte blocks" % (path, BLOCK))
        self.root, self.time, self.blocks, self.meta = sb[5], sb[7], sb[9], sb[10]

    def inode(self, nid):
        at = self.meta * BLOCK + nid * 32
        form, xattrs, mode = struct.unpack_from("<HHH", self.bytes, at)
        if form & 1:
            (_, _, _, size, where, _, uid, gid, mtime, _, _) = \
                EXTENDED.unpack_from(self.bytes, at)
            end = at + EXTENDED.size
        else:
            (_, _, _, _, size, _, where, _, uid, gid) = \
                COMPACT.unpack_from(self.bytes, at)
            mtime, end = self.time, at + COMPACT.size
        node = Inode(mode, uid, gid, mtime, size)
        layout = form >> 1 & 7
        if layout not in (PLAIN, INLINE):
            sys.exit("%s: layout %d of an inode" % (self.path, layout))
        node.rdev = where
        if stat.S_ISREG(mode):
            if layout != PLAIN and size:
                sys.exit("%s: a file has its bytes in its inode" % self.path)
            node.place = (self.device, where)
        elif stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            end += 12 + 4 * (xattrs - 1) if xattrs else 0
            full = size // BLOCK * BLOCK if layout == INLINE else size
            node.data = self.bytes[where * BLOCK:where * BLOCK + full] + \
                self.bytes[end:end + size - full]
        return node

    def names(self, data):
        for start in range(0, len(data), BLOCK):
            block = data[start:start + BLOCK]
            heads = [DIRENT.unpack_from(block, i * 12) for i in
                     range(DIRENT.unpack_from(block, 0)[1] // 12)]
            ends = [h[1] for h in heads[1:]] + [len(block)]
            for (nid, off, _), end in zip(heads, ends):
                yield block[off:end].split(b"\0")[0], nid

    def tree(self, nid):
        node = self.inode(nid)
        if stat.S_ISDIR(node.mode):
            for name, child in self.names(node.data):
                if name not in (b".", b".."):
                    node.names[name] = self.tree(child)
        return node


def merge(lower, upper):
    """What overlayfs shows; a character device 0:0 hides what is below."""
    for name, node in upper.names.items():
        below = lower.names.get(name)
        if stat.S_ISCHR(node.mode) and node.rdev == 0:
            lower.names.pop(name, None)
        elif below and stat.S_ISDIR(below.mode) and stat.S_ISDIR(node.mode):
            lower.names[name] = merge(below, node)
        else:
            lower.names[name] = node
    upper.names = lower.names
    return upper


def kind(mode):
    return {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4,
            stat.S_IFIFO: 5, stat.S_IFSOCK: 6, stat.S_IFLNK: 7}[stat.S_IFMT(mode)]


def listing(node, parent):
    """A directory's bytes: blocks of heads and then names, all sorted."""
    names = sorted(list(node.names.items()) + [(b".", node), (b"..", parent)])
    blocks, block, used = [], [], 0
    for name, child in names:
        if used + DIRENT.size + len(name) > BLOCK:
            blocks.append(block)
            block, used = [], 0
        block.append((name, child))
        used += DIRENT.size + len(name)
    blocks.append(block)
    out = b""
    for block in blocks:
        out += bytes(-len(out) % BLOCK)
        off = DIRENT.size * len(block)
        for name, child in block:
            out += DIRENT.pack(child.nid, off, kind(child.mode))
            off += len(name)
        out += b"".join(name for name, _ in block)
    return out


def in_order(node, parent):
    yield node, parent
    for name in sorted(node.names):
        yield from in_order(node.names[name], node)


def write_meta(path, root, layers, tabled):
    nodes = list(in_order(root, root))
    nid = FIRST_NID
    for node, _ in nodes:
        node.nid, nid = nid, nid + EXTENDED.size // 32
        if stat.S_ISDIR(node.mode):
            node.nlink = 2 + sum(stat.S_ISDIR(n.mode) for n in node.names.values())
    # One block of headers, the inodes, and what directories and links hold.
    block = 1 + (nid * 32 + BLOCK - 1) // BLOCK
    tail = b""
    for node, parent in nodes:
        if stat.S_ISDIR(node.mode):
            node.data = listing(node, parent)
            node.size = len(node.data)
        node.block = block + len(tail) // BLOCK
        tail += node.data + bytes(-len(node.data) % BLOCK)
    blocks = block + len(tail) // BLOCK
    at, table = blocks, b""
    for layer in layers:
        layer.at = at
        table += DEVICE.pack(b"layer%d" % layer.device, layer.blocks, at)
        at += layer.blocks

    out = bytearray(block * BLOCK)
    if not tabled:
        table = b""
    slot = (SUPER_OFF + SUPER.size) // DEVICE.size
    SUPER.pack_into(out, SUPER_OFF, MAGIC, 0, 0, 12, 0, root.nid, len(nodes),
                    root.mtime, 0, blocks, 1, 0, os.urandom(16), b"",
                    DEVICES if tabled else 0, 0, len(layers) if tabled else 0,
                    slot if tabled else 0)
    out[slot * DEVICE.size:slot * DEVICE.size + len(table)] = table
    for node, _ in nodes:
        where = node.block
        if node.place and node.size:
            where = layers[node.place[0]].at + node.place[1]
        elif not (stat.S_ISDIR(node.mode) or stat.S_ISLNK(node.mode)):
            where = node.rdev
        EXTENDED.pack_into(out, BLOCK + node.nid * 32, 1 | PLAIN << 1, 0, node.mode,
                           node.size, where, node.nid, node.uid, node.gid,
                           node.mtime, 0, node.nlink)
    with open(path, "wb") as f:
        f.write(out + tail)


def write_descriptor(path, pieces):
    with open(path, "w") as f:
        f.write('# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\n'
                'createType="twoGbMaxExtentFlat"\n\n# Extent description\n' %
                struct.unpack("<I", os.urandom(4)))
        for name, blocks in pieces:
            for start in range(0, blocks * BLOCK, MOST):
                count = min(MOST, blocks * BLOCK - start)
                f.write('RW %d FLAT "%s" %d\n' % (count // 512, name, start // 512))
        f.write('\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = "4"\n'
                'ddb.geometry.cylinders = "%d"\nddb.geometry.heads = "16"\n'
                'ddb.geometry.sectors = "63"\nddb.adapterType = "ide"\n' %
                (-(-sum(b for _, b in pieces) * BLOCK // 512 // 1008)))


def main(args):
    tabled = args[:1] != ["--no-table"]
    args = args[not tabled:]
    if len(args) < 4 or args[0] not in ("merge", "describe"):
        sys.exit(__doc__)
    layers = [Layer(path, i) for i, path in enumerate(args[3:])]
    if args[0] == "merge":
        root = layers[0].tree(layers[0].root)
        for layer in layers[1:]:
            root = merge(root, layer.tree(layer.root))
        write_meta(args[1], root, layers, tabled)
    write_descriptor(args[2], [(piece.path, piece.blocks) for piece in
                               [Layer(args[1], None)] + layers])


main(sys.argv[1:])
