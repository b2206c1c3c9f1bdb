#!/usr/bin/env bash
# The ReaRAG model on port 9891: bash deploy/deploy.sh
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/llm.sh
start_llm rearag "$REARAG_HOST" "$REARAG_PORT" "$REARAG_MODEL_DIR" "$GPU_FOR_REARAG" "$MEMORY_FOR_REARAG"
