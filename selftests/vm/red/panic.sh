#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The guest panics.
echo "TAP version 13"
echo "1..1"
echo "ok 1 before the panic"
echo c >/proc/sysrq-trigger
