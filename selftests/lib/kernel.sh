# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Which installed kernel is meant by "6.1" or "6.12". Never the running one: a
# build machine may be a container whose kernel has no modules at all.

# Releases of a series that can be both built for and booted, newest last.
# Cloud and real-time flavours lack drivers or behave otherwise: not meant.
kernel_releases()
{
	local series=$1 dir release

	for dir in /lib/modules/"$series".* /lib/modules/"$series"; do
		release=${dir##*/}
		case $release in
		*-cloud-* | *-rt-*) continue ;;
		esac
		[ -e "$dir/build/Makefile" ] && [ -e "/boot/vmlinuz-$release" ] ||
			continue
		printf '%s\n' "$release"
	done | sort -V
}

kernel_newest()
{
	kernel_releases "$1" | tail -n 1
}
