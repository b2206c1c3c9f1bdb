# shellcheck shell=bash
# Ports of servers that run together. Sourced, never run.

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
