#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What a dm-log-writes device has recorded, done again on a file.

  logwrites.py replay LOG FILE      print how many writes and flushes it were

The file then holds what a plain disk would hold after the same writes.
"""
import os
import struct
import sys

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK, METADATA = 1, 2, 4, 8, 16
ENTRY = struct.Struct("<QQQQ")      # sector, sectors, flags, bytes of a mark


def entries(log):
    magic, version, count, unit = struct.unpack("<QQQI", log.read(28))
    if magic != MAGIC or version != 1:
        sys.exit("not a log of dm-log-writes, version 1")
    at = unit
    for _ in range(count):
        log.seek(at)
        sector, sectors, flags, _ = ENTRY.unpack(log.read(ENTRY.size))
        at += unit
        yield log, at, sector, sectors, flags
        if not flags & DISCARD:
            at += sectors * unit
        # A record without sectors has no data behind it.


def replay(log_path, path):
    writes = flushes = 0
    out = os.open(path, os.O_WRONLY)
    with open(log_path, "rb") as log:
        log.seek(0)
        unit = struct.unpack_from("<I", log.read(28), 24)[0]
        log.seek(0)
        for log, at, sector, sectors, flags in entries(log):
            flushes += bool(flags & FLUSH)
            if flags & (DISCARD | MARK) or not sectors:
                continue
            log.seek(at)
            os.pwrite(out, log.read(sectors * unit), sector * unit)
            writes += 1
    os.close(out)
    print("%d writes, %d flushes" % (writes, flushes))


if sys.argv[1:2] != ["replay"] or len(sys.argv) != 4:
    sys.exit(__doc__)
replay(*sys.argv[2:])
