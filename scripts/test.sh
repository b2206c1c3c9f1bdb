#!/usr/bin/env bash
# Lint, types and all tests, in an environment of its own: bash scripts/test.sh
#   SLOW=0 bash scripts/test.sh                        without the embedded models, and without training
#   bash scripts/test.sh tests/test_x.py -k word       only these tests, no linters; arguments go to pytest
# VENV=… uses another environment; the tests of training have one beside it (VENV_TRAIN=…), with torch. The last line is pytest's own summary.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export VENV=${VENV:-.venv-test}
VENV_TRAIN=${VENV_TRAIN:-.venv-test-train}
SLOW=${SLOW:-1}

# stage TITLE COMMAND...: one line when it begins, one with the seconds when it is done; its failure ends the script.
stage() {
  local title=$1 begun=$SECONDS status=0; shift
  printf '== %s\n' "$title"
  "$@" || status=$?
  (( status == 0 )) || { printf 'error: %s failed after %d s\n' "$title" $((SECONDS - begun)) >&2; exit "$status"; }
  printf '== %s: ok in %d s\n' "$title" $((SECONDS - begun))
}

# tests TITLE ARGUMENTS...: pytest prints the time itself, in the summary line that has to come last.
tests() {
  printf '== %s\n' "$1"; shift
  "$VENV/bin/python" -m pytest "$@"
}

has_slow_tests() { # pytest ends with 5 when nothing was selected; any other trouble is shown by the run itself
  local status=0
  "$VENV/bin/python" -m pytest -m slow --collect-only -qq > /dev/null 2>&1 || status=$?
  (( status != 5 ))
}

shell_lint() {
  local -a scripts
  mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
  "$VENV/bin/shellcheck" -x "${scripts[@]}"
}

training_environment() { # where torch cannot be had, the rest is still worth testing
  local file
  for file in requirements-train.txt requirements-dev.txt; do
    VENV=$VENV_TRAIN bash scripts/setup.sh "$file" || return
  done
}

stage environment bash scripts/setup.sh requirements-dev.txt
if (( $# )); then tests pytest "$@"; exit; fi
stage "ruff check" "$VENV/bin/ruff" check
stage "ruff format" "$VENV/bin/ruff" format --check
stage mypy "$VENV/bin/mypy"
stage "import contracts" "$VENV/bin/lint-imports" --no-cache
stage shellcheck shell_lint
if [[ $SLOW == 0 ]]; then slow=0
elif has_slow_tests; then slow=1
else slow=0; printf '== no slow tests here\n'; fi
tests "pytest, usual suite"
if [[ $SLOW != 0 ]]; then
  if training_environment; then
    VENV=$VENV_TRAIN tests "pytest, training" -m "slow or not slow" tests/test_train_*.py tests/test_models_convert_*.py tests/test_retrieval_rerankers.py
  else printf '== no training tests: %s could not be made\n' "$VENV_TRAIN"; fi
fi
if (( slow )); then tests "pytest, slow: the embedded models" -m slow; fi
