# SPDX-License-Identifier: GPL-2.0
#
# dm-vdisk: disk image files as block devices. `make help` lists the targets.
#
#	KERNEL=		the kernel to build and test for: a release, or a series as 6.1.
#			If not given, what runs the module is built for the running
#			kernel, and what tests it for 6.1, wherever it runs.
#	KDIR=		its build directory, if it is not /lib/modules/.../build
#	NODEPS=1	with targets that test: install no packages
#	V=1		show the commands

# These test, in a virtual machine of their own, and install what they need.
TESTING := demo check check-long check-debug check-boot check-kernels bench unit pure \
	golden crash fuzz kernel style shell deps
ifeq ($(origin KERNEL), undefined)
KERNEL := $(if $(filter $(TESTING),$(MAKECMDGOALS)),6.1,$(shell uname -r))
endif
export KERNEL
ifeq ($(origin KDIR), undefined)
# Found late, since `deps` may be what installs it.
KDIR = $(or $(shell selftests/lib/kernel-build $(KERNEL)),\
	$(error no headers of kernel $(KERNEL) are installed: install linux-headers-$(KERNEL), \
	or name another kernel by KERNEL= or KDIR=))
KERNEL_WANTED := $(KERNEL)
endif

VERSION := $(shell sed -n 's/^\#define VDISK_VERSION "\(.*\)"/\1/p' userspace/vdisk.c)

DESTDIR ?=
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
UNITDIR ?= /lib/systemd/system
UDEVDIR ?= /lib/udev/rules.d
GENERATORDIR ?= /lib/systemd/system-generators
# Looked for where others have said that such things lie, whatever PREFIX is.
BOOTDIR := /usr/lib/vdisk
INITRAMFSDIR := /usr/share/initramfs-tools
DRACUTDIR := /usr/lib/dracut/modules.d/90vdisk
DRACUTCONF := /usr/lib/dracut/dracut.conf.d/90-vdisk.conf

ifneq ($(V),1)
Q := @
quiet := -s
endif

all: modules tools

modules:
	+$(Q)$(MAKE) $(quiet) -C $(KDIR) M=$(CURDIR) modules

tools:
	+$(Q)$(MAKE) -C userspace

# Asked for by name, also what building for the running kernel takes, if there is such.
deps:
ifneq ($(NODEPS),1)
	$(Q)selftests/install-deps.sh $(or $(KERNEL_WANTED),'') $(if $(filter deps,$(MAKECMDGOALS)),--running)
endif

# The two commands of the README.
demo: deps all
	$(Q)selftests/demo/run

check: deps
	+$(Q)selftests/lib/check

# The same with the programs that take minutes, and the test of the runner.
check-long: deps
	+$(Q)VDISK_LONG=1 selftests/lib/check

# Single rings; several may be named: make unit pure
unit pure golden crash flip fuzz style: deps
	+$(Q)$(MAKE) --no-print-directory -C selftests $@
unit golden crash flip fuzz: deps tools

kernel: deps modules tools
	+$(Q)$(MAKE) --no-print-directory -C selftests $@

shell: deps modules tools
	$(Q)selftests/vm/run --shell --disk 4G --disk 1G,logical=4096

# Each is one program; what is not in this tree yet says so.
check-debug: deps
	$(Q)$(call program,selftests/debug/run)
check-boot: deps all
ifneq ($(NODEPS),1)
	$(Q)selftests/install-deps.sh '' mmdebstrap
endif
	$(Q)$(call program,selftests/boot/run)
check-kernels:
ifneq ($(NODEPS),1)
	$(Q)selftests/install-deps.sh '' mmdebstrap
endif
	$(Q)selftests/vm/trixie
bench: deps all
	$(Q)$(call program,selftests/bench/run)
program = [ -x $1 ] || { echo "$1: not in this tree"; exit 1; }; $1

