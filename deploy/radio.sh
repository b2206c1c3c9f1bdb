# shellcheck shell=bash disable=SC2034
# The commands of scripts/radio.sh. Sourced, never run.
# shellcheck source=deploy/systems.sh
source deploy/systems.sh
other_port=${ANSWER_LLM_PORT:-9893} # before the profile lets one server play both roles
choose_system radio meta-llama/Llama-3.1-8B-Instruct

# shellcheck source=deploy/radio_knobs.sh
source deploy/radio_knobs.sh
[[ -z ${RERANKER:-} ]] || die "RERANKER is set, and RADIO starts from the retriever's own ranking; unset it (BEST names the blend" \
  "whose reranker is served)"

# data STAGE SETTING…: a stage of src_data.radio.
data() {
  local others=""
  [[ -z $OTHER_READER ]] || others="{label: other_reader, lines: [untuned, $BEST], settings: [reader.url=$OTHER_URL]}"
  "$VENV/bin/python" -m src_data.radio.run "$1" "$CONFIGS/data$SUFFIX.yaml" run_name="$NAME" runs_dir="$RUNS_DIR" \
    n_samples="$N_SAMPLES" questions="[$(as_sources "$TRAIN")]" comparison.datasets="$(dev_sets)" \
    comparison.read="$N_READ" comparison.readers="[$others]" candidates.retriever="$SEARCH" mmlu.path="$MMLU" \
    mmlu.n="$N_DEV" "${@:2}"
}

# tune LABEL BLEND SETTING…: a reranker of the groups of a blend.
tune() {
  local groups=$RUN/groups/$2 validation=""
  [[ -s $groups.train.jsonl ]] || { say "note: the blend $2 has no groups, so there is no reranker $1"; return 0; }
  [[ ! -s $groups.validation.jsonl ]] || validation="{path: $groups.validation.jsonl}"
  bash scripts/train.sh --rerank "$CONFIGS/finetune$SUFFIX.yaml" run_name="$NAME-$1" runs_dir="$RUNS_DIR" \
    train="[{path: $groups.train.jsonl}]" validation="[$validation]" "${@:3}"
}

# reader FILE SETTING…: the runs of a reader's evaluation.
reader() { "$VENV/bin/python" -m src_eval.run "$1" servers="$(joined "${AGENT[@]/#/agent.}" "${@:2}")"; }

# embedded_encoders: on a laptop the encoders of scores and of the untuned reranker. Sets VECTORS, the index whose vectors
# the scores take where it is of their encoder.
embedded_encoders() {
  VECTORS=$INDEX_DIR
  (( EMBEDDED )) || return 0
  embedded_search
  embedded_weights e5-small minilm
  VECTORS=${INDEX_DIR:-indexes/sample_world}
}

# serve_model: the embedded model alone, which writes rationales.
serve_model() {
  bash scripts/setup.sh requirements-local.txt
  export REARAG_ADAPTER=
  start_embedded 0 1
}

# serve_retriever: the retriever alone.
serve_retriever() {
  if (( EMBEDDED )); then
    bash scripts/setup.sh requirements-local.txt
    start_embedded 1 0
  else
    bash deploy/deploy_rag_engine.sh retriever
  fi
}

# serve_reranked: the retriever alone, with the reranker of BEST.
serve_reranked() {
  [[ -d $RERANKER_OF_BEST ]] || die "there is no reranker $RERANKER_OF_BEST; run the stage finetune first, or set BEST" \
    "to another blend than '$BEST'"
  release
  if (( EMBEDDED )); then embedded_search; trap 'release_all $$' EXIT; fi
  RETRIEVER_CONFIG=$CONFIGS/rerank$SUFFIX.yaml RERANKER=$RERANKER_OF_BEST ANSWER_LLM_PORT=$REARAG_PORT \
    bash deploy/deploy_rag_engine.sh
}

# in_the_loop none|tuned: the lines of multihop.yaml with the retriever's own ranking, or reranked.
in_the_loop() {
  local profile=${LOOP_PROFILE:-$(per_profile gpu small)} reranked=()
  [[ $1 == none ]] || reranked=(RERANKER="$RERANKER_OF_BEST" RETRIEVER_CONFIG="$CONFIGS/rerank$SUFFIX.yaml")
  [[ $PROFILE != gpu ]] || { bash deploy/stop.sh retriever; env "${reranked[@]}" bash deploy/deploy_rag_engine.sh; }
  env -u ANSWER_MODEL_DIR -u ANSWER_LLM_PORT PROFILE="$profile" "${reranked[@]}" bash scripts/evaluate.sh \
    "$CONFIGS/multihop.yaml" name="$NAME-multihop" runs_dir="$RUNS_DIR" profile="$1" datasets="$(dev_sets)"
}
