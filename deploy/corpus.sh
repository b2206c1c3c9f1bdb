# shellcheck shell=bash
# CORPUS as a file that can be indexed, and which questions it answers. Sourced by deploy/local.sh, never run.

# short_rows: CORPUS names a file whose long rows are cut into passages, where it has any.
short_rows() {
  local given=$INDEX_DIR before=$CORPUS name
  name=$(basename "${CORPUS%.*}")-$(realpath "$CORPUS" | cksum | cut -d' ' -f1)
  CORPUS=$("$VENV/bin/python" -m src_data.documents.long_rows corpus="$CORPUS" out="indexes/documents/$name.jsonl")
  [[ $given != "$(index_folder "$before")" ]] || INDEX_DIR=$(index_folder "$CORPUS")
  export CORPUS INDEX_DIR
}

# is_documents PATH: a folder, or one document by its ending (src_data/documents/reading.py reads these).
is_documents() { [[ -d $1 || ${1,,} =~ \.(md|markdown|txt|html|htm|pdf|docx)$ ]]; }

# documents_corpus: the document or the folder of documents in CORPUS becomes a corpus file, which CORPUS then names. What
# was not edited gives the same file, and so the same index.
documents_corpus() {
  local given=$INDEX_DIR documents=$CORPUS whole file
  whole=$(realpath "$documents")
  file=indexes/documents/$(basename "$whole")-$(printf '%s' "$whole" | cksum | cut -d' ' -f1).jsonl
  "$VENV/bin/python" -m src_data.documents.corpus documents="$documents" corpus="$file"
  [[ $given != "$(index_folder "$documents")" ]] || INDEX_DIR=$(index_folder "$file")
  export CORPUS=$file INDEX_DIR
}

# lacks_questions CONFIG KEY…: CORPUS is a corpus of the caller's, the questions of CONFIG are those of the sample world,
# whose passages it does not hold, and none of the settings KEY names others.
lacks_questions() {
  local config=$1 key; shift
  [[ -n ${CORPUS:-} && ! $CORPUS -ef data/sample_world/corpus.jsonl ]] || return 1
  # shellcheck disable=SC2154 # the settings that read_arguments of deploy/local.sh has found
  for key in "$@"; do [[ " ${settings[*]}" != *" $key="* ]] || return 1; done
  grep -q data/sample_world/questions "$config" 2> /dev/null
}

# own_questions CONFIG HOW KEY…: such questions are refused. HOW says to a person how others are given.
own_questions() {
  local config=$1 how=$2; shift 2
  ! lacks_questions "$config" "$@" || die "CORPUS is $CORPUS, but the questions would be those of" \
    "the sample world, which it does not answer; give your own with $how"
}
