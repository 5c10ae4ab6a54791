#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: icount memory=3G timeout=99999
#
# The guest's part of selftests/bench/profile: workloads by themselves for the
# figure, then with perf for its distribution.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

need_tool
need_cmd fio jq perf
bench_job
bench_fs files 1000

# perf starts fio, since it takes longer itself to begin than fio to end; both
# have been read from the host before.
recorded()
{
	local bench_prefix=(perf record -q -e cpu-clock -c "$period" -a
		${graph:+-g} -o /tmp/perf.data --)

	"${bench_prefix[@]}" true >/tmp/perf.out 2>&1 &&
		bench_fio "${words[@]}" --time_based --runtime=600ms \
			>/tmp/perf.out 2>&1
}

# Without fio's beginning and end, and without the processor's waiting.
flat()
{
	perf report -i /tmp/perf.data --time 40%-90% --stdio --no-children -F sample,dso,sym \
		-g none 2>/dev/null | grep -Ev '^ *#|^$|idle_poll|do_idle' |
		awk -v per="$1" -v most="$lines" '
		{ n[NR] = $1; sum += $1; sub(/^ *[0-9]+ */, ""); text[NR] = $0 }
		END {
			for (i = 1; i <= NR && i <= most; i++)
				printf "%8.0f %5.1f%%  %s\n", per * n[i] / sum,
					100 * n[i] / sum, text[i]
		}'
}

graphed()
{
	perf report -i /tmp/perf.data --time 40%-90% --stdio --no-children -F overhead,dso,sym \
		-g caller,0.5,callee --percent-limit 1 2>/dev/null | awk 'NR <= 400'
}

for pair in $pairs; do
	contestant=${pair%%:*}
	if ! { up "$contestant" "$image" && workload "${pair##*:}" && warm &&
		measure instructions "${words[@]}" --time_based --runtime="$window" &&
		recorded; }; then
		fail "$pair" "$(cat /tmp/perf.out)"
		down
		continue
	fi
	pass "$pair"
	{
		echo
		echo "$pair: $instructions instructions per I/O"
		if [ -n "$graph" ]; then graphed; else flat "$instructions"; fi
	} | sed 's/^/# perf /'
	down
done
ktap_end
