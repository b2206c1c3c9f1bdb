#!/usr/bin/env bash
# Stop the servers that these scripts started, by recorded PID: bash deploy/stop.sh [NAME …] (default: all)
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/users.sh
case ${1:-} in -h | --help) help_of deploy/stop.sh; exit ;; esac
check_knobs deploy/stop.sh
(( $# )) || set -- "${SERVER_NAMES[@]}"
for name in "$@"; do
  [[ " ${SERVER_NAMES[*]} " == *" $name "* ]] || die "no server is called '$name'; there are: ${SERVER_NAMES[*]}"
  if running "$name"; then
    locked "$name" stop_server "$name"
    say "$name stopped (PID $SERVER_PID)"
  else
    locked "$name" forget "$name"
    say "$name was not running"
  fi
done
