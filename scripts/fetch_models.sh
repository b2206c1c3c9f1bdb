#!/usr/bin/env bash
# Fetches models of configs/models.yaml into the cache folder: bash scripts/fetch_models.sh smollm2-135m minilm
# Without names: what `bash infer.sh` uses by default. --list shows all. REARAG_CACHE=… chooses another folder.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/fetch_models.sh; exit ;; esac
check_knobs scripts/fetch_models.sh
VENV=${VENV:-.venv}
MODELS=${MODELS:-qwen2.5-coder-1.5b e5-small}

VENV=$VENV bash scripts/setup.sh requirements-local.txt

read -ra names <<< "$MODELS"
if (($# > 0)); then names=("$@"); fi
exec "$VENV/bin/python" -m src_models.fetch "${names[@]}"
