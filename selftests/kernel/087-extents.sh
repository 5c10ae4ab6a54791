#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M timeout=100
#
# A file in thousands of pieces: while its file system transfers one, it reads where
# that is, and must get what it reads.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd python3 filefrag
need_disk 512M disk
scratch_fs ext4 "$disk" dir

# Each second block of 4 KiB, so that ext4 needs blocks for its list of them.
python3 - "$dir/pieces" <<'END'
import random, sys
rnd = random.Random(87)
with open(sys.argv[1], "wb") as f:
    for k in range(3000):
        f.seek(k * 8192)
        f.write(rnd.randbytes(4096))
    f.truncate(3000 * 8192)
END
sync
eq "the file is in pieces" "$(filefrag -v "$dir/pieces" | grep -c ' [0-9]*:.*\.\.')" 3000
defer dm_gone "$dm"

# A file system that is mounted anew remembers nothing of the list.
attach_cold()
{
	udevadm settle
	umount "$dir" && mount "$disk" "$dir" &&
		"$vdisk" attach -f raw "$dm" "$dir/pieces"
}

same()
{
	attach_cold && dd if="/dev/mapper/$dm" bs="$1" iflag=direct status=none >"$dir/read" &&
		cmp "$dir/read" "$dir/pieces" && "$vdisk" detach "$dm"
}

for size in 4k 64k 1M; do
	t "read by $size" same "$size"
done
t "attach" attach_cold
t "write over every hundredth" python3 - "/dev/mapper/$dm" <<'END'
import mmap, os, sys
page = mmap.mmap(-1, 4096)
page.write(b"new!" * 1024)
disk = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT)
for k in range(0, 3000, 100):
    os.pwritev(disk, [page], k * 8192)
os.fsync(disk)
END
t "detach" "$vdisk" detach "$dm"
eq "all of them are there" "$(grep -obUa 'new!' "$dir/pieces" | wc -l)" $((30 * 1024))

ktap_end
