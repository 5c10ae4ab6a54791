#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The scripts that an initramfs of initramfs-tools and one of dracut run: a system that
# hibernated is woken before anything is attached and never after; what is wrong with an
# image stops the boot, unless it has nofail; a device may come late.
. "$(dirname "$0")/lib.sh"

boot=$(cd "$here/../../userspace/boot" && pwd)
shell=$(command -v dash || echo sh)
w=$tmp/w
mkdir -p "$tmp/lib" "$tmp/bin"
cp "$boot/vdisktab.sh" "$boot/asleep.sh" "$tmp/lib/"

# In the place of host.sh: images are attached but for those in $w/missing and $w/bad.
cat >"$tmp/lib/host.sh" <<END
vdisk_proc=$w/proc vdisk_sys=$w/sys vdisk_run=$w/run vdisk_hosts=$w/run/vdisk
vdisk_list() { cat $w/list; }
vdisk_say() { echo "said: \$1" >>$w/log; }
vdisk_keep_tools() { echo kept >>$w/log; }
vdisk_attach()
{
	vdisk_word "\$1"
	case " \$(cat $w/missing) " in
	*" \$vdisk_name "*) vdisk_bad "UUID=h: The host's device did not appear"; return ;;
	esac
	case " \$(cat $w/bad) " in
	*" \$vdisk_name "*) vdisk_bad "UUID=h: No such file"; return ;;
	esac
	echo "attached \$vdisk_name, resume: \$(cat $w/sys/power/resume)" >>$w/log
}
END

