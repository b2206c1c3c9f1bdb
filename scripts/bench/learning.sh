#!/usr/bin/env bash
# What training brought: one base model prompted, with grammar, in naive RAG, and trained, on the same questions and
# retriever:  bash scripts/bench/learning.sh
#   MODEL=smollm2-135m bash scripts/bench/learning.sh      the other model that was trained here, or any with ADAPTER=…
#   WAYS="trained trained_naive naive_rag grammar prompted"   SETS="musique:-1 2wikimultihopqa:-1 hotpotqa:200"
# trained_naive: naive RAG with the trained model as the reader. A finished run is not repeated. The last lines compare
# them. DATA is the folder of SET.dev.jsonl and corpus.jsonl.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' scripts/bench/learning.sh; exit ;; esac
MODEL=${MODEL:-qwen2.5-coder-0.5b}
export VENV=${VENV:-.venv} ENGINE=llama.cpp REARAG_MODEL_DIR=$MODEL ANSWER_LLM_PORT=9891
DATA=${DATA:-../shared/data}
ADAPTER=${ADAPTER:-adapters/$MODEL}
NAME=${NAME:-learn-$MODEL}
WAYS=${WAYS:-trained trained_naive naive_rag grammar prompted}
SETS=${SETS:-musique:-1 2wikimultihopqa:-1 hotpotqa:200}
read -ra ways <<< "$WAYS"
read -ra sets <<< "$SETS"
export CORPUS=${CORPUS:-$DATA/corpus.jsonl} INDEX_DIR=${INDEX_DIR:-indexes/learning}
export RETRIEVER_CONFIG=configs/retriever.yaml

bash scripts/setup.sh requirements-local.txt
"$VENV/bin/python" -m src_models.fetch "$MODEL" e5-small > /dev/null
bash scripts/build_index.sh corpus="$CORPUS" index_dir="$INDEX_DIR"
trap 'bash deploy/stop.sh rearag retriever' EXIT
bash deploy/deploy_rag_engine.sh
runs=()
for way in "${ways[@]}"; do
  settings=(configs/infer/cpu.yaml constrain=off)
  adapter=
  case $way in
    trained) settings=(configs/infer/small.yaml) adapter=$ADAPTER ;;
    trained_naive) settings+=(method=naive_rag) adapter=$ADAPTER ;;
    naive_rag) settings+=(method=naive_rag) ;;
    grammar) settings+=(constrain=grammar) ;;
    prompted) ;;
    *) printf 'error: WAYS has no %s\n' "$way" >&2; exit 1 ;;
  esac
  bash deploy/stop.sh rearag
  REARAG_ADAPTER=$adapter bash deploy/deploy.sh
  for set in "${sets[@]}"; do
    name=$NAME-${set%%:*}-$way
    runs+=("runs/$name")
    [[ -f runs/$name/manifest.json ]] || "$VENV/bin/python" -m src_infer.run "${settings[@]}" in_flight=4 \
      run_name="$name" questions="$DATA/${set%%:*}.dev.jsonl" n_questions="${set##*:}"
  done
done
"$VENV/bin/python" -m src_eval.score "${runs[@]}"
