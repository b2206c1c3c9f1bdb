#!/usr/bin/env bash
# The large model for data construction on port 9894: bash deploy/deploy_async.sh
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/llm.sh
case ${1:-} in -h | --help) help_of deploy/deploy_async.sh; exit ;; esac
check_knobs deploy/deploy_async.sh
no_options deploy/deploy_async.sh "$@"
start_llm teacher "$TEACHER_HOST" "$TEACHER_PORT" "$TEACHER_MODEL_DIR" "$GPU_FOR_TEACHER" "$MEMORY_FOR_TEACHER"
