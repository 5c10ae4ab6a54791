#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# copy-kernel: the newest kernel and its initramfs come to where the boot loader reads.
. "$(dirname "$0")/lib.sh"

program=$(realpath "$here/../../userspace/boot/copy-kernel")
shell=$(command -v dash || echo sh)
export VDISK_DEFAULT=$tmp/default VDISK_BOOT_DIR=$tmp/boot VDISK_HOSTS=$tmp/hosts
to=$tmp/host/vm
mkdir -p "$tmp/boot" "$to"

# kernel VERSION [TEXT]: as its package leaves it
kernel()
{
	echo "kernel $1" >"$tmp/boot/vmlinuz-$1"
	echo "initramfs $1${2:+ $2}" >"$tmp/boot/initrd.img-$1"
}

# copy [WORD...]: what it says
copy()
{
	"$shell" "$program" "$@" 2>&1
}

# there: what the boot loader would read
there()
{
	(cd "$to" && grep -H . ./* 2>/dev/null | sed 's,^\./,,; s,:,: ,')
}

kernel 6.1.0-9-amd64
eq "nobody said where, on another machine" "$(copy) $(there)" " "
mkdir -p "$tmp/hosts/root"
eq "nobody said where, with the root in an image" "$(copy)" \
	"vdisk: The boot loader does not read this /boot: copy, or set COPY_KERNEL_TO in $tmp/default"
echo "COPY_KERNEL_TO=$to" >"$tmp/default"
eq "the first" "$(copy 6.1.0-9-amd64 /boot/vmlinuz-6.1.0-9-amd64)" \
	"vdisk: $to: The boot loader reads kernel 6.1.0-9-amd64"
eq "is there" "$(there)" 'initrd.img: initramfs 6.1.0-9-amd64
vmlinuz: kernel 6.1.0-9-amd64'
eq "the same once more" "$(copy)" ""
kernel 6.1.0-9-amd64 anew
copy >/dev/null
eq "its initramfs made anew" "$(there)" 'initrd.img: initramfs 6.1.0-9-amd64 anew
vmlinuz: kernel 6.1.0-9-amd64'
echo "kernel without one" >"$tmp/boot/vmlinuz-6.1.0-11-amd64"
eq "a newer one whose initramfs is yet to be made" "$(copy)" ""
kernel 6.1.0-10-amd64
eq "10 is newer than 9" "$(copy)" "vdisk: $to: The boot loader reads kernel 6.1.0-10-amd64"
eq "and the one before is kept" "$(there)" 'initrd.img: initramfs 6.1.0-10-amd64
initrd.img.old: initramfs 6.1.0-9-amd64 anew
vmlinuz: kernel 6.1.0-10-amd64
vmlinuz.old: kernel 6.1.0-9-amd64'
rm "$tmp/boot"/*-10-amd64
copy >/dev/null
eq "the newest is removed" "$(there | grep vmlinuz:)" 'vmlinuz: kernel 6.1.0-9-amd64'

# A disk that is full: cp fails.
kernel 6.1.0-12-amd64
mkdir "$tmp/bin"
printf '#!/bin/sh\n[ "${1#*vmlinuz}" != "$1" ] && exec /bin/cp "$@"\nprintf half >"$2"\nexit 1\n' >"$tmp/bin/cp"
chmod +x "$tmp/bin/cp"
before=$(there)
eq "no room: it is told" "$(PATH=$tmp/bin:$PATH copy || echo "$?")" \
	"vdisk: $to: Cannot copy: $tmp/boot/initrd.img-6.1.0-12-amd64: the boot loader still reads the kernel before
1"
eq "no room: nothing has changed" "$(there)" "$before"
echo "COPY_KERNEL_TO=$tmp/none" >"$tmp/default"
eq "a directory that is not there" "$(copy || echo "$?")" \
	"vdisk: $tmp/default: COPY_KERNEL_TO: No such directory: $tmp/none
1"
ktap_end
