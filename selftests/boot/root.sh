# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The root file system of the guest, and an initramfs made in it, as its user would.

declare -A root_packages=(
	[initramfs-tools]=initramfs-tools,busybox,kpartx,ntfs-3g
	[dracut]=dracut,busybox,kpartx,ntfs-3g
	[packages]=initramfs-tools,busybox,linux-image-amd64,linux-headers-amd64,dkms
)
dracut_omits="kernel-modules-extra nvdimm overlay-root qemu lunmask terminfo virtiofs"
dracut_omits+=" usrmount crypt i18n"
common_packages=systemd-sysv,udev,kmod,dmsetup,libjson-c5,libexpat1,zstd,xfsprogs,e2fsprogs

# cached_root: $tarball, of the packages, made once
cached_root()
{
	local cache=${VDISK_CACHE:-${XDG_CACHE_HOME:-/var/cache}/dm-vdisk} list

	list=$common_packages,${root_packages[$maker]}
	tarball=$cache/boot-$maker-$(sha256sum <<<"$list" | cut -c 1-12).tar
	mkdir -p "$cache"
	if [ ! -e "$tarball" ]; then
		echo "# a Debian 12 with $list"
		mmdebstrap --quiet --format=tar --variant=minbase --include="$list" bookworm \
			"$tarball.new" >&2 || skip_all "no Debian to be had for $maker"
		mv "$tarball.new" "$tarball"
	fi
}

# Only what can be of use for a virtual machine's disk; all that would take minutes.
copy_modules()
{
	local dir=lib/modules/$kernel each

	mkdir -p "$root/$dir/kernel/drivers"
	for each in fs lib crypto arch drivers/block drivers/md drivers/virtio drivers/scsi \
		drivers/ata drivers/char; do
		[ ! -e "/$dir/kernel/$each" ] ||
			cp -a "/$dir/kernel/$each" "$root/$dir/kernel/$each"
	done
	cp "/$dir"/modules.{order,builtin,builtin.modinfo} "$root/$dir/"
	cp "/boot/config-$kernel" "$root/boot/"
}

# make_data: an image within the root, which is to be attached as /etc/vdisktab says
make_data()
{
	mkdir -p "$root/srv" "$root/data"
	truncate -s 64M "$work/data.raw"
	mkfs.ext4 -q -F "$work/data.raw"
	"$top/userspace/vdisk" convert -f raw -O vhd "$work/data.raw" "$root/srv/data.vhd"
	rm "$work/data.raw"
	echo "data /srv/data.vhd" >"$root/etc/vdisktab"
	echo "/dev/mapper/data /data ext4 defaults 0 0" >>"$root/etc/fstab"
}

configure_root()
{
	echo vdisk-boot >"$root/etc/hostname"
	echo "UUID=$root_uuid / ext4 defaults 0 1" >"$root/etc/fstab"
	make_data
	install -m 755 "$here/guest" "$root/usr/local/sbin/vdisk-boot-guest"
	install -m 644 "$here/guest.service" "$root/etc/systemd/system/vdisk-boot-guest.service"
	mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
	ln -sf ../vdisk-boot-guest.service "$root/etc/systemd/system/multi-user.target.wants/"
	# What takes time on an emulated processor and is not looked at.
	for each in systemd-timesyncd systemd-networkd apt-daily.timer apt-daily-upgrade.timer \
		dpkg-db-backup.timer e2scrub_reap e2scrub_all.timer fstrim.timer systemd-pstore \
		systemd-update-utmp systemd-update-utmp-runlevel systemd-random-seed; do
		case $each in *.*) ;; *) each+=.service ;; esac
		ln -sf /dev/null "$root/etc/systemd/system/$each"
	done
}

# In the root itself, with its own programs.
make_initrd()
{
	case $maker in
	initramfs-tools)
		printf 'MODULES=list\nCOMPRESS=zstd\n' >"$root/etc/initramfs-tools/conf.d/vdisk-boot"
		printf 'virtio_pci\nvirtio_blk\nvirtio_rng\n' >"$root/etc/initramfs-tools/modules"
		in_root mkinitramfs -o "/boot/initrd" "$kernel"
		;;
	dracut)
		# A small one: at shutdown it is unpacked again, into a memory of 200 MiB.
		in_root dracut --force --no-hostonly --kver "$kernel" --zstd \
			--drivers "virtio_pci virtio_blk virtio_rng" --no-early-microcode \
			--omit "$dracut_omits" /boot/initrd
		;;
	esac
}

# install_tree: by make, for a kernel of this machine
install_tree()
{
	copy_modules
	"${MAKE:-make}" -s -C "$top" install NODEPS=1 KERNEL="$kernel" DESTDIR="$root" PREFIX=/usr \
		>"$logs/$maker.install" 2>&1
	depmod -b "$root" "$kernel"
	make_initrd >"$logs/$maker.initrd" 2>&1 || true
}

