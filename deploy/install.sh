# shellcheck shell=bash
# What is to be installed, and how far pip is. Sourced by scripts/setup.sh, never run.

# size_of REQUIREMENTS: how large the environment becomes, as measured (Linux, Python 3.11).
size_of() {
  case $1 in
    requirements-local.txt) printf 'about 500 MB on disk' ;;
    requirements-dev.txt) printf 'about 1.4 GB on disk' ;;
    requirements-train.txt) printf 'about 2.2 GB on disk with the CPU build of torch, several GB more with CUDA' ;;
    requirements-backends.txt) printf 'about 400 MB on disk' ;;
    requirements.txt) printf 'many GB on disk, for torch with CUDA and vLLM' ;;
    *) printf 'of a size that was not measured' ;;
  esac
}

# pip_state LOG: how far pip is, by its own lines: megabytes of the packages so far and the name of the last one, then
# the size of the environment while they are unpacked.
pip_state() {
  if grep -q '^Installing collected' "$1"; then
    printf 'unpacking: %s MB in %s' "$(du -sm "$VENV" 2> /dev/null | cut -f 1)" "$VENV"
  else
    awk '/^ *(Downloading|Using cached) / { # … NAME-1.2-….whl (16.3 MB)
        size = substr($(NF - 1), 2); unit = $NF
        total += size * (unit ~ /^k/ ? 0.001 : unit ~ /^M/ ? 1 : unit ~ /^G/ ? 1000 : 0.000001) }
      /^ *Collecting / { name = $2; sub(/[^A-Za-z0-9._-].*/, "", name) }
      END { printf "downloading: %d MB so far%s", total, name == "" ? "" : ", now " name }' "$1"
  fi
}

# show_pip LOG: beside pip, until this script ends: a line every PROGRESS_SECONDS, on a terminal one that is rewritten.
show_pip() {
  local said=$SECONDS begun=$SECONDS turn=0 marks='-\|/'
  while kill -0 $$ 2> /dev/null; do
    sleep 0.5 > /dev/null 2>&1 # it may outlive this loop, and must hold no pipe then
    [[ -f $1 ]] || continue
    if [[ -t 2 ]]; then
      printf '\r%s %s\033[K' "${marks:turn++ % 4:1}" "$(plain "$(pip_state "$1"), $(( SECONDS - begun )) s")" >&2
    elif (( SECONDS - said >= PROGRESS_SECONDS )); then
      said=$SECONDS
      say "$(pip_state "$1"), $(( SECONDS - begun )) s so far" >&2
    fi
  done
}

# pip_install REQUIREMENTS LOG
pip_install() {
  local shown done=0
  : > "$2"
  show_pip "$2" 9>&- &
  shown=$!
  trap 'kill '"$shown"' 2> /dev/null || true' EXIT
  PYTHONUNBUFFERED=1 "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off -r "$1" > "$2" 2>&1 || done=$?
  kill "$shown" 2> /dev/null || true
  wait "$shown" 2> /dev/null || true
  trap - EXIT
  [[ ! -t 2 ]] || printf '\r\033[K' >&2
  (( done == 0 )) || last_lines "$2" >&2
  return "$done"
}
