# shellcheck shell=bash disable=SC2034,SC2153
# What a system's script does with the files of TRAIN and DEV and with the models of its stages. Sourced by
# deploy/systems.sh, never run.

# as_sources FILE,FILE…: files of questions as a list of sources, without its brackets.
as_sources() {
  local file files list=()
  IFS=, read -ra files <<< "$1"
  for file in "${files[@]}"; do list+=("{path: $file}"); done
  local IFS=,
  printf '%s' "${list[*]}"
}

# dev_sets: the files of DEV as YAML, each named after its file, and after its folder where two files have one name; N_DEV
# questions of each.
dev_sets() {
  local file files name names=" " sets=()
  IFS=, read -ra files <<< "$DEV"
  for file in "${files[@]}"; do
    name=$(basename "$file" .jsonl)
    [[ $names != *" $name "* ]] || name=$(basename "$(dirname "$file")")_$name
    names+="$name "
    sets+=("{name: ${name//[!A-Za-z0-9_-]/_}, path: $file, n: $N_DEV}")
  done
  joined "${sets[@]}"
}

# answer_dev STAGE…: the questions of the first file of DEV, with the weights of the last of these stages that has some.
answer_dev() {
  local last
  last=$(last_stage "$@")
  serve "$last"
  "$VENV/bin/python" -m src_infer.run "$CONFIGS/infer$SUFFIX.yaml" run_name="$NAME-infer-$last" runs_dir="$RUNS_DIR" \
    questions="${DEV%%,*}" n_questions="$N_DEV" "${SERVED[@]}"
}

# table STAGE…: the lines of eval.yaml for the model without training and for each of these stages that has weights.
table() {
  local stage
  for stage in base "$@"; do
    [[ $stage == base || -d $(weights "$stage") ]] || continue
    serve "$stage"
    "$VENV/bin/python" -m src_eval.run "$CONFIGS/eval.yaml" name="$NAME" runs_dir="$RUNS_DIR" \
      infer="$CONFIGS/infer$SUFFIX.yaml" profile="$stage" servers="$(joined "${SERVED[@]}")" datasets="$(dev_sets)"
  done
}
