# shellcheck shell=bash
# Which profile runs: the GPU node's servers, or the embedded ones with a model that was trained here or an untrained one.
# Sourced by deploy/local.sh, never run.
# trained MODEL: whether it is a folder that scripts/train.sh wrote.
trained() { [[ -f ${1%/}/training.json ]]; }

# trained_folder: what the agent serves, where training left a record of its prompt; the run then asks it in the same way.
trained_folder() {
  local folder=${REARAG_ADAPTER:-${MODEL:-${REARAG_MODEL_DIR:-}}}
  if trained "${folder%.gguf}"; then printf '%s' "${folder%.gguf}"; fi
}

# laptop_profile: a model that was trained for the loop (by default the one that was trained here), unless another one is
# named without an adapter.
laptop_profile() {
  local model=${MODEL:-${REARAG_MODEL_DIR:-}}
  if [[ -z $model || -n ${ADAPTER:-${REARAG_ADAPTER:-}} ]] || trained "$model"; then echo small; else echo cpu; fi
}

# choose_profile [WITHOUT_GPU]: PROFILE is gpu where a GPU and vLLM are there, else WITHOUT_GPU (cpu). In the others one
# llama.cpp server plays every role, unless ANSWER_LLM_PORT says otherwise; small serves the model that was trained here.
# Sets EMBEDDED to 1 where the servers are this script's own.
choose_profile() {
  if has nvidia-smi && has "${VLLM:-${VENV:-.venv}/bin/vllm}"; then PROFILE=${PROFILE:-gpu}; fi
  PROFILE=${PROFILE:-${1:-cpu}}
  case $PROFILE in
    gpu) EMBEDDED=0 ;;
    cpu) EMBEDDED=1 ;;
    small)
      EMBEDDED=1 MODEL=${MODEL:-${REARAG_MODEL_DIR:-qwen2.5-coder-0.5b}} ADAPTER=${ADAPTER:-${REARAG_ADAPTER:-}}
      [[ $MODEL == */* || $MODEL == *.gguf ]] || ADAPTER=${ADAPTER:-adapters/$MODEL} ;; # a path is a whole model
    *) die "there is no profile '$PROFILE'; set PROFILE to cpu, small or gpu" ;;
  esac
  export REARAG_ADAPTER=${ADAPTER:-${REARAG_ADAPTER:-}}
  [[ -z $REARAG_ADAPTER || -e $REARAG_ADAPTER ]] || die "there is no adapter $REARAG_ADAPTER; give the folder that" \
    "training wrote, or (without a GPU) a GGUF adapter"
  if (( EMBEDDED )); then
    export ENGINE=llama.cpp OWNER_PID=$$ REARAG_MODEL_DIR=${MODEL:-${REARAG_MODEL_DIR:-qwen2.5-coder-1.5b}}
    export ANSWER_MODEL_DIR=${ANSWER_MODEL_DIR:-$REARAG_MODEL_DIR}
    export ANSWER_LLM_PORT=${ANSWER_LLM_PORT:-${REARAG_PORT:-9891}}
    export ANSWER_LLM_HOST=${ANSWER_LLM_HOST:-${REARAG_HOST:-127.0.0.1}}
    export RETRIEVER_CONFIG=${RETRIEVER_CONFIG:-configs/retriever.yaml}
  fi
  source deploy/users.sh
  REARAG_OWNER="$$ $(birth $$)" # the commands of this script end with it, whatever ends it (src_core/lifetime.py)
  export REARAG_OWNER
}
