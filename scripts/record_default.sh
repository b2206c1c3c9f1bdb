#!/usr/bin/env bash
# What the default model really answers to the sample world, with rearag and with naive_rag: bash scripts/record_default.sh
# Both methods answer all 84 questions (about 15 minutes on two cores; the same command resumes). Then the answers are
# written to data/sample_world/recorded.json, and README.md and docs/results.md quote them. Knobs: VENV.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/record_default.sh; exit ;; esac
check_knobs scripts/record_default.sh
no_options scripts/record_default.sh "$@"

runs=()
for method in rearag naive_rag; do
  PROFILE=small MODEL='' ADAPTER='' CORPUS='' METHOD=$method N_QUESTIONS=-1 RUN_NAME=recorded-$method bash infer.sh
  runs+=("runs/recorded-$method")
done
"${VENV:-.venv}/bin/python" -m src_eval.record_default "${runs[@]}"
