#!/usr/bin/env bash
# RADIO (arXiv 2412.08519) from questions to its tables, stage by stage:  bash scripts/radio.sh [STAGE …]
#   N_SAMPLES=20 bash scripts/radio.sh         every stage on the sample world with embedded models, in minutes
#   bash scripts/radio.sh blend                one stage: rationales candidates scores blend finetune rerank eval mmlu multihop
#   TRAIN=a.jsonl,b.jsonl DEV=c.jsonl CORPUS=corpus.jsonl N_SAMPLES=2000 NAME=mine bash scripts/radio.sh
#   PROFILE=gpu TRAIN=nq/train.jsonl DEV=nq/test.jsonl MMLU=mmlu/test bash scripts/radio.sh      as published, on a GPU node
# rationales  a model explains the gold answers of TRAIN (RATIONALE_URL and RATIONALE_MODEL: any OpenAI-compatible one)
# candidates  the retriever's best passages;  scores  similarity of each to the rationale;  blend  both mixed: training groups
# finetune    a reranker per blend, and one of OTHER_BASE;  rerank  the retriever with the reranker of BEST, and one search
# eval        all rerankers on DEV: ranking, reader, OTHER_READER;  mmlu  multiple choice without a search, and reranked
# multihop    naive RAG and ReaRAG with and without the reranker in the loop (takes long, so only where it is named)
# The same command resumes what was stopped. Stages read configs/systems/radio/*.yaml (with -cpu on a laptop).
# Knobs: N_SAMPLES N_RATIONALES N_DEV N_READ TRAIN DEV MMLU NAME PROFILE MODEL OTHER_READER OTHER_BASE START BEST QUERY CORPUS
# INDEX_DIR RUNS_DIR LOOP_PROFILE (of multihop), and those of deploy/deploy_config.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/radio.sh; exit ;; esac
check_knobs scripts/radio.sh
NAME=${NAME:-radio} STAGES=$*
# shellcheck source=deploy/radio.sh
source deploy/radio.sh

stage_rationales() {
  [[ $PROFILE == gpu || -n ${RATIONALE_URL:-} ]] || serve_model
  data rationales n_samples="$N_RATIONALES" "${RATIONALE[@]/#/rationales.endpoint.}"
}

stage_candidates() { serve_retriever; data candidates; }

stage_scores() { embedded_encoders; data scores scores.index="$VECTORS"; }

stage_blend() { data blend; }

stage_finetune() {
  local groups label start=()
  release
  if [[ -n $START ]]; then
    [[ -s $RUN/groups/$START.train.jsonl ]] || die "START=$START has no groups in $RUN/groups; its label must be one of the blends"
    tune "$START" "$START"
    start=(model="$RUNS_DIR/$NAME-$START/model")
  fi
  for groups in "$RUN"/groups/*.train.jsonl; do
    [[ -e $groups ]] || die "there are no groups in $RUN/groups; run the stage blend first"
    label=$(basename "$groups" .train.jsonl)
    [[ $label == "$START" ]] || tune "$label" "$label" "${start[@]}"
  done
  [[ -z $OTHER_BASE ]] || tune other_base "$BEST" model="$OTHER_BASE"
}

stage_rerank() {
  [[ $STAGES != rerank ]] || export OWNER_PID= # served until somebody stops it
  serve_reranked
  "$VENV/bin/python" -m src_retrieval.ask "$SEARCH" "${QUERY:-Who wrote the libretto of Don Giovanni?}"
  if [[ $STAGES == rerank ]]; then say "it stays; to stop it: bash deploy/stop.sh retriever"; else release; fi
}

stage_eval() {
  local readers=("$RUN/comparison/readers.yaml")
  serve base
  data rank
  reader "${readers[0]}" "${AGENT[@]/#/reader.}"
  [[ -z $OTHER_READER ]] || { readers+=("$RUN/comparison/readers-other_reader.yaml"); reader "${readers[1]}"; }
  "$VENV/bin/python" -m src_eval.rerankers "${readers[@]}"
}

stage_mmlu() {
  serve base
  data mmlu
  reader "$RUN/mmlu/readers.yaml" "${AGENT[@]/#/reader.}"
  "$VENV/bin/python" -m src_eval.mmlu "$RUN/mmlu/readers.yaml"
}

stage_multihop() { release; in_the_loop none; in_the_loop tuned; }

OTHER_STAGES=multihop run_stages rationales candidates scores blend finetune rerank eval mmlu -- "$@"
