#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A name that is written into an image is meant from where the image is, links
# followed: whoever writes it finds the file that whoever reads it will find, or writes
# nothing. And how files are found where the system offers less.
. "$(dirname "$0")/lib.sh"

need_cmd "${CC:-cc}"
cd "$tmp" || exit
trip=$tmp/trip.so
"${CC:-cc}" -shared -fPIC -O1 -o "$trip" "$here/../lib/trip.c" -ldl

# disk FILE FORMAT BYTE: a disk of this byte
disk()
{
	tr '\0' "\\$(printf %o "$3")" </dev/zero | head -c 1M >.raw
	"$vdisk" convert --force -f raw -O "$2" .raw "$1"
}

# In link/ lies what is called so, too, and is something else.
for f in qed vhd vmdk; do
	rm -rf real link dir
	mkdir real link real/sub
	disk real/base $f 17
	disk real/new $f 34
	disk link/new $f 51
	disk link/base $f 51
	ln -s real dir
	"$vdisk" create -f $f -b base real/child
	ln -s ../real/child link/child
	"$vdisk" convert link/child before
	t "$f: rebase by a link" "$vdisk" rebase -b new link/child
	reads "$f: what is read stays" before real/child
	t "$f: rebase in a linked directory" "$vdisk" rebase -b base dir/child
	reads "$f: what is read stays, there" before dir/child
	"$vdisk" convert real/new new.raw
	t "$f: create --force by a link" "$vdisk" create --force -f $f -b new link/child
	reads "$f: it stands on its neighbour" new.raw link/child
	t "$f: the link is one still" [ -L link/child ]
	t "$f: snapshot --force by a link" "$vdisk" snapshot --force real/new link/child
	reads "$f: it stands on the image" new.raw real/child
	t "$f: create in a linked directory" "$vdisk" create -f $f -b new dir/sub.$f
	reads "$f: and reads" new.raw real/sub.$f
	t "$f: rebase -u by a link" "$vdisk" rebase -u -b base link/child
	"$vdisk" convert real/base base.raw
	reads "$f: takes the neighbour" base.raw real/child
	# By the letters, whatever sub may lead to.
	rmdir real/sub && mkdir -p far/away && ln -s ../far/away real/sub
	disk far/new $f 51
	t "$f: .. by its letters" "$vdisk" create -f $f -b sub/../new real/up
	reads "$f: as it is read" new.raw real/up --allow-path real
	refused "$f: no such neighbour" '^vdisk: (link/child|[^ ]*real/gone): No such file or directory$' \
		"$vdisk" rebase -b gone link/child

	# Names that look like something else, and have to be found all the same.
	rm -rf odd && mkdir odd && cd odd || exit
	for name in a:b.img disk-10:30 C:x 'back\slash' 'nbd:x' 'json:{}' ./-x 'a b' $'tab\t' 'ü'; do
		rm -f c && cp ../real/new "$name"
		if "$vdisk" snapshot "$name" c >.said 2>&1; then
			reads "$f: a child of '$name'" ../new.raw c
		else
			eq "$f: no child of '$name'" \
				"$(wc -l <.said) $(grep -c '^vdisk: ' .said) $([ ! -e c ] && echo none)" "1 1 none"
		fi
	done
	"$vdisk" create -f $f mine 1M
	for name in nbd:x disk-10:30 'json:{}'; do
		rm -f c
		[ $f != qed ] || refused "$f: create -b $name" 'is not the name of a file$' \
			"$vdisk" create -f $f -b "$name" c
		[ $f != qed ] || refused "$f: rebase -b $name" 'is not the name of a file$' \
			"$vdisk" rebase -u -b "$name" mine
	done
	# One letter, or what is no word, is a protocol for others.
	for name in a:b.img 'c:\x' 'a b:c' é:x; do
		rm -f c && cp ../real/new "$name"
		if [ $f = vhd ] || { [ $f = vmdk ] && [ "$name" = 'c:\x' ]; }; then
			continue
		fi
		refused "$f: create -b '$name'" 'Name would be taken for a protocol, write \./' \
			"$vdisk" create -f $f -b "$name" c
		refused "$f: rebase -u -b '$name'" 'Name would be taken for a protocol, write \./' \
			"$vdisk" rebase -u -b "$name" mine
		[ "$name" != 'c:\x' ] || continue
		t "$f: create -b './$name'" "$vdisk" create -f $f -b "./$name" c
		reads "$f: a child of './$name'" ../new.raw c
		rm -f c
		"$vdisk" snapshot "$name" c
		eq "$f: snapshot '$name': its name" \
			"$("$vdisk" info c | sed -n 's/^backing file: //p')" "./$name"
	done
	# A neighbour that would be taken for it.
	mkdir back && cp ../link/new back/slash && cp ../real/new 'back\slash'
	rm -f c
	if [ $f = qed ]; then
		t "$f: create -b back\\slash" "$vdisk" create -f $f -b 'back\slash' c
		reads "$f: reads that" ../new.raw c
	else
		refused "$f: create -b back\\slash" ': (Parent: .*another file|.*[Nn]ame.*)' \
			"$vdisk" create -f $f -b 'back\slash' c
	fi
	cd ..
