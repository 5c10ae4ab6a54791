# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Completion of vdisk(8) for bash. Verbs, options, their values and formats are
# asked of the tool itself, so there is no second list of them.

_vdisk_verbs()
{
	"$1" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'
}

_vdisk_options()
{
	"$1" "$2" --help 2>/dev/null | cut -c 1-30 |
		grep -E -- '^  -' | grep -oE -- '--[a-z]+(-[a-z]+)*' | sort -u
}

# What option $3 takes, in the words of --help: FORMAT, SIZE, json|human, ...; of a
# letter that may stand alone, too.
_vdisk_value()
{
	"$1" "$2" --help 2>/dev/null | cut -c 3-29 | sed -n 's/^-/&/p' |
		sed -E 's/\[=(.*)\]/ \1/; s/^(-.), /\1 /' |
		awk -v want="$3" '{
			for (k = 1; k < NF; k++)
				if ($k == want && $NF !~ /^--/) {
					print $NF
					exit
				}
		}'
}

_vdisk_formats()
{
	"$1" info --help 2>/dev/null | sed -n 's/^Formats: //p' | tr -d '()'
}

_vdisk_devices()
{
	"$1" list --noheadings 2>/dev/null | cut -d ' ' -f 1
}

# What the verb's argument number $3 is called: IMAGE, NAME, ...
_vdisk_argument()
{
	local words

	read -ra words < <("$1" "$2" --help 2>/dev/null | sed -n '1s/.*\[OPTION\]\.\.\. *//p')
	printf '%s\n' "${words[$3]-}"
}

# The keys of -o, one a line, each with its values: KEY=A|B. $3 is the format of the
# image that is made, or empty.
_vdisk_keys()
{
	local help

	help=$("$1" "$2" --help 2>/dev/null)
	if grep -qE -- '-o, .* options of the new image' <<<"$help" && [ -n "$3" ]; then
		"$1" create -f "$3" -o help 2>/dev/null | sed -nE '
			s/^  ([a-z_0-9]+)=on\|off .*/\1=on|off/p
			s/^  ([a-z_0-9]+)=NAME .*: (.*, [A-Za-z0-9, ]*).*/\1=\2/p
			s/^  ([a-z_0-9]+)=(TEXT|SIZE|NUMBER) .*/\1=/p' | sed 's/, /|/g; s/ (.*//; s/ *$//'
	fi
	sed -n '/-o, /,/^  -[^o]/p' <<<"$help" | grep -oE '[a-z_]+=[a-zA-Z|]+|buffered' |
		sed 's/=[A-Z]*$/=/' | sort -u
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

# KEY=VALUE,...: $3 is what was typed of it.
_vdisk_pair()
{
	local part=${3##*,} before key line words=()

	before=${_vdisk_word%"${_vdisk_word##*,}"}
	while read -r line; do
		key=${line%%=*}
		if [[ $part != *=* ]]; then
			[ "$key" = "$line" ] || key+='='
			words+=("$before$key")
		elif [ "$key" = "${part%%=*}" ] && [[ $line = *=* ]]; then
			mapfile -t -O "${#words[@]}" words < <(tr '|' '\n' <<<"${line#*=}")
		fi
	done < <(_vdisk_keys "$1" "$2" "$4")
	_vdisk_reply -W "${words[*]-}"
	type -t compopt >/dev/null && compopt -o nospace 2>/dev/null
}

# Of the words before, the value of the last option $2 or $3.
_vdisk_given()
{
	local k

	for ((k = COMP_CWORD - 1; k > 2; k--)); do
		case ${COMP_WORDS[k - 1]} in
		"$1" | "$2")
			printf '%s\n' "${COMP_WORDS[k]}"
			return
			;;
		esac
	done
}

# Completes the value if the words end in an option that has one; else fails.
_vdisk_in_value()
{
	local tool=$1 verb=$2 k end text='' value made

	for ((k = COMP_CWORD - 1; k > 1; k--)); do
		[[ ${COMP_WORDS[k]} = -* ]] && break
	done
	[ "$k" -gt 1 ] || return 1
	value=$(_vdisk_value "$tool" "$verb" "${COMP_WORDS[k]}")
	[ -n "$value" ] || return 1
	# Bash cuts words at '=': to which word does the value go?
	end=$((k + 1))
	[ "${COMP_WORDS[end]-}" != = ] || end=$((end + 1))
	while [ "${COMP_WORDS[end + 1]-}" = = ]; do
		end=$((end + 2))
	done
	[ "$COMP_CWORD" -le "$end" ] || return 1
	text=$(printf '%s' "${COMP_WORDS[@]:k + 1:COMP_CWORD - k}")
	[[ ${COMP_WORDS[k]} != --* ]] || text=${text#=}
	case $value in
	KEY=VALUE,...)
		[ "${COMP_WORDS[COMP_CWORD]}" != = ] || _vdisk_word=
		made=$(_vdisk_given -O --output-format)
		[ "$verb" != create ] || made=$(_vdisk_given -f --format)
		_vdisk_pair "$tool" "$verb" "$text" "$made"
		return 0
		;;
	esac
	# Of --repair the value is behind '=' only.
	if [ "${COMP_WORDS[k]}" = --repair ] && [ "${COMP_WORDS[k + 1]}" != = ]; then
		return 1
	fi
	_vdisk_word=${text#=}
	case $value in
	FORMAT) _vdisk_reply -W "$(_vdisk_formats "$tool")" ;;
	FILE | PATH) _vdisk_files ;;
	*'|'*) _vdisk_reply -W "${value//|/ }" ;;
	esac
	return 0
}

_vdisk()
{
	local tool=${COMP_WORDS[0]} verb=${COMP_WORDS[1]-} k number=0
	local _vdisk_word=${COMP_WORDS[COMP_CWORD]}

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		_vdisk_reply -W "$(_vdisk_verbs "$tool")"
		return
	fi
	_vdisk_in_value "$tool" "$verb" && return
	if [[ $_vdisk_word = -* ]]; then
		_vdisk_reply -W "$(_vdisk_options "$tool" "$verb")"
		return
	fi
	for ((k = 2; k < COMP_CWORD; k++)); do
		case ${COMP_WORDS[k]} in
		--repair) ;;
		-*)
			[ -z "$(_vdisk_value "$tool" "$verb" "${COMP_WORDS[k]}")" ] || k=$((k + 1))
			[ "${COMP_WORDS[k]-}" != = ] || k=$((k + 1))
			while [ "${COMP_WORDS[k + 1]-}" = = ]; do
				k=$((k + 2))
			done
			;;
		*) number=$((number + 1)) ;;
		esac
	done
	case $verb:$(_vdisk_argument "$tool" "$verb" "$number") in
	*:NAME) _vdisk_reply -W "$(_vdisk_devices "$tool")" ;;
	attach:*NAME*) _vdisk_files ;;
	*:*NAME*)
		_vdisk_files
		mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY \
			< <(compgen -W "$(_vdisk_devices "$tool")" -- "$_vdisk_word")
		;;
	*:*IMAGE* | *:OUTPUT | *:PARENT | *:CHILD | *:*FILE*) _vdisk_files ;;
	esac
} &&
	complete -F _vdisk vdisk
