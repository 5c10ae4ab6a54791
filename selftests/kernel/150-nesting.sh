#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M disk=160M timeout=1800 alone long
#
# File systems on devices whose images are files of file systems: the five cells of
# the matrix that hold every value. The others are long: 151-nesting.sh to 154.
. "$(dirname "$0")/../lib/kernel-test.sh"
# shellcheck source=lib/vhd.sh
. "$(dirname "$0")/lib/vhd.sh"
# shellcheck source=lib/nest.sh
. "$(dirname "$0")/lib/nest.sh"

need_nest
# shellcheck disable=SC2086
run_cells ${nest_cells:-five}
ktap_end
