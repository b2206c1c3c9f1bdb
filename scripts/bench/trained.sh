#!/usr/bin/env bash
# A small model that was trained here and its base model in one table: the lines of PROFILE=cpu, then those of small.
#   bash scripts/bench/trained.sh learning       the effect of training: naive RAG, prompted, with grammar, trained
#   bash scripts/bench/trained.sh real           all methods, and the trained model
#   MODEL=smollm2-135m bash scripts/bench/trained.sh real      the other model that was trained here, or any with ADAPTER=…
#   bash scripts/bench/trained.sh real key=value …             any setting of configs/eval/real.yaml
# A finished run is not repeated. The table at the end is also in runs/eval-NAME-MODEL/.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/say.sh
case ${1:---help} in -h | --help) help_of scripts/bench/trained.sh; exit ;; esac
check_knobs scripts/bench/trained.sh
no_options scripts/bench/trained.sh "$1"
MODEL=${MODEL:-qwen2.5-coder-0.5b}
export MODEL
config=("configs/eval/$1.yaml" name="$1-$MODEL" "${@:2}")
PROFILE=cpu ADAPTER='' bash scripts/evaluate.sh "${config[@]}"
PROFILE=small ADAPTER=${ADAPTER:-adapters/$MODEL} bash scripts/evaluate.sh "${config[@]}"
