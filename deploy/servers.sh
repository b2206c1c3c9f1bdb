# shellcheck shell=bash
# Starting servers by recorded PID. Sourced, never run.
# shellcheck source=deploy/users.sh
source deploy/users.sh

# open: how a server of ours learns who may reach it.
open=()
[[ $ALLOW_WITHOUT_TOKEN != 1 ]] || open+=(serving.allow_without_token=true)
[[ -z $HOST_NAMES ]] || open+=("serving.hosts=[$HOST_NAMES]")

# title_of NAME: what a server is, with the model that it serves (SERVED_MODEL, set by start_llm).
title_of() {
  local -A titles=([rearag]='model server' [answer_llm]='answer LLM' [teacher]=teacher)
  printf '%s' "${titles[$1]:-$1}${titles[$1]:+ ($SERVED_MODEL)}"
}

# start_server NAME HOST PORT COMMAND...: start it, or reuse the one that is already there with the same settings.
start_server() {
  local name=$1 host=$2 port=$3 interrupted="" log=""
  trap 'interrupted=1' INT TERM # bash forgets a signal that comes while a child is in front
  locked "$name" begin "$@"
  if [[ -f $STATE_DIR/$name.pid ]]; then
    trap 'release_server "$name" "${OWNER_PID:-keep}"; exit 130' INT TERM
    [[ -z $interrupted ]] || kill -s INT $$
    wait_healthy "$name" "$host" "$port"
    log="; its log: $(as_caller_sees "$LOG_DIR/$name.log")"
  else
    say "note: this $name was not started by these scripts, so they will not stop it" >&2
  fi
  trap - INT TERM
  say "$(title_of "$name") running on http://$host:$port$log"
}

begin() {
  local name=$1 host=$2 port=$3 settings; shift 3
  trap : INT TERM # start_server deals with them once it is known what there is to stop
  settings=$(settings_of "$@")
  same_server "$name" "$@"
  if running "$name"; then
    add_user "$name"; return
  fi
  forget "$name"
  if http_ok "$host" "$port" /health; then return; fi
  if port_open "$host" "$port"; then
    die "port $port on $host is taken by something that is not a healthy server;" \
      "free it or choose another port for $name with ${name^^}_PORT=…"
  fi
  need_token "$name" "$host"
  add_user "$name"
  mkdir -p "$LOG_DIR"; rm -f "$LOG_DIR/$name.log"
  set -m # a process group of its own: Ctrl-C in this terminal does not reach it, and stopping takes its children too
  if [[ -n ${OWNER_PID:-} ]]; then keeper "$name" > /dev/null 2>&1 < /dev/null 9>&- & fi
  launch "$@" > "$LOG_DIR/$name.log" 2>&1 < /dev/null &
  set +m
  while [[ ! -f $STATE_DIR/$name.pid ]] && kill -0 $! 2> /dev/null; do sleep 0.01 || true; done
  [[ -f $STATE_DIR/$name.pid ]] || die "could not record $name in $STATE_DIR; see $LOG_DIR/$name.log: $(< "$LOG_DIR/$name.log")"
}

# launch: inside begin, the process that becomes the server. It records itself before it does, and holds the lock
# until then: whatever is killed at whatever moment, no server runs that a keeper or stop.sh would not find.
launch() {
  record "$name" "$BASHPID" "$host" "$port" "$settings"
  umask "$mask"
  unset REARAG_OWNER # a server may have several users: its keeper knows them
  exec nohup "$@" 9>&-
}

# wait_healthy NAME HOST PORT: until /health answers; ends at once when the process dies.
wait_healthy() {
  local deadline=$((SECONDS + START_SECONDS))
  until running "$1" && http_ok "$2" "$3" /health; do
    running "$1" || { last_lines "$LOG_DIR/$1.log" >&2
      die "$1 died while starting; its last lines are above; see $LOG_DIR/$1.log for all of them"; }
    (( SECONDS < deadline )) || { last_lines "$LOG_DIR/$1.log" >&2; release_server "$1" "${OWNER_PID:-keep}"
      die "$1 was not ready after $START_SECONDS s; its last lines are above; raise START_SECONDS if it needs longer"; }
    sleep 0.1
  done
}
