# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# KTAP for shell tests. A test sources this, scores points, and ends with
# ktap_end; a test that dies earlier has no plan, which every runner takes for
# a failure. Points go to standard output; what a tested command printed
# follows a failed point as "# " lines.
#
#	t DESCRIPTION COMMAND...         the command must succeed
#	fails DESCRIPTION COMMAND...     the command must fail (not by a signal)
#	says DESCRIPTION REGEX COMMAND...  it must fail, with a line that matches
#	eq DESCRIPTION GOT WANT          the two strings must be equal
#	pass, fail, skip DESCRIPTION [DETAIL]
#	verdicts DESCRIPTION COMMAND...  a point for each line that it prints, "ok" or
#	                                 "bad" TAB NAME TAB DETAIL, and one if the last
#	                                 is "end" TAB how many TAB $ktap_sum
#	skip_all REASON                  leave, nothing tested (exit 4)
#	scratch VAR                      a directory, gone at the end
#	defer COMMAND...                 run at the end, last one first
#	need_cmd, need_root              skip_all unless there

KSFT_SKIP=4
ktap_points=0 ktap_failed=0 ktap_ended='' ktap_deferred=()

# Deferred commands run on every way out; a failing one does not stop the rest.
ktap_cleanup()
{
	local status=$? k

	trap - EXIT
	set +e
	for ((k = ${#ktap_deferred[@]} - 1; k >= 0; k--)); do
		eval "${ktap_deferred[k]}"
	done
	[ -n "$ktap_ended" ] || echo "# died with status $status"
	exit "$status"
}
trap ktap_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "TAP version 13"

defer()
{
	ktap_deferred+=("$(printf '%q ' "$@")")
}

scratch()
{
	local dir

	dir=$(mktemp -d "${TMPDIR:-/tmp}/vdisk-test.XXXXXX")
	defer rm -rf --one-file-system "$dir"
	printf -v "$1" %s "$dir"
}

pass()
{
	ktap_points=$((ktap_points + 1))
	echo "ok $ktap_points $1"
}

fail()
{
	ktap_points=$((ktap_points + 1))
	ktap_failed=$((ktap_failed + 1))
	echo "not ok $ktap_points $1"
	[ -z "${2:-}" ] || printf '%s\n' "$2" | tail -n 30 | sed 's/^/#   /'
}

skip()
{
	ktap_points=$((ktap_points + 1))
	echo "ok $ktap_points $1 # SKIP ${2:-}"
}

# After the first point it is the rest that is skipped.
skip_all()
{
	if [ "$ktap_points" -gt 0 ]; then
		skip "the rest" "$*"
		ktap_end
	fi
	echo "1..0 # SKIP $*"
	ktap_ended=1
	exit "$KSFT_SKIP"
}

t()
{
	local description=$1 output status=0

	shift
	output=$("$@" 2>&1) || status=$?
	if [ "$status" -eq 0 ]; then
		pass "$description"
	else
		fail "$description" "\$ $*
$output
status $status"
	fi
}

# A crash or a time-out is not a refusal.
fails()
{
	local description=$1 output status=0

	shift
	output=$("$@" 2>&1) || status=$?
	if [ "$status" -gt 0 ] && [ "$status" -lt 124 ]; then
		pass "$description"
	else
		fail "$description" "\$ $*
$output
status $status, wanted a refusal"
	fi
}

says()
{
	local description=$1 regex=$2 output status=0

	shift 2
	output=$("$@" 2>&1) || status=$?
	if [ "$status" -gt 0 ] && [ "$status" -lt 124 ] &&
		grep -Eq -- "$regex" <<<"$output"; then
		pass "$description"
	else
		fail "$description" "\$ $*
$output
status $status, wanted a refusal that says: $regex"
	fi
}

eq()
{
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1" "got:  $2
want: $3"
	fi
}

# Without the last line, or with anything said beside it, the command died.
verdicts()
{
	local description=$1 before=$ktap_points verdict name detail ended=never errors

	shift
	errors=$(mktemp "${TMPDIR:-/tmp}/vdisk-test.XXXXXX")
	defer rm -f "$errors"
	ktap_sum=
	while IFS=$'\t' read -r verdict name detail; do
		case $verdict in
		ok) pass "$name" ;;
		end) ended=$name ktap_sum=$detail ;;
		*) fail "${name:-$description}" "${detail:-$verdict}" ;;
		esac
	done < <("$@" 2>"$errors")
	eq "$description" "$((ktap_points - before)) $(cat "$errors")" "$ended "
	rm -f "$errors"
}

ktap_end()
{
	echo "1..$ktap_points"
	ktap_ended=1
	[ "$ktap_failed" -eq 0 ] || exit 1
	exit 0
}

need_cmd()
{
	local name

	for name in "$@"; do
		command -v "$name" >/dev/null || skip_all "no $name here"
	done
}

need_root()
{
	[ "$(id -u)" -eq 0 ] || skip_all "needs root"
}
