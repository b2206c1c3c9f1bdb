# shellcheck shell=bash disable=SC2034
# The command that starts the live page's servers again, as the page was started. Sourced by deploy/deploy_demo.sh, never run.

# Knobs that say what is served, where and to whom. Keys and tokens are not among them: the page shows the command.
SERVED_KNOBS=(CORPUS INDEX_DIR INDEX_CONFIG RETRIEVER_CONFIG ENCODER RERANKER MODEL ADAPTER REARAG_MODEL_DIR REARAG_ADAPTER
  ANSWER_MODEL_DIR LLAMA_FLAGS LLAMA_PARALLEL {REARAG,ANSWER_LLM,RETRIEVER,DEMO}_{HOST,PORT} HOST_NAMES ALLOW_WITHOUT_TOKEN)

# given_knobs NAME…: those of them that are set, quoted for a shell, without a login in an address; a port or host that is
# the default anyway is left out. The answer LLM's have another default in each profile.
given_knobs() {
  local name
  for name in "$@"; do
    [[ -n ${!name:-} ]] || continue
    [[ $name != *_@(HOST|PORT) || $name == ANSWER_LLM_* || ${!name} != "$(default_of "$name")" ]] || continue
    printf '%s=%q ' "$name" "$(without_login "${!name}")"
  done
}

# default_of NAME: the value of deploy/deploy_config.sh.
default_of() { ( unset "$1"; source deploy/deploy_config.sh; printf '%s' "${!1}" ) }

# given_settings KEY=VALUE…: the settings of the command line, likewise quoted.
given_settings() {
  local setting
  for setting in "$@"; do printf ' %q' "$(without_login "$setting")"; done
}

without_login() { printf '%s' "$1" | sed 's|://[^/[:space:]]*@|://|g'; }
