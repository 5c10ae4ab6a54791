#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make install puts what was built where it belongs, under DESTDIR and PREFIX;
# make uninstall takes all of it away again, and nothing else.
. "$(dirname "$0")/lib.sh"

top=$(cd "$here/../.." && pwd)
[ -e "$top/dm-vdisk.ko" ] || skip_all "no module, run make modules"
need_cmd make
release=$(modinfo -F vermagic "$top/dm-vdisk.ko" | cut -d ' ' -f 1)

# Not built again here: another ring may be using it.
as_built()
{
	# What the make above this test was told is not for this one.
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$top" -o modules -o tools -o deps \
		NODEPS=1 "KERNEL=$release" "$@"
}

# Files, with their modes.
installed()
{
	find "$1" -type f -printf '%m %P\n' | sort -k 2
}

wanted()
{
	sort -k 2 <<-END
	755 etc/initramfs/post-update.d/zz-vdisk
	755 etc/kernel/postinst.d/zz-vdisk
	755 etc/kernel/postrm.d/zz-vdisk
	644 lib/modules/$release/$module
	755 lib/systemd/system-generators/vdisk-generator
	644 lib/systemd/system/vdisk.target
	644 lib/udev/rules.d/55-vdisk.rules
	644 lib/udev/rules.d/61-vdisk.rules
	644 lib/udev/rules.d/66-vdisk.rules
	644 usr/lib/dracut/dracut.conf.d/90-vdisk.conf
	755 usr/lib/dracut/modules.d/90vdisk/attach.sh
	755 usr/lib/dracut/modules.d/90vdisk/detach.sh
	755 usr/lib/dracut/modules.d/90vdisk/module-setup.sh
	755 usr/lib/dracut/modules.d/90vdisk/parse.sh
	644 usr/lib/vdisk/asleep.sh
	755 usr/lib/vdisk/attach-clean
	755 usr/lib/vdisk/copy-kernel
	644 usr/lib/vdisk/host.sh
	644 usr/lib/vdisk/made.sh
	644 usr/lib/vdisk/shutdown.sh
	644 usr/lib/vdisk/vdisktab.sh
	755 $1/sbin/vdisk
	644 $1/share/bash-completion/completions/vdisk
	644 $1/share/man/man5/vdisktab.5
	644 $1/share/man/man8/vdisk.8
	644 $1/share/zsh/$([ "$1" = usr ] && echo vendor-completions || echo site-functions)/_vdisk
	755 usr/share/initramfs-tools/hooks/vdisk
	755 usr/share/initramfs-tools/scripts/local-top/vdisk
	END
}

umask 022
# Kernels differ in what they call the directory.
t "make install" as_built install "DESTDIR=$tmp/a"
module=$(cd "$tmp/a/lib/modules/$release" && echo */dm-vdisk.ko*)
eq "what is there" "$(installed "$tmp/a")" "$(wanted usr/local)"
t "the tool works" "$tmp/a/usr/local/sbin/vdisk" --version
eq "the module is the one that was built" \
	"$(modinfo -F srcversion "$tmp/a/lib/modules/$release/$module")" \
	"$(modinfo -F srcversion "$top/dm-vdisk.ko")"
mkdir -p "$tmp/a/usr/local/sbin" && : >"$tmp/a/usr/local/sbin/other"
t "make install once more" as_built install "DESTDIR=$tmp/a"
t "make uninstall" as_built uninstall "DESTDIR=$tmp/a"
eq "only the other file is left" "$(find "$tmp/a" ! -type d -printf '%P\n')" "usr/local/sbin/other"
t "make install PREFIX=/usr" as_built install "DESTDIR=$tmp/b" PREFIX=/usr
eq "what is there with PREFIX=/usr" "$(installed "$tmp/b")" "$(wanted usr)"
t "make uninstall PREFIX=/usr" as_built uninstall "DESTDIR=$tmp/b" PREFIX=/usr
eq "nothing is left" "$(find "$tmp/b" ! -type d)" ""
t "make uninstall of nothing" as_built uninstall "DESTDIR=$tmp/b" PREFIX=/usr

# What builds installs nothing, and is for the running kernel; what tests does, for 6.1.
mkdir "$tmp/bin"
printf '#!/bin/sh\n[ "$*" = -r ] && echo 4.0.0-none || exec /bin/uname "$@"\n' >"$tmp/bin/uname"
for each in apt-get dpkg-query; do
	printf '#!/bin/sh\necho "%s $*" >>"%s/called"\n' "$each" "$tmp" >"$tmp/bin/$each"
done
chmod +x "$tmp/bin"/*

# would TARGET [VARIABLE=VALUE...]: what make would do, and what it did
would()
{
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u KERNEL -u KDIR -u NODEPS "PATH=$tmp/bin:$PATH" \
		make -n -C "$top" "$@" 2>&1
}

for each in modules all install dkms-install; do
	eq "make $each: for the running kernel, of which one line names what is missing" \
		"$(would "$each" | grep -c 'no headers of kernel 4.0.0-none are installed: install linux-headers-4.0.0-none,')" 1
done
eq "make modules: for another that is asked for" "$(would modules KERNEL=3.0 | grep -c 'no headers of kernel 3.0 ')" 1
eq "make tools: needs no kernel" "$(would tools | grep -c 'no headers of kernel' || true)" 0
eq "they install nothing" "$(for each in all modules tools install; do
	would "$each" KDIR=/none | grep install-deps
done; cat "$tmp/called" 2>/dev/null)" ""
eq "make deps: a kernel 6.1 for tests, and headers of the running one" \
	"$(would deps | grep -oE 'install-deps.sh .*')" "install-deps.sh 6.1 --running"
# Not run by -n: some of these start make again.
would deps -p >"$tmp/rules" || true
for each in check check-long demo bench golden unit kernel check-boot check-debug; do
	t "make $each: installs what is missing" grep -Eq "^$each:.* deps( |\$)" "$tmp/rules"
	t "make $each: tests on 6.1" grep -Eq "^TESTING :=.* $each( |\$)" "$tmp/rules"
done
fails "make tools: a library that is missing" make -s -C "$top/userspace" PKG_CONFIG=false
eq "and one line names it" "$(make -s -C "$top/userspace" PKG_CONFIG=false 2>&1 | grep -c 'headers are missing of: devmapper')" 1

ktap_end
