#!/usr/bin/env bash
# Stands for $VENV/bin/python where infer.sh and deploy/*.sh use it: servers are fake, a run ends as FAKE_RUN says.
set -Eeuo pipefail
if [[ -n ${FAKE_LLM_DIES:-} && ${2:-} == src_models.llama_server || ${FAKE_DIES:-none} == "${2:-}" ]]; then
  export FAKE_DELAY=60 FAKE_DIE_AFTER=0.1
fi
if [[ ${*: -1} == --check ]]; then
  [[ -z ${REAL_CHECK:-} ]] || exec "$REAL_PYTHON" "$@"
  [[ ${2:-} != src_eval.run ]] || printf '%s\n' "${FAKE_CORPUS:-}" ""
  exit 0
fi
case ${2:-} in
  src_models.llama_server | src_retrieval.server | src_demo.server) exec "$REAL_PYTHON" "$FAKE_SERVER" "$@" ;;
  src_infer.run | src_data.run | src_data.ray_job | src_eval.run | src_data.deeprag.explore | src_train.run | src_train.rl | \
    src_data.radio.run | src_train.rerank | src_retrieval.ask | src_eval.rerankers | src_eval.mmlu)
    printf '%s\n' "$@" > "$FAKE_RUN_ARGUMENTS"
    printf '%s\n' "${*:2}" >> "$FAKE_RUN_ARGUMENTS.all"
    eval "${FAKE_RUN:-true}" ;;
  src_models.adapters | src_models.convert.to_gguf) exec "$REAL_PYTHON" "$@" ;;
  src_data.documents.long_rows) printf '%s\n' "${3#corpus=}" ;;
  src_models.fetch)
    [[ $3 != --known ]] || exec "$REAL_PYTHON" "$@"
    printf '%s\n' "${*:3}" >> "$FAKE_RUN_ARGUMENTS.fetched" ;;
  *) true ;;
esac
