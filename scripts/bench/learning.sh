#!/usr/bin/env bash
# What training brought: one base model in naive RAG, prompted, with grammar, and trained, on the same questions:
#   bash scripts/bench/learning.sh
#   MODEL=smollm2-135m bash scripts/bench/learning.sh      the other model that was trained here, or any with ADAPTER=…
#   bash scripts/bench/learning.sh key=value …             any setting of configs/eval/learning.yaml
# A finished run is not repeated. The table at the end is also in runs/eval-learning-MODEL/.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' scripts/bench/learning.sh; exit ;; esac
MODEL=${MODEL:-qwen2.5-coder-0.5b}
export MODEL
config=(configs/eval/learning.yaml name="learning-$MODEL" "$@")
PROFILE=cpu ADAPTER='' bash scripts/evaluate.sh "${config[@]}"
PROFILE=small ADAPTER=${ADAPTER:-adapters/$MODEL} bash scripts/evaluate.sh "${config[@]}"
