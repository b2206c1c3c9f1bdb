#!/usr/bin/env bash
# Data construction beyond one node: data_construct.sh with its chains made by a Ray Data job.
#   bash scripts/construct_ray.sh                        as data_construct.sh, on a Ray of this machine's own (loopback)
#   PROFILE=gpu RUN_NAME=big bash scripts/construct_ray.sh ray.address=10.0.0.5:6379 ray.in_flight=256
# A cluster: ray start --head --node-ip-address=10.0.0.5 --port=6379 --include-dashboard=false on one node of a network
# that nobody else is in (Ray runs what it is sent), ray start --address=10.0.0.5:6379 on the others. All nodes share
# the file system that holds this checkout, its environment and runs/, and reach the servers: TEACHER_HOST=10.0.0.5 ….
# Knobs and settings are those of data_construct.sh, and ray.address, ray.actors (0: one per node), ray.in_flight (chains
# at once per actor), ray.per_shard. A node may die: its shard is made elsewhere. After any other interruption
# the same RUN_NAME resumes the run, here or with data_construct.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: this script needs bash; run: bash $0" >&2; exit 2; }
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck source=deploy/say.sh
source "$root/deploy/say.sh"
case " $* " in
  *" -h "* | *" --help "*) help_of "$root/scripts/construct_ray.sh"; exit ;;
esac
check_knobs scripts/construct_ray.sh
no_options scripts/construct_ray.sh "$@"
for argument in "$@"; do [[ $argument != VENV=* ]] || export "${argument?}"; done
bash "$root/scripts/setup.sh" requirements-ray.txt
export RAY_USAGE_STATS_ENABLED=0 # nothing is reported to anybody
CONSTRUCT_MODULE=src_data.ray_job exec bash "$root/data_construct.sh" "$@"
