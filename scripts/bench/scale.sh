#!/usr/bin/env bash
# An index of 21,015,324 passages for real: made, built, served, measured.  bash scripts/bench/scale.sh [key=value …]
#   bash scripts/bench/scale.sh                                       the whole run; the same command resumes it
#   bash scripts/bench/scale.sh rows=200000 folder=indexes/scale_200k seconds=5
#   STAGES="room corpus" bash scripts/bench/scale.sh                  some stages, in this order
# Knobs: STAGES, VENV. Settings: key=value, see ScaleConfig in scripts/bench/scale_config.py.
# Figures: figures.json and table.md in the folder; docs/scale.md says what they mean.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/bench/scale.sh; exit ;; esac
check_knobs scripts/bench/scale.sh
no_options scripts/bench/scale.sh "$@"
VENV=${VENV:-.venv} STAGES=${STAGES:-room corpus vectors build recall serve limited words}
[[ -x $VENV/bin/python ]] || die "there is no Python environment in $VENV; run bash scripts/setup.sh requirements-local.txt first"

folder=indexes/scale
for setting in "$@"; do [[ $setting != folder=* ]] || folder=${setting#folder=}; done
for stage in $STAGES; do
  "$VENV/bin/python" scripts/bench/scale.py "$stage" "$@"
done
"$VENV/bin/python" scripts/bench/scale_table.py "$folder"
