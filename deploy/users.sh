# shellcheck shell=bash
# Who uses a server, and how it is stopped when nobody does any more. Sourced, never run.
# Users are "keep" (deployed by hand: the server stays until stop.sh) and the PIDs of scripts that set OWNER_PID
# (infer.sh), each with its birth. The last user gone, the server is stopped: by release_server, or by its keeper
# when the script was killed before it could release anything.
# shellcheck source=deploy/lib.sh
source deploy/lib.sh
# shellcheck source=deploy/other_settings.sh
source deploy/other_settings.sh

add_user() {
  mkdir -p "$STATE_DIR/$1.users"
  birth "${OWNER_PID:-$$}" > "$STATE_DIR/$1.users/${OWNER_PID:-keep}"
}

used() {
  local file
  [[ ! -e $STATE_DIR/$1.users/keep ]] || return 0
  for file in "$STATE_DIR/$1.users"/*; do
    if [[ -f $file ]] && alive "${file##*/}" "$(< "$file")"; then return 0; fi
  done
  return 1
}

# release_server NAME USER: USER no longer needs it.
release_server() {
  [[ -e $STATE_DIR/$1.users/$2 ]] || return 0
  rm -f "$STATE_DIR/$1.users/$2"
  locked "$1" stop_if_unused "$1"
}

stop_if_unused() { used "$1" || stop_server "$1"; }

# release_all USER: for the end of a script, whatever ended it; what it still runs ends with it.
release_all() {
  local name children
  trap '' INT TERM
  children=$(jobs -p)
  # shellcheck disable=SC2086 # one word per PID
  [[ -z $children ]] || kill $children 2> /dev/null || true
  for name in "${SERVER_NAMES[@]}"; do release_server "$name" "$1"; done
}

# keeper NAME: runs beside an owned server for as long as it has users.
keeper() {
  trap '' HUP
  while used "$1"; do sleep 0.5; done
  locked "$1" stop_if_unused "$1"
}

# stop_server NAME: TERM, then KILL after STOP_SECONDS; only ever the recorded process and the children in its group.
stop_server() {
  local signal deadline pid
  for signal in TERM KILL; do
    running "$1" || break
    pid=$SERVER_PID deadline=$((SECONDS + STOP_SECONDS))
    kill -s $signal -- "-$pid" 2> /dev/null || kill -s $signal "$pid" 2> /dev/null || true
    while running "$1" && (( SECONDS <= deadline )); do sleep 0.05; done
  done
  forget "$1"
}
