#!/usr/bin/env bash
# Fetches models of configs/models.yaml into the cache folder: bash scripts/fetch_models.sh smollm2-135m minilm
# Without names: what `bash infer.sh` uses by default. --list shows all. REARAG_CACHE=… chooses another folder.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=${VENV:-.venv}
MODELS=${MODELS:-qwen2.5-coder-1.5b e5-small}

VENV=$VENV bash scripts/setup.sh requirements-local.txt

read -ra names <<< "$MODELS"
if (($# > 0)); then names=("$@"); fi
exec "$VENV/bin/python" -m src_models.fetch "${names[@]}"
