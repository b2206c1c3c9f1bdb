#!/usr/bin/env bash
# The ReaRAG model on port 9891: bash deploy/deploy.sh; with a LoRA adapter: REARAG_ADAPTER=runs/x/adapter bash …
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/llm.sh
case ${1:-} in -h | --help) help_of deploy/deploy.sh; exit ;; esac
check_knobs deploy/deploy.sh
no_options deploy/deploy.sh "$@"
different_ports REARAG ANSWER_LLM RETRIEVER
start_llm rearag "$REARAG_HOST" "$REARAG_PORT" "$REARAG_MODEL_DIR" "$GPU_FOR_REARAG" "$MEMORY_FOR_REARAG" \
  "$REARAG_ADAPTER"
