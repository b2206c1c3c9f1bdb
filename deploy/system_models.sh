# shellcheck shell=bash disable=SC2034,SC2153
# The models of a system's stages: the weights that a stage trained, the servers that serve them, training.
# Sourced by deploy/systems.sh, never run.
# weights STAGE: the folder of the weights that a stage trained.
weights() { printf '%s/%s-train-%s/%s' "$RUNS_DIR" "$NAME" "$1" "$([[ $PROFILE == gpu ]] && echo model || echo adapter)"; }

# last_stage STAGE…: the last of these stages that has weights, base where none has.
last_stage() {
  local stage last=base
  for stage in "$@"; do [[ ! -d $(weights "$stage") ]] || last=$stage; done
  printf '%s' "$last"
}

# embedded_search: the index of the laptop's retriever.
embedded_search() {
  bash scripts/setup.sh requirements-local.txt
  embedded_weights "${ENCODER-e5-small}"
  embedded_index
}

# serve STAGE: retriever and model servers, the agent's with the weights of STAGE (base: none). Sets SERVED, the settings of
# a run that uses them.
serve() {
  local folder=""
  [[ $1 == base ]] || folder=$(weights "$1")
  SERVED=("${AGENT[@]/#/agent.}" "${READER[@]/#/reader.}" retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT"
    ${folder:+trained="$folder"})
  if (( EMBEDDED )); then
    bash scripts/setup.sh requirements-local.txt
    [[ $folder == "$REARAG_ADAPTER" ]] || release_server rearag "$OWNER_PID"
    export REARAG_ADAPTER=$folder
    start_embedded 1 1
    SERVED+=("agent.tokenizer=$(embedded_tokenizer)")
  else
    [[ ${folder:-$MODEL} == "$REARAG_MODEL_DIR" ]] || bash deploy/stop.sh rearag
    export REARAG_MODEL_DIR=${folder:-$MODEL}
    bash deploy/deploy_rag_engine.sh
    bash deploy/deploy.sh
  fi
}

# release: training has the machine to itself.
release() {
  local name
  for name in rearag answer_llm retriever; do
    if (( EMBEDDED )); then release_server "$name" "$OWNER_PID"; else bash deploy/stop.sh "$name"; fi
  done
}

# train STAGE FILE WITHOUT SETTING…: train on FILE; where it is empty, WITHOUT is the reason and nothing is trained. A
# configuration that names validation files gets the one beside FILE, if it has rows.
train() {
  local stage=$1 file=$2 without=$3 config held=(); shift 3
  [[ -s $file ]] || { say "note: $without, so $stage trains nothing"; return 0; }
  config=$CONFIGS/train-$stage$SUFFIX.yaml
  if grep -q '^validation:' "$config"; then
    held=("validation=[]")
    [[ ! -s ${file/%train.jsonl/validation.jsonl} ]] || held=("validation=[{path: ${file/%train.jsonl/validation.jsonl}}]")
  fi
  release
  bash scripts/train.sh "$config" run_name="$NAME-train-$stage" runs_dir="$RUNS_DIR" "train=[{path: $file}]" \
    "${held[@]}" model="$MODEL" "$@"
}
