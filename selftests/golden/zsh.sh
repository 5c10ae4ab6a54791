#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What zsh offers: verbs, options and their values, as the tool tells them.
. "$(dirname "$0")/lib.sh"

need_cmd zsh
top=$(cd "$here/../.." && pwd)
cd "$tmp" || exit
mkdir bin files
ln -s "$(realpath "$vdisk")" bin/tool
cat >bin/vdisk <<'END'
#!/bin/bash
if [ "$1 $2" = "list --noheadings" ]; then
	printf '%-16s vhd        rw     10 MiB  /x y.vhd\n' web db
else
	exec tool "$@"
fi
END
chmod +x bin/vdisk
touch files/one.vhd 'files/t wo.vhd'
PATH=$tmp/bin:$PATH

# A shell with a terminal, asked by keys. What follows a line says when it is done.
cat >asked <<'END'
zmodload zsh/zpty

until_said()
{
	local part

	said=
	while [[ $said != *$1* ]] && zpty -r shell part; do
		said+=$part
	done
}

zpty shell zsh -f -i
zpty -w shell "PS1= RPS1= PROMPT_EOL_MARK=; stty columns 100 -echo; fpath=(${(q)1} \$fpath)
	autoload -Uz compinit; compinit -u -D; LISTMAX=1000; unset zle_bracketed_paste
	bindkey '^I' list-choices; zstyle ':completion:*' list-separator '#'; echo READY-\$((1 + 1))"
until_said READY-2
# Its own line, and the command behind it, are shown as they are typed.
told()
{
	print -r -- "${said//$'\r'/}" | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g; s/.\x08//g' |
		sed 's/ *# .*//; s/vdisk .*//; s/e*echo; .*//; s/DONE-2.*//' | tr ' ' '\n' |
		sed '/^v\{0,1\}$/d'
}

# With more keys waiting zsh shows no list: so they come late, and later.
while IFS= read -r line; do
	for wait in 0.1 0.5 2 5; do
		zpty -n -w shell "$line"$'\t'
		sleep $wait
		zpty -n -w shell $'\x15'"echo; echo DONE-\$((1 + 1))"$'\n'
		until_said DONE-2
		list=$(told)
		[[ -z $list ]] || break
	done
	print -r -- "## $line"
	print -r -- "$list"
done
zpty -d shell
END

lines()
{
	sed '/^$/d' | sort -u | tr '\n' ' '
}

cat >table <<'END'
info -f q|qed
check -r |all leaks
check --repair=|all leaks
info --output |human json
create -f vhd -o |backing_file backing_fmt block_size force_size subformat
create -f vhd -o subformat=|dynamic fixed
create -f vmdk -o compat6=on,subf|subformat
attach -o enospc=|error queue
detach |db web
list fil|files/
attach files/o|one.vhd
END
{
	echo 'vdisk '
	sed 's/|.*//; s/^/vdisk /' table
	vdisk --help | sed -n 's/^  \([a-z]*\) .*/vdisk \1 --/p'
} >typed
timeout 120 zsh -f asked "$top/userspace/completion" <typed >answers 2>&1

answer()
{
	awk -v want="## $1" '/^## / { in_it = $0 == want; next } in_it' answers | lines
}

t "zsh answered" grep -q '^## ' answers
eq "verbs" "$(answer 'vdisk ')" "$(vdisk --help | sed -n 's/^  \([a-z]*\) .*/\1/p' | lines)"
while IFS='|' read -r line want; do
	eq "$line" "$(answer "vdisk $line")" "$(tr ' ' '\n' <<<"$want" | lines)"
done <table
for verb in $(vdisk --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	eq "options of $verb" "$(answer "vdisk $verb --")" \
		"$(vdisk "$verb" --help | cut -c 1-30 | grep '^  -' | grep -oE -- '--[a-z]+(-[a-z]+)*' | lines)"
done

ktap_end
