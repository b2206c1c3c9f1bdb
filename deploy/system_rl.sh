# shellcheck shell=bash disable=SC2153
# Reinforcement learning as a stage of a whole system (scripts/r3rag.sh). Sourced after deploy/systems.sh, never run.

# rl FROM SETTING…: reinforcement learning that starts from the weights of stage FROM, on the questions of TRAIN. The embedded
# model server is the run's own, and only the retriever is started here; on a GPU node vLLM serves the weights of FROM and
# takes adapters from the run, and the last one is merged into a model.
rl() {
  local run=$RUNS_DIR/$NAME-train-rl start from
  from=$(weights "$1"); shift
  release
  if (( EMBEDDED )); then
    start=("learner.model=$MODEL" "learner.lora.start_from=$from")
    start_embedded 1 0
  else
    start=("learner.model=$from" learner.lora.start_from=)
    bash deploy/deploy_rag_engine.sh
    REARAG_MODEL_DIR=$from VLLM_ALLOW_RUNTIME_LORA_UPDATING=True VLLM_FLAGS="$VLLM_FLAGS --enable-lora --max-lora-rank 64" \
      bash deploy/deploy.sh
  fi
  bash scripts/rl.sh "$CONFIGS/rl$SUFFIX.yaml" run_name="$NAME-train-rl" runs_dir="$RUNS_DIR" "${start[@]}" \
    "questions=[$(as_sources "$TRAIN")]" runtime.retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT" "$@"
  (( EMBEDDED )) || [[ ! -d $run/adapter || -d $run/model ]] \
    || "${VENV_TRAIN:-.venv-train}/bin/python" -m src_models.convert.merge "$run/adapter" "$from" "$run/model"
}
