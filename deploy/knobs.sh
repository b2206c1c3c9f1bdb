# shellcheck shell=bash disable=SC2016
# Knobs that are nearly spelt right. Sourced by deploy/say.sh, never run.
# Variables that other programs are known to read, and people to set for them.
OF_OTHERS=" HOST_NAME LOGDIR NPROCS PYTHON2 PYTHON3 "
KNOBS_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# near A B: one letter more, less or other, or two neighbours in the other order.
near() {
  local short=$1 long=$2 at other=0 places=()
  (( ${#short} <= ${#long} )) || { short=$2 long=$1; }
  for (( at = 0; at < ${#long}; at++ )); do
    if (( ${#short} < ${#long} )); then
      [[ ${long:0:at}${long:at+1} != "$short" ]] || return 0
    elif [[ ${short:at:1} != "${long:at:1}" ]]; then
      other=$(( other + 1 )) places+=("$at")
    fi
  done
  (( ${#short} == ${#long} )) || return 1
  (( other != 1 )) || return 0
  (( other == 2 && places[1] == places[0] + 1 )) || return 1
  at=${places[0]}
  [[ ${short:at:1}${short:at+1:1} == "${long:at+1:1}${long:at:1}" ]]
}

# knobs_in FILE...: the names that these scripts read from the environment.
knobs_in() { grep -ohE '\$\{[A-Z_]+:?[-?]' "$@" | tr -d '${:?-' | sort -u; }

# nearest_knob NAME: sets NEAREST to the knobs of any script that NAME nearly is, with its `or_setting`; "" for none.
nearest_knob() {
  local name=$1 knob
  NEAREST=""
  for knob in "${ALL_KNOBS[@]}"; do # one edit leaves the first or the last letter as it is
    [[ $(( ${#knob} - ${#name} )) =~ ^(-1|0|1)$ && ( ${knob:0:1} == "${name:0:1}" || ${knob: -1} == "${name: -1}" ) ]] || continue
    if near "$name" "$knob"; then NEAREST+="${NEAREST:+ or }$knob"; fi
  done
  [[ -z $NEAREST ]] || NEAREST+=$(or_setting "$name" | sed 's/^/ or /')
}

# inherited NAME: the session had the variable when it began (Linux), so it was set by a container, a scheduler or a login,
# and not for this script. The caller alone says nothing: `N_QUESTION=3 timeout 60 bash infer.sh` gives it to both.
inherited() {
  local line begin
  begin=$(sed 's/^.*) //' "/proc/$$/stat" 2> /dev/null | cut -d ' ' -f 4) # state, parent, group, session
  [[ ${begin:-0} != 0 && $begin != "$$" ]] || begin=$PPID
  while IFS= read -r -d '' line; do
    if [[ $line == "$1=${!1}" ]]; then return 0; fi
  done 2> /dev/null < "/proc/$begin/environ"
  return 1
}

# or_setting NAME: what to write where a knob has this name only in small letters, as a setting of infer.sh.
or_setting() {
  grep -qsE "^${1,,}:" "$KNOBS_HOME"/configs/infer/*.yaml || return 0
  printf '%s' "the setting ${1,,}=… in small letters, after the name of the script"
}

# knobs_of SCRIPT: the knobs of a script and of what it sources or calls.
knobs_of() { knobs_in "$1" "$KNOBS_HOME"/deploy/*.sh "$KNOBS_HOME/scripts/setup.sh"; }

# check_knobs SCRIPT: refuses a variable of the environment that is no knob but nearly one, and no port, before any work.
# What others set, and a knob of another script, is a note. Scripts that this one calls do not check again.
check_knobs() {
  local name script=$KNOBS_HOME/${1#"$KNOBS_HOME/"}; local -A here=()
  [[ -z ${REARAG_KNOBS_CHECKED:-} ]] || return 0
  export REARAG_KNOBS_CHECKED=1; check_ports
  while IFS= read -r name; do here[$name]=1; done < <(knobs_of "$script")
  while IFS= read -r name; do
    [[ $name == [A-Z]* && ${#name} -ge 5 && -z ${here[$name]:-} ]] || continue
    nearest_knob "$name"
    [[ -n $NEAREST ]] || continue
    if [[ "$OF_OTHERS ${ALL_KNOBS[*]} " == *" $name "* ]] || inherited "$name"; then
      say "note: $name is set, but no knob of this script has this name; did you mean $NEAREST?" >&2
    else
      die "$name is set, but no knob has this name; did you mean $NEAREST? (if not: unset $name)"
    fi
  done < <(compgen -e)
}

mapfile -t ALL_KNOBS < <(knobs_in "$KNOBS_HOME"/*.sh "$KNOBS_HOME"/{scripts,deploy}/*.sh)
