# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Running one test program and judging what it printed. Sourced by every ring
# (host programs, the guest of the test VM, `make run_tests`), so that a point
# counts the same wherever it was scored.
#
# A program prints KTAP and exits 0 (passed), 1 (failed) or 4 (skipped). The
# plan may come first or last; a program without one died on the way.

RUNNER_EXIT_SKIP=4

# Header of a test: "# VM: disk=1G timeout=300", any number of such lines.
# Prints one word per line. C files say it after " * VM:".
vm_needs()
{
	sed -n '1,40s/^[#* ]* VM: *//p' "$1" 2>/dev/null | tr -s ' \t' '\n\n' |
		sed '/^$/d'
}

# vm_need FILE KEY DEFAULT: the last value given, or the default.
vm_need()
{
	local value

	value=$(vm_needs "$1" | sed -n "s/^$2=//p" | tail -n 1)
	printf '%s\n' "${value:-$3}"
}

# Is the program part of this run? "# VM: long" is for make check-long.
wanted()
{
	[ -n "${VDISK_LONG:-}" ] || ! vm_needs "$1" | grep -qx long
}

# ktap_count LOG STATUS: prints "PASSED FAILED SKIPPED", then a line for each
# failure that no "not ok" stands for. STATUS is the exit status, "dead" if the
# program was never seen to end, or "none" if it was not even begun.
ktap_count()
{
	awk -v status="$2" -v skip="$RUNNER_EXIT_SKIP" '
	function extra(text) { fail++; why[++nwhy] = text }
	{ sub(/\r$/, "") }
	/^[0-9]+\.\.[0-9]+/ {
		split($1, range, /\.\./)
		plan = range[2] - range[1] + 1
		planned = 1
		if (plan == 0 && toupper($0) ~ /# *SKIP/)
			skipped_all = 1
		next
	}
	/^(not )?ok([ \t]|$)/ {
		points++
		if (toupper($0) ~ /# *SKIP/)
			skipped++
		else if ($1 == "not")
			fail++
		else
			pass++
	}
	END {
		pass += 0; fail += 0; skipped += 0; points += 0
		if (status == "dead") {
			extra("did not end")
		} else if (status == "none") {
			fail += 0
		} else if (!points && (skipped_all || status == skip)) {
			skipped++
		} else {
			if (!planned)
				extra("has no plan: died after " points " points, status " status)
			else if (points != plan)
				extra("planned " plan " points, scored " points)
			if (status == 124 || status == 137)
				extra("was killed: out of time")
			else if (status != 0 && status != skip && !fail)
				extra("exit status " status " but no failed point")
		}
		print pass, fail, skipped
		for (i = 1; i <= nwhy; i++)
			print why[i]
	}' "$1"
}

# run_program NAME TIMEOUT LOG COMMAND...: runs with a time limit, the output
# shown as it comes and saved. The status is left in $run_status. How long it
# took is for whoever looks for what to make shorter; nothing depends on it.
run_program()
{
	local name=$1 limit=$2 log=$3 start=$SECONDS

	shift 3
	printf '# selftests: %s\n' "$name"
	: >"$log"
	set +e
	timeout -k 10 "$limit" "$@" </dev/null 2>&1 | tee "$log" | sed -u 's/^/# /'
	run_status=${PIPESTATUS[0]}
	set -e
	printf '# %s: %d seconds\n' "$name" $((SECONDS - start))
}

# judge NUMBER NAME LOG STATUS [FAULT...]: prints the outer result line, adds to
# the sums $runner_pass $runner_fail $runner_skip. A fault is a failure found
# outside the program: a dirty kernel log, something left behind.
runner_pass=0 runner_fail=0 runner_skip=0
judge()
{
	local number=$1 name=$2 log=$3 status=$4 p f s why word=ok note=

	shift 4
	{
		read -r p f s
		while read -r why; do
			printf '# %s: %s\n' "$name" "$why"
		done
	} < <(ktap_count "$log" "$status")
	for why in "$@"; do
		printf '# %s: %s\n' "$name" "$why"
		f=$((f + 1))
	done
	if [ "$f" -gt 0 ]; then
		word='not ok' note=" # $p passed, $f failed, $s skipped"
	elif [ "$p" -eq 0 ]; then
		note=" # SKIP"
	fi
	printf '%s %s selftests: %s%s\n' "$word" "$number" "$name" "$note"
	runner_pass=$((runner_pass + p))
	runner_fail=$((runner_fail + f))
	runner_skip=$((runner_skip + s))
}

# Leave the sums for whoever adds up the rings: "PASSED FAILED SKIPPED NAME".
tally()
{
	[ -n "${VDISK_TALLY:-}" ] || return 0
	printf '%s %s %s %s\n' "$runner_pass" "$runner_fail" "$runner_skip" "$1" \
		>>"$VDISK_TALLY"
}
