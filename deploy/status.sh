#!/usr/bin/env bash
# Which servers run, where, and whether they are healthy: bash deploy/status.sh
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/deploy_config.sh
source deploy/lib.sh

row() { # NAME HOST PORT
  local state="not running" pid="-"
  if running "$1"; then pid=$SERVER_PID; state="started here"; fi
  if http_ok "$2" "$3" /health; then state+=", healthy"
  elif port_open "$2" "$3"; then state+=", port open but not healthy"; fi
  printf '%-12s %-24s %-8s %s\n' "$1" "http://$2:$3" "$pid" "$state"
}
printf '%-12s %-24s %-8s %s\n' server address PID state
row rearag "$REARAG_HOST" "$REARAG_PORT"
row retriever "$RETRIEVER_HOST" "$RETRIEVER_PORT"
row answer_llm "$ANSWER_LLM_HOST" "$ANSWER_LLM_PORT"
row teacher "$TEACHER_HOST" "$TEACHER_PORT"
