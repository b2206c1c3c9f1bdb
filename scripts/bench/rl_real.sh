#!/usr/bin/env bash
# The trained SmolLM2-135M before and after RL, on real questions:  bash scripts/bench/rl_real.sh [STAGE …]
# questions  training questions whose answer the corpus can give: those with gold passages in it, and extra ones whose answer
#            stands in BM25's first 20 passages
# rl         40 steps of 64 rollouts (configs/systems/rearag/rl-smollm2-135m-cpu.yaml); before, after: the dev sets, one table
# ablation   outcome alone and all rewards, 16 steps each, and the dev sets with both
# Each stage resumes. Passages are found by their words (BM25). On two cores a step takes three minutes or more and an
# evaluation a quarter of an hour: one stage an evening. RL_SETTINGS="advantage.trained_per_group=4" are further settings of every RL run.
# Knobs: NAME DATA MODEL START (the adapter that RL starts from) STEPS ABLATION_STEPS RL_SETTINGS N_DEV, deploy/deploy_config.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/say.sh
case ${1:-} in -h | --help) help_of scripts/bench/rl_real.sh; exit ;; esac
check_knobs scripts/bench/rl_real.sh
NAME=${NAME:-rl-real}
DATA=${DATA:-../shared/data}
START=${START:-adapters/smollm2-135m}
STEPS=${STEPS:-40}
ABLATION_STEPS=${ABLATION_STEPS:-16}
N_DEV=${N_DEV:-}
read -ra rl_settings <<< "${RL_SETTINGS:-}"
export MODEL=${MODEL:-smollm2-135m} PROFILE=small ADAPTER=$START ENCODER='' LLAMA_FLAGS=${LLAMA_FLAGS---merged q8_0}
export CORPUS=${CORPUS:-$DATA/corpus.jsonl} INDEX_DIR=${INDEX_DIR:-indexes/real-words} INDEX_CONFIG=configs/systems/deeprag/index-cpu.yaml
export LLAMA_PARALLEL=${LLAMA_PARALLEL:-16} # as many as configs/eval/rl.yaml asks at once
source deploy/local.sh
choose_profile
questions=runs/$NAME-questions

stage_questions() {
  mkdir -p "$questions"
  cp "$DATA"/{hotpotqa,2wikimultihopqa,musique}.train.jsonl "$questions"
  grep '"answer_in_top20": true' "$DATA/extra_questions.train.jsonl" > "$questions/extra.jsonl"
  say "training questions: $(cat "$questions"/*.jsonl | wc -l)"
}

# rl_run LABEL STEPS SETTING…
rl_run() {
  local label=$1 steps=$2 file files=(); shift 2
  for file in "$questions"/*.jsonl; do files+=("{path: $file}"); done
  bash scripts/setup.sh requirements-local.txt
  start_embedded 1 0
  bash scripts/rl.sh configs/systems/rearag/rl-smollm2-135m-cpu.yaml run_name="$NAME-$label" steps="$steps" \
    learner.lora.start_from="$START" runtime.retriever="http://$RETRIEVER_HOST:$RETRIEVER_PORT" \
    questions="[$(IFS=,; printf '%s' "${files[*]}")]" "${rl_settings[@]}" "$@"
  release_server retriever "$OWNER_PID"
}

# dev LABEL ADAPTER: the dev sets with an adapter, as a line of the table.
dev() {
  local label=$1
  REARAG_KNOBS_CHECKED='' REARAG_ADAPTER='' ADAPTER=$2 bash scripts/evaluate.sh configs/eval/rl.yaml name="$NAME" \
    profile="$label" ${N_DEV:+"datasets=[$(for set in musique 2wikimultihopqa hotpotqa; do
      printf '{name: %s, path: %s, n: %s},' "$set" "$DATA/$set.dev.jsonl" "$N_DEV"; done)]"}
}

stage_before() { dev before "$START"; }
stage_rl() { rl_run rl "$STEPS"; }
stage_after() { dev rl "runs/$NAME-rl/adapter"; }
stage_ablation() {
  rl_run short "$ABLATION_STEPS"
  rl_run outcome "$ABLATION_STEPS" reward.rule=outcome
  dev short "runs/$NAME-short/adapter"
  dev outcome "runs/$NAME-outcome/adapter"
}

for stage in "${@:-questions}"; do
  [[ " questions before rl after ablation " == *" $stage "* ]] \
    || die "there is no stage '$stage'; name questions, before, rl, after or ablation"
done
(( $# )) || set -- questions before rl after ablation
for stage in "$@"; do say "== $stage"; "stage_$stage"; done
