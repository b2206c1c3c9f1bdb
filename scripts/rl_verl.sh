#!/usr/bin/env bash
# Reinforcement learning with verl, for all weights of a large model or several nodes, from the YAML of scripts/rl.sh:
#   MODEL_DIR=/models/r3rag-sft bash scripts/rl_verl.sh configs/systems/r3rag/rl.yaml runtime.protocol=r3rag_whole \
#     learner.lora=null learner.learning_rate=5e-7 advantage.across_steps=true
#   NODES=2 MODEL_DIR=… bash scripts/rl_verl.sh CONFIG.yaml -- trainer.total_epochs=4      after --: settings of verl
# The run's protocol, retriever, masks, rewards and sizes are those of the YAML; advantage.name chooses verl's estimator.
# Needs an environment with verl 0.9, vLLM and this repository's requirements: VERL_PYTHON (default: python). On several
# nodes Ray has to run: `ray start --head` on the first, `ray start --address=HEAD:6379` on the others, each with
# PYTHONPATH=THIS_REPOSITORY and VERL_USE_EXTERNAL_MODULES=src_train.rl.verl_estimator in its environment.
# It was not run on GPUs; its agent loop and data are tested on a CPU (tests/test_train_rl_verl.py).
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
source deploy/caller.sh
case ${1:---help} in -h | --help) help_of scripts/rl_verl.sh; exit ;; esac
check_knobs scripts/rl_verl.sh
CONFIG=$(from_caller "$1"); shift
[[ -f $CONFIG ]] || die "no such config file: $CONFIG; choose one of those in configs/systems/"
MODEL_DIR=$(from_caller "${MODEL_DIR:?MODEL_DIR must name the folder of the model to train}")
NODES=${NODES:-1} GPUS=${GPUS:-8} NAME=${NAME:-rl-verl} VERL_PYTHON=${VERL_PYTHON:-python}
check_name
settings=() more=()
while (( $# )) && [[ $1 != -- ]]; do settings+=("$(setting_from_caller "$1")"); shift; done
(( $# )) && more=("${@:2}")
mkdir -p "runs/$NAME"
"$VERL_PYTHON" -m src_train.rl.verl_data "$CONFIG" "runs/$NAME" learner.model="$MODEL_DIR" "${settings[@]}"
overrides=$("$VERL_PYTHON" -m src_train.rl.verl_settings "runs/$NAME/rl.yaml") # apart: an error here ends the script
mapfile -t chosen <<< "$overrides"
PYTHONPATH=$PWD VERL_USE_EXTERNAL_MODULES=src_train.rl.verl_estimator exec "$VERL_PYTHON" -m verl.trainer.main_ppo \
  data.train_files="$PWD/runs/$NAME/train.parquet" data.val_files="$PWD/runs/$NAME/train.parquet" data.return_raw_chat=True \
  actor_rollout_ref.model.path="$MODEL_DIR" actor_rollout_ref.rollout.name=vllm actor_rollout_ref.rollout.mode=async \
  actor_rollout_ref.rollout.agent.agent_loop_config_path="$PWD/runs/$NAME/agent.yaml" \
  actor_rollout_ref.rollout.calculate_log_probs=True trainer.nnodes="$NODES" trainer.n_gpus_per_node="$GPUS" \
  trainer.default_local_dir="$PWD/runs/$NAME/verl" trainer.experiment_name="$NAME" trainer.val_before_train=False \
  "${chosen[@]}" "${more[@]}"
