# shellcheck shell=bash
# An OpenAI-compatible LLM server in the configured engine. Sourced, never run.
# shellcheck source=deploy/servers.sh
source deploy/servers.sh

# start_llm NAME HOST PORT MODEL GPUS MEMORY [ADAPTER]
start_llm() {
  local -a command lora=() extra
  SERVED_MODEL=$(basename "${4%/}" .gguf)
  case $ENGINE in
    vllm) vllm_command "$@" ;;
    llama.cpp) llama_command "$@" ;;
    *) die "ENGINE is '$ENGINE'; it must be vllm or llama.cpp" ;;
  esac
  start_server "$1" "$2" "$3" "${command[@]}" "${lora[@]}" "${extra[@]}"
}

vllm_command() {
  local words
  local -a gpus
  command -v "$VLLM" > /dev/null || die "$VLLM is not there; install the GPU node's packages with" \
    "'bash scripts/setup.sh requirements.txt', set VLLM to another vllm, or use ENGINE=llama.cpp without a GPU"
  IFS=, read -ra gpus <<< "$5"
  read -ra extra <<< "$VLLM_FLAGS"
  [[ " $VLLM_FLAGS" != *" --host"* ]] || die "VLLM_FLAGS has --host; set the address by REARAG_HOST and the like instead"
  command=(env "CUDA_VISIBLE_DEVICES=$5" "$VLLM" serve "$4" --host "$2" --port "$3" --enable-prefix-caching
    --tensor-parallel-size "${#gpus[@]}" --gpu-memory-utilization "$6" --max-model-len "$MAX_MODEL_LEN"
    --allowed-origins '[]') # vLLM's default lets every web page of a browser on this machine read its replies
  if [[ -n ${7:-} ]]; then
    need_python
    words=$("$VENV/bin/python" -m src_models.adapters "$4" "$7") # does it fit? then vLLM's flags for it
    mapfile -t lora <<< "$words"
  fi
  [[ $TRUST_REMOTE_CODE != 1 ]] || command+=(--trust-remote-code)
  [[ -z $REARAG_TOKEN ]] || export VLLM_API_KEY=$REARAG_TOKEN # not a flag: other users see the flags
}

llama_command() {
  need_python
  read -ra extra <<< "$LLAMA_FLAGS"
  as_gguf "$4"
  command=("$VENV/bin/python" -m src_models.llama_server --model "$GGUF" --host "$2" --port "$3"
    --parallel "$LLAMA_PARALLEL")
  if [[ -n ${7:-} ]]; then
    as_gguf "$7" --like "$GGUF"
    lora=(--lora "$GGUF")
  fi
  [[ -z $REARAG_TOKEN ]] || command+=(--api-key-env REARAG_TOKEN)
  [[ $ALLOW_WITHOUT_TOKEN != 1 ]] || command+=(--allow-without-token)
  [[ -z $HOST_NAMES ]] || command+=(--host-names "$HOST_NAMES")
}

# as_gguf MODEL_OR_ADAPTER [--like BASE]: sets GGUF. A folder that training wrote gets its GGUF form beside it, once;
# everything else stays as it is.
as_gguf() {
  local file=${1%/}.gguf weights
  GGUF=$1
  [[ -f $1/config.json || -f $1/adapter_config.json ]] || return 0
  for weights in "$1"/*.safetensors; do
    if [[ ! $file -nt $weights ]]; then rm -f "$file"; fi
  done
  [[ -f $file ]] || "$VENV/bin/python" -m src_models.convert.to_gguf "$1" "$file" "${@:2}"
  GGUF=$file
}
