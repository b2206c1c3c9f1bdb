# shellcheck shell=bash disable=SC2034,SC2153
# What the scripts of whole systems share (scripts/deeprag.sh and its kin): profile, data, the model of a stage, training.
# Sourced, never run; the working directory is the repository, and NAME is the name that runs of the script begin with.
# shellcheck source=deploy/local.sh
source deploy/local.sh

# choose_system SYSTEM GPU_MODEL: the profile (gpu, else cpu), and the YAML files of the system for it. MODEL is GPU_MODEL
# on a GPU node and the 0.5B elsewhere, where none is named. Without TRAIN, DEV and CORPUS the sample world is used: every
# fourth question is kept for DEV.
choose_system() {
  knobs_from_caller
  local named=${MODEL:-${REARAG_MODEL_DIR:-}} retriever=${RETRIEVER_CONFIG:-}
  export MODEL=${named:-qwen2.5-coder-0.5b}
  choose_profile cpu
  if [[ $PROFILE == gpu ]]; then export MODEL=${named:-$2}; fi
  [[ $PROFILE == cpu || $PROFILE == gpu ]] || die "PROFILE is '$PROFILE'; $1 runs with cpu or gpu"
  SUFFIX=$([[ $PROFILE == gpu ]] || echo -cpu) CONFIGS=configs/systems/$1
  INDEX_CONFIG=$CONFIGS/index$SUFFIX.yaml
  [[ -f $INDEX_CONFIG ]] || INDEX_CONFIG=configs/index.yaml
  [[ ! -f $CONFIGS/retriever$SUFFIX.yaml ]] || export RETRIEVER_CONFIG=${retriever:-$CONFIGS/retriever$SUFFIX.yaml}
  if [[ -n ${RUNS_DIR:-} ]]; then RUNS_DIR=$(into_caller "$RUNS_DIR"); else RUNS_DIR=runs; fi
  TRAIN=$(from_caller "${TRAIN:-}") DEV=$(from_caller "${DEV:-}")
  if [[ -z $TRAIN && -z $DEV && $PROFILE == cpu ]]; then
    mkdir -p "$RUNS_DIR/$NAME-data"
    TRAIN=$RUNS_DIR/$NAME-data/train.jsonl DEV=$RUNS_DIR/$NAME-data/dev.jsonl
    awk -v train="$TRAIN" -v dev="$DEV" '{ print > (NR % 4 ? train : dev) }' data/sample_world/questions.jsonl
  fi
  [[ -f $TRAIN && -f $DEV ]] || die "TRAIN and DEV must name files of questions: '$TRAIN' and '$DEV' are not both there"
}

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
  [[ -z ${ENCODER-e5-small} ]] || embedded_weights "${ENCODER-e5-small}"
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

# train STAGE FILE WITHOUT SETTING…: train on FILE; where it is empty, WITHOUT is the reason and nothing is trained.
train() {
  local stage=$1 file=$2 without=$3; shift 3
  [[ -s $file ]] || { say "note: $without, so $stage trains nothing"; return 0; }
  release
  bash scripts/train.sh "$CONFIGS/train-$stage$SUFFIX.yaml" run_name="$NAME-train-$stage" runs_dir="$RUNS_DIR" "train=[{path: $file}]" model="$MODEL" "$@"
}

# rl FROM SETTING…: reinforcement learning that starts from the adapter of stage FROM, on the questions of TRAIN. The embedded
# model server is the run's own; only the retriever is ours.
rl() {
  local from=$1; shift
  release
  if (( EMBEDDED )); then start_embedded 1 0; else bash deploy/deploy_rag_engine.sh; fi
  bash scripts/rl.sh "$CONFIGS/rl$SUFFIX.yaml" run_name="$NAME-train-rl" runs_dir="$RUNS_DIR" learner.model="$MODEL" \
    "questions=[{path: $TRAIN}]" learner.lora.start_from="$(weights "$from")" \
    runtime.retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT" "$@"
}

# joined SETTING…: a list as YAML.
joined() { local IFS=,; printf '[%s]' "$*"; }

# run_stages KNOWN… -- STAGE…: the functions stage_NAME, one after another (all known ones where none is named).
run_stages() {
  local stages=() stage
  while [[ $1 != -- ]]; do stages+=("$1"); shift; done
  shift
  for stage in "$@"; do
    [[ " ${stages[*]} ${OTHER_STAGES:-} " == *" $stage "* ]] \
      || die "there is no stage '$stage'; name ${stages[*]} ${OTHER_STAGES:-}"
  done
  (( $# )) || set -- "${stages[@]}"
  for stage in "$@"; do
    say "== $stage"
    "stage_$stage"
  done
}
