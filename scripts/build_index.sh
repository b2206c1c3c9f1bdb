#!/usr/bin/env bash
# Build a search index over a corpus. The same command resumes an interrupted build.
#   bash scripts/build_index.sh                                      what configs/index.yaml says
#   bash scripts/build_index.sh corpus=data/sample_world/corpus.jsonl index_dir=indexes/mine type=bm25
#   bash scripts/build_index.sh configs/index_wiki18.yaml index_dir=/data/wiki18
# Knobs: VENV. Settings: key=value, see configs/index.yaml.
# A relative path starts in the caller's folder.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
source deploy/caller.sh
case ${1:-} in -h | --help) help_of scripts/build_index.sh; exit ;; esac
check_knobs scripts/build_index.sh
no_options scripts/build_index.sh "$@"

VENV=${VENV:-.venv}
config=configs/index.yaml
if [[ $# -gt 0 && $1 != *=* ]]; then
  config=$(from_caller "$1")
  shift
fi
settings=()
for argument in "$@"; do settings+=("$(setting_from_caller "$argument")"); done
[[ -x $VENV/bin/python ]] || die "there is no Python environment in $VENV; run bash scripts/setup.sh requirements-local.txt first"

exec "$VENV/bin/python" -m src_retrieval.build "$config" "${settings[@]}"
