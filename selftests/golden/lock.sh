#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Image locks as QEMU takes them: what another program holds is refused.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
qemu-img create -q -f vpc d.vhd 10M
"$here/vhd.py" make child.vhd size=$((8 << 20)) seed=3 parent=d.vhd w2ru='.\d.vhd'
busy='d.vhd: (Parent: .*)?Image is in use by another program \(see --force-share\)$'

# hold ARG...: qemu-io has the image open until release
hold()
{
	coproc QEMU { qemu-io -f vpc "$@" 2>&1; }
	echo 'length' >&"${QEMU[1]}"
	read -r -t 20 <&"${QEMU[0]}"
}

release()
{
	local pid=$QEMU_PID

	echo quit >&"${QEMU[1]}"
	wait "$pid"
}

hold d.vhd
refused "table of an image qemu writes" "$busy" "$vdisk" table d.vhd
refused "table for reading, too" "$busy" "$vdisk" table --read-only d.vhd
refused "check of it" "$busy" "$vdisk" check d.vhd
refused "convert of it" "$busy" "$vdisk" convert d.vhd out
t "info of it" "$vdisk" info d.vhd
t "map of it" "$vdisk" map d.vhd
t "table with --force-share" "$vdisk" table --force-share d.vhd
refused "table of its child" "Parent: .*in use by another program" "$vdisk" table child.vhd
release
t "table once qemu has gone" "$vdisk" table d.vhd

hold -r d.vhd
refused "table for writing of an image qemu reads" "$busy" "$vdisk" table d.vhd
t "table for reading of it" "$vdisk" table --read-only d.vhd
t "table of its child" "$vdisk" table child.vhd
release

# The other way round: check holds the image while it tells its many errors,
# which a short pipe takes.
"$here/vhd.py" make many.vhd size=$((8 << 20)) block=4096 blocks=0 seed=4
python3 - "$vdisk" <<'END' >result
import fcntl, os, struct, subprocess, sys
with open("many.vhd", "r+b") as f:
    f.seek(1536)
    f.write(struct.pack(">I", 1) * 2000)

def qemu(*args):
    p = subprocess.run(["qemu-io", "-f", "vpc", *args, "many.vhd"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return "refused" if b"another process using" in p.stdout else "allowed"

# Made short while it is empty.
out, to = os.pipe()
fcntl.fcntl(out, 1031, 4096)    # F_SETPIPE_SZ
p = subprocess.Popen([sys.argv[1], "check", "many.vhd"], stdout=to)
os.close(to)
os.read(out, 1)
print("held", qemu("-c", "length"), qemu("-r", "-c", "length"), p.poll())
while os.read(out, 65536):
    pass
print("gone", qemu("-c", "length"), p.wait())
END
eq "qemu may read, not write, what check has open" "$(cat result)" \
	"held refused allowed None
gone allowed 2"

ktap_end
