#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# VMDK texts of producers: what must not be written or read, pieces without their
# text, text beside a header, encodings; and changes of texts that are not written
# as we would.
. "$(dirname "$0")/lib.sh"

cd "$tmp" || exit
python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(5).randbytes(1 << 20))' >d-flat.vmdk
cp d-flat.vmdk want.raw

# text FILE LINE...: these lines behind the usual ones
text()
{
	{
		printf '# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID=12345678\n'
		printf 'parentCID=ffffffff\ncreateType="vmfs"\n'
		printf '%s\n' "${@:2}"
	} >"$1"
}

# read_only DESCRIPTION REGEX IMAGE: not written, and read
read_only()
{
	local verb

	for verb in table "resize" "rebase -u -b x.vmdk"; do
		# shellcheck disable=SC2046,SC2086
		refused "$1: $verb" "$2 \(see --read-only\)$" "$vdisk" $verb "$3" \
			$([ "$verb" != resize ] || echo +1M)
	done
	reads "$1: is read" want.raw "$3"
	t "$1: a table for reading" "$vdisk" table -r "$3"
	eq "$1: info says it" "$("$vdisk" info "$3" | sed -n 's/^read-only: //p')" "$2"
}

tracked="Changes of this VMDK are tracked elsewhere"
for extent in 'RW 2048 VMFS "d-flat.vmdk"' 'RW 2048 FLAT "d-flat.vmdk" 0'; do
	text x.vmdk "$extent" 'changeTrackPath="d-ctk.vmdk"'
	read_only "a tracking file, ${extent:8:4}" "$tracked" x.vmdk
	text x.vmdk "$extent"
	sed -i s/version=1/version=3/ x.vmdk
	read_only "version 3, ${extent:8:4}" "$tracked" x.vmdk
done
qemu-img convert -f raw -O vmdk want.raw sparse.vmdk
# inside IMAGE LINE...: lines more in the text of a sparse extent
inside()
{
	python3 - "$@" <<-'END'
		import sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(512)
		    text = f.read(20 * 512).rstrip(b"\0")
		    text += "".join(l + "\n" for l in sys.argv[2:]).encode()
		    f.seek(512)
		    f.write(text.ljust(20 * 512, b"\0"))
	END
}
cp sparse.vmdk x.vmdk
inside x.vmdk 'changeTrackPath="d-ctk.vmdk"'
read_only "a tracking file, sparse" "$tracked" x.vmdk
text x.vmdk 'RW 2048 VMFS "d-flat.vmdk"' 'ddb.iofilters = "vmwarelwd"'
read_only "a filter" "A filter must see what is written to this VMDK" x.vmdk

for line in keyID=00112233445566778899aabbccddeeff 'encryptionKeys="vmware:key/list/(x)"' \
	'ddb.iofilters = "vmwarevmcrypt"' 'encryption.keySafe = "vmware:key/list/(x)"' \
	'encryption.data = "AAAA"'; do
	text x.vmdk 'RW 2048 VMFS "d-flat.vmdk"' "$line"
	cp sparse.vmdk y.vmdk
	inside y.vmdk "$line"
	for verb in info map check table "table -r" "convert -f vmdk"; do
		# shellcheck disable=SC2046,SC2086
		refused "encrypted, ${line%%[= ]*}: $verb" "Disk is encrypted: " "$vdisk" $verb x.vmdk \
			$([ "$verb" != "convert -f vmdk" ] || echo o.raw)
	done
	refused "encrypted, sparse, ${line%%[= ]*}" "Disk is encrypted: " "$vdisk" table y.vmdk
done

# A parent that only VirtualBox finds.
cp sparse.vmdk vb.vmdk
inside vb.vmdk 'ddb.uuid.image="11111111-2222-3333-4444-555555555555"' \
	'ddb.uuid.parent="00000000-0000-0000-0000-000000000000"'
t "a UUID of zeroes is no parent's" "$vdisk" table vb.vmdk
inside vb.vmdk 'x=1'
python3 - <<'END'
data = open("vb.vmdk", "rb").read()
with open("vb.vmdk", "wb") as f:
    f.write(data.replace(b'parent="00000000-', b'parent="aaaaaaaa-'))
