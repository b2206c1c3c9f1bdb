# shellcheck shell=bash
# A server that runs with other settings than are wanted now is refused. Sourced by deploy/users.sh, never run.

# settings_of COMMAND...: what a server runs with, as its record holds it.
settings_of() { printf '%q ' "$@"; printf '%s' "$REARAG_TOKEN" | cksum; }

# same_server NAME COMMAND...: refuses where NAME runs with other settings.
same_server() {
  if running "$1" && [[ $SERVER_SETTINGS != "$(settings_of "${@:2}")" ]]; then refuse_other "$1"; fi
}

# refuse_other NAME: ends the script, since a server runs with other settings than are wanted now. Says for whom it runs,
# and the one command that frees its port.
refuse_other() {
  local what="$1 already runs with other settings (PID $SERVER_PID)" at="//$SERVER_HOST:$SERVER_PORT" file user
  if [[ $1 != demo ]] && running demo && [[ $SERVER_SETTINGS == *"$at"[!0-9]* ]]; then
    die "$what, for the live page on http://$SERVER_HOST:$SERVER_PORT; stop the page and its servers first: bash deploy/stop.sh"
  fi
  for file in "$STATE_DIR/$1.users"/*; do
    user=${file##*/}
    if [[ $user =~ ^[0-9]+$ ]] && alive "$user" "$(< "$file")"; then
      die "$what, for '$(ps -o args= -p "$user" || true)' (PID $user); wait until that ends, or stop the server: bash deploy/stop.sh $1"
    fi
  done
  die "$what; stop it first: bash deploy/stop.sh $1"
}
