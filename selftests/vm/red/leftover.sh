#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Leaves a device, a loop and a mount behind.
echo "TAP version 13"
echo "1..1"
dmsetup create red-leftover --table "0 8 zero"
truncate -s 1M /tmp/red-loop
losetup -f /tmp/red-loop
mkdir /tmp/red-mount
mount -t tmpfs red /tmp/red-mount
echo "ok 1 all is well"