END
why="Parent is known by its UUID only, vdisk rebase -u names it: aaaaaaaa-0000-0000-0000-000000000000"
refused "a parent's UUID: not written" "$why \(see -f with --read-only\)$" "$vdisk" table vb.vmdk
refused "a parent's UUID: not read" "$why \(see -f\)$" "$vdisk" table -r vb.vmdk
refused "a parent's UUID: not written with -f" "$why \(see --read-only\)$" "$vdisk" table -f vmdk vb.vmdk
reads "a parent's UUID: read with -f" want.raw vb.vmdk -f vmdk
t "a parent's UUID: info" "$vdisk" info vb.vmdk
status "a parent's UUID: check" 0 "$vdisk" check vb.vmdk
qemu-img create -q -f qed -b vb.vmdk -F vmdk onvb.qed 1M
refused "nobody makes a child of it" "$why \(see -f\)$" "$vdisk" create -f vmdk -b vb.vmdk kid.vmdk
refused "as a parent it has none, either" "Parent: vb.vmdk: Parent is known by its UUID only" \
	"$vdisk" table onvb.qed
qemu-img convert -f raw -O vmdk want.raw base.vmdk
t "a parent's UUID: rebase names it" "$vdisk" rebase -u -b base.vmdk vb.vmdk
eq "a parent's UUID: it has one then" "$("$vdisk" table vb.vmdk | grep -c base.vmdk)" 1

# One piece instead of the whole.
mkdir split
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split/s.vmdk 5G
for how in "table:-f with --read-only" "table -r:-f" "convert:-f" "resize:-f with --read-only"; do
	verb=${how%%:*}
	# shellcheck disable=SC2046,SC2086
	refused "a piece of a split disk: $verb" \
		"Piece of a disk, open its descriptor: s.vmdk \(see ${how#*:}\)$" "$vdisk" $verb split/s-s002.vmdk \
		$([ "$verb" != convert ] || echo o.raw) $([ "$verb" != resize ] || echo +1M)
done
t "a piece of a split disk: read with -f" "$vdisk" table -r -f vmdk split/s-s002.vmdk
refused "a piece of a split disk: not written with -f" "open its descriptor: s.vmdk \(see --read-only\)$" \
	"$vdisk" table -f vmdk split/s-s002.vmdk
t "the whole" "$vdisk" table split/s.vmdk
rm split/s.vmdk
refused "a piece whose text is gone" "Piece of a disk without its descriptor \(see -f\)$" \
	"$vdisk" table -r split/s-s001.vmdk
"$vdisk" create -f vmdk base2.vmdk 1M
"$vdisk" create -f vmdk -o subformat=vmfsSparse -b base2.vmdk kid.vmdk
refused "a delta" "Piece of a disk, open its descriptor: kid.vmdk" "$vdisk" table kid-delta.vmdk
refused "a delta, said to be one" "open its descriptor: kid.vmdk \(see --read-only\)$" \
	"$vdisk" table -f cowd kid-delta.vmdk
t "a delta, said to be one, for reading" "$vdisk" table -r -f cowd kid-delta.vmdk
mv kid-delta.vmdk other.vmdk
refused "a delta of any name says its parent" \
	"Piece of a disk without its descriptor, its parent is base2.vmdk" "$vdisk" table other.vmdk
"$vdisk" create -f vmdk -o subformat=vmfsSparse root.vmdk 1M
mv root-delta.vmdk alone.vmdk
t "a COWD disk that has no parent" "$vdisk" table -r alone.vmdk

# Text beside a header that knows.
for line in 'RW 2048 SPARSE ""' 'RW 0 SPARSE "a"' 'RW 2048 STRANGE "a"' 'RW' 'a line' 'key = value'; do
	cp sparse.vmdk x.vmdk
	inside x.vmdk "$line"
	reads "text that informs: $line" want.raw x.vmdk
	t "text that informs, written: $line" "$vdisk" table x.vmdk
done
cp sparse.vmdk x.vmdk
inside x.vmdk 'RW 2048 SPARSE ""'
t "text that informs: resize" "$vdisk" resize x.vmdk 2M
eq "text that informs: the size" "$(table_size x.vmdk)" $((2 << 20))

