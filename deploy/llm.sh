# shellcheck shell=bash
# An OpenAI-compatible LLM server in the configured engine. Sourced, never run.
# shellcheck source=deploy/servers.sh
source deploy/servers.sh

# start_llm NAME HOST PORT MODEL GPUS MEMORY
start_llm() {
  local -a command extra
  case $ENGINE in
    vllm) vllm_command "$@" ;;
    llama.cpp) llama_command "$@" ;;
    *) die "ENGINE is '$ENGINE'; it must be vllm or llama.cpp" ;;
  esac
  start_server "$1" "$2" "$3" "${command[@]}" "${extra[@]}"
}

vllm_command() {
  local -a gpus
  command -v "$VLLM" > /dev/null || die "$VLLM is not there; install the GPU node's packages with" \
    "'bash scripts/setup.sh requirements.txt', set VLLM to another vllm, or use ENGINE=llama.cpp without a GPU"
  IFS=, read -ra gpus <<< "$5"
  read -ra extra <<< "$VLLM_FLAGS"
  command=(env "CUDA_VISIBLE_DEVICES=$5" "$VLLM" serve "$4" --host "$2" --port "$3" --enable-prefix-caching
    --tensor-parallel-size "${#gpus[@]}" --gpu-memory-utilization "$6" --max-model-len "$MAX_MODEL_LEN")
  [[ $TRUST_REMOTE_CODE != 1 ]] || command+=(--trust-remote-code)
  [[ -z $REARAG_TOKEN ]] || export VLLM_API_KEY=$REARAG_TOKEN # not a flag: other users see the flags
}

llama_command() {
  need_python
  read -ra extra <<< "$LLAMA_FLAGS"
  command=("$VENV/bin/python" -m src_models.llama_server --model "$4" --host "$2" --port "$3"
    --parallel "$LLAMA_PARALLEL")
  [[ -z $REARAG_TOKEN ]] || command+=(--api-key-env REARAG_TOKEN)
}
