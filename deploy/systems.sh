# shellcheck shell=bash disable=SC2034,SC2153
# What the scripts of whole systems share (scripts/deeprag.sh and its kin): profile, data, stages one after another.
# Sourced, never run; the working directory is the repository, and NAME is the name that runs of the script begin with.
# shellcheck source=deploy/local.sh
source deploy/local.sh
# shellcheck source=deploy/system_models.sh
source deploy/system_models.sh
# shellcheck source=deploy/system_runs.sh
source deploy/system_runs.sh

# choose_system SYSTEM GPU_MODEL: the profile (gpu, else cpu), and the YAML files of the system for it. MODEL is GPU_MODEL
# on a GPU node and the 0.5B elsewhere, where none is named. Without TRAIN, DEV and CORPUS the sample world is used: every
# fourth question is kept for DEV.
choose_system() {
  check_name
  knobs_from_caller
  export REARAG_SYSTEM=$1 # a run that is refused names the knob of this script
  local named=${MODEL:-${REARAG_MODEL_DIR:-}} retriever=${RETRIEVER_CONFIG:-}
  export MODEL=${named:-qwen2.5-coder-0.5b}
  choose_profile cpu
  if [[ $PROFILE == gpu ]]; then export MODEL=${named:-$2}; fi
  LATER_MODELS=("$MODEL")
  [[ $PROFILE == cpu || $PROFILE == gpu ]] || die "PROFILE is '$PROFILE'; choose cpu or gpu for $1"
  SUFFIX=$([[ $PROFILE == gpu ]] || echo -cpu) CONFIGS=configs/systems/$1
  INDEX_CONFIG=$CONFIGS/index$SUFFIX.yaml
  [[ -f $INDEX_CONFIG ]] || INDEX_CONFIG=configs/index.yaml
  [[ ! -f $CONFIGS/retriever$SUFFIX.yaml ]] || export RETRIEVER_CONFIG=${retriever:-$CONFIGS/retriever$SUFFIX.yaml}
  if [[ -n ${RUNS_DIR:-} ]]; then RUNS_DIR=$(into_caller "$RUNS_DIR"); else RUNS_DIR=runs; fi
  TRAIN=$(each_from_caller "${TRAIN:-}") DEV=$(each_from_caller "${DEV:-}")
  if [[ -z $TRAIN && -z $DEV && $PROFILE == cpu ]]; then
    mkdir -p "$RUNS_DIR/$NAME-data"
    TRAIN=$RUNS_DIR/$NAME-data/train.jsonl DEV=$RUNS_DIR/$NAME-data/dev.jsonl
    awk -v train="$TRAIN" -v dev="$DEV" '{ print > (NR % 4 ? train : dev) }' data/sample_world/questions.jsonl
  fi
  local file files
  IFS=, read -ra files <<< "$TRAIN,$DEV"
  for file in "${files[@]}"; do
    [[ -f $file ]] || die "name files of questions with TRAIN and DEV; '$TRAIN' and '$DEV' are not both there"
  done
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