# Encodings.
cp d-flat.vmdk café.vmdk
cp d-flat.vmdk 虚拟机.vmdk
cp d-flat.vmdk 表.vmdk
for how in windows-1252:café GBK:虚拟机 Big5:表 Shift_JIS:表 EUC-JP:表 windows-936:虚拟机; do
	code=${how%%:*} name=${how#*:}
	text x.vmdk "RW 2048 FLAT \"$name.vmdk\" 0"
	sed -i "s/UTF-8/$code/" x.vmdk
	iconv -f UTF-8 -t "${code/windows-/CP}" x.vmdk >y.vmdk
	reads "$code" want.raw y.vmdk
	t "$code: may be written" "$vdisk" table y.vmdk
	cp "$name.vmdk" kept
	t "$code: resize" "$vdisk" resize y.vmdk +1M
	eq "$code: the size" "$(table_size y.vmdk)" $((2 << 20))
	cp kept "$name.vmdk"
done
cp sparse.vmdk "bäse.vmdk"
for code in windows-1252 UTF-8 GBK; do
	text y.vmdk 'RW 2048 FLAT "d-flat.vmdk" 0'
	sed -i "s/UTF-8/$code/" y.vmdk
	if [ "$code" = GBK ]; then
		refused "$code: a parent's name that it has not" \
			"Descriptor cannot be changed: its encoding has no such name$" \
			"$vdisk" rebase -u -b "bäse.vmdk" y.vmdk
	else
		t "$code: a parent's name" "$vdisk" rebase -u -b "bäse.vmdk" y.vmdk
		eq "$code: is in that encoding" \
			"$(iconv -f "${code/windows-/CP}" -t UTF-8 y.vmdk | sed -n 's/^parentFileNameHint=//p')" \
			'"bäse.vmdk"'
		eq "$code: and found" "$("$vdisk" info y.vmdk | sed -n 's/^backing file: //p')" "bäse.vmdk"
	fi
done
text x.vmdk 'RW 2048 FLAT "d-flat.vmdk" 0'
{ printf '\xef\xbb\xbf'; cat x.vmdk; } >bom.vmdk
reads "a byte-order mark" want.raw bom.vmdk
IFS=: read -r at _ file < <("$vdisk" table bom.vmdk | sed -n 's/.* 1 stamp=//p')
eq "a byte-order mark: where the id is" "$(dd if="$file" bs=1 skip="${at:-0}" count=8 status=none)" 12345678
{ printf '\xff\xfe'; iconv -f UTF-8 -t UTF-16LE x.vmdk; } >wide.vmdk
read_only "UTF-16" "Descriptor is UTF-16, which is only read" wide.vmdk

# Changes where the reader looked. LINE:WANTED after +1M
while IFS='|' read -r line want; do
	cp want.raw d-flat.vmdk
	text x.vmdk "$line" 'ddb.note = "RW 1 FLAT 0"'
	t "resize: $line" "$vdisk" resize x.vmdk +1M
	eq "resize: $line: the size" "$(table_size x.vmdk)" $((2 << 20))
	eq "resize: $line: the line" "$(grep -ai '^[ 	]*rw' x.vmdk)" "$want"
done <<'END'
rw 2048 flat "d-flat.vmdk" 0|rw 4096 flat "d-flat.vmdk" 0
Rw	2048	Flat	"d-flat.vmdk"	0|Rw	4096	Flat	"d-flat.vmdk"	0
  RW   2048 VMFS "d-flat.vmdk"|  RW   4096 VMFS "d-flat.vmdk"
RW 02048 FLAT "d-flat.vmdk" 0 "2048" "x"|RW 4096 FLAT "d-flat.vmdk" 0 "2048" "x"
END
cp want.raw d-flat.vmdk
text x.vmdk 'RW 1024 FLAT "d-flat.vmdk" 0' 'rw 1024 flat "e-flat.vmdk" 0'
cp want.raw e-flat.vmdk
t "resize: the last of two, in lower case" "$vdisk" resize x.vmdk 2M
eq "resize: the last of two: the lines" "$(grep -ai '^rw' x.vmdk)" \
	$'RW 1024 FLAT "d-flat.vmdk" 0\nrw 3072 flat "e-flat.vmdk" 0'
# A key twice: the first counts, and without it the second would.
text x.vmdk 'RW 2048 FLAT "d-flat.vmdk" 0' 'parentFileNameHint="base.vmdk"' 'PARENTFILENAMEHINT = "base2.vmdk"'
sum=$(sha x.vmdk)
refused "a key that is there twice is not taken away" \
	"Descriptor cannot be changed: it would be read as another$" "$vdisk" rebase -u -b "" x.vmdk
eq "a key that is there twice: nothing is written" "$(sha x.vmdk)" "$sum"
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse wide-s.vmdk 2G
sed -i 's/^RW/rw/; s/SPARSE/Sparse/; s/$/\r/' wide-s.vmdk
t "a further extent like the last, in lower case and CRLF" "$vdisk" resize wide-s.vmdk 3G
eq "a further extent: the size" "$(table_size wide-s.vmdk)" $((3 << 30))

# A header that does not lead to the text: nobody reads a child without its parent.
# flip FILE AT BIT: turn one bit; or set the 8 bytes there to zero
flip()
{
	python3 - "$@" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    was = int.from_bytes(f.read(8), "little")
    f.seek(int(sys.argv[2]))
    f.write((was ^ 1 << int(sys.argv[3]) if sys.argv[3] != "-" else 0).to_bytes(8, "little"))
END
}

qemu-img create -q -f vmdk lost-p.vmdk 1M
qemu-io -f vmdk -c 'write -P 5 0 1M' lost-p.vmdk >/dev/null
qemu-img create -q -f vmdk -b lost-p.vmdk -F vmdk lost-c.vmdk 1M
qemu-io -f vmdk -c 'write -P 6 64k 64k' lost-c.vmdk >/dev/null
"$vdisk" convert lost-c.vmdk lost.raw
for at in '28 '{{0..4},6,8,9,40,62,-} '36 '{2,4,5,12} '36 -'; do
	cp lost-c.vmdk lost-d.vmdk
	# shellcheck disable=SC2086
	flip lost-d.vmdk $at
	sum=$(sha lost-d.vmdk)
	for verb in 'table -r' 'convert --force'; do
		to=
		[ "${verb#table}" != "$verb" ] || to=out.img
		# shellcheck disable=SC2086
		if out=$("$vdisk" $verb lost-d.vmdk $to 2>&1); then
			eq "byte $at, $verb: the parent is there" \
				"$("$vdisk" info lost-d.vmdk | grep -c '^backing file: lost-p.vmdk$')" 1
			[ "$verb" != 'convert --force' ] || eq "byte $at: reads the same" \
				"$(sha out.img)" "$(sha lost.raw)"
		else
			eq "byte $at, $verb: one line" "$(wc -l <<<"$out")" 1
		fi
	done
	"$vdisk" check --repair --no-undo lost-d.vmdk >/dev/null 2>&1 || :
	[ "$(sha lost-d.vmdk)" = "$sum" ] ||
		reads "byte $at: what is repaired has its parent" lost.raw lost-d.vmdk
done
cp lost-c.vmdk lost-d.vmdk
flip lost-d.vmdk 36 -
refused "a header without the length of its text" \
	'descriptorOffset 1 and descriptorSize 0 miss the descriptor at sector 1 \(see -f\)$' \
	"$vdisk" map lost-d.vmdk
t "-f: as the header says" "$vdisk" map -f vmdk lost-d.vmdk
refused "-f: nothing is written" 'miss the descriptor at sector 1 \(see --read-only\)$' \
	"$vdisk" table -f vmdk lost-d.vmdk
refused "check sees it" 'miss the descriptor at sector 1' "$vdisk" check lost-d.vmdk
cp lost-c.vmdk lost-d.vmdk
flip lost-d.vmdk 28 40
t "a header that leads out of the file is mended" "$vdisk" check --repair lost-d.vmdk
reads "and reads as before" lost.raw lost-d.vmdk

ktap_end
