#!/usr/bin/env bash
# A run as one HTML page that needs no server: scores, plots, every trajectory with its passages.
#   bash scripts/report.sh runs/A                        writes runs/A/report.html
#   bash scripts/report.sh runs/A runs/B --out ab.html   two runs side by side, question by question
# A link to one question is the page with #ID at its end. On the page, j and k go to the next and previous question, / searches.
# A run is scored first where it is not yet. Knobs: VENV.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail


HOME_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$HOME_DIR/.venv}
# shellcheck source=deploy/say.sh
source "$HOME_DIR/deploy/say.sh"
case ${1:-} in -h | --help) help_of "${BASH_SOURCE[0]}"; exit ;; "") help_of "${BASH_SOURCE[0]}" >&2; exit 2 ;; esac
check_knobs scripts/report.sh
[[ -x $VENV/bin/python ]] || die "there is no Python environment in $VENV; run bash scripts/setup.sh requirements-local.txt first"

# File names are as seen from the caller's folder, hence no cd; a run that is not there may be one of the repository.
arguments=()
for argument in "$@"; do
  if [[ $argument == [!/-]* && ! -e $argument && -d $HOME_DIR/$argument ]]; then argument=$HOME_DIR/$argument; fi
  arguments+=("$argument")
done
PYTHONPATH=$HOME_DIR exec "$VENV/bin/python" -m src_eval.report "${arguments[@]}"
