#!/usr/bin/env bash
# The embedded engine built for this processor, in place of the wheel:  bash scripts/native_engine.sh
#   bash scripts/native_engine.sh undo      the wheel again
# The wheel of xllamacpp knows AVX2 at most. The same version from its source package uses what the processor has: with AVX-512 (VNNI,
# bf16) it takes about 0.75 of the wheel's CPU time (docs/LOG.md); on AVX2 alone it was not measured. Needs a C++
# compiler and cmake, and ten minutes on two cores. Without TLS and without llguidance, neither of which this project uses.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/native_engine.sh; exit ;; esac
check_knobs scripts/native_engine.sh
no_options scripts/native_engine.sh "$@"
[[ $* =~ ^(undo)?$ ]] || die "cannot read '$*'; write 'undo' for the wheel, or nothing"
export VENV=${VENV:-.venv}
bash scripts/setup.sh requirements-local.txt
version=$("$VENV/bin/python" -c 'from importlib.metadata import version; print(version("xllamacpp"))')
how=(--only-binary xllamacpp)
if (( $# == 0 )); then
  for tool in cmake c++; do
    command -v "$tool" > /dev/null || die "$tool is needed; install it, on Debian and Ubuntu by: apt install cmake g++"
  done
  say "building xllamacpp $version for this processor: about ten minutes on two cores"
  how=(--no-binary xllamacpp)
  export CMAKE_ARGS="-DLLAMA_LLGUIDANCE=OFF -DLLAMA_BUILD_BORINGSSL=OFF -DLLAMA_OPENSSL=OFF ${CMAKE_ARGS:-}"
fi
mkdir -p logs
"$VENV/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --no-deps --force-reinstall "${how[@]}" \
  "xllamacpp==$version" > logs/native_engine.log 2>&1 \
  || { last_lines logs/native_engine.log >&2; die "it could not be installed and nothing has changed; correct what the lines above name, then run this again"; }
"$VENV/bin/python" -c 'import xllamacpp; print(xllamacpp.get_system_info())'
