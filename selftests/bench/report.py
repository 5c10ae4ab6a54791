#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# report.py LOG DIR [DOCUMENTATION]: what the guest of make bench printed, as
# tables on standard output and as DIR/bench-SERIES.json, .svg and .png. With a
# third word, as the kernel's section of performance.rst there too, with the
# picture beside it.
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import goals  # noqa: E402

MIXED = ("read-1", "read-32", "write-1", "write-32", "seq", "seq-frag", "alloc", "hole")
ORDER = ("null", "linear", "zero", "raw", "loop", "loop-buffered",
         "nbd-vhd", "nbd-vmdk", "nbd-qed", "nbd-parallels",
         "vduse-vhd", "vduse-vmdk", "vduse-qed", "vduse-parallels",
         "vhd", "vmdk", "qed", "parallels",
         "vhd-disk", "vmdk-disk", "qed-disk", "parallels-disk")
OTHER = ("layers-1", "layers-4", "layers-16", "layers-64", "cold", "cached", "buffered",
         "packed")
SCALE = ("attach", "attach-bytes", "load-bytes")
BEGIN, END = "..\n   begin figures %s\n", "..\n   end figures %s\n"


def read(path):
    release, figures = "?", {}
    with open(path) as f:
        for line in f:
            if line.startswith("# kernel "):
                release = line.split()[2]
            if line.startswith("# result "):
                work, who, value = line[len("# result "):].rstrip("\n").split("\t")
                figures.setdefault(work, {})[who] = int(value)
    return release, figures


def thousands(value):
    return "" if value is None else "%.1fk" % (value / 1000)


def main_table(figures):
    works = [w for w in MIXED if w in figures]
    head = ["contestant"] + works
    rows = []
    for who in ORDER:
        row = [thousands(figures[w].get(who)) for w in works]
        if any(row):
            rows.append([who] + row)
    return head, rows


def other_table(figures):
    rows = [[work, who, thousands(value)]
            for work in OTHER for who, value in figures.get(work, {}).items()]
    return ["workload", "contestant", "per I/O"], rows


def scale_table(figures):
    rows = []
    for who in goals.FORMATS:
        got = [figures.get(w, {}).get(who) for w in SCALE]
        if None not in got:
            rows.append([who, "%.1fM" % (got[0] / 1e6), "%.0f" % (got[1] / 1024),
                         "%.1f" % (got[2] / goals.MIB)])
    return ["image", "instructions", "KiB attached", "MiB after random reads"], rows


def goal_table(judged):
    rows = []
    for g in judged:
        show = "%.2f" if g["unit"] == "ratio" else "%.0f"
        rows.append([g["work"], g["contestant"], g["against"] or g["unit"],
                     show % g["figure"], "<= " + show % g["limit"],
                     "met" if g["met"] else "missed by %.0f %%" % max(1, 100 * g["over"])])
    return ["workload", "contestant", "against", "figure", "goal", ""], rows


def layout(table, ruler):
    """Columns wide enough, in text or as reStructuredText has simple tables."""
    head, rows = table
    widths = [max(2, *(len(r[i]) for r in [head] + rows)) for i in range(len(head))]
    line = "  ".join("=" * w for w in widths) + "\n"

    def row(cells):
        return "  ".join(c.ljust(w) for c, w in zip(cells, widths)).rstrip() + "\n"

    if not ruler:
        return row(head) + "".join(map(row, rows))
    # An empty first cell would continue the row above; none is empty.
    return line + row(head) + line + "".join(map(row, rows)) + line


def tables(report):
    figures = report["figures"]
    return [t for t in (main_table(figures), other_table(figures), scale_table(figures),
                        goal_table(report["goals"])) if t[1]]


