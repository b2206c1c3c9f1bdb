#!/usr/bin/env bash
# R3-RAG (arXiv 2505.23794) from questions to its table, stage by stage:  bash scripts/r3rag.sh [STAGE …]
#   bash scripts/r3rag.sh                     every stage, on the sample world with embedded models
#   N_SAMPLES=6 RL_STEPS=2 bash scripts/r3rag.sh       with fewer questions and steps; the same command resumes
#   bash scripts/r3rag.sh coldstart           one stage: index coldstart sft rl infer eval
#   TRAIN=a.jsonl DEV=b.jsonl CORPUS=corpus.jsonl NAME=mine bash scripts/r3rag.sh      questions and passages of yours
#   PROFILE=gpu MODEL=Qwen/Qwen2.5-7B TRAIN=… DEV=… bash scripts/r3rag.sh             on a GPU node
# index      the passages in a search engine
# coldstart  steps of a teacher for each question, up to the first right attempt, filtered and exported
# sft        training on them
# rl         reinforcement learning from there: format, process and outcome rewards
# infer      questions of DEV with the last model; eval: before and after RL, and a baseline, in one table
# Stages read configs/systems/r3rag/*.yaml (with -cpu on a laptop). Knobs: N_SAMPLES N_DEV RL_STEPS TEACHER TRAIN DEV NAME
# PROFILE MODEL CORPUS INDEX_DIR RUNS_DIR, and those of deploy/deploy_config.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/r3rag.sh; exit ;; esac
check_knobs scripts/r3rag.sh
NAME=${NAME:-r3rag}
MODEL=${MODEL:-$([[ ${PROFILE:-} == gpu ]] || echo smollm2-135m)}
# shellcheck source=deploy/systems.sh
source deploy/systems.sh
# shellcheck source=deploy/system_rl.sh
source deploy/system_rl.sh
choose_system r3rag Qwen/Qwen2.5-7B
N_SAMPLES=${N_SAMPLES:-$([[ $PROFILE == gpu ]] && echo -1 || echo 40)} # questions of the cold start, -1: all
N_DEV=${N_DEV:-$N_SAMPLES}                                              # questions of DEV that are answered
TEACHER=${TEACHER:-$([[ $PROFILE == gpu ]] && echo llm || echo decomposition)}
RL_STEPS=${RL_STEPS:-$([[ $PROFILE == gpu ]] && echo 512 || echo 40)}

stage_index() {
  if [[ $PROFILE == gpu ]]; then bash scripts/build_index.sh "$INDEX_CONFIG"; else embedded_search; fi
}

stage_coldstart() {
  local teacher=()
  if [[ $PROFILE == gpu ]]; then
    bash deploy/deploy_async.sh
    bash deploy/deploy_rag_engine.sh
  else
    teacher=("${AGENT[@]/#/build_conv.runtime.agent.}")
    start_embedded 1 "$([[ $TEACHER == llm ]] && echo 1 || echo 0)"
  fi
  "$VENV/bin/python" -m src_data.run "$CONFIGS/coldstart$SUFFIX.yaml" run_name="$NAME-coldstart" runs_dir="$RUNS_DIR" \
    build_conv.teacher="$TEACHER" build_conv.n_sample="$N_SAMPLES" "build_conv.input_files=[$(as_sources "$TRAIN")]" \
    "build_conv.evaluation_files=[$(as_sources "$DEV")]" build_conv.runtime.retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT" \
    "${teacher[@]}"
}

stage_sft() {
  train sft "$RUNS_DIR/$NAME-coldstart/conversations.train.jsonl" "no attempt of the cold start was right"
}

stage_rl() {
  [[ -d $(weights sft) ]] || { say "note: there is no model of the cold start, so rl trains nothing"; return 0; }
  rl sft steps="$RL_STEPS"
}

stage_infer() { answer_dev sft rl; }

stage_eval() { table sft rl; }

run_stages index coldstart sft rl infer eval -- "$@"