done
# Nobody is below himself, by whichever name.
"$vdisk" create -f qed p.qed 1M
"$vdisk" create -f qed c.qed 1M
ln c.qed l.qed
"$vdisk" rebase -u -b l.qed p.qed
for flag in -u '-u -U' '-U'; do
	# shellcheck disable=SC2086
	refused "rebase $flag: a circle by a hard link" 'Image would be its own parent$' \
		"$vdisk" rebase $flag -b p.qed c.qed
done
t "the image is as it was" "$vdisk" map c.qed
mkdir x y
for f in qed vmdk vhd; do
	"$vdisk" create -f $f x/a.$f 1M
	"$vdisk" snapshot x/a.$f x/b.$f
	ln x/b.$f y/hb.$f
	refused "$f: a circle by a hard link that does not find its parent" \
		'Image would be its own parent$' \
		"$vdisk" rebase -u -b ../y/hb.$f --allow-path "$PWD" x/a.$f
	ln x/a.$f y/a.$f
	t "$f: both can be read from there, too" "$vdisk" map y/hb.$f
done
rm -r x y

# One more would be too many to be opened.
"$vdisk" create -f qed q0 1M
for ((k = 1; k < 64; k++)); do
	"$vdisk" create -f qed -b q$((k - 1)) q$k || break
done
t "64 layers" "$vdisk" map q63
refused "create: no 65th" 'more than 64 layers$' "$vdisk" create -f qed -b q63 q64
refused "snapshot: no 65th" 'more than 64 layers$' "$vdisk" snapshot q63 q64
t "nothing is left of it" [ ! -e q64 ]

# What an image refers to elsewhere can be allowed to each verb that opens it.
mkdir far-off near-by
"$vdisk" create -f vmdk -o subformat=twoGbMaxExtentSparse far-off/x.vmdk 8M
sed "s#\"x-s#\"$tmp/far-off/x-s#" far-off/x.vmdk >near-by/y.vmdk
for args in info map check 'check --repair' table 'convert --force' 'resize 9M' 'why 0'; do
	read -r verb more <<<"$args"
	case $verb in
	convert) more+=' near-by/y.vmdk .copy' ;;
	resize | why) more="near-by/y.vmdk $more" ;;
	*) more+=' near-by/y.vmdk' ;;
	esac
	# shellcheck disable=SC2086
	[ $verb = info ] || refused "$args: a piece elsewhere" 'allow-path' "$vdisk" $verb $more
	# shellcheck disable=SC2086
	t "$args: allowed" "$vdisk" $verb --allow-path far-off $more
done

# Without openat2() and without /proc it is the same; what leads out stays out.
mkdir in out
disk in/base qed 17
disk out/base qed 51
"$vdisk" convert in/base base.raw
ln -s base in/link
ln -s sub/./../link in/links
mkdir in/sub
ln -s ../out/base in/leads-out
ln -s "$tmp/out/base" in/far
ln -s loop in/loop
for name in base link links sub/links; do
	"$vdisk" create --force -f qed in/c 1M
	[ $name != sub/links ] || ln -s ../link in/sub/links
	"$vdisk" rebase -u -b $name in/c
	for no in proc openat2 proc,openat2; do
		LD_PRELOAD=$trip TRIP_NO=$no reads "no $no: a parent called $name" base.raw in/c
	done
done
for name in leads-out far loop; do
	"$vdisk" create --force -f qed in/c 1M
	printf %s "$name" >.name
	python3 - in/c "$name" <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    head = bytearray(f.read(64))
    struct.pack_into("<Q", head, 16, 1)
    struct.pack_into("<II", head, 56, 64, len(sys.argv[2]))
    f.seek(0)
    f.write(head + sys.argv[2].encode())
END
	want=$("$vdisk" map in/c 2>&1)
	for no in proc openat2 proc,openat2; do
		eq "no $no: $name, as with it" \
			"$(LD_PRELOAD=$trip TRIP_NO=$no "$vdisk" map in/c 2>&1)" "$want"
	done
	eq "$name is refused" "$(grep -Ec 'leads out|Too many levels' <<<"$want")" 1
done
for args in 'check in/base' 'create -f vhd new.vhd 1M' 'create --force -f vhd new.vhd 2M' \
	'convert -O vmdk in/base new.vmdk' 'snapshot in/base in/d' 'resize in/base 2M' \
	'rebase -b in/base new.qed' 'commit in/d' 'create -f parallels -o bundle=on new.hdd 4M'; do
	rm -f new.qed && "$vdisk" create -f qed new.qed 1M
	no='proc,openat2'
	# shellcheck disable=SC2086
	t "no $no: $args" env LD_PRELOAD="$trip" TRIP_NO=$no "$vdisk" $args
done
# Deeper than a path can tell.
deep=$(python3 - "$vdisk" "$tmp/in/base" <<'END'
import os, subprocess, sys
os.mkdir("deep")
os.chdir("deep")
for k in range(45):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
os.system("cp '%s' ." % sys.argv[2])
p = subprocess.run([os.path.realpath(sys.argv[1]), "map", "base"], capture_output=True, text=True)
print(p.returncode, p.stderr.strip())
END
)
eq "deeper than a path may be" "$deep" "1 vdisk: base: Path is longer than 4095 bytes"

ktap_end
