#!/usr/bin/env bash
# Lint, types and all tests: bash scripts/test.sh
#   SLOW=0 bash scripts/test.sh                        without training, Ray and the embedded models
#   bash scripts/test.sh tests/test_x.py -k word       only these tests, no linters; arguments go to pytest
# Each stage of the tests has the environment that its tests need: VENV=… for most, VENV_TRAIN=… with torch, VENV_RAY=… with
# Ray. The last lines name every test that was skipped or that no stage ran, with the reason; the very last is the total.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/test.sh; exit ;; esac
check_knobs scripts/test.sh
export VENV=${VENV:-.venv-test}
VENV_TRAIN=${VENV_TRAIN:-.venv-test-train}
VENV_RAY=${VENV_RAY:-.venv-test-ray}
SLOW=${SLOW:-1}
REPORTS=.cache/test-stages/$$ # one folder per call: two calls at once do not mix
failed=0

# stage TITLE COMMAND...: one line when it begins, one with the seconds when it is done; its failure ends the script.
stage() {
  local title=$1 begun=$SECONDS status=0; shift
  printf '== %s\n' "$title"
  "$@" || status=$?
  (( status == 0 )) || { printf 'error: %s failed after %d s\n' "$title" $((SECONDS - begun)) >&2; exit "$status"; }
  printf '== %s: ok in %d s\n' "$title" $((SECONDS - begun))
}

# tests STAGE MARKERS: the next stages run after a failure too, so that one call shows all of them.
tests() {
  printf '== pytest, %s\n' "$1"
  "$VENV/bin/python" -m pytest -m "$2" --stage-report="$REPORTS/$1.jsonl" || failed=1
}

# environment FOLDER FILE...: where it cannot be made, its tests are listed as not run and the rest is still worth testing.
environment() {
  local folder=$1 file; shift
  for file in requirements-dev.txt "$@"; do
    VENV=$folder bash scripts/setup.sh "$file" || { printf '== %s could not be made\n' "$folder"; return 1; }
  done
}

shell_lint() {
  local -a scripts
  mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
  "$VENV/bin/shellcheck" -x "${scripts[@]}"
}

stage environment bash scripts/setup.sh requirements-dev.txt
if (( $# )); then exec "$VENV/bin/python" -m pytest "$@"; fi
stage "ruff check" "$VENV/bin/ruff" check
stage "ruff format" "$VENV/bin/ruff" format --check
stage mypy "$VENV/bin/mypy"
stage "import contracts" "$VENV/bin/lint-imports" --no-cache
stage shellcheck shell_lint

mkdir -p "$REPORTS"
trap 'rm -rf "$REPORTS"' EXIT
here="not gpu and not vllm"
tests usual "$here and not slow and not training and not ray"
if [[ $SLOW != 0 ]]; then
  if environment "$VENV_TRAIN" requirements-train.txt; then VENV=$VENV_TRAIN tests training "$here and training"; fi
  if environment "$VENV_RAY" requirements-ray.txt; then VENV=$VENV_RAY tests ray "$here and ray and not training"; fi
  tests slow "$here and slow and not training and not ray"
fi
if [[ -n ${REARAG_VLLM_URL:-} ]]; then tests vllm vllm; fi
"$VENV/bin/python" tests/helpers_stages.py "$REPORTS" "$SECONDS"
(( failed == 0 ))
