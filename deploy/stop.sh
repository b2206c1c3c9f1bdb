#!/usr/bin/env bash
# Stop the servers that these scripts started, by recorded PID: bash deploy/stop.sh [NAME …] (default: all)
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/lib.sh
names=("$@")
(( ${#names[@]} )) || names=(rearag answer_llm teacher retriever)
for name in "${names[@]}"; do
  if running "$name"; then stop_server "$name"; else say "$name was not running"; forget "$name"; fi
done
