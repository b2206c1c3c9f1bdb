#!/usr/bin/env bash
# Twelve minutes on one GPU: training speed of two small models, then reinforcement learning with vLLM.  bash scripts/bench/gpu.sh
#   1. chains of the sample world (no model is asked), 1 minute
#   2. SmolLM2-135M and Qwen2.5-Coder-0.5B, adapters, 2 minutes each: tokens/s, MFU
#   3. RL of SmolLM2-135M with rollouts by vLLM, 4 minutes: rollouts per minute, tokens/s, seconds of the weights
# Needs VENV_TRAIN (torch with CUDA), VENV, and VLLM in an environment of its own. Not run here: needs a GPU.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/bench/gpu.sh; exit ;; esac
check_knobs scripts/bench/gpu.sh
VENV=${VENV:-.venv} VENV_TRAIN=${VENV_TRAIN:-.venv-train} VLLM=${VLLM:-.venv/bin/vllm} PORT=${PORT:-9891}
command -v nvidia-smi > /dev/null || die "there is no GPU here (no nvidia-smi); run this on a machine that has one"
command -v "$VLLM" > /dev/null || die "$VLLM is not there; set VLLM to a vllm, or install requirements.txt"
corpus=data/sample_world/corpus.jsonl chains=runs/gpu-chains/conversations.train.jsonl

[[ -f $chains ]] || "$VENV/bin/python" -m src_data.run src_data/data_config.cpu.yaml run_name=gpu-chains build_conv.teacher=decomposition \
  build_conv.n_sample=-1 build_conv.retriever_api="toy:$corpus" build_conv.runtime.observation_mode=passages
for model in smollm2-135m-cpu qwen2.5-coder-0.5b-laptop-gpu; do
  VENV_TRAIN=$VENV_TRAIN bash scripts/train.sh "configs/train/$model.yaml" "train=[{path: $chains, format: rearag}]" \
    run_name="gpu-$model" epochs=100 batch_size=8 accumulation=1 precision=bf16 gradient_checkpointing=false stop_after_minutes=2
  say "$model: $(tail -n 1 "runs/gpu-$model/log.jsonl")"
done

folder=$("$VENV_TRAIN/bin/python" -c 'from src_models.llm_folder import llm_folder; print(llm_folder("smollm2-135m"))')
mkdir -p runs/gpu-rl/logs
VLLM_ALLOW_RUNTIME_LORA_UPDATING=True "$VLLM" serve "$folder" --host 127.0.0.1 --port "$PORT" --dtype bfloat16 --max-model-len 4096 \
  --enable-prefix-caching --enable-lora --max-lora-rank 16 --gpu-memory-utilization 0.5 > runs/gpu-rl/logs/vllm.log 2>&1 &
server=$!
trap 'kill "$server"' EXIT
until curl -sf "http://127.0.0.1:$PORT/health" > /dev/null; do
  kill -0 "$server" 2> /dev/null || die "vLLM ended; see runs/gpu-rl/logs/vllm.log"
  sleep 1
done
VENV_TRAIN=$VENV_TRAIN bash scripts/rl.sh configs/systems/rearag/rl-smollm2-135m-cpu.yaml run_name=gpu-rl steps=100 stop_after_minutes=4 \
  serving.kind=vllm "runtime.agent={url: 'http://127.0.0.1:$PORT/v1', engine: vllm}" runtime.retriever="toy:$corpus" \
  runtime.in_flight=128 questions_per_step=32 learner.precision=bf16 learner.pack_length=16384
"$VENV_TRAIN/bin/python" scripts/bench/rl_speed.py runs/gpu-rl
