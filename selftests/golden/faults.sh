#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Images with one fault each, of every format: the tool says what is wrong in
# one line that names the value, or reads everything else right; it changes no
# file, and takes neither much memory nor for ever. See faults.py.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib/ktap.sh
. "$here/../lib/ktap.sh"
vdisk=${VDISK:-$here/../../userspace/vdisk}
[ -x "$vdisk" ] || skip_all "no tool, run make tools"
need_cmd python3
scratch tmp
export PYTHONDONTWRITEBYTECODE=1

verdicts "every fault was tried" "$here/faults.py" run "$vdisk" "$tmp"

eq "every refusal of formats/ is drawn by a fault or a unit test" \
	"$("$here/faults.py" phrases "$here/../.." 2>&1)" ""

ktap_end
