#!/usr/bin/env bash
# Questions to a public checkpoint, in the format that it was trained with:  bash scripts/ask_checkpoint.sh search_r1
#   bash scripts/ask_checkpoint.sh NAME [key=value ...]         NAME: search_r1, r1_searcher, research, rearag or r3rag
#   N_QUESTIONS=100 bash scripts/ask_checkpoint.sh r3rag questions=hotpotqa.dev.jsonl       knobs and settings of infer.sh
#   BASE_URL=http://gpu7:8000/v1 bash scripts/ask_checkpoint.sh research     a server that has the checkpoint already
# On a GPU node the checkpoint is served by vLLM and reads its passages itself; the servers stay until bash deploy/stop.sh.
# Other weights of the same training: CHECKPOINT=hub/name. The words of the prompts in configs/prompts/ are ours.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/say.sh
source "$root/deploy/say.sh"
case ${1:-} in -h | --help) help_of "${BASH_SOURCE[0]}"; exit ;; "") help_of "${BASH_SOURCE[0]}" >&2; exit 2 ;; esac
check_knobs scripts/ask_checkpoint.sh
name=$1; shift
# of_r3rag KEY: the value of the configuration with which R3-RAG is evaluated.
of_r3rag() { sed -nE "s/^$1: ([^,}]+).*/\1/p" "$root/configs/systems/r3rag/infer.yaml"; }
growing=(method_settings.layout=growing_turn) # one assistant turn that goes on after the documents, as in their training
case $name in # the checkpoint, the method, passages per search, searches at most
  search_r1) made=(PeterJinGo/SearchR1-nq_hotpotqa_train-qwen2.5-7b-em-ppo-v0.3 search_r1 3 5) settings=("${growing[@]}") ;;
  r1_searcher) made=(XXsongLALA/Qwen-2.5-7B-base-RAG-RL search_r1 5 8) settings=("${growing[@]}") ;;
  research) made=(agentrl/ReSearch-Qwen-7B-Instruct search_r1 5 8) settings=("${growing[@]}") ;;
  rearag) made=(THU-KEG/ReaRAG-9B rearag 3 15) settings=() ;;
  r3rag) made=(Yuan-Li-FNLP/R3-RAG-Qwen r3rag "$(of_r3rag top_k)" "$(of_r3rag 'limits: .*t_max')")
    settings=(deterministic="$(of_r3rag deterministic)" limits.step_tries="$(of_r3rag 'limits: .*step_tries')"
      agent_sampling.max_tokens="$(of_r3rag 'agent_sampling: .*max_tokens')") ;;
  *) die "there is no checkpoint '$name'; name search_r1, r1_searcher, research, rearag or r3rag" ;;
esac
CHECKPOINT=${CHECKPOINT:-${made[0]}}
[[ ${made[1]} != search_r1 ]] || settings+=(method_settings.protocol="$name")
settings+=(top_k="${made[2]}" limits.t_max="${made[3]}" constrain=off)
if [[ $name == rearag ]]; then
  settings+=(prompt.system=agent_system prompt.observation_role=observation prompt.observation_template= prompt.legacy_actions=true)
else
  settings+=(prompt.system= prompt.user_template= prompt.observation_role=user prompt.legacy_actions=false answer_from=finish)
fi
export METHOD=${made[1]}
if [[ -n ${BASE_URL:-${OPENAI_BASE_URL:-}} ]]; then
  MODEL_NAME=${MODEL_NAME:-$CHECKPOINT} exec bash "$root/infer.sh" "${settings[@]}" agent.engine=vllm reader.engine=vllm "$@"
fi
command -v nvidia-smi > /dev/null \
  || die "$CHECKPOINT has billions of weights and no GPU is here; run this on a GPU node, or name a server that has it with BASE_URL"
export PROFILE=gpu REARAG_MODEL_DIR=$CHECKPOINT
if [[ $name != rearag ]]; then # one model plays both roles
  source "$root/deploy/deploy_config.sh"
  export ANSWER_MODEL_DIR=$CHECKPOINT ANSWER_LLM_HOST=$REARAG_HOST ANSWER_LLM_PORT=$REARAG_PORT
fi
bash "$root/deploy/deploy_rag_engine.sh"
bash "$root/deploy/deploy.sh"
exec bash "$root/infer.sh" "${settings[@]}" "$@"