def picture(report, base):
    """Bars, with their numbers: reads and writes, 32 at a time."""
    figures = report["figures"]
    works = [w for w in ("read-32", "write-32", "seq") if len(figures.get(w, {})) > 1]
    if not works or not shutil.which("gnuplot"):
        return []
    colours = {"daemon": "#b8b8b8", "peer": "#7f9fbf", "vdisk": "#c1440e"}
    script = ["set style fill solid", "set boxwidth 0.8", "unset key", "set grid ytics",
              "set xtics nomirror rotate by -40", "set format y '%.0fk'"]
    blocks = []
    for work in works:
        lines = []
        for who in (w for w in ORDER if w in figures[work]):
            kind = "daemon" if who.startswith(("nbd", "vduse")) else \
                "vdisk" if who.split("-")[0] in goals.FORMATS else "peer"
            lines.append('"%s" %.1f %s' % (who, figures[work][who] / 1000,
                                           colours[kind].replace("#", "0x")))
        blocks.append("$%s << EOD\n%s\nEOD" % (work.replace("-", "_"), "\n".join(lines)))
    made = []
    for kind, terminal in (("svg", "svg size 1000,%d font 'sans,11' background 'white'"),
                           ("png", "pngcairo size 1000,%d font 'sans,9'")):
        path = "%s.%s" % (base, kind)
        plot = ["set terminal " + terminal % (320 * len(works)), "set output '%s'" % path,
                "set multiplot layout %d,1" % len(works)]
        for work in works:
            name = "$" + work.replace("-", "_")
            plot += ["set title '%s: instructions per I/O, kernel %s'" %
                     (work, report["kernel"]),
                     "set yrange [0:%.1f]" % (max(figures[work].values()) * 1.15e-3),
                     "plot %s using 0:2:3:xtic(1) with boxes lc rgb variable, "
                     "%s using 0:2:(sprintf('%%.1f', $2)) with labels offset 0,0.6" %
                     (name, name)]
        subprocess.run(["gnuplot"], input="\n".join(script + blocks + plot) + "\n", text=True,
                       check=True)
        made.append(path)
    return made


def section(report, series):
    text = ["Kernel %s, %s::\n\n    %s\n\n" % (report["kernel"], report["date"],
                                             report["command"]),
            ".. image:: performance-%s.svg\n\n" % series]
    text += [layout(t, True) + "\n" for t in tables(report)]
    return BEGIN % series + "\n" + "".join(text) + END % series


def document(report, series, where, pictures):
    path = os.path.join(where, "performance.rst")
    with open(path) as f:
        old = f.read()
    new = section(report, series)
    begin, end = BEGIN % series, END % series
    if begin in old:
        new = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: new, old, flags=re.S)
    else:
        new = old.rstrip("\n") + "\n\n" + new
    with open(path, "w") as f:
        f.write(new)
    for each in pictures:
        if each.endswith(".svg"):
            shutil.copy(each, os.path.join(where, "performance-%s.svg" % series))


def main():
    log, out = sys.argv[1:3]
    release, figures = read(log)
    if not figures:
        sys.exit("report: %s has no figures" % log)
    series = ".".join(release.split("-")[0].split(".")[:2])
    words = [k + "=" + os.environ[k] for k in ("KERNEL", "BENCH", "BENCH_ONLY")
             if os.environ.get(k)]
    report = {"kernel": release, "date": time.strftime("%Y-%m-%d"),
              "command": " ".join(["make", "bench"] + words),
              "unit": "instructions per I/O", "figures": figures,
              "goals": goals.judge(figures, release)}
    base = os.path.join(out, "bench-" + series)
    with open(base + ".json", "w") as f:
        json.dump(report, f, indent=1)
        f.write("\n")
    pictures = picture(report, base)
    for table in tables(report):
        print("\n" + layout(table, False), end="")
    met = sum(g["met"] for g in report["goals"])
    print("\n%d of %d goals met; %s" % (met, len(report["goals"]),
                                        " ".join([base + ".json"] + pictures)))
    if len(sys.argv) > 3:
        document(report, series, sys.argv[3], pictures)


main()
