# shellcheck shell=bash disable=SC2034
# Which profile runs: the GPU node's servers, or the embedded ones with a model that was trained here or an untrained one.
# Sourced by deploy/local.sh, never run.
# trained MODEL: whether it is a folder that scripts/train.sh wrote.
trained() { [[ -f ${1%/}/training.json ]]; }

# trained_folder: what the agent serves, where training left a record of its prompt; the run then asks it in the same way.
trained_folder() {
  local folder=${REARAG_ADAPTER:-${MODEL:-${REARAG_MODEL_DIR:-}}}
  if trained "${folder%.gguf}"; then printf '%s' "${folder%.gguf}"; fi
}

# in_method PATTERN: the module of METHOD has such a line.
in_method() {
  local file=${METHOD:-}
  [[ $file == *.py ]] || file=src_infer/methods/$file.py
  grep -qs "$1" "$file"
}

# laptop_profile: a model that was trained for the loop (by default the one that was trained here), unless another one is
# named without an adapter, or METHOD asks in a format of its own (FORMATS in its module), which the default does not write.
laptop_profile() {
  local model=${MODEL:-${REARAG_MODEL_DIR:-}} adapter=${ADAPTER:-${REARAG_ADAPTER:-}}
  if [[ -z $model$adapter ]] && in_method '^FORMATS'; then echo cpu; return; fi
  if [[ -z $model || -n $adapter ]] || trained "$model"; then echo small; else echo cpu; fi
}

# own_server: checks the knobs of a model server that is not ours. Keys stay in the environment.
own_server() {
  [[ $BASE_URL == http*://* ]] || die "BASE_URL is '$BASE_URL'; give the address of a model server, such as" \
    "http://127.0.0.1:11434/v1"
  [[ -z ${MODEL:-}${ADAPTER:-} ]] || die "MODEL and ADAPTER are for the embedded server; name the model of $BASE_URL with MODEL_NAME"
  export API_KEY=${API_KEY:-${OPENAI_API_KEY:-}} READER_API_KEY=${READER_API_KEY:-}
}

# choose_profile [WITHOUT_GPU]: PROFILE is server where BASE_URL names a model server, gpu where a GPU and vLLM are there,
# else WITHOUT_GPU (cpu). In cpu and small one llama.cpp server plays every role, unless ANSWER_LLM_PORT says otherwise;
# small serves the model that was trained here. Sets EMBEDDED to 1 where servers are this script's own, and LLM to 1 where
# the model's is one of them; AGENT and READER to the settings of the two model roles.
choose_profile() {
  BASE_URL=${BASE_URL:-${OPENAI_BASE_URL:-}} LLM=1
  if [[ -n $BASE_URL ]]; then PROFILE=${PROFILE:-server}; fi
  [[ -n $BASE_URL || -z ${MODEL_NAME:-} ]] || die "MODEL_NAME is for a server that BASE_URL names, and BASE_URL is not set;" \
    "set it, or name an embedded model with MODEL"
  if has nvidia-smi && has "${VLLM:-${VENV:-.venv}/bin/vllm}"; then PROFILE=${PROFILE:-gpu}; fi
  PROFILE=${PROFILE:-${1:-cpu}}
  case $PROFILE in
    gpu) EMBEDDED=0 ;;
    cpu) EMBEDDED=1 ;;
    server) EMBEDDED=1 LLM=0; own_server ;;
    small)
      EMBEDDED=1 MODEL=${MODEL:-${REARAG_MODEL_DIR:-qwen2.5-coder-0.5b}} ADAPTER=${ADAPTER:-${REARAG_ADAPTER:-}}
      if [[ $MODEL != */* && $MODEL != *.gguf ]]; then # a path is a whole model
        ADAPTER=${ADAPTER:-adapters/$MODEL}; export LLAMA_FLAGS=${LLAMA_FLAGS---merged iq4_nl} # '': file and adapter
      fi ;;
    *) die "there is no profile '$PROFILE'; set PROFILE to cpu, small, gpu or server" ;;
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
  (( LLM == 0 )) || different_ports REARAG ANSWER_LLM RETRIEVER
  if [[ $PROFILE == server ]]; then
    AGENT=(url="$BASE_URL" model="${MODEL_NAME:-}" engine=openai key_env=API_KEY)
    READER=("${AGENT[@]}")
    [[ -z ${READER_BASE_URL:-} ]] \
      || READER=(url="$READER_BASE_URL" model="${READER_MODEL_NAME:-}" engine=openai key_env=READER_API_KEY)
  else
    AGENT=(url="http://$REARAG_HOST:$REARAG_PORT/v1") READER=(url="http://$ANSWER_LLM_HOST:$ANSWER_LLM_PORT/v1")
  fi
  REARAG_OWNER="$$ $(birth $$)" # the commands of this script end with it, whatever ends it (src_core/lifetime.py)
  export REARAG_OWNER
}
