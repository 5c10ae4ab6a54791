#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The power goes while the tool resizes, rebases, commits: at every point that it
# was tried at, the chain opens and reads what it did, and check finds no damage.
. "$(dirname "$0")/lib.sh"

need_cmd gcc
cd "$tmp" || exit
gcc -O2 -D_FILE_OFFSET_BITS=64 -shared -fPIC -o cut.so "$here/../lib/cut.c" -ldl ||
	skip_all "cut.c does not build"
points=6
[ -z "${VDISK_LONG:-}" ] || points=400

python3 - <<'END'
import random
for name in "xz":
    rnd = random.Random(name)
    disk = bytearray(3 << 20)
    for _ in range(4):
        at = rnd.randrange(0, (3 << 20) - 70000) & ~511
        disk[at:at + 70144] = rnd.randbytes(70144)
    open(name + ".raw", "wb").write(disk)
END

# One of the contents that follow, whole.
is_one_of()
{
	local image=$1 raw

	shift
	rm -f copy
	"$vdisk" convert "$image" copy || return 1
	for raw; do
		cmp -s copy "$raw" && return 0
	done
	cmp copy "$1"
	return 1
}

# What a crash may leave is a mark, lost space, a footer that is one of two: all
# of it repair puts right, if only when it is called again.
undamaged()
{
	local code=0

	"$vdisk" check --repair "$1" || "$vdisk" check --repair "$1" || code=$?
	[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || return 1
	"$vdisk" check "$1" || [ $? -eq 3 ]
}

# cut DESCRIPTION "IMAGE..." TOP "RAW..." VERB...: in copies of directory base,
# the power goes at some points of it; TOP then reads one of the contents.
cut()
{
	local description=$1 images=$2 top=$3 raws=$4 n nr at image said wrong="" red=0

	shift 4
	rm -rf run
	cp -r base run
	(cd run && LD_PRELOAD=$tmp/cut.so CUT_COUNT=$tmp/nr "$vdisk" "$@") || {
		fail "$description: without a cut"
		return
	}
	nr=$(cat nr)
	for ((n = 0; n < points && n < nr; n++)); do
		# All of them if there are few, the last ones always.
		at=$((nr - n * nr / points))
		[ "$points" -lt "$nr" ] || at=$((n + 1))
		rm -rf run
		cp -r base run
		(cd run && LD_PRELOAD=$tmp/cut.so CUT_AT=$at CUT_SEED=$n "$vdisk" "$@") >/dev/null 2>&1
		[ $? -eq 77 ] || wrong+="point $at: was not cut"$'\n'
		# shellcheck disable=SC2086
		wrong+=$(is_one_of "run/$top" $raws 2>&1) || red=1
		for image in $images; do
			said=$(undamaged "run/$image" 2>&1) || {
				red=1
				wrong+="$said"$'\n'"point $at of $nr: $image is damaged"$'\n'
			}
		done
		# shellcheck disable=SC2086
		wrong+=$(is_one_of "run/$top" $raws 2>&1) || red=1
		[ $red -eq 0 ] || { wrong+="point $at of $nr, CUT_SEED=$n"; break; }
	done
	[ -z "$wrong" ] && [ $red -eq 0 ] && pass "$description: $n cuts of $nr" ||
		fail "$description" "$wrong"
}

cp z.raw z9.raw
truncate -s 9M z9.raw
cp z.raw z2.raw
truncate -s 2M z2.raw
while read -r format options; do
	rm -rf base
	mkdir base
	"$vdisk" convert -f raw -O "$format" ${options:+-o "$options"} x.raw base/a
	"$vdisk" convert -f raw -O "$format" ${options:+-o "$options"} z.raw base/c
	what="$format${options:+ $options}"
	cut "$what: grow" c c "z.raw z9.raw" resize c 9M
	cut "$what: shrink" c c "z.raw z2.raw" resize --shrink c 2M
	case $what in *Flat* | parallels*) continue ;; esac
	rm base/c*
	"$vdisk" convert -f raw -O "$format" ${options:+-o "$options"} z.raw base/z
	(cd base && "$vdisk" snapshot ${options:+-o "$options"} z c)
	cut "$what: rebase" c c z.raw rebase -b a c
	(cd base && "$vdisk" rebase -b a c)
	cut "$what: commit" "a c" c z.raw commit c
	(cd base && "$vdisk" resize c 9M)
	cut "$what: commit to a shorter parent" "a c" c z9.raw commit c
done <<'END'
qed cluster_size=4k
vhd block_size=4k
vmdk grain_size=4k
vmdk subformat=twoGbMaxExtentSparse
vmdk subformat=monolithicFlat
parallels cluster_size=4k
END

ktap_end
