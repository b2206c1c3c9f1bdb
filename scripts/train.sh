#!/usr/bin/env bash
# Train a model: on conversations (objective: sft), preference pairs (dpo) or rollouts with advantages (policy).
#   bash scripts/train.sh configs/train/smollm2-135m-cpu.yaml 'train=[{path: runs/NAME/conversations.train.jsonl}]'
#   bash scripts/train.sh configs/train/dpo-smollm2-135m-cpu.yaml 'train=[{path: pairs.jsonl}]'
#   bash scripts/train.sh CONFIG.yaml --check          look at the data and stop
#   bash scripts/train.sh CONFIG.yaml learning_rate=1e-4 lora.rank=8      any setting of src_train/config.py
#   bash scripts/train.sh --rerank configs/systems/radio/finetune.yaml 'train=[{path: groups.jsonl}]'     a reranker
#   NPROC=8 bash scripts/train.sh CONFIG.yaml          one process per GPU (FSDP with fsdp: true)
# The first run makes .venv-train (VENV_TRAIN=… another folder, PYTHON=… another Python). The same command resumes a run
# that was stopped. The result is runs/NAME/model (or adapter); serve it with MODEL=… or ADAPTER=… bash infer.sh,
# a reranker with rerank.model=… of the retriever.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
source deploy/caller.sh
case ${1:---help} in -h | --help) help_of scripts/train.sh; exit ;; esac
check_knobs scripts/train.sh
export VENV=${VENV_TRAIN:-.venv-train}
NPROC=${NPROC:-1}
arguments=() module=src_train.run
for argument in "$@"; do # a relative path starts in the caller's folder
  case $argument in
    --rerank) module=src_train.rerank ;;
    --check) arguments+=("$argument") ;;
    -*) no_options scripts/train.sh "$argument" ;;
    *=*) arguments+=("$(setting_from_caller "$argument")") ;;
    *) arguments+=("$(from_caller "$argument")")
      [[ -f ${arguments[-1]} ]] \
        || die "no such config file: $argument; choose one in configs/train/ or configs/systems/" ;;
  esac
done
# shellcheck source=deploy/torch_env.sh
source deploy/torch_env.sh
bash scripts/setup.sh requirements-train.txt
launch=("$VENV/bin/python")
[[ $NPROC == 1 ]] || launch+=(-m torch.distributed.run --standalone --nproc-per-node "$NPROC")
exec "${launch[@]}" -m "$module" "${arguments[@]}"
