# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# The knobs of scripts/radio.sh and what follows from them. Sourced by deploy/radio.sh, never run.
# per_profile GPU LAPTOP: the value for this profile.
per_profile() { if [[ $PROFILE == gpu ]]; then printf '%s' "$1"; else printf '%s' "$2"; fi; }

N_SAMPLES=${N_SAMPLES:-$(per_profile 20000 60)}                                        # questions of TRAIN, -1: all
N_RATIONALES=${N_RATIONALES:-$N_SAMPLES}                                               # of these, questions with a rationale
N_DEV=${N_DEV:-$(per_profile -1 $((N_SAMPLES < 0 ? -1 : (N_SAMPLES + 1) / 2)))}        # of each file of DEV, and of MMLU
N_READ=${N_READ:--1}                                                # of each file of DEV those that a reader answers
MMLU=$(from_caller "${MMLU:-$([[ -d ../shared/data/mmlu/val ]] && echo ../shared/data/mmlu/val || echo data/mmlu_sample)}")
BEST=${BEST:-w0.5}                                                  # the blend whose reranker is served
START=${START:-}                                                    # the blend whose reranker the others start from
OTHER_BASE=${OTHER_BASE-$(per_profile "" e5-small)}                 # another base for it, "": none
OTHER_READER=${OTHER_READER-$(per_profile "" smollm2-135m)}         # another model that answers, "": none
LATER_MODELS+=("$OTHER_READER" "$OTHER_BASE")
export ANSWER_MODEL_DIR=${OTHER_READER:-$MODEL} ANSWER_LLM_HOST=$REARAG_HOST ANSWER_LLM_PORT=$REARAG_PORT
[[ -z $OTHER_READER ]] || ANSWER_LLM_PORT=$other_port
RUN=$RUNS_DIR/$NAME SEARCH=http://$RETRIEVER_HOST:$RETRIEVER_PORT RERANKER_OF_BEST=$RUNS_DIR/$NAME-$BEST/model
OTHER_URL=http://$ANSWER_LLM_HOST:$ANSWER_LLM_PORT/v1
RATIONALE=() # settings of the model that writes rationales, where it is not the one of the YAML file
[[ $PROFILE == gpu ]] || RATIONALE=("${AGENT[@]}")
[[ -z ${RATIONALE_URL:-} ]] || RATIONALE=(url="$RATIONALE_URL" model="${RATIONALE_MODEL:-}" engine=openai
  key_env="${OPENAI_API_KEY:+OPENAI_API_KEY}")
