# shellcheck shell=bash
# Paths start where the caller stands: the scripts change to the repository, and every path that a person gives goes
# through `from_caller` before. Sourced, never run; CALLER is the caller's folder.

# What the programs say of paths and commands is as seen from there, also where one script calls another.
export REARAG_CALLER=${REARAG_CALLER:-$CALLER}

# from_caller PATH: what is there in the caller's folder, else PATH as it is (the files of the repository are found too).
from_caller() {
  if [[ $1 == [!/]* && $CALLER != "$PWD" && -e $CALLER/$1 ]]; then printf '%s' "$CALLER/$1"; else printf '%s' "$1"; fi
}

# each_from_caller LIST: files with commas between them, each as the caller sees it.
each_from_caller() {
  local file files found=()
  IFS=, read -ra files <<< "$1"
  for file in "${files[@]}"; do found+=("$(from_caller "$file")"); done
  local IFS=,; printf '%s' "${found[*]}"
}

# into_caller PATH: where something new is written: always in the caller's folder.
into_caller() {
  if [[ $1 == [!/]* && $CALLER != "$PWD" ]]; then printf '%s' "$CALLER/$1"; else printf '%s' "$1"; fi
}

# setting_from_caller KEY=VALUE: the setting, with a path of the caller made whole. A value without '.' or '/' names no
# path, unless its key says so.
setting_from_caller() {
  local key=${1%%=*} value=${1#*=}
  case $key in
    index_dir | runs_dir | *output_dir | html | out) value=$(into_caller "$value") ;;
    question) ;; # a text, whatever it looks like
    questions | corpus | *_path | *input_dir | *.cache | trained)
      if [[ $value == ["[{"]* ]]; then value=$(words_from_caller "$value"); else value=$(from_caller "$value"); fi ;;
    *) if [[ $value != *[[:space:]]* || $value == ["[{"]* ]]; then value=$(words_from_caller "$value"); fi ;;
  esac
  printf '%s=%s' "$key" "$value"
}

# words_from_caller VALUE: each file of the caller's folder in it, also inside lists and sections: [{path: q.jsonl}]
words_from_caller() {
  local rest=$1 word
  while [[ -n $rest ]]; do
    [[ $rest =~ ^[^][{},:\"\'[:space:]]+ || $rest =~ ^[][{},:\"\'[:space:]]+ ]] || break
    word=${BASH_REMATCH[0]} rest=${rest:${#BASH_REMATCH[0]}}
    if [[ $word == [!/]*[./]* && $CALLER != "$PWD" && -f $CALLER/$word ]]; then word=$CALLER/$word; fi
    printf '%s' "$word"
  done
  printf '%s' "$rest"
}

# knobs_from_caller: CORPUS and INDEX_DIR of the environment or of the arguments; a corpus that is not there is
# reported before anything is fetched.
knobs_from_caller() {
  if [[ -n ${CORPUS:-} ]]; then
    CORPUS=$(from_caller "$CORPUS")
    export CORPUS
    [[ -f $CORPUS || -d $CORPUS ]] \
      || die "no such corpus: $CORPUS; name a file or a folder of documents with CORPUS=, as seen from $CALLER"
  fi
  if [[ -n ${INDEX_DIR:-} ]]; then
    INDEX_DIR=$(into_caller "$INDEX_DIR")
    export INDEX_DIR
  fi
}
