#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# attach-clean: an image that was not closed is mended and attached if nothing else is
# wrong with it. The kernel is made up: attach fails as it does for such images.
. "$(dirname "$0")/lib.sh"
need_cmd jq

mkdir "$tmp/bin"
cat >"$tmp/bin/vdisk" <<END
#!/bin/sh
if [ "\$1" = attach ]; then
	for image; do :; done
	"$(realpath "$vdisk")" check --json "\$image" >"$tmp/json" 2>"$tmp/why" || true
	[ -s "$tmp/json" ] || { cat "$tmp/why" >&2; exit 1; }
	if [ "\$(jq '."dirty-flag"' "$tmp/json")" = true ]; then
		echo "vdisk: \$image: Image was not closed, check it first: 0" >&2
		exit 1
	fi
	echo "/dev/mapper/\$3"
else
	exec "$(realpath "$vdisk")" "\$@"
fi
END
chmod +x "$tmp/bin/vdisk"
PATH=$tmp/bin:$PATH
attach=$(realpath "$here/../../userspace/boot/attach-clean")
shell=$(command -v dash || echo sh)

# patch FILE OFFSET HEX
patch()
{
	printf "%b" "$(sed 's/../\\x&/g' <<<"$3")" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

number()
{
	od -An -t u4 -j "$2" -N 4 "$1" | tr -d ' '
}

"$vdisk" create -f vmdk "$tmp/a.vmdk" 64M
qemu-io -f vmdk -c 'write -P 7 0 192k' "$tmp/a.vmdk" >"$tmp/io"
eq "a clean image is attached" "$("$shell" "$attach" -- web "$tmp/a.vmdk" 2>&1)" /dev/mapper/web

patch "$tmp/a.vmdk" 72 01
eq "one that was not closed, too" "$("$shell" "$attach" -- web "$tmp/a.vmdk" 2>&1)" /dev/mapper/web
eq "its mark is gone" "$("$vdisk" check --json "$tmp/a.vmdk" | jq '."dirty-flag"')" false
eq "a format that is told is used" "$(patch "$tmp/a.vmdk" 72 01
	"$shell" "$attach" --format qed -- web "$tmp/a.vmdk" 2>&1 | grep -c "^vdisk: $tmp/a.vmdk: ")" 1
"$vdisk" check --repair "$tmp/a.vmdk" >"$tmp/io"

# The second entry of the first table becomes what the first is, in both copies.
for field in 48 56; do
	directory=$(($(number "$tmp/a.vmdk" "$field") * 512))
	table=$(($(number "$tmp/a.vmdk" "$directory") * 512))
	dd if="$tmp/a.vmdk" of="$tmp/a.vmdk" bs=1 skip="$table" seek=$((table + 4)) count=4 \
		conv=notrunc status=none
done
patch "$tmp/a.vmdk" 72 01
before=$(sha "$tmp/a.vmdk")
refused "one that is damaged as well is not, in one line" \
	'a\.vmdk: Not closed, and damaged \(vdisk check --repair\): ' \
	"$shell" "$attach" -- web "$tmp/a.vmdk"
eq "and was left alone" "$(sha "$tmp/a.vmdk")" "$before"
refused "what else is wrong is passed on" 'none\.vmdk: No such file' \
	"$shell" "$attach" -- web "$tmp/none.vmdk"
ktap_end
