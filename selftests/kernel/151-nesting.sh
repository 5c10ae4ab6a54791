#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=512M disk=160M timeout=3600 alone long
#
# 150-nesting.sh for the other cells of the matrix: part 1 of four.
# shellcheck disable=SC2034
nest_cells='rest 1 4'
# shellcheck source=150-nesting.sh
. "$(dirname "$0")/150-nesting.sh"
