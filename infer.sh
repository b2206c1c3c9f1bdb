#!/usr/bin/env bash
# Answer questions with the Thought-Action-Observation loop.
#   bash infer.sh                                  10 questions of the sample world; the first run sets everything up
#   N_QUESTIONS=-1 METHOD=naive_rag bash infer.sh  all of them with another method
#   QUESTION="Who …?" bash infer.sh                one question, every step printed as it happens
#   CORPUS=my_corpus.jsonl bash infer.sh questions=my.jsonl   another corpus; its index is built first
#   CORPUS=my_folder QUESTION="…?" bash infer.sh   your documents, or one (Markdown, text, HTML, DOCX, PDF)
#   MODEL=qwen2.5-coder-1.5b bash infer.sh         an untrained model, with prompt, example and grammar
#   METHOD=my_method.py bash infer.sh              a method of yours (docs/your_method.md)
#   BASE_URL=http://127.0.0.1:11434/v1 MODEL_NAME=qwen3:8b API_KEY=… bash infer.sh    a model server of yours
#   ADAPTER=runs/x/adapter bash infer.sh           what training wrote: an adapter, or MODEL=runs/x/model
#   bash infer.sh limits.t_max=8                              any setting of configs/infer/*.yaml as key=value
# Knobs may be written before or after the script's name: METHOD N_QUESTIONS QUESTION RUN_NAME PROFILE MODEL ADAPTER, and
# those of deploy/deploy_config.sh. PROFILE=small (a 0.5B that was trained for the loop; the default) and PROFILE=cpu (an
# untrained model: the default when MODEL names one without ADAPTER, or METHOD is deeprag, r3rag or search_r1) start and
# stop the embedded servers; PROFILE=gpu talks to those that deploy/*.sh started, and is the default where a GPU and vLLM are there.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source deploy/local.sh
read_arguments infer.sh "$@"
METHOD=${METHOD:-rearag}
N_QUESTIONS=${N_QUESTIONS:-10}
QUESTION=${QUESTION:-}
export RUN_NAME=${RUN_NAME:-$(fresh_name "$(basename "$METHOD" .py)")}
choose_profile "$(laptop_profile)"
[[ $METHOD != *.py ]] || METHOD=$(from_caller "$METHOD") # a method of yours: docs/your_method.md

[[ -n $QUESTION ]] || own_questions "configs/infer/$PROFILE.yaml" 'QUESTION="…?" or questions=my.jsonl' questions question

lora=$(served_adapter)
trained=$(trained_folder)
run=("$VENV/bin/python" -m src_infer.run "configs/infer/$PROFILE.yaml" method="$METHOD" run_name="$RUN_NAME"
  n_questions="$N_QUESTIONS" question="$QUESTION" retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT"
  "${AGENT[@]/#/agent.}" "${READER[@]/#/reader.}"
  ${lora:+agent.model="$lora"} ${trained:+trained="$trained"} "${settings[@]}")
if (( EMBEDDED )); then
  bash scripts/setup.sh requirements-local.txt
  "${run[@]}" --check # a mistake is reported before any download or server start
  searches=1
  ! in_method '^NEEDS_SEARCH = False' || searches=0
  [[ $searches == 0 || -n $CORPUS$INDEX_DIR || " ${settings[*]}" != *" questions="* || " ${settings[*]}" == *sample_world* ]] \
    || say "note: the 339 passages of the sample world are searched; name the passages that answer your questions with CORPUS" >&2
  start_embedded "$searches" "$LLM"
  if [[ $METHOD == deeprag && $PROFILE == cpu && " ${settings[*]}" != *" agent.tokenizer="* ]]; then
    run+=(agent.tokenizer="$(embedded_tokenizer)") # scores decisions
  fi
fi
need_python
"${run[@]}"
