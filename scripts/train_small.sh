#!/usr/bin/env bash
# The small model from the question sets to its adapter, without a large model:  bash scripts/train_small.sh
# Index, chains of the decomposition teacher with passages as observations, SmolLM2-135M with LoRA. The result is
# runs/sft-NAME/adapter; compare it with scripts/bench/learning.sh. Two cores need one to two hours, and the same command goes
# on where it was stopped.
#   NAME=small DATA=../shared/data CONFIG=configs/train/smollm2-135m-cpu.yaml bash scripts/train_small.sh [key=value …]
#   CHAINS="2wikimultihopqa:520 hotpotqa:230 musique:-1 nq:170"     how many chains of each set are learnt from (-1: all)
# Dev files are never trained on: every set is decontaminated against all of them.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' scripts/train_small.sh; exit ;; esac
export VENV=${VENV:-.venv} RETRIEVER_CONFIG=configs/retriever.yaml
DATA=${DATA:-../shared/data}
NAME=${NAME:-small}
CONFIG=${CONFIG:-configs/train/smollm2-135m-cpu.yaml}
CHAINS=${CHAINS:-2wikimultihopqa:520 hotpotqa:230 musique:-1 nq:170}
RETRIEVER_HOST=${RETRIEVER_HOST:-127.0.0.1} RETRIEVER_PORT=${RETRIEVER_PORT:-9892}
export CORPUS=${CORPUS:-$DATA/corpus.jsonl} INDEX_DIR=${INDEX_DIR:-indexes/learning-bm25} RETRIEVER_HOST RETRIEVER_PORT
read -ra chains <<< "$CHAINS"

evaluated=
for file in "$DATA"/*.dev.jsonl; do evaluated+="{path: $file},"; done
train=
for set in "${chains[@]}"; do train+="{path: runs/$NAME-${set%%:*}/conversations.train.jsonl, n: ${set##*:}},"; done

bash scripts/setup.sh requirements-local.txt
bash scripts/build_index.sh corpus="$CORPUS" index_dir="$INDEX_DIR" type=bm25
trap 'bash deploy/stop.sh retriever' EXIT
ENGINE=llama.cpp ANSWER_LLM_PORT=9891 bash deploy/deploy_rag_engine.sh
for set in "${chains[@]}"; do
  name=$NAME-${set%%:*}
  [[ -f runs/$name/conversations.train.jsonl ]] || "$VENV/bin/python" -m src_data.run src_data/data_config.cpu.yaml \
    run_name="$name" build_conv.teacher=decomposition build_conv.n_sample=-1 build_conv.num_workers=16 \
    build_conv.observation_mode=passages build_conv.max_passage_chars=300 build_conv.top_k=3 \
    build_conv.retriever_api="http://$RETRIEVER_HOST:$RETRIEVER_PORT" \
    build_conv.input_files="[{path: $DATA/${set%%:*}.train.jsonl}]" build_conv.evaluation_files="[${evaluated%,}]"
done
bash scripts/train_sft.sh "$CONFIG" "train=[${train%,}]" run_name="sft-$NAME" "$@"
