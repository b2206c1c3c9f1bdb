#!/usr/bin/env bash
# Reinforcement learning of any protocol with any reward, from one YAML:
#   bash scripts/rl.sh configs/systems/r3rag/rl-cpu.yaml
#   bash scripts/rl.sh CONFIG.yaml steps=100 learner.learning_rate=1e-5     any setting of src_train/rl/config.py
# Needs a retriever at runtime.retriever (bash deploy/deploy_rag_engine.sh). The embedded model server is started by the
# run itself (serving.kind=embedded); vLLM has to run (serving.kind=vllm, see docs/rl.md). The first run makes .venv-train
# (VENV_TRAIN=… another folder). The same command resumes a run that was stopped, with the same next batch. The result is
# runs/NAME/adapter (or model), and runs/NAME/report.html shows curves and rollouts.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
source deploy/caller.sh
case ${1:---help} in -h | --help) help_of scripts/rl.sh; exit ;; esac
check_knobs scripts/rl.sh
export VENV=${VENV_TRAIN:-.venv-train}
arguments=()
for argument in "$@"; do # a relative path starts in the caller's folder
  case $argument in
    *=*) arguments+=("$(setting_from_caller "$argument")") ;;
    *) arguments+=("$(from_caller "$argument")")
      [[ -f ${arguments[-1]} ]] || die "no such config file: $argument; choose one of those in configs/systems/" ;;
  esac
done
# shellcheck source=deploy/torch_env.sh
source deploy/torch_env.sh
bash scripts/setup.sh requirements-train.txt
exec "$VENV/bin/python" -m src_train.rl "${arguments[@]}"
