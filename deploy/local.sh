# shellcheck shell=bash
# What infer.sh and its kin share: arguments, profile, the embedded servers.
# Sourced, never run; the working directory is the repository.
# shellcheck source=deploy/profile.sh
source deploy/profile.sh
# shellcheck source=deploy/say.sh
source deploy/say.sh
# shellcheck source=deploy/ports.sh
source deploy/ports.sh
# shellcheck source=deploy/caller.sh
source deploy/caller.sh
# shellcheck source=deploy/embedded.sh
source deploy/embedded.sh
has() { command -v "$1" > /dev/null; }

# fresh_name PREFIX: a name for a run that no other one gets, also one that starts in the same second.
fresh_name() { printf '%s-%s-%s' "$1" "$(date +%Y%m%d-%H%M%S)" "$$"; }

# read_arguments SCRIPT ARGUMENT...: NAME=… is exported as a knob, key=value goes to the array `settings`; paths start in
# the caller's folder ($CALLER).
read_arguments() {
  local script=$1 argument; shift
  settings=()
  [[ " $* " == *" -h "* || " $* " == *" --help "* ]] || check_knobs "$script"
  for argument in "$@"; do
    case $argument in
      -h | --help) help_of "$script"; [[ $script != infer.sh ]] || help_of_methods; exit ;;
      [A-Z]*=*)
        knobs_of "$script" | grep -xF "${argument%%=*}" > /dev/null || no_knob "${argument%%=*}"
        export "${argument?}" ;;
      -*) no_options "$script" "$argument" ;;
      *=*) settings+=("$(setting_from_caller "$argument")") ;;
      *) die "cannot read '$argument'; write a setting as key=value, e.g. bash $script top_k=5" ;;
    esac
  done
  check_ports; knobs_from_caller
}

# help_of_methods: the settings of METHOD, else the names of all methods.
help_of_methods() {
  local names python=${VENV:-.venv}/bin/python
  names=$(cd src_infer/methods && printf '%s ' [a-z]*.py)
  if [[ -z ${METHOD:-} ]]; then
    say "Methods: ${names//.py/}"
    say "METHOD=NAME bash infer.sh --help adds the settings of one."
  elif [[ -x $python ]]; then
    "$python" -m src_infer.describe "$(from_caller "$METHOD")"
  else
    say "The settings of $METHOD are shown here once 'bash scripts/setup.sh requirements-local.txt' has run."
  fi
}

# no_knob NAME: the sentence for an argument NAME=… that no script reads.
no_knob() {
  nearest_knob "$1"
  [[ -n $NEAREST ]] || NEAREST=$(or_setting "$1")
  die "no knob is called $1${NEAREST:+ (did you mean $NEAREST?)}; see the first lines of $script and deploy/deploy_config.sh"
}

# served_adapter: the name under which the deployed vLLM serves the model with its LoRA adapter, empty where it has
# none. vLLM lists the plain model first, so a client that did not ask for this name would be answered without.
served_adapter() {
  local at='--lora-modules ([^ =]+)=([^ ]+)' name="" path=""
  [[ $PROFILE == gpu ]] || return 0
  if running rearag && [[ $SERVER_SETTINGS =~ $at ]]; then name=${BASH_REMATCH[1]} path=${BASH_REMATCH[2]}; fi
  [[ -z $REARAG_ADAPTER || $path == "$(printf '%q' "$REARAG_ADAPTER")" ]] \
    || die "the server on port $REARAG_PORT was not deployed with $REARAG_ADAPTER; do: bash deploy/stop.sh rearag," \
      "then: REARAG_ADAPTER=$REARAG_ADAPTER bash deploy/deploy.sh"
  printf '%s' "$name"
}
