#!/usr/bin/env bash
# Look at training data: one conversation in colour, or a page of many.
#   bash scripts/view_data.sh runs/data                                the first kept chain of a run
#   bash scripts/view_data.sh runs/data reason=unsupported n=5 seed=1  five refused ones, drawn at random
#   bash scripts/view_data.sh runs/data html=runs/data/chains.html     up to 1,000 on one page that needs no server
#   bash scripts/view_data.sh conversations.json text="Who composed"   any conversation file, also published ones
# Knobs: VENV. Settings: id text reason (kept, or one of the yield table) source teacher n seed html title.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
source deploy/caller.sh

(( $# )) || { help_of scripts/view_data.sh >&2; exit 2; }
[[ " $* " == *" -h "* || " $* " == *" --help "* ]] || check_knobs scripts/view_data.sh
VENV=${VENV:-.venv}
arguments=()
for argument in "$@"; do
  case $argument in
    -h | --help) help_of scripts/view_data.sh; exit ;;
    *=*) arguments+=("$(setting_from_caller "$argument")") ;;
    *) arguments+=("$(from_caller "$argument")") ;;
  esac
done
[[ -x $VENV/bin/python ]] || die "there is no Python environment in $VENV; run bash scripts/setup.sh requirements-local.txt first"

exec "$VENV/bin/python" -m src_data.view "${arguments[@]}"
