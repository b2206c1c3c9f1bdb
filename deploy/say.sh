# shellcheck shell=bash
# What a script says to the terminal. Sourced, never run.

# plain TEXT...: knobs, paths and log lines are written by others. Control characters, C1 controls and bidirectional
# overrides in them become a question mark; line ends and tabs stay. In bytes, so that no locale is needed.
plain() {
  local LC_ALL=C text=$*
  text=${text//[$'\x01'-$'\x08'$'\x0b'-$'\x1f'$'\x7f']/?}
  text=${text//$'\xc2'[$'\x80'-$'\x9f']/?}
  text=${text//$'\xe2\x80'[$'\xaa'-$'\xae']/?}
  text=${text//$'\xe2\x81'[$'\xa6'-$'\xa9']/?}
  printf '%s\n' "$text"
}

say() { plain "$@"; }
# die TEXT...: what is wrong and what to do, as the Python programs end on it (src_core/errors.py).
die() { plain "error: $(commands_seen "$*")" >&2; exit 2; }

# as_caller_sees PATH: a path relative to the working directory, as the caller writes it: the shorter of the relative and
# the whole one (src_core/caller.py: seen).
as_caller_sees() {
  local near whole=$PWD/$1
  if [[ $1 == /* || ${REARAG_CALLER:-$PWD} == "$PWD" ]]; then printf '%s' "$1"; return; fi
  near=$(realpath -m --relative-to="$REARAG_CALLER" "$1" 2> /dev/null) || near=$whole
  if (( ${#near} <= ${#whole} )); then printf '%s' "$near"; else printf '%s' "$whole"; fi
}

# commands_seen TEXT: the commands in it work in the caller's folder too (src_core/caller.py).
commands_seen() {
  local text=$1 name end
  for name in scripts/ deploy/ infer.sh data_construct.sh; do
    end=${name: -1}; [[ $end == / ]] || end=
    text=${text//bash $name/bash "$(printf %q "$(as_caller_sees "${name%/}")")$end"}
  done
  printf '%s' "$text"
}

# help_of FILE: the comment at the head of a script, without the directives of other programs in it.
help_of() { sed -n '2,/^\([^#].*\)\{0,1\}$/{/^#SBATCH/d;/^# shellcheck/d;/^#/s/^# \{0,1\}//p;}' "$1"; }

# A file of functions that somebody runs says what it is, and does nothing.
if [[ -f $0 ]] && IFS= read -r first_line < "$0" && [[ $first_line == '# shellcheck shell=bash'* ]]; then help_of "$0"; exit; fi

# no_options SCRIPT ARGUMENT...: a script without options refuses what looks like one, before any work.
no_options() {
  local script=$1 argument; shift
  for argument in "$@"; do
    [[ $argument != -* ]] || die "bash $script has no option $argument; bash $script --help says how it is called"
  done
}

# check_ports: refuses a knob NAME_PORT that is no port, before any work.
check_ports() {
  local knob value
  for knob in "${ALL_KNOBS[@]}"; do
    value=${!knob:-}
    [[ $knob == *_PORT && -n $value ]] || continue
    [[ $value =~ ^[1-9][0-9]{0,4}$ && $value -le 65535 ]] \
      || die "$knob is '$value'; choose a whole number from 1 to 65535"
  done
}

# check_name: refuses a NAME that leads out of the folder of the runs, or that a list of settings would not hold.
check_name() {
  local unsafe=$'*[][/\\\\{},:#\'"[:space:]]*' # a variable: shellcheck cannot read the quotes within the brackets
  # shellcheck disable=SC2053 # the pattern is meant as one
  [[ -n $NAME && $NAME != -* && $NAME != $unsafe ]] \
    || die "NAME is '$NAME', which cannot begin the names of the runs' folders; choose one of letters, digits, '-', '_' and '.'"
}

# last_lines FILE: the end of a log, for a person.
last_lines() { plain "$(tail -n 20 "$1" | tr -d '\000')"; }

# shellcheck source=deploy/knobs.sh
source "$(dirname "${BASH_SOURCE[0]}")/knobs.sh"
