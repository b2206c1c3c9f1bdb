# shellcheck shell=bash
# What CORPUS names becomes a corpus file that can be indexed. Sourced by deploy/local.sh, never run.

# short_rows: CORPUS names a file whose long rows are cut into passages, where it has any.
short_rows() {
  local given=$INDEX_DIR before=$CORPUS name
  name=$(basename "${CORPUS%.*}")-$(realpath "$CORPUS" | cksum | cut -d' ' -f1)
  CORPUS=$("$VENV/bin/python" -m src_data.documents.long_rows corpus="$CORPUS" out="indexes/documents/$name.jsonl")
  [[ $given != "$(index_folder "$before")" ]] || INDEX_DIR=$(index_folder "$CORPUS")
  export CORPUS INDEX_DIR
}

# documents_corpus: the folder of documents in CORPUS becomes a corpus file, which CORPUS then names. A folder that was
# not edited gives the same file, and so the same index.
documents_corpus() {
  local folder=$CORPUS name file given=$INDEX_DIR
  name=$(basename "$(cd "$folder" && pwd)")
  file=indexes/documents/$name-$(printf '%s' "$(cd "$folder" && pwd)" | cksum | cut -d' ' -f1).jsonl
  "$VENV/bin/python" -m src_data.documents.corpus documents="$folder" corpus="$file"
  [[ $given != "$(index_folder "$folder")" ]] || INDEX_DIR=$(index_folder "$file")
  export CORPUS=$file INDEX_DIR
}
