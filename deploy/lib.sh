# shellcheck shell=bash disable=SC2034
# Small questions to the system, and the record of what was started. Sourced, never run.
# STATE_DIR/NAME.pid holds PID, birth, host, port and settings; STATE_DIR/NAME.users/ one file per user of the server.
# shellcheck source=deploy/deploy_config.sh
source deploy/deploy_config.sh
# shellcheck source=deploy/say.sh
source deploy/say.sh
# shellcheck source=deploy/ports.sh
source deploy/ports.sh
[[ -z $REARAG_TOKEN ]] || export REARAG_TOKEN
SERVER_NAMES=(rearag answer_llm teacher retriever demo)

( LC_ALL=C; [[ $REARAG_TOKEN != *[![:graph:]]* ]] ) \
  || die "REARAG_TOKEN has a space, a line end or a character beyond ASCII; use letters, digits and punctuation only"
[[ "$START_SECONDS $STOP_SECONDS" =~ ^(0|[1-9][0-9]{0,8})\ (0|[1-9][0-9]{0,8})$ ]] \
  || die "START_SECONDS and STOP_SECONDS must be whole numbers of seconds, not '$START_SECONDS' and" \
    "'$STOP_SECONDS'" # and no code: bash would run it where it computes

need_python() {
  [[ -x $VENV/bin/python ]] || die "there is no Python environment in $VENV; make it with 'bash scripts/setup.sh" \
    "requirements.txt' (GPU node) or 'bash scripts/setup.sh requirements-local.txt' (CPU)"
}

# http_ok HOST PORT PATH: true when GET answers 200 within 5 s, which a busy machine may need (no curl needed).
http_ok() {
  (
    exec 3<> "/dev/tcp/$1/$2" || exit 1
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$3" "$1" >&3
    IFS= read -r -t 5 line <&3 && [[ $line == HTTP/*" 200"* ]]
  ) 2> /dev/null
}

port_open() { (exec 3<> "/dev/tcp/$1/$2") 2> /dev/null; }

# birth PID: when the process started, so that a recycled PID is never taken for ours; fails for a dead process or a zombie.
birth() {
  local stat fields
  if [[ -e /proc/self/stat ]]; then
    { IFS= read -r -d '' stat < "/proc/$1/stat" || [[ -n $stat ]]; } 2> /dev/null || return 1
    read -ra fields <<< "${stat##*) }" # field 3 (state) comes first here
    [[ ${fields[0]} != [ZX] ]] && printf '%s\n' "${fields[19]}"
  else
    stat=$(ps -o stat=,lstart= -p "$1" 2> /dev/null) && [[ $stat != Z* ]] && printf '%s\n' "${stat#* }"
  fi
}

# alive PID BIRTH: that very process is there.
alive() { [[ -n $2 && $(birth "$1") == "$2" ]]; }

# running NAME: the recorded process is alive; sets SERVER_PID, SERVER_HOST, SERVER_PORT, SERVER_SETTINGS.
running() {
  local born
  { read -r SERVER_PID; read -r born; read -r SERVER_HOST; read -r SERVER_PORT; IFS= read -r SERVER_SETTINGS; } \
    2> /dev/null < "$STATE_DIR/$1.pid" && alive "$SERVER_PID" "$born"
}

# record NAME PID HOST PORT SETTINGS
record() {
  printf '%s\n' "$2" "$(birth "$2")" "$3" "$4" "$5" > "$STATE_DIR/$1.pid.tmp"
  mv "$STATE_DIR/$1.pid.tmp" "$STATE_DIR/$1.pid"
}

forget() { rm -rf "$STATE_DIR/$1.pid" "$STATE_DIR/$1.users"; }

# locked NAME COMMAND...: only one script at a time decides about a server (where flock exists: every Linux). Records
# and logs are readable by this user alone: they hold the settings of servers and the requests of their clients.
locked() {
  local name=$1 mask; shift
  mask=$(umask)
  [[ -d $STATE_DIR ]] || ( umask 077; mkdir -p "$STATE_DIR" )
  ( umask 077; if command -v flock > /dev/null; then flock 9; fi; "$@" ) 9> "$STATE_DIR/$name.lock"
}

# need_token NAME HOST: a server that other machines can reach has a token, unless a person wants it without.
need_token() {
  [[ -n $REARAG_TOKEN || $ALLOW_WITHOUT_TOKEN == 1 || $2 =~ ^(127(\.[0-9]+){3}|localhost|::1)$ ]] \
    || die "$1 on $2 would be open to the network without a token; set REARAG_TOKEN, or ALLOW_WITHOUT_TOKEN=1 if it" \
      "shall be"
}
