#!/usr/bin/env bash
# Which servers run, where, and whether they are healthy: bash deploy/status.sh
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/users.sh
case ${1:-} in -h | --help) help_of deploy/status.sh; exit ;; esac
check_knobs deploy/status.sh
no_options deploy/status.sh "$@"

row() { # NAME HOST PORT
  local name=$1 host=$2 port=$3 state pid=- users SERVER_HOST="" SERVER_PORT=""
  if running "$name"; then
    host=$SERVER_HOST port=$SERVER_PORT pid=$SERVER_PID
    if http_ok "$host" "$port" /health; then state=healthy; else state="not ready, see $LOG_DIR/$name.log"; fi
    users=$(find "$STATE_DIR/$name.users" -type f -exec basename {} \; 2> /dev/null | sort | paste -sd ' ' -)
    [[ $users != keep ]] || users="nobody; it stays until deploy/stop.sh"
    state+=" (used by: ${users:-nobody})"
  else
    host=${SERVER_HOST:-$host} port=${SERVER_PORT:-$port} # of one that died, by its record
    state=$(state_without "$name" "$host" "$port")
  fi
  say "$(printf '%-12s %-24s %-8s %s' "$name" "http://$host:$port" "$pid" "$state")"
}

# state_without NAME HOST PORT: what is there where no process of NAME runs.
state_without() {
  local name=$1 host=$2 port=$3 state
  if http_ok "$host" "$port" /health; then state="healthy, but not started by these scripts"
  elif port_open "$host" "$port"; then state="not running, and the port is taken by something else"
  elif [[ -f $STATE_DIR/$name.pid ]]; then state="died, see $LOG_DIR/$name.log"
  else state="not running"; fi
  printf '%s' "$state"
}
say "$(printf '%-12s %-24s %-8s %s' server address PID state)"
row rearag "$REARAG_HOST" "$REARAG_PORT"
row retriever "$RETRIEVER_HOST" "$RETRIEVER_PORT"
row answer_llm "$ANSWER_LLM_HOST" "$ANSWER_LLM_PORT"
row teacher "$TEACHER_HOST" "$TEACHER_PORT"
row demo "$DEMO_HOST" "$DEMO_PORT"
