#!/usr/bin/env bash
# The large model for data construction on port 9894: bash deploy/deploy_async.sh
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/llm.sh
start_llm teacher "$TEACHER_HOST" "$TEACHER_PORT" "$TEACHER_MODEL_DIR" "$GPU_FOR_TEACHER" "$MEMORY_FOR_TEACHER"
