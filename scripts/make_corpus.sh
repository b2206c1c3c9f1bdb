#!/usr/bin/env bash
# One corpus for an index from the passages that come with question files (HotpotQA, MuSiQue, 2WikiMultihopQA, IIRC).
#   bash scripts/make_corpus.sh corpus=data/mine/corpus.jsonl hotpot_train_v1.1.json musique_ans_v1.0_train.jsonl
#   bash scripts/make_corpus.sh corpus=… 'sources=[{path: "hub:hotpotqa/hotpot_qa", subset: distractor, split: train}]'
#   bash scripts/make_corpus.sh corpus=data/mine/corpus.jsonl FOLDER [chunking.passage_chars=800]
# FOLDER, or one file, are documents (Markdown, text, HTML, DOCX, PDF), which are cut into passages at headings and sentences.
# Then: bash scripts/build_index.sh corpus=data/mine/corpus.jsonl index_dir=indexes/mine
# Knobs: VENV. Settings: key=value (corpus, sources, on_bad_row=fail|skip, overwrite); other arguments are files.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail


HOME_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$HOME_DIR/.venv}
# shellcheck source=deploy/say.sh
source "$HOME_DIR/deploy/say.sh"
# shellcheck source=deploy/corpus.sh
source "$HOME_DIR/deploy/corpus.sh"
case ${1:-} in -h | --help) help_of "${BASH_SOURCE[0]}"; exit ;; "") help_of "${BASH_SOURCE[0]}" >&2; exit 2 ;; esac
check_knobs scripts/make_corpus.sh
no_options scripts/make_corpus.sh "$@"
[[ -x $VENV/bin/python ]] || die "there is no Python environment in $VENV; run bash scripts/setup.sh requirements-local.txt first"

# File names are as seen from the caller's folder, hence no cd.
arguments=()
module=src_data.corpus_from
for argument in "$@"; do
  if [[ $argument != *=* ]] && is_documents "$argument"; then module=src_data.documents.corpus argument=documents=$argument; fi
  arguments+=("$argument")
done
PYTHONPATH=$HOME_DIR exec "$VENV/bin/python" -m "$module" "${arguments[@]}"
