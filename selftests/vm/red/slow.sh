#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VM: timeout=2
# Only this program hangs: its own limit ends it, the next one runs.
echo "TAP version 13"
echo "1..1"
sleep 3600
echo "ok 1 late"
