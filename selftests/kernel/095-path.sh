#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=1G disk=128M smp=2 timeout=300
#
# The way of a read whose tables are at hand: no lock, no memory, no worker. And
# that they are at hand: who reads in order does not wait for each table block.
. "$(dirname "$0")/../lib/kernel-test.sh"

need_module
need_tool
need_cmd qemu-img qemu-io python3
need_disk 1G disk
need_disk 128M bare
scratch_fs ext4 "$disk" dir
node=/dev/mapper/$dm
tracing=/sys/kernel/tracing

# Bios that a worker took over.
queued()
{
	"$vdisk" status --json "$dm" | sed -n 's/.*"queued": \([0-9]*\).*/\1/p'
}

# in_order COUNT STEP: 4 KiB each STEP bytes, with pauses in which to read ahead.
in_order()
{
	python3 - "$node" "$1" "$2" <<-'END'
		import mmap, os, sys, time
		disk = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
		page = mmap.mmap(-1, 4096)
		for k in range(int(sys.argv[2])):
		    assert os.preadv(disk, [page], k * int(sys.argv[3])) == 4096
		    time.sleep(0.005)
	END
}

# waits MOST COUNT STEP
waits()
{
	local before waited

	before=$(queued)
	in_order "$2" "$3" || return
	waited=$(($(queued) - before))
	echo "$waited of $2 reads waited"
	test "$waited" -le "$1"
}

# ---------------------------------------------------------------------------
# Reading in order, the tables cold. A block of tables maps 32 MiB here, of a
# VMDK's 64 MiB; in a VHD each 2 MiB have a bitmap of their own.

qemu-img create -q -f qed "$dir/a.qed" 4G
qemu-io -f qed -c "write -P 1 0 4k" -c "write -P 2 2G 4k" "$dir/a.qed" >/dev/null
qemu-img create -q -f vmdk "$dir/a.vmdk" 8G
qemu-img create -q -f vpc -o force_size=on "$dir/a.vhd" 256M
qemu-io -f vpc -c "write -P 4 0 256M" "$dir/a.vhd" >/dev/null

# in_order_of FORMAT MOST COUNT STEP
in_order_of()
{
	t "$1: attach" attach "$dm" --read-only "$dir/a.$1"
	t "$1: reads in order seldom wait for tables" waits "$2" "$3" "$4"
	t "$1: and not at all the second time" waits 0 "$3" "$4"
	"$vdisk" detach "$dm"
}
in_order_of qed 16 256 $((16 << 20))
in_order_of vmdk 16 256 $((32 << 20))
in_order_of vhd 16 256 $((1 << 20))

# ---------------------------------------------------------------------------
# What is called from the map function, and when the bio ends. What the file
# system calls is its own affair.

stop_tracing()
{
	echo 0 >$tracing/tracing_on
	echo nop >$tracing/current_tracer
	echo >$tracing/set_graph_function
	echo >$tracing/set_ftrace_filter
}

# Ours, what locks, allocates or waits, and whose affair it is if somebody else
# does: the file system, interrupts. All functions would take minutes; names, which
# the kernel looks for among all that it has, take some as well, so: numbers.
watched()
{
	local theirs='ext4_file_read_iter|bio_endio|.*sysvec_.*|.*common_interrupt'
	local locks='_raw_(spin|read|write)_lock.*|(mutex|down|up)_.*|wait_for_.*'

	theirs+='|.*irq_(enter|exit)_rcu|__do_softirq|preempt_schedule.*'
	locks+='|mempool_alloc|bio_alloc_.*|kmem_cache_(alloc|free)|__kmalloc|kfree'
	locks+='|queue_(delayed_)?work_on|try_to_wake_up'
	echo ':mod:dm_vdisk'
	sed 's/ .*//' $tracing/available_filter_functions |
		grep -nxE "$theirs|$locks" | cut -d : -f 1
}

# What functions of the module call, and which: who stands further in, in a trace,
# is called by the one before. Interrupts come in between, but call for themselves,
# and what comes right after one is the scheduler, which is not named. Some are not
# named either: what less than one read in eight calls is not on the way of a read.
functions()
{
	python3 -c '
import collections, re, sys
stacks, found = {}, collections.Counter()
for line in sys.stdin:
    m = re.match(r" *(\d+)\).*\|( +)([a-z_][\w.]*)( \[dm_vdisk\])?( \[\w+\])?\(\)", line)
    if not m:
        continue
    stack = stacks.setdefault(m[1], [])
    depth, name, ours = len(m[2]), m[3], m[4]
    last = None
    while stack and stack[-1][0] >= depth:
        last = stack.pop()
    if last and last[0] == depth and last[2] == "irq_exit_rcu" and not ours:
        name = "irq_exit_rcu"
    by_us = stack and stack[-1][1]
    if not stack or by_us or name == "vdisk_end_io":
        found["%s %s" % (name, stack[-1][2] if by_us else "-")] += 1
    stack.append((depth, ours, name))
least = found["vdisk_map -"] / 8
print(*sorted(f for f in found if found[f] > least), sep="\n")'
}

# calls: into $dir/calls, while reading what is warm.
calls()
{
	local read=(dd if="$node" of=/dev/null bs=4k count=64 iflag=direct status=none)

	"${read[@]}" || return
	cat "$dir/watched" >$tracing/set_ftrace_filter
	echo vdisk_map >$tracing/set_graph_function
	echo vdisk_end_io >>$tracing/set_graph_function
	echo >$tracing/trace
	echo function_graph >$tracing/current_tracer
	echo 1 >$tracing/tracing_on
	"${read[@]}" || return
	echo 0 >$tracing/tracing_on
	functions <$tracing/trace >"$dir/calls"
	echo nop >$tracing/current_tracer
	grep -q '^vdisk_map ' "$dir/calls" && grep -q '^vdisk_lookup ' "$dir/calls" &&
		grep -q '^vdisk_end_io ' "$dir/calls"
}

# What only counts, of one processor or nothing, may be called a lock.
no_lock()
{
	! grep -E '^[^ ]*(lock|mutex|down_|alloc|queue|free|wait|wake)' "$dir/calls" |
		grep -vE '^(_*s?rcu_read_(un)?lock|memalloc_noio_(save|restore)|block_off) '
}

trace_of()
{
	local name=$1

	if [ ! -e $tracing/set_graph_function ]; then
		skip "$name: what a warm read calls" "this kernel cannot trace functions"
		return
	fi
	[ -s "$dir/watched" ] || watched >"$dir/watched"
	t "$name: what a warm read calls" calls
	echo "# $(cut -d ' ' -f 1 "$dir/calls" | uniq | tr '\n' ' ')"
	t "$name: none of it locks, allocates or waits" no_lock
}

mountpoint -q $tracing || mount -t tracefs tracefs $tracing
defer stop_tracing
for mode in --read-only ''; do
	# shellcheck disable=SC2086
	t "attach${mode:+ }$mode" attach "$dm" $mode "$dir/a.vhd"
	trace_of "file${mode:+, }$mode"
	"$vdisk" detach "$dm"
done
qemu-img create -q -f qed "$dir/b.qed" 64M
qemu-io -f qed -c "write -P 5 0 64M" "$dir/b.qed" >/dev/null
cat "$dir/b.qed" >"$bare"
t "attach a device" attach "$dm" --read-only "$bare"
trace_of "device"
"$vdisk" detach "$dm"

ktap_end
