# shellcheck shell=bash disable=SC2034
# Settings of all servers. Edit the defaults here; the environment overrides each of them (REARAG_PORT=8000 bash …).
# Relative paths start at the repository root.
# ENGINE: vllm (GPU node) or llama.cpp (the embedded CPU server; infer.sh picks it when there is no GPU).
ENGINE=${ENGINE:-vllm}
VENV=${VENV:-.venv}
VLLM=${VLLM:-$VENV/bin/vllm}

# Models: a hub name, a local folder, or (llama.cpp) a name from configs/models.yaml, a GGUF file or a trained folder.
REARAG_MODEL_DIR=${REARAG_MODEL_DIR:-THU-KEG/ReaRAG-9B}
ANSWER_MODEL_DIR=${ANSWER_MODEL_DIR:-zai-org/glm-4-9b-chat-hf}
TEACHER_MODEL_DIR=${TEACHER_MODEL_DIR:-Qwen/QwQ-32B}
# A LoRA adapter for the ReaRAG model: the folder that training wrote, or (llama.cpp) a GGUF adapter. Empty: none.
REARAG_ADAPTER=${REARAG_ADAPTER:-}
RETRIEVER_CONFIG=${RETRIEVER_CONFIG:-deploy/retriever_config.yaml}
# Another corpus and its index than the config's (infer.sh builds the index where it runs the servers itself).
# shellcheck source=deploy/index_folder.sh
source deploy/index_folder.sh
CORPUS=${CORPUS:-}
INDEX_DIR=${INDEX_DIR:-$(index_folder "$CORPUS")}

# Everything on one GPU: ONE_GPU=0 bash deploy/deploy_rag_engine.sh; ONE_GPU=0 bash deploy/deploy.sh (or put the 0 here).
# Both 9B models in bf16 need 80 GB that way; the teacher takes the whole GPU, so start it alone. It only changes
# the defaults of the next block.
ONE_GPU=${ONE_GPU:-}

# GPU indices, comma separated; the number of indices is the tensor-parallel size of an LLM. MEMORY is the share of
# each of its GPUs that vLLM reserves; shares on one GPU add up to less than 1.
GPU_FOR_REARAG=${GPU_FOR_REARAG:-${ONE_GPU:-0}}
GPU_FOR_RETRIEVER=${GPU_FOR_RETRIEVER:-${ONE_GPU:-0,2}}
GPU_FOR_ANSWER_LLM=${GPU_FOR_ANSWER_LLM:-${ONE_GPU:-3}}
GPU_FOR_TEACHER=${GPU_FOR_TEACHER:-${ONE_GPU:-4,5}}
MEMORY_FOR_REARAG=${MEMORY_FOR_REARAG:-$([[ -n $ONE_GPU ]] && echo 0.35 || echo 0.6)}
MEMORY_FOR_ANSWER_LLM=${MEMORY_FOR_ANSWER_LLM:-$([[ -n $ONE_GPU ]] && echo 0.35 || echo 0.6)}
MEMORY_FOR_TEACHER=${MEMORY_FOR_TEACHER:-0.8}

# Loopback only, unless you change it. REARAG_TOKEN is the key that our servers require and that is sent to yours.
# Without one, a server on another address is refused, unless ALLOW_WITHOUT_TOKEN=1. HOST_NAMES are further names by
# which the retriever and the live page may be asked (comma separated); their address and the machine's name need none.
REARAG_TOKEN=${REARAG_TOKEN:-}
ALLOW_WITHOUT_TOKEN=${ALLOW_WITHOUT_TOKEN:-0}
HOST_NAMES=${HOST_NAMES:-}
REARAG_HOST=${REARAG_HOST:-127.0.0.1}
RETRIEVER_HOST=${RETRIEVER_HOST:-127.0.0.1}
ANSWER_LLM_HOST=${ANSWER_LLM_HOST:-127.0.0.1}
TEACHER_HOST=${TEACHER_HOST:-127.0.0.1}
REARAG_PORT=${REARAG_PORT:-9891}
RETRIEVER_PORT=${RETRIEVER_PORT:-9892}
ANSWER_LLM_PORT=${ANSWER_LLM_PORT:-9893}
TEACHER_PORT=${TEACHER_PORT:-9894}
DEMO_HOST=${DEMO_HOST:-127.0.0.1}
DEMO_PORT=${DEMO_PORT:-9895}

# Context length per sequence and further flags for `vllm serve` (as one string of words; they win over the rest).
MAX_MODEL_LEN=${MAX_MODEL_LEN:-8192}
VLLM_FLAGS=${VLLM_FLAGS:-}
# Custom model code from the hub runs only when you set this to 1; a model that needs it says so in its log.
TRUST_REMOTE_CODE=${TRUST_REMOTE_CODE:-0}
# llama.cpp: questions in flight share one server; threads default to the physical cores.
LLAMA_PARALLEL=${LLAMA_PARALLEL:-4}
LLAMA_FLAGS=${LLAMA_FLAGS:-}
# How long a server may take to become ready, and to stop before it is killed.
START_SECONDS=${START_SECONDS:-1800}
STOP_SECONDS=${STOP_SECONDS:-10}
# Records of what was started, and the logs.
STATE_DIR=${STATE_DIR:-deploy/state}
LOG_DIR=${LOG_DIR:-logs}
