# shellcheck shell=bash
# The embedded servers of the laptop profiles: their weights, their index, their start. Sourced by deploy/local.sh, never run.
# shellcheck source=deploy/corpus.sh
source deploy/corpus.sh

# catalogue_names MODEL…: those of these that are names of configs/models.yaml, each once, in the array NAMES; others are paths.
catalogue_names() {
  local model
  NAMES=()
  for model in "$@"; do
    [[ -z $model || $model == */* || $model == *.gguf || " ${NAMES[*]} " == *" $model "* ]] || NAMES+=("$model")
  done
}

# embedded_weights MODEL…: fetch the weights of these that are names. Before that also the names of LATER_MODELS, which a
# later stage of the script needs, are checked.
embedded_weights() {
  local models later
  catalogue_names "$@"; models=("${NAMES[@]}")
  catalogue_names "${models[@]}" "${LATER_MODELS[@]}"; later=("${NAMES[@]:${#models[@]}}")
  (( ${#models[@]} + ${#later[@]} == 0 )) \
    || "$VENV/bin/python" -m src_models.fetch "${models[@]}" ${later[0]:+--known "${later[@]}"} > /dev/null # progress: stderr
}
LATER_MODELS=()

# embedded_tokenizer: the folder of the tokenizer of the embedded model, with which decisions are scored; made once.
embedded_tokenizer() {
  local folder
  folder=${REARAG_CACHE:-.cache/models}/$(basename "$REARAG_MODEL_DIR" .gguf)-tokenizer
  [[ -f $folder/chat_template.jinja ]] \
    || "$VENV/bin/python" -m src_models.convert.tokenizer "$REARAG_MODEL_DIR" "$folder" > /dev/null
  printf '%s' "$folder"
}

# embedded_index: the index of CORPUS in INDEX_DIR as INDEX_CONFIG says, made anew only where the corpus was edited.
embedded_index() {
  if is_documents "$CORPUS"; then documents_corpus; elif [[ -n $CORPUS ]]; then short_rows; fi
  bash scripts/build_index.sh "${INDEX_CONFIG:-configs/index.yaml}" follow_edits=true ${CORPUS:+corpus="$CORPUS"} \
    ${INDEX_DIR:+index_dir="$INDEX_DIR"}
}

# same_model: a model server that runs already has this model; another one is refused before any weights are fetched, one
# that is nowhere by its name.
same_model() {
  local wanted=$REARAG_MODEL_DIR
  [[ ! -f $wanted/config.json ]] || wanted=${wanted%/}.gguf
  if ! running rearag || [[ $SERVER_SETTINGS == *" --model $(printf %q "$wanted") "* ]]; then return; fi
  if [[ $REARAG_MODEL_DIR == */* || $REARAG_MODEL_DIR == *.gguf ]]; then
    [[ -e $REARAG_MODEL_DIR ]] || die "there is no model $REARAG_MODEL_DIR; check the path that MODEL names"
  else
    "$VENV/bin/python" -m src_models.fetch --known "$REARAG_MODEL_DIR" # ends with the nearest name
  fi
  refuse_other rearag
}

# start_embedded SEARCH [LLM]: fetch the weights and start the servers of the cpu profile, without the retriever where
# SEARCH is 0, without a model in any role where LLM is 0. They stop with the script. The model's weights arrive while the
# encoder is fetched and the passages are indexed.
start_embedded() {
  local weights=
  trap 'release_all $$' EXIT
  if (( ${2:-1} )); then
    same_model
    catalogue_names "$REARAG_MODEL_DIR" "$ANSWER_MODEL_DIR"
    if (( $1 && ${#NAMES[@]} )); then "$VENV/bin/python" -m src_models.fetch --known "${NAMES[@]}"; fi # before any download
    embedded_weights "$REARAG_MODEL_DIR" "$ANSWER_MODEL_DIR" & weights=$!
  fi
  if (( $1 )); then
    embedded_weights "${ENCODER-e5-small}"
    embedded_index
  fi
  [[ -z $weights ]] || wait "$weights" || die "the model could not be fetched; correct what its message above names, then run this again"
  if (( $1 )); then
    if (( ${2:-1} )); then bash deploy/deploy_rag_engine.sh; else bash deploy/deploy_rag_engine.sh retriever; fi
  fi
  (( ${2:-1} == 0 )) || bash deploy/deploy.sh
}
