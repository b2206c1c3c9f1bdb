#!/usr/bin/env bash
# DeepRAG (arXiv 2502.01142) from questions to its table, stage by stage:  bash scripts/deeprag.sh [STAGE …]
#   bash scripts/deeprag.sh                    every stage but rl, on the sample world with embedded models
#   N_SAMPLES=6 bash scripts/deeprag.sh        with fewer questions; the same command resumes what was stopped
#                                              (on a laptop up to four times as many, where these give too little to train on)
#   bash scripts/deeprag.sh stage1             one stage: index launch stage1 stage2 rl infer eval
#   TRAIN=a.jsonl DEV=b.jsonl CORPUS=corpus.jsonl NAME=mine bash scripts/deeprag.sh        questions and passages of yours
#   PROFILE=gpu MODEL=Qwen/Qwen2.5-7B-Instruct TRAIN=… DEV=… bash scripts/deeprag.sh       as in the paper, on a GPU node
# index   the passages in a search engine: the embedded one, or on the GPU node Elasticsearch (ES_HOST)
# launch  retriever, target and teacher (TEACHER_MODEL_DIR)
# stage1  explore a tree of each question, filter the cheapest right paths, train on them (imitation)
# stage2  explore with the model of Stage I, make pairs of decisions, train on them (calibration)
# rl      the online variant, from the model of Stage I
# infer   questions of DEV with the last model; eval: all variants and baselines in one table
# Stages read configs/systems/deeprag/*.yaml (with -cpu on a laptop). Knobs: N_SAMPLES N_DEV TRAIN DEV RL_STEPS NAME PROFILE MODEL
# CORPUS INDEX_DIR RUNS_DIR, and those of deploy/deploy_config.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/deeprag.sh; exit ;; esac
check_knobs scripts/deeprag.sh
NAME=${NAME:-deeprag}
# shellcheck source=deploy/systems.sh
source deploy/systems.sh
# shellcheck source=deploy/system_rl.sh
source deploy/system_rl.sh
export ENCODER='' INDEX_KIND=english # on a laptop: BM25, which needs no encoder
choose_system deeprag meta-llama/Meta-Llama-3-8B-Instruct
N_SAMPLES=${N_SAMPLES:-$([[ $PROFILE == gpu ]] && echo -1 || echo 40)} # questions that each stage explores, -1: all
N_DEV=${N_DEV:-$N_SAMPLES}                                              # questions of DEV that are answered
RL_STEPS=${RL_STEPS:-$([[ $PROFILE == gpu ]] && echo 100 || echo 40)}

stage_index() {
  if [[ $PROFILE == gpu ]]; then bash scripts/build_index.sh "$INDEX_CONFIG"; else embedded_search; fi
}

stage_launch() {
  [[ $PROFILE != gpu ]] || TEACHER_MODEL_DIR=${TEACHER_MODEL_DIR:-Qwen/Qwen2.5-72B-Instruct} bash deploy/deploy_async.sh
  serve base
}

stage_stage1() {
  stage_launch
  explore stage1
  train stage1 "$RUNS_DIR/$NAME-stage1/conversations.train.jsonl" "no path with a right answer was found"
}

# from_stage1 WHAT: whether there is a model of Stage I for WHAT to start from.
from_stage1() {
  local from
  from=$(weights stage1)
  [[ -d $from ]] || { say "note: no model of Stage I in $(as_caller_sees "$from") for $1 to start from; run stage1"; return 1; }
}

stage_stage2() {
  from_stage1 stage2 || return 0
  serve stage1
  explore stage2
  train stage2 "$RUNS_DIR/$NAME-stage2/pairs.train.jsonl" "no decision had two sides to compare" \
    "$([[ $PROFILE == gpu ]] && echo model || echo lora.start_from)=$(weights stage1)"
}

stage_rl() {
  from_stage1 rl || return 0
  rl stage1 steps="$RL_STEPS"
}

stage_infer() { answer_dev stage1 stage2 rl; }

stage_eval() { table stage1 stage2 rl; }

# explore STAGE: trees of questions of TRAIN, none of which is in DEV.
explore() {
  "$VENV/bin/python" -m src_data.deeprag.explore "$CONFIGS/$1$SUFFIX.yaml" run_name="$NAME-$1" runs_dir="$RUNS_DIR" n_sample="$N_SAMPLES" \
    "input_files=[$(as_sources "$TRAIN")]" "evaluation_files=[$(as_sources "$DEV")]" "${SERVED[@]/#/runtime.}"
}

OTHER_STAGES=rl run_stages index launch stage1 stage2 infer eval -- "$@"
