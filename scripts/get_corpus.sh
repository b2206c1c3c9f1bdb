#!/usr/bin/env bash
# A ready corpus for an index: bash scripts/get_corpus.sh wiki18 | psgs_w100 | hotpotqa | beir:NAME
#   MIRROR=http://files.local/corpora bash scripts/get_corpus.sh beir:scifact     the file scifact.zip below that address
# The file is downloaded from its publisher (configs/corpora.yaml) or from MIRROR into data/corpora/NAME, or taken from
# there where a person has put it; an interrupted download is resumed; size, digest and number of passages are compared
# with what is published, and what was seen is written to source.json. Then: bash scripts/build_index.sh corpus=…
# Knobs: MIRROR, VENV. Settings: folder=… (default data/corpora/NAME), tries=5, timeout=60 (seconds without a byte).
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/get_corpus.sh; exit ;; esac
check_knobs scripts/get_corpus.sh
no_options scripts/get_corpus.sh "$@"
(($# > 0)) || { help_of scripts/get_corpus.sh >&2; exit 2; }
VENV=${VENV:-.venv} MIRROR=${MIRROR:-}
[[ -x $VENV/bin/python ]] || die "there is no Python environment in $VENV; run bash scripts/setup.sh requirements-local.txt first"

exec "$VENV/bin/python" -m src_retrieval.get_corpus "$@" ${MIRROR:+mirror="$MIRROR"}
