#!/usr/bin/env bash
# The virtual environment with one requirements file: bash scripts/setup.sh requirements-local.txt
# Does nothing when the environment already holds exactly that file and those it includes. VENV=… chooses another
# folder, PYTHON=… the interpreter that makes it.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=${VENV:-.venv}
REQUIREMENTS=${1:-}
PROGRESS_SECONDS=${PROGRESS_SECONDS:-15} # between two lines where there is no terminal
source deploy/say.sh
source deploy/install.sh
case ${1:-} in -h | --help) help_of scripts/setup.sh; exit ;; esac
check_knobs scripts/setup.sh
no_options scripts/setup.sh "$@"
STAMP=$VENV/installed-$(basename "${REQUIREMENTS:-none}")

# contents FILE: its lines, and those of every file it includes with -r or -c.
# shellcheck disable=SC2094 # only reads
contents() {
  local line
  [[ -f $1 ]] || die "no such requirements file: $1; check the path"
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line"
    if [[ $line =~ ^(-r|-c|--requirement|--constraint)[[:space:]=]*([^[:space:]#]+) ]]; then
      contents "$(dirname "$1")/${BASH_REMATCH[2]}"
    fi
  done < "$1"
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; }

find_python() {
  local name
  if [[ -n ${PYTHON:-} ]]; then new_enough "$PYTHON" && printf '%s\n' "$PYTHON"; return; fi
  for name in python3.11 python3.12 python3.13 python3 python; do # the oldest first: all wheels exist for it
    if new_enough "$name"; then printf '%s\n' "$name"; return; fi
  done
  return 1
}

make_venv() {
  local python found
  found=$("${PYTHON:-python3}" --version 2>&1) || found="none was found"
  python=$(find_python) || die "Python 3.11 or newer is needed (${PYTHON:-python3}: $found); install it," \
    "or name it with PYTHON=/path/to/python3.11"
  say "making the virtual environment $VENV with $("$python" --version)"
  "$python" -m venv "$VENV" \
    || die "could not make $VENV; on Debian and Ubuntu: apt install python3-venv, then run this again"
}

[[ -n $REQUIREMENTS ]] || die "no requirements file is named; run e.g. bash scripts/setup.sh requirements-local.txt"
wanted=$(contents "$REQUIREMENTS")
if [[ -f $STAMP && $wanted == "$(< "$STAMP")" ]]; then exit 0; fi
# The GPU node's file holds all of the light one, with faiss-gpu in place of faiss-cpu: two cannot share a folder.
if [[ $REQUIREMENTS == requirements-local.txt && -f $VENV/installed-requirements.txt ]]; then exit 0; fi

mkdir -p .cache
exec 9> .cache/setup.lock
if command -v flock > /dev/null; then flock 9; fi # of two at once the second waits, then finds all in place
if [[ -f $STAMP && $wanted == "$(< "$STAMP")" ]]; then exit 0; fi
if ! "$VENV/bin/python" -m pip --version > /dev/null 2>&1; then make_venv; fi # also one that was left half made
new_enough "$VENV/bin/python" || die "$VENV holds $("$VENV/bin/python" --version), but 3.11 or newer is needed;" \
  "remove that folder or choose another with VENV=…"
rm -f "$STAMP"
[[ $PROGRESS_SECONDS =~ ^[1-9][0-9]{0,5}$ ]] || die "PROGRESS_SECONDS is '$PROGRESS_SECONDS'; give whole seconds, at least 1"
say "installing $REQUIREMENTS into $VENV (once): $(grep -c '^[A-Za-z]' <<< "$wanted") packages and what they need, $(size_of "$REQUIREMENTS")"
if [[ $REQUIREMENTS == requirements.txt ]]; then "$VENV/bin/python" -m pip uninstall --quiet --yes faiss-cpu; fi
log=.cache/$(basename "$REQUIREMENTS").log
pip_install "$REQUIREMENTS" "$log" || die "pip could not install $REQUIREMENTS; its last lines are above, all of them in $log;" \
  "check the network and the disk, and run this again"
printf '%s\n' "$wanted" > "$STAMP"
say "installed $REQUIREMENTS in $SECONDS s"
