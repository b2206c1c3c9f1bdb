#!/usr/bin/env bash
# Methods x data sets with one table at the end:  bash scripts/evaluate.sh configs/eval/smoke.yaml
#   bash scripts/evaluate.sh configs/eval/real.yaml 'methods=[naive_rag, rearag]' name=two     any setting as key=value
#   bash scripts/evaluate.sh configs/eval/smoke.yaml 'settings=[top_k=5]' name=five            settings of every run
#   bash scripts/evaluate.sh configs/eval/smoke.yaml judge.endpoint.url=http://127.0.0.1:9894/v1    with a judge (ACC_L)
#   BASE_URL=http://127.0.0.1:11434/v1 MODEL_NAME=qwen3:8b bash scripts/evaluate.sh configs/eval/smoke.yaml    your server
#   PROFILE=gpu bash scripts/evaluate.sh configs/eval/real.yaml                                with deployed servers
#   PROFILE=gpu bash scripts/evaluate.sh configs/eval/real.yaml ray.address=10.0.0.5:6379      on the nodes of a Ray cluster
# Finished runs are not repeated; interrupted runs are resumed. The table is in runs/eval-NAME/ as Markdown, CSV and LaTeX,
# and index.html there is a page with plots and a link to the report of each run.
# Knobs: PROFILE MODEL ADAPTER CORPUS INDEX_DIR VENV, and those of deploy/deploy_config.sh. PROFILE=cpu and small start
# and stop the embedded servers (as infer.sh does), PROFILE=gpu talks to those that deploy/*.sh started.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:---help} in -h | --help) help_of scripts/evaluate.sh; exit ;; esac
no_options scripts/evaluate.sh "$1"
source deploy/local.sh
CONFIG=$1; shift
CONFIG=$(from_caller "$CONFIG")
read_arguments scripts/evaluate.sh "$@"
choose_profile

lora=$(served_adapter)
trained=$(trained_folder)
servers="retriever=http://$RETRIEVER_HOST:$RETRIEVER_PORT"
servers+=$(printf ', %s' "${AGENT[@]/#/agent.}" "${READER[@]/#/reader.}")
run=("$VENV/bin/python" -m src_eval.run "$CONFIG" infer="configs/infer/$PROFILE.yaml" profile="$PROFILE" caller="$CALLER"
  servers="[$servers${lora:+, agent.model=$lora}${trained:+, trained=$trained}]" "${settings[@]}")
(( EMBEDDED == 0 )) || bash scripts/setup.sh requirements-local.txt
need_python
if [[ " ${settings[*]}" == *" ray."* ]]; then # settings as in scripts/construct_ray.sh
  bash scripts/setup.sh requirements-ray.txt
  export RAY_USAGE_STATS_ENABLED=0 # nothing is reported to anybody
fi
served=$("${run[@]}" --check) # a mistake is reported before any download or server start
mapfile -t served <<< "$served"
if (( EMBEDDED )); then
  export CORPUS=${CORPUS:-${served[0]:-}}
  export INDEX_DIR=${INDEX_DIR:-${served[1]:-$(index_folder "$CORPUS")}}
  start_embedded 1 "$LLM"
  if [[ $PROFILE == cpu ]] && grep -q deeprag "$CONFIG"; then # scores decisions
    run+=(servers="[$servers, agent.tokenizer=$(embedded_tokenizer)]")
  fi
fi
"${run[@]}"
