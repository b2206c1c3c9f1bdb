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
