#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Signals at random moments of verbs that write: killring.py VDISK COUNT SEED [PAPER]

With PAPER, lib/paperdm.c made a library, also of verbs that change a device.

Prints a line for each fault, and last how often the verb was still running. What
must hold: no image is harmed, an old one is whole or the new one is, and nothing
is left but what the man page names, .vdisk-PID-N, and that by SIGKILL only.
"""
import json, os, random, shutil, signal, subprocess, sys, time

vdisk, count, seed = os.path.realpath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rnd = random.Random(seed)
SIGNALS = ["KILL", "TERM", "HUP", "QUIT", "USR1", "PIPE", "XFSZ", "INT", "ALRM"]
HARMLESS = ["USR1", "PIPE", "XFSZ"]
SIZE = 6 << 20
paper = os.environ.copy()
if len(sys.argv) > 4:
    paper.update(LD_PRELOAD=os.path.realpath(sys.argv[4]), PAPER_DM=os.path.realpath("dm"))


def run(*args, **more):
    return subprocess.run([vdisk, *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", **more)


def must(*args):
    p = run(*args)
    if p.returncode:
        sys.exit("%s: %s" % (args, p.stderr))


def disk(name, seed, size=SIZE):
    own = random.Random(seed)
    data = bytearray(size)
    for _ in range(6):
        at = own.randrange(0, size - 400000)
        data[at:at + 400000] = own.randbytes(400000)
    with open(name, "wb") as f:
        f.write(data)
    return bytes(data)


def reads(image):
    p = run("convert", "--force", image, ".now")
    if p.returncode:
        return p.stderr.strip()
    with open(".now", "rb") as f:
        data = f.read()
    os.unlink(".now")
    return data


def started(p):
    """It has said what signals are to it: before that none is the verb's."""
    while p.poll() is None:
        with open("/proc/%d/status" % p.pid) as f:
            ignored = int(next(l for l in f if l.startswith("SigIgn")).split()[1], 16)
        if ignored >> (signal.SIGXFSZ - 1) & 1:
            return


def prepare(fmt):
    """A directory with what the verbs work on, made once."""
    os.mkdir(fmt)
    os.chdir(fmt)
    must("convert", "-f", "raw", "-O", fmt, "../x.raw", "a")
    if fmt != "parallels":
        must("create", "-f", fmt, "e", str(SIZE))
        must("convert", "-f", "raw", "-O", fmt, "../y.raw", "b")
        must("snapshot", "b", "c")
        must("rebase", "-b", "a", "c")
    os.chdir("..")


def commands(fmt):
    more = [(["convert", "-f", "raw", "-O", fmt, "../y.raw", "new"], "new"),
            (["convert", "--force", "-f", "raw", "-O", fmt, "../y.raw", "a"], "force"),
            (["create", "-f", fmt, "new", "40G"], "new"),
            (["resize", "a", "600M"], "a")]
    if fmt != "parallels":
        more += [(["commit", "c"], "c"), (["rebase", "-b", "e", "c"], "c"),
                 (["snapshot", "a", "new"], "new"),
                 (["rebase", "-b", "", "c"] if fmt != "vhd" else ["resize", "c", "1G"], "c")]
        if "PAPER_DM" in paper:
            more += [(["commit", "web"], "web"), (["rebase", "-b", "e", "web"], "web"),
                     (["resize", "web", "32M"], "web"), (["snapshot", "web", "new"], "web")]
    if fmt in ("qed", "vmdk"):
        more += [(["create", "--force", "-f", fmt, "-b", "a", "e"], "e")]
    return more


def sound(image, killed, want, faults):
    p = run("check", "--repair", image) if killed else run("check", image)
    if p.returncode not in (0, 3):
        faults.append("%s: check %d: %s%s" % (image, p.returncode, p.stdout[-300:], p.stderr))
    if not want:
        p = run("map", image)
        if p.returncode:
            faults.append(p.stderr.strip())
        return
    data = reads(image)
    if isinstance(data, str):
        faults.append(data)
    elif not any(data[:len(w)] == w and not data[len(w):].strip(b"\0") for w in want):
        faults.append("%s holds something else" % image)


def device_goes_on(killed, y, faults):
    with_paper = {"env": paper}
    for _ in range(100):
        with open(os.path.join(paper["PAPER_DM"], "web")) as f:
            lines = f.read().split("\n")
        if lines[1] == "0":
            break
        time.sleep(0.05)
    if lines[1] != "0" or lines[4] != "-":
        faults.append("suspended: %s, table besides: %s" % (lines[1], lines[4]))
        return
    image = json.loads(run("status", "--json", "web", **with_paper).stdout)["filename"]
    sound(image, killed, [y], faults)
    if os.path.exists("new") and os.path.basename(image) != "new" and not killed:
        faults.append("left: new")


def verify(kind, name, status, x, y):
    faults = []
    killed = name == "KILL" and status < 0
    if name in HARMLESS and status:
        faults.append("status %d" % status)
    for entry in os.listdir("."):
        if entry in ("a", "b", "c", "e") or (entry == "new" and kind in ("new", "web")):
            continue
        if not (killed and entry.startswith(".vdisk-")):
            faults.append("left: " + entry)
    if kind == "new" and os.path.exists("new"):
        sound("new", killed, None, faults)
    elif kind == "new" and status == 0:
        faults.append("nothing was made")
    if kind == "web":
        device_goes_on(killed, y, faults)
    elif kind == "force":
        sound("a", killed, [y] if status == 0 else [x, y], faults)
    elif os.path.exists("c"):
        sound("c", killed, [y], faults)
        for each in ("a", "b", "e"):
            sound(each, killed, None, faults)
    else:
        sound("a", killed, [x], faults)
    return faults


x, y = disk("x.raw", 1), disk("y.raw", 2)
formats = ["qed", "vhd", "vmdk", "parallels"]
took = {}
for fmt in formats:
    prepare(fmt)
hit = 0
for k in range(count):
    fmt = rnd.choice(formats)
    args, kind = rnd.choice(commands(fmt))
    name = rnd.choice(SIGNALS)
    key = (fmt, tuple(args))
    shutil.rmtree("work", ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", fmt, "work"], check=True)
    os.chdir("work")
    with_paper = {}
    if kind == "web":
        with_paper["env"] = paper
        shutil.rmtree(paper["PAPER_DM"], ignore_errors=True)
        os.mkdir(paper["PAPER_DM"])
        run("attach", "web", "c", env=paper)
    begun = time.monotonic()
    p = subprocess.Popen([vdisk, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True, restore_signals=True, **with_paper)
    # The first time tells how long it takes.
    if key in took:
        started(p)
        time.sleep(rnd.random() * took[key])
        hit += p.poll() is None
        p.send_signal(getattr(signal, "SIG" + name))
    said = p.communicate()[1]
    took.setdefault(key, time.monotonic() - begun)
    faults = verify(kind, name, p.returncode, x, y)
    for fault in faults:
        print("%d: %s %s by SIG%s (%d, %s): %s" %
              (k, fmt, " ".join(args), name, p.returncode, said.strip(), fault))
    os.chdir("..")
print("hit %d" % hit)
