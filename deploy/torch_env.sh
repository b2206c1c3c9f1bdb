# shellcheck shell=bash
# The environment of processes that train with torch. Sourced by scripts/train.sh and scripts/rl.sh, never run.
# Activations are freed and asked for again thousands of times a step: glibc keeps them instead of giving them back.
export MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX:-1} MALLOC_MMAP_MAX_=${MALLOC_MMAP_MAX_:-0} \
  MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-100000000000} MALLOC_TOP_PAD_=${MALLOC_TOP_PAD_:-268435456}
export TOKENIZERS_PARALLELISM=false
[[ -t 2 ]] || export TQDM_DISABLE=${TQDM_DISABLE:-1} # a library's bar in a log is one line of thousands of characters
