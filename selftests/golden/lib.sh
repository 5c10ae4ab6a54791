# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of the tool share, on top of ktap.sh. They need no root and no
# kernel module: images made by qemu-img or by hand, read by the tool.
#
#	$vdisk $tmp $here        the tool, a scratch directory, this directory
#	sha FILE                 SHA-256 of the contents
#	refused DESCRIPTION REGEX COMMAND...  exit 1 and exactly one line on stderr,
#	                         that matches, nothing on stdout
#	status DESCRIPTION CODE COMMAND...  the exit status
#	same_as_qemu DESCRIPTION FORMAT IMAGE [OPTION...]  the tool reads what
#	                         qemu-img reads
#	reads DESCRIPTION RAW IMAGE [OPTION...]  the tool reads what RAW holds
#	table_size IMAGE [OPTION...]  bytes of the disk by `vdisk table`

set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib/ktap.sh
. "$here/../lib/ktap.sh"
vdisk=${VDISK:-$here/../../userspace/vdisk}
[ -x "$vdisk" ] || skip_all "no tool, run make tools"
need_cmd python3 qemu-img qemu-io
scratch tmp
export PYTHONDONTWRITEBYTECODE=1

sha()
{
	sha256sum <"$1" | cut -d ' ' -f 1
}

refused()
{
	local description=$1 regex=$2 out err status=0

	shift 2
	out=$("$@" 2>"$tmp/.err" </dev/null) || status=$?
	err=$(cat "$tmp/.err")
	if [ "$status" -eq 1 ] && [ -z "$out" ] &&
		[ "$(wc -l <"$tmp/.err")" -eq 1 ] &&
		grep -E "^vdisk: " "$tmp/.err" | grep -Eq -- "$regex"; then
		pass "$description"
	else
		fail "$description" "\$ $*
$out
$err
status $status, wanted 1 and one line: $regex"
	fi
}

status()
{
	local description=$1 want=$2 output got=0

	shift 2
	output=$("$@" 2>&1 </dev/null) || got=$?
	if [ "$got" -eq "$want" ]; then
		pass "$description"
	else
		fail "$description" "\$ $*
$output
status $got, wanted $want"
	fi
}

# Also what ends up in holes of the copy must be right, hence cmp of all of it.
reads()
{
	local description=$1 raw=$2 image=$3 output

	shift 3
	rm -f "$tmp/.copy"
	if output=$("$vdisk" convert "$@" "$image" "$tmp/.copy" 2>&1 &&
			cmp "$tmp/.copy" "$raw" 2>&1); then
		pass "$description"
	else
		fail "$description" "$output"
	fi
	rm -f "$tmp/.copy"
}

same_as_qemu()
{
	local description=$1 format=$2 image=$3

	shift 3
	rm -f "$tmp/.qemu"
	if ! qemu-img convert -f "$format" -O raw "$image" "$tmp/.qemu"; then
		fail "$description" "qemu-img cannot read it"
		return
	fi
	reads "$description" "$tmp/.qemu" "$image" "$@"
	rm -f "$tmp/.qemu"
}

table_size()
{
	local start sectors rest

	read -r start sectors rest < <("$vdisk" table --read-only "${@:2}" "$1")
	echo $((${sectors:-0} * 512))
}
