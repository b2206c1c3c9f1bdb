#!/usr/bin/env bash
# The small model from the question sets to its adapter, without a large model:  bash scripts/train_small.sh
# Index, chains of the decomposition teacher with passages as observations, Qwen2.5-Coder-0.5B with LoRA. The result is
# runs/sft-NAME/adapter; compare it with scripts/bench/trained.sh. It trains on nearly 900,000 tokens: an hour for
# SmolLM2-135M on two cores, several for the 0.5B, and the same command resumes a run that was stopped.
#   CONFIG=configs/train/smollm2-135m-cpu.yaml NAME=tiny bash scripts/train_small.sh [key=value …]    another model
#   CHAINS="2wikimultihopqa:330 2wikimultihopqa:-1:4 …"    how many chains of each set are trained on (-1: all), and with
#                     how many searches at least
#   MADE="single:54 bridge_2:170 comparison:67 asked_2:90"    questions made from passages of the corpus, by kind (none without
#       it; src_data/passage_questions/config.py:Counts); PER_PATH=6: of one chain of relations; ASKED=FILE: what asking.py there wrote
#   FICTION="bridge_3:150 described_3:50"    the same of an invented world (src_data/fictional_corpus)
#   INDEX="type=bm25 sparse_options.analyzer=english"    settings of the index; this one takes seconds, the default encodes each passage
#   READER="nq:150"   how many rows of chains mixed with those of the reader's role (search + passages -> answer)
# DATA is the folder of SET.train.jsonl, SET.dev.jsonl and corpus.jsonl. Dev files are never trained on: every set is
# decontaminated against all of them.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/train_small.sh; exit ;; esac
check_knobs scripts/train_small.sh
no_options scripts/train_small.sh "$@"
export REARAG_OWNER="$$ " # the commands of this script end with it (src_core/lifetime.py)
export VENV=${VENV:-.venv} RETRIEVER_CONFIG=configs/retriever.yaml ENGINE=llama.cpp ANSWER_LLM_PORT=9891
DATA=${DATA:-../shared/data}
NAME=${NAME:-small}
CONFIG=${CONFIG:-configs/train/qwen2.5-coder-0.5b-cpu.yaml}
CHAINS=${CHAINS:-2wikimultihopqa:330 2wikimultihopqa:-1:4 hotpotqa:-1:2 musique:-1 nq:60}
READER=${READER-nq:150}
read -ra index <<< "${INDEX:-}"
MADE=${MADE:-} ASKED=${ASKED:-} FICTION=${FICTION:-} PER_PATH=${PER_PATH:-6}
RETRIEVER_HOST=${RETRIEVER_HOST:-127.0.0.1} RETRIEVER_PORT=${RETRIEVER_PORT:-9892}
export CORPUS=${CORPUS:-$DATA/corpus.jsonl} INDEX_DIR=${INDEX_DIR:-indexes/real} RETRIEVER_HOST RETRIEVER_PORT
read -ra chains <<< "$CHAINS"
read -ra reader <<< "$READER"
evaluated='' train=''
for file in "$DATA"/*.dev.jsonl data/sample_world/questions.jsonl; do evaluated+="{path: $file},"; done
KINDS=(single bridge_{2,3} described_{1,2,3} comparison yes_no unanswerable_{1,2} asked_{1,2,3})
no_others=("${KINDS[@]/%/=0}")
# made RUN CORPUS "KIND:N …" SETTING…: the kept chains of questions made from the passages of a corpus.
made() {
  local run=$1 corpus=$2 kinds questions=runs/$1.jsonl; read -ra kinds <<< "$3"; shift 3
  kinds=("${kinds[@]/#/counts.}")
  [[ -f $questions ]] || "$VENV/bin/python" -m src_data.passage_questions corpus="$corpus" out="$questions" passage_chars=300 \
    per_path="$PER_PATH" "evaluation_files=[${evaluated%,}]" "${no_others[@]/#/counts.}" "${kinds[@]/:/=}" "$@"
  construct "$run" made:-1 build_conv.n_sample=-1 "build_conv.input_files=[{path: $questions}]"
}

# construct RUN SET:N[:MIN_SEARCHES] SETTING...: the kept chains of a set's training rows, N of which are trained on.
construct() {
  local run=$1 set n least; IFS=: read -r set n least <<< "$2"; shift 2
  train+="{path: runs/$run/conversations.train.jsonl, n: $n, min_searches: ${least:-0}},"
  [[ -f runs/$run/conversations.train.jsonl ]] || "$VENV/bin/python" -m src_data.run src_data/data_config.cpu.yaml \
    run_name="$run" build_conv.teacher=decomposition build_conv.num_workers=16 \
    build_conv.runtime.observation_mode=passages build_conv.runtime.max_passage_chars=300 build_conv.top_k=3 \
    build_conv.runtime.only_named=true build_conv.runtime.repeat_passages=true \
    build_conv.retriever_api="http://$RETRIEVER_HOST:$RETRIEVER_PORT" \
    build_conv.input_files="[{path: $DATA/$set.train.jsonl}]" build_conv.evaluation_files="[${evaluated%,}]" "$@"
}

bash scripts/setup.sh requirements-local.txt
"$VENV/bin/python" -m src_models.fetch e5-small > /dev/null
bash scripts/build_index.sh corpus="$CORPUS" index_dir="$INDEX_DIR" "${index[@]}"
trap 'bash deploy/stop.sh retriever' EXIT
bash deploy/deploy_rag_engine.sh
for one in "${chains[@]}"; do construct "$NAME-${one%%:*}" "$one" build_conv.n_sample=-1; done
[[ -z $MADE ]] || made "$NAME-made" "$CORPUS" "$MADE" asked="$ASKED"
for one in "${reader[@]}"; do
  construct "$NAME-${one%%:*}-reader" "$one" build_conv.n_sample=400 export.reader_passage_chars=300
done
bash deploy/stop.sh retriever # training has the machine to itself
if [[ $FICTION ]]; then
  export CORPUS=runs/$NAME-fiction-corpus.jsonl INDEX_DIR=indexes/$NAME-fiction
  "$VENV/bin/python" -m src_data.fictional_corpus out="$CORPUS" overwrite=true # the same each time
  bash scripts/build_index.sh corpus="$CORPUS" index_dir="$INDEX_DIR" type=bm25 sparse_options.analyzer=english
  bash deploy/deploy_rag_engine.sh
  made "$NAME-fiction" "$CORPUS" "$FICTION" unique_names=true
  bash deploy/stop.sh retriever
fi
bash scripts/train.sh "$CONFIG" "train=[${train%,}]" run_name="sft-$NAME" "$@"
