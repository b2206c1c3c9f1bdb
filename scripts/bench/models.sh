#!/usr/bin/env bash
# Every embedded model, with and without constrained decoding, on the sample world: bash scripts/bench/models.sh
# MODELS, CONSTRAINTS and N_QUESTIONS choose what is run; a finished run is not repeated.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/bench/models.sh; exit ;; esac
check_knobs scripts/bench/models.sh
no_options scripts/bench/models.sh "$@"
MODELS=${MODELS:-smollm2-135m qwen2.5-coder-0.5b qwen2.5-coder-1.5b}
CONSTRAINTS=${CONSTRAINTS:-off json_schema grammar}
export N_QUESTIONS=${N_QUESTIONS:-24}
runs=()
for model in $MODELS; do
  for constraint in $CONSTRAINTS; do
    name=bench-$model-$constraint
    [[ -f runs/$name/manifest.json ]] || MODEL=$model RUN_NAME=$name bash infer.sh constrain="$constraint" || true
    runs+=("runs/$name")
  done
done
"${VENV:-.venv}/bin/python" -m src_eval.score "${runs[@]}"