# What the makers give to a script.
cat >"$tmp/functions" <<END
modprobe() { :; }
panic() { echo "shell: \$1" >>$w/log; exit 9; }
emergency_shell() { echo "shell: \$3" >>$w/log; exit 9; }
need_shutdown() { :; }
local_device_setup()
{
	echo "looked for \$1" >>$w/log
	[ ! -e "$w/dev/\${1#UUID=}" ] || DEV=$w/dev/\${1#UUID=}
}
getarg() { sed -n "s,^\$1,,p" $w/args | grep . || grep -qx "\$1" $w/args; }
blkid() { cat $w/sleepers 2>/dev/null; }
findfs() { [ -e "$w/dev/\${1#UUID=}" ] && echo "$w/dev/\${1#UUID=}"; }
systemctl() { echo "systemctl \$*" >>$w/log; }
hookdir=$w/hooks
END

# fresh WORD...: images that are wanted
fresh()
{
	rm -rf "$w"
	mkdir -p "$w"/{proc,run/vdisk,dev,sys/power,sys/class/block/swap,hooks/pre-mount,udev,units/sysinit.target.wants,system}
	printf '%s\n' "$@" >"$w/list"
	touch "$w"/{log,missing,bad,args,dev/swap,sys/power/resume}
	echo 8:16 >"$w/sys/class/block/swap/dev"
	echo quiet >"$w/proc/cmdline"
	echo "100.5 1.0" >"$w/proc/uptime"
	touch "$w/units/sysinit.target.wants/systemd-hibernate-resume@dev-x.service" \
		"$w/udev/99-resume.rules" "$w/hooks/pre-mount/10-resume.sh"
}

# script FILE [WORD...]: with its places here, and what is below it made up; its status
script()
{
	{
		cat "$tmp/functions"
		sed "s,/lib/vdisk/,$tmp/lib/,; s,/run/vdisk\.,$w/run/vdisk.,g; s,/proc/uptime,$w/proc/uptime,
			s,/conf/param.conf,$w/param.conf,; s,/run/systemd/generator\*/\*/,$w/units/*/,
			s,/run/systemd/system,$w/system,g; s,/etc/udev/rules.d,$w/udev,
			/^\. \/scripts\//d; /dracut-lib/d; s,>/dev/kmsg,>/dev/null," "$boot/$1"
	} >"$tmp/script"
	shift
	resume=${resume:-} "$shell" "$tmp/script" "$@" >"$w/out" 2>&1
	echo "$? $(sed "s,$w,W,g; s/ \$//" "$w/log" | paste -sd ';')"
}

local_top()
{
	script initramfs-tools/local-top
}

attach_sh()
{
	script dracut/attach.sh "$@"
}

fresh root:UUID=h:/a.vhd
eq "initramfs-tools: resume is tried first, and not again" "$(resume=UUID=swap local_top) $(cat "$w/param.conf")" \
	"0 looked for UUID=swap;attached root, resume: 8:16;kept resume=''"
fresh root:UUID=h:/a.vhd
eq "initramfs-tools: the swap is not there" "$(resume=UUID=none local_top) $(cat "$w/param.conf")" \
	"0 looked for UUID=none;said: resume=UUID=none: The device did not appear;attached root, resume:;kept resume=''"
fresh swap:UUID=h:/a.vhd root:UUID=h:/b.vhd
eq "initramfs-tools: the swap is an image to be attached: nobody waits, nobody wakes" \
	"$(resume=/dev/mapper/swap local_top)" "0 attached swap, resume:;attached root, resume:;kept"
fresh none:UUID=h:/a.vhd:nofail root:UUID=h:/b.vhd
echo none >"$w/bad"
eq "initramfs-tools: nofail" "$(local_top)" \
	"0 said: UUID=h: No such file (nofail);attached root, resume:;kept"
fresh root:UUID=h:/b.vhd
echo root >"$w/bad"
eq "initramfs-tools: without it a shell opens" "$(local_top)" "9 shell: vdisk: UUID=h: No such file"
fresh
: >"$w/list"
eq "initramfs-tools: no image is wanted: what others do is left to them" \
	"$(resume=UUID=swap local_top) $(cat "$w/param.conf" 2>/dev/null)" "0  "

fresh root:UUID=h:/a.vhd
echo resume=UUID=swap >"$w/args"
eq "dracut: resume is tried first" "$(attach_sh)" "0 systemctl daemon-reload;attached root, resume: 8:16"
eq "dracut: and by nobody after that" \
	"$(readlink "$w/system/systemd-hibernate-resume@dev-x.service") $(find "$w/udev" "$w/hooks" -name '*resume*')" \
	"/dev/null "
fresh root:UUID=h:/a.vhd
echo resume=UUID=none >"$w/args"
eq "dracut: the swap may come yet: nothing is attached" "$(attach_sh)" "1 "
eq "dracut: it does not come" "$(attach_sh last)" \
	"0 said: resume=UUID=none: The device did not appear;systemctl daemon-reload;attached root, resume:"
fresh root:UUID=h:/a.vhd
printf 'resume=UUID=swap\nnoresume\n' >"$w/args"
echo "quiet noresume" >"$w/proc/cmdline"
echo /dev/sdx >"$w/sleepers"
eq "dracut: noresume" "$(attach_sh)" \
	"0 said: A system sleeps in /dev/sdx and must not wake any more (mkswap);systemctl daemon-reload;attached root, resume:"
fresh root:UUID=h:/a.vhd
echo "quiet noresume" >"$w/proc/cmdline"
echo /dev/sdx >"$w/sleepers"
eq "initramfs-tools: noresume" "$(local_top)" \
	"0 said: A system sleeps in /dev/sdx and must not wake any more (mkswap);attached root, resume:;kept"

fresh late:UUID=h:/a.vhd:nofail root:UUID=h:/b.vhd
echo late >"$w/missing"
eq "dracut: nofail, not there yet: others are attached, it is tried again" "$(attach_sh)" \
	"1 systemctl daemon-reload;attached root, resume:"
echo "131.5 1.0" >"$w/proc/uptime"
: >"$w/log"
eq "dracut: nofail, not there after half a minute" "$(attach_sh)" \
	"0 said: UUID=h: The host's device did not appear (nofail);attached root, resume:"
fresh root:UUID=h:/b.vhd
echo root >"$w/missing"
eq "dracut: one that may come yet" "$(attach_sh)" "1 systemctl daemon-reload"
eq "dracut: one that does not come: a shell" "$(attach_sh last | sed 's/.*;//')" \
	"shell: vdisk: UUID=h: The host's device did not appear"
ktap_end
