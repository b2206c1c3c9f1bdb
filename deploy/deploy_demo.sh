#!/usr/bin/env bash
# The live page on port 9895: a person asks and watches the loop think, search and read.
#   bash deploy/deploy_demo.sh                     the page alone; it says which server is missing and what starts it
#   WITH_SERVERS=1 bash deploy/deploy_demo.sh      the model server and the retriever too, where they do not run yet
#   PROFILE=small bash deploy/deploy_demo.sh limits.t_max=6      any setting of configs/infer/*.yaml as key=value
#   BASE_URL=http://127.0.0.1:11434/v1 MODEL_NAME=qwen3:8b WITH_SERVERS=1 bash deploy/deploy_demo.sh    your model server
# It speaks to the servers of infer.sh, with the profile and the knobs of infer.sh (PROFILE MODEL ADAPTER CORPUS and
# those of deploy/deploy_config.sh). All stay until bash deploy/stop.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/local.sh
source deploy/start_command.sh
read_arguments deploy/deploy_demo.sh "$@"
WITH_SERVERS=${WITH_SERVERS:-0}
given=$(given_knobs "${SERVED_KNOBS[@]}") # before a profile fills in its own
repeated=$(given_settings "${settings[@]}")
choose_profile "$(laptop_profile)"
source deploy/servers.sh
if (( LLM )); then different_ports REARAG ANSWER_LLM RETRIEVER DEMO; else different_ports RETRIEVER DEMO; fi
unset OWNER_PID # nothing started here ends with this script: it is deployed by hand, as by the other scripts

# the examples are questions of the corpus, or none
! lacks_questions "configs/infer/$PROFILE.yaml" questions || settings+=(questions=)

lora=$(served_adapter)
trained=$(trained_folder)
demo=("$VENV/bin/python" -m src_demo.server "configs/infer/$PROFILE.yaml" host="$DEMO_HOST" port="$DEMO_PORT"
  retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT"
  "${AGENT[@]/#/agent.}" "${READER[@]/#/reader.}"
  ${lora:+agent.model="$lora"} ${trained:+trained="$trained"} "${open[@]}" "${settings[@]}")
if [[ $PROFILE == server ]]; then given=$(given_knobs BASE_URL MODEL_NAME READER_BASE_URL READER_MODEL_NAME)$given; fi
if (( EMBEDDED )); then
  demo+=(serving.start_with="${given}WITH_SERVERS=1 PROFILE=$PROFILE bash deploy/deploy_demo.sh$repeated")
  bash scripts/setup.sh requirements-local.txt
fi
need_python
"${demo[@]}" --check # a mistake is reported before any download or server start
same_server demo "${demo[@]}"
running demo || http_ok "$DEMO_HOST" "$DEMO_PORT" /health || ! port_open "$DEMO_HOST" "$DEMO_PORT" \
  || die "port $DEMO_PORT on $DEMO_HOST, where the page would be, is taken; nothing was started: free it, or take" \
    "another one with DEMO_PORT=…"
if [[ $WITH_SERVERS == 0 ]]; then :
elif (( EMBEDDED )); then start_embedded 1 "$LLM"
else
  bash deploy/deploy_rag_engine.sh
  bash deploy/deploy.sh
fi
trap 'say "what runs stays until: bash deploy/stop.sh"' EXIT # also where the page does not come up
start_server demo "$DEMO_HOST" "$DEMO_PORT" "${demo[@]}"
