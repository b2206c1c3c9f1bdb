#!/usr/bin/env bash
# The RAG engine, retriever on port 9892 and answer LLM on port 9893: bash deploy/deploy_rag_engine.sh
#   bash deploy/deploy_rag_engine.sh retriever     the retriever alone
# RERANKER=FOLDER adds a cross-encoder (see configs/retriever.yaml).
# An answer LLM on the reasoning model's own address means that one server plays both roles.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/llm.sh
case ${1:-} in -h | --help) help_of deploy/deploy_rag_engine.sh; exit ;; esac
check_knobs deploy/deploy_rag_engine.sh
no_options deploy/deploy_rag_engine.sh "$@"
[[ $* =~ ^(retriever)?$ ]] || die "cannot read '$*'; name 'retriever' for the retriever alone, or nothing"
(( $# )) || different_ports REARAG ANSWER_LLM RETRIEVER
need_python
start_server retriever "$RETRIEVER_HOST" "$RETRIEVER_PORT" env "CUDA_VISIBLE_DEVICES=$GPU_FOR_RETRIEVER" \
  "$VENV/bin/python" -m src_retrieval.server "$RETRIEVER_CONFIG" host="$RETRIEVER_HOST" port="$RETRIEVER_PORT" \
  ${CORPUS:+corpus_path="$CORPUS"} ${INDEX_DIR:+index_path="$INDEX_DIR"} \
  ${RERANKER:+rerank.model="$RERANKER"} "${open[@]}"
(( $# == 0 )) || exit 0
[[ $ANSWER_LLM_HOST:$ANSWER_LLM_PORT == "$REARAG_HOST:$REARAG_PORT" ]] || start_llm answer_llm \
  "$ANSWER_LLM_HOST" "$ANSWER_LLM_PORT" "$ANSWER_MODEL_DIR" "$GPU_FOR_ANSWER_LLM" "$MEMORY_FOR_ANSWER_LLM"
