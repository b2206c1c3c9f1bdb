# shellcheck shell=bash
# Starting, waiting for and stopping servers by recorded PID. Sourced, never run.
# State: deploy/state/NAME.{pid,cmd,users/}; logs: logs/NAME.log.
STATE_DIR=${STATE_DIR:-deploy/state}
LOG_DIR=${LOG_DIR:-logs}

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# http_ok HOST PORT PATH: true when GET answers 200 within 2 s (no curl needed).
http_ok() {
  (
    exec 3<> "/dev/tcp/$1/$2" || exit 1
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$3" "$1" >&3
    IFS= read -r -t 2 line <&3 && [[ $line == *" 200"* ]]
  ) 2> /dev/null
}

port_open() { (exec 3<> "/dev/tcp/$1/$2") 2> /dev/null; }

# birth PID: when the process started, so that a recycled PID is never taken for ours.
birth() {
  if [[ -r /proc/$1/stat ]]; then sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20
  else ps -o lstart= -p "$1" 2> /dev/null; fi
}

# running NAME: true when the recorded process is alive and is the one that was recorded; sets SERVER_PID.
running() {
  local born
  [[ -f $STATE_DIR/$1.pid ]] || return 1
  { read -r SERVER_PID; read -r born; } < "$STATE_DIR/$1.pid" || return 1
  kill -0 "$SERVER_PID" 2> /dev/null && [[ $(birth "$SERVER_PID") == "$born" ]]
}

# wait_healthy NAME HOST PORT SECONDS: until /health answers; ends at once when the process dies.
wait_healthy() {
  local name=$1 host=$2 port=$3 left=$(( $4 * 5 ))
  until http_ok "$host" "$port" /health; do
    running "$name" || { tail -n 20 "$LOG_DIR/$name.log" >&2; forget "$name"
      die "$name died while starting; its last lines are above, all of them in $LOG_DIR/$name.log"; }
    (( left-- > 0 )) || { tail -n 20 "$LOG_DIR/$name.log" >&2; stop_server "$name"
      die "$name was not ready after $4 s; its last lines are above (raise START_SECONDS if it only needs longer)"; }
    sleep 0.2
  done
}

# start_server NAME HOST PORT COMMAND...: start it, or reuse the one that is already healthy with the same command.
start_server() {
  local name=$1 host=$2 port=$3; shift 3
  mkdir -p "$STATE_DIR/$name.users" "$LOG_DIR"
  if running "$name"; then
    [[ $(< "$STATE_DIR/$name.cmd") == "$*" ]] \
      || die "$name already runs with other settings (PID $SERVER_PID); 'bash deploy/stop.sh $name' first"
  elif http_ok "$host" "$port" /health; then
    say "$name running on http://$host:$port (already there, not started by these scripts)"; return 0
  elif port_open "$host" "$port"; then
    die "port $port on $host is taken by something that is not a healthy server; free it or choose another port for $name"
  else
    nohup "$@" > "$LOG_DIR/$name.log" 2>&1 < /dev/null &
    SERVER_PID=$!
    printf '%s\n%s\n' "$SERVER_PID" "$(birth "$SERVER_PID")" > "$STATE_DIR/$name.pid"
    printf '%s' "$*" > "$STATE_DIR/$name.cmd"
  fi
  : > "$STATE_DIR/$name.users/${OWNER_PID:-keep}" # without an owner it stays until stop.sh
  wait_healthy "$name" "$host" "$port" "${START_SECONDS:-600}"
  say "$name running on http://$host:$port"
}

forget() { rm -rf "$STATE_DIR/$1.pid" "$STATE_DIR/$1.cmd" "$STATE_DIR/$1.users"; }

# stop_server NAME: TERM, then KILL after 10 s; only ever the recorded process.
stop_server() {
  local i
  if running "$1"; then
    kill "$SERVER_PID" 2> /dev/null || true
    for (( i = 0; i < 100; i++ )); do kill -0 "$SERVER_PID" 2> /dev/null || break; sleep 0.1; done
    kill -9 "$SERVER_PID" 2> /dev/null || true
    say "$1 stopped"
  fi
  forget "$1"
}

# release_server NAME PID: PID no longer needs it; stop it when it was started for a script and nobody else uses it.
release_server() {
  local user
  [[ -e $STATE_DIR/$1.users/$2 ]] || return 0
  rm -f "$STATE_DIR/$1.users/$2"
  for user in "$STATE_DIR/$1.users"/*; do
    if [[ ${user##*/} == keep ]] || kill -0 "${user##*/}" 2> /dev/null; then return 0; fi
  done
  stop_server "$1" > /dev/null
}

# start_llm NAME HOST PORT MODEL GPUS MEMORY: an OpenAI-compatible server in the configured engine.
start_llm() {
  local -a command
  if [[ $ENGINE == llama.cpp ]]; then
    command=("$VENV/bin/python" -m src_models.llama_server --model "$4" --host "$2" --port "$3"
      --parallel "$LLAMA_PARALLEL")
    read -ra extra <<< "$LLAMA_FLAGS"
  else
    local -a gpus; IFS=, read -ra gpus <<< "$5"
    command=(env "CUDA_VISIBLE_DEVICES=$5" ${REARAG_TOKEN:+"VLLM_API_KEY=$REARAG_TOKEN"} "$VLLM" serve "$4"
      --host "$2" --port "$3" --enable-prefix-caching --tensor-parallel-size "${#gpus[@]}"
      --gpu-memory-utilization "$6" --max-model-len "$MAX_MODEL_LEN")
    [[ $TRUST_REMOTE_CODE != 1 ]] || command+=(--trust-remote-code)
    read -ra extra <<< "$VLLM_FLAGS"
  fi
  start_server "$1" "$2" "$3" "${command[@]}" "${extra[@]}"
}
