# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Completion of vdisk(8) for bash. Verbs, options and formats are asked of the
# tool itself, so there is no second list of them.

_vdisk_verbs()
{
	"$1" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'
}

_vdisk_options()
{
	"$1" "$2" --help 2>/dev/null | cut -c 1-30 |
		grep -E -- '^  -' | grep -oE -- '--[a-z]+(-[a-z]+)*' | sort -u
}

_vdisk_formats()
{
	"$1" info --help 2>/dev/null | sed -n 's/^Formats: //p' | tr -d '()'
}

_vdisk_devices()
{
	"$1" list 2>/dev/null | cut -d ' ' -f 1
}

# What the verb's argument number $3 is called: IMAGE, NAME, ...
_vdisk_argument()
{
	local words

	read -ra words < <("$1" "$2" --help 2>/dev/null | sed -n '1s/.*\[OPTION\]\.\.\. *//p')
	printf '%s\n' "${words[$3]-}"
}

_vdisk_reply()
{
	mapfile -t COMPREPLY < <(compgen "$@" -- "$_vdisk_word")
}

_vdisk_files()
{
	_vdisk_reply -f
	type -t compopt >/dev/null && compopt -o filenames 2>/dev/null
}

_vdisk()
{
	local tool=${COMP_WORDS[0]} verb=${COMP_WORDS[1]-} k number=0
	local _vdisk_word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]}

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		_vdisk_reply -W "$(_vdisk_verbs "$tool")"
		return
	fi
	case $last in
	-f | --format | -F | -O | --output-format)
		_vdisk_reply -W "$(_vdisk_formats "$tool")"
		return
		;;
	-b | --allow-path)
		_vdisk_files
		return
		;;
	-o | --options)
		return
		;;
	esac
	if [[ $_vdisk_word = -* ]]; then
		_vdisk_reply -W "$(_vdisk_options "$tool" "$verb")"
		return
	fi
	for ((k = 2; k < COMP_CWORD; k++)); do
		case ${COMP_WORDS[k]} in
		-[fFOob] | --format | --output-format | --options | --allow-path) k=$((k + 1)) ;;
		-*) ;;
		*) number=$((number + 1)) ;;
		esac
	done
	case $verb:$(_vdisk_argument "$tool" "$verb" "$number") in
	attach:NAME) ;;
	*:NAME) _vdisk_reply -W "$(_vdisk_devices "$tool")" ;;
	*:*NAME*)
		_vdisk_files
		mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY \
			< <(compgen -W "$(_vdisk_devices "$tool")" -- "$_vdisk_word")
		;;
	*:IMAGE | *:OUTPUT | *:PARENT | *:CHILD) _vdisk_files ;;
	esac
} &&
	complete -F _vdisk vdisk
