# SPDX-License-Identifier: GPL-2.0
"""What the figures should be: ratios within one boot, or plain limits."""

FORMATS = ("vhd", "vmdk", "qed", "parallels")
MIB = 1 << 20

# workload: {series of kernels: ((peer, at most this many times it), ...)}
FILE = {
    "read-32": {
        "6.1": (("raw", 1.12), ("loop", 0.82), ("nbd", 0.25)),
        "6.12": (("raw", 1.15), ("loop", 0.88), ("nbd", 0.25)),
    },
    "write-32": {
        "6.1": (("raw", 1.10), ("loop", 0.83), ("nbd", 0.25)),
        "6.12": (("raw", 1.00), ("loop", 1.00), ("nbd", 0.25)),
    },
}


def series_of(release):
    """A kernel newer than those that the goals name is held to the newest."""
    version = tuple(int(x) for x in release.split("-")[0].split(".")[:2])
    return "6.1" if version < (6, 12) else "6.12"


def ratios(release):
    """(workload, contestant, workload of the peer, peer, limit), in order."""
    series = series_of(release)
    for work, limits in FILE.items():
        for name in FORMATS:
            for peer, limit in limits[series]:
                yield work, name, work, "nbd-" + name if peer == "nbd" else peer, limit
    for name in FORMATS:
        yield "seq", name, "seq", "raw", 1.03
    for name in FORMATS:
        yield "seq-frag", name, "seq", "raw", 1.25
    for work in ("read-32", "write-32"):
        for name in FORMATS:
            yield work, name + "-disk", work, "linear", 1.03
    for name in FORMATS:
        yield "alloc", name, "alloc", "nbd-" + name, 0.15
    for name in FORMATS:
        yield "hole", name, "hole", "zero", 1.10
    for layers in (4, 16, 64):
        yield "layers-%d" % layers, "qed", "layers-1", "qed", 1.10
    yield "cold", "vmdk", "cold", "nbd-vmdk", 0.5
    yield "cached", "vmdk", "buffered", "raw", 1.3


def limits():
    """(workload, contestant, limit, unit)"""
    for name in FORMATS:
        yield "attach", name, 20e6, "instructions"
        yield "attach-bytes", name, 1 * MIB, "bytes"
        yield "load-bytes", name, 64 * MIB, "bytes"


def judge(figures, release):
    """A list of dicts, for those goals whose figures are there."""
    out = []
    for work, who, peer_work, peer, limit in ratios(release):
        mine = figures.get(work, {}).get(who)
        theirs = figures.get(peer_work, {}).get(peer)
        if mine is None or not theirs:
            continue
        other = peer if peer_work == work else "%s %s" % (peer, peer_work)
        out.append({"work": work, "contestant": who, "against": other, "unit": "ratio",
                    "limit": limit, "figure": round(mine / theirs, 3)})
    for work, who, limit, unit in limits():
        mine = figures.get(work, {}).get(who)
        if mine is not None:
            out.append({"work": work, "contestant": who, "against": "", "unit": unit,
                        "limit": limit, "figure": mine})
    for goal in out:
        # Figures are good to the third digit, and so are goals held.
        goal["met"] = goal["figure"] < goal["limit"] * 1.0005
        goal["over"] = round(goal["figure"] / goal["limit"] - 1, 3)
    return out