# include/config/kernel.release is another one in Debian 12.
RELEASE = $(shell sed -n 's/.*"\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h)

# A distribution's headers want modules signed, and keep the key to themselves.
# Into a DESTDIR no list of modules is made: whoever unpacks it runs depmod.
install: modules tools
	$(Q)$(MAKE) $(quiet) -C $(KDIR) M=$(CURDIR) INSTALL_MOD_PATH=$(DESTDIR) \
		$(if $(wildcard $(KDIR)/certs/signing_key.pem),,CONFIG_MODULE_SIG_ALL=) \
		DEPMOD=true modules_install
	$(Q)[ -n "$(DESTDIR)" ] || depmod -a $(RELEASE)
	+$(Q)$(MAKE) --no-print-directory install-tools

# All but the module: what a package of the tool holds.
install-tools: tools
	$(Q)install -D -m 755 userspace/vdisk $(DESTDIR)$(SBINDIR)/vdisk
	$(Q)$(foreach f,$(FILES),install -D -m $(call mode,$f) $(subst :, $(DESTDIR),$f) &&) true

# FROM:TO; those that are programs are so in the tree.
FILES := userspace/man/vdisk.8:$(MANDIR)/man8/vdisk.8 \
	userspace/man/vdisktab.5:$(MANDIR)/man5/vdisktab.5 \
	userspace/completion/vdisk.bash:$(COMPLETIONDIR)/vdisk \
	userspace/completion/_vdisk:$(ZSHDIR)/_vdisk \
	$(foreach f,55-vdisk.rules 61-vdisk.rules 66-vdisk.rules,userspace/udev/$f:$(UDEVDIR)/$f) \
	userspace/systemd/vdisk.target:$(UNITDIR)/vdisk.target \
	userspace/systemd/vdisk-generator:$(GENERATORDIR)/vdisk-generator \
	$(foreach f,vdisktab.sh host.sh asleep.sh made.sh shutdown.sh attach-clean copy-kernel,userspace/boot/$f:$(BOOTDIR)/$f) \
	userspace/boot/dracut.conf:$(DRACUTCONF) \
	$(foreach d,kernel/postinst.d kernel/postrm.d initramfs/post-update.d,userspace/boot/kernel-hook:/etc/$d/zz-vdisk) \
	userspace/boot/initramfs-tools/hook:$(INITRAMFSDIR)/hooks/vdisk \
	userspace/boot/initramfs-tools/local-top:$(INITRAMFSDIR)/scripts/local-top/vdisk \
	$(foreach f,$(wildcard userspace/boot/dracut/*),$f:$(DRACUTDIR)/$(notdir $f))
mode = $(if $(shell test -x $(firstword $(subst :, ,$1)) && echo x),755,644)

# The module's source, for dkms to build for each kernel.
DKMSDIR := /usr/src/dm-vdisk-$(VERSION)
dkms-source:
	$(Q)rm -rf $(DESTDIR)$(DKMSDIR)
	$(Q)install -d $(DESTDIR)$(DKMSDIR)/dm-vdisk $(DESTDIR)$(DKMSDIR)/formats
	$(Q)install -m 644 Kbuild $(DESTDIR)$(DKMSDIR)/
	$(Q)install -m 644 $(filter-out %.mod.c,$(wildcard dm-vdisk/*.[ch])) $(DESTDIR)$(DKMSDIR)/dm-vdisk/
	$(Q)install -m 644 $(wildcard formats/*.[ch]) $(DESTDIR)$(DKMSDIR)/formats/
	$(Q)sed 's/#MODULE_VERSION#/$(VERSION)/' dkms.conf >$(DESTDIR)$(DKMSDIR)/dkms.conf

dkms-install: dkms-source
	$(Q)dkms install --force -m dm-vdisk -v $(VERSION) \
		-k $(RELEASE)

dkms-uninstall:
	$(Q)dkms remove -m dm-vdisk -v $(VERSION) --all
	$(Q)rm -rf $(DKMSDIR)

# Packages in build/deb, out of what git knows of.
deb:
ifneq ($(NODEPS),1)
	$(Q)selftests/install-deps.sh '' build-essential debhelper dh-dkms dkms dpkg-dev fakeroot lintian
endif
	$(Q)rm -rf build/deb
	$(Q)mkdir -p build/deb/dm-vdisk-$(VERSION)
	$(Q)git ls-files -z | tar --null -T - -cf - | tar -C build/deb/dm-vdisk-$(VERSION) -xf -
	$(Q)cd build/deb/dm-vdisk-$(VERSION) && dpkg-buildpackage -us -uc
	$(Q)rm -rf build/deb/dm-vdisk-$(VERSION)
	$(Q)cd build/deb && lintian --allow-root --fail-on error,warning *.changes

uninstall:
	$(Q)rm -f $(DESTDIR)/lib/modules/*/*/dm-vdisk.ko*
	$(Q)rm -f $(DESTDIR)$(SBINDIR)/vdisk \
		$(foreach f,$(FILES),$(DESTDIR)$(lastword $(subst :, ,$f)))
	$(Q)rm -rf $(DESTDIR)$(BOOTDIR) $(DESTDIR)$(DRACUTDIR)
	$(Q)[ -n "$(DESTDIR)" ] || depmod -a

# By hand: the kernel build's own clean wants the headers to be there.
clean:
	$(Q)rm -f dm-vdisk/*.o formats/*.o dm-vdisk/.*.cmd formats/.*.cmd .*.cmd
	$(Q)rm -f *.o *.ko *.mod *.mod.c .module-common.o Module.symvers modules.order
	$(Q)rm -rf .tmp_versions build selftests/build
	+$(Q)$(MAKE) -s -C userspace clean
	+$(Q)$(MAKE) -s -C selftests clean

help:
	@echo 'dm-vdisk: disk image files as block devices'
	@echo
	@echo '  all          modules and tools (default)'
	@echo '  modules      dm-vdisk.ko, for the running kernel; KERNEL=6.1, KDIR=/kernel/build'
	@echo '  tools        userspace/vdisk'
	@echo '  demo         a VM attaches, mounts, reads and writes a real image'
	@echo '  check        every test ring; the last line is the sum'
	@echo '  check-long   check, and what takes minutes'
	@echo '  check-debug  the kernel tests under a kernel that looks for bugs'
	@echo '  check-boot   a system that boots from an attached image'
	@echo '  check-kernels  the kernel tests on the newest kernel of trixie-backports'
	@echo '  bench        figures'
	@echo '  unit pure golden crash flip fuzz kernel style    one ring'
	@echo '  shell        a shell in the test VM'
	@echo '  install uninstall    DESTDIR= PREFIX=$(PREFIX)'
	@echo '  dkms-install dkms-uninstall    the module by dkms, for each kernel that comes'
	@echo '  deb          Debian packages, in build/deb'
	@echo '  deps         install the packages that building and testing need (Debian, as root);'
	@echo '               targets that test do so by themselves, building does not'
	@echo '  clean help'
	@echo
	@echo 'Variables: KERNEL KDIR DESTDIR PREFIX NODEPS=1 V=1'

# Rings are programs that share build directories; make -j is for their parts.
.NOTPARALLEL:
.PHONY: all modules tools deps demo check check-long check-debug check-boot \
	check-kernels bench unit pure golden crash flip fuzz kernel style shell install install-tools \
	dkms-source dkms-install dkms-uninstall deb uninstall clean help
