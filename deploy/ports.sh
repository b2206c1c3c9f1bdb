# shellcheck shell=bash
# Ports that people name. Sourced by deploy/say.sh, never run.

# check_ports: refuses a knob NAME_PORT that is no port, before any work.
check_ports() {
  local knob value
  for knob in "${ALL_KNOBS[@]}"; do
    value=${!knob:-}
    [[ $knob == *_PORT && -n $value ]] || continue
    [[ $value =~ ^[1-9][0-9]{0,4}$ && $value -le 65535 ]] \
      || die "$knob is '$value'; a port is a whole number from 1 to 65535"
  done
}

# different_ports NAME...: refuses one address for two of these servers, which run together. An answer LLM on the address
# of the reasoning model is that server in both roles.
different_ports() {
  local first second host other port
  while (( $# > 1 )); do
    first=$1; shift
    for second in "$@"; do
      [[ $first/$second != REARAG/ANSWER_LLM ]] || continue
      port=${first}_PORT other=${second}_PORT
      [[ ${!port} == "${!other}" ]] || continue
      host=${first}_HOST other=${second}_HOST
      [[ ${!host} != "${!other}" ]] || die "$port and ${second}_PORT are both ${!port}; choose two"
    done
  done
}
