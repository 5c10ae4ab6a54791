#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A FUSE file system that shows a directory, and answers with errors when told.

  answerfs.py DIR MOUNTPOINT ANSWER [OPTION...]
      While the file ANSWER says "read EAGAIN", say, or "write EIO", such requests
      get that answer. Options go to FUSE: direct_io. In the foreground.
"""
import errno
import os
import sys

from fusepy import FUSE, FuseOSError, Operations


class AnswerFs(Operations):
    use_ns = True

    def __init__(self, top, answer):
        self.top = top
        self.answer = answer

    def __call__(self, op, path, *args):
        try:
            with open(self.answer, encoding="ascii") as f:
                words = f.read().split()
        except FileNotFoundError:
            words = []
        if words and words[0] == op:
            raise FuseOSError(getattr(errno, words[1]))
        return super().__call__(op, self.top + path, *args)

    def getattr(self, path, fh=None):
        st = os.lstat(path)
        return {k: getattr(st, k) for k in (
            "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")} | {
            k: getattr(st, k + "_ns") for k in ("st_atime", "st_mtime", "st_ctime")}

    def readdir(self, path, fh):
        return [".", ".."] + os.listdir(path)

    def statfs(self, path):
        st = os.statvfs(path)
        return {k: getattr(st, k) for k in (
            "f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree")}

    def open(self, path, flags):
        # What the kernel has dealt with is not asked of the file below.
        return os.open(path, flags & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR))

    def create(self, path, mode, fi=None):
        return os.open(path, os.O_RDWR | os.O_CREAT, mode)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(path, length)

    def fsync(self, path, datasync, fh):
        os.fsync(fh)

    def release(self, path, fh):
        os.close(fh)

    def unlink(self, path):
        os.unlink(path)


def main():
    top, mountpoint, answer = sys.argv[1:4]
    FUSE(AnswerFs(top, answer), mountpoint, foreground=True, nothreads=True,
         allow_other=True, **{option: True for option in sys.argv[4:]})


main()
