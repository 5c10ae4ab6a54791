#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A point that fails, in a program that otherwise ends well.
echo "TAP version 13"
echo "1..2"
echo "ok 1 good"
echo "not ok 2 bad"
exit 1
