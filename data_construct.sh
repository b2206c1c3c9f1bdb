#!/usr/bin/env bash
# Build training conversations: question sets -> chains of a teacher -> filtered and exported, with a report.
#   bash data_construct.sh                               20 questions of the sample world with the embedded models
#   N_SAMPLES=200 RUN_NAME=mine bash data_construct.sh   how many questions (-1: all), and the name under runs/
#   TEACHER=decomposition bash data_construct.sh         follow the sets' annotations; no LLM writes the thoughts
#   bash data_construct.sh 'build_conv.input_files=[hotpot_train_v1.1.json]' build_conv.n_chains=4   any setting
#   CORPUS=corpus.jsonl bash data_construct.sh 'build_conv.input_files=[mine.jsonl]'     another corpus; indexed first
#   BASE_URL=http://127.0.0.1:11434/v1 MODEL_NAME=qwen3:8b bash data_construct.sh     a model server of yours as the teacher
# The settings are src_data/data_config.yaml (PROFILE=gpu, after deploy/deploy_rag_engine.sh and deploy_async.sh) and
# src_data/data_config.cpu.yaml (PROFILE=cpu: starts and stops the embedded servers); CONFIG=… takes another file.
# Knobs may be written before or after the script's name. The same RUN_NAME resumes an interrupted run. For more than
# one node: scripts/construct_ray.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source deploy/local.sh
read_arguments data_construct.sh "$@"
N_SAMPLES=${N_SAMPLES:-}
[[ $N_SAMPLES =~ ^(-1|[0-9]*)$ ]] || die "N_SAMPLES is '$N_SAMPLES'; give a whole number of questions (-1: all)"
TEACHER=${TEACHER:-}
export RUN_NAME=${RUN_NAME:-$(fresh_name data)}
choose_profile
CONFIG=$(from_caller "${CONFIG:-src_data/data_config$([[ $PROFILE == gpu ]] || echo .cpu).yaml}")
own_questions "$CONFIG" "'build_conv.input_files=[my.jsonl]'" build_conv.input_files

teacher=${AGENT[0]#url=} agent=("${AGENT[@]:1}") reader=("${READER[@]:1}") # the embedded server is the teacher
[[ $PROFILE != gpu ]] || teacher=http://$TEACHER_HOST:$TEACHER_PORT/v1
run=("$VENV/bin/python" -m "${CONSTRUCT_MODULE:-src_data.run}" "$CONFIG" run_name="$RUN_NAME"
  build_conv.llm_api="$teacher" build_conv.gen_api="${READER[0]#url=}"
  "${agent[@]/#/build_conv.runtime.agent.}" "${reader[@]/#/build_conv.runtime.reader.}"
  build_conv.retriever_api="http://$RETRIEVER_HOST:$RETRIEVER_PORT"
  ${BASE_URL:+build_conv.runtime.constrain=auto} ${N_SAMPLES:+build_conv.n_sample="$N_SAMPLES"} ${TEACHER:+build_conv.teacher="$TEACHER"} "${settings[@]}")
if (( EMBEDDED )); then
  bash scripts/setup.sh requirements-local.txt
  servers=$("${run[@]}" --check) # a mistake is reported before any download or server start
  start_embedded 1 "$(( LLM && $([[ $servers == "servers: retriever" ]]; echo $?) ))"
fi
need_python
"${run[@]}"
