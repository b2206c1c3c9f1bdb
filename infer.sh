#!/usr/bin/env bash
# Answer questions with the Thought-Action-Observation loop.
#   bash infer.sh                                  10 questions of the sample world, everything set up on the way
#   N_QUESTIONS=-1 METHOD=naive_rag bash infer.sh  all of them with another method
#   QUESTION="Who …?" bash infer.sh                one question, every step printed as it happens
#   bash infer.sh questions=my.jsonl limits.t_max=8        any setting of configs/infer/*.yaml as key=value
# PROFILE=cpu starts (and stops) the embedded servers; PROFILE=gpu talks to those that deploy/*.sh started.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
METHOD=${METHOD:-rearag}
N_QUESTIONS=${N_QUESTIONS:-10}
QUESTION=${QUESTION:-}
RUN_NAME=${RUN_NAME:-$METHOD-$(date +%Y%m%d-%H%M%S)}
PROFILE=${PROFILE:-$(if command -v nvidia-smi > /dev/null && [[ -x ${VENV:-.venv}/bin/vllm ]]; then echo gpu; else echo cpu; fi)}

if [[ $PROFILE == cpu ]]; then
  export ENGINE=llama.cpp OWNER_PID=$$
  export REARAG_MODEL_DIR=${MODEL:-qwen2.5-coder-1.5b} RETRIEVER_CONFIG=${RETRIEVER_CONFIG:-configs/retriever.yaml}
  export ANSWER_LLM_PORT=${ANSWER_LLM_PORT:-${REARAG_PORT:-9891}} # one server plays both roles
fi
source deploy/deploy_config.sh
source deploy/lib.sh

if [[ $PROFILE == cpu ]]; then
  bash scripts/setup.sh requirements-local.txt
  "$VENV/bin/python" -m src_models.fetch "$REARAG_MODEL_DIR" e5-small
  bash scripts/build_index.sh configs/index.yaml
  trap 'release_server rearag $$; release_server retriever $$' EXIT
  if [[ $METHOD != closed_book ]]; then bash deploy/deploy_rag_engine.sh; fi
  bash deploy/deploy.sh
fi
"$VENV/bin/python" -m src_infer.run "configs/infer/$PROFILE.yaml" method="$METHOD" run_name="$RUN_NAME" \
  n_questions="$N_QUESTIONS" question="$QUESTION" retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT" \
  agent.url="http://$REARAG_HOST:$REARAG_PORT/v1" reader.url="http://$ANSWER_LLM_HOST:$ANSWER_LLM_PORT/v1" "$@"
