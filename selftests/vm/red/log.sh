#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Every point is good, but the kernel complained meanwhile.
echo "TAP version 13"
echo "1..1"
echo "<4>WARNING: possible recursive locking detected" >/dev/kmsg
echo "ok 1 all is well"