# in_root COMMAND...: maintainer scripts look at /proc
in_root()
{
	unshare -m --propagation private bash -c '
		mount -t proc proc "$0/proc" && DEBIAN_FRONTEND=noninteractive chroot "$0" "$@"' \
		"$root" "$@"
}

# The same packages, called newer.
newer_packages()
{
	local each

	mkdir -p "$work/newer"
	for each in "$top"/build/deb/{vdisk-tools,dm-vdisk-dkms}_*.deb; do
		rm -rf "$work/unpacked"
		dpkg-deb -R "$each" "$work/unpacked"
		sed -i 's/^Version: .*/&+newer1/' "$work/unpacked/DEBIAN/control"
		dpkg-deb --root-owner-group -b "$work/unpacked" "$work/newer"
	done
	rm -rf "$work/unpacked"
}

# install_packages: what make deb made, by dpkg; dkms makes the module, and the
# trigger of initramfs-tools the initramfs
install_packages()
{
	ls "$top"/build/deb/*.deb >/dev/null || skip_all "no packages, run make deb"
	kernel=$(basename "$root"/lib/modules/*-amd64)
	cp "$top"/build/deb/{vdisk-tools,dm-vdisk-dkms}_*.deb "$root/tmp/"
	t "$case: the packages can be installed" in_root sh -c 'dpkg -i /tmp/*.deb'
	t "$case: the tool runs" in_root vdisk --version
	t "$case: dkms made a module of that kernel" \
		grep -q "$kernel" <(modinfo -F vermagic "$root/lib/modules/$kernel/updates/dkms"/dm-vdisk.ko*)
	newer_packages >"$logs/$maker.newer" 2>&1
	rm "$root"/tmp/*.deb
	cp "$work"/newer/*.deb "$root/tmp/"
	t "$case: and upgraded" in_root sh -c 'dpkg -i /tmp/*.deb'
	rm "$root"/tmp/*.deb
	fails "$case: an upgrade starts and stops nothing" \
		grep -l deb-systemd-invoke "$root"/var/lib/dpkg/info/vdisk-tools.p*
	t "$case: the upgrade left one module" \
		test "$(find "$root/lib/modules" -name 'dm-vdisk.ko*' | wc -l)" -eq 1
	cp "$root/boot/vmlinuz-$kernel" "$work/"
	kernel_image=$work/vmlinuz-$kernel
	cp "$root/boot/initrd.img-$kernel" "$root/boot/initrd"
	t "$case: the initramfs has tool and module" test \
		"$(in_root lsinitramfs "/boot/initrd" | grep -Ec '/dm-vdisk.ko|sbin/vdisk$')" -eq 2
}

purge_packages()
{
	t "$case: and purged" in_root dpkg --purge vdisk-tools dm-vdisk-dkms
	eq "$case: nothing is left of them" "$(cd "$root" && find . -xdev -name '*vdisk*' \
		-not -path './var/cache/*' -not -path ./etc/vdisktab -not -name 'vdisk-boot*' -not -name '.vdisk*')" ""
	eq "$case: not in the initramfs either" \
		"$(in_root lsinitramfs "/boot/initrd.img-$kernel" | grep vdisk || true)" ""
}

prepare_root()
{
	root=$work/$maker.root initrd=$work/$maker.initrd raw=$work/$maker.raw
	[ ! -e "$initrd" ] || return 0
	mkdir "$root"
	cached_root
	tar -C "$root" -xf "$tarball"
	configure_root
	if [ "$maker" = packages ]; then
		install_packages
	else
		install_tree
	fi
	cp "$root/boot/initrd" "$initrd" || {
		tail -n 20 "$logs/$maker.initrd" | sed 's/^/# | /'
		return 1
	}
	echo "# $maker: an initramfs of $(du -h "$initrd" | cut -f 1)"
	make_raw
	[ "$maker" != packages ] || purge_packages
	rm -rf "$root"
}

# The root as a disk, of which images are made. dracut's shutdown wants to find the
# initramfs again; what else is large is not needed.
make_raw()
{
	local tree=$work/tree

	mkdir "$tree"
	tar -C "$root" -c --exclude='./lib/modules/*' --exclude='./usr/lib/modules/*' \
		--exclude='./boot/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/cache/*' \
		--exclude='./usr/src/*' --exclude='./usr/lib/gcc*' \
		--exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' . |
		tar -C "$tree" -x
	cp "$initrd" "$tree/boot/initrd.img-$kernel"
	truncate -s 1G "$raw"
	mkfs.ext4 -q -F -U "$root_uuid" -E lazy_itable_init=0 -d "$tree" "$raw"
	rm -rf "$tree"
}
