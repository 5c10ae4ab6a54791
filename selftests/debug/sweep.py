#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The first, the second, the third ... thing that is asked for is not given.

  sweep.py load MODULE LAST       the last LAST requests while a module loads
  sweep.py attach NAME SECTORS LINE  each while a table is loaded and resumed
  sweep.py detach NAME SECTORS LINE COMMAND...
      each while a device that has been written to is suspended and removed;
      COMMAND prepares the image before each, and looks at it after, being
      called with "before" or "after"

A request is what the fault injection counts in this task: memory, and bios to
disks that may fail; those of device-mapper are among them. A sweep ends when all
requests were granted, and prints how many it refused. $STEP=N: not each is
refused, but one in N (another of them for another $VDISK_SEED).
"""
import ctypes
import mmap
import os
import subprocess
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kernel/lib"))
import dm  # noqa: E402

SUSPEND_FLAG = 2
MANY = 1 << 20
MOST = 3000
libc = ctypes.CDLL(None, use_errno=True)
PAGE = mmap.mmap(-1, 4096)


class Nth:
    """with Nth(n) as nth: ...; then nth.left says how many were still to go."""

    def __init__(self, n):
        self.n = n
        self.path = "/proc/thread-self/fail-nth"

    def __enter__(self):
        self.fd = os.open(self.path, os.O_RDWR)
        os.write(self.fd, b"%d" % self.n)
        return self

    def __exit__(self, *error):
        self.left = int(os.pread(self.fd, 32, 0))
        if self.left:
            os.pwrite(self.fd, b"0", 0)
        os.close(self.fd)


def finit(fd):
    if libc.syscall(313, fd, b"", 0):
        return ctypes.get_errno()
    return 0


def load(path, last):
    fd = os.open(path, os.O_RDONLY)

    def once(n):
        with Nth(n) as nth:
            error = finit(fd)
        if not error and libc.syscall(176, b"dm_vdisk", os.O_NONBLOCK):
            sys.exit("request %d: cannot unload: %s" %
                     (n, os.strerror(ctypes.get_errno())))
        return error, nth.left

    error, left = once(MANY)
    if error:
        sys.exit("does not load: %s" % os.strerror(error))
    total = MANY - left
    refused = 0
    for n in range(max(1, total - int(last)), total + 1):
        error, _ = once(n)
        refused += bool(error)
    error, _ = once(MANY)
    if error:
        sys.exit("does not load any more: %s" % os.strerror(error))
    print("%d requests, %d refusals of the last %s" % (total, refused, last))


class Device:
    def __init__(self, name, sectors, line):
        self.control = open("/dev/mapper/control", "rb")
        self.name, self.sectors, self.line = name, int(sectors), line

    def create(self):
        dev = dm.ioctl(self.control, dm.CREATE, self.name)
        self.node = "/dev/dm-%d" % (dev & 0xff | dev >> 12 & 0xfff00)

    def load(self):
        params = self.line.encode() + b"\0"
        params += bytes(-len(params) % 8)
        spec = dm.SPEC.pack(0, self.sectors, 0, dm.SPEC.size + len(params), b"vdisk")
        dm.ioctl(self.control, dm.LOAD, self.name, spec + params, 1)

    def resume(self):
        dm.ioctl(self.control, dm.SUSPEND, self.name)

    def suspend(self):
        dm.ioctl(self.control, dm.SUSPEND, self.name, flags=SUSPEND_FLAG)

    def remove(self):
        dm.remove(self.control, self.name)

    def touch(self, write):
        fd = os.open(self.node, os.O_RDWR | os.O_DIRECT)
        try:
            for k in range(8):
                at = k * (self.sectors // 8) * 512
                if write:
                    PAGE[:] = b"%8d" % k * 512
                    os.pwrite(fd, PAGE, at)
                else:
                    os.preadv(fd, [PAGE], at)
        finally:
            os.close(fd)


def sweep(what, once):
    """once(n): (was it refused, requests still to go)"""
    step = int(os.environ.get("STEP", 1))
    first = 1 + int(os.environ.get("VDISK_SEED", 1)) % step
    tried = refused = 0
    for n in range(first, MOST, step):
        error, left = once(n)
        if left:
            if error:
                sys.exit("%s fails with nothing refused: %s" % (what, error))
            print("%d of some %d requests refused, %d times all failed" %
                  (tried, n - left, refused))
            return
        tried += 1
        refused += bool(error)
    sys.exit("%s: no end of requests" % what)


def attach(device):
    def once(n):
        error = None
        device.create()
        with Nth(n) as nth:
            try:
                device.load()
                device.resume()
            except OSError as e:
                error = e
        if not error:
            device.touch(False)
        device.remove()
        return error, nth.left

    sweep("attach", once)


def detach(device, command):
    def look(when):
        done = subprocess.run(command + [when], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit("%s: %s" % (when, done.stdout))

    def once(n):
        look("before")
        device.create()
        device.load()
        device.resume()
        device.touch(True)
        error = None
        with Nth(n) as nth:
            try:
                device.suspend()
            except OSError as e:
                error = e
        device.remove()
        look("after")
        return error, nth.left

    sweep("detach", once)


def main():
    verb, *args = sys.argv[1:] or [""]
    if verb == "load":
        load(*args)
    elif verb == "attach":
        attach(Device(*args))
    elif verb == "detach":
        detach(Device(*args[:3]), args[3:])
    else:
        sys.exit(__doc__)


main()
