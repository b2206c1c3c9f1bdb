#!/usr/bin/env bash
# The virtual environment with one requirements file: bash scripts/setup.sh requirements-local.txt
# Does nothing when the environment already holds exactly that file. VENV=… chooses another folder.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=${VENV:-.venv}
REQUIREMENTS=${1:?which requirements file? e.g. bash scripts/setup.sh requirements-local.txt}
STAMP=$VENV/installed-$(basename "$REQUIREMENTS")
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

[[ -f $REQUIREMENTS ]] || die "no such requirements file: $REQUIREMENTS"
if cmp -s "$REQUIREMENTS" "$STAMP"; then exit 0; fi

find_python() {
  local name
  for name in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      command -v "$name"; return 0
    fi
  done
  return 1
}
if [[ ! -x $VENV/bin/python ]]; then
  PYTHON=$(find_python) || die "Python 3.11 or newer is needed ($(python3 --version 2>&1 || true)); install it, or name it with PYTHON=/path/to/python3.11"
  printf 'making the virtual environment %s with %s\n' "$VENV" "$("$PYTHON" --version)"
  "$PYTHON" -m venv "$VENV" || die "could not make $VENV; on Debian and Ubuntu: apt install python3-venv, then run this again"
fi
printf 'installing %s (once)\n' "$REQUIREMENTS"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$REQUIREMENTS" \
  || die "pip could not install $REQUIREMENTS; see the lines above, check the network and the disk, and run this again"
cp "$REQUIREMENTS" "$STAMP"
