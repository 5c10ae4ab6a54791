#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: disk=256M disk=512M timeout=3000 long
#
# 147-every-write.sh for every format, with a longer guest.
# shellcheck disable=SC2034
every_formats='vhd vmdk parallels qed' every_ops=16
# shellcheck source=147-every-write.sh
. "$(dirname "$0")/147-every-write.sh"
