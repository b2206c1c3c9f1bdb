# shellcheck shell=bash disable=SC2016
# Knobs that are nearly spelt right. Sourced by deploy/local.sh, never run.

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

# note_near_knobs SCRIPT: names a variable of the environment that is no knob of the script but nearly one of them.
note_near_knobs() {
  local name knob
  local -A known=()
  while IFS= read -r knob; do known[$knob]=1; done < <(
    grep -ohE '\$\{[A-Z_]+:-' "$1" deploy/*.sh scripts/setup.sh | tr -d '${:-' | sort -u)
  while IFS= read -r name; do
    [[ $name == [A-Z]* && ${#name} -ge 5 && -z ${known[$name]:-} ]] || continue
    for knob in "${!known[@]}"; do
      if [[ ${knob:0:1} == "${name:0:1}" && $(( ${#knob} - ${#name} )) =~ ^(-1|0|1)$ ]] && near "$name" "$knob"; then
        say "note: $name is set, but no knob has this name; is it $knob?" >&2
      fi
    done
  done < <(compgen -e)
}
