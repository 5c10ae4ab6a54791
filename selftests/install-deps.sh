#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# install-deps.sh [KERNEL [--running] [PACKAGE...]]: install the Debian packages that building
# and testing need and that are missing. Says and does nothing if all are there.
# KERNEL is a series (6.1, 6.12) or a release: image and headers of its newest
# version are installed unless some version of it is there already. --running: the
# headers of the running kernel as well, if apt has them.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib/kernel.sh
. "$here/lib/kernel.sh"

packages=(
	# building
	gcc libc6-dev make pkg-config kmod
	libdevmapper-dev libexpat1-dev libjson-c-dev uuid-dev zlib1g-dev
	# sanitizers come with gcc; checks of the source
	sparse shellcheck binutils git linux-source
	# the virtual machine
	qemu-system-x86 busybox-static cpio xz-utils zstd procps
	# what the tests use, on the host and in the guest
	qemu-utils dmsetup udev groff-base util-linux iproute2 kpartx fdisk fio jq python3
	e2fsprogs xfsprogs btrfs-progs libvhdi-utils libvmdk-utils
	erofs-utils systemd-container strace lvm2 mdadm ntfs-3g zsh
	# what an image may lie on
	nfs-kernel-server python3-fusepy
	# the picture of make bench
	gnuplot-nox
)

missing_packages()
{
	local package

	for package in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
			grep -qx installed || printf '%s\n' "$package"
	done
}

# The newest release of a series whose image and headers can both be had.
# apt knows the kernels by full release only: there is no package "6.12".
kernel_packages()
{
	local release

	while read -r release; do
		if apt-cache show "linux-headers-$release" >/dev/null 2>&1; then
			printf '%s\n' "linux-image-$release" "linux-headers-$release"
			return
		fi
	done < <(apt-cache pkgnames "linux-image-$1" |
		sed -n 's/^linux-image-\([0-9][0-9.+~a-z-]*-amd64\)$/\1/p' |
		grep -Ev -- '-(cloud|rt)-' |
		awk -v want="$1" 'index($0, want ".") == 1 || $0 == want' | sort -rV)
	echo "install-deps: apt has no kernel $1: name another by KERNEL=, or one by KDIR=" >&2
	return 1
}

install()
{
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		-o DPkg::Lock::Timeout=300 --no-install-recommends "$@"
}

# The package of the running kernel's headers; of a kernel that is no package's, nothing.
running_headers()
{
	local package

	package=linux-headers-$(uname -r)
	[ -z "$(apt-cache policy "$package" 2>/dev/null)" ] || printf '%s\n' "$package"
}

main()
{
	local kernel=${1:-} missing found running=''

	[ $# -eq 0 ] || shift
	if [ "${1:-}" = --running ]; then
		running=$(running_headers)
		shift
	fi

	command -v dpkg-query >/dev/null || {
		echo "install-deps: not a Debian system, nothing installed" >&2
		return 0
	}
	mapfile -t missing < <(missing_packages "${packages[@]}" $running "$@")
	if [ -n "$kernel" ] && [ -n "$(kernel_newest "$kernel")" ]; then
		kernel=
	fi
	[ ${#missing[@]} -gt 0 ] || [ -n "$kernel" ] || return 0
	echo "install-deps: missing: ${missing[*]} ${kernel:+kernel $kernel}"
	if [ "$(id -u)" -ne 0 ]; then
		echo "install-deps: run make deps as root once" >&2
		return 1
	fi
	apt-get update -q -o DPkg::Lock::Timeout=300
	if [ -n "$kernel" ]; then
		found=$(kernel_packages "$kernel")
		mapfile -t -O "${#missing[@]}" missing <<<"$found"
	fi
	install "${missing[@]}"
}

main "$@"
