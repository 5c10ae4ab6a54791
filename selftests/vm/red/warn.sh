#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel warns: with panic_on_warn that is the end of the guest.
echo "TAP version 13"
echo "1..1"
rmmod dm-vdisk
insmod "$VDISK_MODULE" fault=warn
echo "ok 1 all is well"
