# shellcheck shell=bash
# What infer.sh and its kin share: arguments, profile, and the embedded servers of the laptop profiles.
# Sourced, never run; the working directory is the repository.
# shellcheck source=deploy/profile.sh
source deploy/profile.sh
# shellcheck source=deploy/say.sh
source deploy/say.sh
# shellcheck source=deploy/caller.sh
source deploy/caller.sh
# shellcheck source=deploy/knobs.sh
source deploy/knobs.sh
# shellcheck source=deploy/corpus.sh
source deploy/corpus.sh
has() { command -v "$1" > /dev/null; }

# fresh_name PREFIX: a name for a run that no other one gets, also one that starts in the same second.
fresh_name() { printf '%s-%s-%s' "$1" "$(date +%Y%m%d-%H%M%S)" "$$"; }

# read_arguments SCRIPT ARGUMENT...: NAME=… is exported as a knob, key=value goes to the array `settings`; paths start in
# the caller's folder ($CALLER).
read_arguments() {
  local script=$1 argument; shift
  settings=()
  for argument in "$@"; do
    case $argument in
      -h | --help) help_of "$script"; exit ;;
      [A-Z]*=*)
        grep -qF "\${${argument%%=*}:-" "$script" deploy/local.sh deploy/profile.sh deploy/deploy_config.sh scripts/setup.sh \
          || die "no knob is called ${argument%%=*}; see the first lines of $script and deploy/deploy_config.sh"
        export "${argument?}" ;;
      *=*) settings+=("$(setting_from_caller "$argument")") ;;
      *) die "cannot read '$argument'; write a setting as key=value, e.g. bash $script top_k=5" ;;
    esac
  done
  note_near_knobs "$script"
  knobs_from_caller
}

# served_adapter: the name under which the deployed vLLM serves the model with its LoRA adapter, empty where it has
# none. vLLM lists the plain model first, so a client that did not ask for this name would be answered without.
served_adapter() {
  local at='--lora-modules ([^ =]+)=([^ ]+)' name="" path=""
  [[ $PROFILE == gpu ]] || return 0
  if running rearag && [[ $SERVER_SETTINGS =~ $at ]]; then name=${BASH_REMATCH[1]} path=${BASH_REMATCH[2]}; fi
  [[ -z $REARAG_ADAPTER || $path == "$(printf '%q' "$REARAG_ADAPTER")" ]] \
    || die "the server on port $REARAG_PORT was not deployed with $REARAG_ADAPTER; do: bash deploy/stop.sh rearag," \
      "then: REARAG_ADAPTER=$REARAG_ADAPTER bash deploy/deploy.sh"
  printf '%s' "$name"
}

# embedded_weights MODEL…: fetch the weights of these that are names of configs/models.yaml; a path is there already.
embedded_weights() {
  local models=() model
  for model in "$@"; do
    [[ $model == */* || $model == *.gguf || " ${models[*]} " == *" $model "* ]] || models+=("$model")
  done
  (( ${#models[@]} == 0 )) || "$VENV/bin/python" -m src_models.fetch "${models[@]}" > /dev/null # progress: stderr
}

# embedded_index: the index of CORPUS in INDEX_DIR as INDEX_CONFIG says, made anew only where the corpus was edited.
embedded_index() {
  if [[ -d $CORPUS ]]; then documents_corpus; elif [[ -n $CORPUS ]]; then short_rows; fi
  bash scripts/build_index.sh "${INDEX_CONFIG:-configs/index.yaml}" follow_edits=true ${CORPUS:+corpus="$CORPUS"} \
    ${INDEX_DIR:+index_dir="$INDEX_DIR"}
}

# start_embedded SEARCH [LLM]: fetch the weights and start the servers of the cpu profile, without the retriever where
# SEARCH is 0, without the model where LLM is 0. They stop with the script.
start_embedded() {
  local models=()
  (( $1 == 0 )) || [[ -z ${ENCODER-e5-small} ]] || models+=("${ENCODER-e5-small}")
  (( ${2:-1} == 0 )) || models+=("$REARAG_MODEL_DIR" "$ANSWER_MODEL_DIR")
  embedded_weights "${models[@]}"
  trap 'release_all $$' EXIT
  if (( $1 )); then
    embedded_index
    bash deploy/deploy_rag_engine.sh
  fi
  (( ${2:-1} == 0 )) || bash deploy/deploy.sh
}
