#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=2G disk=512M timeout=1800 long
#
# 100-space.sh for every format, with the 10,000 writes of its flush, and what a
# file system inside gives back.
# shellcheck disable=SC2034
space_formats='vpc vmdk qed parallels' space_writes=10000 space_trim=1
# shellcheck source=100-space.sh
. "$(dirname "$0")/100-space.sh"
